//! Failover by hand: what is asked for, what is decided, and what was decided before.

use hanse_management::kinds::{FailoverSpec, ReadinessSpec, ReadinessVerdict};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A failover to another region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FailoverRequest {
    /// Why: a line for the record.
    pub reason: String,
    /// The region; absent: the only standby of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub to: Option<String>,
    /// The percents of the clients that have moved after each step, the last one 100; absent: those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub steps: Option<Vec<u8>>,
    /// Why the clients are led there although the region is not ready; absent: they are led to a ready region only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub force: Option<String>,
    /// The epoch of the decision that this rests on, `GENERATION/REVISION`: with another one it is refused. Absent: the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expects: Option<String>,
}

/// A failback: a failover to the active region of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FailbackRequest {
    /// Why: a line for the record.
    pub reason: String,
    /// As of a failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub steps: Option<Vec<u8>>,
    /// As of a failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub force: Option<String>,
    /// As of a failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expects: Option<String>,
}

/// A freeze, or its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FreezeRequest {
    /// Why: a line for the record.
    pub reason: String,
    /// As of a failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expects: Option<String>,
}

/// A drain of a region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DrainRequest {
    /// Why: a line for the record.
    pub reason: String,
    /// Why it is drained although Bindings are served in that region only; absent: then it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub force: Option<String>,
}

/// The end of a drain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndrainRequest {
    /// Why: a line for the record.
    pub reason: String,
}

/// What was decided about a FailoverPlan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The plan.
    pub plan: String,
    /// The decision's epoch, `GENERATION/REVISION`: greater for each later one.
    pub epoch: String,
    /// The decision.
    pub decision: FailoverSpec,
    /// What is not known of the region, and did not keep it from being decided; absent: everything is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub warnings: Vec<String>,
    /// The state's revision.
    pub revision: u64,
}

/// Which regions of a FailoverPlan could take over now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReadiness {
    /// The plan.
    pub plan: String,
    /// The epoch of the present decision; absent: nothing was decided yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub epoch: Option<String>,
    /// Its regions, the active one first.
    pub regions: Vec<RegionReadiness>,
    /// Why the next step of the present shift is not taken although it is due, and what to do. Absent: the shift does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits: Option<String>,
    /// The state's revision.
    pub revision: u64,
}

/// Whether one region could take over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionReadiness {
    /// The region.
    pub region: String,
    /// The percent of the clients that it has.
    pub percent: u8,
    /// The worst that a rule says.
    pub verdict: ReadinessVerdict,
    /// What each rule says.
    pub rules: Vec<ReadinessSpec>,
}

/// What was decided about a FailoverPlan before, as far as the audit log still has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailoverHistory {
    /// The plan.
    pub plan: String,
    /// The newest first.
    pub items: Vec<PastDecision>,
    /// Whether older entries of the audit log were exported and dropped.
    pub dropped: bool,
    /// The state's revision.
    pub revision: u64,
}

/// One decision, or one step of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastDecision {
    /// The number of its entry in the audit log.
    pub number: u64,
    /// Its epoch.
    pub epoch: String,
    /// When: the state's time.
    #[schema(format = DateTime)]
    pub time: String,
    /// Who: a Token's name, or the control node's part that takes the steps.
    pub actor: String,
    /// Who answers for the token; absent where the control plane acted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub owner: String,
    /// The client's address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub from: String,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub reason: String,
    /// What was asked: `apply`, or `approve proposal 7 of …`.
    pub what: String,
    /// The decision as it was afterwards; absent: it is not known, because the log leaves something of it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub decision: Option<FailoverSpec>,
}
