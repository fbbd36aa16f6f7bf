//! Files that are not what was written: never the end of the process, and never taken for the truth.

use std::{fs, path::PathBuf};

use super::*;
use crate::{StoreKey, metrics::Damaged};

fn file(dir: &Path) -> PathBuf {
    options(dir).dir.join("store.redb")
}

fn damaged_files(dir: &Path) -> usize {
    let entries = fs::read_dir(options(dir).dir).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-")).count()
}

fn keyless_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(options(dir).dir).unwrap().flatten();
    let keyless = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("keyless-"));
    let mut files: Vec<_> = keyless.map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn lost(store: &Store, what: &'static str) -> u64 {
    store.metrics().damaged.get_or_create(&Damaged { what }).get()
}

/// What every file here holds.
fn content() -> Vec<StoredRecord> {
    (0..200)
        .map(|n| record(&format!("route/default/{n:03}"), 5, Some(&format!("value {n}").repeat(20))))
        .collect()
}

/// A closed store with content in it.
async fn made(dir: &Path) {
    let (store, _) = open(dir).await;
    store.set_fact("offer", Some("x".into()));
    keep(&store, whole("production", 5, &content())).await;
    keep(&store, whole("sandbox", 5, &content())).await;
    close(store).await;
}

/// Opening finds nothing, says so, keeps the file, and the store works.
async fn starts_over(dir: &Path, options: StoreOptions, why: &str) {
    let before = damaged_files(dir);
    let (store, loaded) = Store::open(options).await.unwrap();
    assert!(loaded == Loaded::default(), "{why}: {} scopes", loaded.scopes.len());
    assert_eq!((lost(&store, "file"), damaged_files(dir)), (1, before + 1), "{why}");
    assert_eq!(store.fact("offer"), None);
    keep(&store, whole("production", 7, &[record("a", 7, Some("1"))])).await;
    close(store).await;
}

#[tokio::test]
async fn a_truncated_file_is_moved_aside() {
    for keep_bytes in [0.0_f64, 0.00001, 0.2, 0.5, 0.9] {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path()).await;
        let length = fs::metadata(file(dir.path())).unwrap().len();
        let kept = (length as f64 * keep_bytes) as u64;
        fs::OpenOptions::new().write(true).open(file(dir.path())).unwrap().set_len(kept).unwrap();
        if kept == 0 {
            // Nothing at all is no damage that a database could tell from a new file.
            assert_eq!(open(dir.path()).await.1, Loaded::default());
            continue;
        }
        starts_over(dir.path(), options(dir.path()), &format!("{kept} of {length} bytes")).await;
        let (kept, _) = only(open(dir.path()).await.1);
        assert_eq!(kept.scope, scope("production"));
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_moved_aside() {
    for garbage in [vec![0; 100_000], b"not a database".repeat(1_000), vec![255; 3]] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(options(dir.path()).dir).unwrap();
        options(dir.path()).key.load_or_make().unwrap();
        fs::write(file(dir.path()), garbage).unwrap();
        starts_over(dir.path(), options(dir.path()), "garbage").await;
    }
}

#[tokio::test]
async fn another_nodes_store_or_one_of_another_key_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let other = StoreOptions { node: "gateway-2".to_owned(), ..options(dir.path()) };
    starts_over(dir.path(), other, "another node's").await;

    // Of many only the newest are kept.
    for n in 0..5_u8 {
        fs::write(dir.path().join("secret"), [n; 32]).unwrap();
        let key = StoreKey::Secret(dir.path().join("secret"));
        close(Store::open(StoreOptions { key, ..options(dir.path()) }).await.unwrap().0).await;
    }
    assert_eq!(damaged_files(dir.path()), 3);
}

/// The volume with the key is mounted a moment after the process starts.
#[tokio::test]
async fn a_key_that_comes_late_is_waited_for_and_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let (key, elsewhere) = (dir.path().join("store-key"), dir.path().join("elsewhere"));
    fs::rename(&key, &elsewhere).unwrap();
    let opening = tokio::spawn(Store::open(options(dir.path())));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await; // for what must not happen
    assert!(!key.exists() && !opening.is_finished());
    fs::rename(&elsewhere, &key).unwrap();
    let (store, loaded) = opening.await.unwrap().unwrap();
    assert_eq!(loaded.scopes.len(), 2);
    assert_eq!((lost(&store, "file"), damaged_files(dir.path())), (0, 0));
}

