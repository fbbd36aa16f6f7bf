//! Replies of name servers: bytes → records, for clients.

use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};

use crate::{
    Edns,
    edns::Opt,
    message::{self, Asked, Header, Reader},
    tsig::BadSignature,
};

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The response code, with its upper bits from EDNS.
    pub code: ResponseCode,
    /// The server is an authority for the name (AA).
    pub authoritative: bool,
    /// There is more: ask over TCP (TC).
    pub truncated: bool,
    /// Records that answer the question.
    pub answers: Vec<Record>,
    /// The zone's SOA or NS.
    pub authorities: Vec<Record>,
    /// Addresses of name servers.
    pub additionals: Vec<Record>,
    /// The server's size and cookie, and the network that it answered for.
    pub edns: Option<Edns>,
    /// Bits of the network for which the answer holds. It counts only where `edns` has a network.
    pub scope: u8,
}

/// Why a message is not the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// It is none, or that of another question.
    #[error("the message is not the reply to this question")]
    Another,
    /// It ends too early, or breaks a rule of its records.
    #[error("the reply cannot be read")]
    Broken,
    /// It is not to be believed.
    #[error(transparent)]
    Signature(BadSignature),
}

impl Reply {
    pub(crate) fn read(header: &Header, message: &[u8]) -> Result<(Self, Option<Asked>), BadReply> {
        let mut reader = Reader::behind_header(message);
        let asked = match header.questions {
            0 => None,
            1 => Some(reader.question().map_err(|_| BadReply::Broken)?),
            _ => return Err(BadReply::Broken),
        };
        let mut opt = None;
        let mut sections = [vec![], vec![], vec![]];
        for (at, count) in header.records.into_iter().enumerate() {
            for _ in 0..count {
                let head = reader.record().map_err(|_| BadReply::Broken)?;
                match RecordType::from(head.record_type) {
                    // About the message itself: in the additional section only.
                    RecordType::OPT | RecordType::TSIG if at < 2 => return Err(BadReply::Broken),
                    RecordType::OPT => {
                        let read = Opt::read(&head, message).map_err(|_| BadReply::Broken)?;
                        if opt.replace(read).is_some() {
                            return Err(BadReply::Broken);
                        }
                    }
                    RecordType::TSIG => {} // `Transaction::check` reads it
                    _ => sections[at].push(head.record(message).map_err(|_| BadReply::Broken)?),
                }
            }
        }
        let [answers, authorities, additionals] = sections;
        let (high, scope) = opt.as_ref().map_or((0, 0), |opt| (opt.rcode, opt.scope));
        let reply = Self {
            code: match ResponseCode::from(high, header.rcode) {
                ResponseCode::BADSIG => ResponseCode::BADVERS, // of one number; BADSIG is in TSIG records only
                other => other,
            },
            authoritative: header.has(message::AUTHORITATIVE),
            truncated: header.has(message::TRUNCATED),
            answers,
            authorities,
            additionals,
            edns: opt.map(|opt| opt.edns),
            scope,
        };
        Ok((reply, asked))
    }
}
