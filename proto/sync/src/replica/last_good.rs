//! The last versions of keys that a consumer could use, of those keys whose present state none has acknowledged.
//!
//! A value may be received and found unusable only later, by a consumer. So a version that was acknowledged is held when
//! another one replaces it, until that one is acknowledged. It is one version per key, so all that is held of a scope is at
//! most as much as the scope held at the last acknowledgement.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{Entry, Replica, Seen};
use crate::Exceptions;
use hanse_topology::{LineageOrder, Position};

/// What is known of one scope.
#[derive(Debug, Clone, Default)]
pub(super) struct LastGood {
    /// Whether anything is held: not where the content is made.
    enabled: bool,
    /// The latest revision that a consumer acknowledged. A key that changed later is not acknowledged as it is; any other
    /// one is, unless it is in `held`. 0: none, for the state of revision 0 has no content.
    acknowledged: u64,
    held: BTreeMap<Arc<str>, Held>,
    /// The keys of `held` by revision of their last change.
    by_change: BTreeSet<(u64, Arc<str>)>,
    /// Rises when the versions in `held` change.
    version: u64,
}

/// A key that is not acknowledged as it is.
#[derive(Debug, Clone)]
struct Held {
    /// The last version that was acknowledged; `None`: it is known that there is none.
    value: Option<Bytes>,
    /// When it became the key's value, or was told here. A subscriber that held the scope then has met it.
    since: u64,
    /// The key's last change.
    changed: u64,
    /// Whether a publisher or the disk told it. A version that was not told has been content of this replica, so a local
    /// reader has met it.
    told: bool,
}

/// What is to be kept of a key for a later process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGoodRecord {
    /// The last version that a consumer could use; `None`: it is known that there is none.
    pub value: Option<Bytes>,
    /// When it became the key's value, or later.
    pub since: u64,
}

impl LastGood {
    /// Nothing is held, and consumers acknowledged what there was up to this revision.
    pub(super) fn acknowledged_to(acknowledged: u64) -> Self {
        Self { acknowledged, ..Self::default() }
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether a key that has been as it is since `revision` is acknowledged as it is.
    pub(super) fn acknowledges(&self, key: &str, revision: u64) -> bool {
        revision <= self.acknowledged && !self.held.contains_key(key)
    }

    /// A change of `key` at `revision` replaces `old`; `None`: the key was gone.
    pub(super) fn replaced(&mut self, key: &Arc<str>, old: Option<Entry>, revision: u64) {
        if let Some(held) = self.held.get(key) {
            // A version from before a deletion is not the last good one of what comes after it, unless a consumer said
            // of the deletion that it needs the version still.
            let was_deleted = old.is_none() && held.changed > self.acknowledged;
            if was_deleted || held.value.is_none() {
                self.release(key);
            } else {
                let held = Held { changed: revision, ..held.clone() };
                self.hold(key, held);
            }
        } else if let Some(old) = old.filter(|old| self.enabled && old.revision <= self.acknowledged) {
            let (value, since) = (Some(old.value), old.revision);
            self.hold(key, Held { value, since, changed: revision, told: false });
        }
    }

    /// Revisions of another history are no measure any more: each key that is not acknowledged changed at `revision`, and
    /// what is before that is acknowledged.
    pub(super) fn start_history(&mut self, revision: u64) {
        self.acknowledged = revision.saturating_sub(1);
        self.held.values_mut().for_each(|held| (held.since, held.changed) = (revision, revision));
        self.by_change = self.held.keys().map(|key| (revision, Arc::clone(key))).collect();
    }

    /// The keys that an acknowledgement of the content at `until` settles.
    fn settled<'a>(&'a self, until: u64, but: &'a Exceptions) -> impl Iterator<Item = &'a Arc<str>> {
        let spoken_of = self.by_change.iter().take_while(move |(changed, _)| *changed <= until);
        spoken_of.map(|(_, key)| key).filter(|key| !but.contains_key(*key))
    }

    /// Whether the version of `key` that a consumer at `until` uses is to be held. A version that came later stays.
    fn lacks(&self, key: &str, in_use: &Bytes, until: u64) -> bool {
        self.held.get(key).is_none_or(|held| held.since <= until && held.value.as_ref() != Some(in_use))
    }

    fn hold(&mut self, key: &Arc<str>, held: Held) {
        let before = self.held.remove(key);
        if let Some(before) = &before {
            self.by_change.remove(&(before.changed, Arc::clone(key)));
        }
        self.version += u64::from(before.is_none_or(|before| before.value != held.value));
        self.by_change.insert((held.changed, Arc::clone(key)));
        self.held.insert(Arc::clone(key), held);
    }

    fn release(&mut self, key: &Arc<str>) {
        if let Some(held) = self.held.remove(key) {
            self.by_change.remove(&(held.changed, Arc::clone(key)));
            self.version += 1;
        }
    }
}

impl Replica {
    /// Holds, from now on, the last good versions of keys until later ones are acknowledged; `kept` is what an earlier
    /// process had of them, as [`Self::last_good_to_keep`] gave it.
    pub fn remember_last_good(&mut self, kept: BTreeMap<Arc<str>, LastGoodRecord>) {
        let now = self.position.map_or(0, |position| position.revision);
        self.last_good.enabled = true;
        for (key, LastGoodRecord { value, since }) in kept {
            let changed = self.last_change_of(&key).unwrap_or(now);
            self.last_good.hold(&key, Held { value, since: since.min(now), changed, told: true });
        }
    }

