//! Signatures of messages with a shared key (RFC 8945), by HMAC-SHA256.
//!
//! A server calls [`verify`] on a query with a [`Signature`], and signs each message of its answer with the [`Transaction`] that it gets.
//! A client gives its key to a [`Request`](crate::Request), and checks each message of the answer with [`Transaction::check`].
//!
//! In a transaction each signature covers the one before. So no message of a transfer can be left out, repeated or come from another
//! transfer (§5.3.1).

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
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
    message::{HEADER, Head, Header, Reader},
    seeded::seeded,
};

/// Seconds by which the clocks of the two ends may differ (§10 recommends 300).
pub const FUDGE: u16 = 300;
/// Octets of a MAC.
const MAC: usize = 32;
/// Octets of the shortest MAC that is well-formed: half of a whole one (§5.2.2.1).
const SHORTEST_MAC: usize = MAC / 2;
/// Octets of the shortest secret. Half of what RFC 8945 recommends, and beyond what can be tried out.
pub const SHORTEST_SECRET: usize = 16;

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

/// Why octets are no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret of TSIG key {name} has {octets} octets; make one of at least {SHORTEST_SECRET}, such as by `openssl rand -base64 32`"
)]
pub struct BadSecret {
    /// Of the key.
    pub name: Name,
    /// How many there are.
    pub octets: usize,
}

impl Key {
    /// A key of this name, which both ends have to spell equally.
    pub fn new(name: Name, secret: &[u8]) -> Result<Self, BadSecret> {
        if secret.len() < SHORTEST_SECRET {
            return Err(BadSecret { name, octets: secret.len() });
        }
        Ok(Self { name, secret: hmac::Key::new(hmac::HMAC_SHA256, secret) })
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

/// What of a TSIG record its MAC covers.
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

    /// Whether the MAC, or the part of it that is there, is that of the message.
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
    let Some(key) = key.filter(|key| signature.is_of(key)) else {
        return Err(Refused::UnknownKey(signature.key.clone()));
    };
    let tsig = &signature.tsig;
    if !(SHORTEST_MAC..=MAC).contains(&tsig.mac.len()) {
        return Err(Refused::BadLength);
    }
    if !signature.holds(key, None, message, true) {
        return Err(Refused::BadSignature(signature.key.clone()));
    }
    let transaction = Transaction { key: key.clone(), before: tsig.mac.clone(), id: tsig.oid, first: true };
    if !signature.in_time(now) {
        return Err(Refused::BadTime(transaction, tsig.time));
    }
    if tsig.mac.len() < MAC {
        return Err(Refused::Truncated(transaction));
    }
    Ok(transaction)
}

/// Why a signed query is refused. It is answered with [`Refused::reply`], and not otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
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
    #[error("the message was signed at {1}, which is not within {FUDGE} s of this node's clock")]
    BadTime(Transaction, u64),
    /// §5.2.4.
    #[error("the MAC is truncated; whole ones are accepted only")]
    Truncated(Transaction),
}

impl Refused {
    /// The reply: NOTAUTH with the error of TSIG. It is signed if the client has shown that it has the key (§5.3.2).
    pub fn reply(self, query: &Query, now: u64) -> Vec<u8> {
        let code = match self {
            Self::BadLength => ResponseCode::FormErr,
            Self::UnknownKey(_) | Self::BadSignature(_) | Self::BadTime(..) | Self::Truncated(_) => {
                ResponseCode::NotAuth
            }
        };
        let mut reply = Answer::error(code).encode(query, &Echo::default(), Transport::Udp);
        match self {
            Self::BadLength => {}
            Self::UnknownKey(name) => attach(&mut reply, &name, &without_mac(query.id, now, BADKEY)),
            Self::BadSignature(name) => attach(&mut reply, &name, &without_mac(query.id, now, BADSIG)),
            Self::BadTime(mut transaction, theirs) => {
                // The client's own time, so that it can check the signature, and ours beside it.
                let mut tsig = without_mac(transaction.id, theirs, BADTIME);
                tsig.other = now.to_be_bytes()[2..].to_vec();
                transaction.attach(&mut reply, tsig);
            }
            Self::Truncated(mut transaction) => {
                let tsig = without_mac(transaction.id, now, BADTRUNC);
                transaction.attach(&mut reply, tsig);
            }
        }
        reply
    }
}

/// The data of a TSIG record without a MAC. `error` is 0 where there is none.
fn without_mac(id: u16, time: u64, error: u16) -> TSIG {
    let error = (error != 0).then(|| error.into());
    TSIG::new(TsigAlgorithm::HmacSha256, time, FUDGE, Vec::new(), id, error, Vec::new())
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

/// A query with its answer, which may have several messages. Each signature covers the one before it.
#[derive(Debug, Clone)]
pub struct Transaction {
    key: Key,
    /// The MAC of the message before.
    before: Vec<u8>,
    /// The id that the client chose.
    id: u16,
    /// The next message of the answer is the first one.
    first: bool,
}

impl Transaction {
    /// Signs a client's message.
    pub(crate) fn begin(key: &Key, message: &mut Vec<u8>, now: u64) -> Self {
        let id = u16::from_be_bytes([message[0], message[1]]);
        let tsig = without_mac(id, now, 0);
        let mac = key.mac(None, message, &Covered::All(&key.name, &tsig));
        attach(message, &key.name, &tsig.set_mac(mac.to_vec()));
        Self { key: key.clone(), before: mac.to_vec(), id, first: true }
    }

    /// Octets that a signature takes in a message.
    pub fn room(&self) -> usize {
        let mut record = vec![0; HEADER];
        attach(&mut record, &self.key.name, &without_mac(0, 0, 0).set_mac(vec![0; MAC]));
        record.len() - HEADER
    }

    /// Signs the next message of the answer. `now` is in seconds since 1970.
    pub fn sign(&mut self, mut message: Vec<u8>, now: u64) -> Vec<u8> {
        self.attach(&mut message, without_mac(self.id, now, 0));
        message
    }

    fn attach(&mut self, message: &mut Vec<u8>, tsig: TSIG) {
        let covered = match self.first {
            true => Covered::All(&self.key.name, &tsig),
            false => Covered::Timers(&tsig),
        };
        let mac = self.key.mac(Some(&self.before), message, &covered);
        attach(message, &self.key.name, &tsig.set_mac(mac.to_vec()));
        self.first = false;
        if !seeded("tsig-unchained") {
            self.before = mac.to_vec();
        }
    }

    /// Checks the next message of the answer, each of which has to be signed. Afterwards the message may be believed.
    pub fn check(&mut self, message: &[u8], now: u64) -> Result<(), BadSignature> {
        let signature = last_record(message).ok_or(BadSignature::Unsigned)?;
        let said = signature.tsig.error.map_or(0, u16::from);
        if signature.tsig.mac.is_empty() && said != 0 {
            return Err(BadSignature::Refused(said));
        }
        if !signature.is_of(&self.key) || signature.tsig.mac.len() != MAC {
            return Err(BadSignature::Other);
        }
        if !signature.holds(&self.key, Some(&self.before), message, self.first) {
            return Err(BadSignature::Other);
        }
        (self.before, self.first) = (signature.tsig.mac.clone(), false);
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
