//! One voter: what a restart keeps.

use std::fs;

use hanse_management::ProblemName;
use hanse_raft::Compaction;
use hanse_state::{
    Outcome,
    port::{Consistency, Replicated},
};

use crate::harness::{World, begin_lineage, count, files, put, until};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("org-{number}")).collect()
}

/// Writes, restarts and reads again, before any quorum could tell this node what was committed.
async fn check_restart(compaction: Compaction, organizations: usize) -> Vec<String> {
    let mut world = World::new();
    world.compaction = compaction;
    let organizations = names(organizations);
    let node = world.start(1).await;
    assert!(!node.group.is_initialized());
    node.group.bootstrap().await.unwrap();
    node.group.bootstrap().await.unwrap();
    assert!(node.group.is_initialized() && node.group.is_voter());
    node.write(begin_lineage()).await.unwrap();
    for organization in &organizations {
        node.accepted(organization).await;
    }
    let before = node.group.current();
    let snapshots = world.data_dir(1).join("raft/snapshots");
    if compaction.snapshot_after < organizations.len() as u64 {
        until("a snapshot is written", || files(&snapshots) == ["state.snapshot"]).await;
    }
    let written = files(&snapshots);
    let stopped = node.stop().await;
    fs::write(snapshots.join("7.tmp"), b"HANSESN1 torn").unwrap();

    let node = world.restart(stopped).await;
    let after = node.group.current();
    assert_eq!(after.revision(), before.revision());
    assert_eq!(after.lineage(), before.lineage());
    assert_eq!(count(&after, &organizations), organizations.len());
    assert!(node.group.is_initialized());
    assert!(!files(&snapshots).contains(&"7.tmp".to_owned()));
    node.accepted("afterwards").await;
    let read = node.read(Consistency::Linearizable).await.unwrap();
    assert_eq!(read.revision(), before.revision() + 1);
    node.stop().await;
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_alone_brings_the_state_back() {
    let snapshots = check_restart(Compaction::default(), 12).await;
    assert!(snapshots.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_and_log_bring_the_state_back() {
    let snapshots = check_restart(Compaction { snapshot_after: 10, keep: 2 }, 25).await;
    assert_eq!(snapshots, ["state.snapshot"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_replaced_from_the_log_or_refused() {
    let mut world = World::new();
    world.compaction = Compaction { snapshot_after: 5, keep: 1_000 };
    let node = world.start(1).await;
    node.group.bootstrap().await.unwrap();
    node.write(begin_lineage()).await.unwrap();
    let organizations = names(12);
    for organization in &organizations {
        node.accepted(organization).await;
    }
    let snapshot = world.data_dir(1).join("raft/snapshots/state.snapshot");
    until("a snapshot is written", || snapshot.exists()).await;
    let stopped = node.stop().await;
    let mut bytes = fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    let node = world.restart(stopped).await;
    assert_eq!(count(&node.group.current(), &organizations), organizations.len());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writes_that_rest_on_one_revision_one_wins() {
    let world = World::new();
    let node = world.start(1).await;
    node.group.bootstrap().await.unwrap();
    node.write(begin_lineage()).await.unwrap();
    let first = node.accepted("acme").await.revision;
    // All rest on the same revision. That this holds within one batch too is shown beside the state machine.
    let both = tokio::join!(
        node.write(put("acme", "a", Some(first))),
        node.write(put("acme", "b", Some(first))),
        node.write(put("acme", "c", Some(first))),
    );
    let outcomes = [both.0.unwrap(), both.1.unwrap(), both.2.unwrap()];
    let accepted: Vec<_> = outcomes
        .iter()
        .filter_map(|o| if let Outcome::Accepted(a) = o { Some(a.revision) } else { None })
        .collect();
    assert_eq!(accepted, [first + 1], "{outcomes:?}");
    let stale =
        outcomes.iter().filter(|o| matches!(o, Outcome::Rejected(p) if p.name == ProblemName::Stale)).count();
    assert_eq!(stale, 2, "{outcomes:?}");
    node.stop().await;
}
