//! The federation at a glance.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::word::words;

/// The federation at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The history; absent before the first command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub lineage: Option<LineageStatus>,
    /// This node's revision.
    pub revision: u64,
    /// The leader's name; absent without a quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub leader: Option<String>,
    /// The node that answers.
    pub node: String,
    /// Raft's term.
    pub term: u64,
    /// Whether this node is in contact with a leader that has a quorum.
    pub quorum: bool,
    /// Milliseconds since it last confirmed that.
    pub as_of_age_ms: u64,
    /// The control nodes.
    pub nodes: Vec<NodeStatus>,
    /// Regions that exist, and those that only their agents still speak of.
    pub regions: Vec<RegionStatus>,
    /// Agents that have more gateways than their report takes; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<PartialReport>,
    /// Names that two processes have at once, for a data directory was copied; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<DuplicateName>,
    /// How many proposals wait for an approval, of those that the token may see; absent: none.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    #[schema(required = false)]
    pub proposals: u64,
}

/// One history of the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineageStatus {
    /// Greater ones win.
    pub generation: u64,
    /// Tells two histories of one generation apart: 32 hexadecimal digits.
    pub id: String,
    /// The history that this one continues; absent for the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub parent: Option<LineageParent>,
}

/// The history that another one continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineageParent {
    /// Its id.
    pub id: String,
    /// The last revision of it that the other one holds.
    pub revision: u64,
}

/// One control node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// The node.
    pub name: String,
    /// `leader`, `voter` or `learner`.
    pub role: String,
    /// Whether it answers.
    #[serde(default)]
    pub state: NodeState,
    /// Milliseconds since it answered last; absent if the node that was asked never heard it.
    #[serde(rename = "heardMsAgo", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub heard_ms_ago: Option<u64>,
    /// Its operator API.
    pub api: String,
    /// The last log index known to be on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub matched: Option<u64>,
    /// The version of the federation key that it lacks: it serves no agent until it has it. Absent when it lacks none.
    #[serde(default, rename = "lacksKey", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub lacks_key: Option<u32>,
    /// Present and false when it did not say what reports to it and that may be missing in `regions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub answered: Option<bool>,
}

words! {
    /// Whether a control node answers the one that was asked.
    NodeState {
        /// It answers.
        Up = "up",
        /// It does not.
        Silent = "silent",
    }
}

impl Default for NodeState {
    /// Of a node that nothing is known of.
    fn default() -> Self {
        Self::Silent
    }
}

/// One region's agents and gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegionStatus {
    /// The region.
    pub name: String,
    /// Its agents.
    pub agents: Vec<AgentStatus>,
    /// Its gateways.
    pub gateways: Vec<GatewayStatus>,
    /// Its DNS responders; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responders: Vec<ResponderStatus>,
}

/// One agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its name.
    pub name: String,
    /// Whether it has a stream now.
    pub connected: bool,
    /// Milliseconds since something was heard from it.
    pub heard_ms_ago: u64,
    /// Where its scopes stand.
    pub scopes: Vec<ScopePosition>,
}

/// One gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Its name.
    pub name: String,
    /// The agent that reported it last.
    pub agent: String,
    /// Whether it has a stream now.
    pub connected: bool,
    /// Milliseconds since something was heard from it.
    pub heard_ms_ago: u64,
    /// The revision it serves in all its scopes; absent before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revision: Option<u64>,
    /// Where its scopes stand.
    pub scopes: Vec<ScopePosition>,
    /// The resources that it cannot use as it received them; the first 64 of each scope.
    pub quarantined: Vec<QuarantinedResource>,
    /// How many there are; the first 64 of each scope are named.
    pub quarantined_total: u64,
}

/// One DNS responder. Its lists have as many entries as fit into its report, and the totals count all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponderStatus {
    /// Its name.
    pub name: String,
    /// The agent that reported it last.
    pub agent: String,
    /// Whether it has a stream now.
    pub connected: bool,
    /// Milliseconds since something was heard from it.
    pub heard_ms_ago: u64,
    /// Where it answers, as it advertises; absent: it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// The zones that it answers for.
    pub zones: Vec<ServedZone>,
    /// How many there are.
    pub zones_total: u64,
    /// The SHA-256 of the file in which it looks up where clients are, 64 hexadecimal digits; absent: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub geo: Option<String>,
    /// TSIG keys that its zones name and its configuration lacks.
    pub missing_keys: Vec<String>,
    /// How many there are.
    pub missing_keys_total: u64,
    /// Hosts that it could not publish.
    pub failed: Vec<FailedHost>,
    /// How many there are.
    pub failed_total: u64,
    /// How many hosts it publishes, those included.
    pub published_total: u64,
}

/// A zone that a responder answers for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServedZone {
    /// The DnsZone.
    pub zone: String,
    /// The serial of its SOA record.
    pub serial: u32,
}

/// A host that a responder could not publish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedHost {
    /// The GlobalHost.
    pub host: String,
    /// Why the last attempt did not set its addresses.
    pub why: String,
}

/// Where a subscriber stands in one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScopePosition {
    /// `runtime/REGION/ENVIRONMENT`.
    pub scope: String,
    /// The revision in use; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revision: Option<u64>,
}

/// What a gateway cannot use as it received it, by the resource that it was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedResource {
    /// Of the resource that the gateway cannot use as it received it; `Origin` of one that an Origin added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub kind: Option<String>,
    /// Its organization; absent for global kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// Its name; of an Upstream embedded in an ApiRevision, `REVISION/NAME`.
    pub name: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub environment: Option<String>,
    /// The part at fault, as in the runtime schema; of what an Origin added, its key and the part.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whether the gateway goes on with an earlier version.
    pub last_good: bool,
    /// The revision that made it so; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub since: Option<u64>,
}

/// An agent that has more gateways than its report takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartialReport {
    /// The agent.
    pub agent: String,
    /// Its region.
    pub region: String,
    /// How many of its gateways are not known.
    pub left_out: u64,
    /// Milliseconds since something was heard from it.
    pub heard_ms_ago: u64,
}

/// A name that two processes have at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DuplicateName {
    /// The name that two processes have.
    pub name: String,
    /// The region.
    pub region: String,
    /// `agent`, `gateway` or `dns`.
    pub role: String,
    /// When both were last known to run.
    #[schema(format = DateTime)]
    pub seen_at: String,
}
