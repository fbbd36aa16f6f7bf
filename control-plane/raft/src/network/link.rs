//! One node's line to another, as openraft uses it.

use std::{future::Future, time::Duration};

use hanse_proto::{InvalidMessage, raft};
use openraft::{
    RaftNetwork,
    error::{
        Fatal, NetworkError, PayloadTooLarge, RPCError, RaftError, ReplicationClosed, StreamingError,
        Timeout, Unreachable,
    },
    network::{Backoff, RPCOption},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};
use prost::Message;
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Request, Status};

use super::{Network, PART_TIMEOUT, Road, snapshot_stream};
use crate::{
    type_config::{LogId, NodeId, Snapshot, TypeConfig, Vote},
    wire,
};

/// More than this in several entries is sent in parts: a quarter of a message's limit, so that an estimate does.
const MAX_APPEND_BYTES: usize = 3 << 20;

/// Entries that were not answered by now never will be: the connection's keep-alive gives up earlier.
const APPEND_GIVE_UP: Duration = Duration::from_secs(30);

/// How long the other node may take from the last part of a snapshot on: the connection's buffers have to drain, and all
/// of it has to be read and installed.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);

type Refusal = RPCError<NodeId, raft::ControlNode, RaftError<NodeId>>;

/// A line to one node.
pub(crate) struct Link {
    network: Network,
    target: NodeId,
    address: String,
    under_way: Option<UnderWay>,
}

/// Entries that were sent and not answered yet. openraft drops the call after a heartbeat's time and sends them again;
/// on a slow road, or with a large command, that would go on for ever. So the call lives on in a task and the next
/// attempt waits for it.
struct UnderWay {
    vote: Vote,
    prev: Option<LogId>,
    last: LogId,
    call: JoinHandle<Result<raft::AppendEntriesResponse, Status>>,
}

impl Link {
    pub(super) fn new(network: Network, target: NodeId, address: String) -> Self {
        Self { network, target, address, under_way: None }
    }

    fn message(&self, rpc: AppendEntriesRequest<TypeConfig>) -> raft::AppendEntriesRequest {
        let quorum_age = self.network.contact.age();
        raft::AppendEntriesRequest {
            vote: Some(wire::vote_to_proto(&rpc.vote)),
            prev_log_id: rpc.prev_log_id.as_ref().map(wire::log_id_to_proto),
            entries: rpc.entries.iter().map(wire::entry_to_proto).collect(),
            leader_commit: rpc.leader_commit.as_ref().map(wire::log_id_to_proto),
            target: self.target,
            quorum_age_ms: quorum_age.and_then(|age| u64::try_from(age.as_millis()).ok()),
        }
    }

    /// Sends it in a task of its own, which goes on when the caller stops waiting.
    fn send(
        &self,
        message: raft::AppendEntriesRequest,
        road: Road,
        within: Duration,
    ) -> JoinHandle<Result<raft::AppendEntriesResponse, Status>> {
        let client = self.network.channels.raft(&self.address, road);
        let (reach, target) = (self.network.reach.clone(), self.target);
        tokio::spawn(async move {
            match timeout(within, client?.append_entries(message)).await {
                Ok(response) => {
                    let response = response?.into_inner();
                    reach.heard(target);
                    Ok(response)
                }
                Err(_) => Err(Status::deadline_exceeded("no answer")),
            }
        })
    }

