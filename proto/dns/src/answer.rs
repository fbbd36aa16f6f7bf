//! Answers: what a responder decided on → bytes that fit.

use hickory_proto::{
    ProtoError,
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::HINFO},
    serialize::binary::{BinEncodable as _, BinEncoder},
};

use crate::{
    Cookie, Edns, MAX_UDP, Query,
    cookie::OURS,
    edns::{MIN_UDP, Opt},
    message::{self, Asked, Header, MAX_MESSAGE},
    seeded::seeded,
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

/// What of the query comes back beside its question.
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

    /// No records: ask over TCP.
    pub fn truncated() -> Self {
        Self { truncated: true, ..Self::records(vec![]) }
    }

    /// The bytes for a client. An answer that does not fit is empty and says so: a part of the addresses would be taken for all of them.
    pub fn encode(&self, query: &Query, echo: &Echo, transport: Transport) -> Vec<u8> {
        let room = transport.room(query).saturating_sub(echo.signature);
        if let Ok(whole) = self.write(query, echo)
            && whole.len() <= room
        {
            return whole;
        }
        let cut = Self { code: self.code, authoritative: self.authoritative, ..Self::truncated() };
        cut.write(query, echo).expect("a question and an OPT record fit into each message")
    }

    fn write(&self, query: &Query, echo: &Echo) -> Result<Vec<u8>, ProtoError> {
        let Self { code, authoritative, truncated, answers, authorities, additionals } = self;
        let count = |records: &[Record]| {
            u16::try_from(records.len()).map_err(|_| ProtoError::Message("more than 65,535 records"))
        };
        let has_opt = u16::from(query.edns.is_some());
        let mut flags = message::RESPONSE;
        for (set, flag) in [
            (*authoritative, message::AUTHORITATIVE),
            (*truncated, message::TRUNCATED),
            (query.recursion_desired, message::RECURSION_DESIRED),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let header = Header {
            id: query.id,
            flags,
            opcode: query.opcode.number(),
            rcode: code.low(),
            questions: 1,
            records: [count(answers)?, count(authorities)?, count(additionals)?.saturating_add(has_opt)],
        };
        let mut written = Vec::with_capacity(MIN_UDP.into());
        header.write(&mut written);
        let mut encoder = BinEncoder::with_offset(&mut written, message::HEADER as u32);
        emit_question(&mut encoder, &query.name, query.record_type, query.class.into())?;
        for record in answers.iter().chain(authorities).chain(additionals) {
            record.emit(&mut encoder)?;
        }
        if let Some(edns) = &query.edns {
            opt(edns, *code, echo).write(&mut written);
        }
        Ok(written)
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
        // A cookie of the client alone would say that this server knows no cookies, so there is none.
        cookie: asked.cookie.as_ref().filter(|_| echo.cookie.is_some()).map(with_server),
    };
    // To a resolver that names no network the answer is for all of its clients (RFC 7871 §7.1.2).
    let for_all = asked.ecs.is_none_or(|ecs| ecs.source() == 0) || seeded("scope-zero");
    Opt { edns, rcode: code.high(), scope: if for_all { 0 } else { echo.scope } }
}

/// A question behind a header.
pub(crate) fn question(written: &mut Vec<u8>, asked: &Asked) {
    let mut encoder = BinEncoder::with_offset(written, message::HEADER as u32);
    emit_question(&mut encoder, &asked.name, asked.record_type, asked.class.into())
        .expect("a name that was read can be written");
}

pub(crate) fn emit_question(
    encoder: &mut BinEncoder<'_>,
    name: &Name,
    record_type: RecordType,
    class: u16,
) -> Result<(), ProtoError> {
    name.emit(encoder)?;
    record_type.emit(encoder)?;
    encoder.emit_u16(class)
}

#[cfg(test)]
mod tests;
