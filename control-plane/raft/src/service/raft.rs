//! Raft's own calls.

use std::{sync::Arc, time::Duration};

use hanse_proto::{
    InvalidMessage,
    raft::{self, append_entries_response, raft_server, snapshot_part},
};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    member::Member,
    network::PART_TIMEOUT,
    state_machine::{SnapshotError, Snapshots},
    type_config::{Snapshot, TypeConfig},
    wire,
};

/// Serves Raft's calls.
pub struct RaftService {
    member: Member,
    snapshots: Arc<Snapshots>,
}

impl RaftService {
    pub(crate) fn new(member: Member, snapshots: Arc<Snapshots>) -> Self {
        Self { member, snapshots }
    }

    /// The whole stream in a file, checked.
    async fn receive(
        &self,
        head: &raft::SnapshotHead,
        mut parts: Streaming<raft::SnapshotPart>,
    ) -> Result<Snapshot, Status> {
        let snapshots = self.snapshots.clone();
        let mut incoming = blocking(move || snapshots.begin_receiving()).await?;
        let mut received = 0;
        loop {
            let part = timeout(PART_TIMEOUT, parts.message()).await;
            let part = part.map_err(|_| Status::deadline_exceeded("the snapshot does not get on"))??;
            let Some(part) = part else { break };
            self.snapshots.note_arrival();
            let Some(snapshot_part::Part::Data(bytes)) = part.part else {
                return Err(Status::invalid_argument("a snapshot has one header, then data"));
            };
            received += bytes.len() as u64;
            if received > head.length {
                return Err(Status::invalid_argument("the snapshot is longer than its header says"));
            }
            incoming = blocking(move || {
                incoming.write(&bytes)?;
                Ok(incoming)
            })
            .await?;
        }
        let (length, unknown) = (head.length, self.member.unknown.clone());
        blocking(move || {
            incoming.finish(length).inspect_err(|error| {
                if let SnapshotError::Version(version) = error {
                    unknown.send_replace(Some(version.clone()));
                }
            })
        })
        .await
    }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    async fn append_entries(
        &self,
        request: Request<raft::AppendEntriesRequest>,
    ) -> Result<Response<raft::AppendEntriesResponse>, Status> {
        let message = request.into_inner();
        self.member.check_target(message.target)?;
        let quorum_age = message.quorum_age_ms.map(Duration::from_millis);
        let rpc = AppendEntriesRequest::<TypeConfig> {
            vote: wire::required_vote(message.vote).map_err(invalid)?,
            prev_log_id: message.prev_log_id.map(wire::log_id),
            entries: message
                .entries
                .into_iter()
                .map(wire::entry)
                .collect::<Result<_, _>>()
                .map_err(invalid)?,
            leader_commit: message.leader_commit.map(wire::log_id),
        };
        let leader = rpc.vote.leader_id;
        // Until it has committed an entry of its own term, a leader may know less than was committed before it.
        let committed = rpc.leader_commit.filter(|log_id| log_id.leader_id.term == leader.term);
        self.member.reach.heard(leader.node_id);
        let response = self.member.raft.append_entries(rpc).await.map_err(stopped)?;
        use append_entries_response::Result as Kind;
        let (result, matching, higher_vote) = match response {
            AppendEntriesResponse::Success => (Kind::Success, None, None),
            AppendEntriesResponse::PartialSuccess(matching) => (Kind::PartialSuccess, matching, None),
            AppendEntriesResponse::Conflict => (Kind::Conflict, None, None),
            AppendEntriesResponse::HigherVote(vote) => (Kind::HigherVote, None, Some(vote)),
        };
        if let (None, Some(age)) = (&higher_vote, quorum_age) {
            self.member.contact.confirm(age);
            if let (Kind::Success | Kind::PartialSuccess, Some(committed)) = (result, committed) {
                let applied = self.member.applied.borrow().count();
                self.member.contact.committed(age, committed.index + 1, applied);
            }
        }
        Ok(Response::new(raft::AppendEntriesResponse {
            result: result.into(),
            matching: matching.as_ref().map(wire::log_id_to_proto),
            higher_vote: higher_vote.as_ref().map(wire::vote_to_proto),
        }))
    }

    async fn request_vote(
        &self,
        request: Request<raft::VoteRequest>,
    ) -> Result<Response<raft::VoteResponse>, Status> {
        let message = request.into_inner();
        self.member.check_target(message.target)?;
        let rpc = VoteRequest {
            vote: wire::required_vote(message.vote).map_err(invalid)?,
            last_log_id: message.last_log_id.map(wire::log_id),
        };
        self.member.reach.heard(rpc.vote.leader_id.node_id);
        let response = self.member.raft.vote(rpc).await.map_err(stopped)?;
        Ok(Response::new(raft::VoteResponse {
            vote: Some(wire::vote_to_proto(&response.vote)),
            granted: response.vote_granted,
            last_log_id: response.last_log_id.as_ref().map(wire::log_id_to_proto),
        }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<raft::SnapshotPart>>,
    ) -> Result<Response<raft::SnapshotResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(raft::SnapshotPart { part: Some(snapshot_part::Part::Head(head)) }) =
            parts.message().await?
        else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        self.member.check_target(head.target)?;
        let vote = wire::required_vote(head.vote).map_err(invalid)?;
        let mine = self.member.metrics().vote;
        if vote < mine {
            // The sender no longer leads; spare it the rest.
            return Ok(Response::new(raft::SnapshotResponse { vote: Some(wire::vote_to_proto(&mine)) }));
        }
        let snapshot = self.receive(&head, parts).await?;
        if Some(&snapshot.meta) != head.meta.clone().map(wire::snapshot_meta).as_ref() {
            return Err(Status::invalid_argument("the snapshot is another than its header says"));
        }
        tracing::info!(meta = %snapshot.meta, bytes = head.length, "a snapshot arrived");
        let response = self.member.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(raft::SnapshotResponse { vote: Some(wire::vote_to_proto(&response.vote)) }))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(SnapshotError::Interrupted(error)));
    done.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "receiving a snapshot failed");
        Status::internal(error.to_string())
    })
}

fn invalid(error: InvalidMessage) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::error::Error) -> Status {
    Status::unavailable(error.to_string())
}
