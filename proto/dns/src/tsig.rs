//! Signatures of messages with a shared key (RFC 8945), by HMAC-SHA256.
//!
//! A server calls [`verify`] on a query with a [`Signature`], and signs each message of its answer with the [`Transaction`] that it gets.
//! A client gives its key to a [`Request`](crate::Request), and checks each message of the answer with [`Expected::check`].
//!
//! In a transaction each signature covers the one before. So no message of a transfer can be left out, repeated or come from another
//! transfer (§5.3.1).

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use hanse_topology::is_brought_back;
use hickory_proto::{
    op::ResponseCode,
    rr::{
        DNSClass, Name, RData, RecordType,
        rdata::{TSIG, tsig::TsigAlgorithm},
    },
    serialize::binary::{BinEncodable as _, BinEncoder},
};

use crate::{
    Answer, Echo, Query, Transport,
    message::{HEADER, Head, Header, Reader, octets_of},
};

/// Seconds by which the clocks of the two ends may differ (§10 recommends 300).
pub const FUDGE: u16 = 300;
/// Octets of a MAC.
const MAC: usize = 32;
/// Octets of the shortest MAC that is well-formed: half of a whole one (§5.2.2.1).
const SHORTEST_MAC: usize = MAC / 2;
/// Octets of the shortest secret. Half of what RFC 8945 recommends, and beyond what can be tried out.
pub const SHORTEST_SECRET: usize = 16;
/// Octets of the longest name of a key. With it an answer without records fits into the 512 octets that each client takes: 12 of the header,
/// 259 of the longest question, 63 of an OPT record with a network and a cookie, 71 of a signature without the name.
pub const LONGEST_NAME: usize = 107;

/// Errors of TSIG (§3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// A key that both ends have.
#[derive(Clone)]
pub struct Key {
    name: Name,
    secret: hmac::Key,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

/// Why a name and octets are no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret could be tried out.
    #[error(
        "the secret of TSIG key {name} has {octets} octets; make one of at least {SHORTEST_SECRET}, such as by `openssl rand -base64 32`"
    )]
    ShortSecret {
        /// Of the key.
        name: Name,
        /// How many there are.
        octets: usize,
    },
    /// Signatures would leave no room for answers.
    #[error("the name of TSIG key {name} has {octets} octets; use one of at most {LONGEST_NAME}")]
    LongName {
        /// Of the key.
        name: Name,
        /// How many there are in a message.
        octets: usize,
    },
}

impl Key {
    /// A key of this name, which both ends have to spell equally.
    pub fn new(name: Name, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(KeyError::ShortSecret { name, octets: secret.len() });
        }
        let octets = octets_of(&name);
        if octets > LONGEST_NAME {
            return Err(KeyError::LongName { name, octets });
        }
        Ok(Self { name, secret: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    /// Octets that a signature takes in a message.
    pub(crate) fn room(&self) -> usize {
        let tsig = without_mac(TsigAlgorithm::HmacSha256, 0, 0, 0).set_mac(vec![0; MAC]);
        let mut record = vec![0; HEADER];
        attach(&mut record, &self.name, &tsig);
        record.len() - HEADER
    }

    /// By this name both ends know the key.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The MAC of a message without its TSIG record (§4.3).
    fn mac(&self, before: Option<&[u8]>, message: &[u8], covered: &Covered<'_>) -> [u8; MAC] {
        let mut digest = hmac::Context::with_key(&self.secret);
        if let Some(before) = before {
            digest.update(&(before.len() as u16).to_be_bytes());
            digest.update(before);
        }
        digest.update(message);
        digest.update(&covered.octets());
        let mut mac = [0; MAC];
        mac.copy_from_slice(digest.sign().as_ref());
        mac
    }
}

/// The fields of a TSIG record that its MAC covers.
enum Covered<'a> {
    /// All variables (§4.3.3).
    All(&'a Name, &'a TSIG),
    /// Of all messages of an answer but the first: the time (§5.3.1).
    Timers(&'a TSIG),
}

impl Covered<'_> {
    fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        match self {
            Self::All(name, tsig) => tsig
                .emit_tsig_for_mac(&mut BinEncoder::new(&mut octets), name)
                .expect("names and 64 KiB of other data have been in a message"),
            Self::Timers(tsig) => {
                octets.extend(&tsig.time.to_be_bytes()[2..]);
                octets.extend(tsig.fudge.to_be_bytes());
            }
        }
        octets
    }
}