#[tokio::test]
async fn a_store_whose_key_is_lost_is_kept_aside_and_may_be_put_back() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let (key, elsewhere) = (dir.path().join("store-key"), dir.path().join("elsewhere"));
    fs::rename(&key, &elsewhere).unwrap();
    let (store, loaded) = open(dir.path()).await;
    assert!(loaded == Loaded::default(), "nothing opens it");
    assert_eq!((lost(&store, "file"), damaged_files(dir.path())), (1, 0));
    assert!(store.is_writable() && key.exists(), "it goes on with a new key");
    keep(&store, whole("staging", 7, &[record("a", 7, Some("1"))])).await;
    close(store).await;
    assert_eq!(only(open(dir.path()).await.1).0.scope, scope("staging"));

    let [aside] = <[_; 1]>::try_from(keyless_files(dir.path())).expect("it is kept");
    fs::rename(aside, file(dir.path())).unwrap();
    fs::rename(&elsewhere, &key).unwrap();
    assert_eq!(open(dir.path()).await.1.scopes.len(), 2);
}

/// The key of a control node seals more than the store.
#[tokio::test]
async fn a_store_that_makes_no_key_waits_for_the_one_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let keyless = || StoreOptions { makes_key: false, ..options(dir.path()) };
    let (store, _) = Store::open(keyless()).await.unwrap();
    assert!(
        !store.is_writable() && !dir.path().join("store-key").exists(),
        "also where nothing is sealed yet"
    );
    close(store).await;

    made(dir.path()).await;
    let (key, elsewhere) = (dir.path().join("store-key"), dir.path().join("elsewhere"));
    fs::rename(&key, &elsewhere).unwrap();
    let (store, loaded) = Store::open(keyless()).await.unwrap();
    assert!(loaded == Loaded::default() && !store.is_writable());
    assert!(!key.exists() && keyless_files(dir.path()).is_empty(), "it makes no key and moves nothing");
    close(store).await;
    fs::rename(&elsewhere, &key).unwrap();
    assert_eq!(Store::open(keyless()).await.unwrap().1.scopes.len(), 2);
}

/// As of a container that keeps its data and not its key.
#[test]
fn of_many_stores_without_a_key_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let StoreOptions { dir: store, node, key, makes_key } = options(dir.path());
    fs::create_dir_all(&store).unwrap();
    let (medium, metrics) = (Box::new(crate::file::Disk), crate::StoreMetrics::default());
    let lost = crate::file::StoreFile { dir: store, node, key, makes_key, medium, metrics };
    for content in 0..5_u8 {
        fs::write(file(dir.path()), [content]).unwrap();
        lost.move_keyless_aside("a test").unwrap();
    }
    let kept: Vec<_> = keyless_files(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(kept, [[2], [3], [4]]);
}

/// Copies a raw record of one table to another place in it.
fn copy(dir: &Path, table: &str, from: (&str, &str), to: (&str, &str)) {
    use redb::{ReadableTable as _, TableDefinition};
    let table = TableDefinition::<'_, (&str, &str), &[u8]>::new(table);
    let database = redb::Database::open(file(dir)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(table).unwrap();
        let value = table.get(from).unwrap().expect("it is there").value().to_vec();
        table.insert(to, value.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_record_that_was_moved_spoils_its_scope_and_no_other() {
    let (production, sandbox) = ("runtime/eu-west/production", "runtime/eu-west/sandbox");
    let key = "route/default/007";
    for (from, to) in [
        ((sandbox, key), (production, key)),
        ((production, "route/default/008"), (production, key)),
        ((production, key), (production, "route/default/999")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path()).await;
        copy(dir.path(), "records", from, to);
        let (store, loaded) = open(dir.path()).await;
        assert!(!loaded.lost.is_empty());
        assert_eq!((lost(&store, "file"), lost(&store, "scope")), (0, 1));
        let [kept] = <[StoredScope; 1]>::try_from(loaded.scopes).unwrap();
        assert_eq!(kept.scope, scope("sandbox"), "the other scope is whole");
        assert_eq!(store.fact("offer"), Some("x".into()));
        // The next transaction clears it away.
        keep(&store, Transaction::default()).await;
        close(store).await;
        let (store, loaded) = open(dir.path()).await;
        assert!(loaded.lost.is_empty() && loaded.scopes.len() == 1);
        assert_eq!(lost(&store, "scope"), 0);
    }
}

#[tokio::test]
async fn a_head_of_another_lineage_opens_no_record_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    keep(&store, whole("production", 5, &content())).await;
    // A head alone moves to a later lineage: what a replayed record would meet.
    keep(&store, write("production", head(2, 5), Records::Changed(Vec::new()))).await;
    close(store).await;
    let (_, loaded) = open(dir.path()).await;
    assert!(!loaded.lost.is_empty() && loaded.scopes.is_empty());
}

#[tokio::test]
async fn what_an_earlier_release_did_not_note_is_noted_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    keep(&store, whole("production", 5, &content())).await;
    close(store).await;
    let database = redb::Database::open(file(dir.path())).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<'_, (&str, &str), &[u8]>::new("proven");
    assert!(transaction.delete_table(table).unwrap());
    transaction.commit().unwrap();
    drop(database);

    for expected in [0, 1] {
        let (store, loaded) = open(dir.path()).await;
        only(loaded);
        assert_eq!(store.key_notes(KeyNote::Proven, &scope("production")).len(), expected);
        store.set_key_notes(KeyNote::Proven, &scope("production"), [("a".into(), usable("1"))]);
        keep(&store, Transaction::default()).await;
        close(store).await;
    }
}

#[tokio::test]
async fn a_note_that_was_moved_is_lost_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    store.set_key_notes(KeyNote::Usable, &scope("production"), [("a".into(), usable("1"))]);
    keep(&store, whole("production", 5, &content())).await;
    close(store).await;
    let of = "runtime/eu-west/production";
    copy(dir.path(), "usable", (of, "a"), (of, "b"));
    let (store, loaded) = open(dir.path()).await;
    only(loaded);
    assert_eq!(lost(&store, "note"), 1);
    assert_eq!(
        store.key_notes(KeyNote::Usable, &scope("production")),
        BTreeMap::from([("a".into(), usable("1"))])
    );
    keep(&store, Transaction::default()).await;
    close(store).await;
    assert_eq!(lost(&open(dir.path()).await.0, "note"), 0);
}

