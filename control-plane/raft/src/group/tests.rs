//! One replica without a network; in [`restart`], three with one.

mod restart;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_identity::{Authority, ClientTls, Expect, client_tls, install_crypto_provider};
use hanse_management::ProblemName;
use hanse_proto::raft::{self, ControlNode, raft_server};
use hanse_state::{Command, CommandBody, Lineage, Version, port::Replicated};
use hanse_topology::Role;
use openraft::{
    CommittedLeaderId, EntryPayload,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use prometheus_client::encoding::text;
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Duration, timeout},
};

use super::{propose::now_ms, *};
use crate::{
    batch::Batch,
    type_config::{Entry, LogId, Membership, TypeConfig, Vote},
    wire,
};

/// What the replica of a node without a network is opened with.
fn alone() -> (TempDir, RaftOptions, ClientTls) {
    install_crypto_provider();
    let trust = Authority::new_root().unwrap().trust_anchor().unwrap();
    let expect = Expect { roles: vec![Role::Server], region: None };
    let dir = tempfile::tempdir().unwrap();
    let node = ControlNode { id: 1, name: "cp-1".to_owned(), ..ControlNode::default() };
    let options = RaftOptions::new(node, dir.path());
    (dir, options, client_tls(None, &trust, expect).unwrap())
}

async fn first_voter() -> (TempDir, Arc<RaftGroup>) {
    let (dir, options, tls) = alone();
    let group = RaftGroup::open(options, tls).await.unwrap();
    group.bootstrap().await.unwrap();
    (dir, group)
}

fn command() -> Command {
    let body = CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None });
    Command {
        actor: "test".to_owned(),
        request_id: String::new(),
        time_ms: 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body,
    }
}

#[tokio::test]
async fn a_log_that_fails_kills_the_replica() {
    let (_dir, group) = first_voter().await;
    assert!(timeout(Duration::from_millis(50), group.fatal()).await.is_err(), "it lives");
    assert!(timeout(Duration::from_secs(10), group.turns()).await.unwrap());
    group.log.close().await;
    let problem = group.propose(command()).await.unwrap_err();
    assert!([ProblemName::UnknownFate, ProblemName::NoQuorum].contains(&problem.name), "{problem}");
    timeout(Duration::from_secs(10), group.fatal()).await.unwrap();
    assert!(!timeout(Duration::from_secs(10), group.turns()).await.unwrap());
    group.shutdown().await;
}

/// What a replica says of the version that stopped it, within a bound.
async fn unknown_version(opened: Result<Arc<RaftGroup>, GroupError>) -> UnknownVersion {
    match opened {
        Err(error) => {
            assert!(!error.is_damage(), "{error}");
            error.unknown_version().unwrap_or_else(|| panic!("{error}")).clone()
        }
        Ok(group) => {
            timeout(Duration::from_secs(10), group.fatal()).await.unwrap();
            group.shutdown().await;
            group.unknown_version().unwrap()
        }
    }
}

#[tokio::test]
async fn a_version_that_is_not_known_stops_the_replica_and_loses_nothing() {
    let (dir, options, tls) = alone();
    let group = RaftGroup::open(options.clone(), tls.clone()).await.unwrap();
    group.bootstrap().await.unwrap();
    group.propose(command()).await.unwrap();
    let release = "9.8.0".to_owned();
    let body = CommandBody::Finalize { version: Version::KNOWN.number() + 1, release };
    let finalize = Command { body, ..command() };
    let refused = group.propose(finalize.clone()).await.unwrap_err();
    assert_eq!(refused.name, ProblemName::Upgrade, "{refused}");
    assert_eq!(group.unknown_version(), None);

    // A leader of a later release has written it.
    let message = finalize.to_proto();
    group.member.raft.client_write(Batch::new(vec![(finalize, message)])).await.unwrap_err();
    let last = group.member.metrics().last_log_index;
    let unknown = unknown_version(Ok(group)).await;
    assert_eq!(unknown.release, "9.8.0");
    for _restart in 0..2 {
        assert_eq!(unknown_version(RaftGroup::open(options.clone(), tls.clone()).await).await, unknown);
    }
    let mut log = LogStore::open(&options.log_place()).unwrap();
    assert!(log.get_log_state().await.unwrap().last_log_id.map(|id| id.index) >= last, "nothing is lost");
    log.close().await;
    drop(dir);
}

