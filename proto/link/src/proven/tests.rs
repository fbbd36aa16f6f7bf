use std::path::Path;

use hanse_process::ShutdownTrigger;
use hanse_store::{Noted, StoreKey, StoreOptions};
use hanse_topology::Lineage;

use super::*;
use crate::{Persistence, Wanted};

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

/// What is on disk of a scope beside its content.
#[derive(Default)]
struct Disk(BTreeMap<Arc<str>, Noted>, BTreeMap<Arc<str>, Noted>);

/// One scope, and what is known of it.
struct World {
    replica: Replica,
    versions: ScopeVersions,
    disk: Disk,
    now: Instant,
}

impl World {
    /// `a1` and `b1` came.
    fn new() -> Self {
        let mut replica = Replica::new();
        put(&mut replica, 1, "a", "a1");
        put(&mut replica, 2, "b", "b1");
        let now = Instant::now();
        let versions = ScopeVersions::new(&replica, replica.seen().unwrap(), now);
        let mut world = Self { replica, versions, disk: Disk::default(), now };
        world.use_all();
        world
    }

    /// They are proven.
    fn proven() -> Self {
        let mut world = Self::new();
        world.pass(AFTER);
        world
    }

    fn put(&mut self, revision: u64, key: &str, value: &'static str) {
        put(&mut self.replica, revision, key, value);
    }

    fn remove(&mut self, revision: u64, key: &str) {
        self.replica.advance(at(revision), vec![], vec![key.into()]).unwrap();
    }

    /// The consumer is given what there is.
    fn give(&mut self) -> HeldBack {
        self.versions.observe(&self.replica, self.replica.seen().unwrap(), self.now);
        self.versions.give()
    }

    fn use_all(&mut self) {
        self.give();
        self.versions.is_used(self.now, |_| true);
    }

    fn pass(&mut self, time: Duration) {
        self.pass_using(time, |_| true);
    }

    fn pass_using(&mut self, time: Duration, uses: impl Fn(&str) -> bool) {
        self.now += time;
        self.versions.prove(&self.replica, uses, self.now, AFTER);
    }

    /// As the next process has it, which reads what this one has noted.
    fn restarted(mut self) -> Self {
        for (what, key, noted) in self.versions.take_notes() {
            let notes = if what == KeyNote::Proven { &mut self.disk.0 } else { &mut self.disk.1 };
            match noted {
                Some(noted) => drop(notes.insert(key, noted)),
                None => drop(notes.remove(&key)),
            }
        }
        let replica = Replica::restore(self.replica.head().unwrap(), self.replica.records()).unwrap();
        let Disk(proven, poisoned) = &self.disk;
        let seen = replica.seen().unwrap();
        let versions = ScopeVersions::restored(&replica, seen, proven.clone(), poisoned.clone(), self.now);
        Self { replica, versions, ..self }
    }

    /// The same after three ends.
    fn held(self) -> Self {
        let mut world = self.restarted();
        world.versions.hold_all(|_| true);
        world
    }

    /// The keys that are held back, each with what is used in its place.
    fn poisoned(&mut self) -> Vec<(String, Option<Bytes>)> {
        let HeldBack { poisoned, mut proven } = self.give();
        poisoned.into_keys().map(|key| (key.to_string(), proven.remove(&key))).collect()
    }
}

fn with(key: &str, proven: &'static str) -> (String, Option<Bytes>) {
    (key.to_owned(), Some(proven.into()))
}

fn without(key: &str) -> (String, Option<Bytes>) {
    (key.to_owned(), None)
}

#[test]
fn what_is_not_proven_is_held_back_and_the_rest_goes_on() {
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.put(4, "new", "n1");
    world.use_all();
    let mut world = world.restarted();
    assert_eq!(world.poisoned(), []);
    let mut world = world.held();
    assert_eq!(world.poisoned(), [with("a", "a1"), without("new")]);
    // The next process holds it back too, however long it serves with the rest.
    let mut world = world.restarted();
    world.use_all();
    world.pass(2 * AFTER);
    assert_eq!(world.poisoned(), [with("a", "a1"), without("new")]);
}

#[test]
fn other_bytes_are_used_and_the_same_ones_are_not() {
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.put(4, "b", "b2");
    world.use_all();
    let mut world = world.held();
    world.put(5, "a", "a3");
    world.put(6, "b", "b2");
    world.use_all();
    assert_eq!(world.poisoned(), [with("b", "b1")]);
    world.pass(AFTER);
    world.put(7, "a", "a4");
    world.use_all();
    assert_eq!(world.held().poisoned(), [with("a", "a3"), with("b", "b1")]);
}