    async fn append(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<NodeId>, Refusal> {
        let Some(last) = rpc.entries.last().map(|entry| entry.log_id) else {
            let response = self.send(self.message(rpc), Road::Consensus, self.network.timing.heartbeat).await;
            return answer(response.map_err(|e| unreachable(&e))?.map_err(|e| unreachable(&e))?);
        };
        let waits = self.under_way.as_ref().is_some_and(|under_way| {
            under_way.vote == rpc.vote && under_way.prev == rpc.prev_log_id && under_way.last <= last
        });
        if waits {
            // The follower must not think that we are gone meanwhile: a heartbeat overtakes on the other road.
            let heartbeat = self.message(AppendEntriesRequest { entries: Vec::new(), ..rpc });
            drop(self.send(heartbeat, Road::Bulk, self.network.timing.heartbeat));
        } else {
            let (vote, prev, count) = (rpc.vote, rpc.prev_log_id, rpc.entries.len());
            let message = self.message(rpc);
            let bytes = message.encoded_len();
            if bytes > MAX_APPEND_BYTES && count > 1 {
                let fitting = (count * MAX_APPEND_BYTES / bytes).clamp(1, count - 1);
                return Err(PayloadTooLarge::new_entries_hint(fitting as u64).into());
            }
            let call = self.send(message, Road::Consensus, APPEND_GIVE_UP);
            self.under_way = Some(UnderWay { vote, prev, last, call });
        }
        let Some(under_way) = &mut self.under_way else {
            return Err(NetworkError::new(&Status::internal("nothing was sent")).into());
        };
        let response = (&mut under_way.call).await;
        let sent = under_way.last;
        self.under_way = None;
        match answer(response.map_err(|e| unreachable(&e))?.map_err(|e| unreachable(&e))?)? {
            AppendEntriesResponse::Success if sent < last => {
                Ok(AppendEntriesResponse::PartialSuccess(Some(sent)))
            }
            response => Ok(response),
        }
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Refusal> {
        self.append(rpc).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Refusal> {
        let mut client =
            self.network.channels.raft(&self.address, Road::Consensus).map_err(|e| unreachable(&e))?;
        let message = raft::VoteRequest {
            vote: Some(wire::vote_to_proto(&rpc.vote)),
            last_log_id: rpc.last_log_id.as_ref().map(wire::log_id_to_proto),
            target: self.target,
        };
        let response = client.request_vote(message).await.map_err(|e| unreachable(&e))?.into_inner();
        self.network.reach.heard(self.target);
        Ok(VoteResponse {
            vote: wire::required_vote(response.vote).map_err(|e| NetworkError::new(&e))?,
            vote_granted: response.granted,
            last_log_id: response.last_log_id.map(wire::log_id),
        })
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        let mut client =
            self.network.channels.raft(&self.address, Road::Bulk).map_err(|e| unreachable_node(&e))?;
        let (parts, mut progress) = snapshot_stream::parts(vote, snapshot, self.target);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            waited = progress.stalled(PART_TIMEOUT, INSTALL_TIMEOUT) => {
                let action = openraft::RPCTypes::InstallSnapshot;
                let id = vote.leader_id.node_id;
                Err(Timeout { action, id, target: self.target, timeout: waited }.into())
            }
            response = client.install_snapshot(Request::new(parts)) => {
                let response = response.map_err(|e| unreachable_node(&e))?.into_inner();
                Ok(SnapshotResponse::new(wire::required_vote(response.vote).map_err(|e| NetworkError::new(&e))?))
            }
        }
    }

    /// While it lasts no heartbeats are sent; the default of 500 ms would let a node that is back miss its lease.
    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.network.timing.heartbeat))
    }
}

fn answer(response: raft::AppendEntriesResponse) -> Result<AppendEntriesResponse<NodeId>, Refusal> {
    use raft::append_entries_response::Result as Kind;
    match response.result() {
        Kind::Success => Ok(AppendEntriesResponse::Success),
        Kind::PartialSuccess => {
            Ok(AppendEntriesResponse::PartialSuccess(response.matching.map(wire::log_id)))
        }
        Kind::Conflict => Ok(AppendEntriesResponse::Conflict),
        Kind::HigherVote => {
            let vote = wire::required_vote(response.higher_vote).map_err(|e| NetworkError::new(&e))?;
            Ok(AppendEntriesResponse::HigherVote(vote))
        }
        Kind::Unspecified => {
            Err(NetworkError::new(&InvalidMessage::new("append entries response", "no result known here"))
                .into())
        }
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> Refusal {
    unreachable_node(error).into()
}

fn unreachable_node(error: &(impl std::error::Error + 'static)) -> Unreachable {
    Unreachable::new(error)
}
