//! The entries that are kept, and the chain that they are in.

use std::sync::Arc;

use bytes::Bytes;
use hanse_management::{Problem, ProblemName};
use hanse_proto::control as proto;
use imbl::OrdMap;
use prost::Message;

use super::{AuditEntry, AuditHash, wire};

/// How many entries are kept. 20 writes an hour make 175,000 a year. A federation that writes more often exports more often.
const MAX_ENTRIES: usize = 200_000;
/// How many bytes they have together. Each control node has them in memory and writes them with each snapshot.
const MAX_BYTES: usize = 64 << 20;
/// From this share on, writes warn: a fifth is left to export in peace.
const WARN_PERCENT: usize = 80;
/// From this share on, a token of one organization writes no more. The rest is for admins: no organization stops them.
const ORGANIZATION_PERCENT: usize = 90;

/// The chain, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AuditLog {
    entries: OrdMap<u64, Arc<Kept>>,
    /// What `message` of all of them have.
    bytes: usize,
    /// The last entry that was dropped: the chain begins behind it. Before the first drop, 0 and zeros.
    start: AuditLink,
}

/// An entry's place in the chain: its number and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditLink {
    /// The number.
    pub number: u64,
    /// The hash.
    pub hash: AuditHash,
}

/// An entry as it is hashed.
#[derive(Debug, PartialEq)]
struct Kept {
    message: Bytes,
    hash: AuditHash,
}

impl AuditLog {
    /// The last entry that was dropped. Number 0: none was.
    pub fn start(&self) -> AuditLink {
        self.start
    }

    /// The last entry. Where none is kept, the last one that was dropped.
    pub fn head(&self) -> AuditLink {
        let last = self.entries.get_max();
        last.map_or(self.start, |(number, kept)| AuditLink { number: *number, hash: kept.hash })
    }

    pub(super) fn last_number(&self) -> u64 {
        self.head().number
    }

    /// The entries from `number` on, each with the hash of the one before it and its own.
    pub fn from(&self, number: u64) -> impl Iterator<Item = (AuditEntry, AuditHash, AuditHash)> + '_ {
        let before = number.checked_sub(1).and_then(|before| self.entries.get(&before));
        let mut previous = before.map_or(self.start.hash, |kept| kept.hash);
        self.entries.range(number..).map(move |(_, kept)| {
            let of_this = std::mem::replace(&mut previous, kept.hash);
            let entry = AuditEntry::decode(&kept.message).expect("what is kept was encoded here, or checked");
            (entry, of_this, kept.hash)
        })
    }

    /// The entries as they are stored: a snapshot has them without a look at what they say.
    pub(crate) fn stored(&self) -> impl Iterator<Item = proto::AuditEntry> + '_ {
        self.entries.values().map(|kept| {
            proto::AuditEntry::decode(kept.message.clone())
                .expect("what is kept was encoded here, or checked")
        })
    }

    /// Why writes should be followed by an export soon; `None`: there is room.
    pub fn warning(&self) -> Option<String> {
        let percent = self.percent();
        (percent >= WARN_PERCENT).then(|| {
            format!(
                "the audit log is {}% full; when it is full, no operator can write: hanse audit export --to FILE --drop",
                percent.min(100)
            )
        })
    }

    /// How full it is.
    fn percent(&self) -> usize {
        (self.entries.len() * 100 / MAX_ENTRIES).max(self.bytes * 100 / MAX_BYTES)
    }

    /// Refuses a write of an operator when there is no room for it.
    pub(crate) fn check_room(&self, of_organization: bool) -> Result<(), Problem> {
        let (end, whose) = match of_organization {
            true => (ORGANIZATION_PERCENT, " for tokens of an organization"),
            false => (100, ""),
        };
        if self.percent() < end {
            return Ok(());
        }
        let (entries, bytes) = (self.entries.len(), self.bytes);
        let detail = format!("the audit log is full{whose}: {entries} entries of {bytes} bytes");
        Err(Problem::new(ProblemName::AuditFull, detail)
            .remedy("export the log and drop what was exported: hanse audit export --to FILE --drop"))
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: &AuditEntry) {
        let message: Bytes = entry.to_proto().encode_to_vec().into();
        let hash = wire::hash(&message, &self.head().hash);
        self.bytes += message.len();
        self.entries.insert(entry.number, Arc::new(Kept { message, hash }));
    }

    /// Drops the entries up to `last`, which must be there as it says.
    pub(crate) fn drop_through(&mut self, last: AuditLink) -> Result<(), Problem> {
        let kept = self.entries.get(&last.number).ok_or_else(|| {
            let first = self.start.number + 1;
            let detail = format!(
                "the audit log has no entry {}: it has {first} to {}",
                last.number,
                self.last_number()
            );
            Problem::new(ProblemName::NotFound, detail)
                .at("through")
                .remedy("name an entry that was exported")
        })?;
        if kept.hash != last.hash {
            let detail = format!("entry {} has another hash than the one that was exported", last.number);
            return Err(Problem::new(ProblemName::Conflict, detail)
                .at("hash")
                .remedy("find out why: hanse audit verify FILE; then export again"));
        }
        // What stays is copied: mostly nothing, where removing what goes takes a step for each of 200,000.
        let rest = self.entries.range(last.number + 1..);
        self.entries = rest.map(|(number, entry)| (*number, entry.clone())).collect();
        self.bytes = self.entries.values().map(|entry| entry.message.len()).sum();
        self.start = last;
        Ok(())
    }

    /// The same chain, of which the first entry takes this share of the room.
    #[cfg(test)]
    pub(crate) fn filled(log: &Self, percent: usize) -> Self {
        let mut filled = log.clone();
        let (number, first) = filled.entries.get_min().cloned().expect("it has an entry");
        let message: Bytes = vec![0; (MAX_BYTES * percent).div_ceil(100)].into();
        filled.bytes = filled.bytes - first.message.len() + message.len();
        filled.entries.insert(number, Arc::new(Kept { message, hash: first.hash }));
        filled
    }

    /// The chain that begins behind `start`.
    pub(crate) fn after(start: AuditLink) -> Self {
        Self { start, ..Self::default() }
    }
}
