//! Proposals: changes that wait for the approval of a second owner.

use std::ops::Not;

use hanse_state::{AuditChange as Told, ProposedEffect};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AuditChange, ProblemDetails};

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
    /// Present and true where its Bindings may lose requests to a HostGrant of another Organization.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub force_grants: bool,
    /// What it does to resources. A list names the first of them. One proposal by itself also has `before` and `after`, unless it is
    /// `refused`.
    pub changes: Vec<AuditChange>,
    /// How many resources it changes.
    pub changes_total: u64,
    /// Why an approval would be refused now; absent where it would not be, and in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refused: Option<ProblemDetails>,
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
            force_grants: proposal.force_grants,
            changes: proposal.effects.iter().take(most).map(AuditChange::from).collect(),
            changes_total: proposal.effects.len() as u64,
            refused: None,
        }
    }

    /// With what it does to each resource.
    pub(crate) fn told(proposal: &hanse_state::Proposal, told: Vec<Told>) -> Self {
        Self { changes: told.into_iter().map(AuditChange::from).collect(), ..Self::named(proposal, 0) }
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
