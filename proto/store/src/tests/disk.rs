//! Disks that are cut off in the middle, and disks that are full.

use super::*;
use crate::testbed::{FakeDisk, Step};

async fn open_on(dir: &Path, disk: &FakeDisk) -> (Store, Loaded) {
    Store::open_on(options(dir), Box::new(disk.clone())).await.unwrap()
}

/// Scopes with their revision and records.
type Model = BTreeMap<String, (u64, ByKey)>;
/// An environment, whether all is written, and keys with values.
type Pick = (u8, bool, Vec<(u8, Option<u8>)>);

fn contents(loaded: &Loaded) -> Model {
    let scopes = loaded.scopes.iter().map(|scope| {
        let revision = scope.head.position.as_ref().unwrap().revision;
        (scope.scope.to_string(), (revision, records(&scope.records)))
    });
    scopes.collect()
}

fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let step = (0..3u8, any::<bool>(), prop::collection::vec((0..12u8, prop::option::of(0..4u8)), 0..6));
    prop::collection::vec(step, 1..6).prop_map(|steps| {
        let step = |(at, (environment, all, pairs)): (usize, Pick)| {
            let revision = at as u64 + 10;
            let environment = format!("e{environment}");
            let of = |(key, value): &(u8, Option<u8>)| {
                let value = value.map(|value| format!("{value}").repeat(400));
                record(&format!("k{key}"), revision, value.as_deref())
            };
            let records: Vec<_> = pairs.iter().map(of).collect();
            match (all, pairs.is_empty()) {
                (false, true) => Transaction { writes: Vec::new(), drops: vec![scope(&environment)] },
                (true, _) => whole(&environment, revision, &records),
                (false, false) => changed(&environment, revision, &records),
            }
        };
        steps.into_iter().enumerate().map(step).collect()
    })
}

/// What the store must hold after a transaction.
fn apply(content: &Transaction, model: &mut Model) {
    for scope in &content.drops {
        model.remove(&scope.to_string());
    }
    for write in &content.writes {
        let (revision, held) = model.entry(write.scope.to_string()).or_default();
        *revision = write.head.position.as_ref().unwrap().revision;
        match &write.records {
            Records::All(all) => *held = records(all),
            Records::Changed(changed) => held.extend(records(changed)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Random transactions, the power cut after any write: what is found is what was there before the transaction under way
    /// or after it, and never less than what was said to be safe.
    #[test]
    fn a_transaction_is_there_whole_or_not_at_all(transactions in transactions(), cuts in prop::collection::vec(0..1000usize, 6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let disk = FakeDisk::new();
            let (store, _) = open_on(dir.path(), &disk).await;
            let mut model = BTreeMap::new();
            // Steps of the disk, and what was safe by then.
            let mut safe = vec![(disk.steps().len(), model.clone())];
            for content in transactions {
                apply(&content, &mut model);
                keep(&store, content).await;
                safe.push((disk.steps().len(), model.clone()));
            }
            let steps = disk.steps();
            let first = safe[0].0;
            for cut in cuts {
                let cut = first + cut * (steps.len() - first) / 1000;
                let mut content = Vec::new();
                steps[..cut].iter().for_each(|step: &Step| step.apply(&mut content));
                let (_store, loaded) = open_on(dir.path(), &FakeDisk::with(content)).await;
                assert!(loaded.lost.is_empty());
                let before = safe.iter().rposition(|(at, _)| *at <= cut).unwrap();
                let allowed = [Some(&safe[before].1), safe.get(before + 1).map(|(_, model)| model)];
                assert!(allowed.contains(&Some(&contents(&loaded))), "cut at {cut}: {loaded:?}");
            }
            // Killed, not closed.
            let (_store, loaded) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
            assert_eq!(contents(&loaded), model);
        });
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FakeDisk::new();
    let (store, _) = open_on(dir.path(), &disk).await;
    keep(&store, whole("production", 5, &[record("a", 5, Some("1"))])).await;
    assert_eq!(store.metrics().writable.get(), 1);

    disk.fill();
    store.set_fact("offer", Some("x".into()));
    for failures in 1..4 {
        let content = changed("production", 7, &[record("b", 7, Some("2"))]);
        let outcome = store.commit(content, store.unkept_notes()).await;
        assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}");
        assert_eq!((store.metrics().failures.get(), store.metrics().writable.get()), (failures, 0));
    }
    assert_eq!(store.fact("offer"), Some("x".into()), "memory goes on");
    assert!(!store.unkept_notes().is_empty(), "and knows that the disk does not have it");

    disk.make_room();
    keep(&store, changed("production", 8, &[record("b", 7, Some("2")), record("c", 8, Some("3"))])).await;
    assert_eq!(store.metrics().writable.get(), 1);
    close(store).await;
    let (store, loaded) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
    let (_, of_scope) = only(loaded);
    let expected = [record("a", 5, Some("1")), record("b", 7, Some("2")), record("c", 8, Some("3"))];
    assert_eq!(of_scope, records(&expected));
    assert_eq!(store.fact("offer"), Some("x".into()));
}

#[tokio::test]
async fn a_full_disk_is_read_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FakeDisk::new();
    let (store, _) = open_on(dir.path(), &disk).await;
    store.set_fact("offer", Some("x".into()));
    keep(&store, whole("production", 5, &[record("a", 5, Some("1"))])).await;
    // Killed, and started again when there is no room.
    let disk = FakeDisk::with(disk.content());
    disk.fill();
    let (store, loaded) = open_on(dir.path(), &disk).await;
    assert_eq!(only(loaded).1, records(&[record("a", 5, Some("1"))]));
    assert_eq!((store.fact("offer"), store.metrics().writable.get()), (Some("x".into()), 0));
    let change = || changed("production", 6, &[record("b", 6, Some("1"))]);
    assert!(store.commit(change(), store.unkept_notes()).await.is_err());
    disk.make_room();
    keep(&store, change()).await;
    let (_store, loaded) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
    assert_eq!(only(loaded).1, records(&[record("a", 5, Some("1")), record("b", 6, Some("1"))]));
}

/// The disk with the key fails with the other one, and both come back.
#[tokio::test]
async fn a_key_that_is_away_while_the_store_runs_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FakeDisk::new();
    let (store, _) = open_on(dir.path(), &disk).await;
    keep(&store, whole("production", 5, &[record("a", 5, Some("1"))])).await;
    // This disk's content is elsewhere; that there is a store is seen by its name.
    std::fs::write(options(dir.path()).dir.join("store.redb"), "").unwrap();
    let change = || changed("production", 6, &[record("b", 6, Some("1"))]);
    disk.fill();
    assert!(store.commit(change(), store.unkept_notes()).await.is_err());
    disk.make_room();
    let (key, elsewhere) = (dir.path().join("store-key"), dir.path().join("elsewhere"));
    std::fs::rename(&key, &elsewhere).unwrap();
    let outcome = store.commit(change(), store.unkept_notes()).await;
    assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}");
    assert!(!key.exists(), "no other is made");
    std::fs::rename(&elsewhere, &key).unwrap();
    keep(&store, change()).await;
    let (_store, loaded) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
    assert_eq!(only(loaded).1, records(&[record("a", 5, Some("1")), record("b", 6, Some("1"))]));
}

