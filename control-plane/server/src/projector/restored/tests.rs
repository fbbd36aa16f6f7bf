use hanse_link::Replicas;
use hanse_topology::Lineage;

use super::*;

fn at(generation: u64, revision: u64) -> Position {
    let id = [u8::try_from(generation).unwrap(); 16];
    Position { lineage: Lineage { generation, id, parent: None }, revision }
}

fn scope() -> ScopeId {
    "runtime/eu-west/production".parse().unwrap()
}

fn puts(pairs: &[(&str, &str)]) -> Vec<(Arc<str>, Bytes)> {
    pairs.iter().map(|(key, value)| (Arc::from(*key), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

fn change(upserts: &[(&str, &str)], removals: &[&str]) -> ScopeChange {
    let removals = removals.iter().map(|key| Arc::from(*key)).collect();
    ScopeChange { scope: scope(), upserts: puts(upserts), removals, dropped: false }
}

/// What an earlier process left: a=1 since 3, b=1 since 4, c came at 2 and went at 5; it stands at 7.
fn published() -> Replicas {
    let replicas = Replicas::new();
    replicas.update(&scope(), |replica| {
        replica.advance(at(2, 2), puts(&[("c", "1")]), vec![]).unwrap();
        replica.advance(at(2, 3), puts(&[("a", "1")]), vec![]).unwrap();
        replica.advance(at(2, 4), puts(&[("b", "1")]), vec![]).unwrap();
        replica.advance(at(2, 5), vec![], vec!["c".into()]).unwrap();
        replica.advance(at(2, 7), vec![], vec![]).unwrap();
    });
    replicas
}

/// Where the replica stands, and the keys that changed and went since a revision.
type Since = (Position, Option<(Vec<String>, Vec<String>)>);

fn since(replicas: &Replicas, revision: u64) -> Option<Since> {
    let texts = |keys: Vec<Arc<str>>| keys.iter().map(ToString::to_string).collect();
    replicas.read(|map| {
        let replica = map.get(&scope())?;
        let changes = replica.changes_since(revision).map(|changes| {
            let upserts = changes.upserts.into_iter().map(|(key, _)| key).collect();
            (texts(upserts), texts(changes.removals))
        });
        Some((*replica.position()?, changes))
    })
}

fn caught_up(replicas: &Replicas, to: Position, changes: Vec<ScopeChange>) -> Restored {
    let mut restored = replicas.read(Restored::new);
    for change in changes {
        assert_eq!(restored.take_in(change), None);
    }
    replicas.update_all(|replicas| restored.catch_up(to, replicas));
    restored
}

fn keys(changed: &[&str], gone: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
    let texts = |keys: &[&str]| keys.iter().map(ToString::to_string).collect();
    Some((texts(changed), texts(gone)))
}

#[test]
fn where_nothing_changed_it_goes_on_as_it_was() {
    let replicas = published();
    let seen = replicas.read(|map| map[&scope()].seen());
    let restored = caught_up(&replicas, at(2, 7), vec![change(&[("a", "1"), ("b", "1")], &[])]);
    assert!(!restored.awaits(&scope()));
    assert_eq!(since(&replicas, 3), Some((at(2, 7), keys(&["b"], &["c"]))));
    assert_eq!(replicas.read(|map| map[&scope()].seen()), seen, "there is nothing to be kept anew");
}

#[test]
fn what_changed_meanwhile_is_its_next_change() {
    let replicas = published();
    let restored = caught_up(&replicas, at(2, 10), vec![change(&[("a", "2"), ("d", "1")], &[])]);
    assert!(!restored.awaits(&scope()));
    assert_eq!(since(&replicas, 4), Some((at(2, 10), keys(&["a", "d"], &["c", "b"]))));
    assert_eq!(since(&replicas, 7), Some((at(2, 10), keys(&["a", "d"], &["b"]))));
    assert_eq!(since(&replicas, 8), Some((at(2, 10), None)), "what came and went there nobody knows");
}

#[test]
fn other_content_at_the_same_position_starts_afresh() {
    let replicas = published();
    caught_up(&replicas, at(2, 7), vec![change(&[("a", "made otherwise"), ("b", "1")], &[])]);
    assert_eq!(since(&replicas, 7), Some((at(2, 7), keys(&[], &[]))));
    assert_eq!(since(&replicas, 4), Some((at(2, 7), None)));
}

/// Of its last entries this node does not know yet that they were committed.
#[test]
fn what_is_ahead_waits_for_the_projection() {
    let replicas = published();
    let mut restored = caught_up(&replicas, at(2, 5), vec![change(&[("a", "1"), ("b", "1")], &[])]);
    assert!(restored.awaits(&scope()));
    assert_eq!(since(&replicas, 3), Some((at(2, 7), keys(&["b"], &["c"]))), "and stays as it is");
    assert_eq!(restored.take_in(change(&[("e", "1")], &["b"])), None);
    replicas.update_all(|replicas| restored.catch_up(at(2, 9), replicas));
    assert!(!restored.awaits(&scope()));
    assert_eq!(since(&replicas, 7), Some((at(2, 9), keys(&["e"], &["b"]))));
    let next = change(&[("f", "1")], &[]);
    assert_eq!(restored.take_in(next.clone()), Some(next), "from here on it is like any other");
}

#[test]
fn another_history_starts_afresh() {
    for (generation, revision) in [(3, 2), (1, 90)] {
        let replicas = published();
        let to = at(generation, revision);
        caught_up(&replicas, to, vec![change(&[("a", "1")], &[])]);
        assert_eq!(since(&replicas, revision), Some((to, keys(&[], &[]))), "{to}");
        assert_eq!(since(&replicas, revision - 1), Some((to, None)), "{to}");
        replicas.read(|map| assert_eq!(map[&scope()].content(), puts(&[("a", "1")])));
    }
}

#[test]
fn a_scope_that_is_no_more_goes_once_that_is_known() {
    let replicas = published();
    let dropped = ScopeChange { dropped: true, ..change(&[], &["a", "b"]) };
    let mut restored = caught_up(&replicas, at(2, 6), vec![change(&[("a", "1"), ("b", "1")], &[]), dropped]);
    assert_eq!(since(&replicas, 7), Some((at(2, 7), keys(&[], &[]))), "it may have come again");
    replicas.update_all(|replicas| restored.catch_up(at(2, 8), replicas));
    assert_eq!(since(&replicas, 7), None);
}
