//! The log's most recent entries, in memory.

use std::collections::VecDeque;

use openraft::EntryPayload;

use crate::{batcher::MAX_IN_FLIGHT, group::MAX_COMMAND_BYTES, type_config::Entry};

/// Entries kept, by size: those of the largest commands that may be under way at once, and as much again for small ones. A follower that
/// is not further behind than this costs no disk reads.
const MAX_BYTES: usize = MAX_IN_FLIGHT * MAX_COMMAND_BYTES * 2;

/// What an entry weighs beside its batch.
const ENTRY_BYTES: usize = 128;

/// A gapless run of entries that ends with the log's last. May be empty.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// The entries of `start..end`, until their size exceeds `max_bytes`, at least one; `None` if the tail does not reach
    /// back to `start`.
    pub(super) fn read(&self, start: u64, end: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        let first = self.first()?;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let wanted = self.entries.iter().skip(skip).take_while(|entry| {
            let fits = entry.log_id.index < end && (bytes == 0 || bytes + weight(entry) <= max_bytes);
            bytes += weight(entry);
            fits
        });
        Some(wanted.cloned().collect())
    }

    /// Adds entries at the log's end.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            if self.entries.back().is_some_and(|last| last.log_id.index + 1 != entry.log_id.index) {
                self.clear();
            }
            self.bytes += weight(entry);
            self.entries.push_back(entry.clone());
        }
        while self.bytes > MAX_BYTES && self.entries.len() > 1 {
            self.pop_front();
        }
    }

    /// Forgets the entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        while let Some(entry) = self.entries.pop_back_if(|last| last.log_id.index >= index) {
            self.bytes -= weight(&entry);
        }
    }

    /// Forgets the entries up to `index`, inclusive.
    pub(super) fn purge(&mut self, index: u64) {
        while self.first().is_some_and(|first| first <= index) {
            self.pop_front();
        }
    }

    fn first(&self) -> Option<u64> {
        Some(self.entries.front()?.log_id.index)
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= weight(&entry);
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

fn weight(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(batch) => batch.encoded().len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    ENTRY_BYTES + payload
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::{CommittedLeaderId, LogId};

    use super::*;
    use crate::batch::Batch;

    fn entry(index: u64, bytes: usize) -> Entry {
        let batch = Batch::from_encoded(Bytes::from(vec![0; bytes]));
        Entry {
            log_id: LogId::new(CommittedLeaderId::new(1, 1), index),
            payload: EntryPayload::Normal(batch),
        }
    }

    fn indexes(entries: Option<Vec<Entry>>) -> Option<Vec<u64>> {
        Some(entries?.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn reads_what_it_holds_and_only_that() {
        let mut tail = Tail::default();
        assert_eq!(indexes(tail.read(0, 9, usize::MAX)), None);
        tail.append(&(5..10).map(|index| entry(index, 10)).collect::<Vec<_>>());
        assert_eq!(indexes(tail.read(4, 9, usize::MAX)), None);
        assert_eq!(indexes(tail.read(6, 9, usize::MAX)), Some(vec![6, 7, 8]));
        assert_eq!(indexes(tail.read(8, 99, usize::MAX)), Some(vec![8, 9]));
        assert_eq!(indexes(tail.read(6, 9, 1)), Some(vec![6]), "at least one");
        assert_eq!(indexes(tail.read(6, 9, 2 * (ENTRY_BYTES + 10))), Some(vec![6, 7]));
        tail.truncate(8);
        assert_eq!(indexes(tail.read(6, 99, usize::MAX)), Some(vec![6, 7]));
        tail.purge(6);
        assert_eq!(indexes(tail.read(6, 99, usize::MAX)), None);
        assert_eq!(indexes(tail.read(7, 99, usize::MAX)), Some(vec![7]));
    }

    #[test]
    fn a_gap_forgets_what_came_before() {
        let mut tail = Tail::default();
        tail.append(&[entry(1, 0), entry(2, 0)]);
        tail.append(&[entry(9, 0)]);
        assert_eq!(indexes(tail.read(1, 99, usize::MAX)), None);
        assert_eq!(indexes(tail.read(9, 99, usize::MAX)), Some(vec![9]));
    }

    #[test]
    fn old_entries_make_room() {
        let mut tail = Tail::default();
        for index in 0..40 {
            tail.append(&[entry(index, 1 << 20)]);
        }
        assert!(tail.bytes <= MAX_BYTES);
        assert_eq!(indexes(tail.read(39, 40, usize::MAX)), Some(vec![39]));
        assert_eq!(indexes(tail.read(0, 40, usize::MAX)), None);
    }
}