#[tokio::test]
async fn a_store_that_is_lost_while_it_runs_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FakeDisk::new();
    let (store, _) = open_on(dir.path(), &disk).await;
    store.set_fact("offer", Some("x".into()));
    keep(&store, whole("production", 5, &[record("a", 5, Some("1"))])).await;
    // It fails, and when it comes back nothing is on it.
    disk.fill();
    let change = || changed("production", 6, &[record("b", 6, Some("1"))]);
    assert!(store.commit(change(), store.unkept_notes()).await.is_err());
    disk.replace(Vec::new());
    disk.make_room();
    assert_eq!(store.commit(change(), store.unkept_notes()).await, Err(CommitError::Emptied));
    let all = [record("a", 5, Some("1")), record("b", 6, Some("1"))];
    keep(&store, whole("production", 6, &all)).await;
    let (store, loaded) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
    assert_eq!(only(loaded).1, records(&all));
    assert_eq!(store.fact("offer"), Some("x".into()), "facts are written again too");
}

/// The file as it is, with one record where another belongs.
fn spoilt(disk: &FakeDisk) -> Vec<u8> {
    use redb::{ReadableTable as _, TableDefinition};
    let other = FakeDisk::with(disk.content());
    let database = crate::file::builder().create_with_backend(other.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let table = TableDefinition::<'_, (&str, &str), &[u8]>::new("records");
        let mut table = transaction.open_table(table).unwrap();
        let place = |key| ("runtime/eu-west/production", key);
        let value = table.get(place("a")).unwrap().expect("it is there").value().to_vec();
        table.insert(place("stray"), value.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    other.content()
}

#[tokio::test]
async fn a_scope_that_is_lost_while_it_runs_is_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FakeDisk::new();
    let (store, _) = open_on(dir.path(), &disk).await;
    store.set_key_notes(KeyNote::Usable, &scope("production"), [("a".into(), usable("good"))]);
    keep(&store, whole("production", 5, &[record("a", 5, Some("1"))])).await;
    let spoilt = spoilt(&disk);
    disk.fill();
    let change = || changed("production", 6, &[record("b", 6, Some("1"))]);
    assert!(store.commit(change(), store.unkept_notes()).await.is_err());
    disk.replace(spoilt);
    disk.make_room();
    let outcome = store.commit(change(), store.unkept_notes()).await;
    assert_eq!(outcome, Err(CommitError::Emptied), "a change alone would be all there is of the scope");
    let all = [record("a", 5, Some("1")), record("b", 6, Some("1"))];
    keep(&store, whole("production", 6, &all)).await;
    let (store, loaded) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
    assert_eq!(only(loaded).1, records(&all));
    assert_eq!(
        store.key_notes(KeyNote::Usable, &scope("production")).len(),
        1,
        "notes are written again too"
    );
}

#[tokio::test]
async fn usable_versions_go_and_come_with_their_scope() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FakeDisk::new();
    let (store, _) = open_on(dir.path(), &disk).await;
    let of = scope("production");
    store.set_key_notes(KeyNote::Usable, &of, [("a".into(), usable("good"))]);
    keep(&store, whole("production", 5, &[record("a", 5, Some("1"))])).await;
    let disk = FakeDisk::with(spoilt(&disk));
    let (store, loaded) = open_on(dir.path(), &disk).await;
    assert_eq!(loaded.lost, [of.to_string()]);
    assert!(
        store.key_notes(KeyNote::Usable, &of).is_empty(),
        "what is about to go from the disk is not taken for kept"
    );
    keep(&store, Transaction::default()).await;
    store.set_key_notes(KeyNote::Usable, &of, [("a".into(), usable("good"))]);
    keep(&store, whole("production", 6, &[record("a", 6, Some("1"))])).await;
    let disk = FakeDisk::with(disk.content());
    let (store, _) = open_on(dir.path(), &disk).await;
    assert_eq!(store.key_notes(KeyNote::Usable, &of).len(), 1);
    // Noted for the first time in the transaction that drops the scope.
    store.set_key_notes(KeyNote::Usable, &of, [("b".into(), usable("good"))]);
    keep(&store, Transaction { writes: Vec::new(), drops: vec![of.clone()] }).await;
    let (store, _) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
    assert!(store.key_notes(KeyNote::Usable, &of).is_empty(), "nothing outlives its scope");
}

