//! What a process asked of its log, and what it was answered: a line before each request, and one after its answer.

use std::{collections::VecDeque, fs, io, os::unix::fs::FileExt as _, path::Path};

use super::super::{Entry, LogId, Vote};
use crate::batch::Batch;
use bytes::Bytes;
use openraft::{CommittedLeaderId, EntryPayload};

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Append { term: u64, first: u64, count: u64, bytes: u64 },
    Vote { term: u64, node: u64 },
    Truncate { from: u64 },
    Purge { upto: u64 },
}

/// How an answer is written.
pub(super) const ANSWERED: &str = "answered";
/// How a process says that it cannot open its log.
pub(super) const UNUSABLE: &str = "unusable ";

impl Request {
    pub(super) fn to_line(self) -> String {
        match self {
            Self::Append { term, first, count, bytes } => format!("append {term} {first} {count} {bytes}"),
            Self::Vote { term, node } => format!("vote {term} {node}"),
            Self::Truncate { from } => format!("truncate {from}"),
            Self::Purge { upto } => format!("purge {upto}"),
        }
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let name = words.next()?;
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        match (name, &numbers[..]) {
            ("append", &[term, first, count, bytes]) => Some(Self::Append { term, first, count, bytes }),
            ("vote", &[term, node]) => Some(Self::Vote { term, node }),
            ("truncate", &[from]) => Some(Self::Truncate { from }),
            ("purge", &[upto]) => Some(Self::Purge { upto }),
            _ => None,
        }
    }
}

/// The entry that a process writes at an index: its content is known from its place.
pub(super) fn entry(term: u64, index: u64, bytes: u64) -> Entry {
    let content = vec![(index ^ term) as u8; usize::try_from(bytes).unwrap()];
    Entry {
        log_id: LogId::new(CommittedLeaderId::new(term, 1), index),
        payload: EntryPayload::Normal(Batch::from_encoded(Bytes::from(content))),
    }
}

/// A log as far as it was acknowledged.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Held {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<u64>,
    /// Index of the first entry.
    pub(super) first: u64,
    /// Term and size of each.
    pub(super) entries: VecDeque<(u64, u64)>,
}

impl Held {
    /// The index after the last entry's.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn entry(&self, index: u64) -> Option<Entry> {
        let (term, bytes) = *self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)?;
        Some(entry(term, index, bytes))
    }

    pub(super) fn answered(&mut self, request: Request) {
        match request {
            Request::Append { term, first, count, bytes } => {
                assert_eq!(first, self.next(), "the process appends at its log's end");
                self.entries.extend((0..count).map(|_| (term, bytes)));
            }
            Request::Vote { term, node } => self.vote = Some(Vote::new(term, node)),
            Request::Truncate { from } => {
                self.entries.truncate(usize::try_from(from - self.first).unwrap());
            }
            Request::Purge { upto } => {
                self.purged = Some(upto);
                while self.first <= upto && self.entries.pop_front().is_some() {
                    self.first += 1;
                }
            }
        }
    }

    /// Leaves out the last entries.
    pub(super) fn without_last(mut self, count: u64) -> Self {
        let keep = self.entries.len().saturating_sub(usize::try_from(count).unwrap());
        self.entries.truncate(keep);
        self
    }

    /// In what a log that was found lacks what this one holds. `pending` may have been done, or a part of it.
    pub(super) fn lacking_in(&self, found: &Found, pending: Option<Request>) -> Option<String> {
        let mut after = self.clone();
        match pending {
            // It only adds.
            Some(Request::Append { .. }) | None => {}
            Some(request) => after.answered(request),
        }
        if found.vote != self.vote && found.vote != after.vote {
            return Some(format!("the vote is {:?}, acknowledged was {:?}", found.vote, self.vote));
        }
        if found.purged != self.purged && found.purged != after.purged {
            return Some(format!("{:?} is purged, acknowledged was {:?}", found.purged, self.purged));
        }
        // A truncation under way leaves any part of what it removes.
        let until = self.next().min(after.next());
        let from = found.purged.map_or(0, |purged| purged + 1);
        for index in from..until {
            let there = found.entries.get(usize::try_from(index - from).unwrap());
            if there != self.entry(index).as_ref() {
                let what = there.map_or_else(|| "absent".to_owned(), |there| format!("{}", there.log_id));
                return Some(format!("entry {index} of {until} acknowledged is {what}"));
            }
        }
        None
    }
}

