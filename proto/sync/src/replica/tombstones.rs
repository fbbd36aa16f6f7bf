//! What is remembered of deleted keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Deleted keys by name and by revision of the deletion.
#[derive(Debug, Clone)]
pub(super) struct Tombstones {
    by_key: BTreeMap<Arc<str>, u64>,
    by_revision: BTreeSet<(u64, Arc<str>)>,
    max: usize,
}

impl Tombstones {
    pub(super) fn new(max: usize) -> Self {
        Self { by_key: BTreeMap::new(), by_revision: BTreeSet::new(), max }
    }

    pub(super) fn add(&mut self, key: Arc<str>, revision: u64) {
        if let Some(old) = self.by_key.insert(Arc::clone(&key), revision) {
            self.by_revision.remove(&(old, Arc::clone(&key)));
        }
        self.by_revision.insert((revision, key));
    }

    pub(super) fn remove(&mut self, key: &Arc<str>) {
        if let Some(old) = self.by_key.remove(key) {
            self.by_revision.remove(&(old, Arc::clone(key)));
        }
    }

    /// The last revision with a deletion.
    pub(super) fn last(&self) -> Option<u64> {
        self.by_revision.last().map(|(revision, _)| *revision)
    }

    /// When a key was deleted.
    pub(super) fn get(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    pub(super) fn clear(&mut self) {
        self.by_key.clear();
        self.by_revision.clear();
    }

    /// Keys deleted at `first` or later, each with the revision of its deletion.
    pub(super) fn since(&self, first: u64) -> impl Iterator<Item = (Arc<str>, u64)> {
        self.by_revision.range((first, Arc::from(""))..).map(|(revision, key)| (Arc::clone(key), *revision))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Arc<str>, u64)> {
        self.since(0)
    }

    /// Forgets the oldest until the bound holds, a whole revision at a time. Says the last revision forgotten.
    pub(super) fn bound(&mut self) -> Option<u64> {
        let excess = self.by_revision.len().checked_sub(self.max).filter(|excess| *excess > 0)?;
        let (last, _) = self.by_revision.iter().nth(excess - 1)?;
        self.forget_until(*last)
    }

    /// Forgets deletions up to and including `revision`. Says the last revision forgotten.
    pub(super) fn forget_until(&mut self, revision: u64) -> Option<u64> {
        let mut last = None;
        while let Some((at, _)) = self.by_revision.first()
            && *at <= revision
        {
            let (at, key) = self.by_revision.pop_first()?;
            self.by_key.remove(&key);
            last = Some(at);
        }
        last
    }
}
