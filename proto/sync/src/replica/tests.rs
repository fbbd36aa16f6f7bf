use proptest::prelude::*;

use super::*;
use crate::examples::{at, in_generation, keys, puts, replica as example};

fn changes(upserts: &[(&str, &str)], removals: &[&str]) -> Option<Changes> {
    Some(Changes { upserts: puts(upserts), removals: keys(removals) })
}

fn content(replica: &Replica) -> BTreeMap<Arc<str>, Bytes> {
    replica.content().into_iter().collect()
}

#[test]
fn changes_since_a_position() {
    let mut replica = example();
    replica.advance(at(15), vec![], vec![]).unwrap();
    let table = [
        (9, None), // before the first content
        (10, changes(&[("a", "2")], &["b"])),
        (11, changes(&[("a", "2")], &["b"])),
        (12, changes(&[], &["b"])),
        (13, changes(&[], &[])),
        (15, changes(&[], &[])),
        (16, None), // ahead
        (u64::MAX, None),
    ];
    for (revision, expected) in table {
        assert_eq!(replica.changes_since(revision), expected, "since {revision}");
    }
    assert_eq!(Replica::new().changes_since(0), None);
}

#[test]
fn positions_never_go_back() {
    let mut replica = example();
    let root = replica.root();
    let back = AdvanceError::NotBeyond { held: at(13), to: at(12) };
    assert_eq!(replica.advance(at(12), vec![], vec![]), Err(back.clone()));
    assert_eq!(replica.replace(at(12), vec![]), Err(back));
    let rewritten = AdvanceError::NotBeyond { held: at(13), to: at(13) };
    assert_eq!(replica.advance(at(13), puts(&[("a", "3")]), vec![]), Err(rewritten));
    let other = in_generation(2, 1);
    assert_eq!(
        replica.advance(other, vec![], vec![]),
        Err(AdvanceError::OtherLineage { held: at(13), to: other })
    );
    assert_eq!(replica.root(), root);
    assert_eq!(replica.position(), Some(&at(13)));
    assert_eq!(
        replica.advance(at(13), vec![], vec![]),
        Ok(root),
        "a bookmark of the present is no step back"
    );
}

#[test]
fn a_deletion_of_what_was_never_seen_is_passed_on() {
    let mut replica = Replica::new();
    replica.advance(at(5), puts(&[("a", "1")]), vec![]).unwrap();
    // "x" came at 6 and went at 8; a delta over both names it.
    replica.advance(at(8), vec![], keys(&["x"])).unwrap();
    assert_eq!(replica.changes_since(7), changes(&[], &["x"]));
}

#[test]
fn an_unchanged_value_in_a_delta_is_passed_on() {
    let mut replica = Replica::new();
    replica.advance(at(5), puts(&[("a", "1")]), vec![]).unwrap();
    // "a" was 2 at 6 and 1 again at 8: a subscriber at 7 needs it.
    replica.advance(at(8), puts(&[("a", "1")]), vec![]).unwrap();
    assert_eq!(replica.changes_since(7), changes(&[("a", "1")], &[]));
}

#[test]
fn a_snapshot_shows_readers_the_difference_and_leaves_a_gap() {
    let mut replica = example();
    let seen = replica.seen().unwrap();
    replica.replace(at(20), puts(&[("c", "1")])).unwrap();
    assert_eq!(replica.changes_after(seen), changes(&[("c", "1")], &["a"]));
    assert_eq!(replica.changes_since(12), changes(&[("c", "1")], &["b", "a"]));
    for between in 14..20 {
        assert_eq!(replica.changes_since(between), None, "{between}");
    }
    assert_eq!(replica.changes_since(20), changes(&[], &[]));
    let mut plain = Replica::new();
    plain.advance(at(1), puts(&[("c", "1")]), vec![]).unwrap();
    assert_eq!(replica.root(), plain.root());
}

#[test]
fn a_jump_leads_from_its_start_and_from_nowhere_between() {
    let mut replica = example();
    let seen = replica.seen().unwrap();
    replica.jump(at(20), puts(&[("c", "1")]), keys(&["a"])).unwrap();
    assert_eq!(replica.changes_after(seen), changes(&[("c", "1")], &["a"]));
    assert!((14..20).all(|between| replica.changes_since(between).is_none()));
    assert_eq!(replica.changes_since(20), changes(&[], &[]));
    replica.jump(at(21), puts(&[("c", "2")]), vec![]).unwrap();
    assert!(replica.changes_since(20).is_some(), "nothing is between two revisions");
}

