//! The log on disk: what survives closing, and what a crash may leave.

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use hanse_proto::raft::ControlNode;
use openraft::{
    CommittedLeaderId, EntryPayload, RaftLogReader,
    storage::{RaftLogStorage, RaftLogStorageExt},
};

use super::{disk::Disk, records, *};
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
        entry(3, 500_000), // nine records
        entry(4, records::MAX_PART_BYTES),
    ];
    {
        let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
        store.save_vote(&Vote::new_committed(1, 2)).await.unwrap();
        store.blocking_append(written.clone()).await.unwrap();
        store.save_committed(Some(log_id(1, 3))).await.unwrap();
        store.close().await;
    }
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new_committed(1, 2)));
    assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 3)));
    assert_eq!(state(&mut store).await, (None, Some(log_id(1, 4))));
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), written);
    assert_eq!(store.try_get_log_entries(3..=3).await.unwrap(), written[3..4]);

    store.truncate(log_id(1, 3)).await.unwrap();
    store.purge(log_id(1, 0)).await.unwrap();
    assert_eq!(state(&mut store).await, (Some(log_id(1, 0)), Some(log_id(1, 2))));
    store.close().await;
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    assert_eq!(state(&mut store).await, (Some(log_id(1, 0)), Some(log_id(1, 2))));
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), written[1..3]);
    store.close().await;
}

#[tokio::test]
async fn reads_are_limited_in_bytes_from_memory_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    store.blocking_append(entries(0..12, 300_000)).await.unwrap();
    for _ in 0..2 {
        let read = store.limited_get_log_entries(2, 12).await.unwrap();
        assert_eq!(read, entries(2..5, 300_000));
        let one = store.limited_get_log_entries(11, 12).await.unwrap();
        assert_eq!(one, entries(11..12, 300_000));
        store.close().await;
        store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    }
}

#[tokio::test]
async fn a_torn_snapshot_of_sled_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    store.blocking_append(entries(0..3, 10)).await.unwrap();
    store.close().await;
    fs::write(dir.path().join("log/snap.0000000000001000.generating"), b"torn").unwrap();
    fs::write(dir.path().join("log/snap.0000000000002000"), b"torn too").unwrap();
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries(0..3, 10));
    store.close().await;
}

#[tokio::test]
async fn an_entry_that_was_not_written_whole_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    store.blocking_append(entries(0..3, 200_000)).await.unwrap();
    store.close().await;
    raw(&dir.path().join("log")).remove(records::key(2, 3)).unwrap().unwrap();
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    assert_eq!(state(&mut store).await, (None, Some(log_id(1, 1))));
    store.blocking_append(entries(2..3, 10)).await.unwrap();
    store.close().await;
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    assert_eq!(store.try_get_log_entries(2..).await.unwrap(), entries(2..3, 10));
    store.close().await;
}

#[tokio::test]
async fn a_hole_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(&dir.path().join("log"), 1).unwrap();
    store.blocking_append(entries(0..4, 10)).await.unwrap();
    store.close().await;
    raw(&dir.path().join("log")).remove(records::key(2, 0)).unwrap().unwrap();
    let error = LogStore::open(&dir.path().join("log"), 1).map(|_| ()).unwrap_err();
    assert!(matches!(error, LogError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("before entry 3"), "{error}");
}

#[test]
fn purged_entries_leave_the_disk_in_small_steps() {
    let dir = tempfile::tempdir().unwrap();
    let keys = |dir: &Path| raw(dir).scan_prefix([records::LOG]).keys().count();
    {
        let mut disk = Disk::open(&dir.path().join("log"), 1).unwrap();
        disk.append(&entries(0..300, 10)).unwrap();
        disk.purge(log_id(1, 249)).unwrap();
        assert!(disk.read(0, 250, usize::MAX).unwrap().is_empty(), "gone at once");
        disk.sweep().unwrap();
        assert!(disk.must_sweep());
    }
    assert!((51..300).contains(&keys(&dir.path().join("log"))), "a step was made");
    let mut disk = Disk::open(&dir.path().join("log"), 1).unwrap();
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
        let mut disk = Disk::open(&dir.path().join("log"), 1).unwrap();
        if !reopened {
            disk.append(&entries(0..5, 10)).unwrap();
            disk.purge(log_id(1, 20)).unwrap();
        }
        assert_eq!(disk.summary().last, Some(log_id(1, 20)));
        assert!(disk.read(0, 99, usize::MAX).unwrap().is_empty());
    }
    let mut disk = Disk::open(&dir.path().join("log"), 1).unwrap();
    while disk.must_sweep() {
        disk.sweep().unwrap();
    }
    disk.append(&entries(21..23, 10)).unwrap();
    assert_eq!(disk.read(0, 99, usize::MAX).unwrap(), entries(21..23, 10));
}

#[tokio::test]
async fn another_nodes_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    LogStore::open(dir.path(), 1).unwrap().close().await;
    let error = LogStore::open(dir.path(), 2).map(|_| ()).unwrap_err();
    assert!(matches!(error, LogError::Foreign { found: 1, expected: 2 }), "{error}");
}

#[test]
fn a_bloated_file_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let vote = Vote::new(3, 1);
    let before = {
        let mut disk = rebuild::open(&log, 1, u64::MAX).unwrap();
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
    let disk = rebuild::open(&log, 1, 1).unwrap();
    check(&disk);
    assert!(disk.sizes().unwrap().0 < before / 2, "{} of {before} bytes", disk.sizes().unwrap().0);
    drop(disk);
    fs::rename(&log, dir.path().join("log.rebuilt")).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(log.join("conf"), b"half deleted").unwrap();
    check(&rebuild::open(&log, 1, u64::MAX).unwrap());
}

#[test]
fn the_sweep_skips_what_was_never_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(&dir.path().join("log"), 1).unwrap();
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
    let mut store = LogStore::open(&log, 1).unwrap();
    store.blocking_append(entries(0..3, 10)).await.unwrap();
    store.save_committed(Some(log_id(1, 2))).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    for attempt in 0.. {
        let copy = dir.path().join(format!("copy-{attempt}"));
        fs::create_dir(&copy).unwrap();
        for file in ["conf", "db"] {
            fs::copy(log.join(file), copy.join(file)).unwrap();
        }
        let disk = Disk::open(&copy, 1).unwrap();
        assert_eq!(disk.summary().last, Some(log_id(1, 2)));
        if disk.summary().committed == Some(log_id(1, 2)) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the mark is only in memory");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store.close().await;
}
