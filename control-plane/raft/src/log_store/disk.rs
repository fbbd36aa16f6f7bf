//! The database itself: blocking calls, one owner.
//!
//! What must survive a loss of power, and in which order:
//! - A vote, and entries, are on the medium before they are acknowledged: sled's flush, then `fdatasync` on our own handle
//!   to its file, because sled's flush leaves the data in the drive's cache.
//! - sled recovers a prefix of what was written. Entries are written in order and removed from the end backwards, so a
//!   prefix never has a hole; at most its last entry is incomplete, was never acknowledged, and is dropped on open.
//! - `purged` is on the medium before the first purged entry is removed, and each step of the removal before the next, so
//!   sled never reuses space whose replacement could still be lost.
//! - sled's finished snapshots (`snap.*`) belong to the database: once segments were reused, the log cannot be recovered
//!   without the newest one. A torn one is still called `.generating`, and only such files are deleted.
//! - The commit mark is written with the next entries, or when nothing else is asked for a moment, and then without
//!   `fdatasync`: it only says how far to replay, and never runs ahead of the entries.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
};

use hanse_proto::raft;
use hanse_state::Version;
use prost::Message;

use super::{
    LogError,
    files::{delete_torn_snapshots, io_error, open_sled, sync_dir},
    records::{self, Joiner},
};
use crate::{
    type_config::{Entry, LogId, NodeId, Vote},
    wire,
};

/// The version that brought the form in which this build writes a log.
const FORM: Version = Version::FIRST;

/// Read at once while copying.
const COPY_BYTES: usize = 4 << 20;

/// Indexes that may be left out of what is appended; more is surely a mistake.
const MAX_HOLE: u64 = 64;

/// Entries removed in one step of a purge: about a millisecond.
const PURGE_STEP: u64 = 64;

/// What is known of the log without reading it.
#[derive(Debug, Clone, Default)]
pub(super) struct LogSummary {
    /// Whose log it is; `None`: it was never used.
    pub(super) owner: Option<NodeId>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

/// The open database.
pub(super) struct Disk {
    db: sled::Db,
    path: PathBuf,
    file: File,
    summary: LogSummary,
    /// Number of records of each entry; the first is the entry at `first`. 0: no such entry. openraft never leaves a
    /// hole, but its conformance suite does; opening refuses one.
    parts: VecDeque<u16>,
    first: u64,
    /// Purged entries from here up to `first` are still on disk.
    swept: u64,
    /// Bytes of the records there were when it was opened.
    live_bytes: u64,
    /// The commit mark is not yet in the file.
    mark_unwritten: bool,
}

impl Disk {
    /// Opens the database of node `owner`, made if absent, if `check` approves of what was recovered.
    pub(super) fn open(
        dir: &Path,
        owner: NodeId,
        check: impl FnOnce(&Self) -> Result<(), LogError>,
    ) -> Result<Self, LogError> {
        fs::create_dir_all(dir).map_err(io_error("making", dir))?;
        delete_torn_snapshots(dir)?;
        let db = open_sled(dir)?;
        let path = dir.join("db");
        let file = File::open(&path).map_err(io_error("opening", &path))?;
        file.sync_all().map_err(io_error("syncing", &path))?;
        sync_dir(dir)?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
        let mut disk = Self {
            db,
            path,
            file,
            summary: LogSummary::default(),
            parts: VecDeque::new(),
            first: 0,
            swept: 0,
            live_bytes: 0,
            mark_unwritten: false,
        };
        disk.load()?;
        check(&disk)?;
        disk.claim(owner)?;
        Ok(disk)
    }

    /// Two nodes that share an id, or one that changes it, could vote twice.
    fn claim(&mut self, owner: NodeId) -> Result<(), LogError> {
        match self.summary.owner {
            None => {
                // The form first: a log of which anything is left says how to read it.
                let form = raft::LogForm { version: FORM.number(), release: FORM.release().to_owned() };
                self.db.insert(records::FORM, form.encode_to_vec())?;
                self.db.insert(records::OWNER, &owner.to_be_bytes())?;
                self.summary.owner = Some(owner);
                self.flush()
            }
            Some(found) if found == owner => Ok(()),
            Some(found) => Err(LogError::Foreign { found, expected: owner }),
        }
    }

    /// Whether this build can read what there is.
    fn check_form(&self) -> Result<(), LogError> {
        match self.message::<raft::LogForm>(records::FORM)? {
            Some(form) if form.version == 0 => Err(LogError::Damaged("its form cannot be read".to_owned())),
            Some(form) => Ok(Version::read(form.version, &form.release).map(drop)?),
            None if self.db.is_empty() => Ok(()),
            None => Err(LogError::Damaged("it does not say in which form it is".to_owned())),
        }
    }

