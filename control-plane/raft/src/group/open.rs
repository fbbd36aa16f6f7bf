//! Opening a replica.

use std::sync::Arc;

use hanse_identity::ClientTls;
use openraft::ServerState;
use tokio::{runtime::Builder, sync::watch, time::Duration};

use super::{GroupError, RaftGroup, membership::finish_changes, read::confirm_start, reports::keep_in_touch};
use crate::{
    batcher::Batcher,
    coalesce::Coalesced,
    contact::Contact,
    log_store::LogStore,
    member::Member,
    metrics::Metrics,
    network::{Channels, Network},
    options::{LOG_DIR, RaftOptions},
    reach::Reach,
    state_machine::{Applied, SnapshotError, Snapshots, StateMachine},
    type_config::{Fatal, LogId, Raft},
};

/// Raft's threads: one for the core, one for applying and for the network, so that a large command being applied delays
/// no heartbeat.
const THREADS: usize = 2;

impl RaftGroup {
    /// Opens the replica in `options.data_dir`, made if absent: the last snapshot, then the log up to what was known to
    /// be committed. `peers_tls` is what this node shows the others, and expects of them.
    pub async fn open(options: RaftOptions, peers_tls: ClientTls) -> Result<Arc<Self>, GroupError> {
        if options.id == 0 || options.self_node.id != options.id {
            let detail = format!("its id is {}, but {} in its description", options.id, options.self_node.id);
            return Err(GroupError::Options(detail));
        }
        let config = options.openraft().validate().map_err(|error| GroupError::Options(error.to_string()))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(GroupError::Threads)?;
        let handle = runtime.handle().clone();

        let opened = handle.spawn(open_stores(options.clone())).await;
        let stores = match opened {
            Ok(Ok(stores)) => stores,
            Ok(Err(error)) => {
                runtime.shutdown_background();
                return Err(error);
            }
            Err(_) => {
                runtime.shutdown_background();
                return Err(GroupError::Stopped(Fatal::Panicked));
            }
        };
        let Stores { log, snapshots, machine, metrics } = stores;
        let contact = Arc::new(Contact::default());
        let channels = Arc::new(Channels::new(peers_tls, handle.clone()));
        let reach = Arc::new(Reach::default());
        let network = Network {
            channels: channels.clone(),
            contact: contact.clone(),
            reach: reach.clone(),
            timing: options.timing,
        };
        let (applied, unknown) = (machine.subscribe(), machine.unknown());

        let started = handle.spawn({
            let (id, log) = (options.id, log.clone());
            async move {
                let raft = Raft::new(id, Arc::new(config), network, log, machine).await?;
                let initialized = raft.is_initialized().await?;
                Ok((raft, initialized))
            }
        });
        let (raft, initialized) = match started.await.unwrap_or(Err(Fatal::Panicked)) {
            Ok(started) => started,
            Err(error) => {
                log.close().await;
                runtime.shutdown_background();
                let unknown = unknown.borrow().clone();
                return Err(unknown.map_or(GroupError::Stopped(error), GroupError::Version));
            }
        };

        handle.spawn(observe(raft.clone(), contact.clone(), reach.clone(), metrics.clone()));
        handle.spawn(follow(applied.clone(), contact.clone()));
        let changing_membership = Arc::new(tokio::sync::Mutex::default());
        handle.spawn(finish_changes(raft.clone(), changing_membership.clone()));
        let (batcher, batching) = Batcher::new(raft.clone(), metrics.clone());
        handle.spawn(batching.run());
        let member = Member {
            id: options.id,
            name: options.name.clone(),
            raft,
            channels,
            contact,
            reach,
            timing: options.timing,
            applied,
            unknown,
            restarted: Arc::new(initialized.into()),
            read_index_without_own_term: options.read_index_without_own_term,
        };
        handle.spawn(keep_in_touch(member.clone()));
        let (read_index, rounds) = Coalesced::new({
            let member = member.clone();
            move || {
                let member = member.clone();
                async move { super::read::read_index(&member).await }
            }
        });
        handle.spawn(rounds);
        handle.spawn(confirm_start(member.clone(), read_index.clone()));
        Ok(Arc::new(Self {
            options,
            member,
            batcher,
            read_index,
            snapshots,
            log,
            metrics,
            changing_membership,
            initialized,
            stopping: false.into(),
            handle,
            runtime: Some(runtime).into(),
        }))
    }
}

struct Stores {
    log: LogStore,
    snapshots: Arc<Snapshots>,
    machine: StateMachine,
    metrics: Metrics,
}

