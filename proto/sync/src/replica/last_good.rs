//! The last versions of keys that a consumer could use, until it is known that a later one can be used.
//!
//! A value may be received and found unusable only later, by whoever consumes it. So what it replaces is kept until a
//! consumer confirms the new one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::{Replica, Seen};
use crate::{Exceptions, quarantine::KeyDigest};
use hanse_topology::{LineageOrder, Position};

/// How many versions of a key are kept that were replaced before anybody spoke of them: as many changes of one key as come
/// while an acknowledgement is on its way.
const MAX_EARLIER: usize = 4;

/// How much is kept of one scope, keys and values: a quarter of what a subscriber takes in one transfer, so a newcomer gets it
/// with any scope there is.
const MAX_BYTES: usize = 256 << 20;

/// What is kept of one scope.
#[derive(Debug, Default)]
pub(super) struct LastGood {
    /// Where nobody asks for it, nothing is kept.
    enabled: bool,
    /// The version before, of keys whose present one is not confirmed. Of a key that is gone, until it is known that nothing
    /// needs it any more.
    held: BTreeMap<Arc<str>, Held>,
    /// Keys whose last change is not confirmed.
    pending: BTreeMap<Arc<str>, Pending>,
    by_revision: BTreeSet<(u64, Arc<str>)>,
    /// The versions in [`Pending::earlier`] by revision.
    earlier: BTreeSet<(u64, Arc<str>)>,
    /// Of the changes up to here it is not known whether they were confirmed, for they came before a restart,
    restored_at: u64,
    /// but for those up to here, of which somebody has spoken since.
    spoken_of: u64,
    /// Rises when `held` changes.
    version: u64,
    /// The lengths of all that is held, and of the earlier versions.
    bytes: usize,
    bound: Bound,
    /// How many keys lost what was kept of them to the bound.
    given_up: u64,
}

/// How many bytes may be kept.
#[derive(Debug)]
struct Bound(usize);

impl Default for Bound {
    fn default() -> Self {
        Self(MAX_BYTES)
    }
}

/// A change that is not confirmed.
#[derive(Debug)]
struct Pending {
    revision: u64,
    /// The key's: worked out once, many acknowledgements are compared with it.
    digest: KeyDigest,
    /// What was there since the last good version and before this change, by revision: somebody may have used it, and say so
    /// only now.
    earlier: VecDeque<Earlier>,
    /// Somebody said of this change that it cannot be used, or that what is gone is still needed.
    told_of: bool,
}

/// A version that was replaced before anybody spoke of it.
#[derive(Debug)]
struct Earlier {
    revision: u64,
    /// It is known to have been there up to here: what was there after that and before the next change, is not.
    until: u64,
    /// `None`: the key was gone.
    value: Option<Bytes>,
}

impl Pending {
    /// The version that was there at `revision`, if it is not the present one and is kept.
    fn earlier_at(&self, revision: u64) -> Option<&Earlier> {
        let before = || self.earlier.iter().rfind(|earlier| earlier.revision <= revision);
        let was_there = |earlier: &&Earlier| revision <= earlier.until;
        if revision < self.revision { before().filter(was_there) } else { None }
    }
}

/// What is to be kept of a key for a later process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGoodRecord {
    /// The last version that a consumer could use; `None`: it is known that there is none.
    pub value: Option<Bytes>,
    /// When it became the key's value, or later; 0: not known.
    pub since: u64,
}

/// What is known of a key whose last change is not confirmed.
#[derive(Debug)]
struct Held {
    /// The last version that a consumer could use; `None`: it is known that there is none.
    value: Option<Bytes>,
    /// When it became the key's value, or later: whoever held the scope then has met it, or was told of it. 0: not known.
    since: u64,
    /// It was told by a publisher or by a disk. Else it was in the content here, where a local reader met it, or it is in use.
    told: bool,
}

