use super::*;
use crate::{
    Changes,
    examples::{at, in_generation, keys, puts, replica as example},
};

fn kept(replica: &Replica) -> Replica {
    Replica::restore(replica.head().unwrap(), replica.records()).unwrap()
}

fn same(one: &Replica, other: &Replica) {
    assert_eq!(one.head(), other.head());
    assert_eq!(one.content(), other.content());
    for revision in 0..=one.position().unwrap().revision + 1 {
        assert_eq!(one.changes_since(revision), other.changes_since(revision), "since {revision}");
    }
}

#[test]
fn a_restored_replica_answers_as_the_one_that_was_kept() {
    let mut replica = example();
    assert_eq!(Replica::new().head(), None);
    same(&kept(&replica), &replica);
    replica.replace(at(20), puts(&[("c", "1")])).unwrap(); // leaves a gap
    same(&kept(&replica), &replica);
    replica.advance(at(23), puts(&[("b", "2")]), keys(&["c", "never"])).unwrap();
    same(&kept(&replica), &replica);
    replica.replace(in_generation(2, 3), puts(&[("a", "2")])).unwrap();
    same(&kept(&replica), &replica);
}

#[test]
fn a_restored_replica_goes_on_as_the_one_that_was_kept() {
    let mut replica = example();
    let mut restored = kept(&replica);
    for replica in [&mut replica, &mut restored] {
        replica.advance(at(15), puts(&[("b", "3")]), keys(&["a"])).unwrap();
    }
    same(&restored, &replica);
    assert_eq!(
        restored.changes_since(12),
        Some(Changes { upserts: puts(&[("b", "3")]), removals: keys(&["a"]) }),
        "a position from before the restart gets a delta, deletions included"
    );
    assert!(restored.advance(at(14), vec![], vec![]).is_err(), "positions never go back");
}

#[test]
fn records_since_are_those_that_changed() {
    let mut replica = example();
    let seen = replica.seen().unwrap();
    assert_eq!(replica.records_after(seen), Some(vec![]));
    replica.advance(at(15), puts(&[("c", "1")]), keys(&["a"])).unwrap();
    let record = |key: &str, revision, value: Option<&'static str>| Record {
        key: key.into(),
        revision,
        value: value.map(Bytes::from),
    };
    assert_eq!(replica.records_after(seen), Some(vec![record("c", 15, Some("1")), record("a", 15, None)]));
    let all = [record("c", 15, Some("1")), record("b", 13, None), record("a", 15, None)];
    assert_eq!(replica.records(), all);
    replica.replace(at(15), puts(&[("c", "2")])).unwrap();
    assert_eq!(replica.records_after(seen), None, "a repair must be kept whole");
}

#[test]
fn the_later_of_two_records_holds() {
    let replica = example();
    let mut records = replica.records();
    let stale = |key: &str, value: Option<&'static str>| Record {
        key: key.into(),
        revision: 1,
        value: value.map(Bytes::from),
    };
    records.insert(0, stale("b", Some("stale")));
    records.push(stale("a", None));
    same(&Replica::restore(replica.head().unwrap(), records).unwrap(), &replica);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let replica = example();
    let (head, records) = (replica.head().unwrap(), replica.records());
    let restore =
        |head: &Head, records: &[Record]| Replica::restore(head.clone(), records.to_vec()).map(drop);
    assert_eq!(restore(&head, &records), Ok(()));
    // A value, a key or a position that is not what it was.
    let missing: Vec<_> = records.iter().filter(|record| &*record.key != "a").cloned().collect();
    assert!(matches!(restore(&head, &missing), Err(RestoreError::RootDiffers { .. })));
    let mut other = records.clone();
    other[0].value = Some("forged".into());
    assert!(matches!(restore(&head, &other), Err(RestoreError::RootDiffers { .. })));
    let mut ahead = records.clone();
    ahead[0].revision = 14;
    assert_eq!(restore(&head, &ahead), Err(RestoreError::Beyond { revision: 14, position: at(13) }));
    for wrong in [Head { floor: 14, ..head.clone() }, Head { gaps: vec![(10, 14)], ..head.clone() }] {
        assert!(matches!(restore(&wrong, &records), Err(RestoreError::Beyond { .. })), "{wrong:?}");
    }
}
