//! Who serves a revision.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::word::words;

/// Who serves a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Convergence {
    /// The revision asked about.
    pub revision: u64,
    /// Whether every gateway in scope serves it. True also when there is none. False as long as the fleet is not fully seen: while a
    /// control node is silent or an agent's report is partial.
    pub converged: bool,
    /// One entry per gateway and environment.
    pub gateways: Vec<GatewayConvergence>,
    /// Control nodes that did not answer and may have agents that no other node has heard since; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// Agents that have more gateways than their report takes, as `AGENT (REGION)`: the others are not known. Absent when there are
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<String>,
}

/// Where one gateway stands in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayConvergence {
    /// The gateway.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The environment.
    pub environment: String,
    /// Whether it serves the revision.
    pub state: ConvergenceState,
    /// The revision it serves; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revision: Option<u64>,
    /// Why it does not; absent when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

words! {
    /// How a gateway relates to a revision.
    ConvergenceState {
        /// It serves it.
        Effective = "effective",
        /// It was there when the change was made and does not serve it yet.
        Behind = "behind",
        /// It was not there when the change was made, so that nothing waits for it.
        Absent = "absent",
    }
}