    /// Holds last good versions that the publisher told at `revision`. A key that is acknowledged here as it is needs none.
    /// A version that is held here stays, unless it is `superseded`.
    pub(super) fn offer_last_good(
        &mut self,
        told: impl IntoIterator<Item = (Arc<str>, Bytes)>,
        revision: u64,
        superseded: impl Fn(&str) -> bool,
    ) {
        for (key, value) in told {
            let entry = self.entries.get(&key);
            let in_use = entry.is_some_and(|entry| self.last_good.acknowledges(&key, entry.revision));
            let is_news = !in_use && (self.last_good_of(&key).is_none() || superseded(&key));
            if self.last_good.enabled && is_news {
                let held = Held { value: Some(value), since: revision, changed: revision, told: true };
                self.last_good.hold(&key, held);
            }
        }
    }

    /// A consumer uses the content at `position`, but for some keys. All others are acknowledged as they were there.
    /// Whether that changes what is to be kept.
    pub fn confirm(&mut self, position: &Position, but: &Exceptions) -> bool {
        if !self.awaits(position, but) {
            return false;
        }
        let (until, before) = (position.revision, self.last_good.acknowledged);
        let settled: Vec<_> = self.last_good.settled(until, but).cloned().collect();
        settled.iter().for_each(|key| self.last_good.release(key));
        self.last_good.acknowledged = before.max(until);
        for (key, in_use) in but {
            if let Some(in_use) = in_use {
                if self.last_good.lacks(key, in_use, until) {
                    let (value, changed) = (Some(in_use.clone()), self.last_change_of(key).unwrap_or(until));
                    self.last_good.hold(key, Held { value, since: until, changed, told: false });
                }
            } else if let Some(changed) = self.entries.get(key).map(|entry| entry.revision)
                && (before < changed && changed <= until)
                && !self.last_good.held.contains_key(key)
            {
                self.last_good.hold(key, Held { value: None, since: 0, changed, told: false });
            }
        }
        true
    }

    /// Whether confirming that changes anything: what is said again every second does not.
    pub fn awaits(&self, position: &Position, but: &Exceptions) -> bool {
        // A consumer that is ahead speaks of content that is not held here (any more), one in a gap of content that never
        // was.
        let same = |held: Position| position.lineage.order(&held.lineage) == LineageOrder::Same;
        if !self.last_good.enabled || !self.position.is_some_and(same) || !self.reaches(position.revision) {
            return false;
        }
        let until = position.revision;
        let is_lacking = |(key, in_use): (&Arc<str>, &Option<Bytes>)| {
            in_use.as_ref().is_some_and(|in_use| self.last_good.lacks(key, in_use, until))
        };
        until > self.last_good.acknowledged
            || self.last_good.settled(until, but).next().is_some()
            || but.iter().any(is_lacking)
    }

    /// When `key` last came, changed or went, as far as that is remembered.
    fn last_change_of(&self, key: &str) -> Option<u64> {
        self.entries.get(key).map(|entry| entry.revision).or(self.tombstones.get(key))
    }

    /// The last good versions, by key.
    pub fn last_good(&self) -> impl Iterator<Item = (&Arc<str>, &Bytes)> {
        self.last_good.held.iter().filter_map(|(key, held)| Some((key, held.value.as_ref()?)))
    }

    /// What is to be kept of them for a later process: also of which keys it is known that there is none.
    pub fn last_good_to_keep(&self) -> impl Iterator<Item = (&Arc<str>, LastGoodRecord)> {
        let record = |held: &Held| LastGoodRecord { value: held.value.clone(), since: held.since };
        self.last_good.held.iter().map(move |(key, held)| (key, record(held)))
    }

    /// The last good version of a key.
    pub fn last_good_of(&self, key: &str) -> Option<&Bytes> {
        self.last_good.held.get(key)?.value.as_ref()
    }

    /// Those of them that a local reader who has seen this much cannot know of: they were told since.
    pub fn last_good_told_after(&self, seen: Seen) -> impl Iterator<Item = (&Arc<str>, &Bytes)> {
        let same_epoch = seen.epoch == self.epoch;
        let told = move |held: &Held| held.told && (!same_epoch || held.since > seen.revision);
        let told = self.last_good.held.iter().filter(move |(_, held)| told(held));
        told.filter_map(|(key, held)| Some((key, held.value.as_ref()?)))
    }

    /// The last good versions that came after `revision`: a subscriber that stands there has not met them.
    pub(crate) fn last_good_since(&self, revision: u64) -> Vec<(Arc<str>, Bytes)> {
        let held = self.last_good.held.iter().filter(|(_, held)| held.since > revision);
        held.filter_map(|(key, held)| Some((Arc::clone(key), held.value.clone()?))).collect()
    }

    /// Rises when they change.
    pub fn last_good_version(&self) -> u64 {
        self.last_good.version
    }
}

#[cfg(test)]
mod tests;
