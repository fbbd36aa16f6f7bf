//! Who belongs to the group.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_management::{Problem, ProblemName};
use hanse_proto::raft::{AddVoterRequest, ControlNode, add_voter_response};
use hanse_state::Version;
use openraft::{
    ChangeMembers, RaftMetrics, ServerState,
    error::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::{
    sync::Mutex,
    time::{Duration, Instant, sleep, timeout, timeout_at},
};

use super::{GroupError, RaftGroup, no_quorum, seats::name_of_the_leader, stopped};
use crate::{
    member::Leader,
    type_config::{NodeId, Raft},
};

/// Longest time for a node to be added: a snapshot has to arrive there. A node that joins waits longer while one arrives.
const ADD_TIMEOUT: Duration = Duration::from_secs(90);

/// A node may become a voter when it is not further behind than this: it makes up for it in one message, so that the
/// group never waits for it.
const PROMOTION_LAG: u64 = 32;

/// Between two looks at a change under way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Between two attempts to join.
const JOIN_PAUSE: Duration = Duration::from_millis(500);

/// Longest time for one attempt to finish a change that was left half done: an entry has to be committed.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two attempts to finish a change.
const FINISH_PAUSE: Duration = Duration::from_millis(500);

/// What came of one attempt at a membership change.
pub(crate) enum Change {
    /// It stands.
    Done,
    /// Nothing changed; another node may lead.
    NotLeader,
    /// It is over. What was begun may be finished by repeating it.
    Refused(Problem),
}

impl RaftGroup {
    /// Makes a node a voter, wherever the leader is: first a learner, promoted once it has caught up. Adding a voter again
    /// changes nothing but its addresses. A node that comes back under its name with a new id, its disk being lost,
    /// takes the place of the old one if the state admitted it to that.
    pub async fn add_voter(&self, node: ControlNode) -> Result<(), Problem> {
        let deadline = Instant::now() + ADD_TIMEOUT;
        loop {
            let change = match self.member.leader() {
                Leader::Here => self.add_voter_here(node.clone(), Version::KNOWN.number(), deadline).await,
                Leader::There(leader) => {
                    self.ask_to_add(&leader.raft_address, node.clone(), deadline).await.0
                }
                Leader::Nowhere => Change::NotLeader,
            };
            match change {
                Change::Done => return Ok(()),
                Change::Refused(problem) => return Err(problem),
                Change::NotLeader => {}
            }
            if !self.member.wait_for_leader(deadline).await {
                return Err(no_quorum("no control-plane node led with a quorum"));
            }
        }
    }

    /// Asks the nodes at these Raft addresses to add this node, until one does and this node knows it.
    pub async fn join(&self, via: &[String]) -> Result<(), GroupError> {
        let mut deadline = Instant::now() + ADD_TIMEOUT;
        let mut arrivals = self.snapshots.arrivals();
        let mut hint: Option<String> = None;
        let mut asked = 0;
        while !self.is_settled_voter() {
            let arrived = self.snapshots.arrivals();
            if std::mem::replace(&mut arrivals, arrived) != arrived {
                // A large snapshot on a slow road may take longer.
                deadline = Instant::now() + ADD_TIMEOUT;
            }
            if Instant::now() >= deadline || via.is_empty() {
                let detail =
                    format!("none of {} made this node a voter within {ADD_TIMEOUT:?}", via.join(", "));
                return Err(GroupError::TimedOut(detail));
            }
            let address = hint.take().unwrap_or_else(|| via[asked % via.len()].clone());
            asked += 1;
            match self.ask_to_add(&address, self.options.self_node.clone(), deadline).await {
                (Change::Done, _) => {}
                (Change::Refused(problem), _) if problem.name == ProblemName::NoQuorum => {}
                (Change::Refused(problem), _) => return Err(GroupError::Refused(problem)),
                (Change::NotLeader, leader) => hint = leader,
            }
            if hint.is_none() {
                sleep(JOIN_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Whether this node votes, and goes on voting however a change under way ends: there is none.
    fn is_settled_voter(&self) -> bool {
        self.is_voter() && !is_joint(&self.member.metrics())
    }

    /// One attempt at another node; if it does not lead, who does.
    async fn ask_to_add(
        &self,
        address: &str,
        node: ControlNode,
        deadline: Instant,
    ) -> (Change, Option<String>) {
        let Ok(mut client) = self.member.channels.peer(address) else { return (Change::NotLeader, None) };
        let request = AddVoterRequest { node: Some(node), version: Version::KNOWN.number() };
        let asked = timeout_at(deadline, client.add_voter(request)).await;
        let response = match asked {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) if status.code() == tonic::Code::PermissionDenied => {
                let problem = Problem::new(ProblemName::Forbidden, status.message())
                    .remedy("each control node asks for its own place, under the name in its certificate");
                return (Change::Refused(problem), None);
            }
            Ok(Err(status)) => {
                tracing::debug!(%status, address, "asking to be added failed");
                return (Change::NotLeader, None);
            }
            Err(_) => return (Change::NotLeader, None),
        };
        match response.result {
            Some(add_voter_response::Result::Added(true)) => (Change::Done, None),
            Some(add_voter_response::Result::Problem(problem)) => match Problem::from_proto(problem) {
                Ok(problem) => (Change::Refused(problem), None),
                Err(error) => (Change::Refused(Problem::new(ProblemName::Internal, error.to_string())), None),
            },
            Some(add_voter_response::Result::NotLeader(not_leader)) => {
                (Change::NotLeader, not_leader.leader.map(|leader| leader.raft_address))
            }
            Some(add_voter_response::Result::Added(false)) | None => (Change::NotLeader, None),
        }
    }

    /// One attempt on this node, for one that knows the versions up to `known`. Changes happen one after the other.
    pub(crate) async fn add_voter_here(&self, node: ControlNode, known: u32, deadline: Instant) -> Change {
        let Ok(_turn) = timeout_at(deadline, self.changing_membership.lock()).await else {
            return Change::Refused(no_quorum("another membership change is not getting done"));
        };
        let steps = self.add_voter_steps(&node, known);
        match timeout_at(deadline, steps).await {
            Ok(Ok(())) => Change::Done,
            Ok(Err(change)) => change,
            Err(_) => Change::Refused(no_quorum(format!("adding {} did not get done in time", node.name))),
        }
    }

    async fn add_voter_steps(&self, node: &ControlNode, known: u32) -> Result<(), Change> {
        self.make_learner(node, known).await?;
        let (_, settled) = self.voters(node);
        if settled {
            return Ok(());
        }
        self.caught_up(node.id).await?;
        self.make_voter(node, known).await
    }

    /// Makes the node a learner, unless it is a member.
    pub(super) async fn make_learner(&self, node: &ControlNode, known: u32) -> Result<(), Change> {
        let member = self.check_known(node).map_err(Change::Refused)?;
        self.check_seat(node).await?;
        self.check_version(node, known)?;
        if member.is_none() {
            tracing::info!(id = node.id, name = node.name, "adding a learner");
            self.change(ChangeMembers::AddNodes(BTreeMap::from([(node.id, node.clone())]))).await?;
        } else if member.as_ref() != Some(node) {
            tracing::info!(id = node.id, name = node.name, "a member's addresses changed");
            self.change(ChangeMembers::SetNodes(BTreeMap::from([(node.id, node.clone())]))).await?;
        }
        Ok(())
    }

    /// Makes a learner a voter. A version may have been finalized while the learner caught up.
    pub(super) async fn make_voter(&self, node: &ControlNode, known: u32) -> Result<(), Change> {
        self.check_version(node, known)?;
        let (voters, _) = self.voters(node);
        tracing::info!(id = node.id, name = node.name, ?voters, "making it a voter");
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await?;
        let leftovers = self.namesakes(node);
        if !leftovers.is_empty() {
            self.change(ChangeMembers::RemoveNodes(leftovers)).await?;
        }
        Ok(())
    }

    /// Whether the node knows the version in force, as far as this node has applied the log.
    fn check_version(&self, node: &ControlNode, known: u32) -> Result<(), Change> {
        let version = self.member.applied.borrow().state.version();
        version.check_known_to(&node.name, known).map_err(Change::Refused)
    }

    /// What is known of the node by its id.
    fn check_known(&self, node: &ControlNode) -> Result<Option<ControlNode>, Problem> {
        if node.id == 0 || node.name.is_empty() || node.raft_address.is_empty() {
            return Err(Problem::new(
                ProblemName::Invalid,
                "a member needs an id, a name and a Raft address",
            ));
        }
        if node.id != self.member.id && node.name == self.member.name {
            return Err(name_of_the_leader(&node.name));
        }
        let metrics = self.member.metrics();
        let known = metrics.membership_config.membership().get_node(&node.id).cloned();
        match known {
            Some(known) if known.name != node.name => {
                let detail = format!("the id {} belongs to {}", node.id, known.name);
                Err(Problem::new(ProblemName::Conflict, detail)
                    .remedy("start the node with an empty data directory"))
            }
            known => Ok(known),
        }
    }

    /// Members of the same name and another id.
    pub(super) fn namesakes(&self, node: &ControlNode) -> BTreeSet<NodeId> {
        self.others(node.id, |name| name == node.name)
    }

    /// The members of such a name, but for the one with this id.
    pub(super) fn others(&self, id: NodeId, is_named: impl Fn(&str) -> bool) -> BTreeSet<NodeId> {
        let metrics = self.member.metrics();
        let members = metrics.membership_config.membership().nodes();
        members.filter(|(other, known)| **other != id && is_named(&known.name)).map(|(id, _)| *id).collect()
    }

    /// The voters that there should be, and whether they are.
    fn voters(&self, node: &ControlNode) -> (BTreeSet<NodeId>, bool) {
        let namesakes = self.namesakes(node);
        let metrics = self.member.metrics();
        let membership = metrics.membership_config.membership();
        // While a change is joint, the last configuration is the one wanted.
        let now = membership.get_joint_config().last().cloned().unwrap_or_default();
        let mut wanted: BTreeSet<_> = now.difference(&namesakes).copied().collect();
        wanted.insert(node.id);
        let settled = membership.get_joint_config().len() == 1 && wanted == now && namesakes.is_empty();
        (wanted, settled)
    }

    /// Waits until a learner has nearly all of the log.
    async fn caught_up(&self, id: NodeId) -> Result<(), Change> {
        let mut metrics = self.member.raft.metrics();
        let settled = metrics.wait_for(|metrics| {
            let Some(replication) = &metrics.replication else { return true };
            let matched = replication.get(&id).copied().flatten();
            let last = metrics.last_log_index.unwrap_or(0);
            matched.is_some_and(|matched| matched.index + PROMOTION_LAG >= last)
        });
        match settled.await {
            Ok(metrics) if metrics.replication.is_some() => Ok(()),
            Ok(_) => Err(Change::NotLeader),
            Err(_) => Err(Change::Refused(stopped())),
        }
    }

    /// One change, repeated while an earlier one is under way. Removed voters do not stay as learners.
    async fn change(&self, members: ChangeMembers<NodeId, ControlNode>) -> Result<(), Change> {
        loop {
            match self.member.raft.change_membership(members.clone(), false).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => sleep(LOOK_AGAIN).await,
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                    return Err(Change::NotLeader);
                }
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                    return Err(Change::Refused(Problem::new(ProblemName::Internal, error.to_string())));
                }
                Err(RaftError::Fatal(_)) => return Err(Change::Refused(stopped())),
            }
        }
    }
}

/// Finishes, wherever this node leads, changes that were left between their two steps: by a leader that died, or by a
/// caller that gave up. Until then every decision would need a quorum of the old voters and one of the new.
pub(super) async fn finish_changes(raft: Raft, changing: Arc<Mutex<()>>) {
    let mut metrics = raft.metrics();
    let half_done = |metrics: &RaftMetrics<NodeId, ControlNode>| {
        metrics.state == ServerState::Leader && is_joint(metrics)
    };
    while metrics.wait_for(half_done).await.is_ok() {
        {
            // A change under way has the turn, and finishes by itself.
            let _turn = changing.lock().await;
            let found = metrics.borrow().clone();
            let voters = found.membership_config.membership().get_joint_config().last().cloned();
            if let (true, Some(voters)) = (half_done(&found), voters) {
                tracing::info!(?voters, "finishing a membership change that was left half done");
                let change = raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false);
                match timeout(FINISH_TIMEOUT, change).await {
                    Ok(Ok(_)) => {}
                    // Not committed yet, or another node leads.
                    Ok(Err(error)) => tracing::debug!(%error, "it cannot be finished now"),
                    Err(_) => tracing::debug!("it did not get finished in time"),
                }
            }
        }
        sleep(FINISH_PAUSE).await;
    }
}

/// Whether a change is between its two steps.
fn is_joint(metrics: &RaftMetrics<NodeId, ControlNode>) -> bool {
    metrics.membership_config.membership().get_joint_config().len() > 1
}
