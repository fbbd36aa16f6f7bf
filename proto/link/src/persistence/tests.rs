use std::{path::Path, sync::Arc};

use bytes::Bytes;
use hanse_process::ShutdownTrigger;
use hanse_store::{Records, StoreKey, UnkeptNotes};
use hanse_sync::Changes;
use hanse_topology::Lineage;
use tokio::task::JoinHandle;

use super::*;

/// For all that must happen soon: far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

fn at(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
}

fn scope(environment: &str) -> ScopeId {
    format!("runtime/eu-west/{environment}").parse().unwrap()
}

fn puts(pairs: &[(&str, &str)]) -> Vec<(Arc<str>, Bytes)> {
    pairs.iter().map(|(key, value)| (Arc::from(*key), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

fn options(dir: &Path) -> StoreOptions {
    StoreOptions {
        dir: dir.join("store"),
        node: "agent-1".to_owned(),
        key: StoreKey::File(dir.join("store-key")),
        makes_key: true,
    }
}

async fn open(dir: &Path) -> Persistence {
    Persistence::open(options(dir), &Wanted::All).await.unwrap()
}

/// A node's hub while its persister runs.
struct Running {
    replicas: Replicas,
    store: Store,
    durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(dir: &Path) -> Self {
        let Persistence { replicas, store, persister, durable, .. } = open(dir).await;
        let (trigger, shutdown) = ShutdownTrigger::new();
        Self { replicas, store, durable, trigger, task: tokio::spawn(persister.run(shutdown)) }
    }

    fn advance(&self, environment: &str, revision: u64, upserts: &[(&str, &str)], removals: &[&str]) {
        let removals = removals.iter().map(|&key| key.into()).collect();
        let advance = |replica: &mut Replica| replica.advance(at(revision), puts(upserts), removals);
        self.replicas.update(&scope(environment), advance).unwrap();
    }

    async fn durable(&mut self, environment: &str, revision: u64) {
        let scope = scope(environment);
        let reached = self.durable.wait_for(|held| held.get(&scope) == Some(&at(revision)));
        tokio::time::timeout(SOON, reached).await.expect("in time").unwrap();
    }

    /// Stops as a process does that is told to.
    async fn stop(self) {
        self.trigger.trigger();
        tokio::time::timeout(SOON, self.task).await.expect("it stops").unwrap();
    }

    /// Stops as a process does that is killed.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

#[tokio::test]
async fn what_is_durable_is_there_after_a_kill_with_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 5, &[("a", "1"), ("b", "1")], &[]);
    node.durable("e", 5).await;
    node.advance("e", 6, &[("c", "1")], &["a"]);
    node.durable("e", 6).await;
    let root = node.replicas.read(|map| map[&scope("e")].root());
    node.kill().await;

    let mut node = Running::start(dir.path()).await;
    assert_eq!(*node.durable.borrow(), BTreeMap::from([(scope("e"), at(6))]));
    node.replicas.read(|map| {
        let replica = &map[&scope("e")];
        assert_eq!((replica.position(), replica.root()), (Some(&at(6)), root));
        let since = Changes { upserts: puts(&[("c", "1")]), removals: vec!["a".into()] };
        assert_eq!(replica.changes_since(5), Some(since));
    });
    node.advance("e", 7, &[("d", "1")], &[]);
    node.durable("e", 7).await;
    assert_eq!(
        node.store.metrics().commits.get(),
        1,
        "the new change alone: nothing is written again at a start"
    );
    node.kill().await;
}

#[tokio::test]
async fn one_that_takes_the_place_of_another_goes_on_where_that_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let Persistence { replicas, store, persister, durable, .. } = open(dir.path()).await;
    let run = || {
        let (trigger, shutdown) = ShutdownTrigger::new();
        let task = tokio::spawn(persister.clone().run(shutdown));
        Running { replicas: replicas.clone(), store: store.clone(), durable: durable.clone(), trigger, task }
    };
    let mut first = run();
    first.advance("e", 5, &[("a", "1"), ("b", "1")], &[]);
    first.advance("f", 5, &[("a", "1")], &[]);
    first.durable("f", 5).await;
    first.durable("e", 5).await;
    first.kill().await;

    let mut second = run();
    second.advance("e", 6, &[("c", "1")], &["a"]);
    second.replicas.remove(&scope("f"));
    second.durable("e", 6).await;
    second.stop().await;
    drop((replicas, store, persister, durable));
    let reopened = open(dir.path()).await;
    reopened.replicas.read(|map| {
        assert_eq!(
            map.keys().collect::<Vec<_>>(),
            [&scope("e")],
            "what the first wrote went with the second"
        );
        let found = map[&scope("e")].content().into_iter().map(|(key, _)| key.to_string());
        assert_eq!(found.collect::<Vec<_>>(), ["b", "c"]);
    });
}

#[tokio::test]
async fn the_last_changes_are_kept_at_a_stop_and_what_is_withdrawn_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 5, &[("a", "1")], &[]);
    node.advance("f", 5, &[("a", "1")], &[]);
    node.durable("e", 5).await;
    assert!(node.replicas.remove(&scope("f")));
    node.advance("e", 6, &[("a", "2")], &[]);
    node.stop().await;
    let kept = open(dir.path()).await;
    assert_eq!(*kept.durable.borrow(), BTreeMap::from([(scope("e"), at(6))]));
    assert!(!kept.is_partial);
}