#[test]
fn a_version_is_proven_once_it_was_served_for_long_and_not_before() {
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.use_all();
    world.pass(AFTER - Duration::from_secs(1));
    world.put(4, "b", "b2");
    world.use_all();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.held().poisoned(), [with("b", "b1")], "a2 has had its time");

    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.use_all();
    world.pass(AFTER / 2);
    world.versions.restart(world.now); // nothing was served
    world.pass(AFTER / 2);
    assert_eq!(world.held().poisoned(), [with("a", "a1")]);
}

/// It is in quarantine for a reason of its own.
#[test]
fn what_is_not_in_use_is_not_proven() {
    let mut world = World::proven();
    world.put(3, "a", "unusable");
    world.use_all();
    world.pass_using(2 * AFTER, |key| key != "a");
    world.put(4, "a", "a3");
    world.use_all();
    assert_eq!(world.held().poisoned(), [with("a", "a1")]);
    // What was given, and did not come so far as to be used, is not proven either.
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.give();
    world.pass(2 * AFTER);
    assert_eq!(world.held().poisoned(), [with("a", "a1")]);
}

#[test]
fn with_nothing_proven_nothing_is_held_back() {
    let mut world = World::new().restarted();
    assert_eq!((world.versions.hold_all(|_| true), world.poisoned()), (0, vec![]));
}

#[test]
fn what_may_not_be_held_back_is_not() {
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.put(4, "b", "b2");
    world.use_all();
    let mut world = world.restarted();
    assert_eq!(world.versions.hold_all(|key| key != "a"), 1);
    assert_eq!(world.poisoned(), [with("b", "b1")]);
}

#[test]
fn a_deletion_is_not_held_back_and_what_was_deleted_is_there_for_what_needs_it() {
    let mut world = World::proven();
    world.put(3, "b", "b2");
    world.remove(4, "a");
    world.use_all();
    let mut world = world.held();
    assert_eq!(world.poisoned(), [with("b", "b1")]);
    assert_eq!(world.give().proven.get("a"), Some(&"a1".into()));
    // It does not come back by being made anew.
    world.put(5, "a", "a2");
    world.use_all();
    assert_eq!(world.held().poisoned(), [without("a"), with("b", "b1")]);
    // After a while nothing is known of it.
    let mut world = World::proven();
    world.remove(3, "a");
    world.use_all();
    world.pass(AFTER);
    world.put(4, "b", "b2");
    world.use_all();
    assert_eq!(world.held().give().proven.into_keys().collect::<Vec<_>>(), ["b".into()]);
}

#[test]
fn what_cannot_be_compiled_is_held_back_alone() {
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.use_all();
    world.put(4, "b", "b2");
    world.give();
    assert_eq!(world.versions.hold_tried(false, |_| true), 1);
    assert_eq!(world.poisoned(), [with("b", "b1")]);
    world.versions.release_tried(); // it did not help
    assert_eq!(world.poisoned(), []);
    // What was held back before stays so.
    let mut world = world.held();
    assert_eq!(world.poisoned(), [with("a", "a1"), with("b", "b1")]);
    assert_eq!(world.versions.hold_tried(false, |_| true), 0);
    world.versions.release_tried();
    assert_eq!(world.restarted().poisoned(), [with("a", "a1"), with("b", "b1")]);
}

/// A scope beside which others serve on, and which was never served for long.
#[test]
fn where_nothing_was_proven_everything_may_be_held_back_also_after_a_restart() {
    let mut world = World::new();
    assert_eq!(world.versions.hold_all(|_| true), 0, "there is nothing to go back to");
    world.versions.may_go_back_to_nothing();
    assert_eq!(world.versions.hold_all(|_| true), 2);
    let mut world = world.restarted();
    assert_eq!(world.poisoned(), [without("a"), without("b")]);
    world.put(3, "a", "a2");
    assert_eq!(world.poisoned(), [without("b")]);
}

#[test]
fn what_was_not_tried_may_be_held_back_later() {
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.put(4, "b", "b2");
    world.give();
    world.versions.is_used(world.now, |key| key != "a");
    assert!(world.versions.has_untried());
    assert_eq!(world.versions.hold_tried(false, |_| true), 0, "it ended nothing");
    assert_eq!(world.versions.hold_tried(true, |_| true), 1);
    assert_eq!(world.poisoned(), [with("a", "a1")]);
    world.versions.release_tried();
    world.versions.is_used(world.now, |_| true);
    assert!(!world.versions.has_untried());
}

