//! The port by which the faces of the control plane reach the replicated state. `hanse-raft` implements it; `hanse-api` and
//! the federation service use it; tests may implement it over a bare [`State`].

mod sealing;

use std::{collections::BTreeMap, future::Future, pin::Pin};

use hanse_management::{Problem, Revision};
pub use hanse_proto::sync::{Facts, TrustStatus};
pub use hanse_steering::Standby;
use hanse_topology::{Name, ScopeId};

pub use self::sealing::{NoSecrets, SEAL_OUTDATED, Sealing, ToSeal};
use crate::{
    Command, Outcome, RecoveryKey, RootCertificate, RootId, State, Version,
    admission::{Admitted, Seal, Writer, admit, needs_later},
    resource::rfc3339,
};

/// A boxed future, so that the ports are object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write acknowledged before it began. Needs a quorum.
    Linearizable,
    /// What this node has applied. Always answers. Never goes back behind what the same node answered before, unless
    /// it was [restarted](Replicated::restarted).
    Stale,
    /// This node's state once it has reached a revision. Waits as long as the caller does.
    AtLeast(Revision),
}

/// The replicated state, from one node.
///
/// Errors are [`Problem`]s ready for the caller: `NoQuorum` (nothing happened), `UnknownFate` (deadline passed after the
/// command was handed on), `Internal`.
pub trait Replicated: Send + Sync + 'static {
    /// Replicates a command, wherever the leader is, and returns its outcome once applied **on this node** too, so that
    /// a read of `current` after it sees the write.
    fn replicate(&self, admitted: Admitted) -> BoxFuture<'_, Result<Outcome, Problem>>;

    /// The same for a command that was not judged yet and has no Secrets. It is judged here, on the node that was asked.
    #[expect(clippy::disallowed_methods, reason = "the command is not proposed yet")]
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Outcome, Problem>> {
        Box::pin(async move {
            let version = self.version_for(&command).await?;
            let state = self.current();
            match admit(command, version, Writer::Handler, Seal { state: &state, by: &NoSecrets }) {
                Ok(admitted) => self.replicate(admitted).await,
                Err(problem) => Ok(Outcome::Rejected(problem)),
            }
        })
    }

    /// The version to judge a command by. This node may not have applied yet what put a version in force: where `command` needs a
    /// later one than is in force here, the state is read anew.
    fn version_for<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Version, Problem>> {
        Box::pin(async move {
            let version = self.current().version();
            if !needs_later(command, version) {
                return Ok(version);
            }
            Ok(self.read(Consistency::Linearizable).await?.version())
        })
    }

    /// A consistent copy of the state; O(1), shares structure.
    fn read(&self, consistency: Consistency) -> BoxFuture<'_, Result<State, Problem>>;

    /// Whether this node may show less than it showed before its last restart: it has not confirmed since that it has applied
    /// all that was committed before. Ask before reading: an answer read after `false` is never behind an earlier one.
    fn restarted(&self) -> bool {
        false
    }

    /// The state this node has applied, now.
    fn current(&self) -> State;

    /// Resolves with the applied state as soon as its revision is greater than `revision`.
    fn changed_since(&self, revision: Revision) -> BoxFuture<'_, State>;

    /// The group as this node sees it.
    fn group(&self) -> GroupStatus;
}

/// The Raft group as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupStatus {
    /// This node's name.
    pub this: String,
    /// The leader's name, if one is known and has a quorum.
    pub leader: Option<String>,
    /// Raft's term.
    pub term: u64,
    /// How long ago this node had all that a leader with a quorum had committed, in milliseconds.
    pub as_of_age_ms: u64,
    /// Whether that was within the election timeout.
    pub up_to_date: bool,
    /// Whether this node heard of a leader with a quorum within the election timeout. One that is still behind did, too.
    pub quorum: bool,
    /// Every member.
    pub nodes: Vec<NodeStatus>,
}

/// One control-plane node as another sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its Raft id.
    pub id: u64,
    /// Its name, `cp-1`.
    pub name: String,
    /// `leader`, `voter` or `learner`.
    pub role: &'static str,
    /// Its operator API.
    pub api_url: String,
    /// The last log index known to be on it; known by the leader only.
    pub matched: Option<u64>,
}

/// What agents and gateways last said: soft state, gathered from every control node that answers.
pub trait Fleet: Send + Sync + 'static {
    /// All agents known to any control node that answers within the deadline, and which ones did not answer.
    fn fleet(&self) -> BoxFuture<'_, FleetReport>;

    /// What is known of each region of a FailoverPlan, the active one too, for [`readiness`](hanse_steering::readiness). Regions are in the
    /// order of the plan. Empty: there is no such plan.
    fn standbys(&self, plan: &Name) -> BoxFuture<'_, Vec<Standby>>;
}

/// What could be gathered of the fleet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FleetReport {
    /// The agents, and the gateways behind them.
    pub agents: Vec<AgentStatus>,
    /// Control nodes that did not answer and may hide agents and gateways: those may be missing from `agents`, or be there as another
    /// node last knew them. A node that is silent for longer than its agents' leases is not among them.
    pub silent: Vec<String>,
    /// Agents that have more gateways than their report takes.
    pub partial: Vec<PartialReport>,
    /// Names that two processes have at once.
    pub duplicates: Vec<Duplicate>,
    /// What each control node that answered says of itself, by Raft id: while a node is replaced, two members have one name.
    pub nodes: BTreeMap<u64, Facts>,
    /// Milliseconds since each control node answered last, by Raft id; those that never did are missing.
    pub heard_ms_ago: BTreeMap<u64, u64>,
}