#[tokio::test]
async fn positions_alone_are_written_once_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 1, &[("a", "1")], &[]);
    node.durable("e", 1).await;
    let commits = || node.store.metrics().commits.get();
    let before = commits();
    for revision in 2..40 {
        node.advance("e", revision, &[], &[]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(commits() <= before + 2, "{} transactions for 38 bookmarks", commits() - before);
    node.durable("e", 39).await;
    node.kill().await;
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 5, &[("a", "1")], &[]);
    node.advance("f", 5, &[("a", "1")], &[]);
    node.durable("f", 5).await;
    node.stop().await;
    let wanted = Wanted::Environments(vec!["e".parse().unwrap()]);
    let mut kept = Persistence::open(options(dir.path()), &wanted).await.unwrap();
    assert_eq!(kept.replicas.read(|map| map.keys().cloned().collect::<Vec<_>>()), [scope("e")]);
    let plan = kept.persister.plan();
    assert_eq!((plan.transaction.drops, plan.urgency), (vec![scope("f")], Urgency::Content));
}

/// Puts a record where it does not belong, so that its scope cannot be read.
async fn spoil(dir: &Path, environment: &str) {
    let (store, loaded) = Store::open(options(dir)).await.unwrap();
    let of = loaded.scopes.into_iter().find(|stored| stored.scope == scope(environment)).unwrap();
    let mut head = of.head;
    // A head of another lineage opens no record of this one.
    head.position.as_mut().unwrap().lineage.as_mut().unwrap().generation += 1;
    let write = hanse_store::ScopeWrite { scope: of.scope, head, records: Records::Changed(Vec::new()) };
    let content = hanse_store::Transaction { writes: vec![write], drops: Vec::new() };
    store.commit(content, UnkeptNotes::default()).await.unwrap();
}

#[tokio::test]
async fn a_lost_scope_that_is_not_wanted_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 5, &[("a", "1")], &[]);
    node.advance("f", 5, &[("a", "1")], &[]);
    node.durable("f", 5).await;
    node.stop().await;
    spoil(dir.path(), "f").await;
    for (wanted, is_partial) in [("e", false), ("f", true)] {
        let wanted = Wanted::Environments(vec![wanted.parse().unwrap()]);
        let kept = Persistence::open(options(dir.path()), &wanted).await.unwrap();
        assert_eq!(kept.is_partial, is_partial, "{wanted:?}");
    }
}

#[tokio::test]
async fn a_disk_that_is_there_again_is_found_with_nothing_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("mounted");
    let late = StoreOptions { key: StoreKey::Secret(key.clone()), ..options(dir.path()) };
    let Persistence { store, persister, .. } = Persistence::open(late, &Wanted::All).await.unwrap();
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task = tokio::spawn(persister.run(shutdown));
    assert!(!store.is_writable());
    std::fs::write(&key, [7; 32]).unwrap();
    let began = Instant::now();
    while !store.is_writable() {
        assert!(began.elapsed() < SOON, "it is opened though nothing changes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    trigger.trigger();
    task.await.unwrap();
}

/// A file that does not answer a reader until the handle is gone.
async fn freeze(path: &Path) -> std::fs::File {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let path = path.to_owned();
    // Comes back when a reader opens the file.
    let opened = tokio::task::spawn_blocking(|| std::fs::OpenOptions::new().write(true).open(path));
    tokio::time::timeout(SOON, opened).await.expect("the store is opened again").unwrap().unwrap()
}

#[tokio::test]
async fn a_frozen_disk_does_not_hold_up_a_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("mounted");
    let late = StoreOptions { key: StoreKey::Secret(key.clone()), ..options(dir.path()) };
    let Persistence { persister, .. } = Persistence::open(late, &Wanted::All).await.unwrap();
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task = tokio::spawn(persister.run(shutdown));
    let frozen = freeze(&key).await;
    trigger.trigger();
    tokio::time::timeout(3 * LAST_WRITE, task).await.expect("it does not wait for the disk").unwrap();
    drop(frozen);
}