#[tokio::test]
async fn a_learner_that_does_not_know_the_version_does_not_become_a_voter() {
    let (_dir, group) = first_voter().await;
    group.propose(command()).await.unwrap();
    let raft_address = "127.0.0.1:1".to_owned();
    let node = ControlNode { id: 2, name: "cp-2".to_owned(), raft_address, ..ControlNode::default() };
    let known = Version::FIRST.number();
    let refused = |change| match change {
        Err(Change::Refused(problem)) => assert_eq!(problem.name, ProblemName::Upgrade, "{problem}"),
        Err(Change::Done | Change::NotLeader) | Ok(()) => panic!("it was not refused"),
    };
    let roles = || group.group().nodes.into_iter().map(|node| node.role).collect::<Vec<_>>();
    refused(group.make_learner(&node, known - 1).await);
    assert_eq!(roles(), ["leader"]);
    assert!(group.make_learner(&node, known).await.is_ok());
    let mut metrics = group.member.raft.metrics();
    let added = metrics.wait_for(|metrics| metrics.membership_config.membership().get_node(&2).is_some());
    drop(timeout(Duration::from_secs(10), added).await.unwrap().unwrap());
    // The version in force is a later one than when it became a learner: it knows one too few.
    refused(timeout(Duration::from_secs(10), group.make_voter(&node, known - 1)).await.unwrap());
    assert_eq!(roles(), ["leader", "learner"]);
    group.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_is_not_fatal() {
    let (_dir, group) = first_voter().await;
    group.shutdown().await;
    assert!(timeout(Duration::from_millis(200), group.fatal()).await.is_err());
}

#[tokio::test]
async fn many_callers_share_few_entries_and_each_gets_its_own_outcome() {
    let (_dir, group) = first_voter().await;
    let first = group.propose(command()).await.unwrap();
    assert!(matches!(first, Outcome::Accepted(_)), "{first:?}");
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        let group = group.clone();
        callers.spawn(async move { group.propose(command()).await.unwrap() });
    }
    // The lineage began already.
    assert!(callers.join_all().await.iter().all(|outcome| matches!(outcome, Outcome::Rejected(_))));
    let mut registry = Registry::default();
    group.register_metrics(&mut registry);
    let mut metrics = String::new();
    text::encode(&mut metrics, &registry).unwrap();
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("hanse_raft_batch_commands_sum"), 201.0);
    assert!(value("hanse_raft_batch_commands_count") < 100.0, "{metrics}");
    assert_eq!(value("hanse_raft_is_leader"), 1.0);
    assert!(value("hanse_raft_last_applied_index") > 0.0);
    assert!(value("hanse_raft_apply_seconds_count") > 0.0);
    group.shutdown().await;
}

#[tokio::test]
async fn a_command_that_could_never_be_replicated_is_refused() {
    let (_dir, group) = first_voter().await;
    let large = Command { request_id: "x".repeat(9 << 20), ..command() };
    let problem = group.propose(large).await.unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge);
    assert!(problem.detail.contains("8454144"), "{problem}");
    group.shutdown().await;
}

#[tokio::test]
async fn a_clock_far_ahead_does_not_move_the_states_time() {
    let (_dir, group) = first_voter().await;
    let before = now_ms();
    let ahead = Command { time_ms: before + 3_600_000, ..command() };
    assert!(matches!(group.propose(ahead).await.unwrap(), Outcome::Accepted(_)));
    let time_ms = group.current().time_ms();
    assert!((before..before + 60_000).contains(&time_ms), "{} ms ahead", time_ms - before);
    group.shutdown().await;
}

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 2), index)
}

fn entry(index: u64, payload: EntryPayload<TypeConfig>) -> Entry {
    Entry { log_id: log_id(index), payload }
}

fn members(configs: Vec<BTreeSet<u64>>) -> EntryPayload<TypeConfig> {
    let node = |id: u64| ControlNode { id, name: format!("cp-{id}"), ..ControlNode::default() };
    let nodes: BTreeMap<_, _> = configs.iter().flatten().map(|id| (*id, node(*id))).collect();
    EntryPayload::Membership(Membership::new(configs, nodes))
}

