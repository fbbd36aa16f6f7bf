use proptest::prelude::*;

use super::*;
use crate::{Head, Record};
use hanse_topology::Lineage;

fn at(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
}

fn put(replica: &mut Replica, revision: u64, key: &str, value: &'static str) {
    replica.advance(at(revision), vec![(key.into(), value.into())], Vec::new()).unwrap();
}

fn held(replica: &Replica) -> Vec<(&str, &[u8])> {
    replica.last_good().map(|(key, value)| (&**key, &**value)).collect()
}

fn but(keys: &[&str]) -> Exceptions {
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

/// A new one came while the acknowledgement of the one before was on its way.
#[test]
fn what_was_replaced_before_it_was_acknowledged_is_not_held() {
    let mut replica = remembering();
    for (revision, value) in [(2, "2"), (3, "bad")] {
        put(&mut replica, revision, "a", value);
    }
    replica.confirm(&at(2), &but(&[]));
    assert_eq!(held(&replica), [("a", &b"1"[..])], "it is the last one that was acknowledged in its time");
    replica.confirm(&at(3), &but(&["a"]));
    assert_eq!(held(&replica), [("a", &b"1"[..])]);
}

#[test]
fn one_consumer_that_can_use_it_is_enough() {
    for first in [true, false] {
        let mut replica = remembering();
        put(&mut replica, 2, "a", "2");
        put(&mut replica, 4, "b", "1");
        // Two gateways stand in different places.
        for usable in [first, !first] {
            match usable {
                true => replica.confirm(&at(3), &but(&[])),
                false => replica.confirm(&at(4), &but(&["a", "b"])),
            };
        }
        assert_eq!(held(&replica), []);
        replica.advance(at(5), vec![("a".into(), "bad".into()), ("b".into(), "bad".into())], vec![]).unwrap();
        assert_eq!(held(&replica), [("a", &b"2"[..])], "no consumer could ever use b");
    }
}

/// Gateways repeat themselves every second.
#[test]
fn what_is_said_again_is_no_news() {
    let mut replica = remembering();
    put(&mut replica, 2, "a", "bad");
    put(&mut replica, 3, "b", "bad");
    let known = || Exceptions::from([("a".into(), Some("in use".into())), ("b".into(), None)]);
    for said in [but(&["a", "b"]), but(&["b"]), known(), but(&[])] {
        assert!(replica.awaits(&at(3), &said), "{said:?}");
        replica.confirm(&at(3), &said);
        assert!(!replica.awaits(&at(3), &said), "{said:?}");
        let mut restored = restored(&replica);
        assert!(!restored.awaits(&at(3), &said), "{said:?}, after a restart");
        restored.advance(at(4), vec![], vec![]).unwrap();
        assert!(restored.awaits(&at(4), &said), "{said:?}, further on");
    }
}

/// What is kept of a replica.
struct Kept(Head, Vec<Record>, BTreeMap<Arc<str>, LastGoodRecord>);

impl Kept {
    fn of(replica: &Replica) -> Self {
        let last_good = replica.last_good_to_keep().map(|(key, record)| (key.clone(), record)).collect();
        Self(replica.head().unwrap(), replica.records(), last_good)
    }

    fn restored(&self) -> Replica {
        let Self(head, records, last_good) = self;
        let mut restored = Replica::restore(head.clone(), records.clone()).unwrap();
        restored.remember_last_good(last_good.clone());
        restored
    }
}

/// As after a restart.
fn restored(replica: &Replica) -> Replica {
    Kept::of(replica).restored()
}

#[test]
fn what_could_never_be_used_is_no_last_good_version_after_a_restart_either() {
    let mut replica = remembering();
    put(&mut replica, 2, "b", "bad");
    replica.confirm(&at(2), &but(&["b"]));
    put(&mut replica, 3, "c", "good");
    replica.confirm(&at(3), &but(&["b"]));
    let mut replica = restored(&replica);
    put(&mut replica, 4, "b", "worse");
    put(&mut replica, 5, "c", "bad");
    assert_eq!(held(&replica), [("c", &b"good"[..])]);
    replica.confirm(&at(5), &but(&["c"]));
    put(&mut replica, 6, "b", "bad again");
    assert_eq!(held(&replica), [("b", &b"worse"[..]), ("c", &b"good"[..])], "it could be used after all");
}

/// What came after it, and is in use elsewhere, is not given up for it.
#[test]
fn what_was_kept_is_told_after_a_restart_to_those_only_who_have_not_met_it() {
    let mut replica = remembering();
    for (revision, value) in [(3, "2"), (5, "bad")] {
        put(&mut replica, revision, "a", value);
        replica.confirm(&at(revision), &but(&["a"][..usize::from(value == "bad")]));
    }
    put(&mut replica, 9, "b", "1");
    let replica = restored(&replica);
    assert_eq!(replica.last_good_since(2), [("a".into(), "2".into())]);
    assert_eq!(replica.last_good_since(3), []);
}

/// No consumer had spoken of it before the restart, so nothing was kept.
#[test]
fn what_is_found_unusable_after_a_restart_is_no_last_good_version() {
    let mut replica = remembering();
    put(&mut replica, 2, "b", "bad");
    put(&mut replica, 3, "c", "bad");
    let mut replica = restored(&replica);
    replica.confirm(&at(1), &but(&[]));
    replica.confirm(&at(2), &but(&["b"]));
    put(&mut replica, 4, "b", "worse");
    replica.confirm(&at(3), &but(&["b", "c"]));
    put(&mut replica, 5, "c", "worse");
    assert_eq!(held(&replica), []);
    // What one consumer uses is good, even if another cannot use it then.
    replica.confirm(&at(5), &but(&[]));
    replica.confirm(&at(5), &but(&["b", "c"]));
    put(&mut replica, 6, "c", "bad");
    assert_eq!(held(&replica), [("c", &b"worse"[..])]);
}

#[test]
fn what_is_gone_is_held_while_it_is_needed() {
    let mut replica = remembering();
    replica.advance(at(2), Vec::new(), vec!["a".into()]).unwrap();
    replica.confirm(&at(2), &but(&["a"]));
    assert_eq!(held(&replica), [("a", &b"1"[..])]);
    let mut replica = restored(&replica);
    put(&mut replica, 3, "a", "bad");
    assert_eq!(held(&replica), [("a", &b"1"[..])], "it is needed still");
    replica.confirm(&at(3), &but(&[]));
    assert_eq!(held(&replica), []);
}

#[test]
fn what_was_deleted_is_not_the_last_good_version_of_what_comes_after() {
    for is_restarted in [false, true] {
        for acknowledged in [1, 2] {
            let mut replica = remembering();
            replica.advance(at(2), Vec::new(), vec!["a".into()]).unwrap();
            replica.confirm(&at(acknowledged), &but(&[]));
            if is_restarted {
                replica = restored(&replica);
            }
            put(&mut replica, 3, "a", "bad");
            assert_eq!(held(&replica), [], "acknowledged at {acknowledged}");
            replica.confirm(&at(3), &but(&["a"]));
            put(&mut replica, 4, "a", "worse");
            assert_eq!(held(&replica), []);
        }
    }
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

/// Something else came while it compiled revision 3, and perhaps the key changed again.
#[test]
fn what_a_consumer_uses_is_held_though_the_replica_moved_on() {
    for (key, before) in [("a", Some("1")), ("n", None)] {
        let in_use = BTreeMap::from([(Arc::from(key), Some(Bytes::from("2")))]);
        for next in ["b", key] {
            let mut replica = remembering();
            put(&mut replica, 2, key, "2");
            put(&mut replica, 3, key, "bad");
            put(&mut replica, 4, next, "bad too");
            assert_eq!(replica.last_good_of(key), before.map(Bytes::from).as_ref());
            assert!(replica.confirm(&at(3), &in_use));
            assert!(!replica.confirm(&at(3), &in_use), "it is no news");
            for replica in [&restored(&replica), &replica] {
                assert_eq!(held(replica), [(key, &b"2"[..])], "{next}");
            }
            replica.confirm(&at(4), &but(&[]));
            assert_eq!(held(&replica), []);
        }
        let mut replica = remembering();
        put(&mut replica, 2, key, "2");
        put(&mut replica, 3, key, "bad");
        replica.advance(at(4), Vec::new(), vec![key.into()]).unwrap();
        replica.confirm(&at(3), &in_use);
        put(&mut replica, 5, key, "bad too");
        assert_eq!(held(&replica), [], "the consumer said nothing of the deletion");
    }
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
    put(&mut replica, 2, "c", "1");
    replica.confirm(&at(2), &but(&[]));
    put(&mut replica, 50, "a", "bad");
    let lineage = Lineage { generation: 2, id: [2; 16], parent: None };
    let next = |revision| Position { lineage, revision };
    let content = [("a", "bad"), ("b", "1"), ("c", "1")].map(|(key, value)| (key.into(), value.into()));
    replica.replace(next(7), content.to_vec()).unwrap();
    replica.confirm(&at(60), &but(&[]));
    assert_eq!(held(&replica).len(), 1, "that was said of the old history");
    // What came with the new history is acknowledged by none, what was before it is still.
    let bad = ["a", "b", "c"].map(|key| (key.into(), "bad".into())).to_vec();
    let mut before = Replica::restore(replica.head().unwrap(), replica.records()).unwrap();
    before.remember_last_good([("a".into(), LastGoodRecord { value: Some("1".into()), since: 1 })].into());
    before.advance(next(8), bad, vec![]).unwrap();
    assert_eq!(held(&before), [("a", &b"1"[..]), ("c", &b"1"[..])]);
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
    assert!(replica.last_good.held.is_empty());
}

/// Several revisions came in one step: what was there in between is not known.
#[test]
fn a_late_confirmation_of_what_was_never_held_here_confirms_nothing() {
    let mut replica = remembering();
    put(&mut replica, 3, "a", "bad");
    replica.confirm(&at(3), &but(&["a"]));
    assert_eq!(held(&replica), [("a", &b"1"[..])]);
    put(&mut replica, 8, "a", "bad too"); // and a good one at 5, which this replica has not seen
    replica.confirm(&at(5), &but(&[]));
    assert_eq!(held(&replica), [("a", &b"1"[..])]);
    let mut skipped = remembering();
    put(&mut skipped, 3, "a", "bad");
    skipped.confirm(&at(3), &but(&["a"]));
    let snapshot = skipped.prepare_snapshot(at(8), vec![("a".into(), "bad".into())]).unwrap();
    skipped.commit(snapshot).unwrap();
    skipped.confirm(&at(5), &but(&[]));
    assert_eq!(held(&skipped), [("a", &b"1"[..])], "it lies on the way that a snapshot skipped");
}

/// What a reader uses was right when it read; a later version was told meanwhile.
#[test]
fn what_was_told_meanwhile_is_not_undone_by_who_speaks_of_before() {
    let mut replica = remembering();
    put(&mut replica, 6, "a", "bad");
    let in_use: Exceptions = [(Arc::from("a"), Some("1".into()))].into();
    let delta = replica.prepare_delta(at(8), vec![("a".into(), "bad too".into())], Vec::new()).unwrap();
    replica.commit(delta.with_last_good(vec![("a".into(), "7".into())])).unwrap();
    assert_eq!(held(&replica), [("a", &b"7"[..])]);
    replica.confirm(&at(6), &in_use);
    assert_eq!(held(&replica), [("a", &b"7"[..])]);
    assert!(!replica.awaits(&at(6), &in_use), "and it is no news");
    let later: Exceptions = [(Arc::from("a"), Some("7".into()))].into();
    replica.confirm(&at(8), &later);
    assert_eq!(held(&replica), [("a", &b"7"[..])]);
}

/// What happens to three keys.
#[derive(Debug, Clone)]
enum Event {
    /// A new version, or the key is gone.
    Change(usize, bool),
    /// A consumer stands so many revisions behind, and can use these keys as they are there.
    Acknowledge(u64, [bool; 3]),
    /// The replica is restored as it was kept at the last change that was told.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3usize, prop::bool::weighted(0.8)).prop_map(|(key, is_there)| Event::Change(key, is_there)),
        4 => (0..4u64, any::<[bool; 3]>()).prop_map(|(behind, usable)| Event::Acknowledge(behind, usable)),
        1 => Just(Event::Restart),
    ]
}

/// What the model knows of a key.
#[derive(Debug, Default)]
struct Known {
    /// What it is, or that it is gone, since a revision; and whether a consumer acknowledged that.
    value: Option<Bytes>,
    since: u64,
    is_acknowledged: bool,
    /// It is gone, and a consumer said that it is needed still.
    is_needed: bool,
    /// The last version that was acknowledged while it was there.
    good: Option<Bytes>,
}

impl Known {
    fn change(&mut self, value: Option<Bytes>, revision: u64) {
        if self.value.is_none() && value.is_some() && !self.is_needed {
            self.good = None;
        }
        if self.value.is_some() || value.is_some() {
            let good = self.good.take();
            *self = Self { value, since: revision, good, ..Self::default() };
        }
    }

    fn acknowledge(&mut self, revision: u64, is_usable: bool) {
        if self.since <= revision && is_usable {
            (self.is_acknowledged, self.good) = (true, self.value.clone());
        } else if self.since <= revision {
            self.is_needed |= self.value.is_none();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// A model that sees everything says the same: of a key that is not acknowledged as it is, the last version is held
    /// that was acknowledged while it was there, unless the key was deleted since and no consumer needed it then.
    #[test]
    fn what_is_held_is_what_was_acknowledged_last(events in prop::collection::vec(event(), 1..60)) {
        let mut replica = Replica::new();
        replica.remember_last_good(BTreeMap::new());
        replica.advance(at(1), vec![], vec![]).unwrap();
        let keys: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
        let mut known: [Known; 3] = Default::default();
        let mut kept = Kept::of(&replica);
        for event in events {
            let now = replica.position().unwrap().revision;
            match event {
                Event::Change(index, is_there) => {
                    let (key, revision) = (&keys[index], now + 1);
                    let value = is_there.then(|| Bytes::from(revision.to_string()));
                    let upserts = value.iter().map(|value| (key.clone(), value.clone())).collect();
                    let is_removed = !is_there && known[index].value.is_some();
                    let removals = is_removed.then(|| key.clone()).into_iter().collect();
                    replica.advance(at(revision), upserts, removals).unwrap();
                    kept = Kept::of(&replica);
                    known[index].change(value, revision);
                }
                Event::Acknowledge(behind, usable) => {
                    let revision = now.saturating_sub(behind).max(1);
                    let named = (0..3).filter(|index| !usable[*index]).map(|index| (keys[index].clone(), None));
                    if replica.confirm(&at(revision), &named.collect()) {
                        kept = Kept::of(&replica);
                    }
                    (0..3).for_each(|index| known[index].acknowledge(revision, usable[index]));
                }
                Event::Restart => replica = kept.restored(),
            }
            for (key, known) in keys.iter().zip(&known) {
                let expected = known.good.as_ref().filter(|_| !known.is_acknowledged);
                prop_assert_eq!(replica.last_good_of(key), expected, "{}", key);
            }
        }
    }
}