/// The TSIG record of a message, which says nothing before it was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Where the record begins: the signed part ends there.
    at: usize,
    key: Name,
    tsig: TSIG,
}

impl Signature {
    /// A record of type TSIG that is the last of its message; `None`: it breaks §4.2.
    pub(crate) fn read(head: &Head, message: &[u8]) -> Option<Self> {
        if DNSClass::from(head.class) != DNSClass::ANY || head.ttl != 0 {
            return None;
        }
        let record = head.record(message).ok()?;
        let RData::TSIG(tsig) = record.data else { return None };
        Some(Self { at: head.at, key: record.name, tsig })
    }

    /// The name of the key that the sender says it used.
    pub fn key(&self) -> &Name {
        &self.key
    }

    /// The message as it was signed: without the record, and with the id that it was sent with at first (§4.3.2).
    fn signed(&self, message: &[u8]) -> Vec<u8> {
        let mut signed = message[..self.at].to_vec();
        signed[..2].copy_from_slice(&self.tsig.oid.to_be_bytes());
        let records = &mut signed[HEADER - 2..HEADER];
        let count = u16::from_be_bytes([records[0], records[1]]);
        records.copy_from_slice(&count.saturating_sub(1).to_be_bytes());
        signed
    }

    /// Whether the MAC fits the message. A truncated MAC is compared with the beginning of the whole one.
    fn holds(&self, key: &Key, before: Option<&[u8]>, message: &[u8], first: bool) -> bool {
        let covered = match first {
            true => Covered::All(&self.key, &self.tsig),
            false => Covered::Timers(&self.tsig),
        };
        let mac = key.mac(before, &self.signed(message), &covered);
        mac.get(..self.tsig.mac.len())
            .is_some_and(|part| verify_slices_are_equal(part, &self.tsig.mac).is_ok())
    }

    fn in_time(&self, now: u64) -> bool {
        self.tsig.time.abs_diff(now) <= self.tsig.fudge.min(FUDGE).into()
    }

    fn is_of(&self, key: &Key) -> bool {
        // As names, which have no case; `TsigAlgorithm` compares with it.
        self.key == key.name && self.tsig.algorithm.to_name() == TsigAlgorithm::HmacSha256.to_name()
    }
}

/// Verifies a query in the order of §5.2. The message is that from which [`Query::read`] read the signature, and `now` is in seconds since 1970.
pub fn verify(
    message: &[u8],
    signature: &Signature,
    key: Option<&Key>,
    now: u64,
) -> Result<Transaction, Refused> {
    let refused = |refusal, answered| Err(Refused { refusal, answered });
    let tsig = &signature.tsig;
    let unsigned = |error| Answered::Unsigned(signature.key.clone(), tsig.algorithm.clone(), error);
    let Some(key) = key.filter(|key| signature.is_of(key)) else {
        return refused(Refusal::UnknownKey(signature.key.clone()), unsigned(BADKEY));
    };
    if !(SHORTEST_MAC..=MAC).contains(&tsig.mac.len()) {
        return refused(Refusal::BadLength, Answered::Nothing);
    }
    if !signature.holds(key, None, message, true) {
        return refused(Refusal::BadSignature(signature.key.clone()), unsigned(BADSIG));
    }
    let chain = Chain { key: key.clone(), before: tsig.mac.clone(), id: tsig.oid, first: true };
    if !signature.in_time(now) {
        return refused(Refusal::BadTime(tsig.time), Answered::Late(chain, tsig.time));
    }
    if tsig.mac.len() < MAC {
        return refused(Refusal::Truncated, Answered::Short(chain));
    }
    Ok(Transaction(chain))
}

/// A signed query that is refused. It is answered with [`Refused::reply`], and not otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    /// Why it is refused.
    pub refusal: Refusal,
    /// What the reply has for a TSIG record. It is private, so that no caller signs anything else with it.
    answered: Answered,
}