#[test]
fn content_that_comes_whole_is_compared() {
    let mut world = World::proven();
    world.put(3, "a", "a2");
    world.use_all();
    let mut world = world.held();
    let other = Position { lineage: Lineage { generation: 2, id: [2; 16], parent: None }, revision: 1 };
    let content = vec![("a".into(), Bytes::from("a2")), ("c".into(), "c1".into())];
    world.replica.replace(other, content).unwrap();
    world.use_all();
    assert_eq!(world.poisoned(), [with("a", "a1")], "the same bytes stay held back");
    let mut world = world.held();
    assert_eq!(world.poisoned(), [with("a", "a1"), without("c")]);
}

#[test]
fn a_move_without_a_change_notes_nothing() {
    let mut world = World::proven();
    world.versions.take_notes();
    world.replica.advance(at(9), vec![], vec![]).unwrap();
    world.use_all();
    world.pass(AFTER);
    assert_eq!(world.versions.take_notes(), []);
    world.put(10, "a", "a2");
    world.use_all();
    let keys: Vec<_> = world.versions.take_notes().into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys, ["a".into(), "a".into()], "one note of each sort");
}

async fn open(dir: &Path) -> Persistence {
    let (key, node) = (StoreKey::File(dir.join("key")), "gateway-1".to_owned());
    let options = StoreOptions { dir: dir.join("store"), node, key, makes_key: true };
    Persistence::open(options, &Wanted::All).await.unwrap()
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    InOrder,
    OutOfOrder,
    Withdrawn,
}

/// The versions used in place of those that are held back, and whether what comes is on disk before it is used.
type Lived = (Vec<Bytes>, bool);

/// A process: opens the store, counts its start, is given a version of `a`, and ends.
async fn live(dir: &Path, change: Option<(u64, &'static str)>, end: End) -> Lived {
    let Persistence { replicas, store, persister, durable, .. } = open(dir).await;
    let proven = ProvenVersions::open(&store, &replicas, durable.clone(), AFTER, |_| true);
    let (trigger, shutdown) = ShutdownTrigger::new();
    let persisting = tokio::spawn(persister.proving(proven.clone()).run(shutdown));
    proven.count_start().await;
    if let Some((revision, value)) = change {
        replicas.update(&scope(), |replica| put(replica, revision, "a", value));
        let is_kept =
            |kept: &BTreeMap<ScopeId, Position>| kept.get(&scope()).is_some_and(|at| at.revision >= revision);
        durable.clone().wait_for(is_kept).await.unwrap();
    }
    let lived = (proven.give(&scope()).proven.into_values().collect(), proven.kept().is_some());
    match end {
        End::InOrder => {
            trigger.trigger();
            persisting.await.unwrap();
            return lived;
        }
        End::OutOfOrder => {}
        End::Withdrawn => proven.withdraw().await,
    }
    persisting.abort();
    assert!(persisting.await.unwrap_err().is_cancelled());
    lived
}

/// A process serves `a1` for long; the next one is given `a2`.
async fn given_a2(dir: &Path) {
    assert_eq!(live(dir, Some((1, "a1")), End::InOrder).await, (vec![], false));
    {
        let Persistence { replicas, store, persister, durable, .. } = open(dir).await;
        let proven = ProvenVersions::open(&store, &replicas, durable, Duration::ZERO, |_| true);
        proven.give(&scope());
        proven.is_used(|_, _| true);
        replicas.read(|map| proven.prove(map, Some(|_: &ScopeId, _: &str| true)));
        let (trigger, shutdown) = ShutdownTrigger::new();
        trigger.trigger();
        persister.proving(proven).run(shutdown).await;
    }
    assert_eq!(live(dir, Some((2, "a2")), End::OutOfOrder).await, (vec![], false));
}

#[tokio::test]
async fn three_ends_out_of_order_hold_back_what_was_not_proven() {
    let dir = tempfile::tempdir().unwrap();
    given_a2(dir.path()).await;
    for _ in 1..UNCLEAN_ENDS {
        assert_eq!(live(dir.path(), None, End::OutOfOrder).await, (vec![], true));
    }
    let a1 = vec![Bytes::from("a1")];
    assert_eq!(live(dir.path(), None, End::OutOfOrder).await, (a1.clone(), true));
    // It is held back still, and ends begin to count anew.
    assert_eq!(live(dir.path(), Some((3, "a3")), End::OutOfOrder).await, (vec![], true));
    assert_eq!(live(dir.path(), None, End::InOrder).await, (vec![], true));
    assert_eq!(live(dir.path(), None, End::InOrder).await, (vec![], false));
}

#[tokio::test]
async fn a_start_that_is_withdrawn_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    given_a2(dir.path()).await;
    for _ in 0..2 * UNCLEAN_ENDS {
        assert_eq!(live(dir.path(), None, End::Withdrawn).await, (vec![], true));
    }
}
