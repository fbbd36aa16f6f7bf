//! Requests that other nodes pass on, and their questions.

use std::{sync::Arc, time::Duration, vec};

use hanse_identity::{Peer, PeerKeys};
use hanse_management::{Problem, ProblemName};
use hanse_proto::{
    InvalidMessage, control,
    raft::{
        AddVoterRequest, AddVoterResponse, FederationKeysRequest, FederationKeysResponse, NotLeader,
        ProposeRequest, ProposeResponse, ReadIndex, ReadIndexRequest, ReadIndexResponse, ReportsRequest,
        ReportsResponse, add_voter_response, peer_server, propose_response, read_index_response,
    },
};
use hanse_state::{
    Command, State, Version,
    port::{Consistency, Replicated as _},
};
use hanse_topology::Identity;
use prost::Message as _;
use tokio::time::Instant;
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use super::keys::{self, KeysHook};
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

/// A command that takes a millisecond or more to read.
const LARGE_COMMAND: usize = 64 << 10;

/// A part of what agents reported closes at this size. One agent's report is at most 4 MiB and may take a part of its own, with what
/// the agent acknowledged of its scopes: below the 12 MiB that a message may have.
const PART_BYTES: usize = 1 << 20;

/// Serves other nodes' requests. It answers only for itself: who is not the leader says so, and never passes on.
pub struct PeerService {
    group: Arc<RaftGroup>,
    reports: ReportsHook,
    keys: KeysHook,
}

impl PeerService {
    pub(crate) fn new(group: Arc<RaftGroup>, reports: ReportsHook, keys: KeysHook) -> Self {
        Self { group, reports, keys }
    }

    /// One attempt at a write, if this node leads.
    async fn attempt(&self, message: control::Command, within_ms: u64) -> Result<Attempt, Status> {
        let command = read(&message).await.map_err(|e| Status::invalid_argument(e.to_string()))?;
        let member = self.group.member();
        if member.leader() != Leader::Here {
            return Ok(Attempt::Again);
        }
        let began = Instant::now();
        let deadline = began + Duration::from_millis(within_ms).min(MAX_WITHIN);
        Ok(self.group.propose_here(command, message, began + member.timing.patience(), deadline).await)
    }

    fn not_leader(&self) -> NotLeader {
        NotLeader { leader: self.group.member().leader_node() }
    }
}

/// A command, read elsewhere if it is large: the threads here are those that heartbeats need.
async fn read(message: &control::Command) -> Result<Command, InvalidMessage> {
    if message.encoded_len() <= LARGE_COMMAND {
        return Command::from_proto(message.clone());
    }
    let message = message.clone();
    let read = tokio::task::spawn_blocking(move || Command::from_proto(message)).await;
    read.unwrap_or_else(|_| Err(InvalidMessage::new("command", "this node is stopping")))
}