/// Why a signed query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// §5.2.1.
    #[error("no key {0} for HMAC-SHA256 is known here")]
    UnknownKey(Name),
    /// §5.2.2.1: no algorithm makes such a MAC.
    #[error("the MAC has not {SHORTEST_MAC} to {MAC} octets")]
    BadLength,
    /// §5.2.2.
    #[error("the signature is not that of key {0} for this message")]
    BadSignature(Name),
    /// §5.2.3. The time is the client's.
    #[error("the message was signed at {0}, which is not within {FUDGE} s of this node's clock")]
    BadTime(u64),
    /// §5.2.4.
    #[error("the MAC is truncated; whole ones are accepted only")]
    Truncated,
}

#[derive(Debug, Clone)]
enum Answered {
    /// FORMERR without a record.
    Nothing,
    /// The key and algorithm of the query, and an error.
    Unsigned(Name, TsigAlgorithm, u16),
    /// BADTIME for a client that has the key, with its own time.
    Late(Chain, u64),
    /// BADTRUNC for a client that has the key.
    Short(Chain),
}

impl Refused {
    /// The reply: NOTAUTH with the error of TSIG. It is signed if the client has shown that it has the key (§5.3.2).
    ///
    /// A reply that is longer than the client takes becomes FORMERR: two names of 255 octets for key and algorithm need 600 octets.
    pub fn reply(self, query: &Query, now: u64) -> Vec<u8> {
        let bare = |code| {
            let encoded = Answer::error(code).encode(query, &Echo::default(), Transport::Udp);
            encoded.expect("an answer without records fits, and has none that cannot be encoded")
        };
        let mut reply = bare(ResponseCode::NotAuth);
        match self.answered {
            Answered::Nothing => return bare(ResponseCode::FormErr),
            Answered::Unsigned(key, algorithm, error) => {
                attach(&mut reply, &key, &without_mac(algorithm, query.id, now, error));
            }
            Answered::Late(mut chain, theirs) => {
                // The client's own time, so that it can check the signature, and ours beside it.
                let mut tsig = without_mac(TsigAlgorithm::HmacSha256, chain.id, theirs, BADTIME);
                tsig.other = now.to_be_bytes()[2..].to_vec();
                chain.attach(&mut reply, tsig);
            }
            Answered::Short(mut chain) => {
                let tsig = without_mac(TsigAlgorithm::HmacSha256, chain.id, now, BADTRUNC);
                chain.attach(&mut reply, tsig);
            }
        }
        if reply.len() <= Transport::Udp.room(query) { reply } else { bare(ResponseCode::FormErr) }
    }
}

/// The data of a TSIG record without a MAC. `error` is 0 where there is none.
fn without_mac(algorithm: TsigAlgorithm, id: u16, time: u64, error: u16) -> TSIG {
    let error = (error != 0).then(|| error.into());
    TSIG::new(algorithm, time, FUDGE, Vec::new(), id, error, Vec::new())
}

/// Puts a record at the end of a message.
fn attach(message: &mut Vec<u8>, key: &Name, tsig: &TSIG) {
    let written = "names and a MAC fit into a record";
    let mut record = Vec::new();
    key.emit(&mut BinEncoder::new(&mut record)).expect(written);
    record.extend(u16::from(RecordType::TSIG).to_be_bytes());
    record.extend(u16::from(DNSClass::ANY).to_be_bytes());
    record.extend([0; 4]);
    let mut data = Vec::new();
    tsig.emit(&mut BinEncoder::new(&mut data)).expect(written);
    record.extend((data.len() as u16).to_be_bytes());
    message.extend(record);
    message.extend(data);
    let records = &mut message[HEADER - 2..HEADER];
    let count = u16::from_be_bytes([records[0], records[1]]) + 1;
    records.copy_from_slice(&count.to_be_bytes());
}

/// The messages of a transaction, of which each signature covers the one before.
#[derive(Debug, Clone)]
struct Chain {
    key: Key,
    /// The MAC of the message before.
    before: Vec<u8>,
    /// The id that the client chose.
    id: u16,
    /// The next message of the answer is the first one.
    first: bool,
}

