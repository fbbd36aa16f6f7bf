//! The store on real files and on a disk that can be looked into, filled and cut off.

mod damage;
mod disk;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    CommitError, KeyNote, Loaded, Noted, Records, Store, StoreOptions, StoredRecord, StoredScope,
    Transaction, UnkeptNotes,
    testbed::{changed, head, options, record, scope, usable, whole, write},
};

/// Records by key: revision and value.
type ByKey = BTreeMap<Arc<str>, (u64, Option<Bytes>)>;

/// Opens, or waits until the store before has closed.
async fn open(dir: &Path) -> (Store, Loaded) {
    Store::open(options(dir)).await.unwrap()
}

/// Waits until the file is closed.
async fn close(store: Store) {
    let shared = store.into_shared();
    let began = std::time::Instant::now();
    while Arc::strong_count(&shared) > 1 {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "the thread ends");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

async fn keep(store: &Store, content: Transaction) {
    store.commit(content, store.unkept_notes()).await.unwrap();
}

/// The only scope, its records by key.
fn only(loaded: Loaded) -> (StoredScope, ByKey) {
    assert!(loaded.lost.is_empty());
    let [scope] = <[StoredScope; 1]>::try_from(loaded.scopes).unwrap();
    let records = scope.records.iter();
    let records =
        records.map(|record| (record.key.clone(), (record.revision, record.value.clone()))).collect();
    (scope, records)
}

fn records(expected: &[StoredRecord]) -> ByKey {
    expected.iter().map(|record| (record.key.clone(), (record.revision, record.value.clone()))).collect()
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = open(dir.path()).await;
    assert_eq!(loaded, Loaded::default());
    keep(&store, whole("production", 5, &[record("a", 4, Some("1")), record("b", 5, Some(""))])).await;
    keep(&store, changed("production", 7, &[record("b", 6, None), record("c", 7, Some("3"))])).await;
    store.set_fact("offer", Some("x".into()));
    let none = Noted { revision: 0, value: None };
    let usables = [("a".into(), usable("good")), ("b".into(), none)];
    store.set_key_notes(KeyNote::Usable, &scope("production"), usables.clone());
    keep(&store, changed("production", 9, &[])).await;
    assert!(store.unkept_notes().is_empty());
    close(store).await;

    let (store, loaded) = open(dir.path()).await;
    let (kept, of_scope) = only(loaded);
    assert_eq!((kept.scope, kept.head), (scope("production"), head(1, 9)));
    let expected = [record("a", 4, Some("1")), record("b", 6, None), record("c", 7, Some("3"))];
    assert_eq!(of_scope, records(&expected));
    assert_eq!(store.fact("offer"), Some("x".into()));
    let expected = BTreeMap::from(usables);
    assert_eq!(
        store.key_notes(KeyNote::Usable, &scope("production")),
        expected,
        "that there is none is kept too"
    );

    // A whole scope replaces what was there; a dropped one leaves nothing, notes of its keys neither.
    keep(&store, whole("production", 12, &[record("z", 12, Some("1"))])).await;
    keep(&store, whole("sandbox", 12, &[record("z", 12, Some("2"))])).await;
    store.set_fact("offer", None);
    keep(&store, Transaction { writes: Vec::new(), drops: vec![scope("production")] }).await;
    close(store).await;
    let (store, loaded) = open(dir.path()).await;
    let (kept, of_scope) = only(loaded);
    assert_eq!((kept.scope, of_scope), (scope("sandbox"), records(&[record("z", 12, Some("2"))])));
    assert_eq!(store.fact("offer"), None);
    assert!(store.key_notes(KeyNote::Usable, &scope("production")).is_empty());
}

#[tokio::test]
async fn nothing_secret_is_on_the_disk_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    store.set_fact("fact", Some("a very secret fact".into()));
    store.set_key_notes(KeyNote::Usable, &scope("e"), [("k".into(), usable("a very secret version"))]);
    keep(&store, whole("e", 1, &[record("route/default/a", 1, Some("a very secret digest"))])).await;
    close(store).await;
    let bytes = std::fs::read(options(dir.path()).dir.join("store.redb")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("route/default/a"), "names are no secrets, and this looks at the right file");
    assert!(!holds("very secret"));
    let key = std::fs::read_to_string(dir.path().join("store-key")).unwrap();
    assert!(!holds(&String::from_utf8_lossy(&hex::decode(key.trim()).unwrap())));
}

#[tokio::test]
async fn two_processes_do_not_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    let error = Store::open(options(dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    close(store).await;
    open(dir.path()).await;
}

#[tokio::test]
async fn removals_that_lead_nobody_anywhere_are_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    keep(&store, whole("e", 9, &[record("a", 3, None), record("b", 8, None), record("c", 2, Some("1"))]))
        .await;
    close(store).await;
    let (store, _) = open(dir.path()).await;
    let mut raised = head(1, 10);
    raised.floor = 5;
    keep(&store, write("e", raised, Records::Changed(Vec::new()))).await;
    close(store).await;
    let (_, of_scope) = only(open(dir.path()).await.1);
    assert_eq!(of_scope, records(&[record("b", 8, None), record("c", 2, Some("1"))]));
}

#[tokio::test]
async fn a_note_that_changes_while_it_is_written_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    store.set_fact("a", Some("1".into()));
    let unkept = store.unkept_notes();
    store.set_fact("a", Some("2".into()));
    store.commit(Transaction::default(), unkept).await.unwrap();
    assert!(!store.unkept_notes().is_empty());
    store.commit(Transaction::default(), store.unkept_notes()).await.unwrap();
    assert!(store.unkept_notes().is_empty());
    close(store).await;
    assert_eq!(open(dir.path()).await.0.fact("a"), Some("2".into()));
}