#[tokio::test]
async fn content_without_its_root_is_not_used_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 5, &[("a", "1")], &[]);
    node.advance("f", 5, &[("a", "1")], &[]);
    node.durable("f", 5).await;
    node.stop().await;
    let (store, loaded) = Store::open(options(dir.path())).await.unwrap();
    // A record too many, which the store cannot know: as if an old one had been put back.
    let stray = hanse_store::StoredRecord { key: "b".into(), revision: 4, value: Some("old".into()) };
    let of = loaded.scopes.into_iter().find(|stored| stored.scope == scope("e")).unwrap();
    let write =
        hanse_store::ScopeWrite { scope: of.scope, head: of.head, records: Records::Changed(vec![stray]) };
    let content = hanse_store::Transaction { writes: vec![write], drops: Vec::new() };
    store.commit(content, UnkeptNotes::default()).await.unwrap();
    drop(store);

    let mut node = Running::start(dir.path()).await;
    assert_eq!(*node.durable.borrow(), BTreeMap::from([(scope("f"), at(5))]), "the other one is not lost");
    assert!(node.replicas.read(|map| !map.contains_key(&scope("e"))));
    node.advance("e", 5, &[("a", "1")], &[]);
    node.durable("e", 5).await;
    node.kill().await;
    assert!(!open(dir.path()).await.is_partial);
}

#[tokio::test]
async fn a_disk_that_refuses_is_tried_again_and_nothing_is_durable_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    // What seals the store comes late: as good as a disk that cannot be written.
    let key = dir.path().join("mounted");
    let late = StoreOptions { key: StoreKey::Secret(key.clone()), ..options(dir.path()) };
    let Persistence { replicas, store, persister, durable, .. } =
        Persistence::open(late.clone(), &Wanted::All).await.unwrap();
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task = tokio::spawn(persister.run(shutdown));
    let mut node = Running { replicas, store, durable, trigger, task };
    node.advance("e", 5, &[("a", "1")], &[]);
    let began = Instant::now();
    while node.store.metrics().failures.get() < 3 {
        assert!(began.elapsed() < SOON, "it is tried again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.advance("e", 6, &[("b", "1")], &[]);
    assert!(node.durable.borrow().is_empty());
    std::fs::write(&key, [7; 32]).unwrap();
    node.durable("e", 6).await;
    node.kill().await;
    let kept = Persistence::open(late, &Wanted::All).await.unwrap();
    assert_eq!(kept.replicas.read(|map| map[&scope("e")].len()), 2);
}

#[test]
fn a_plan_writes_what_changed_and_all_where_that_is_not_known() {
    let mut map = ReplicaMap::new();
    let mut replica = Replica::new();
    replica.advance(at(5), puts(&[("a", "1"), ("b", "1")]), vec![]).unwrap();
    map.insert(scope("e"), replica);
    let sizes = |plan: &Plan| match &plan.transaction.writes[..] {
        [] => (false, 0),
        [write] => match &write.records {
            Records::All(records) => (true, records.len()),
            Records::Changed(records) => (false, records.len()),
        },
        _ => panic!("one scope"),
    };
    let mut kept = Kept::new();
    let mut check = |map: &ReplicaMap, urgency, size| {
        let plan = Plan::new(map, &kept, UnkeptNotes::default());
        assert_eq!((plan.urgency, sizes(&plan)), (urgency, size));
        kept = plan.then;
    };
    check(&map, Urgency::Content, (true, 2));
    check(&map, Urgency::Nothing, (false, 0));
    let replica = map.get_mut(&scope("e")).unwrap();
    replica.advance(at(7), puts(&[("b", "2")]), vec!["a".into()]).unwrap();
    check(&map, Urgency::Content, (false, 2));
    map.get_mut(&scope("e")).unwrap().advance(at(8), vec![], vec![]).unwrap();
    check(&map, Urgency::Positions, (false, 0));
    // A repair where it stands, and a scope that went and came again: nothing leads there from what is kept.
    map.get_mut(&scope("e")).unwrap().replace(at(8), puts(&[("b", "3")])).unwrap();
    check(&map, Urgency::Content, (true, 1));
    let mut again = Replica::starting_at_epoch(256);
    again.advance(at(8), puts(&[("b", "3")]), vec![]).unwrap();
    map.insert(scope("e"), again);
    check(&map, Urgency::Content, (true, 1));
}

#[tokio::test]
async fn an_offer_is_kept_unless_it_rests_on_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(kept_offer(&store), None);
    let (link, status) = watch::channel(crate::LinkStatus::default());
    let (trigger, shutdown) = ShutdownTrigger::new();
    let keeping = tokio::spawn(keep_offer(store.clone(), status, shutdown));
    let offered: std::collections::BTreeSet<_> = [scope("e"), scope("f")].into();
    link.send_modify(|status| (status.offered, status.offered_as_of) = (offered.clone(), Some(at(5))));
    let began = Instant::now();
    while kept_offer(&store).is_none() {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    link.send_modify(|status| (status.offered, status.offered_as_of) = (Default::default(), None));
    tokio::task::yield_now().await;
    assert_eq!(kept_offer(&store), Some((offered, Some(at(5)))));
    trigger.trigger();
    keeping.await.unwrap();
}

fn last_good(replica: &Replica) -> BTreeMap<Arc<str>, Bytes> {
    replica.last_good().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// It came and could not be used. After a restart the next version replaces it.
#[tokio::test]
async fn what_could_never_be_used_is_no_last_good_version_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 5, &[("a", "bad"), ("b", "good")], &[]);
    node.replicas.confirm(&scope("e"), &at(5), &BTreeMap::from([("a".into(), None)]));
    node.advance("e", 6, &[("c", "good")], &[]);
    node.durable("e", 6).await;
    node.kill().await;
    let node = Running::start(dir.path()).await;
    node.advance("e", 7, &[("a", "bad too"), ("b", "bad")], &[]);
    let held = node.replicas.read(|map| last_good(&map[&scope("e")]));
    assert_eq!(held, puts(&[("b", "good")]).into_iter().collect());
    node.kill().await;
}