    fn load(&mut self) -> Result<(), LogError> {
        self.check_form()?;
        if let Some(owner) = self.db.get(records::OWNER)? {
            let owner = owner[..].try_into().map(u64::from_be_bytes);
            let owner = owner.map_err(|_| LogError::Damaged("its owner cannot be read".to_owned()))?;
            self.summary.owner = Some(owner);
        }
        self.summary.vote = self.message::<raft::Vote>(records::VOTE)?.map(wire::vote);
        self.summary.committed = self.message::<raft::LogId>(records::COMMITTED)?.map(wire::log_id);
        self.summary.purged = self.message::<raft::LogId>(records::PURGED)?.map(wire::log_id);
        self.first = self.summary.purged.map_or(0, |purged| purged.index + 1);
        self.swept = self.first;

        let mut joiner = Joiner::default();
        let mut last = None;
        for record in self.db.scan_prefix([records::LOG]) {
            let (key, value) = record?;
            self.live_bytes += value.len() as u64;
            let (index, part) = records::parse_key(&key)
                .ok_or_else(|| LogError::Damaged(format!("{key:?} is no key of a log")))?;
            if index < self.first {
                self.swept = self.swept.min(index);
                continue;
            }
            let hole = || LogError::Damaged(format!("a record is missing before entry {index}, part {part}"));
            if index != self.next() {
                return Err(hole());
            }
            if let Some(encoded) = joiner.push(index, part, &value).map_err(|_| hole())? {
                self.parts.push_back(part + 1);
                last = Some(encoded);
            }
        }
        if let Some(torn) = joiner.unfinished() {
            tracing::warn!(index = torn, "dropping the log's last entry, which was never written whole");
            let keys: Vec<_> = self.db.range(records::key(torn, 0)..).keys().collect::<Result<_, _>>()?;
            for key in keys.iter().rev().filter(|key| records::parse_key(key).is_some()) {
                self.db.remove(key)?;
            }
            self.flush()?;
        }
        self.summary.last = match last {
            Some(encoded) => Some(decode_entry(&encoded)?.log_id),
            None => self.summary.purged,
        };
        Ok(())
    }

    fn message<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, LogError> {
        let Some(value) = self.db.get(key)? else { return Ok(None) };
        M::decode(&value[..]).map(Some).map_err(|error| LogError::Damaged(error.to_string()))
    }

    /// The database's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file, and of the records in it when it was opened.
    pub(super) fn sizes(&self) -> Result<(u64, u64), LogError> {
        let file = self.file.metadata().map_err(io_error("measuring", &self.path))?;
        Ok((file.len(), self.live_bytes))
    }

    /// Copies everything into an empty database. Durable when it returns.
    pub(super) fn copy_to(&self, other: &mut Self) -> Result<(), LogError> {
        if let Some(purged) = self.summary.purged {
            other.purge(purged)?;
        }
        if let Some(vote) = self.summary.vote {
            other.save_vote(vote)?;
        }
        let mut index = self.first;
        while index < self.next() {
            let entries = self.read(index, self.next(), COPY_BYTES)?;
            index += entries.len() as u64;
            other.append(&entries)?;
        }
        other.save_committed(self.summary.committed)?;
        other.flush()
    }

    /// The index after the last entry's.
    fn next(&self) -> u64 {
        self.first + self.parts.len() as u64
    }

    pub(super) fn summary(&self) -> &LogSummary {
        &self.summary
    }

    /// What the entry at an index goes by: that of the last purged one too, and of none before it.
    pub(super) fn log_id(&self, index: u64) -> Result<Option<LogId>, LogError> {
        if let Some(purged) = self.summary.purged.filter(|purged| purged.index == index) {
            return Ok(Some(purged));
        }
        let entries = self.read(index, index.saturating_add(1), usize::MAX)?;
        Ok(entries.first().map(|entry| entry.log_id))
    }