/// An agent that has more gateways than its report takes: the others are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialReport {
    /// The agent's name.
    pub agent: String,
    /// Its region.
    pub region: Name,
    /// How many gateways are not known.
    pub left_out: u64,
    /// Milliseconds since a control node heard from the agent.
    pub heard_ms_ago: u64,
}

/// A name that two processes have at once: a data directory was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The name.
    pub name: String,
    /// The region.
    pub region: Name,
    /// `agent` or `gateway`.
    pub role: &'static str,
    /// Milliseconds since both were last known to run.
    pub seen_ms_ago: u64,
}

impl Duplicate {
    /// When both were last known to run, as RFC 3339 has it; `now_ms` is the time now.
    pub fn seen_at(&self, now_ms: u64) -> String {
        rfc3339(now_ms.saturating_sub(self.seen_ms_ago))
    }
}

/// What the faces of the control plane ask about certificates, which the state does not read.
pub trait RootCertificates: Send + Sync + 'static {
    /// The root that this node's own certificate comes from.
    fn present(&self) -> Option<RootFacts>;

    /// What a root's certificate (DER) says; `None` if it cannot be read.
    fn facts(&self, certificate: &[u8]) -> Option<RootFacts>;

    /// The present root and the one that is to be believed beside it, from the file that an operator made of the two. Refused
    /// unless each of them speaks for the other and one is this federation's.
    fn rotation(&self, pem: &str) -> Result<(RootCertificate, RootCertificate), Problem>;
}

/// What the faces of the control plane ask about the federation key, which the state has wrapped only.
pub trait RecoveryWrapping: Send + Sync + 'static {
    /// The recovery key of these two public keys, PEM. Refused where one of them is of another type than the federation's.
    fn read(&self, sign: &str, wrap: &str) -> Result<RecoveryKey, Problem>;

    /// Each version of the federation key, wrapped to this recovery key. Refused where this node lacks one.
    fn wrapped(&self, state: &State, recovery: &RecoveryKey) -> Result<Vec<Vec<u8>>, Problem>;
}

/// What a root's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFacts {
    /// What it goes by.
    pub key: RootId,
    /// The certificate as PEM.
    pub pem: String,
    /// Its end, Unix milliseconds.
    pub not_after_ms: u64,
}

impl RootFacts {
    /// Its end, as RFC 3339 has it.
    pub fn not_after(&self) -> String {
        rfc3339(self.not_after_ms)
    }
}

/// One agent and the gateways behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentStatus {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: Name,
    /// Whether it has a stream to a control node now.
    pub connected: bool,
    /// Milliseconds since a control node heard from it.
    pub heard_ms_ago: u64,
    /// Where its own scopes stand.
    pub scopes: Vec<ScopeStatus>,
    /// The gateways it serves.
    pub gateways: Vec<GatewayStatus>,
    /// What it says of itself.
    pub facts: Facts,
}

/// One gateway as its agent reported it.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayStatus {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: Name,
    /// Whether it has a stream to its agent.
    pub connected: bool,
    /// Milliseconds since anything was heard from it, the way up included.
    pub heard_ms_ago: u64,
    /// Where its scopes stand.
    pub scopes: Vec<ScopeStatus>,
    /// What it says of itself, as far as a gateway is believed: nothing of others.
    pub facts: Facts,
    /// SHA-256 of the public key it joined with, as its agent says.
    pub key: Option<[u8; 32]>,
}

/// Where one subscriber stands in one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeStatus {
    /// The scope.
    pub scope: ScopeId,
    /// The revision in use; `None` before the first.
    pub effective: Option<Revision>,
    /// What of it cannot be used as received; the first of them.
    pub quarantined: Vec<Quarantined>,
    /// How many there are.
    pub quarantined_total: u64,
}

impl ScopeStatus {
    /// One who uses all of `scope` at this revision.
    pub fn at(scope: ScopeId, effective: Option<Revision>) -> Self {
        Self { scope, effective, quarantined: Vec::new(), quarantined_total: 0 }
    }
}

/// A runtime resource that a gateway cannot use as it received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its key in the scope; [`projection::source`](crate::projection::source) says what it was made from.
    pub key: String,
    /// SHA-256 of what was received; empty: the resource is gone, and something in use needs it still.
    pub received: Vec<u8>,
    /// Whether an earlier version is in use instead.
    pub last_good: bool,
    /// The part at fault, as in the runtime schema.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whether what was received is what is published now.
    pub current: bool,
}

/// What one revision did to the scopes, from the projection.
pub trait Projected: Send + Sync + 'static {
    /// Waits until the projection has reached `revision` and says what that revision did to each scope it touched.
    /// Empty when it is too old to be remembered.
    fn effects(&self, revision: Revision) -> BoxFuture<'_, Vec<ScopeEffect>>;
}

/// What a change does to one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeEffect {
    /// The scope.
    pub scope: ScopeId,
    /// Runtime resources made or changed.
    pub upserts: usize,
    /// Runtime resources removed.
    pub removals: usize,
}

#[cfg(test)]
mod tests;
