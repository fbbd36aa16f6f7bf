//! What is known of the log outside of it: the least that it must hold when it is opened again.
//!
//! sled recovers what it can make sense of and says nothing of the rest. The witness is a file of our own beside the
//! database; a log that comes back with less than it says is damaged. So is one that comes back with what a truncation had
//! removed: a log of entries 1–9 of term 1 whose entries 6–9 were replaced in term 2 must not hold those of term 1 again.
//!
//! The file holds the SHA-256 of a `hanse.raft.v1.LogWitness`, a mark, and the message. A new message replaces the file and is
//! synced; that is done for each vote and purge, and seldom for the log's end. The mark is the log's last entry after the
//! append, overwritten in place and not synced: it survives the process, and a loss of power may take it back to an older
//! value, never to a higher one than the log had on the medium.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use hanse_process::durable;
use hanse_proto::raft;
use openraft::CommittedLeaderId;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{LogError, disk::LogSummary, files::io_error};
use crate::{
    type_config::{LogId, NodeId, Vote},
    wire,
};

const HASH_BYTES: usize = 32;
/// Term, node and index of an entry, eight bytes each, and the first eight of their SHA-256.
pub(super) const MARK_BYTES: usize = 32;
const MARK_CHECK_AT: usize = 24;
/// Where the mark lies in the file.
pub(super) const MARK_AT: u64 = HASH_BYTES as u64;

/// The least that a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    /// Whose log it is.
    pub(super) owner: NodeId,
    /// Term and node of the highest vote.
    pub(super) vote: Option<(u64, NodeId)>,
    /// Index of the last purged entry.
    pub(super) purged: Option<u64>,
    /// The log holds this entry, or has purged it.
    pub(super) last: Option<LogId>,
}

impl Witness {
    /// What a log holds now.
    pub(super) fn of(owner: NodeId, log: &LogSummary) -> Self {
        Self {
            owner,
            vote: log.vote.map(place),
            purged: log.purged.map(|log_id| log_id.index),
            last: log.last,
        }
    }

    /// In what a log falls short; empty when it holds all that it must. `at_last`: what it has at the index of `last`.
    pub(super) fn missing_in(&self, log: &LogSummary, at_last: Option<LogId>) -> String {
        let found = Self { owner: log.owner.unwrap_or(0), ..Self::of(self.owner, log) };
        let mut missing = Vec::new();
        if found.owner != self.owner {
            let owner = log.owner.map_or_else(|| "nobody's".to_owned(), |owner| format!("node {owner}'s"));
            missing.push(format!("it is {owner} log, and was node {}'s", self.owner));
        }
        if found.vote < self.vote {
            let vote = |vote: Option<(u64, NodeId)>| match vote {
                None => "no vote".to_owned(),
                Some((term, node)) => format!("a vote for node {node} in term {term}"),
            };
            missing.push(format!("it holds {}, and held {}", vote(found.vote), vote(self.vote)));
        }
        let index = |index: Option<u64>| index.map_or_else(|| "none".to_owned(), |index| index.to_string());
        if found.purged < self.purged {
            let (found, held) = (index(found.purged), index(self.purged));
            missing.push(format!("its last purged entry is {found}, and was {held}"));
        }
        if let Some(held) = self.last.filter(|held| found.purged < Some(held.index)) {
            let last = found.last.map(|last| last.index);
            if last < Some(held.index) {
                missing.push(format!("its last entry is {}, and was at least {}", index(last), held.index));
            } else if at_last != Some(held) {
                let found = at_last.map_or_else(|| "none".to_owned(), |found| found.to_string());
                missing.push(format!("its entry {} is {found}, and was {held}", held.index));
            }
        }
        missing.join("; ")
    }

    fn encode(&self, mark: Option<LogId>) -> Vec<u8> {
        let message = raft::LogWitness {
            owner: self.owner,
            vote: self.vote.map(|(term, node_id)| raft::Vote { term, node_id, committed: false }),
            purged: self.purged,
            last: self.last.as_ref().map(wire::log_id_to_proto),
        }
        .encode_to_vec();
        let mut bytes = Sha256::digest(&message).to_vec();
        bytes.extend_from_slice(&encode_mark(mark));
        bytes.extend_from_slice(&message);
        bytes
    }

    /// The witness in a file's bytes, raised to the mark.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_at_checked(HASH_BYTES)?;
        let (mark, message) = rest.split_first_chunk::<MARK_BYTES>()?;
        if Sha256::digest(message)[..] != *hash {
            return None;
        }
        let message = raft::LogWitness::decode(message).ok()?;
        Some(Self {
            owner: message.owner,
            vote: message.vote.map(|vote| (vote.term, vote.node_id)),
            purged: message.purged,
            // The mark was written after the message.
            last: decode_mark(mark).or(message.last.map(wire::log_id)),
        })
    }
}

/// Votes are ordered by term, then node.
pub(super) fn place(vote: Vote) -> (u64, NodeId) {
    (vote.leader_id.term, vote.leader_id.node_id)
}

fn encode_mark(last: Option<LogId>) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    let Some(last) = last else { return mark };
    let numbers = [last.leader_id.term, last.leader_id.node_id, last.index].map(u64::to_be_bytes);
    let (entry, check) = mark.split_at_mut(MARK_CHECK_AT);
    entry.copy_from_slice(numbers.as_flattened());
    check.copy_from_slice(&Sha256::digest(&*entry)[..MARK_BYTES - MARK_CHECK_AT]);
    mark
}

