use std::time::{Duration, Instant};

use hanse_proto::sync::Quarantined;

use super::*;
use crate::Quarantine;
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

/// The next change came while the acknowledgement was on its way.
#[test]
fn what_is_confirmed_late_is_the_last_good_version_all_the_same() {
    let mut replica = remembering();
    for (revision, value) in [(2, "2"), (3, "bad"), (4, "4"), (5, "bad too")] {
        put(&mut replica, revision, "a", value);
    }
    assert_eq!(held(&replica), [("a", &b"1"[..])]);
    let table: [(u64, &[&str], &[u8]); 6] = [
        (1, &[], b"1"),
        (3, &["a"], b"1"),
        (2, &[], b"2"),
        (4, &[], b"4"),
        (2, &[], b"4"),
        (5, &["a"], b"4"),
    ];
    for (revision, unusable, expected) in table {
        replica.confirm(&at(revision), &but(unusable));
        assert_eq!(held(&replica), [("a", expected)], "at {revision} but {unusable:?}");
    }
    assert_eq!(replica.last_good_since(3), [("a".into(), "4".into())], "whoever stands at 3 has not met it");
    assert!(replica.last_good_since(4).is_empty());
    replica.confirm(&at(5), &but(&[]));
    assert_eq!((held(&replica), replica.pending(), replica.last_good.earlier.len()), (vec![], 0, 0));
}

#[test]
fn what_is_confirmed_late_may_be_that_the_key_is_gone() {
    let mut replica = remembering();
    replica.advance(at(2), Vec::new(), vec!["a".into()]).unwrap();
    put(&mut replica, 4, "a", "bad");
    replica.confirm(&at(2), &but(&["a"]));
    assert_eq!(held(&replica), [("a", &b"1"[..])], "something needed it");
    replica.confirm(&at(2), &but(&[]));
    assert_eq!(held(&replica), []);
}

#[test]
fn versions_that_nobody_spoke_of_are_few() {
    let mut replica = remembering();
    for revision in 2..100 {
        put(&mut replica, revision, "a", "?");
    }
    assert_eq!(replica.last_good.earlier.len(), MAX_EARLIER);
    replica.confirm(&at(50), &but(&[]));
    assert_eq!(held(&replica), [("a", &b"1"[..])], "what was there then is not known any more");
    replica.confirm(&at(98), &but(&[]));
    assert_eq!(held(&replica), [("a", &b"?"[..])]);
    assert_eq!(replica.last_good.earlier.len(), 0);
}

/// This gateway compiled 2 while it was told that others could use something later.
#[test]
fn what_is_confirmed_late_is_not_taken_for_later_than_what_was_told() {
    let mut replica = remembering();
    put(&mut replica, 2, "a", "2");
    let change = replica.prepare_delta(at(8), vec![("a".into(), "bad".into())], Vec::new()).unwrap();
    replica.commit(change.with_last_good(vec![("a".into(), "7".into())])).unwrap();
    replica.confirm(&at(2), &but(&[]));
    assert_eq!(held(&replica), [("a", &b"7"[..])]);
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

/// Gateways repeat themselves every second: nobody is to be held up by that.
#[test]
fn what_is_said_again_is_no_news() {
    let mut replica = remembering();
    let keys: Vec<_> = (0..500).map(|index| format!("bad/{index}")).collect();
    for revision in [2, 3] {
        let all = keys.iter().map(|key| (key.as_str().into(), revision.to_string().into())).collect();
        replica.advance(at(revision), all, Vec::new()).unwrap();
    }
    let quarantined = |key: &String| Quarantined { key: key.clone(), ..Default::default() };
    let quarantine = |count: usize| Quarantine::of(keys.iter().take(count).map(quarantined));
    for (revision, count) in [(2, 500), (3, 500), (3, 400), (3, 60), (3, 0)] {
        let said = quarantine(count);
        if revision > 2 {
            assert!(replica.awaits(&at(revision), &said), "{count} at {revision}");
        }
        replica.confirm(&at(revision), &said);
        assert!(!replica.awaits(&at(revision), &said), "{count} at {revision}");
    }
    put(&mut replica, 4, "a", "bad");
    let known = BTreeMap::from([(Arc::from("a"), Some(Bytes::from("in use")))]);
    for revision in [4, 5] {
        assert!(replica.awaits(&at(4), &known) == (revision == 4));
        replica.confirm(&at(4), &known);
        assert!(!replica.awaits(&at(4), &known));
        replica.advance(at(revision + 1), Vec::new(), Vec::new()).unwrap();
    }
    let mut replica = restored(&replica);
    for revision in [3, 6] {
        assert!(
            replica.awaits(&at(revision), &quarantine(500)),
            "it may be about what came before the restart"
        );
        replica.confirm(&at(revision), &quarantine(500));
        assert!(!replica.awaits(&at(revision), &quarantine(500)));
    }
}

/// As after a restart, with what was kept.
fn restored(replica: &Replica) -> Replica {
    let kept = replica.last_good_to_keep();
    let kept = kept.map(|(key, record)| (key.clone(), record)).collect();
    let mut restored = Replica::restore(replica.head().unwrap(), replica.records()).unwrap();
    restored.remember_last_good(kept);
    restored
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
    let mut replica = restored(&replica);
    assert_eq!(replica.last_good_since(2), [("a".into(), "2".into())]);
    assert_eq!(replica.last_good_since(3), []);
    // As earlier versions kept it.
    let unknown = LastGoodRecord { value: Some("old".into()), since: 0 };
    replica.remember_last_good([("b".into(), unknown)].into());
    assert_eq!(replica.last_good_since(1), [("a".into(), "2".into())]);
    assert_eq!(held(&replica), [("a", &b"2"[..]), ("b", &b"old"[..])], "newcomers get it");
}

/// Nobody had spoken of it before the restart, so nothing was kept.
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
    // What one consumer uses is good, whatever another says of it then.
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
    replica.confirm(&at(2), &but(&[]));
    assert_eq!(held(&replica), []);
}