impl LastGood {
    /// A change of `key` at `revision` replaces `old`, which was there since the revision given with it and is known to have been
    /// there up to `until`.
    pub(super) fn replaced(&mut self, key: &Arc<str>, old: Option<(Bytes, u64)>, until: u64, revision: u64) {
        if !self.enabled {
            return;
        }
        if let Some(pending) = self.pending.get_mut(key) {
            // Nobody is known to have used it yet: what was held before it stays.
            let before = std::mem::replace(&mut pending.revision, revision);
            let (value, since) = old.map_or((None, before), |(value, since)| (Some(value), since));
            pending.told_of = false;
            self.bytes += length(key, value.as_ref());
            pending.earlier.push_back(Earlier { revision: since, until, value });
            self.earlier.insert((since, Arc::clone(key)));
            if pending.earlier.len() > MAX_EARLIER
                && let Some(oldest) = pending.earlier.pop_front()
            {
                self.forget_earlier(key, &oldest);
            }
            self.by_revision.remove(&(before, Arc::clone(key)));
            self.by_revision.insert((revision, Arc::clone(key)));
        } else {
            self.pend(key, revision);
            if let Some((old, since)) = old {
                self.hold(Arc::clone(key), Some(old), since, false);
            }
        }
    }

    /// Revisions of another history are no measure any more: all that is pending is so since `revision`.
    pub(super) fn start_history(&mut self, revision: u64) {
        for (key, pending) in &mut self.pending {
            pending.revision = revision;
            let lengths = pending.earlier.drain(..).map(|earlier| length(key, earlier.value.as_ref()));
            self.bytes -= lengths.sum::<usize>();
        }
        self.earlier.clear();
        self.by_revision = self.pending.keys().map(|key| (revision, Arc::clone(key))).collect();
        self.held.values_mut().for_each(|held| held.since = revision);
        self.restored_at = 0;
    }

    fn confirm(&mut self, until: u64, but: Exceptions<'_>) {
        for (revision, key) in self.confirmed_late(until, but).cloned().collect::<Vec<_>>() {
            self.promote(key, revision);
        }
        let is_settled =
            |key: &str| self.pending.get(key).is_none_or(|pending| !but.hold(key, pending.digest));
        let spoken_of = self.by_revision.iter().take_while(|(revision, _)| *revision <= until).cloned();
        let (settled, unusable): (Vec<_>, Vec<_>) = spoken_of.partition(|(_, key)| is_settled(key));
        for entry in settled {
            self.settle(&entry);
        }
        for (_, key) in unusable {
            self.tell_of(&key);
            if !self.held.contains_key(&key) {
                self.hold(key, None, until, false);
            }
        }
        let Exceptions::Known(known) = but else { return };
        for (key, in_use) in known {
            if let Some(in_use) = in_use
                && !self.was_told_after(key, until)
            {
                self.pend(key, until);
                if self.pending.get(key).is_some_and(|pending| pending.revision <= until) {
                    self.tell_of(key);
                }
                self.hold(Arc::clone(key), Some(in_use.clone()), until, false);
            }
        }
    }

    /// Whether a later version than whoever stands at `until` can know of was told.
    fn was_told_after(&self, key: &str, until: u64) -> bool {
        self.held.get(key).is_some_and(|held| held.told && held.since > until)
    }

    fn tell_of(&mut self, key: &str) {
        self.pending.get_mut(key).into_iter().for_each(|pending| pending.told_of = true);
    }

    /// Nothing is to be known of a key any more, whose last change was at the revision.
    fn settle(&mut self, entry: &(u64, Arc<str>)) {
        for earlier in self.pending.remove(&entry.1).into_iter().flat_map(|pending| pending.earlier) {
            self.forget_earlier(&entry.1, &earlier);
        }
        self.release(&entry.1);
        self.by_revision.remove(entry);
    }

    /// Forgets what is held of keys that are gone since `revision` or before, unless somebody said that it is needed.
    pub(super) fn forget_gone(&mut self, revision: u64, is_there: impl Fn(&str) -> bool) {
        let unneeded =
            |key: &str| !is_there(key) && self.pending.get(key).is_some_and(|pending| !pending.told_of);
        let changed = self.by_revision.iter().take_while(|(at, _)| *at <= revision);
        let gone: Vec<_> = changed.filter(|(_, key)| unneeded(key)).cloned().collect();
        gone.iter().for_each(|entry| self.settle(entry));
    }

