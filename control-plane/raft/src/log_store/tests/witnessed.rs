//! What a log's witness holds the log to.

use super::*;

/// The log is put back from copies made earlier in its life, and deleted; its witness stays where it is.
#[tokio::test]
async fn a_log_that_comes_back_with_less_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut copies = Vec::new();
    for step in 0..4 {
        let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
        match step {
            0 => store.blocking_append(entries(0..30, 10)).await.unwrap(),
            1 => store.blocking_append(entries(30..32, 10)).await.unwrap(),
            2 => store.purge(log_id(1, 20)).await.unwrap(),
            _ => store.save_vote(&Vote::new(4, 9)).await.unwrap(),
        }
        store.close().await;
        copies.push(dir.path().join(format!("copy-{step}")));
        copy_dir(&log, &copies[step]);
    }
    let witness = fs::read(dir.path().join("raft.witness")).unwrap();
    let figures = [
        "its last entry is 29, and was at least 31",
        "its last purged entry is none, and was 20",
        "it holds no vote, and held a vote for node 9 in term 4",
    ];
    for (copy, figures) in copies.iter().zip(figures) {
        copy_dir(copy, &log);
        for _ in 0..2 {
            assert_damaged(dir.path(), figures);
        }
    }
    fs::remove_dir_all(&log).unwrap();
    for _ in 0..2 {
        assert_damaged(dir.path(), "it is nobody's log, and was node 1's");
    }
    assert_eq!(fs::read(dir.path().join("raft.witness")).unwrap(), witness, "it stays as it was");
    copy_dir(&copies[3], &log);
    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries(21..32, 10));
    store.close().await;
}

/// Entries that another leader's took the place of come back, as many as there were.
#[tokio::test]
async fn a_log_that_comes_back_with_replaced_entries_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace::new(dir.path(), 1);
    let mut store = LogStore::open(&place).unwrap();
    store.blocking_append(entries(0..30, 10)).await.unwrap();
    store.close().await;
    let before = dir.path().join("before");
    copy_dir(&place.dir, &before);

    let mut store = LogStore::open(&place).unwrap();
    store.truncate(log_id(1, 25)).await.unwrap();
    let of_another = |index| Entry { log_id: log_id(2, index), ..entry(index, 10) };
    store.blocking_append((25..28).map(of_another)).await.unwrap();
    store.close().await;
    copy_dir(&before, &place.dir);
    assert_damaged(dir.path(), &format!("its entry 27 is {}, and was {}", log_id(1, 27), log_id(2, 27)));
}

#[tokio::test]
async fn a_member_whose_log_is_empty_has_lost_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace { is_member: true, ..LogPlace::new(dir.path(), 1) };
    let error = LogStore::open(&place).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("it is empty, and node 1 is a member already"), "{error}");
    assert!(!place.witness.exists());

    let mut store = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
    store.blocking_append(entries(0..1, 10)).await.unwrap();
    store.close().await;
    LogStore::open(&place).unwrap().close().await;
}

#[tokio::test]
async fn a_log_of_an_older_version_gets_a_witness() {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace { is_member: true, ..LogPlace::new(dir.path(), 1) };
    {
        let mut disk = Disk::open(&place.dir, 1, |_| Ok(())).unwrap();
        disk.append(&entries(0..9, 10)).unwrap();
        disk.save_vote(Vote::new(2, 1)).unwrap();
    }
    LogStore::open(&place).unwrap().close().await;
    let witness = witness::read(&place.witness).unwrap().unwrap();
    assert_eq!(witness, Witness { owner: 1, vote: Some((2, 1)), purged: None, last: Some(log_id(1, 8)) });
}

/// The synced end follows the log while nothing is asked of it, and at once where the log runs ahead; votes and purges are
/// synced before they are acknowledged, and a truncation takes the end back before it is made.
#[tokio::test]
async fn the_witness_keeps_up_with_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace::new(dir.path(), 1);
    let synced = || {
        // What is on the medium for certain: without the mark.
        let mut bytes = fs::read(&place.witness).unwrap();
        let mark = usize::try_from(witness::MARK_AT).unwrap();
        bytes[mark..mark + witness::MARK_BYTES].fill(0);
        fs::write(dir.path().join("synced"), bytes).unwrap();
        witness::read(&dir.path().join("synced")).unwrap().unwrap()
    };
    let mut store = LogStore::open(&place).unwrap();
    store.blocking_append(entries(0..3, 10)).await.unwrap();
    assert_eq!(witness::read(&place.witness).unwrap().unwrap().last, Some(log_id(1, 2)), "the mark");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while synced().last != Some(log_id(1, 2)) {
        assert!(std::time::Instant::now() < deadline, "{:?}", synced());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for index in 3..600 {
        store.blocking_append(vec![entry(index, 10)]).await.unwrap();
    }
    assert!(synced().last >= Some(log_id(1, 599 - 256)), "{:?}", synced());

    store.save_vote(&Vote::new(3, 2)).await.unwrap();
    assert_eq!(synced().vote, Some((3, 2)));
    store.save_vote(&Vote::new_committed(3, 2)).await.unwrap();
    store.purge(log_id(1, 99)).await.unwrap();
    assert_eq!((synced().purged, synced().last), (Some(99), Some(log_id(1, 599))));

    store.truncate(log_id(1, 400)).await.unwrap();
    let lowered = witness::read(&place.witness).unwrap().unwrap();
    assert_eq!((synced().last, lowered.last), (Some(log_id(1, 399)), Some(log_id(1, 399))));
    store.blocking_append(entries(400..410, 10)).await.unwrap();
    store.close().await;
    assert_eq!(synced().last, Some(log_id(1, 409)));
    let mut store = LogStore::open(&place).unwrap();
    assert_eq!(state(&mut store).await, (Some(log_id(1, 99)), Some(log_id(1, 409))));
    store.close().await;
}
