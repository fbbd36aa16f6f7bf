//! One scope: which versions of its keys are proven, and which are held back. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_store::{KeyNote, Noted};
use hanse_sync::{Replica, Seen};

/// SHA-256 of a value.
pub type ValueHash = [u8; 32];

/// Keys of a scope.
type Key = Arc<str>;

/// Under this key stands whether anything of the scope was ever proven. No resource has it.
const MARK: &str = "";

/// What of a scope is not to be used as it was received.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// The versions that are held back, by key.
    pub poisoned: BTreeMap<Key, ValueHash>,
    /// Proven versions: of those keys, to be used in their place, and of keys that are gone since, for what needs them.
    pub proven: BTreeMap<Key, Bytes>,
}

/// What is to be kept of a key beside its value.
pub(super) type KeyNotes = Vec<(KeyNote, Key, Option<Noted>)>;

/// A key that is not proven as it is.
#[derive(Debug, Clone, Copy)]
struct Unproven {
    /// What its present version is known by; `None`: the key is gone.
    hash: Option<ValueHash>,
    /// Since when it has been in use as it is, once `is_used`.
    since: Instant,
    is_used: bool,
}

/// What is known of a scope.
///
/// A key of the replica that is not in `unproven` has the value that `proven` has for it, once anything was proven.
#[derive(Debug)]
pub(super) struct ScopeVersions {
    seen: Seen,
    /// The last proven version of each key that has one. `None`: nothing of the scope was ever proven.
    proven: Option<BTreeMap<Key, Bytes>>,
    unproven: BTreeMap<Key, Unproven>,
    poisoned: BTreeMap<Key, ValueHash>,
    /// The keys of `unproven` that the consumer was not given yet.
    fresh: BTreeSet<Key>,
    /// Those that it was given since it last used what it was given.
    tried: BTreeSet<Key>,
    /// Those that it was given and used all else of, but has not tried: what it has not tried may be what ends it later.
    untried: BTreeSet<Key>,
    /// Those of them that are held back since it could not use them.
    held_just_now: Vec<Key>,
    /// Keys whose notes may not be what they should be.
    unnoted: BTreeSet<Key>,
}

impl ScopeVersions {
    /// A scope of which nothing is known.
    pub(super) fn new(replica: &Replica, seen: Seen, now: Instant) -> Self {
        let mut new = Self {
            seen,
            proven: None,
            unproven: BTreeMap::new(),
            poisoned: BTreeMap::new(),
            fresh: BTreeSet::new(),
            tried: BTreeSet::new(),
            untried: BTreeSet::new(),
            held_just_now: Vec::new(),
            unnoted: BTreeSet::from([MARK.into()]),
        };
        for (key, _) in replica.content() {
            new.is_not_proven(key.clone(), replica.value_hash(&key).copied(), now);
        }
        new
    }

    /// A scope as an earlier process left it; what that noted is what [`Self::take_notes`] gave.
    pub(super) fn restored(
        replica: &Replica,
        seen: Seen,
        mut proven_notes: BTreeMap<Key, Noted>,
        poisoned_notes: BTreeMap<Key, Noted>,
        now: Instant,
    ) -> Self {
        if proven_notes.remove(MARK).is_none() {
            let mut new = Self::new(replica, seen, now);
            new.unnoted.extend(proven_notes.into_keys().chain(poisoned_notes.into_keys()));
            return new;
        }
        let mut restored = Self { unproven: BTreeMap::new(), ..Self::new(replica, seen, now) };
        restored.fresh.clear();
        restored.unnoted.clear();
        let mut proven: BTreeMap<_, _> = replica.content().into_iter().collect();
        for (key, Noted { value, .. }) in proven_notes {
            proven.remove(&key);
            proven.extend(value.map(|value| (key.clone(), value)));
            restored.is_not_proven(key.clone(), replica.value_hash(&key).copied(), now);
        }
        restored.proven = Some(proven);
        let hash = |noted: Noted| ValueHash::try_from(&*noted.value?).ok();
        let poisoned = poisoned_notes.into_iter().filter_map(|(key, noted)| Some((key, hash(noted)?)));
        restored.poisoned = poisoned.filter(|(key, hash)| replica.value_hash(key) == Some(hash)).collect();
        restored
    }

