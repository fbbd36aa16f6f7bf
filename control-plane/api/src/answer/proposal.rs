//! Proposals: changes that wait for the approval of a second owner.

use std::ops::Not;

use hanse_management::kinds::Lifecycle;
use hanse_state::{AuditChange as Told, ProposedEffect, Serving, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AuditChange, ProblemDetails, Warning};

/// The proposals that wait for an approval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Proposals {
    /// The proposals, the oldest first.
    pub items: Vec<Proposal>,
    /// The state's revision.
    pub revision: u64,
}

/// An apply that waits for the approval of a second owner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Its number.
    pub number: u64,
    /// Who proposed it: the owner of the token. A token of another owner approves it.
    pub owner: String,
    /// The name of the token that it was proposed with.
    pub token: String,
    /// The organization of that token; absent: the token may write everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// Why.
    pub reason: String,
    /// When it was proposed.
    #[schema(format = DateTime)]
    pub time: String,
    /// From when on it cannot be approved.
    #[schema(format = DateTime)]
    pub expires: String,
    /// The Environments that need the approval.
    pub environments: Vec<String>,
    /// The FailoverPlans that need it; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<String>,
    /// Present and true where its Bindings may lose requests to a HostGrant of another Organization.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub force_grants: bool,
    /// What it does to resources. A list names the first of them. One proposal by itself also has `before` and `after`, unless it is
    /// `refused`.
    pub changes: Vec<AuditChange>,
    /// How many resources it changes.
    pub changes_total: u64,
    /// What the Bindings of these Environments serve before and after it: those that it changes, and those that serve something else by
    /// it. Absent in a list, and where it is `refused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<ServingChange>,
    /// What would be accepted although it does not hold yet: Bindings that lose requests, for example. Absent in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// How many more warnings there are; absent: none.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    #[schema(required = false)]
    pub warnings_left_out: u64,
    /// Why an approval would be refused now; absent where it would not be, and in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refused: Option<ProblemDetails>,
}

/// What a Binding serves before and after a proposal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServingChange {
    /// The Binding's Organization.
    pub organization: String,
    /// Its name.
    pub binding: String,
    /// What it serves now; absent: there is no such Binding.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub before: Option<BindingServes>,
    /// What it serves after an approval; absent: there is no such Binding then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub after: Option<BindingServes>,
}

/// What a Binding serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingServes {
    /// The Environment.
    pub environment: String,
    /// The `lifecycle` of the Api; absent: it is served nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub lifecycle: Option<String>,
    /// Each region.
    pub regions: Vec<RegionServes>,
    /// The other regions, whose gateways send its requests on to these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_on_from: Vec<String>,
}

/// What a Binding serves in one region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionServes {
    /// The region.
    pub region: String,
    /// The name of the ApiRevision.
    pub api_revision: String,
    /// The name of the Upstream: the Binding's own, or the one that the ApiRevision has a copy of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub upstream: Option<String>,
}

impl From<Serving<'_>> for BindingServes {
    fn from(serving: Serving<'_>) -> Self {
        let regions = serving.regions.iter().map(|at| RegionServes {
            region: at.region.to_string(),
            api_revision: at.revision.key.name.to_string(),
            upstream: at.upstream.map(|(name, _)| name.to_string()),
        });
        Self {
            environment: serving.environment.to_string(),
            lifecycle: serving.lifecycle.map(Lifecycle::as_str).map(str::to_owned),
            regions: regions.collect(),
            sent_on_from: serving.sent_on_from.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A proposal was rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    /// The proposal's number.
    pub number: u64,
    /// The state's revision.
    pub revision: u64,
}

impl Proposal {
    /// With the names of its first resources, at most so many.
    pub(crate) fn named(proposal: &hanse_state::Proposal, most: usize) -> Self {
        let origin = &proposal.origin;
        Self {
            number: proposal.number,
            owner: origin.owner.clone(),
            token: proposal.actor.clone(),
            organization: origin.organization.as_ref().map(ToString::to_string),
            reason: proposal.reason.clone(),
            time: proposal.time(),
            expires: proposal.expires(),
            environments: proposal.environments.iter().map(ToString::to_string).collect(),
            plans: proposal.plans.iter().map(ToString::to_string).collect(),
            force_grants: proposal.force_grants,
            changes: proposal.effects.iter().take(most).map(AuditChange::from).collect(),
            changes_total: proposal.effects.len() as u64,
            serves: Vec::new(),
            warnings: Vec::new(),
            warnings_left_out: 0,
            refused: None,
        }
    }

    /// With what it does to each resource, and to what its Bindings serve.
    pub(crate) fn told(proposal: &hanse_state::Proposal, before: &State, after: &State) -> Self {
        let named = Self::named(proposal, usize::MAX);
        let changes = Told::of_proposal(before, after, proposal);
        let serves = proposal.serves.iter().map(|serving| ServingChange {
            organization: serving.binding.organization.as_ref().map(ToString::to_string).unwrap_or_default(),
            binding: serving.binding.name.to_string(),
            before: before.serving(&serving.binding).map(BindingServes::from),
            after: after.serving(&serving.binding).map(BindingServes::from),
        });
        Self {
            changes: changes.map_or(named.changes, |told| told.into_iter().map(AuditChange::from).collect()),
            serves: serves.collect(),
            ..named
        }
    }
}

impl From<&ProposedEffect> for AuditChange {
    fn from(effect: &ProposedEffect) -> Self {
        Self {
            kind: effect.key.kind.to_string(),
            organization: effect.key.organization.as_ref().map(ToString::to_string),
            name: effect.key.name.to_string(),
            action: effect.action.to_owned(),
            ..Self::default()
        }
    }
}
