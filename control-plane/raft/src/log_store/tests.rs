//! The log on disk: what survives closing, and what a crash may leave.

mod witnessed;

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt as _, path::Path};

use bytes::Bytes;
use hanse_proto::raft::{self, ControlNode};
use hanse_state::Version;
use openraft::{
    CommittedLeaderId, EntryPayload, RaftLogReader,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use prost::Message as _;

use super::{
    disk::Disk,
    files::delete_torn_snapshots,
    records,
    witness::{self, Witness},
    *,
};
use crate::{batch::Batch, type_config::Membership};

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(index: u64, bytes: usize) -> Entry {
    let batch = Batch::from_encoded(Bytes::from(vec![index as u8; bytes]));
    Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(batch) }
}

fn entries(range: std::ops::Range<u64>, bytes: usize) -> Vec<Entry> {
    range.map(|index| entry(index, bytes)).collect()
}

/// Every key of the log in a closed database.
fn raw(dir: &Path) -> sled::Db {
    sled::Config::new().path(dir).segment_size(records::SEGMENT_BYTES).open().unwrap()
}

async fn state(store: &mut LogStore) -> (Option<LogId>, Option<LogId>) {
    let state = store.get_log_state().await.unwrap();
    (state.last_purged_log_id, state.last_log_id)
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let membership = Membership::new(
        vec![[1].into()],
        BTreeMap::from([(1, ControlNode { id: 1, name: "cp-1".to_owned(), ..ControlNode::default() })]),
    );
    let written = [
        Entry { log_id: log_id(1, 0), payload: EntryPayload::Membership(membership) },
        Entry { log_id: log_id(1, 1), payload: EntryPayload::Blank },
        entry(2, 10),
        entry(3, 8 << 20), // the largest command: 137 records
        entry(4, records::MAX_PART_BYTES),
    ];
    {
        let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
        store.save_vote(&Vote::new_committed(1, 2)).await.unwrap();
        store.blocking_append(written.clone()).await.unwrap();
        store.save_committed(Some(log_id(1, 3))).await.unwrap();
        store.close().await;
    }
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new_committed(1, 2)));
    assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 3)));
    assert_eq!(state(&mut store).await, (None, Some(log_id(1, 4))));
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), written);
    assert_eq!(store.try_get_log_entries(3..=3).await.unwrap(), written[3..4]);

    store.truncate(log_id(1, 3)).await.unwrap();
    store.purge(log_id(1, 0)).await.unwrap();
    assert_eq!(state(&mut store).await, (Some(log_id(1, 0)), Some(log_id(1, 2))));
    store.close().await;
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    assert_eq!(state(&mut store).await, (Some(log_id(1, 0)), Some(log_id(1, 2))));
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), written[1..3]);
    store.close().await;
}

#[tokio::test]
async fn reads_are_limited_in_bytes_from_memory_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    store.blocking_append(entries(0..12, 300_000)).await.unwrap();
    for _ in 0..2 {
        let read = store.limited_get_log_entries(2, 12).await.unwrap();
        assert_eq!(read, entries(2..5, 300_000));
        let one = store.limited_get_log_entries(11, 12).await.unwrap();
        assert_eq!(one, entries(11..12, 300_000));
        store.close().await;
        store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    }
}

fn sled_snapshots(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("snap.")).collect()
}

#[tokio::test]
async fn a_torn_snapshot_of_sled_is_deleted_and_a_finished_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    for start in [0, 3] {
        let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
        store.blocking_append(entries(start..start + 3, 10)).await.unwrap();
        store.close().await;
    }
    let finished = sled_snapshots(&log);
    assert_eq!(finished.len(), 1, "{finished:?}");
    let content = fs::read(log.join(&finished[0])).unwrap();
    // Newer than the finished one, and cut off.
    let torn = format!("snap.{:016X}.generating", u64::MAX);
    fs::write(log.join(&torn), &content[..content.len() / 2]).unwrap();
    delete_torn_snapshots(&log).unwrap();
    assert_eq!(sled_snapshots(&log), finished);
    fs::write(log.join(&torn), b"torn").unwrap();
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries(0..6, 10));
    store.close().await;
}

#[tokio::test]
async fn a_finished_snapshot_that_cannot_be_read_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    store.blocking_append(entries(0..3, 10)).await.unwrap();
    store.close().await;
    fs::write(dir.path().join("log/snap.0000000000002000"), b"not what sled wrote").unwrap();
    assert_damaged(dir.path(), "cannot be read");
}

fn assert_damaged(dir: &Path, figures: &str) {
    let error = LogStore::open(&LogPlace::new(dir, 1)).map(|_| ()).unwrap_err();
    assert!(matches!(error, LogError::Damaged(_)), "{error}");
    assert!(error.to_string().contains(figures), "{error}");
}