    fn is_not_proven(&mut self, key: Key, hash: Option<ValueHash>, now: Instant) {
        self.unproven.insert(key.clone(), Unproven { hash, since: now, is_used: false });
        self.tried.remove(&key); // that was another version
        self.untried.remove(&key);
        self.unnoted.insert(key.clone());
        self.fresh.insert(key);
    }

    fn is_proven(&mut self, key: &str) {
        self.unproven.remove(key);
        self.fresh.remove(key);
        self.tried.remove(key);
        self.untried.remove(key);
        self.unnoted.insert(key.into());
    }

    /// Takes in what changed since.
    pub(super) fn observe(&mut self, replica: &Replica, seen: Seen, now: Instant) {
        if self.seen == seen {
            return;
        }
        match replica.changes_after(self.seen) {
            Some(changes) => {
                changes.removals.into_iter().for_each(|key| self.removed(key, now));
                changes.upserts.into_iter().for_each(|(key, value)| self.changed(replica, key, &value, now));
            }
            None => {
                let of_proven = self.proven.iter().flatten().map(|(key, _)| key);
                let gone = of_proven.chain(self.unproven.keys()).filter(|key| replica.get(key).is_none());
                let gone: Vec<_> = gone.cloned().collect();
                gone.into_iter().for_each(|key| self.removed(key, now));
                for (key, value) in replica.content() {
                    self.changed(replica, key, &value, now);
                }
            }
        }
        self.seen = seen;
    }

    fn changed(&mut self, replica: &Replica, key: Key, value: &Bytes, now: Instant) {
        let hash = replica.value_hash(&key).copied();
        let before = self.unproven.get(&key).map(|unproven| unproven.hash);
        if before == Some(hash) {
            return; // it came again
        }
        self.poisoned.remove(&key);
        if let Some(proven) = &mut self.proven {
            if before == Some(None) {
                proven.remove(&key); // what was before a deletion takes the place of nothing that comes after it
            }
            if proven.get(&key) == Some(value) {
                self.is_proven(&key);
                return;
            }
        }
        self.is_not_proven(key, hash, now);
    }

    /// A deletion is never held back. The proven version stays for a while, for what may need it.
    fn removed(&mut self, key: Key, now: Instant) {
        self.poisoned.remove(&key);
        let is_needed = self.proven.as_ref().is_some_and(|proven| proven.contains_key(&key));
        match self.unproven.get(&key) {
            Some(Unproven { hash: None, .. }) => {}
            _ if is_needed => self.is_not_proven(key, None, now),
            _ => self.is_proven(&key),
        }
    }

    /// What a consumer is to know of a scope that it is about to be given as it is.
    pub(super) fn give(&mut self) -> HeldBack {
        self.tried.append(&mut self.fresh);
        if self.poisoned.is_empty() {
            return HeldBack::default();
        }
        let gone = self.unproven.iter().filter(|(_, unproven)| unproven.hash.is_none()).map(|(key, _)| key);
        let proven = |key: &Key| Some((key.clone(), self.proven.as_ref()?.get(key)?.clone()));
        let proven = self.poisoned.keys().chain(gone).filter_map(proven).collect();
        HeldBack { poisoned: self.poisoned.clone(), proven }
    }

    /// The consumer uses what it was given, as far as it has `tried` to.
    pub(super) fn is_used(&mut self, now: Instant, tried: impl Fn(&str) -> bool) {
        self.untried.append(&mut self.tried);
        let tried = self.untried.extract_if(.., |key| tried(key)).collect::<Vec<_>>();
        for key in tried {
            if let Some(unproven) = self.unproven.get_mut(&key) {
                (unproven.since, unproven.is_used) = (now, true);
            }
        }
    }

    /// Without anything proven, the consumer goes back to nothing of the scope. For scopes beside which others serve on: one that was never
    /// proven must not keep them from following.
    pub(super) fn may_go_back_to_nothing(&mut self) {
        if self.proven.is_none() {
            self.proven = Some(BTreeMap::new());
            self.unnoted.extend(self.unproven.keys().cloned().chain([MARK.into()]));
        }
    }