/// A mark that was torn says nothing.
fn decode_mark(mark: &[u8; MARK_BYTES]) -> Option<LogId> {
    let (numbers, _) = mark.as_chunks();
    let &[term, node, index] = numbers.first_chunk()?;
    let [term, node, index] = [term, node, index].map(u64::from_be_bytes);
    let last = LogId::new(CommittedLeaderId::new(term, node), index);
    (encode_mark(Some(last)) == *mark).then_some(last)
}

/// Reads the witness at `path`, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<Witness>, LogError> {
    match fs::read(path) {
        Ok(bytes) => match Witness::decode(&bytes) {
            Some(witness) => Ok(Some(witness)),
            None => Err(LogError::Damaged(format!("its witness {} cannot be read", path.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("reading", path)(error)),
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct WitnessFile {
    path: PathBuf,
    file: File,
    synced: Witness,
    mark: Option<LogId>,
}

impl WitnessFile {
    /// Writes a witness to `path`. Durable when it returns.
    pub(super) fn create(path: &Path, witness: Witness) -> Result<Self, LogError> {
        let file = replace(path, &witness, witness.last)?;
        Ok(Self { path: path.to_owned(), file, synced: witness, mark: witness.last })
    }

    /// What is on the medium for certain.
    pub(super) fn synced(&self) -> &Witness {
        &self.synced
    }

    /// The log's end, as it is known after a process was killed.
    pub(super) fn mark(&self) -> Option<LogId> {
        self.mark
    }

    /// Replaces the witness; the mark follows its `last`. Durable when it returns.
    pub(super) fn write(&mut self, witness: Witness) -> Result<(), LogError> {
        self.file = replace(&self.path, &witness, witness.last)?;
        self.synced = witness;
        self.mark = witness.last;
        Ok(())
    }

    /// Notes the log's end without syncing it.
    pub(super) fn raise_mark(&mut self, last: Option<LogId>) -> Result<(), LogError> {
        self.file.write_all_at(&encode_mark(last), MARK_AT).map_err(io_error("writing", &self.path))?;
        self.mark = last;
        Ok(())
    }
}

fn replace(path: &Path, witness: &Witness, mark: Option<LogId>) -> Result<File, LogError> {
    durable::replace(path, &witness.encode(mark), durable::SECRET_MODE).map_err(io_error("writing", path))?;
    File::options().write(true).open(path).map_err(io_error("opening", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term, 1), index)
    }

    fn witness() -> Witness {
        Witness { owner: 7, vote: Some((4, 9)), purged: Some(20), last: Some(at(1, 30)) }
    }

    fn log(
        owner: Option<u64>,
        vote: Option<(u64, u64)>,
        purged: Option<u64>,
        last: Option<u64>,
    ) -> LogSummary {
        LogSummary {
            owner,
            vote: vote.map(|(term, node)| Vote::new(term, node)),
            committed: None,
            purged: purged.map(|index| at(1, index)),
            last: last.map(|index| at(1, index)),
        }
    }

    #[test]
    fn a_log_is_held_against_each_figure() {
        let check = |found: LogSummary, missing: &str| {
            assert_eq!(witness().missing_in(&found, Some(at(1, 30))), missing);
        };
        check(log(Some(7), Some((4, 9)), Some(20), Some(30)), "");
        check(log(Some(7), Some((5, 1)), Some(21), Some(31)), "");
        check(log(Some(8), Some((4, 9)), Some(20), Some(30)), "it is node 8's log, and was node 7's");
        check(
            log(Some(7), Some((4, 8)), Some(20), Some(30)),
            "it holds a vote for node 8 in term 4, and held a vote for node 9 in term 4",
        );
        check(log(Some(7), Some((4, 9)), None, Some(30)), "its last purged entry is none, and was 20");
        check(log(Some(7), Some((4, 9)), Some(20), Some(29)), "its last entry is 29, and was at least 30");
        check(
            log(None, None, None, None),
            "it is nobody's log, and was node 7's; it holds no vote, and held a vote for node 9 in term 4; \
             its last purged entry is none, and was 20; its last entry is none, and was at least 30",
        );
        // What a truncation had removed is there again, as far as the log went, and beyond.
        for last in [30, 40] {
            let found = log(Some(7), Some((4, 9)), Some(20), Some(last));
            let missing = witness().missing_in(&found, Some(at(0, 30)));
            assert_eq!(missing, format!("its entry 30 is {}, and was {}", at(0, 30), at(1, 30)));
        }
        // A snapshot took the place of the entry.
        let installed = log(Some(7), Some((4, 9)), Some(35), Some(35));
        assert_eq!(witness().missing_in(&installed, None), "");
    }

    #[test]
    fn what_was_written_is_read_and_what_was_changed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("raft.witness");
        assert_eq!(read(&path).unwrap(), None);
        let mut file = WitnessFile::create(&path, witness()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(witness()));
        file.raise_mark(Some(at(2, 41))).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Witness { last: Some(at(2, 41)), ..witness() }));
        // A lower end takes the mark along.
        file.write(Witness { last: None, ..witness() }).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Witness { last: None, ..witness() }));

        let whole = witness().encode(Some(at(1, 35)));
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            // A mark that cannot be believed is left out; anything else makes the file unreadable.
            let is_mark = (HASH_BYTES..HASH_BYTES + MARK_BYTES).contains(&at);
            assert_eq!(Witness::decode(&flipped), is_mark.then_some(witness()), "byte {at}");
        }
        for length in 0..whole.len() {
            assert_eq!(Witness::decode(&whole[..length]), None, "{length} bytes");
        }
        fs::write(&path, b"").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("raft.witness cannot be read"), "{error}");
    }
}
