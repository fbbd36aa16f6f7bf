//! One replica without a network.

use std::sync::Arc;

use hanse_proto::raft::ControlNode;
use hanse_state::{Command, CommandBody, Lineage, ProblemName, port::Replicated};
use hanse_transport::{Authority, Expect, Role, client_tls, install_crypto_provider};
use prometheus_client::encoding::text;
use tempfile::TempDir;
use tokio::time::{Duration, timeout};

use super::*;

async fn first_voter() -> (TempDir, Arc<RaftGroup>) {
    install_crypto_provider();
    let trust = Authority::new_root().unwrap().trust_anchor().unwrap();
    let expect = Expect { roles: vec![Role::Server], region: None };
    let dir = tempfile::tempdir().unwrap();
    let node = ControlNode { id: 1, name: "cp-1".to_owned(), ..ControlNode::default() };
    let options = RaftOptions::new(node, dir.path());
    let group = RaftGroup::open(options, client_tls(None, &trust, expect).unwrap()).await.unwrap();
    group.bootstrap().await.unwrap();
    (dir, group)
}

fn command() -> Command {
    let body = CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None });
    Command { actor: "test".to_owned(), request_id: String::new(), time_ms: 1, idempotency_key: None, body }
}

#[tokio::test]
async fn a_log_that_fails_kills_the_replica() {
    let (_dir, group) = first_voter().await;
    assert!(timeout(Duration::from_millis(50), group.fatal()).await.is_err(), "it lives");
    group.log.close().await;
    let problem = group.propose(command()).await.unwrap_err();
    assert!([ProblemName::UnknownFate, ProblemName::NoQuorum].contains(&problem.name), "{problem}");
    timeout(Duration::from_secs(10), group.fatal()).await.unwrap();
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
    let large = Command { request_id: "x".repeat(5 << 20), ..command() };
    let problem = group.propose(large).await.unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge);
    assert!(problem.detail.contains("4194304"), "{problem}");
    group.shutdown().await;
}
