//! What a client asks: bytes → [`Query`], or [`Malformed`] with the reply that it gets.

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, RecordType},
};

use crate::{
    Edns, MAX_UDP,
    edns::{self, BadOpt, MIN_UDP, Opt},
    message::{self, Asked, Head, Header, Reader},
    tsig::Signature,
    writer::Writer,
};

/// A query or a NOTIFY.
#[derive(Debug, Clone)]
pub struct Query {
    /// Echoed.
    pub id: u16,
    /// What the client wants.
    pub opcode: Opcode,
    /// The name, in the case in which the client wrote it.
    pub name: Name,
    /// The type of the records.
    pub record_type: RecordType,
    /// The class; of the Internet it is [`DNSClass::IN`].
    pub class: DNSClass,
    /// Echoed. An authoritative server asks no other server.
    pub recursion_desired: bool,
    /// `None`: the client knows no EDNS, so the answer has none.
    pub edns: Option<Edns>,
    /// The serial of the zone that a secondary has, in its IXFR (RFC 1995 §3). `None`: another type, or the secondary names none.
    pub serial: Option<u32>,
    /// The signature. It counts for nothing before [`tsig::verify`](crate::tsig::verify).
    pub signature: Option<Signature>,
}

/// The operations that are read. All others are [`Problem::Opcode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// RFC 1035.
    Query,
    /// RFC 1996.
    Notify,
}

impl Opcode {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Query => message::QUERY,
            Self::Notify => message::NOTIFY,
        }
    }
}

/// Why a message is no query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Without an id there is no reply.
    #[error("the message is shorter than a header")]
    NoHeader,
    /// An answer to an answer could go round for ever.
    #[error("the message is a response")]
    Response,
    /// Neither QUERY nor NOTIFY.
    #[error("opcode {0} is not implemented")]
    Opcode(u8),
    /// RFC 9619. A query without a question that asks for a cookie (RFC 7873 §5.4) is refused, too.
    #[error("the message has {0} questions, not one")]
    Questions(u16),
    /// Its name ends too early, is too long or is compressed.
    #[error("the question cannot be read")]
    Question,
    /// It ends too early, or octets are left behind the last one.
    #[error("the records cannot be read")]
    Records,
    /// OPT or TSIG elsewhere than in the additional section, twice, or anything behind TSIG (RFC 6891 §6.1.1, RFC 8945 §5.1).
    #[error("a record of type {0} is in a place where none may be")]
    Place(RecordType),
    /// RFC 6891 §6.1.2.
    #[error("the OPT record cannot be read")]
    Opt,
    /// RFC 6891 §6.1.3.
    #[error("EDNS version {0} is not implemented")]
    Version(u8),
    /// RFC 7871 §6.
    #[error("the option for the client's network breaks RFC 7871, section 6, or is there twice")]
    Ecs,
    /// RFC 7873 §4.
    #[error("a cookie has neither 8 nor 16 to 40 octets")]
    Cookie,
    /// RFC 8945 §4.2.
    #[error("the TSIG record cannot be read")]
    Tsig,
}

impl Problem {
    /// The code of the reply; `None`: there is no reply.
    fn code(self) -> Option<ResponseCode> {
        match self {
            Self::NoHeader | Self::Response => None,
            Self::Opcode(_) => Some(ResponseCode::NotImp),
            Self::Version(_) => Some(ResponseCode::BADVERS),
            Self::Questions(_)
            | Self::Question
            | Self::Records
            | Self::Place(_)
            | Self::Opt
            | Self::Ecs
            | Self::Cookie
            | Self::Tsig => Some(ResponseCode::FormErr),
        }
    }
}

/// A message that is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Malformed {
    /// What is wrong with it.
    pub problem: Problem,
    /// What its sender gets; `None`: nothing. The question is echoed if it could be read.
    pub reply: Option<Vec<u8>>,
}

impl Query {
    /// Reads a message of a client.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        let header = Header::read(message).ok_or(Malformed { problem: Problem::NoHeader, reply: None })?;
        let refused = |problem: Problem, asked: Option<&Asked>| {
            let reply = problem.code().map(|code| reply(&header, message, asked, code));
            Malformed { problem, reply }
        };
        let opcode = opcode(&header).map_err(|problem| refused(problem, None))?;
        let mut reader = Reader::behind_header(message);
        let asked = reader.question().map_err(|_| refused(Problem::Question, None))?;
        let meta =
            Meta::read(&header, &asked, message, reader).map_err(|problem| refused(problem, Some(&asked)))?;
        Ok(Self {
            id: header.id,
            opcode,
            name: asked.name,
            record_type: asked.record_type,
            class: asked.class,
            recursion_desired: header.has(message::RECURSION_DESIRED),
            edns: meta.opt.map(|opt| opt.edns),
            serial: meta.serial,
            signature: meta.signature,
        })
    }

    /// Whether a secondary that asks by IXFR has the zone with this serial or a newer one, in the arithmetic of RFC 1982 §3.2.
    pub fn is_up_to_date(&self, serial: u32) -> bool {
        self.serial.is_some_and(|theirs| theirs.wrapping_sub(serial).cast_signed() >= 0)
    }
}

