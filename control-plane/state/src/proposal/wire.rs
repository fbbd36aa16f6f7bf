//! Proposals as they are stored.

use hanse_management::ResourceKey;
use hanse_proto::{InvalidMessage, control as proto};
use hanse_topology::Name;
use prost::Message as _;

use super::{Proposal, ProposedEffect, ProposedServing};
use crate::{
    Change, ChangeResult, Origin,
    command::wire::{action, fixed},
};

impl Proposal {
    /// How many bytes it takes in a snapshot.
    pub(super) fn bytes(&self) -> usize {
        self.to_proto().encoded_len()
    }

    /// As it is stored.
    pub(crate) fn to_proto(&self) -> proto::Proposal {
        proto::Proposal {
            number: self.number,
            actor: self.actor.clone(),
            origin: self.origin.to_proto(),
            time_ms: self.time_ms,
            expires_ms: self.expires_ms,
            reason: self.reason.clone(),
            force_grants: self.force_grants,
            environments: self.environments.iter().map(Name::to_string).collect(),
            changes: self.changes.iter().map(Change::to_proto).collect(),
            effects: self.effects.iter().map(ProposedEffect::to_proto).collect(),
            serves: self.serves.iter().map(ProposedServing::to_proto).collect(),
            token_revision: self.token_revision,
            plans: self.plans.iter().map(Name::to_string).collect(),
        }
    }

    /// As it was stored.
    pub(crate) fn from_proto(proposal: proto::Proposal) -> Result<Self, InvalidMessage> {
        let name = |text: &String| {
            Name::new(text).map_err(|error| InvalidMessage::new("Proposal", error.to_string()))
        };
        Ok(Self {
            number: proposal.number,
            actor: proposal.actor,
            origin: proposal.origin.map(Origin::from_proto).transpose()?.unwrap_or_default(),
            time_ms: proposal.time_ms,
            expires_ms: proposal.expires_ms,
            reason: proposal.reason,
            force_grants: proposal.force_grants,
            environments: proposal.environments.iter().map(name).collect::<Result<_, _>>()?,
            changes: proposal.changes.into_iter().map(Change::from_proto).collect::<Result<_, _>>()?,
            effects: proposal
                .effects
                .into_iter()
                .map(ProposedEffect::from_proto)
                .collect::<Result<_, _>>()?,
            serves: proposal.serves.into_iter().map(ProposedServing::from_proto).collect::<Result<_, _>>()?,
            token_revision: proposal.token_revision,
            plans: proposal.plans.iter().map(name).collect::<Result<_, _>>()?,
        })
    }
}

impl ProposedEffect {
    pub(super) fn to_proto(&self) -> proto::ProposedEffect {
        proto::ProposedEffect {
            key: Some(self.key.to_proto()),
            action: self.action.to_owned(),
            revision: self.revision,
            content: self.content.map(|content| content.to_vec()).unwrap_or_default().into(),
        }
    }

    fn from_proto(effect: proto::ProposedEffect) -> Result<Self, InvalidMessage> {
        let key = effect.key.ok_or_else(|| InvalidMessage::new("ProposedEffect", "it has no key"))?;
        let content = Some(&effect.content).filter(|content| !content.is_empty());
        Ok(Self {
            key: ResourceKey::from_proto(key)?,
            action: action(&effect.action)
                .filter(|action| *action != ChangeResult::UNCHANGED)
                .ok_or_else(|| InvalidMessage::new("ProposedEffect", "its action is not known"))?,
            revision: effect.revision,
            content: content.map(|content| fixed("ProposedEffect", content)).transpose()?,
        })
    }
}

impl ProposedServing {
    fn to_proto(&self) -> proto::ProposedServing {
        proto::ProposedServing {
            binding: Some(self.binding.to_proto()),
            content: self.content.map(|content| content.to_vec()).unwrap_or_default().into(),
        }
    }

    fn from_proto(serving: proto::ProposedServing) -> Result<Self, InvalidMessage> {
        let binding =
            serving.binding.ok_or_else(|| InvalidMessage::new("ProposedServing", "it has no Binding"))?;
        let content = Some(&serving.content).filter(|content| !content.is_empty());
        Ok(Self {
            binding: ResourceKey::from_proto(binding)?,
            content: content.map(|content| fixed("ProposedServing", content)).transpose()?,
        })
    }
}
