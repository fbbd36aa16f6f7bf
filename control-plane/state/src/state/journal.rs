//! The journal: which resources each of the last revisions touched.

use std::sync::Arc;

use hanse_management::Revision;

use super::State;
use crate::JournalEntry;

/// How many revisions the journal remembers: watchers and projections that are further behind start from the whole
/// state. At a change a second that is almost three hours.
pub(crate) const MAX_JOURNAL: usize = 10_000;

/// How many keys the journal remembers, over all its revisions: what bounds memory where commands change thousands of
/// resources each. A key has about a hundred bytes.
pub(crate) const MAX_JOURNAL_KEYS: usize = 1_000_000;

impl State {
    /// What each revision after `after` touched, oldest first. `None`: too old to be remembered. Empty when `after` is
    /// the present revision, or one this state has not reached.
    pub fn journal_since(&self, after: Revision) -> Option<impl Iterator<Item = &JournalEntry>> {
        let remembered = match self.journal.get_min() {
            Some((first, _)) => after.saturating_add(1) >= *first,
            None => after >= self.revision,
        };
        remembered.then(|| self.journal.range(after.saturating_add(1)..).map(|(_, entry)| entry.as_ref()))
    }

    /// When a revision was made, Unix milliseconds. `None`: too old to be remembered, or not made yet.
    pub fn time_of(&self, revision: Revision) -> Option<u64> {
        self.journal.get(&revision).map(|entry| entry.time_ms)
    }

    /// Adds an entry and forgets the oldest while there is too much, but never the newest.
    pub(crate) fn record(&mut self, entry: JournalEntry) {
        self.restore_journal(entry);
        while self.journal.len() > MAX_JOURNAL
            || (self.journal_keys > MAX_JOURNAL_KEYS && self.journal.len() > 1)
        {
            let Some((first, _)) = self.journal.get_min() else { return };
            let first = *first;
            if let Some(gone) = self.journal.remove(&first) {
                self.journal_keys -= gone.keys.len();
            }
        }
    }

    /// Adds an entry and forgets none.
    pub(crate) fn restore_journal(&mut self, entry: JournalEntry) {
        self.journal_keys += entry.keys.len();
        if let Some(replaced) = self.journal.insert(entry.revision, Arc::new(entry)) {
            self.journal_keys -= replaced.keys.len();
        }
    }
}