/// What is asked for, of a header with one question.
fn opcode(header: &Header) -> Result<Opcode, Problem> {
    if header.has(message::RESPONSE) {
        return Err(Problem::Response);
    }
    let opcode = match header.opcode {
        message::QUERY => Opcode::Query,
        message::NOTIFY => Opcode::Notify,
        other => return Err(Problem::Opcode(other)),
    };
    if header.questions == 1 { Ok(opcode) } else { Err(Problem::Questions(header.questions)) }
}

/// What records beside the question say of it.
struct Meta {
    serial: Option<u32>,
    opt: Option<Opt>,
    signature: Option<Signature>,
}

impl Meta {
    /// Reads OPT, TSIG and the SOA of IXFR. The data of all other records is skipped.
    fn read(header: &Header, asked: &Asked, message: &[u8], mut reader: Reader<'_>) -> Result<Self, Problem> {
        let mut meta = Self { serial: None, opt: None, signature: None };
        for (section, records) in header.records.into_iter().enumerate() {
            for _ in 0..records {
                let head = reader.record().map_err(|_| Problem::Records)?;
                let record_type = RecordType::from(head.record_type);
                let is_meta = matches!(record_type, RecordType::OPT | RecordType::TSIG);
                let misplaced =
                    is_meta && (section < 2 || meta.opt.is_some() && record_type == RecordType::OPT);
                if misplaced || meta.signature.is_some() {
                    return Err(Problem::Place(record_type));
                }
                if record_type == RecordType::OPT {
                    let opt = Opt::read(&head, message).map_err(problem_of)?;
                    if opt.scope != 0 {
                        return Err(Problem::Ecs); // answers have a scope
                    }
                    meta.opt = Some(opt);
                } else if record_type == RecordType::TSIG {
                    meta.signature = Some(Signature::read(&head, message).ok_or(Problem::Tsig)?);
                } else if record_type == RecordType::SOA
                    && section == 1
                    && asked.record_type == RecordType::IXFR
                {
                    meta.serial = Some(serial(&head, message).ok_or(Problem::Records)?);
                }
            }
        }
        if reader.at_end() { Ok(meta) } else { Err(Problem::Records) }
    }
}

fn serial(head: &Head, message: &[u8]) -> Option<u32> {
    let record = head.record(message).ok()?;
    if let RData::SOA(soa) = record.data { Some(soa.serial) } else { None }
}

fn problem_of(bad: BadOpt) -> Problem {
    match bad {
        BadOpt::Frame => Problem::Opt,
        BadOpt::Version(version) => Problem::Version(version),
        BadOpt::Ecs => Problem::Ecs,
        BadOpt::Cookie => Problem::Cookie,
    }
}

/// A reply without records to a message that could not be read whole.
fn reply(header: &Header, message: &[u8], asked: Option<&Asked>, code: ResponseCode) -> Vec<u8> {
    let mut reader = Reader::behind_header(message);
    let records = header.records.iter().map(|count| usize::from(*count)).sum();
    let behind_questions = (0..header.questions).all(|_| reader.question().is_ok());
    let with_opt = behind_questions && edns::is_in(message, &mut reader, records);
    let flags = message::RESPONSE | header.flags & message::RECURSION_DESIRED;
    let opt = with_opt.then(|| {
        let edns = Edns { size: MAX_UDP, dnssec_ok: false, ecs: None, cookie: None };
        Opt { edns, rcode: code.high(), scope: 0 }
    });
    let mut octets = Vec::with_capacity(MIN_UDP.into());
    let echo = Header::new(header.id, header.opcode, flags, code.low());
    let mut writer = Writer::new(&mut octets, MIN_UDP.into(), echo, opt);
    if let Some(asked) = asked {
        let written = writer.question(&asked.name, asked.record_type, asked.class);
        written.expect("a name that was read can be written, and fits");
    }
    writer.finish();
    octets
}

#[cfg(test)]
mod tests;