/// What a log holds when it was opened.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<u64>,
    /// From the first after the purged ones on.
    pub(super) entries: Vec<Entry>,
}

/// The ledger of a process and those before it that had its log.
pub(super) struct Ledger {
    path: std::path::PathBuf,
    read: u64,
    pub(super) held: Held,
    /// Asked and not answered yet.
    pub(super) pending: Option<Request>,
    acknowledged: u64,
}

impl Ledger {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0, held: Held::default(), pending: None, acknowledged: 0 }
    }

    /// Entries ever acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Reads what was added. A process that could not use its log is an error.
    pub(super) fn catch_up(&mut self) -> Result<(), String> {
        let file = match fs::File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.unwrap(),
        };
        let mut text = vec![0; usize::try_from(file.metadata().unwrap().len() - self.read).unwrap()];
        file.read_exact_at(&mut text, self.read).unwrap();
        let text = String::from_utf8(text).unwrap();
        // A line that is being written is read the next time.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in text[..whole].lines() {
            if let Some(why) = line.strip_prefix(UNUSABLE) {
                return Err(format!("the process came back to a log it cannot use: {why}"));
            }
            if line == ANSWERED {
                let request = self.pending.take().expect("an answer comes after its request");
                if let Request::Append { count, .. } = request {
                    self.acknowledged += count;
                }
                self.held.answered(request);
            } else if let Some(opened) = Opened::from_line(line) {
                self.settle(opened);
            } else {
                self.pending = Some(Request::from_line(line).expect("a request"));
            }
        }
        Ok(())
    }

    /// A process opened the log that another one left: what was under way may be there or not, and is known now.
    fn settle(&mut self, opened: Opened) {
        match self.pending.take() {
            Some(Request::Append { term, first, count, bytes }) => {
                let there = opened.next.saturating_sub(first).min(count);
                self.held.answered(Request::Append { term, first, count: there, bytes });
            }
            Some(Request::Truncate { .. }) => {
                self.held.answered(Request::Truncate { from: opened.next.min(self.held.next()) });
            }
            Some(request @ Request::Vote { term, .. }) if opened.term == term => self.held.answered(request),
            Some(request @ Request::Purge { upto }) if opened.first == upto + 1 => {
                self.held.answered(request);
            }
            Some(Request::Vote { .. } | Request::Purge { .. }) | None => {}
        }
    }
}

/// What a process found when it opened its log: the indexes of the first entry and after the last, and the vote's term.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) term: u64,
}

impl Opened {
    pub(super) fn to_line(self) -> String {
        format!("opened {} {} {}", self.first, self.next, self.term)
    }

    fn from_line(line: &str) -> Option<Self> {
        let numbers = line.strip_prefix("opened ")?.split(' ').map(str::parse);
        match numbers.collect::<Result<Vec<u64>, _>>().ok()?[..] {
            [first, next, term] => Some(Self { first, next, term }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(purged: Option<u64>, entries: std::ops::Range<u64>) -> Found {
        Found { vote: None, purged, entries: entries.map(|index| entry(1, index, 4)).collect() }
    }

    #[test]
    fn a_log_is_judged_by_what_was_answered_and_what_was_asked() {
        let mut held = Held::default();
        held.answered(Request::Append { term: 1, first: 0, count: 9, bytes: 4 });
        assert_eq!(held.lacking_in(&found(None, 0..9), None), None);
        assert_eq!(held.lacking_in(&found(None, 0..12), None), None, "what was written beyond is no loss");
        let lacking = |found: Found, pending| held.lacking_in(&found, pending).unwrap();
        assert_eq!(lacking(found(None, 0..8), None), "entry 8 of 9 acknowledged is absent");
        assert_eq!(lacking(found(None, 0..0), None), "entry 0 of 9 acknowledged is absent");
        assert!(lacking(found(Some(3), 4..9), None).contains("purged"));
        assert_eq!(held.lacking_in(&found(Some(3), 4..9), Some(Request::Purge { upto: 3 })), None);
        assert_eq!(held.lacking_in(&found(None, 0..7), Some(Request::Truncate { from: 6 })), None);
        assert!(lacking(found(None, 0..5), Some(Request::Truncate { from: 6 })).contains("entry 5"));
        let vote = Request::Vote { term: 2, node: 1 };
        assert_eq!(held.lacking_in(&found(None, 0..9), Some(vote)), None);
        held.answered(vote);
        assert!(held.lacking_in(&found(None, 0..9), None).unwrap().contains("vote"));
    }
}