#[tokio::test]
async fn a_disk_that_reads_well_is_not_given_up_for_what_it_refuses() {
    const EIO: i32 = 5;
    const EACCES: i32 = 13;
    for errno in [EIO, EACCES] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FakeDisk::new();
        let (store, _) = open_on(dir.path(), &disk).await;
        keep(&store, whole("production", 5, &[record("a", 5, Some("1"))])).await;
        let change = || changed("production", 6, &[record("b", 6, Some("1"))]);
        disk.refuse(errno);
        for _ in 0..2 {
            // The first fails to write, the second to open.
            let outcome = store.commit(change(), store.unkept_notes()).await;
            assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}");
        }
        let killed = FakeDisk::with(disk.content());
        killed.refuse(errno);
        let (started, loaded) = open_on(dir.path(), &killed).await;
        assert_eq!(only(loaded).1, records(&[record("a", 5, Some("1"))]));
        assert_eq!(started.metrics().writable.get(), 0);
        disk.make_room();
        keep(&store, change()).await;
        let (_store, loaded) = open_on(dir.path(), &FakeDisk::with(disk.content())).await;
        assert_eq!(only(loaded).1, records(&[record("a", 5, Some("1")), record("b", 6, Some("1"))]));
    }
}

#[tokio::test]
async fn a_store_that_could_not_be_opened_is_replaced_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    keep(&store, whole("sandbox", 3, &[record("old", 3, Some("1"))])).await;
    close(store).await;
    // The key is not there yet: no reason to give the store up.
    let key = crate::StoreKey::Secret(dir.path().join("mounted"));
    let late = || StoreOptions { key: key.clone(), ..options(dir.path()) };
    let (store, loaded) = Store::open(late()).await.unwrap();
    assert_eq!(loaded, Loaded::default());
    let content = || whole("production", 5, &[record("a", 5, Some("1"))]);
    let outcome = store.commit(content(), UnkeptNotes::default()).await;
    assert!(matches!(&outcome, Err(CommitError::Unavailable(why)) if why.contains("mounted")), "{outcome:?}");
    std::fs::copy(dir.path().join("store-key"), dir.path().join("mounted")).unwrap();
    keep(&store, content()).await;
    close(store).await;
    // Content that was not restored cannot come back beside something newer, but it is not lost.
    let (store, loaded) = Store::open(late()).await.unwrap();
    assert_eq!(only(loaded).0.scope, scope("production"));
    close(store).await;
    let entries = std::fs::read_dir(late().dir).unwrap().map(|entry| entry.unwrap().path());
    let is_unseen =
        |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("unseen-");
    let unseen = entries.into_iter().find(is_unseen).expect("it is kept aside");
    std::fs::rename(unseen, late().dir.join("store.redb")).unwrap();
    assert_eq!(only(Store::open(late()).await.unwrap().1).0.scope, scope("sandbox"));
}

/// A disk whose reading panics.
struct Deadly;

impl crate::tables::Medium for Deadly {
    fn open(&self, _: &Path) -> Result<redb::Database, redb::Error> {
        Err(redb::Error::Io(std::io::ErrorKind::StorageFull.into()))
    }

    fn read(&self, _: &Path) -> std::io::Result<Vec<u8>> {
        panic!("a fault in what is not guarded")
    }
}

#[tokio::test]
async fn the_end_of_the_thread_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open_on(options(dir.path()), Box::new(Deadly)).await.unwrap();
    assert_eq!(loaded, Loaded::default(), "the node goes on without");
    let outcome = store.commit(Transaction::default(), UnkeptNotes::default()).await;
    assert!(matches!(&outcome, Err(CommitError::Unavailable(why)) if why.contains("thread")), "{outcome:?}");
    while store.metrics().failures.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!store.is_writable());
}
