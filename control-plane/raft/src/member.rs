//! This node as a member of the group: what proposing, reading and membership changes share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hanse_proto::raft::ControlNode;
use openraft::{
    RaftMetrics, ServerState,
    error::{CheckIsLeaderError, RaftError},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tonic::Status;

use crate::{
    contact::Contact,
    network::Channels,
    options::Timing,
    reach::Reach,
    state_machine::{Applied, UnknownVersionWatch},
    type_config::{NodeId, Raft},
};

/// Between two looks at who leads, and between two attempts at a leader that cannot be reached.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What this node's parts share.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) raft: Raft,
    pub(crate) channels: Arc<Channels>,
    pub(crate) contact: Arc<Contact>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) timing: Timing,
    pub(crate) applied: watch::Receiver<Applied>,
    pub(crate) unknown: UnknownVersionWatch,
    /// This node belonged to a group when it was opened, and has not confirmed yet that it shows at least what it showed
    /// before: the commit mark on disk may lie behind what was applied.
    pub(crate) restarted: Arc<AtomicBool>,
    /// A seeded bug: see [`RaftOptions`](crate::RaftOptions).
    pub(crate) read_index_without_own_term: bool,
}

/// Where the leader is, as far as this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leader {
    /// Here, and a quorum answered within the lease.
    Here,
    /// There, and it had a quorum within the lease.
    There(ControlNode),
    /// Unknown, or without a quorum.
    Nowhere,
}

impl Member {
    /// A node that took over an address must not answer for the one that had it before.
    pub(crate) fn check_target(&self, target: NodeId) -> Result<(), Status> {
        if target == self.id {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("this is node {}, not {target}", self.id)))
    }

    pub(crate) fn metrics(&self) -> RaftMetrics<NodeId, ControlNode> {
        self.raft.metrics().borrow().clone()
    }

    /// Whether this node leads, with a quorum or without.
    pub(crate) fn leads(&self) -> bool {
        self.raft.metrics().borrow().state == ServerState::Leader
    }

    /// Where to take a request now.
    pub(crate) fn leader(&self) -> Leader {
        if !self.contact.within(self.timing.lease()) {
            return Leader::Nowhere;
        }
        if self.leads() {
            return Leader::Here;
        }
        self.leader_node().map_or(Leader::Nowhere, Leader::There)
    }

    /// The other node that leads as far as this one knows, reachable or not.
    pub(crate) fn leader_node(&self) -> Option<ControlNode> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader.filter(|leader| *leader != self.id)?;
        metrics.membership_config.membership().get_node(&leader).cloned()
    }

    /// After an attempt that came to nothing: waits a moment, then until a node leads; `false` at `until`.
    pub(crate) async fn wait_for_leader(&self, until: Instant) -> bool {
        while Instant::now() < until {
            sleep(LOOK_AGAIN.min(until.saturating_duration_since(Instant::now()))).await;
            if self.leader() != Leader::Nowhere {
                return true;
            }
        }
        false
    }

    /// Waits until so many entries are applied here.
    pub(crate) async fn applied(&self, count: u64, deadline: Instant) -> Option<Applied> {
        self.applied_where(deadline, |applied| applied.count() >= count).await
    }

    /// Waits until what is applied here satisfies `condition`.
    pub(crate) async fn applied_where(
        &self,
        deadline: Instant,
        condition: impl FnMut(&Applied) -> bool,
    ) -> Option<Applied> {
        let mut applied = self.applied.clone();
        let waited = timeout_at(deadline, applied.wait_for(condition)).await;
        Some(waited.ok()?.ok()?.clone())
    }

    /// Whether this node may still show less than it showed before it was restarted.
    pub(crate) fn restarted(&self) -> bool {
        self.restarted.load(Ordering::Acquire)
    }

    /// On the leader: makes sure that it still leads, and tells how many entries a read must see. That includes the first
    /// entry of its term, and with it all that former leaders committed: every leader was elected in this life of its
    /// process, in a term that no process led in before ([`LogStore`](crate::log_store::LogStore) sees to it).
    pub(crate) async fn read_index(&self) -> Result<u64, NoReadIndex> {
        match self.raft.get_read_log_id().await {
            Ok((_, applied)) if self.read_index_without_own_term => {
                Ok(applied.map_or(0, |log_id| log_id.index + 1))
            }
            Ok((read, _)) => Ok(read.map_or(0, |log_id| log_id.index + 1)),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => Err(NoReadIndex::NotLeader),
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(NoReadIndex::NoQuorum),
            Err(RaftError::Fatal(_)) => Err(NoReadIndex::Stopped),
        }
    }
}

/// Why there is no read index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReadIndex {
    /// This node does not lead.
    NotLeader,
    /// Too few answered.
    NoQuorum,
    /// The leader did not answer.
    NoAnswer,
    /// Raft has stopped on this node.
    Stopped,
}