impl Chain {
    fn attach(&mut self, message: &mut Vec<u8>, tsig: TSIG) {
        let covered = match self.first {
            true => Covered::All(&self.key.name, &tsig),
            false => Covered::Timers(&tsig),
        };
        let mac = self.key.mac(Some(&self.before), message, &covered);
        attach(message, &self.key.name, &tsig.set_mac(mac.to_vec()));
        self.first = false;
        if !is_brought_back("tsig-unchained") {
            self.before = mac.to_vec();
        }
    }
}

/// At the server: a query that was verified. [`verify`] alone makes one.
#[derive(Debug, Clone)]
pub struct Transaction(Chain);

impl Transaction {
    /// Octets that a signature takes in a message.
    pub fn room(&self) -> usize {
        self.0.key.room()
    }

    /// Signs the next message of the answer. `now` is in seconds since 1970.
    pub fn sign(&mut self, mut message: Vec<u8>, now: u64) -> Vec<u8> {
        let tsig = without_mac(TsigAlgorithm::HmacSha256, self.0.id, now, 0);
        self.0.attach(&mut message, tsig);
        message
    }
}

/// At the client: the answer to a request that was signed. It signs nothing.
#[derive(Debug, Clone)]
pub struct Expected(Chain);

impl Expected {
    /// Signs a client's message.
    pub(crate) fn begin(key: &Key, message: &mut Vec<u8>, now: u64) -> Self {
        let id = u16::from_be_bytes([message[0], message[1]]);
        let tsig = without_mac(TsigAlgorithm::HmacSha256, id, now, 0);
        let mac = key.mac(None, message, &Covered::All(&key.name, &tsig));
        attach(message, &key.name, &tsig.set_mac(mac.to_vec()));
        Self(Chain { key: key.clone(), before: mac.to_vec(), id, first: true })
    }

    /// Checks the next message of the answer, each of which has to be signed. Afterwards the message may be believed.
    pub fn check(&mut self, message: &[u8], now: u64) -> Result<(), BadSignature> {
        let chain = &mut self.0;
        let signature = last_record(message).ok_or(BadSignature::Unsigned)?;
        let said = signature.tsig.error.map_or(0, u16::from);
        if signature.tsig.mac.is_empty() && said != 0 {
            return Err(BadSignature::Refused(said));
        }
        if !signature.is_of(&chain.key) || signature.tsig.mac.len() != MAC {
            return Err(BadSignature::Other);
        }
        if !signature.holds(&chain.key, Some(&chain.before), message, chain.first) {
            return Err(BadSignature::Other);
        }
        (chain.before, chain.first) = (signature.tsig.mac.clone(), false);
        if said != 0 {
            return Err(BadSignature::Refused(said));
        }
        if signature.in_time(now) { Ok(()) } else { Err(BadSignature::Time) }
    }
}

/// Why an answer is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// It has none.
    #[error("the answer is not signed")]
    Unsigned,
    /// Another key, another message, or another message before it.
    #[error("the answer is not signed with the key and in the order of this transaction")]
    Other,
    /// §5.4.
    #[error("the answer was signed more than {FUDGE} s from this node's clock")]
    Time,
    /// The server says so, in the numbers of RFC 8945 §3.
    #[error("the server refuses the signature: {}", error_name(*.0))]
    Refused(u16),
}

fn error_name(error: u16) -> String {
    match error {
        BADSIG => "BADSIG: the two ends have different secrets under this name".to_owned(),
        BADKEY => "BADKEY: it knows no key of this name for HMAC-SHA256".to_owned(),
        BADTIME => "BADTIME: its clock differs by more than the message allows".to_owned(),
        BADTRUNC => "BADTRUNC: it wants a whole MAC".to_owned(),
        other => format!("error {other}"),
    }
}

/// The TSIG record of a message that is well-formed up to it.
fn last_record(message: &[u8]) -> Option<Signature> {
    let header = Header::read(message)?;
    let mut reader = Reader::behind_header(message);
    for _ in 0..header.questions {
        reader.question().ok()?;
    }
    let records = header.records.iter().map(|count| usize::from(*count)).sum::<usize>();
    let mut last = None;
    for _ in 0..records {
        last = Some(reader.record().ok()?);
    }
    let last = last.filter(|_| header.records[2] > 0 && reader.at_end())?;
    (last.record_type == u16::from(RecordType::TSIG)).then(|| Signature::read(&last, message))?
}

#[cfg(test)]
pub(crate) mod tests;