    /// Gives up what is kept of keys that changed longest ago, where all of it is too much: a quarter of it, so that this is rare.
    pub(super) fn bound(&mut self) {
        if self.bytes <= self.bound.0 {
            return;
        }
        let enough = self.bound.0 - self.bound.0 / 4;
        let oldest: Vec<_> = self.by_revision.iter().map(|(_, key)| Arc::clone(key)).collect();
        for key in oldest {
            if self.bytes <= enough {
                break;
            }
            let before = self.bytes;
            let earlier = self.pending.get_mut(&key).map(|pending| std::mem::take(&mut pending.earlier));
            earlier.iter().flatten().for_each(|earlier| self.forget_earlier(&key, earlier));
            self.release(&key);
            self.given_up += u64::from(self.bytes < before);
        }
    }

    /// Notes that a version is not among the earlier ones of a key any more.
    fn forget_earlier(&mut self, key: &Arc<str>, earlier: &Earlier) {
        self.earlier.remove(&(earlier.revision, Arc::clone(key)));
        self.bytes -= length(key, earlier.value.as_ref());
    }

    /// Whether [`Self::confirm`] changes anything, or it was not known yet of changes before the restart.
    fn is_news(&self, until: u64, but: Exceptions<'_>) -> bool {
        let mut spoken_of = self.by_revision.iter().take_while(|(revision, _)| *revision <= until);
        let settles = |key: &Arc<str>| {
            let told_of = |pending: &Pending| pending.told_of && but.hold(key, pending.digest);
            !self.pending.get(key).is_some_and(told_of) || !self.held.contains_key(key)
        };
        let differs = |(key, in_use): (&Arc<str>, &Option<Bytes>)| {
            let held = self.held.get(key);
            in_use.is_some()
                && !self.was_told_after(key, until)
                && held.is_none_or(|held| held.value != *in_use || held.told)
        };
        self.spoken_of < self.restored_at.min(until)
            || self.confirmed_late(until, but).next().is_some()
            || spoken_of.any(|(_, key)| settles(key))
            || matches!(but, Exceptions::Known(known) if known.iter().any(differs))
    }

    /// The versions that are in use where content at `until` is, though others have replaced them since. None that is older than
    /// what is held: that was told by whoever knew of later ones.
    fn confirmed_late<'a>(
        &'a self,
        until: u64,
        but: Exceptions<'a>,
    ) -> impl Iterator<Item = &'a (u64, Arc<str>)> {
        let earlier = self.earlier.iter().take_while(move |(revision, _)| *revision <= until);
        earlier.filter(move |(revision, key)| {
            let is_later = || {
                let held = self.held.get(key).filter(|held| held.value.is_some());
                held.is_none_or(|held| held.since <= *revision)
            };
            self.pending.get(key).is_some_and(|pending| {
                let was_there = pending.earlier_at(until).is_some_and(|was| was.revision == *revision);
                was_there && is_later() && !but.hold(key, pending.digest)
            })
        })
    }

    /// Makes the version that `key` had since `revision` its last good one.
    fn promote(&mut self, key: Arc<str>, revision: u64) {
        let Some(pending) = self.pending.get_mut(&key) else { return };
        let mut forgotten = Vec::new();
        while let Some(earlier) = pending.earlier.pop_front_if(|earlier| earlier.revision <= revision) {
            forgotten.push(earlier);
        }
        forgotten.iter().for_each(|earlier| self.forget_earlier(&key, earlier));
        self.release(&key);
        if let Some(value) = forgotten.pop().and_then(|last| last.value) {
            self.hold(key, Some(value), revision, false);
        }
    }

    /// Nothing is held of `key` any more.
    fn release(&mut self, key: &str) {
        if let Some(held) = self.held.remove(key) {
            self.bytes -= length(key, held.value.as_ref());
            self.version += 1;
        }
    }

    fn pend(&mut self, key: &Arc<str>, revision: u64) {
        if !self.pending.contains_key(key) {
            let (digest, earlier) = (KeyDigest::of(key), VecDeque::new());
            let pending = Pending { revision, digest, earlier, told_of: false };
            self.pending.insert(Arc::clone(key), pending);
            self.by_revision.insert((revision, Arc::clone(key)));
        }
    }

    fn hold(&mut self, key: Arc<str>, value: Option<Bytes>, since: u64, told: bool) {
        match self.held.get_mut(&key).filter(|held| held.value == value) {
            Some(held) => held.told &= told,
            None => {
                self.release(&key);
                self.bytes += length(&key, value.as_ref());
                self.held.insert(key, Held { value, since, told });
                self.version += 1;
            }
        }
    }
}

