//! Proposals: applies that wait for the approval of a second owner.

mod wire;

use std::sync::Arc;

use hanse_management::{ResourceKey, Revision};
use hanse_topology::Name;
use imbl::OrdMap;

use crate::{Change, Origin, State, rfc3339};

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
    /// What is to be done.
    pub changes: Vec<Change>,
    /// What that did to each resource when it was proposed. The approval makes these changes and no others.
    pub effects: Vec<ProposedEffect>,
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

    /// Whether all that it changes belongs to this Organization.
    pub fn is_within(&self, organization: &Name) -> bool {
        self.effects.iter().all(|effect| effect.key.organization.as_ref() == Some(organization))
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

    /// Drops those that can no longer be approved.
    pub(crate) fn forget(&mut self, now_ms: u64) {
        let expired = self.iter().filter(|proposal| proposal.has_expired(now_ms));
        let expired: Vec<u64> = expired.map(|proposal| proposal.number).collect();
        expired.into_iter().for_each(|number| self.remove(number));
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