#[test]
fn a_repair_in_place_starts_a_new_epoch() {
    let mut replica = example();
    let seen = replica.seen().unwrap();
    replica.replace(at(13), puts(&[("a", "good")])).unwrap();
    assert_eq!(replica.changes_after(seen), None);
    assert_eq!(replica.changes_since(12), None);
    assert_eq!(replica.get("a"), Some(&Bytes::from("good")));
}

#[test]
fn a_greater_lineage_replaces_everything() {
    let mut replica = example();
    let seen = replica.seen().unwrap();
    replica.replace(in_generation(2, 3), puts(&[("a", "2"), ("z", "1")])).unwrap();
    assert_eq!(replica.changes_after(seen), None);
    assert_eq!(replica.changes_since(2), None);
    assert_eq!(replica.changes_since(3), changes(&[], &[]));
    assert_eq!(replica.position(), Some(&in_generation(2, 3)));
    assert!(replica.replace(at(99), vec![]).is_err(), "and the lesser never returns");
}

#[test]
fn a_head_that_does_not_count_any_more_gives_way_to_a_lesser_one() {
    for (held, to) in [(in_generation(5, 9), in_generation(2, 3)), (in_generation(5, 9), in_generation(5, 9))]
    {
        let mut replica = Replica::new();
        replica.replace(held, puts(&[("a", "1"), ("b", "1")])).unwrap();
        let seen = replica.seen().unwrap();
        let change = replica.prepare_afresh(to, puts(&[("a", "2"), ("c", "1")]));
        assert!(!change.is_delta());
        replica.commit(change).unwrap();
        let mut plain = Replica::new();
        plain.replace(to, puts(&[("a", "2"), ("c", "1")])).unwrap();
        assert_eq!((replica.position(), replica.root()), (Some(&to), plain.root()));
        assert_eq!(replica.changes_after(seen), None, "readers start afresh");
        assert!(replica.records_after(seen).is_none(), "so does the disk");
        assert_eq!(replica.changes_since(to.revision - 1), None);
        assert_eq!(replica.changes_since(to.revision), changes(&[], &[]));
        let restored = Replica::restore(replica.head().unwrap(), replica.records()).unwrap();
        assert_eq!(restored.root(), replica.root());
    }
}

#[test]
fn a_prepared_change_is_for_one_position_only() {
    let mut replica = example();
    let prepared = replica.prepare_delta(at(14), puts(&[("c", "1")]), vec![]).unwrap();
    let before = replica.root();
    assert_ne!(prepared.root(), before);
    replica.advance(at(14), vec![], vec![]).unwrap();
    assert_eq!(replica.commit(prepared), Err(AdvanceError::Moved));
    assert_eq!(replica.root(), before);
}

#[test]
fn deletions_are_bounded_in_number() {
    let mut replica = Replica::bounded(0, 3);
    replica.advance(at(1), puts(&[("a", "1")]), vec![]).unwrap();
    replica.advance(at(2), vec![], keys(&["v", "w"])).unwrap();
    replica.advance(at(3), vec![], keys(&["x"])).unwrap();
    assert!(replica.changes_since(1).is_some());
    replica.advance(at(4), vec![], keys(&["y"])).unwrap();
    // Both deletions of revision 2 go together: half a revision would be a lost delete.
    assert_eq!(replica.changes_since(1), None);
    assert_eq!(replica.changes_since(2), changes(&[], &["x", "y"]));
}

#[test]
fn deletions_age() {
    let start = Instant::now();
    let hour = Duration::from_secs(3600);
    let mut replica = example();
    replica.forget(start);
    replica.advance(at(14), vec![], keys(&["a"])).unwrap();
    replica.forget(start + hour);
    replica.forget(start + 24 * hour);
    assert!(replica.changes_since(12).is_some());
    replica.forget(start + 24 * hour + Duration::from_secs(1));
    assert_eq!(replica.changes_since(12), None, "the deletion at 13 is forgotten");
    assert_eq!(replica.changes_since(13), changes(&[], &["a"]));
}

#[test]
fn gaps_are_bounded() {
    let mut replica = example();
    for jump in 0..=MAX_GAPS as u64 {
        replica.replace(at(20 + 10 * jump), vec![]).unwrap();
    }
    assert_eq!(replica.gaps.len(), MAX_GAPS);
    assert_eq!(replica.changes_since(13), None);
    assert!(replica.changes_since(20).is_some());
}