#[test]
fn what_is_gone_is_held_for_a_day_unless_somebody_needs_it() {
    let (start, day) = (Instant::now(), Duration::from_secs(24 * 3600));
    for needed in [false, true] {
        let mut replica = remembering();
        put(&mut replica, 2, "b", "1");
        replica.confirm(&at(2), &but(&[]));
        replica.advance(at(3), vec![("b".into(), "2".into())], vec!["a".into()]).unwrap();
        if needed {
            replica.confirm(&at(3), &but(&["a", "b"]));
        }
        replica.forget(start);
        replica.forget(start + day);
        assert_eq!(held(&replica).len(), 2);
        replica.forget(start + day + Duration::from_secs(1));
        let there = held(&replica).into_iter().map(|(key, _)| key);
        assert!(there.eq(if needed { &["a", "b"][..] } else { &["b"] }.iter().copied()));
    }
}

/// Nobody ever says what can be used.
#[test]
fn what_is_kept_is_bounded() {
    let mut replica = remembering();
    replica.last_good.bound = Bound(1_000);
    let key = |index: usize| format!("key/{index:05}");
    let lengths = |replica: &Replica| {
        let earlier = replica.last_good.pending.iter().flat_map(|(key, pending)| {
            pending.earlier.iter().map(move |earlier| length(key, earlier.value.as_ref()))
        });
        let held = replica.last_good.held.iter().map(|(key, held)| length(key, held.value.as_ref()));
        earlier.chain(held).sum::<usize>()
    };
    let mut revision = 1;
    let mut given_up = 0;
    for round in 0..8 {
        for index in 0..100 {
            revision += 1;
            put(&mut replica, revision, &key(index), "of ten bytes");
            assert!(replica.last_good.bytes <= 1_000 && replica.last_good.bytes == lengths(&replica));
        }
        given_up += replica.take_last_good_given_up();
        assert_eq!(given_up > 0, round > 0);
        match round {
            0 => replica.confirm(&at(revision), &but(&[])),
            1 => {
                let held = held(&replica);
                assert!(held.len() > 30 && held[0].0 > key(50).as_str(), "the oldest go first");
            }
            _ => {}
        }
    }
    replica.confirm(&at(revision), &but(&[]));
    assert_eq!((replica.last_good.bytes, replica.pending(), replica.last_good.earlier.len()), (0, 0, 0));
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

/// Several revisions came in one step: what was there in between is not known.
#[test]
fn a_late_confirmation_of_what_was_never_held_here_confirms_nothing() {
    let mut replica = remembering();
    put(&mut replica, 3, "a", "bad");
    replica.confirm(&at(3), &but(&["a"]));
    assert_eq!(held(&replica), [("a", &b"1"[..])]);
    put(&mut replica, 8, "a", "bad too"); // and a good one at 5, which nobody here has seen
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
    let in_use: BTreeMap<Arc<str>, Option<Bytes>> = [(Arc::from("a"), Some("1".into()))].into();
    let delta = replica.prepare_delta(at(8), vec![("a".into(), "bad too".into())], Vec::new()).unwrap();
    replica.commit(delta.with_last_good(vec![("a".into(), "7".into())])).unwrap();
    assert_eq!(held(&replica), [("a", &b"7"[..])]);
    replica.confirm(&at(6), Exceptions::Known(&in_use));
    assert_eq!(held(&replica), [("a", &b"7"[..])]);
    assert!(!replica.awaits(&at(6), Exceptions::Known(&in_use)), "and it is no news");
    let later: BTreeMap<Arc<str>, Option<Bytes>> = [(Arc::from("a"), Some("7".into()))].into();
    replica.confirm(&at(8), Exceptions::Known(&later));
    assert_eq!(held(&replica), [("a", &b"7"[..])]);
}
