//! Messages for tests.

use hickory_proto::{
    op::Message,
    rr::{
        RData, Record,
        rdata::{A, SOA},
    },
};

use crate::{Query, absolute};

/// A message in pieces, any of which may be wrong.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    /// The third and fourth octet of the header.
    pub(crate) flags: [u8; 2],
    pub(crate) counts: [u16; 4],
    pub(crate) body: Vec<u8>,
}

/// The question `Orders.test. IN A`.
pub(crate) const QUESTION: &[u8] = b"\x06Orders\x04test\0\0\x01\0\x01";

impl Raw {
    pub(crate) const ID: u16 = 0x1234;

    /// A query with RD.
    pub(crate) fn query() -> Self {
        Self { flags: [1, 0], counts: [1, 0, 0, 0], body: QUESTION.to_vec() }
    }

    /// Another record in the section.
    pub(crate) fn with(mut self, section: usize, record: &[u8]) -> Self {
        self.counts[section] += 1;
        self.body.extend(record);
        self
    }

    /// An OPT record with options of these codes.
    pub(crate) fn with_opt(self, size: u16, ttl: u32, options: &[(u16, &[u8])]) -> Self {
        let option = |(code, data): &(u16, &[u8])| {
            [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
        };
        let data: Vec<u8> = options.iter().flat_map(option).collect();
        self.with(3, &record(b"\0", 41, size, ttl, &data))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Self::ID.to_be_bytes().to_vec();
        bytes.extend(self.flags);
        bytes.extend(self.counts.iter().flat_map(|count| count.to_be_bytes()));
        bytes.extend(&self.body);
        bytes
    }

    pub(crate) fn read(&self) -> Query {
        Query::read(&self.bytes()).unwrap()
    }
}

pub(crate) fn record(name: &[u8], record_type: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = data.len() as u16;
    let numbers =
        [&record_type.to_be_bytes()[..], &class.to_be_bytes(), &ttl.to_be_bytes(), &length.to_be_bytes()];
    [name, &numbers.concat(), data].concat()
}

/// As another implementation reads a message.
pub(crate) fn decoded(message: &[u8]) -> Message {
    Message::from_vec(message).unwrap_or_else(|error| panic!("{error}: {}", hex::encode(message)))
}

pub(crate) fn a(name: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(absolute(name).unwrap(), ttl, RData::A(A::new(192, 0, 2, last)))
}

pub(crate) fn soa(ttl: u32, minimum: u32) -> Record {
    let name = |text| absolute(text).unwrap();
    let data = SOA::new(name("ns1.test"), name("admin.test"), 7, 3600, 600, 86_400, minimum);
    Record::from_rdata(name("test"), ttl, RData::SOA(data))
}
