//! One scope: which versions of its keys are proven, and which are held back. Pure.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_store::Noted;
use hanse_sync::{Replica, Seen};

/// SHA-256 of a value.
pub type ValueHash = [u8; 32];

/// A version that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poisoned {
    /// What it is known by.
    pub hash: ValueHash,
    /// The version to be used in its place; `None`: there is none.
    pub proven: Option<Bytes>,
}

/// Under this key stands whether anything of the scope was ever proven. No resource has it.
const MARK: &str = "";

/// What is known of a scope.
///
/// The invariant: a key of the replica that is not in `unproven` has the value that `proven` has for it.
#[derive(Debug)]
pub(super) struct ScopeProof {
    seen: Seen,
    /// The last proven version of each key that has one. `None`: nothing of the scope was ever proven.
    proven: Option<BTreeMap<Arc<str>, Bytes>>,
    /// The keys that are not proven as they are, and since when they are in use so.
    unproven: BTreeMap<Arc<str>, Instant>,
    poisoned: BTreeMap<Arc<str>, ValueHash>,
    /// What is to be kept of it was told to the store.
    pub(super) is_noted: bool,
}

impl ScopeProof {
    /// A scope of which nothing is known.
    pub(super) fn new(replica: &Replica, seen: Seen, now: Instant) -> Self {
        let unproven = replica.content().into_iter().map(|(key, _)| (key, now)).collect();
        Self { seen, proven: None, unproven, poisoned: BTreeMap::new(), is_noted: false }
    }

    /// A scope as an earlier process left it; what that noted is what [`Self::notes_of_proven`] and
    /// [`Self::notes_of_poisoned`] gave.
    pub(super) fn restored(
        replica: &Replica,
        seen: Seen,
        mut proven_notes: BTreeMap<Arc<str>, Noted>,
        poisoned_notes: BTreeMap<Arc<str>, Noted>,
        now: Instant,
    ) -> Self {
        if proven_notes.remove(MARK).is_none() {
            return Self::new(replica, seen, now);
        }
        let mut proven: BTreeMap<_, _> = replica.content().into_iter().collect();
        let mut unproven = BTreeMap::new();
        for (key, Noted { value, .. }) in proven_notes {
            // A key that is gone is not held back, so its version is not needed.
            if proven.remove(&key).is_some() {
                unproven.insert(Arc::clone(&key), now);
                proven.extend(value.map(|value| (key, value)));
            }
        }
        let hash = |noted: Noted| ValueHash::try_from(&*noted.value?).ok();
        let poisoned = poisoned_notes.into_iter().filter_map(|(key, noted)| Some((key, hash(noted)?)));
        let poisoned = poisoned.filter(|(key, hash)| replica.value_hash(key) == Some(hash)).collect();
        Self { seen, proven: Some(proven), unproven, poisoned, is_noted: false }
    }

    /// Takes in what changed since.
    pub(super) fn observe(&mut self, replica: &Replica, seen: Seen, now: Instant) {
        if self.seen == seen {
            return;
        }
        match replica.changes_after(self.seen) {
            Some(changes) => {
                changes.removals.iter().for_each(|key| self.removed(key));
                changes.upserts.into_iter().for_each(|(key, value)| self.changed(replica, key, &value, now));
            }
            None => {
                let of_proven = self.proven.iter().flatten().map(|(key, _)| key);
                let gone = of_proven.chain(self.unproven.keys()).filter(|key| replica.get(key).is_none());
                let gone: Vec<_> = gone.cloned().collect();
                gone.iter().for_each(|key| self.removed(key));
                for (key, value) in replica.content() {
                    self.changed(replica, key, &value, now);
                }
            }
        }
        self.seen = seen;
        self.is_noted = false;
    }

    fn changed(&mut self, replica: &Replica, key: Arc<str>, value: &Bytes, now: Instant) {
        if self.poisoned.get(&key).is_some_and(|hash| replica.value_hash(&key) != Some(hash)) {
            self.poisoned.remove(&key);
        }
        if self.proven.as_ref().and_then(|proven| proven.get(&key)) == Some(value) {
            self.unproven.remove(&key);
        } else {
            self.unproven.insert(key, now);
        }
    }

    /// A deletion is never held back: what was taken away from somebody is not given back to them.
    fn removed(&mut self, key: &Arc<str>) {
        self.unproven.remove(key);
        self.poisoned.remove(key);
        if let Some(proven) = &mut self.proven {
            proven.remove(key);
        }
    }

    /// Holds back every version that is not proven, if there is anything proven to go back to. How many that are.
    pub(super) fn hold(&mut self, replica: &Replica) -> usize {
        if self.proven.is_none() {
            return 0;
        }
        let before = self.poisoned.len();
        for key in self.unproven.keys() {
            self.poisoned.extend(replica.value_hash(key).map(|hash| (Arc::clone(key), *hash)));
        }
        self.is_noted = false;
        self.poisoned.len() - before
    }

    /// Proves what has been in use for `after`.
    pub(super) fn prove(&mut self, replica: &Replica, now: Instant, after: Duration) {
        let is_due = |key: &Arc<str>, since: &Instant| {
            now.saturating_duration_since(*since) >= after && !self.poisoned.contains_key(key)
        };
        let due = self.unproven.iter().filter(|(key, since)| is_due(key, since));
        let due: Vec<_> = due.map(|(key, _)| Arc::clone(key)).collect();
        for key in &due {
            self.unproven.remove(key);
            let proven = self.proven.get_or_insert_default();
            proven.extend(replica.get(key).map(|value| (Arc::clone(key), value.clone())));
        }
        self.is_noted &= due.is_empty();
    }

    /// What is not proven counts as in use from now on.
    pub(super) fn restart(&mut self, now: Instant) {
        self.unproven.values_mut().for_each(|since| *since = now);
    }

    /// How many keys are not proven as they are.
    pub(super) fn unproven(&self) -> usize {
        self.unproven.len()
    }

    /// How many of them are held back.
    pub(super) fn held_back(&self) -> usize {
        self.poisoned.len()
    }

    /// The versions that are held back.
    pub(super) fn poisoned(&self) -> BTreeMap<Arc<str>, Poisoned> {
        let proven = |key: &Arc<str>| self.proven.as_ref()?.get(key).cloned();
        let poisoned = |(key, hash): (&Arc<str>, &ValueHash)| {
            (Arc::clone(key), Poisoned { hash: *hash, proven: proven(key) })
        };
        self.poisoned.iter().map(poisoned).collect()
    }

    /// What is to be kept of the proven versions beside the content: those that differ from it.
    pub(super) fn notes_of_proven(&self) -> BTreeMap<Arc<str>, Noted> {
        let Some(proven) = &self.proven else { return BTreeMap::new() };
        let noted = |value| Noted { revision: 0, value };
        let differ = self.unproven.keys().map(|key| (Arc::clone(key), noted(proven.get(key).cloned())));
        [(Arc::from(MARK), noted(Some(Bytes::new())))].into_iter().chain(differ).collect()
    }

    /// What is to be kept of the versions that are held back.
    pub(super) fn notes_of_poisoned(&self) -> BTreeMap<Arc<str>, Noted> {
        let noted = |hash: &ValueHash| Noted { revision: 0, value: Some(Bytes::copy_from_slice(hash)) };
        self.poisoned.iter().map(|(key, hash)| (Arc::clone(key), noted(hash))).collect()
    }
}