    /// Writes entries at the log's end. Durable when it returns.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        for entry in entries {
            let index = entry.log_id.index;
            if self.parts.is_empty() {
                // openraft begins anywhere above what it purged.
                self.first = index;
            } else if index < self.next() || index - self.next() > MAX_HOLE {
                return Err(LogError::Damaged(format!("entry {index} came after entry {}", self.next() - 1)));
            }
            while self.next() < index {
                self.parts.push_back(0);
            }
            let encoded = wire::entry_to_proto(entry).encode_to_vec();
            let mut parts = 0;
            for (part, record) in (0..=u16::MAX).zip(records::split(&encoded)) {
                self.db.insert(records::key(index, part), record)?;
                parts = part + 1;
            }
            self.parts.push_back(parts);
            self.summary.last = Some(entry.log_id);
        }
        self.flush()
    }

    /// The entries of `start..end`, until their size exceeds `max_bytes`, at least one.
    pub(super) fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let start = start.max(self.first);
        let end = end.min(self.next());
        let mut entries = Vec::new();
        if start >= end {
            return Ok(entries);
        }
        let mut bytes = 0;
        let mut joiner = Joiner::default();
        for record in self.db.range(records::key(start, 0)..records::key(end, 0)) {
            let (key, value) = record?;
            let damaged =
                || LogError::Damaged(format!("entry {} cannot be read", start + entries.len() as u64));
            let (index, part) = records::parse_key(&key).ok_or_else(damaged)?;
            bytes += value.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            if let Some(encoded) = joiner.push(index, part, &value).map_err(|_| damaged())? {
                entries.push(decode_entry(&encoded)?);
            }
        }
        Ok(entries)
    }

    pub(super) fn save_vote(&mut self, vote: Vote) -> Result<(), LogError> {
        self.db.insert(records::VOTE, wire::vote_to_proto(&vote).encode_to_vec())?;
        self.summary.vote = Some(vote);
        self.flush()
    }

    pub(super) fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), LogError> {
        match committed {
            Some(log_id) => {
                self.db.insert(records::COMMITTED, wire::log_id_to_proto(&log_id).encode_to_vec())?
            }
            None => self.db.remove(records::COMMITTED)?,
        };
        self.summary.committed = committed;
        self.mark_unwritten = true;
        Ok(())
    }

    /// Removes the entries from `index` on. Durable when it returns.
    pub(super) fn truncate(&mut self, index: u64) -> Result<(), LogError> {
        while self.next() > index || self.parts.back() == Some(&0) {
            let Some(parts) = self.parts.pop_back() else { break };
            let removed = self.next();
            for part in (0..parts).rev() {
                self.db.remove(records::key(removed, part))?;
            }
        }
        self.flush()?;
        self.summary.last = match self.next().checked_sub(1) {
            Some(last) if !self.parts.is_empty() => self.log_id(last)?,
            _ => self.summary.purged,
        };
        Ok(())
    }

    /// Notes that the entries up to `upto` are gone; [`sweep`](Self::sweep) removes them.
    pub(super) fn purge(&mut self, upto: LogId) -> Result<(), LogError> {
        if self.summary.purged >= Some(upto) {
            return Ok(());
        }
        self.db.insert(records::PURGED, wire::log_id_to_proto(&upto).encode_to_vec())?;
        self.flush()?;
        self.summary.purged = Some(upto);
        self.swept = self.swept.min(self.first);
        while self.first <= upto.index && self.parts.pop_front().is_some() {
            self.first += 1;
        }
        if self.parts.is_empty() {
            self.first = upto.index + 1;
        }
        self.summary.last = self.summary.last.max(self.summary.purged);
        Ok(())
    }

    /// Whether purged entries are still on disk.
    pub(super) fn must_sweep(&self) -> bool {
        self.swept < self.first
    }

    /// Removes a few purged entries. Durable when it returns.
    pub(super) fn sweep(&mut self) -> Result<(), LogError> {
        // After a snapshot was installed there may be none for millions of indexes.
        let mut purged = self.db.range(records::key(self.swept, 0)..records::key(self.first, 0)).keys();
        let Some(next) = purged.next().transpose()? else {
            self.swept = self.first;
            return Ok(());
        };
        drop(purged);
        let start = records::parse_key(&next).map_or(self.swept, |(index, _)| index);
        let end = self.first.min(start + PURGE_STEP);
        let keys: Vec<_> =
            self.db.range(records::key(start, 0)..records::key(end, 0)).keys().collect::<Result<_, _>>()?;
        for key in keys {
            self.db.remove(key)?;
        }
        self.swept = end;
        self.flush()
    }

    /// Whether a commit mark would be lost with the process.
    pub(super) fn mark_unwritten(&self) -> bool {
        self.mark_unwritten
    }

    /// Hands the commit mark to the operating system.
    pub(super) fn write_mark(&mut self) -> Result<(), LogError> {
        self.mark_unwritten = false;
        self.db.flush()?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.write_mark()?;
        self.file.sync_data().map_err(io_error("syncing", &self.path))
    }
}

fn decode_entry(encoded: &bytes::Bytes) -> Result<Entry, LogError> {
    let entry = raft::Entry::decode(encoded.clone()).map_err(|error| LogError::Damaged(error.to_string()))?;
    wire::entry(entry).map_err(|error| LogError::Damaged(error.to_string()))
}
