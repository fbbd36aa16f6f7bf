//! The journal: which resources each of the last revisions touched.

use std::sync::Arc;

use super::State;
use crate::{JournalEntry, Revision};

/// How many revisions the journal remembers: watchers and projections that are further behind start from the whole
/// state. At a change a second that is almost three hours.
pub(crate) const MAX_JOURNAL: usize = 10_000;

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

    pub(crate) fn record(&mut self, entry: JournalEntry) {
        self.journal.insert(entry.revision, Arc::new(entry));
        while self.journal.len() > MAX_JOURNAL {
            let Some((first, _)) = self.journal.get_min() else { return };
            let first = *first;
            self.journal.remove(&first);
        }
    }
}