#[tonic::async_trait]
impl peer_server::Peer for PeerService {
    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        let ProposeRequest { command, within_ms, version } = request.into_inner();
        let message = command.ok_or_else(|| Status::invalid_argument("there is no command"))?;
        if version == 0 {
            return Err(Status::invalid_argument("there is no version by which the command was judged"));
        }
        // First: what a later version has in a command is lost in reading.
        let fits = Version::read(version, "").map_err(|unknown| unknown.problem());
        let attempt = match fits.and_then(|_| check_size(&message)) {
            Err(problem) => Attempt::Refused(problem),
            Ok(()) => self.attempt(message, within_ms).await?,
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

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        self.group.member().check_target(request.into_inner().target)?;
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

    type ReportsStream = Iter<vec::IntoIter<Result<ReportsResponse, Status>>>;

    async fn reports(
        &self,
        request: Request<ReportsRequest>,
    ) -> Result<Response<Self::ReportsStream>, Status> {
        self.group.member().check_target(request.into_inner().target)?;
        // Megabytes are copied: not on the threads that heartbeats need.
        let hook = self.reports.clone();
        let parts =
            tokio::task::spawn_blocking(move || in_parts(hook()).into_iter().map(Ok).collect::<Vec<_>>());
        let parts = parts.await.map_err(|_| Status::unavailable("the reports cannot be gathered now"))?;
        Ok(Response::new(tokio_stream::iter(parts)))
    }

    async fn add_voter(
        &self,
        request: Request<AddVoterRequest>,
    ) -> Result<Response<AddVoterResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let AddVoterRequest { node, version } = request.into_inner();
        let node = node.ok_or_else(|| Status::invalid_argument("there is no node"))?;
        let Some((identity, keys)) = peer.and_then(|peer| Some((peer.identity?, peer.keys?))) else {
            return Err(Status::unauthenticated(NO_CERTIFICATE));
        };
        if identity.name.as_str() != node.name {
            return Err(Status::permission_denied("a control node asks for a place under its own name only"));
        }
        let change = if self.group.member().leader() == Leader::Here {
            // A leader that has just been elected may not have applied yet what admitted the node.
            match self.group.read(Consistency::Linearizable).await {
                Ok(state) if !is_known_key(&state, &identity, &keys) => Change::Refused(replaced(&identity)),
                Ok(_) => self.group.add_voter_here(node, version, Instant::now() + ADD_WITHIN).await,
                Err(problem) => Change::Refused(problem),
            }
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

    async fn federation_keys(
        &self,
        request: Request<FederationKeysRequest>,
    ) -> Result<Response<FederationKeysResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        self.group.member().check_target(request.into_inner().target)?;
        let Some((identity, keys)) = peer.and_then(|peer| Some((peer.identity?, peer.keys?))) else {
            return Err(Status::unauthenticated(NO_CERTIFICATE));
        };
        let keys = keys::told(&self.group.current(), &identity, &keys, &self.keys)?;
        Ok(Response::new(FederationKeysResponse { keys }))
    }
}

/// What a caller without a certificate is told.
const NO_CERTIFICATE: &str = "a control node shows its certificate";

/// Whether a control node has the key that its name is on record with, or has none on record. One that was replaced has another,
/// and must not move the place of the node that has the name now.
fn is_known_key(state: &State, identity: &Identity, keys: &PeerKeys) -> bool {
    state.member(&identity.to_string()).is_none_or(|member| member.key_digest == keys.issuer_digest())
}

fn replaced(identity: &Identity) -> Problem {
    let detail = format!("{identity} has another key now: the control node of that name was replaced");
    Problem::new(ProblemName::Conflict, detail).remedy("join again, under a name of its own")
}

/// The same in parts, of which there is at least one.
fn in_parts(all: ReportsResponse) -> Vec<ReportsResponse> {
    let (mut parts, mut size) = (vec![ReportsResponse { agents: Vec::new(), ..all }], 0);
    for agent in all.agents {
        let bytes = agent.encoded_len();
        if size > 0 && size + bytes > PART_BYTES {
            parts.push(ReportsResponse::default());
            size = 0;
        }
        size += bytes;
        parts.last_mut().expect("there is one").agents.push(agent);
    }
    parts
}

#[cfg(test)]
mod tests {
    use hanse_proto::sync::{Facts, Heard};

    use super::*;

    #[test]
    fn reports_travel_in_parts_that_fit() {
        let agent = |bytes: usize| Heard { identity: "x".repeat(bytes), ..Default::default() };
        let facts = Some(Facts { left_out: 1, ..Default::default() });
        let sizes = |agents: &[usize]| -> Vec<usize> {
            let agents = agents.iter().map(|bytes| agent(*bytes)).collect();
            let parts = in_parts(ReportsResponse { agents, facts: facts.clone() });
            assert!(parts[0].facts == facts && parts[1..].iter().all(|part| part.facts.is_none()));
            parts.iter().map(|part| part.agents.len()).collect()
        };
        assert_eq!(sizes(&[]), [0], "one that says nothing of agents speaks of itself");
        assert_eq!(sizes(&[10, 10, 10]), [3]);
        assert_eq!(sizes(&[600 << 10, 600 << 10, 10]), [1, 2]);
        assert_eq!(sizes(&[4 << 20, 10, 4 << 20]), [1, 1, 1], "a large one has a part of its own");
        let largest = in_parts(ReportsResponse { agents: vec![agent(4 << 20); 3], facts: None });
        assert!(largest.iter().all(|part| part.encoded_len() < 5 << 20));
    }
}
