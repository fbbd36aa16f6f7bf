//! Who needs what.

use std::collections::{BTreeSet, HashMap};

use super::Key;

/// Resources by the one that they need.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<Key, BTreeSet<Key>>);

impl Users {
    /// `key` needs `of` from now on.
    pub(super) fn join(&mut self, of: &Key, key: &Key) {
        self.0.entry(of.clone()).or_default().insert(key.clone());
    }

    /// `key` does not need `of` any more.
    pub(super) fn leave(&mut self, of: &Key, key: &Key) {
        if let Some(set) = self.0.get_mut(of) {
            set.remove(key);
            if set.is_empty() {
                self.0.remove(of);
            }
        }
    }

    /// Who needs `key`.
    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = Key> {
        self.0.get(key).into_iter().flatten().cloned()
    }
}
