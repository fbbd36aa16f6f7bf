//! Requests that other nodes pass on, and their questions.

use std::{sync::Arc, time::Duration};

use hanse_proto::raft::{
    AddVoterRequest, AddVoterResponse, NotLeader, ProposeRequest, ProposeResponse, ReadIndex,
    ReadIndexRequest, ReadIndexResponse, ReportsRequest, ReportsResponse, add_voter_response, peer_server,
    propose_response, read_index_response,
};
use hanse_state::{Command, Problem, ProblemName};
use hanse_transport::Peer;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    group::{Attempt, Change, RaftGroup, check_size},
    member::{Leader, NoReadIndex},
};

/// Tells what the agents connected to this node last reported.
pub type ReportsHook = Arc<dyn Fn() -> ReportsResponse + Send + Sync>;

/// The longest a caller may have a write wait here.
const MAX_WITHIN: Duration = Duration::from_secs(30);

/// The longest a node may take to be added, as asked by another.
const ADD_WITHIN: Duration = Duration::from_secs(60);

/// Serves other nodes' requests. It answers only for itself: who is not the leader says so, and never passes on.
pub struct PeerService {
    group: Arc<RaftGroup>,
    reports: ReportsHook,
}

impl PeerService {
    pub(crate) fn new(group: Arc<RaftGroup>, reports: ReportsHook) -> Self {
        Self { group, reports }
    }

    fn not_leader(&self) -> NotLeader {
        NotLeader { leader: self.group.member().leader_node() }
    }
}

#[tonic::async_trait]
impl peer_server::Peer for PeerService {
    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        let ProposeRequest { command, within_ms } = request.into_inner();
        let message = command.ok_or_else(|| Status::invalid_argument("there is no command"))?;
        let command =
            Command::from_proto(message.clone()).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let began = Instant::now();
        let deadline = began + Duration::from_millis(within_ms).min(MAX_WITHIN);
        let member = self.group.member();
        let attempt = match check_size(&message) {
            Err(problem) => Attempt::Refused(problem),
            Ok(()) if member.leader() == Leader::Here => {
                let taken_by = began + member.timing.patience();
                self.group.propose_here(command, message, taken_by, deadline).await
            }
            Ok(()) => Attempt::Again,
        };
        let (result, log_index) = match attempt {
            Attempt::Decided(decided) => {
                (propose_response::Result::Outcome(decided.outcome.to_proto()), decided.log_index)
            }
            Attempt::Again => (propose_response::Result::NotLeader(self.not_leader()), 0),
            Attempt::Stopped => (propose_response::Result::NotLeader(NotLeader { leader: None }), 0),
            Attempt::Refused(problem) => (propose_response::Result::Problem(problem.to_proto()), 0),
        };
        Ok(Response::new(ProposeResponse { result: Some(result), log_index }))
    }

    async fn read_index(&self, _: Request<ReadIndexRequest>) -> Result<Response<ReadIndexResponse>, Status> {
        let result = match self.group.read_index_here().await {
            Ok(applied) => read_index_response::Result::ReadIndex(ReadIndex { applied }),
            Err(NoReadIndex::NotLeader) => read_index_response::Result::NotLeader(self.not_leader()),
            Err(NoReadIndex::NoQuorum | NoReadIndex::NoAnswer) => read_index_response::Result::Problem(
                Problem::new(ProblemName::NoQuorum, "the leader has no quorum").to_proto(),
            ),
            Err(NoReadIndex::Stopped) => return Err(Status::unavailable("this node is stopping")),
        };
        Ok(Response::new(ReadIndexResponse { result: Some(result) }))
    }

    async fn reports(&self, _: Request<ReportsRequest>) -> Result<Response<ReportsResponse>, Status> {
        Ok(Response::new((self.reports)()))
    }

    async fn add_voter(
        &self,
        request: Request<AddVoterRequest>,
    ) -> Result<Response<AddVoterResponse>, Status> {
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.identity.clone());
        let node = request.into_inner().node.ok_or_else(|| Status::invalid_argument("there is no node"))?;
        if peer.is_none_or(|peer| peer.name.as_str() != node.name) {
            return Err(Status::permission_denied("a control node asks for a place under its own name only"));
        }
        let change = if self.group.member().leader() == Leader::Here {
            self.group.add_voter_here(node, Instant::now() + ADD_WITHIN).await
        } else {
            Change::NotLeader
        };
        let result = match change {
            Change::Done => add_voter_response::Result::Added(true),
            Change::NotLeader => add_voter_response::Result::NotLeader(self.not_leader()),
            Change::Refused(problem) => add_voter_response::Result::Problem(problem.to_proto()),
        };
        Ok(Response::new(AddVoterResponse { result: Some(result) }))
    }
}