    /// Holds back every version that is not proven, if there is anything proven to go back to. How many that are.
    pub(super) fn hold_all(&mut self, may_hold: fn(&str) -> bool) -> usize {
        let keys: Vec<_> = self.unproven.keys().cloned().collect();
        self.hold(keys, may_hold).len()
    }

    /// The same of what the consumer was given and cannot use; `with_untried`: and of what it may have tried only now.
    pub(super) fn hold_tried(&mut self, with_untried: bool, may_hold: fn(&str) -> bool) -> usize {
        let untried = self.untried.iter().filter(|_| with_untried);
        let keys: Vec<_> = self.tried.iter().chain(untried).cloned().collect();
        self.held_just_now = self.hold(keys, may_hold);
        self.held_just_now.len()
    }

    /// The keys that were not held back before.
    fn hold(&mut self, mut keys: Vec<Key>, may_hold: fn(&str) -> bool) -> Vec<Key> {
        let hash = |key: &Key| self.unproven.get(key)?.hash.filter(|_| self.proven.is_some());
        keys.retain(|key| hash(key).is_some() && !self.poisoned.contains_key(key) && may_hold(key));
        let hashes: Vec<_> = keys.iter().filter_map(hash).collect();
        self.poisoned.extend(keys.iter().cloned().zip(hashes));
        self.unnoted.extend(keys.iter().cloned());
        keys
    }

    /// Whether there is anything that the consumer was given and has not tried.
    pub(super) fn has_untried(&self) -> bool {
        !self.untried.is_empty()
    }

    /// Holds nothing back of what the consumer was given and cannot use: that did not help.
    pub(super) fn release_tried(&mut self) {
        for key in mem::take(&mut self.held_just_now) {
            self.poisoned.remove(&key);
            self.unnoted.insert(key);
        }
    }

    /// Proves what has been in use for `after`. `uses`: whether the consumer uses a key as it was received.
    pub(super) fn prove(
        &mut self,
        replica: &Replica,
        uses: impl Fn(&str) -> bool,
        now: Instant,
        after: Duration,
    ) {
        let mut due = Vec::new();
        for (key, unproven) in self.unproven.iter_mut().filter(|(key, _)| !self.poisoned.contains_key(*key)) {
            if unproven.hash.is_some() && !uses(key) {
                unproven.since = now;
            } else if unproven.is_used && now.saturating_duration_since(unproven.since) >= after {
                due.push(key.clone());
            }
        }
        if due.is_empty() {
            return;
        }
        if self.proven.is_none() {
            // From now on, what else is not proven is noted as such.
            self.unnoted.extend(self.unproven.keys().cloned().chain([MARK.into()]));
        }
        let proven = self.proven.get_or_insert_default();
        for key in &due {
            match replica.get(key) {
                Some(value) => drop(proven.insert(key.clone(), value.clone())),
                None => drop(proven.remove(key)),
            }
        }
        due.iter().for_each(|key| self.is_proven(key));
    }

    /// What is not proven counts as in use from now on.
    pub(super) fn restart(&mut self, now: Instant) {
        self.unproven.values_mut().for_each(|unproven| unproven.since = now);
    }

    /// How many keys are not proven as they are.
    pub(super) fn unproven(&self) -> usize {
        self.unproven.len()
    }

    /// How many of them are held back.
    pub(super) fn poisoned(&self) -> usize {
        self.poisoned.len()
    }

    /// What is to be kept, of those keys where that may differ from what was kept before. The mark comes last: without it, nothing
    /// counts as proven.
    pub(super) fn take_notes(&mut self) -> KeyNotes {
        let noted = |value| Noted { revision: 0, value };
        let mut notes = KeyNotes::new();
        for key in mem::take(&mut self.unnoted).into_iter().rev() {
            let proven = self.proven.as_ref().filter(|_| &*key == MARK || self.unproven.contains_key(&key));
            let proven = proven.map(|proven| match &*key {
                MARK => Some(Bytes::new()),
                key => proven.get(key).cloned(),
            });
            let poisoned = self.poisoned.get(&key).map(|hash| noted(Some(Bytes::copy_from_slice(hash))));
            notes.push((KeyNote::Proven, key.clone(), proven.map(noted)));
            notes.push((KeyNote::Poisoned, key, poisoned));
        }
        notes
    }
}
