use hanse_store::{StoreKey, StoreOptions};
use hanse_topology::Lineage;

use super::*;
use crate::{Persistence, Wanted};
use hanse_process::ShutdownTrigger;

const AFTER: Duration = Duration::from_secs(300);

fn at(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
}

fn scope() -> ScopeId {
    "runtime/eu-west/production".parse().unwrap()
}

fn put(replica: &mut Replica, revision: u64, key: &str, value: &'static str) {
    replica.advance(at(revision), vec![(key.into(), value.into())], vec![]).unwrap();
}

fn remove(replica: &mut Replica, revision: u64, key: &str) {
    replica.advance(at(revision), vec![], vec![key.into()]).unwrap();
}

/// One scope, and what is known of it.
struct World {
    replica: Replica,
    proof: ScopeProof,
    now: Instant,
}

impl World {
    /// `a` and `b` are proven.
    fn proven() -> Self {
        let mut replica = Replica::new();
        put(&mut replica, 1, "a", "a1");
        put(&mut replica, 2, "b", "b1");
        let now = Instant::now();
        let mut proof = ScopeProof::new(&replica, replica.seen().unwrap(), now);
        proof.prove(&replica, now + AFTER, AFTER);
        Self { replica, proof, now: now + AFTER }
    }

    fn observe(&mut self) {
        self.proof.observe(&self.replica, self.replica.seen().unwrap(), self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.proof.prove(&self.replica, self.now, AFTER);
    }

    /// As the next process has it, which reads what this one has noted.
    fn restarted(self) -> Self {
        let (proven, poisoned) = (self.proof.notes_of_proven(), self.proof.notes_of_poisoned());
        let records = self.replica.records();
        let replica = Replica::restore(self.replica.head().unwrap(), records).unwrap();
        let seen = replica.seen().unwrap();
        let proof = ScopeProof::restored(&replica, seen, proven, poisoned, self.now);
        Self { replica, proof, now: self.now }
    }

    /// Each version that is held back, and what is used in its place.
    fn held(&self) -> Vec<(String, Option<Bytes>)> {
        self.proof.poisoned().into_iter().map(|(key, poisoned)| (key.to_string(), poisoned.proven)).collect()
    }
}

fn held(key: &str, proven: &'static str) -> (String, Option<Bytes>) {
    (key.to_owned(), Some(proven.into()))
}

#[test]
fn what_is_not_proven_is_held_back_and_the_rest_goes_on() {
    let mut world = World::proven();
    put(&mut world.replica, 3, "a", "a2");
    put(&mut world.replica, 4, "new", "n1");
    world.observe();
    let mut world = world.restarted();
    assert_eq!(world.held(), []);
    assert_eq!(world.proof.hold(&world.replica), 2);
    assert_eq!(world.held(), [held("a", "a1"), ("new".to_owned(), None)]);
    // The next process holds it back too, however long it serves with the rest.
    let mut world = world.restarted();
    world.pass(2 * AFTER);
    assert_eq!(world.held(), [held("a", "a1"), ("new".to_owned(), None)]);
}

#[test]
fn other_bytes_are_used_and_the_same_ones_are_not() {
    let mut world = World::proven();
    put(&mut world.replica, 3, "a", "a2");
    put(&mut world.replica, 4, "b", "b2");
    world.observe();
    world.proof.hold(&world.replica);
    put(&mut world.replica, 5, "a", "a3");
    put(&mut world.replica, 6, "b", "b2");
    world.observe();
    assert_eq!(world.held(), [held("b", "b1")]);
    world.pass(AFTER);
    put(&mut world.replica, 7, "a", "a4");
    world.observe();
    let mut world = world.restarted();
    world.proof.hold(&world.replica);
    assert_eq!(world.held(), [held("a", "a3"), held("b", "b1")]);
}

#[test]
fn a_version_is_proven_once_it_was_served_for_long_and_not_before() {
    let mut world = World::proven();
    put(&mut world.replica, 3, "a", "a2");
    world.observe();
    world.pass(AFTER - Duration::from_secs(1));
    put(&mut world.replica, 4, "b", "b2");
    world.observe();
    world.pass(Duration::from_secs(1));
    let mut world = world.restarted();
    world.proof.hold(&world.replica);
    assert_eq!(world.held(), [held("b", "b1")], "a2 has had its time");

    let mut world = World::proven();
    put(&mut world.replica, 3, "a", "a2");
    world.observe();
    world.pass(AFTER / 2);
    world.proof.restart(world.now); // it was not in use
    world.pass(AFTER / 2);
    world.proof.hold(&world.replica);
    assert_eq!(world.held(), [held("a", "a1")]);
}

#[test]
fn with_nothing_proven_nothing_is_held_back() {
    let mut replica = Replica::new();
    put(&mut replica, 1, "a", "a1");
    let proof = ScopeProof::new(&replica, replica.seen().unwrap(), Instant::now());
    let mut world = World { replica, proof, now: Instant::now() }.restarted();
    assert_eq!((world.proof.hold(&world.replica), world.held()), (0, vec![]));
}

#[test]
fn a_deletion_is_not_held_back() {
    let mut world = World::proven();
    remove(&mut world.replica, 3, "a");
    world.observe();
    let mut world = world.restarted();
    assert_eq!(world.proof.hold(&world.replica), 0);
    // Nor does it come back by being made anew.
    put(&mut world.replica, 4, "a", "a2");
    world.observe();
    world.proof.hold(&world.replica);
    assert_eq!(world.held(), [("a".to_owned(), None)]);
}

#[test]
fn content_that_comes_whole_is_compared() {
    let mut world = World::proven();
    put(&mut world.replica, 3, "a", "a2");
    world.observe();
    world.proof.hold(&world.replica);
    let other = Position { lineage: Lineage { generation: 2, id: [2; 16], parent: None }, revision: 1 };
    let content = vec![("a".into(), Bytes::from("a2")), ("c".into(), "c1".into())];
    world.replica.replace(other, content).unwrap();
    world.observe();
    assert_eq!(world.held(), [held("a", "a1")], "the same bytes stay held back");
    world.proof.hold(&world.replica);
    assert_eq!(world.held(), [held("a", "a1"), ("c".to_owned(), None)]);
    let world = world.restarted();
    assert_eq!(world.held(), [held("a", "a1"), ("c".to_owned(), None)], "b is gone");
}

async fn open(dir: &std::path::Path) -> Persistence {
    let (key, node) = (StoreKey::File(dir.join("key")), "gateway-1".to_owned());
    Persistence::open(StoreOptions { dir: dir.join("store"), node, key }, &Wanted::All).await.unwrap()
}

/// The versions used in place of those that are held back, and whether what comes is on disk before it is used.
type Seen = (Vec<Option<Bytes>>, bool);

/// Opens the store, counts the start and makes a change of `a`, as a process does; ends in order or not.
async fn live(dir: &std::path::Path, change: Option<(u64, &'static str)>, in_order: bool) -> Seen {
    let Persistence { replicas, store, persister, durable, .. } = open(dir).await;
    let proof = Proof::open(&store, &replicas, durable.clone(), AFTER).await;
    let persister = persister.proving(proof.clone());
    if let Some((revision, value)) = change {
        replicas.update(&scope(), |replica| put(replica, revision, "a", value));
    }
    let (trigger, shutdown) = ShutdownTrigger::new();
    let persisting = tokio::spawn(persister.run(shutdown));
    if in_order {
        trigger.trigger();
        persisting.await.unwrap();
    } else {
        let revision = change.map_or(0, |(revision, _)| revision);
        let is_kept =
            |kept: &BTreeMap<ScopeId, Position>| kept.get(&scope()).is_some_and(|at| at.revision >= revision);
        durable.clone().wait_for(is_kept).await.unwrap();
        persisting.abort();
        let _ = persisting.await;
    }
    let poisoned = proof.poisoned(&scope()).into_values();
    (poisoned.map(|poisoned| poisoned.proven).collect(), proof.kept().is_some())
}

#[tokio::test]
async fn three_ends_that_are_not_clean_hold_back_what_was_not_proven() {
    let dir = tempfile::tempdir().unwrap();
    // A process serves `a1` for long; the next one is given `a2`, which ends it.
    assert_eq!(live(dir.path(), Some((1, "a1")), true).await, (vec![], false));
    {
        let Persistence { replicas, store, persister, durable, .. } = open(dir.path()).await;
        let proof = Proof::open(&store, &replicas, durable, Duration::ZERO).await;
        replicas.read(|map| proof.prove(map, true));
        let (trigger, shutdown) = ShutdownTrigger::new();
        trigger.trigger();
        persister.proving(proof).run(shutdown).await;
    }
    assert_eq!(live(dir.path(), Some((2, "a2")), false).await, (vec![], false));
    for _ in 1..UNCLEAN_ENDS {
        assert_eq!(live(dir.path(), None, false).await, (vec![], true));
    }
    let a1 = vec![Some(Bytes::from("a1"))];
    assert_eq!(live(dir.path(), None, false).await, (a1.clone(), true));
    // After an end in order it is held back still, and other ends begin to count anew.
    assert_eq!(live(dir.path(), None, true).await, (a1.clone(), true));
    assert_eq!(live(dir.path(), None, false).await, (a1, false));
}