/// Content by revision, written by a leader.
type History = Vec<BTreeMap<Arc<str>, Bytes>>;

fn history() -> impl Strategy<Value = History> {
    let step = prop::collection::vec((0..8u8, prop::option::of(0..3u8)), 0..4);
    prop::collection::vec(step, 2..24).prop_map(|steps| {
        let mut now = BTreeMap::new();
        let mut history = vec![now.clone()];
        for step in steps {
            for (key, value) in step {
                let key = Arc::<str>::from(format!("k{key}"));
                match value {
                    Some(value) => now.insert(key, Bytes::from(vec![value])),
                    None => now.remove(&key),
                };
            }
            history.push(now.clone());
        }
        history
    })
}

/// The changes of one revision.
fn difference(before: &BTreeMap<Arc<str>, Bytes>, after: &BTreeMap<Arc<str>, Bytes>) -> Changes {
    let upserts = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    let removals = before.keys().filter(|key| !after.contains_key(*key));
    Changes {
        upserts: upserts.map(|(key, value)| (Arc::clone(key), value.clone())).collect(),
        removals: removals.cloned().collect(),
    }
}

fn apply(changes: Changes, mut content: BTreeMap<Arc<str>, Bytes>) -> BTreeMap<Arc<str>, Bytes> {
    content.extend(changes.upserts);
    for key in changes.removals {
        content.remove(&key);
    }
    content
}

/// What a store has of a replica: a record per key, overwritten as keys change.
#[derive(Default)]
struct Disk {
    head: Option<Head>,
    seen: Option<Seen>,
    records: BTreeMap<Arc<str>, Record>,
}

impl Disk {
    fn keep(&mut self, replica: &Replica) {
        let records = self.seen.and_then(|seen| replica.records_after(seen)).unwrap_or_else(|| {
            self.records.clear();
            replica.records()
        });
        self.records.extend(records.into_iter().map(|record| (record.key.clone(), record)));
        (self.head, self.seen) = (replica.head(), replica.seen());
    }

    fn restore(&self) -> Replica {
        match self.head.clone() {
            Some(head) => Replica::restore(head, self.records.values().cloned()).unwrap(),
            None => Replica::new(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// A leader writes a history; a relay follows it by deltas over several revisions and by snapshots. All that either
    /// offers as changes since a revision leads from the history's content at that revision to its content now. The same
    /// holds of a relay that was kept record by record, sometimes several steps at once, and restored.
    #[test]
    fn changes_lead_from_any_point_of_history_to_now(
        history in history(),
        hops in prop::collection::vec((1..5usize, any::<bool>()), 1..12),
        max_tombstones in 1..12usize,
    ) {
        let mut leader = Replica::bounded(0, max_tombstones);
        let mut relay = Replica::bounded(0, max_tombstones);
        leader.advance(at(0), vec![], vec![]).unwrap();
        relay.replace(at(0), vec![]).unwrap();
        let mut now = 0;
        let mut disk = Disk::default();
        for (steps, by_snapshot) in hops {
            let from = now;
            while now < history.len() - 1 && now < from + steps {
                let Changes { upserts, removals } = difference(&history[now], &history[now + 1]);
                now += 1;
                leader.advance(at(now as u64), upserts, removals).unwrap();
            }
            match leader.changes_since(from as u64).filter(|_| !by_snapshot) {
                Some(changes) => relay.advance(at(now as u64), changes.upserts, changes.removals).unwrap(),
                None => relay.replace(at(now as u64), leader.content()).unwrap(),
            };
            prop_assert_eq!(relay.root(), leader.root());
            prop_assert_eq!(&content(&relay), &history[now]);
            if steps != 2 {
                disk.keep(&relay);
            }
            let restored = disk.restore();
            prop_assert_eq!(restored.head().is_some(), disk.head.is_some());
            if disk.head == relay.head() {
                for revision in 0..=now as u64 {
                    prop_assert_eq!(restored.changes_since(revision), relay.changes_since(revision));
                }
            }
            for replica in [&leader, &relay] {
                for (revision, then) in history.iter().enumerate().take(now + 1) {
                    if let Some(changes) = replica.changes_since(revision as u64) {
                        prop_assert_eq!(&apply(changes, then.clone()), &history[now], "since {}", revision);
                    }
                }
            }
        }
    }
}
