//! The last versions of keys that a consumer could use, until it is known that a later one can be used.
//!
//! A value may be received and found unusable only later, by whoever consumes it. So what it replaces is kept until a
//! consumer confirms the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{Position, Replica};
use crate::{Exceptions, LineageOrder, quarantine::KeyDigest};

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
    /// Rises when `held` changes.
    version: u64,
}

/// A change that is not confirmed.
#[derive(Debug)]
struct Pending {
    revision: u64,
    /// The key's: worked out once, many acknowledgements are compared with it.
    digest: KeyDigest,
}

/// A version that a consumer could use.
#[derive(Debug)]
struct Held {
    value: Bytes,
    /// When it became the key's value, or later: whoever held the scope then has met it, or was told of it.
    since: u64,
}

impl LastGood {
    /// A change of `key` at `revision` replaces `old`, which was there since the revision given with it.
    pub(super) fn replaced(&mut self, key: &Arc<str>, old: Option<(Bytes, u64)>, revision: u64) {
        if !self.enabled {
            return;
        }
        if let Some(pending) = self.pending.get_mut(key) {
            // Nobody is known to have used it: what was held before it stays.
            let before = std::mem::replace(&mut pending.revision, revision);
            self.by_revision.remove(&(before, Arc::clone(key)));
            self.by_revision.insert((revision, Arc::clone(key)));
        } else {
            self.pend(key, revision);
            if let Some((old, since)) = old {
                self.hold(Arc::clone(key), old, since);
            }
        }
    }

    /// Revisions of another history are no measure any more: all that is pending is so since `revision`.
    pub(super) fn start_history(&mut self, revision: u64) {
        self.pending.values_mut().for_each(|pending| pending.revision = revision);
        self.by_revision = self.pending.keys().map(|key| (revision, Arc::clone(key))).collect();
        self.held.values_mut().for_each(|held| held.since = revision);
    }

    fn confirm(&mut self, until: u64, but: Exceptions<'_>) {
        let is_settled =
            |key: &str| self.pending.get(key).is_none_or(|pending| !but.hold(key, pending.digest));
        let settled: Vec<_> = self
            .by_revision
            .iter()
            .take_while(|(revision, _)| *revision <= until)
            .filter(|(_, key)| is_settled(key))
            .cloned()
            .collect();
        for entry in settled {
            self.pending.remove(&entry.1);
            if self.held.remove(&entry.1).is_some() {
                self.version += 1;
            }
            self.by_revision.remove(&entry);
        }
        let Exceptions::Known(known) = but else { return };
        for (key, in_use) in known {
            if let Some(in_use) = in_use {
                self.pend(key, until);
                self.hold(Arc::clone(key), in_use.clone(), until);
            }
        }
    }

    fn pend(&mut self, key: &Arc<str>, revision: u64) {
        if !self.pending.contains_key(key) {
            self.pending.insert(Arc::clone(key), Pending { revision, digest: KeyDigest::of(key) });
            self.by_revision.insert((revision, Arc::clone(key)));
        }
    }

    fn hold(&mut self, key: Arc<str>, value: Bytes, since: u64) {
        if self.held.get(&key).map(|held| &held.value) != Some(&value) {
            self.held.insert(key, Held { value, since });
            self.version += 1;
        }
    }
}

impl Replica {
    /// Keeps, from now on, the last good versions of keys until later ones are confirmed; `held` are those kept so far.
    pub fn remember_last_good(&mut self, held: BTreeMap<Arc<str>, Bytes>) {
        let since = self.position.map_or(0, |position| position.revision);
        self.last_good.enabled = true;
        self.offer_last_good(held, since, |_| false);
    }

    /// Takes over what somebody else holds, of keys of which nothing is held here, and of those that are `superseded`.
    pub(super) fn offer_last_good(
        &mut self,
        held: impl IntoIterator<Item = (Arc<str>, Bytes)>,
        revision: u64,
        superseded: impl Fn(&str) -> bool,
    ) {
        for (key, value) in held {
            let is_news = !self.last_good.held.contains_key(&key) || superseded(&key);
            if self.last_good.enabled && is_news {
                self.last_good.pend(&key, revision);
                self.last_good.hold(key, value, revision);
            }
        }
    }