async fn open_stores(options: RaftOptions) -> Result<Stores, GroupError> {
    let dir = options.data_dir.join(LOG_DIR);
    let place = options.log_place();
    let log = tokio::task::spawn_blocking(move || LogStore::open(&place)).await;
    let mut log = log.map_err(|_| GroupError::Stopped(Fatal::Panicked))??;
    log.seed(&options);
    let purged = log.purged().await?;
    let opened = tokio::task::spawn_blocking(move || open_snapshots(&dir.join("snapshots"), purged)).await;
    let (snapshots, restored) = match opened.unwrap_or_else(|error| Err(SnapshotError::Interrupted(error))) {
        Ok(opened) => opened,
        Err(error) => {
            log.close().await;
            return Err(error.into());
        }
    };
    let snapshots = Arc::new(snapshots);
    let metrics = Metrics::default();
    let machine = StateMachine::new(snapshots.clone(), restored, metrics.clone());
    Ok(Stores { log, snapshots, machine, metrics })
}

/// A damaged snapshot is no loss as long as the log still has everything. What is in neither is lost.
fn open_snapshots(
    dir: &std::path::Path,
    purged: Option<LogId>,
) -> Result<(Snapshots, Option<Applied>), SnapshotError> {
    let (snapshots, restored) = match Snapshots::open(dir) {
        Err(error @ (SnapshotError::Damaged(_) | SnapshotError::State(_))) if purged.is_none() => {
            let aside = Snapshots::set_aside(dir)?;
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                ?aside,
                "the snapshot cannot be read; replaying the log"
            );
            Snapshots::open(dir)?
        }
        opened => opened?,
    };
    let reaches = restored.as_ref().and_then(|restored| restored.log_id);
    if purged > reaches {
        let place = |log_id: Option<LogId>| log_id.map_or(0, |log_id| log_id.index + 1);
        return Err(SnapshotError::Damaged(format!(
            "it holds the first {} entries, but the log begins after {}",
            place(reaches),
            place(purged)
        )));
    }
    Ok((snapshots, restored))
}

/// Notes what openraft reports.
async fn observe(raft: Raft, contact: Arc<Contact>, reach: Arc<Reach>, metrics: Metrics) {
    let mut reports: watch::Receiver<_> = raft.metrics();
    drop(raft);
    let mut led = false;
    loop {
        {
            let report = reports.borrow_and_update();
            let leads = report.state == ServerState::Leader;
            metrics.role(report.current_term, leads);
            if leads && !led {
                reach.leads();
            }
            led = leads;
            if let (true, Some(age)) = (leads, report.millis_since_quorum_ack) {
                let age = Duration::from_millis(age);
                contact.confirm(age);
                // No caller hears of a commit before it is applied here. But the commits of former leaders are known
                // only once an entry of this term is applied.
                if let Some(applied) =
                    report.last_applied.filter(|applied| applied.leader_id.term == report.current_term)
                {
                    contact.committed(age, applied.index + 1, applied.index + 1);
                }
            }
        }
        if reports.changed().await.is_err() {
            return;
        }
    }
}

/// Notes what is applied.
async fn follow(mut applied: watch::Receiver<Applied>, contact: Arc<Contact>) {
    while applied.changed().await.is_ok() {
        let count = applied.borrow_and_update().count();
        contact.applied(count);
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::raft::ControlNode;
    use openraft::{CommittedLeaderId, storage::RaftLogStorage};

    use super::*;

    #[tokio::test]
    async fn a_snapshot_that_is_missing_is_refused_when_the_log_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        let node = ControlNode { id: 1, name: "cp-1".to_owned(), ..ControlNode::default() };
        let options = RaftOptions::new(node, dir.path());
        let log_id = |index| LogId::new(CommittedLeaderId::new(1, 1), index);
        let stores = open_stores(options.clone()).await.unwrap();
        let snapshot = Applied { log_id: Some(log_id(30)), ..Applied::default() };
        stores.snapshots.build(&snapshot).unwrap();
        let mut log = stores.log;
        log.purge(log_id(20)).await.unwrap();
        log.close().await;

        let stores = open_stores(options.clone()).await.unwrap();
        let mut log = stores.log;
        log.purge(log_id(40)).await.unwrap();
        log.close().await;
        let error = open_stores(options.clone()).await.map(|_| ()).unwrap_err();
        assert!(matches!(&error, GroupError::Snapshot(SnapshotError::Damaged(_))), "{error}");

        std::fs::remove_file(dir.path().join("raft/snapshots/state.snapshot")).unwrap();
        let error = open_stores(options).await.map(|_| ()).unwrap_err();
        assert!(error.is_damage(), "{error}");
        let GroupError::Snapshot(cause) = error else { panic!("{error}") };
        assert!(cause.to_string().contains("the first 0 entries, but the log begins after 41"), "{cause}");
    }
}