/// What a version takes.
fn length(key: &str, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len)
}

impl Replica {
    /// Keeps, from now on, the last good versions of keys until later ones are confirmed; `kept` is what an earlier process
    /// had of them, as [`Self::last_good_to_keep`] gave it.
    pub fn remember_last_good(&mut self, kept: BTreeMap<Arc<str>, LastGoodRecord>) {
        let now = self.position.map_or(0, |position| position.revision);
        self.last_good.enabled = true;
        for (key, LastGoodRecord { value, since }) in kept {
            self.last_good.pend(&key, now);
            self.last_good.hold(key, value, since.min(now), true);
        }
        (self.last_good.restored_at, self.last_good.spoken_of) = (now, 0);
    }

    /// Takes over what somebody else holds, of keys of which nothing is held here, and of those that are `superseded`.
    pub(super) fn offer_last_good(
        &mut self,
        held: impl IntoIterator<Item = (Arc<str>, Bytes)>,
        revision: u64,
        superseded: impl Fn(&str) -> bool,
    ) {
        for (key, value) in held {
            let is_news = self.last_good_of(&key).is_none() || superseded(&key);
            if self.last_good.enabled && is_news {
                self.last_good.pend(&key, revision);
                self.last_good.hold(key, Some(value), revision, true);
            }
        }
    }

    /// A consumer uses the content at `position`, but for some keys: of those it uses the version given, if it is known which.
    /// Of all others the version before is forgotten.
    pub fn confirm<'a>(&mut self, position: &Position, but: impl Into<Exceptions<'a>>) {
        let but = but.into();
        if !self.awaits(position, but) {
            return;
        }
        // Which of the changes before the restart cannot be used.
        let LastGood { restored_at, spoken_of, .. } = self.last_good;
        let until = if but.are_none() { 0 } else { restored_at.min(position.revision) };
        let unknown = self.changed.range((spoken_of.saturating_add(1), Arc::from(""))..);
        let unknown = unknown.take_while(|(revision, _)| *revision <= until);
        for (revision, key) in unknown.filter(|(_, key)| but.hold(key, KeyDigest::of(key))) {
            self.last_good.pend(key, *revision);
        }
        self.last_good.spoken_of = spoken_of.max(position.revision);
        self.last_good.confirm(position.revision, but);
    }

    /// Whether confirming that changes anything: what is said again every second does not.
    pub fn awaits<'a>(&self, position: &Position, but: impl Into<Exceptions<'a>>) -> bool {
        let but = but.into();
        // A consumer that is ahead speaks of content that is not held here (any more).
        let same = |held: &Position| {
            position.lineage.order(&held.lineage) == LineageOrder::Same && position.revision <= held.revision
        };
        // What was there on the way that was skipped is not known.
        let in_gap = self.is_in_gap(position.revision);
        self.last_good.enabled
            && but.are_complete()
            && !in_gap
            && self.position.as_ref().is_some_and(same)
            && self.last_good.is_news(position.revision, but)
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

    /// Those of them that a local reader who has seen this much cannot know of: they were told since. Those that were in the
    /// content before it met, and what it uses now may be later.
    pub fn last_good_told_after(&self, seen: Seen) -> impl Iterator<Item = (&Arc<str>, &Bytes)> {
        let same_epoch = seen.epoch == self.epoch;
        let told = move |held: &Held| held.told && (!same_epoch || held.since > seen.revision);
        let told = self.last_good.held.iter().filter(move |(_, held)| told(held));
        told.filter_map(|(key, held)| Some((key, held.value.as_ref()?)))
    }

    /// The last good versions that came after `revision`: whoever stands there has not met them. One of which it is not known
    /// when it came may be older than what others use, and is none of them.
    pub(crate) fn last_good_since(&self, revision: u64) -> Vec<(Arc<str>, Bytes)> {
        let held = self.last_good.held.iter().filter(|(_, held)| held.since > revision);
        held.filter_map(|(key, held)| Some((Arc::clone(key), held.value.clone()?))).collect()
    }

    /// Of how many keys what was kept was too much, since this was asked last.
    pub fn take_last_good_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.last_good.given_up)
    }

    /// Rises when they change.
    pub fn last_good_version(&self) -> u64 {
        self.last_good.version
    }
}

#[cfg(test)]
mod tests;
