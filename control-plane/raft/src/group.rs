//! One node's replica of the state, and its part in the group.

mod keys;
mod membership;
mod open;
mod propose;
mod read;
mod reports;
mod seats;
mod status;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hanse_management::{Problem, ProblemName, Revision};
use hanse_proto::raft::{ControlNode, peer_server::PeerServer, raft_server::RaftServer};
use hanse_state::{
    Outcome, State, UnknownVersion,
    admission::Admitted,
    port::{BoxFuture, Consistency, GroupStatus, Replicated},
};
use openraft::error::InitializeError;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    runtime::{Handle, Runtime},
    time::{Duration, Instant},
};

use crate::{
    batcher::Batcher,
    coalesce::Coalesced,
    log_store::{LogError, LogStore},
    member::{Leader, Member, NoReadIndex},
    metrics::Metrics,
    network::MAX_MESSAGE_BYTES,
    options::RaftOptions,
    service::{KeysHook, PeerService, RaftService, ReportsHook},
    state_machine::{SnapshotError, Snapshots},
    type_config::Fatal,
};

pub use self::reports::{PeerAnswer, PeerReports};
pub(crate) use self::{
    membership::Change,
    propose::{Attempt, MAX_COMMAND_BYTES, check_size},
};

/// How long a first voter may take to elect itself.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a replica could not be opened, begun or joined.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The options contradict themselves.
    #[error("the replica cannot be set up: {0}")]
    Options(String),
    /// The log cannot be read.
    #[error("opening the log failed")]
    Log(#[from] LogError),
    /// The snapshot cannot be read, and the log does not reach back to the beginning.
    #[error("opening the snapshot failed")]
    Snapshot(#[from] SnapshotError),
    /// The threads cannot be started.
    #[error("starting the threads failed")]
    Threads(#[source] std::io::Error),
    /// Raft stopped.
    #[error("the replica stopped")]
    Stopped(#[source] Fatal),
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
    /// The log is of a version that this build does not know.
    #[error(transparent)]
    Version(UnknownVersion),
    /// The group refused this node.
    #[error("the group refused this node")]
    Refused(#[source] Problem),
}

impl GroupError {
    /// Whether the log or the snapshot is damaged. Then the node has forgotten what it promised to others: it must neither
    /// vote nor serve from what is left, and starting it again does not help. It has to join anew, under a new id.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(error) => matches!(error, LogError::Damaged(_)),
            Self::Snapshot(error) => matches!(error, SnapshotError::Damaged(_) | SnapshotError::State(_)),
            Self::Options(_)
            | Self::Threads(_)
            | Self::Stopped(_)
            | Self::TimedOut(_)
            | Self::Version(_)
            | Self::Refused(_) => false,
        }
    }

    /// The version of the log or the snapshot, if this build does not know it. Both are whole, and are left as they are for the
    /// release that does.
    pub fn unknown_version(&self) -> Option<&UnknownVersion> {
        match self {
            Self::Version(unknown)
            | Self::Log(LogError::Version(unknown))
            | Self::Snapshot(SnapshotError::Version(unknown)) => Some(unknown),
            _of_something_else => None,
        }
    }
}

/// One node's replica of the state. Raft's core, its log and its snapshots run on threads of their own.
pub struct RaftGroup {
    options: RaftOptions,
    member: Member,
    batcher: Batcher,
    read_index: Coalesced<Result<u64, NoReadIndex>>,
    snapshots: Arc<Snapshots>,
    log: LogStore,
    metrics: Metrics,
    changing_membership: Arc<tokio::sync::Mutex<()>>,
    initialized: bool,
    stopping: AtomicBool,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

impl RaftGroup {
    /// Makes this node the only voter of a new group, and returns once it leads. Does nothing on a node that belongs to
    /// a group.
    pub async fn bootstrap(&self) -> Result<(), GroupError> {
        use openraft::error::RaftError;
        let members = std::collections::BTreeMap::from([(self.options.id, self.options.self_node.clone())]);
        match self.member.raft.initialize(members).await {
            Ok(()) => {}
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => return Ok(()),
            Err(RaftError::APIError(error @ InitializeError::NotInMembers(_))) => {
                return Err(GroupError::Options(error.to_string()));
            }
            Err(RaftError::Fatal(error)) => return Err(GroupError::Stopped(error)),
        }
        let deadline = Instant::now() + BOOTSTRAP_TIMEOUT;
        while self.member.leader() != Leader::Here {
            if !self.member.wait_for_leader(deadline).await {
                return Err(GroupError::TimedOut(format!(
                    "this node does not lead after {BOOTSTRAP_TIMEOUT:?}"
                )));
            }
        }
        Ok(())
    }

    /// Whether this node belongs to a group, as voter or learner, or ever did.
    pub fn is_initialized(&self) -> bool {
        self.initialized || self.member.raft.metrics().borrow().last_log_index.is_some()
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// This node's Raft id.
    pub fn id(&self) -> u64 {
        self.member.id
    }

    /// Whether this node votes.
    pub fn is_voter(&self) -> bool {
        let metrics = self.member.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().voter_ids().any(|voter| voter == self.member.id)
    }

    /// The gRPC services other control nodes call: one for Raft, one for requests on behalf of callers. Both go behind
    /// a listener that admits control nodes only. `reports` tells what the agents connected here last reported, `keys` which versions
    /// of the federation key are here.
    pub fn services(
        self: &Arc<Self>,
        reports: ReportsHook,
        keys: KeysHook,
    ) -> (RaftServer<RaftService>, PeerServer<PeerService>) {
        let raft = RaftServer::new(RaftService::new(self.member.clone(), self.snapshots.clone()));
        let peer = PeerServer::new(PeerService::new(self.clone(), reports, keys));
        (
            raft.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
            peer.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
    }

    /// Raft's own threads. Serve [`services`](Self::services) there, so that heartbeats do not wait behind callers.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Adds this replica's metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Every member, this node included, as the latest membership known here has them.
    pub fn members(&self) -> Vec<ControlNode> {
        let metrics = self.member.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().nodes().map(|(_, node)| node.clone()).collect()
    }

    /// Resolves when the replica died: a disk that fails, a defect, or a version that this build does not know
    /// ([`unknown_version`](Self::unknown_version)). It can neither vote nor apply any more and must be shut down. Never resolves
    /// because of [`shutdown`](Self::shutdown).
    pub async fn fatal(&self) {
        let mut metrics = self.member.raft.metrics();
        let mut unknown = self.member.unknown.subscribe();
        let died = tokio::select! {
            died = metrics.wait_for(|metrics| metrics.running_state.is_err()) => died.map(|_| ()),
            Ok(_) = unknown.wait_for(Option::is_some) => return,
        };
        if self.stopping.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        match died {
            Ok(()) => {
                let reason = self.member.metrics().running_state.err().map(|reason| reason.to_string());
                tracing::error!(reason, "the replica died");
            }
            Err(_) => tracing::error!("the replica panicked"),
        }
    }

    /// Returns once Raft's core has turned; whether it runs. While the core hangs, this does.
    pub async fn turns(&self) -> bool {
        self.member.raft.with_raft_state(|_| ()).await.is_ok()
    }

    /// The version of the group, once it turned out that this build does not know it.
    pub fn unknown_version(&self) -> Option<UnknownVersion> {
        self.member.unknown.borrow().clone()
    }

    /// Stops Raft and closes the files. Returns when they are free to be opened again.
    pub async fn shutdown(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Err(error) = self.member.raft.shutdown().await {
            tracing::warn!(%error, "stopping the replica failed");
        }
        self.log.close().await;
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Drop for RaftGroup {
    fn drop(&mut self) {
        // A runtime may not be dropped where tasks run, unless in the background.
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for RaftGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftGroup").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Replicated for RaftGroup {
    fn replicate(&self, admitted: Admitted) -> BoxFuture<'_, Result<Outcome, Problem>> {
        Box::pin(self.propose_anywhere(admitted))
    }

    fn read(&self, consistency: Consistency) -> BoxFuture<'_, Result<State, Problem>> {
        Box::pin(self.read_with(consistency))
    }

    fn restarted(&self) -> bool {
        self.member.restarted()
    }

    fn current(&self) -> State {
        self.member.applied.borrow().state.clone()
    }

    fn changed_since(&self, revision: Revision) -> BoxFuture<'_, State> {
        Box::pin(self.next_state(revision))
    }

    fn group(&self) -> GroupStatus {
        self.status()
    }
}

fn no_quorum(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemName::NoQuorum, detail)
        .remedy("nothing was changed; try again when most control-plane nodes can reach each other")
}

fn stopped() -> Problem {
    Problem::new(ProblemName::NoQuorum, "this control-plane node is stopping")
        .remedy("nothing was changed; ask another control-plane node")
}
