//! Who needs what.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use super::Key;

/// Resources by the one that they need.
#[derive(Debug)]
pub(super) struct Users<K = Key>(HashMap<K, BTreeSet<Key>>);

impl<K> Default for Users<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Users<K> {
    /// `key` needs `of` from now on.
    pub(super) fn join(&mut self, of: &K, key: &Key) {
        self.0.entry(of.clone()).or_default().insert(key.clone());
    }

    /// `key` does not need `of` any more.
    pub(super) fn leave(&mut self, of: &K, key: &Key) {
        if let Some(set) = self.0.get_mut(of) {
            set.remove(key);
            if set.is_empty() {
                self.0.remove(of);
            }
        }
    }

    /// Who needs `key`.
    pub(super) fn of(&self, key: &K) -> impl Iterator<Item = Key> {
        self.0.get(key).into_iter().flatten().cloned()
    }
}