#[tokio::test]
async fn a_change_left_half_done_is_finished() {
    let (_dir, options, tls) = alone();
    let mut log = LogStore::open(&options.log_place()).unwrap();
    // What a leader leaves that dies between the two steps.
    let voters = BTreeSet::from([1]);
    let log_entries =
        [entry(0, members(vec![voters.clone()])), entry(1, members(vec![voters.clone(), voters]))];
    log.save_vote(&Vote::new_committed(1, 2)).await.unwrap();
    log.blocking_append(log_entries).await.unwrap();
    log.close().await;
    let group = RaftGroup::open(options, tls).await.unwrap();
    assert!(group.is_voter());
    let mut metrics = group.member.raft.metrics();
    let finished = metrics.wait_for(|metrics| {
        let membership = &metrics.membership_config;
        membership.log_id().is_some_and(|at| at.index > 1)
            && membership.membership().get_joint_config().len() == 1
    });
    timeout(Duration::from_secs(20), finished).await.unwrap().unwrap();
    assert!(group.is_voter());
    // A voter that joins asks no other node.
    group.join(&[]).await.unwrap();
    group.shutdown().await;
}

#[tokio::test]
async fn only_what_is_applied_counts_as_up_to_date() {
    let (_dir, options, tls) = alone();
    let group = RaftGroup::open(options, tls).await.unwrap();
    let service = RaftService::new(group.member.clone(), group.snapshots.clone());
    let append = async |prev: Option<u64>, entries: Vec<Entry>, committed: u64| {
        let request = raft::AppendEntriesRequest {
            vote: Some(wire::vote_to_proto(&Vote::new_committed(1, 2))),
            prev_log_id: prev.map(|index| wire::log_id_to_proto(&log_id(index))),
            entries: entries.iter().map(wire::entry_to_proto).collect(),
            leader_commit: Some(wire::log_id_to_proto(&log_id(committed))),
            target: 1,
            quorum_age_ms: Some(0),
        };
        raft_server::Raft::append_entries(&service, tonic::Request::new(request)).await.unwrap().into_inner()
    };
    use raft::append_entries_response::Result as Kind;
    let answer = append(Some(5), vec![], 5).await;
    assert_eq!(answer.result(), Kind::Conflict);
    assert!(group.member.contact.age().is_some(), "there is a leader with a quorum");
    assert_eq!(group.member.contact.as_of_age(), None, "but its log is not here");
    let status = group.group();
    assert!(status.quorum && !status.up_to_date, "{status:?}");

    let first = vec![entry(0, members(vec![BTreeSet::from([2])])), entry(1, EntryPayload::Blank)];
    let answer = append(None, first, 9).await;
    assert_eq!(answer.result(), Kind::Success);
    group.member.applied(2, Instant::now() + Duration::from_secs(10)).await.unwrap();
    let answer = append(Some(1), vec![], 9).await;
    assert_eq!(answer.result(), Kind::Success);
    assert_eq!(group.member.contact.as_of_age(), None, "more is committed than is here");

    append(Some(1), (2..10).map(|index| entry(index, EntryPayload::Blank)).collect(), 9).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while group.member.contact.as_of_age().is_none() {
        assert!(Instant::now() < deadline, "it is up to date now");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    group.shutdown().await;
}

#[tokio::test]
async fn a_revision_is_waited_for_as_long_as_the_caller_waits() {
    let (_dir, group) = first_voter().await;
    group.propose(command()).await.unwrap();
    let next = group.current().revision() + 1;
    tokio::time::pause();
    let waited = timeout(Duration::from_secs(60), group.read(Consistency::AtLeast(next))).await;
    assert!(waited.is_err(), "{:?}", waited.map(|read| read.map(|state| state.revision())));
    tokio::time::resume();
    let reached = group.read(Consistency::AtLeast(next - 1)).await.unwrap();
    assert_eq!(reached.revision(), next - 1);
    group.shutdown().await;
}

#[tokio::test]
async fn an_own_vote_comes_back_as_not_committed_and_a_foreign_one_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for (kept, read) in [
        (Vote::new_committed(3, 1), Vote::new(3, 1)),
        (Vote::new(4, 1), Vote::new(4, 1)),
        (Vote::new_committed(5, 2), Vote::new_committed(5, 2)),
    ] {
        let mut log = LogStore::open(&crate::log_store::LogPlace::new(dir.path(), 1)).unwrap();
        log.save_vote(&kept).await.unwrap();
        log.close().await;
        let mut log = LogStore::open(&crate::log_store::LogPlace::new(dir.path(), 1)).unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(read));
        log.close().await;
    }
}
