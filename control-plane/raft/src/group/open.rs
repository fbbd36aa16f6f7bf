//! Opening a replica.

use std::sync::Arc;

use openraft::ServerState;
use rustls::ClientConfig;
use tokio::{runtime::Builder, sync::watch, time::Duration};

use super::{GroupError, RaftGroup};
use crate::{
    batcher::Batcher,
    coalesce::Coalesced,
    contact::Contact,
    log_store::LogStore,
    member::Member,
    metrics::Metrics,
    network::{Channels, Network},
    options::RaftOptions,
    state_machine::{Applied, SnapshotError, Snapshots, StateMachine},
    type_config::{Fatal, Raft},
};

/// Raft's threads: one for the core, one for applying and for the network, so that a large command being applied delays
/// no heartbeat.
const THREADS: usize = 2;

impl RaftGroup {
    /// Opens the replica in `options.data_dir`, made if absent: the last snapshot, then the log up to what was known to
    /// be committed. `peers_tls` is what this node shows the others, and expects of them.
    pub async fn open(options: RaftOptions, peers_tls: Arc<ClientConfig>) -> Result<Arc<Self>, GroupError> {
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
        let network =
            Network { channels: channels.clone(), contact: contact.clone(), timing: options.timing };
        let applied = machine.subscribe();

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
                return Err(GroupError::Stopped(error));
            }
        };

        handle.spawn(observe(raft.clone(), contact.clone(), metrics.clone()));
        let (batcher, batching) = Batcher::new(raft.clone(), metrics.clone());
        handle.spawn(batching.run());
        let member = Member {
            id: options.id,
            name: options.name.clone(),
            raft,
            channels,
            contact,
            timing: options.timing,
            applied,
        };
        let (read_index, rounds) = Coalesced::new({
            let member = member.clone();
            move || {
                let member = member.clone();
                async move { super::read::read_index(&member).await }
            }
        });
        handle.spawn(rounds);
        Ok(Arc::new(Self {
            options,
            member,
            batcher,
            read_index,
            snapshots,
            log,
            metrics,
            changing_membership: tokio::sync::Mutex::default(),
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
    let dir = options.data_dir.join("raft");
    let log = {
        let dir = dir.join("log");
        tokio::task::spawn_blocking(move || LogStore::open(&dir, options.id)).await
    };
    let log = log.map_err(|_| GroupError::Stopped(Fatal::Panicked))??;
    let purged = log.purged().await?;
    let opened =
        tokio::task::spawn_blocking(move || open_snapshots(&dir.join("snapshots"), purged.is_some())).await;
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

/// A damaged snapshot is no loss as long as the log still has everything.
fn open_snapshots(
    dir: &std::path::Path,
    log_purged: bool,
) -> Result<(Snapshots, Option<Applied>), SnapshotError> {
    match Snapshots::open(dir) {
        Err(error @ (SnapshotError::Damaged(_) | SnapshotError::State(_))) if !log_purged => {
            let aside = Snapshots::set_aside(dir)?;
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                ?aside,
                "the snapshot cannot be read; replaying the log"
            );
            Snapshots::open(dir)
        }
        opened => opened,
    }
}

/// Notes what openraft reports.
async fn observe(raft: Raft, contact: Arc<Contact>, metrics: Metrics) {
    let mut reports: watch::Receiver<_> = raft.metrics();
    drop(raft);
    loop {
        {
            let report = reports.borrow_and_update();
            let leads = report.state == ServerState::Leader;
            metrics.role(report.current_term, leads);
            if let (true, Some(age)) = (leads, report.millis_since_quorum_ack) {
                contact.confirm(Duration::from_millis(age));
            }
        }
        if reports.changed().await.is_err() {
            return;
        }
    }
}