fn copy_dir(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// Wherever a byte of the database changes, the log either has all it had or is damaged, and nothing panics.
#[tokio::test]
async fn changed_bytes_lose_nothing_silently() {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace::new(dir.path(), 1);
    let mut store = LogStore::open(&place).unwrap();
    for index in 0..40 {
        store.blocking_append(vec![entry(index, 500)]).await.unwrap();
    }
    store.save_vote(&Vote::new(3, 2)).await.unwrap();
    store.close().await;
    let whole = dir.path().join("whole");
    copy_dir(&place.dir, &whole);
    let length = fs::metadata(whole.join("db")).unwrap().len();
    let used = length.min(48 << 10);
    let mut damaged = 0;
    for at in (0..used).step_by(997) {
        copy_dir(&whole, &place.dir);
        let file = fs::OpenOptions::new().read(true).write(true).open(place.dir.join("db")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
        match LogStore::open(&place) {
            Ok(mut store) => {
                assert_eq!(store.try_get_log_entries(..).await.unwrap().len(), 40, "byte {at}");
                store.close().await;
            }
            Err(error) => {
                assert!(matches!(error, LogError::Damaged(_)), "byte {at}: {error}");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 10, "{damaged} of {} changes were found", used / 997);
}

#[tokio::test]
async fn an_entry_that_was_not_written_whole_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    store.blocking_append(entries(0..2, 200_000)).await.unwrap();
    store.close().await;
    // What a crash leaves in the middle of an append.
    let encoded = crate::wire::entry_to_proto(&entry(2, 200_000)).encode_to_vec();
    let log = raw(&dir.path().join("log"));
    for (part, record) in (0..3).zip(records::split(&encoded)) {
        log.insert(records::key(2, part), record).unwrap();
    }
    drop(log);
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    assert_eq!(state(&mut store).await, (None, Some(log_id(1, 1))));
    store.blocking_append(entries(2..3, 10)).await.unwrap();
    store.close().await;
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    assert_eq!(store.try_get_log_entries(2..).await.unwrap(), entries(2..3, 10));
    store.close().await;
}

/// What a file of a database holds, sled's own bookkeeping left out.
fn records_of(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    raw(dir).iter().map(|record| record.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

#[tokio::test]
async fn a_log_in_a_later_form_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace { is_member: true, ..LogPlace::new(dir.path(), 1) };
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    store.blocking_append(entries(0..2, 10)).await.unwrap();
    store.close().await;
    // A later release has written over it in a form of its own: here nothing but the form can be read.
    let form = raft::LogForm { version: Version::KNOWN.number() + 1, release: "9.8.0".to_owned() };
    let log = raw(&place.dir);
    log.insert(records::FORM, form.encode_to_vec()).unwrap();
    log.insert(records::VOTE, b"no vote").unwrap();
    log.insert(records::key(1, 0), b"no entry").unwrap();
    drop(log);
    let before = records_of(&place.dir);
    let error = LogStore::open(&place).map(|_| ()).unwrap_err();
    assert!(matches!(&error, LogError::Version(unknown) if unknown.release == "9.8.0"), "{error:?}");
    assert_eq!(records_of(&place.dir), before);

    raw(&place.dir).remove(records::FORM).unwrap().unwrap();
    assert_damaged(dir.path(), "it does not say in which form it is");
}

#[test]
fn a_log_says_from_its_first_record_on_in_which_form_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace::new(dir.path(), 1);
    drop(Disk::open(&place.dir, 1, |_| Ok(())).unwrap());
    let form = raft::LogForm { version: 1, release: "0.1.0".to_owned() };
    assert_eq!(records_of(&place.dir)[0], (records::FORM.to_vec(), form.encode_to_vec()));
    // A crash came before the rest.
    raw(&place.dir).remove(records::OWNER).unwrap().unwrap();
    drop(Disk::open(&place.dir, 1, |_| Ok(())).unwrap());
    assert_eq!(records_of(&place.dir).len(), 2);
}

#[tokio::test]
async fn a_hole_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    store.blocking_append(entries(0..4, 10)).await.unwrap();
    store.close().await;
    raw(&dir.path().join("log")).remove(records::key(2, 0)).unwrap().unwrap();
    let error = LogStore::open(&LogPlace::new(dir.path(), 1)).map(|_| ()).unwrap_err();
    assert!(matches!(error, LogError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("before entry 3"), "{error}");
}

#[test]
fn purged_entries_leave_the_disk_in_small_steps() {
    let dir = tempfile::tempdir().unwrap();
    let keys = |dir: &Path| raw(dir).scan_prefix([records::LOG]).keys().count();
    {
        let mut disk = Disk::open(&dir.path().join("log"), 1, |_| Ok(())).unwrap();
        disk.append(&entries(0..300, 10)).unwrap();
        disk.purge(log_id(1, 249)).unwrap();
        assert!(disk.read(0, 250, usize::MAX).unwrap().is_empty(), "gone at once");
        disk.sweep().unwrap();
        assert!(disk.must_sweep());
    }
    assert!((51..300).contains(&keys(&dir.path().join("log"))), "a step was made");
    let mut disk = Disk::open(&dir.path().join("log"), 1, |_| Ok(())).unwrap();
    assert!(disk.must_sweep(), "the rest is remembered");
    let mut steps = 0;
    while disk.must_sweep() {
        disk.sweep().unwrap();
        steps += 1;
    }
    assert!(steps >= 2);
    assert_eq!(disk.read(0, 999, usize::MAX).unwrap(), entries(250..300, 10));
    drop(disk);
    assert_eq!(keys(&dir.path().join("log")), 50);
}

#[test]
fn purging_beyond_the_end_empties_the_log() {
    let dir = tempfile::tempdir().unwrap();
    for reopened in [false, true] {
        let mut disk = Disk::open(&dir.path().join("log"), 1, |_| Ok(())).unwrap();
        if !reopened {
            disk.append(&entries(0..5, 10)).unwrap();
            disk.purge(log_id(1, 20)).unwrap();
        }
        assert_eq!(disk.summary().last, Some(log_id(1, 20)));
        assert!(disk.read(0, 99, usize::MAX).unwrap().is_empty());
    }
    let mut disk = Disk::open(&dir.path().join("log"), 1, |_| Ok(())).unwrap();
    while disk.must_sweep() {
        disk.sweep().unwrap();
    }
    disk.append(&entries(21..23, 10)).unwrap();
    assert_eq!(disk.read(0, 99, usize::MAX).unwrap(), entries(21..23, 10));
}

#[tokio::test]
async fn another_nodes_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap().close().await;
    let error = LogStore::open(&LogPlace::new(dir.path(), 2)).map(|_| ()).unwrap_err();
    assert!(matches!(error, LogError::Foreign { found: 1, expected: 2 }), "{error}");
}

#[test]
fn a_bloated_file_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let vote = Vote::new(3, 1);
    let before = {
        let mut disk = rebuild::open(&log, 1, u64::MAX, |_| Ok(())).unwrap();
        disk.save_vote(vote).unwrap();
        for index in 0..200 {
            disk.append(&[entry(index, 200_000)]).unwrap();
        }
        disk.purge(log_id(1, 189)).unwrap();
        disk.save_committed(Some(log_id(1, 195))).unwrap();
        while disk.must_sweep() {
            disk.sweep().unwrap();
        }
        disk.sizes().unwrap().0
    };
    assert!(before > 32 << 20, "{before} bytes");
    // A crash while copying, then one when the copy was complete and the old file half deleted.
    fs::create_dir(dir.path().join("log.rebuilding")).unwrap();
    fs::write(dir.path().join("log.rebuilding/db"), b"half").unwrap();
    let check = |disk: &Disk| {
        let summary = disk.summary();
        assert_eq!(summary.vote, Some(vote));
        assert_eq!(summary.committed, Some(log_id(1, 195)));
        assert_eq!((summary.purged, summary.last), (Some(log_id(1, 189)), Some(log_id(1, 199))));
        assert_eq!(disk.read(0, 999, usize::MAX).unwrap(), entries(190..200, 200_000));
    };
    let disk = rebuild::open(&log, 1, 1, |_| Ok(())).unwrap();
    check(&disk);
    assert!(disk.sizes().unwrap().0 < before / 2, "{} of {before} bytes", disk.sizes().unwrap().0);
    drop(disk);
    fs::rename(&log, dir.path().join("log.rebuilt")).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(log.join("conf"), b"half deleted").unwrap();
    check(&rebuild::open(&log, 1, u64::MAX, |_| Ok(())).unwrap());
}

#[test]
fn the_sweep_skips_what_was_never_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(&dir.path().join("log"), 1, |_| Ok(())).unwrap();
    disk.append(&entries(0..5, 10)).unwrap();
    // A snapshot that reaches far beyond the log was installed.
    disk.purge(log_id(1, 50_000_000)).unwrap();
    let mut steps = 0;
    while disk.must_sweep() {
        disk.sweep().unwrap();
        steps += 1;
    }
    assert!(steps <= 2, "{steps} steps");
    disk.append(&entries(50_000_001..50_000_003, 10)).unwrap();
    assert_eq!(disk.read(0, u64::MAX, usize::MAX).unwrap(), entries(50_000_001..50_000_003, 10));
    drop(disk);
    assert_eq!(raw(&dir.path().join("log")).scan_prefix([records::LOG]).keys().count(), 2);
}

/// The last commit mark is in the file a moment later, without anything being appended: a process that is killed leaves
/// what the copy holds.
#[tokio::test]
async fn the_last_commit_mark_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    store.blocking_append(entries(0..3, 10)).await.unwrap();
    store.save_committed(Some(log_id(1, 2))).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    for attempt in 0.. {
        let copy = dir.path().join(format!("copy-{attempt}"));
        fs::create_dir(&copy).unwrap();
        for file in ["conf", "db"] {
            fs::copy(log.join(file), copy.join(file)).unwrap();
        }
        let disk = Disk::open(&copy, 1, |_| Ok(())).unwrap();
        assert_eq!(disk.summary().last, Some(log_id(1, 2)));
        if disk.summary().committed == Some(log_id(1, 2)) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the mark is only in memory");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store.close().await;
}