    /// A consumer uses the content at `position`, but for some keys: of those it uses the version given, if it is known which.
    /// Of all others the version before is forgotten.
    pub fn confirm<'a>(&mut self, position: &Position, but: impl Into<Exceptions<'a>>) {
        let but = but.into();
        if self.awaits(position, but) {
            self.last_good.confirm(position.revision, but);
        }
    }

    /// Whether confirming that may change anything.
    pub fn awaits<'a>(&self, position: &Position, but: impl Into<Exceptions<'a>>) -> bool {
        let but = but.into();
        // A consumer that is ahead speaks of content that is not held here (any more).
        let same = |held: &Position| {
            position.lineage.order(&held.lineage) == LineageOrder::Same && position.revision <= held.revision
        };
        let first = self.last_good.by_revision.first();
        self.last_good.enabled
            && but.are_complete()
            && self.position.as_ref().is_some_and(same)
            && (first.is_some_and(|(revision, _)| *revision <= position.revision) || !but.are_none())
    }

    /// The last good versions, by key.
    pub fn last_good(&self) -> impl Iterator<Item = (&Arc<str>, &Bytes)> {
        self.last_good.held.iter().map(|(key, held)| (key, &held.value))
    }

    /// The last good version of a key.
    pub fn last_good_of(&self, key: &str) -> Option<&Bytes> {
        self.last_good.held.get(key).map(|held| &held.value)
    }

    /// The last good versions that came after `revision`: whoever stands there has not met them.
    pub(crate) fn last_good_since(&self, revision: u64) -> Vec<(Arc<str>, Bytes)> {
        let held = self.last_good.held.iter().filter(|(_, held)| held.since > revision);
        held.map(|(key, held)| (Arc::clone(key), held.value.clone())).collect()
    }

    /// Rises when they change.
    pub fn last_good_version(&self) -> u64 {
        self.last_good.version
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::sync::Quarantined;

    use super::*;
    use crate::{Lineage, Quarantine};

    fn at(revision: u64) -> Position {
        Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
    }

    fn put(replica: &mut Replica, revision: u64, key: &str, value: &'static str) {
        replica.advance(at(revision), vec![(key.into(), value.into())], Vec::new()).unwrap();
    }

    fn held(replica: &Replica) -> Vec<(&str, &[u8])> {
        replica.last_good().map(|(key, value)| (&**key, &**value)).collect()
    }

    impl Replica {
        fn pending(&self) -> usize {
            self.last_good.pending.len()
        }
    }

    fn but(keys: &[&str]) -> BTreeMap<Arc<str>, Option<Bytes>> {
        keys.iter().map(|key| (Arc::from(*key), None)).collect()
    }

    fn remembering() -> Replica {
        let mut replica = Replica::new();
        replica.remember_last_good(BTreeMap::new());
        put(&mut replica, 1, "a", "1");
        replica.confirm(&at(1), &but(&[]));
        replica
    }

    #[test]
    fn the_version_before_is_held_until_the_next_is_confirmed() {
        let mut replica = remembering();
        put(&mut replica, 2, "a", "2");
        assert_eq!(held(&replica), [("a", &b"1"[..])]);
        replica.confirm(&at(1), &but(&[]));
        assert_eq!(held(&replica).len(), 1, "it speaks of an earlier position");
        replica.confirm(&at(2), &but(&[]));
        assert_eq!(held(&replica), []);
    }

    #[test]
    fn what_nobody_could_use_never_becomes_the_last_good_version() {
        let mut replica = remembering();
        put(&mut replica, 2, "a", "bad");
        replica.confirm(&at(2), &but(&["a"]));
        put(&mut replica, 3, "a", "worse");
        put(&mut replica, 4, "b", "1");
        replica.confirm(&at(4), &but(&["a"]));
        assert_eq!(held(&replica), [("a", &b"1"[..])]);
        put(&mut replica, 5, "a", "mended");
        replica.confirm(&at(5), &but(&[]));
        put(&mut replica, 6, "a", "bad again");
        assert_eq!(held(&replica), [("a", &b"mended"[..])]);
    }

    #[test]
    fn however_many_cannot_be_used_the_others_are_confirmed() {
        let mut replica = remembering();
        put(&mut replica, 2, "a", "2");
        let keys: Vec<_> = (0..1_000).map(|index| format!("bad/{index}")).collect();
        for value in ["1", "2"] {
            let revision = 3 + u64::from(value == "2");
            let all = keys.iter().map(|key| (key.as_str().into(), value.into())).collect();
            replica.advance(at(revision), all, Vec::new()).unwrap();
        }
        let quarantined = |key: &String| Quarantined { key: key.clone(), ..Default::default() };
        let quarantine = |count: usize| Quarantine::of(keys.iter().take(count).map(quarantined));
        replica.confirm(&at(3), &quarantine(0));
        assert_eq!(replica.pending(), 1_000, "of those that changed since");
        put(&mut replica, 5, "b", "1");
        replica.confirm(&at(5), &quarantine(900));
        assert_eq!(replica.pending(), 900);
        replica.confirm(&at(5), &quarantine(65));
        assert_eq!(replica.pending(), 65);
        // More than can be told: it may be any.
        let told = |mut all: Vec<Quarantined>| {
            let total = all.len() as u64;
            all.truncate(64);
            Quarantine::received(all, total, &[])
        };
        replica.confirm(&at(5), &told(keys.iter().map(quarantined).collect()));
        assert_eq!(replica.pending(), 65);
        replica.confirm(&at(5), &quarantine(64));
        assert_eq!(replica.pending(), 64);
    }

    #[test]
    fn what_is_gone_is_held_while_it_is_needed() {
        let mut replica = remembering();
        replica.advance(at(2), Vec::new(), vec!["a".into()]).unwrap();
        replica.confirm(&at(2), &but(&["a"]));
        assert_eq!(held(&replica), [("a", &b"1"[..])]);
        replica.confirm(&at(2), &but(&[]));
        assert_eq!(held(&replica), []);
    }

    #[test]
    fn a_consumer_that_knows_what_it_uses_is_believed() {
        let mut replica = remembering();
        put(&mut replica, 2, "a", "2");
        put(&mut replica, 3, "a", "bad");
        let in_use = BTreeMap::from([(Arc::from("a"), Some(Bytes::from("2")))]);
        replica.confirm(&at(3), &in_use);
        assert_eq!(held(&replica), [("a", &b"2"[..])], "it had compiled revision 2 before 3 came");
    }

    /// It held 1, missed that 2 came and was good, and gets what came after that.
    #[test]
    fn what_a_delta_says_was_good_is_later_than_what_was_held() {
        let offered = || vec![("a".into(), "2".into()), ("b".into(), "2".into())];
        let mut replica = remembering();
        put(&mut replica, 2, "b", "bad");
        let upserts = vec![("a".into(), "bad".into())];
        let change = replica.prepare_delta(at(4), upserts, Vec::new()).unwrap().with_last_good(offered());
        replica.commit(change).unwrap();
        assert_eq!(held(&replica), [("a", &b"2"[..]), ("b", &b"2"[..])]);
        // What does not change keeps the version that is in use here.
        let change = replica.prepare_delta(at(5), Vec::new(), Vec::new()).unwrap();
        replica.commit(change.with_last_good(vec![("a".into(), "1".into())])).unwrap();
        assert_eq!(held(&replica), [("a", &b"2"[..]), ("b", &b"2"[..])]);
        replica.confirm(&at(5), &but(&[]));
        assert_eq!(held(&replica), []);
    }

    #[test]
    fn another_history_starts_the_count_afresh() {
        let mut replica = remembering();
        put(&mut replica, 50, "a", "bad");
        let lineage = Lineage { generation: 2, id: [2; 16], parent: None };
        let next = |revision| Position { lineage, revision };
        let content = vec![("a".into(), "bad".into()), ("b".into(), "1".into())];
        replica.replace(next(7), content).unwrap();
        replica.confirm(&at(60), &but(&[]));
        assert_eq!(held(&replica).len(), 1, "that was said of the old history");
        replica.confirm(&next(7), &but(&["a"]));
        assert_eq!(held(&replica), [("a", &b"1"[..])]);
        replica.confirm(&next(7), &but(&[]));
        assert_eq!(held(&replica), []);
    }

    #[test]
    fn who_is_ahead_confirms_nothing() {
        let mut replica = remembering();
        put(&mut replica, 2, "a", "bad");
        replica.confirm(&at(3), &but(&[]));
        assert_eq!(held(&replica), [("a", &b"1"[..])], "what was mended at 3 is not here");
    }

    #[test]
    fn nothing_is_kept_where_nobody_asks() {
        let mut replica = Replica::new();
        put(&mut replica, 1, "a", "1");
        put(&mut replica, 2, "a", "2");
        assert!(replica.last_good.held.is_empty() && replica.last_good.pending.is_empty());
    }
}
