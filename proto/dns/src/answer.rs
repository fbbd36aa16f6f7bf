//! Answers: what a responder decided on → bytes that fit.

use hanse_topology::is_brought_back;
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, rdata::HINFO},
};

use crate::{
    Cookie, Edns, EncodeError, MAX_UDP, Query,
    cookie::OURS,
    edns::{MIN_UDP, Opt},
    message::{self, Header, MAX_MESSAGE},
    writer::Writer,
};

/// What a query is answered with. Records for the name of the query have that name as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub code: ResponseCode,
    /// The responder is an authority for the name (AA).
    pub authoritative: bool,
    /// Nothing fits, or nothing is to be sent: the client should ask over TCP (TC).
    pub truncated: bool,
    /// Records that answer the question.
    pub answers: Vec<Record>,
    /// The zone's SOA or NS.
    pub authorities: Vec<Record>,
    /// Addresses of name servers.
    pub additionals: Vec<Record>,
}

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Up to what the client takes, and no more than [`MAX_UDP`].
    Udp,
    /// Up to 65,535 octets.
    Tcp,
}

impl Transport {
    /// Octets of the largest answer to a query (RFC 6891 §6.2.5).
    pub fn room(self, query: &Query) -> usize {
        match self {
            Self::Udp => query.edns.as_ref().map_or(MIN_UDP, |edns| edns.size.min(MAX_UDP)).into(),
            Self::Tcp => MAX_MESSAGE,
        }
    }
}

/// Parts of the query that the answer repeats, and the room for its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Echo {
    /// Bits of the client's network for which the answer holds; 0: for all clients. It counts only where the query named a network.
    pub scope: u8,
    /// The server cookie. It counts only where the query had a cookie.
    pub cookie: Option<[u8; OURS]>,
    /// Octets to leave for a signature ([`Transaction::room`](crate::tsig::Transaction::room)).
    pub signature: usize,
}

impl Answer {
    /// Records of the zone.
    pub fn records(answers: Vec<Record>) -> Self {
        let code = ResponseCode::NoError;
        Self {
            code,
            authoritative: true,
            truncated: false,
            answers,
            authorities: vec![],
            additionals: vec![],
        }
    }

    /// The name exists, but nothing of the type. Resolvers keep this for the SOA's minimum, or its TTL if that is less (RFC 2308 §3, §5).
    pub fn no_data(soa: &Record) -> Self {
        let mut soa = soa.clone();
        if let RData::SOA(data) = &soa.data {
            soa.ttl = soa.ttl.min(data.minimum);
        }
        Self { authorities: vec![soa], ..Self::records(vec![]) }
    }

    /// The name does not exist. It is kept as [`no_data`](Self::no_data) is.
    pub fn no_such_name(soa: &Record) -> Self {
        Self { code: ResponseCode::NXDomain, ..Self::no_data(soa) }
    }

    /// For the type ANY: that the name exists, and no more (RFC 8482 §4.2).
    pub fn any(query: &Query, ttl: u32) -> Self {
        let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
        Self::records(vec![Record::from_rdata(query.name.clone(), ttl, data)])
    }

    /// No records, and why.
    pub fn error(code: ResponseCode) -> Self {
        Self { code, authoritative: false, ..Self::records(vec![]) }
    }

    /// The zone's SOA alone: the answer to IXFR over UDP, and to IXFR of a secondary that [is up to date](Query::is_up_to_date) (RFC 1995 §2).
    pub fn soa(soa: &Record) -> Self {
        Self::records(vec![soa.clone()])
    }

    /// No records: ask over TCP.
    pub fn truncated() -> Self {
        Self { truncated: true, ..Self::records(vec![]) }
    }

    /// The bytes for a client.
    ///
    /// Over UDP an answer whose records do not fit is empty and has TC: a client would take a part of the addresses for all of them. Where there
    /// are answers, the additional section is left out first, then the authority section (RFC 2181 §9). Without answers these sections are the
    /// answer, and stay whole: a referral without addresses leads nowhere (RFC 9471 §3).
    ///
    /// Fails for a record that cannot be encoded, and over TCP for one that does not fit. Over UDP the encoder stops at the first record that
    /// does not fit, and does not look at those behind it.
    pub fn encode(&self, query: &Query, echo: &Echo, transport: Transport) -> Result<Vec<u8>, EncodeError> {
        let room = transport.room(query).saturating_sub(echo.signature);
        let mut flags = message::RESPONSE;
        for (set, flag) in [
            (self.authoritative, message::AUTHORITATIVE),
            (self.truncated, message::TRUNCATED),
            (query.recursion_desired, message::RECURSION_DESIRED),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let header = Header::new(query.id, query.opcode.number(), flags, self.code.low());
        let opt = query.edns.as_ref().map(|edns| opt(edns, self.code, echo));
        let mut octets = Vec::with_capacity(MIN_UDP.into());
        let mut writer = Writer::new(&mut octets, room, header, opt);
        writer.question(&query.name, query.record_type, query.class)?;
        match self.records_into(&mut writer) {
            Err(EncodeError::TooLong { .. }) if transport == Transport::Udp => writer.set(message::TRUNCATED),
            written => written?,
        }
        writer.finish();
        Ok(octets)
    }

    /// Leaves nothing behind where it fails.
    fn records_into(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let begin = writer.mark();
        let optional = !self.answers.is_empty();
        writer.section(0, &self.answers)?;
        match writer.section(1, &self.authorities).and_then(|()| writer.section(2, &self.additionals)) {
            Err(EncodeError::TooLong { .. }) if optional => Ok(()),
            Err(error) => {
                writer.back_to(begin);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }
}

/// The OPT record of an answer: ours, with what the client's asks to have back.
pub(crate) fn opt(asked: &Edns, code: ResponseCode, echo: &Echo) -> Opt {
    let server = |cookie: [u8; OURS]| cookie.to_vec();
    let with_server = |cookie: &Cookie| Cookie {
        client: cookie.client,
        server: echo.cookie.map(server).unwrap_or_default(),
    };
    let edns = Edns {
        size: MAX_UDP,
        dnssec_ok: asked.dnssec_ok,
        ecs: asked.ecs,
        // A response has both cookies or no option (RFC 7873 §4, §5.2).
        cookie: asked.cookie.as_ref().filter(|_| echo.cookie.is_some()).map(with_server),
    };
    // To a resolver that names no network the answer is for all of its clients (RFC 7871 §7.1.2).
    let for_all = asked.ecs.is_none_or(|ecs| ecs.source() == 0) || is_brought_back("scope-zero");
    Opt { edns, rcode: code.high(), scope: if for_all { 0 } else { echo.scope } }
}

#[cfg(test)]
mod tests;