/// The position stays, and no version is released.
#[tokio::test]
async fn an_acknowledgement_is_kept_though_nothing_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    node.advance("e", 5, &[("a", "good")], &[]);
    node.durable("e", 5).await;
    node.replicas.confirm(&scope("e"), &at(5), &BTreeMap::new());
    tokio::time::timeout(SOON, node.durable.changed()).await.expect("it is written").unwrap();
    node.kill().await;
    let node = Running::start(dir.path()).await;
    node.advance("e", 6, &[("a", "bad")], &[]);
    let held = node.replicas.read(|map| last_good(&map[&scope("e")]));
    assert_eq!(held, puts(&[("a", "good")]).into_iter().collect());
    node.kill().await;
}

#[tokio::test]
async fn the_last_good_version_is_kept_with_the_one_that_replaced_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Running::start(dir.path()).await;
    let held = |node: &Running| node.replicas.read(|map| last_good(&map[&scope("e")]));
    node.advance("e", 5, &[("a", "good"), ("b", "good")], &[]);
    node.replicas.confirm(&scope("e"), &at(5), &BTreeMap::new());
    node.advance("e", 6, &[("a", "bad"), ("b", "better")], &[]);
    node.durable("e", 6).await;
    node.kill().await; // before a consumer found out

    let mut node = Running::start(dir.path()).await;
    assert_eq!(held(&node), puts(&[("a", "good"), ("b", "good")]).into_iter().collect());
    node.replicas.confirm(&scope("e"), &at(6), &BTreeMap::from([("a".into(), None)]));
    assert_eq!(held(&node), puts(&[("a", "good")]).into_iter().collect());
    node.advance("e", 7, &[], &[]);
    node.durable("e", 7).await;
    node.stop().await;
    let node = Running::start(dir.path()).await;
    assert_eq!(held(&node), puts(&[("a", "good")]).into_iter().collect());
    let kept: Vec<_> = node.replicas.read(|map| {
        map[&scope("e")].last_good_to_keep().map(|(key, record)| (key.to_string(), record.since)).collect()
    });
    assert_eq!(kept, [("a".to_owned(), 5)], "and since when it was there");
    node.kill().await;
}
