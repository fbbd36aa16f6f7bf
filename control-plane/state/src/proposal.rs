//! Proposals: applies that wait for the approval of a second owner.

mod wire;

use std::sync::Arc;

use hanse_management::{ResourceKey, Revision};
use hanse_topology::Name;
use imbl::OrdMap;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{Action, Change, ChangeResult, Guarded, Origin, State, rfc3339};

/// An apply that waits for the approval of a second owner.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its number, from 1 on. No other proposal of this history has it.
    pub number: u64,
    /// The Token that it was proposed with.
    pub actor: String,
    /// With which right, and from where.
    pub origin: Origin,
    /// When it was proposed: the state's time, Unix milliseconds.
    pub time_ms: u64,
    /// From when on it cannot be approved.
    pub expires_ms: u64,
    /// Why it should be done.
    pub reason: String,
    /// As in the command that proposed it.
    pub force_grants: bool,
    /// The Environments that need the approval.
    pub environments: Vec<Name>,
    /// The FailoverPlans that need it.
    pub plans: Vec<Name>,
    /// What is to be done.
    pub changes: Vec<Change>,
    /// What that did to each resource when it was proposed. The approval makes these changes and no others.
    pub effects: Vec<ProposedEffect>,
    /// What the guarded Bindings served after it: those that it changes, and those that serve something else by it.
    pub serves: Vec<ProposedServing>,
    /// The revision of that Token: it must be as it was.
    pub token_revision: Revision,
}

/// What changes do to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedEffect {
    /// Which.
    pub key: ResourceKey,
    /// `created`, `updated`, `deleted` or `moved`.
    pub action: &'static str,
    /// Its revision before the changes; 0: there was none.
    pub revision: Revision,
    /// SHA-256 of what it is after the changes; `None`: it is gone.
    pub content: Option<[u8; 32]>,
}

/// What a Binding serves after changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedServing {
    /// Which Binding.
    pub binding: ResourceKey,
    /// SHA-256 of what it serves; `None`: there is no such Binding.
    pub content: Option<[u8; 32]>,
}

impl From<&ProposedEffect> for ChangeResult {
    fn from(effect: &ProposedEffect) -> Self {
        Self { key: effect.key.clone(), action: effect.action, revision: 0 }
    }
}

impl Proposal {
    /// When it was proposed, as RFC 3339 has it.
    pub fn time(&self) -> String {
        rfc3339(self.time_ms)
    }

    /// From when on it cannot be approved, as RFC 3339 has it.
    pub fn expires(&self) -> String {
        rfc3339(self.expires_ms)
    }

    /// Whether it can no longer be approved at this time, in Unix milliseconds.
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms <= now_ms
    }

    /// What needs the approval.
    pub(crate) fn guarded(&self) -> Guarded {
        Guarded {
            environments: self.environments.iter().cloned().collect(),
            plans: self.plans.iter().cloned().collect(),
        }
    }

    /// Whether all that it changes or names belongs to this Organization. It may also expect something of what no Organization has,
    /// such as an Environment.
    pub fn is_within(&self, organization: &Name) -> bool {
        let owns = |key: &ResourceKey| key.organization.as_ref() == Some(organization);
        let only_expects = |change: &Change| {
            change.key.organization.is_none() && matches!(change.action, Action::Expect { .. })
        };
        self.effects.iter().all(|effect| owns(&effect.key))
            && self.changes.iter().all(|change| owns(&change.key) || only_expects(change))
    }

    /// Whether only a token that may write everything decides about it: it takes requests from other Organizations, or is of a dump.
    pub(crate) fn needs_admin(&self) -> bool {
        let is_of_dump = |change: &Change| matches!(change.action, Action::Restore { .. });
        self.force_grants || self.changes.iter().any(is_of_dump)
    }

    /// SHA-256 of its effects. Nothing secret is hashed: the contents of effects are without secrets.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for effect in &self.effects {
            hash.update(effect.to_proto().encode_length_delimited_to_vec());
        }
        hash.finalize().into()
    }
}

/// The proposals that wait.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Proposals {
    /// By number, each with the bytes that it takes in a snapshot.
    waiting: OrdMap<u64, (Arc<Proposal>, usize)>,
    /// The number of the last one that was made.
    pub(crate) made: u64,
}

impl Proposals {
    /// After this many were made, none waits.
    pub(crate) fn after(made: u64) -> Self {
        Self { made, ..Self::default() }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Proposal>> {
        self.waiting.get(&number).map(|(proposal, _)| proposal)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Proposal>> {
        self.waiting.values().map(|(proposal, _)| proposal)
    }

    pub(crate) fn insert(&mut self, proposal: Proposal) {
        let bytes = proposal.bytes();
        self.waiting.insert(proposal.number, (Arc::new(proposal), bytes));
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// Drops those that have expired.
    pub(crate) fn forget(&mut self, now_ms: u64) {
        self.drop_all(|proposal| proposal.has_expired(now_ms));
    }

    /// Drops those that are so.
    pub(crate) fn drop_all(&mut self, are: impl Fn(&Proposal) -> bool) {
        let dropped = self.iter().filter(|proposal| are(proposal));
        let dropped: Vec<u64> = dropped.map(|proposal| proposal.number).collect();
        dropped.into_iter().for_each(|number| self.remove(number));
    }

    /// How many wait that `counts` picks, and the bytes that they take.
    pub(crate) fn taken(&self, counts: impl Fn(&Proposal) -> bool) -> (usize, usize) {
        let counted = self.waiting.values().filter(|(proposal, _)| counts(proposal));
        counted.fold((0, 0), |(number, sum), (_, bytes)| (number + 1, sum + bytes))
    }
}

impl State {
    /// The proposals that wait for an approval, the oldest first. One that has expired may be among them.
    pub fn proposals(&self) -> impl DoubleEndedIterator<Item = &Proposal> {
        self.proposals.iter().map(Arc::as_ref)
    }

    /// The proposal of this number, if it waits.
    pub fn proposal(&self, number: u64) -> Option<&Arc<Proposal>> {
        self.proposals.get(number)
    }
}