#[tokio::test]
async fn a_file_that_ends_the_process_is_tried_three_times() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let attempts = options(dir.path()).dir.join("opening");
    fs::write(&attempts, "2").unwrap();
    let (store, loaded) = open(dir.path()).await;
    assert_eq!((loaded.scopes.len(), attempts.exists()), (2, false), "two kills at the start are no verdict");
    close(store).await;
    fs::write(&attempts, "3").unwrap();
    starts_over(dir.path(), options(dir.path()), "it never came to an end").await;
    assert!(!attempts.exists());
}

/// Any bit may flip: opening comes to an end, and every scope that is given out is exactly what was stored.
#[tokio::test]
async fn flipped_bits_are_never_taken_for_content() {
    let origin = tempfile::tempdir().unwrap();
    made(origin.path()).await;
    let whole = fs::read(file(origin.path())).unwrap();
    let expected = records(&content());
    /// So many places, evenly spread, and as many again in the first pages, where the structure is.
    const PLACES: usize = 40;
    let spread = (0..PLACES).map(|n| n * whole.len() / PLACES + n % 97);
    let first = (0..PLACES).map(|n| n * 8_192 / PLACES);
    let (mut noticed, mut unscathed) = (0, 0);
    for place in spread.chain(first) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(options(dir.path()).dir).unwrap();
        fs::copy(origin.path().join("store-key"), dir.path().join("store-key")).unwrap();
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        fs::write(file(dir.path()), flipped).unwrap();
        let (store, loaded) = open(dir.path()).await;
        if lost(&store, "file") + lost(&store, "scope") > 0 {
            noticed += 1;
        } else {
            unscathed += 1;
            assert_eq!(loaded.scopes.len(), 2, "nothing is missing unseen, byte {place}");
        }
        for kept in loaded.scopes {
            assert_eq!(records(&kept.records), expected, "byte {place}");
        }
        keep(&store, changed("production", 7, &[record("a", 7, Some("1"))])).await;
    }
    assert!(noticed > PLACES / 2 && unscathed > 0, "{noticed} noticed, {unscathed} in free pages");
}

/// As above, of a file whose process was killed: the last transaction may be gone with the damage, but then it is gone whole.
#[tokio::test]
async fn flipped_bits_after_a_kill_give_an_earlier_state_or_none() {
    let origin = tempfile::tempdir().unwrap();
    let (store, _) = open(origin.path()).await;
    keep(&store, whole("production", 5, &content())).await;
    keep(&store, whole("sandbox", 5, &content())).await;
    let whole = fs::read(file(origin.path())).unwrap(); // while it is open
    close(store).await;
    let expected = records(&content());
    const PLACES: usize = 60;
    for place in (0..PLACES).map(|n| n * whole.len() / PLACES + n % 89) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(options(dir.path()).dir).unwrap();
        fs::copy(origin.path().join("store-key"), dir.path().join("store-key")).unwrap();
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        fs::write(file(dir.path()), flipped).unwrap();
        let (_store, loaded) = open(dir.path()).await;
        for kept in &loaded.scopes {
            assert_eq!(records(&kept.records), expected, "byte {place}");
        }
        let names: Vec<_> = loaded.scopes.iter().map(|kept| kept.scope.clone()).collect();
        let states = [vec![], vec![scope("production")], vec![scope("production"), scope("sandbox")]];
        assert!(!loaded.lost.is_empty() || states.contains(&names), "byte {place}: {names:?}");
    }
}
