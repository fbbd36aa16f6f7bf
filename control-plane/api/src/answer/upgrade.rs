//! Which version is in force, and what stands in the way of the next one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScopeEffect;

/// The replicated version, what the next one changes, and which nodes are not ready for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upgrade {
    /// The version in force: one for commands, specs, snapshots and what gateways get.
    pub version: u32,
    /// The first release that knows it.
    pub release: String,
    /// The version that can be finalized next; absent where no control node knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<u32>,
    /// The control nodes, and what they run.
    pub nodes: Vec<NodeBuild>,
    /// Who keeps the next version from being finalized, and why.
    pub blockers: Vec<Blocker>,
    /// What the next version changes in each scope; absent where the node that answers does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub scopes: Option<Vec<ScopeEffect>>,
    /// The state's revision.
    pub revision: u64,
}

/// What a control node runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeBuild {
    /// The node.
    pub name: String,
    /// `leader`, `voter` or `learner`.
    pub role: String,
    /// Its release; absent where it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub release: Option<String>,
    /// The newest version that it knows; absent likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub knows: Option<u32>,
}

/// One that is not ready for the next version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocker {
    /// Its identity: `NAME.ROLE.REGION.hanse.internal`.
    pub identity: String,
    /// What it lacks.
    pub reason: String,
}

/// The body that puts a version in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinalizeRequest {
    /// The version: the next one, or one that is in force already.
    #[schema(minimum = 1)]
    pub version: u32,
}

/// The version that is in force after it was finalized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finalized {
    /// The version.
    pub version: u32,
    /// The first release that knows it: no older one runs from here on.
    pub release: String,
    /// The state's revision after it.
    pub revision: u64,
}
