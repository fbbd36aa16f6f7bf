//! The replicated state: every management resource, and what is needed to change it deterministically.

mod areas;
mod bound;
mod claims;
mod egress;
mod endpoints_from;
mod hosts;
mod index;
mod journal;
mod origins;
mod owned;
mod query;
mod sealed;
mod steering;
mod unserved;

use std::sync::Arc;

use hanse_management::{Claim, ResourceKey, Revision};
use hanse_runtime::Grants;
use hanse_topology::Name;
use imbl::{OrdMap, OrdSet};

use crate::{
    AuditLog, FederationKeys, JournalEntry, Member, Resource, Revocation, Version,
    apply::{IdempotentResults, Recorded},
    proposal::Proposals,
    root::Roots,
};

pub(crate) use areas::{Asked, FEW, Part, Place, places_of};
pub(crate) use bound::exceptions;
pub(crate) use claims::claims_of;
pub(crate) use egress::DeniedEndpoints;
pub(crate) use hosts::{HostSet, below, reversed, wider};
pub(crate) use steering::{STEERING, without_address, without_family};

/// The state at one revision. Cloning is O(1) and shares structure, so a copy serves as snapshot, dry run or stale read.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub(crate) lineage: Option<Lineage>,
    pub(crate) revision: Revision,
    pub(crate) time_ms: u64,
    pub(crate) version: Version,
    pub(crate) resources: OrdMap<ResourceKey, Arc<Resource>>,
    pub(crate) journal: OrdMap<Revision, Arc<JournalEntry>>,
    /// The last number given to a revision of each Api, by organization and Api. It outlives the Api, so that a number
    /// never means two things: about a hundred bytes for every Api name ever used. An Api of a dump is the exception: it comes
    /// back under its old number.
    pub(crate) api_counters: OrdMap<(Name, Name), u64>,
    pub(crate) idempotent: IdempotentResults,
    /// Agents and control nodes, by identity.
    pub(crate) members: OrdMap<Arc<str>, Arc<Member>>,
    /// Who is refused, by identity.
    pub(crate) revocations: OrdMap<Arc<str>, Arc<Revocation>>,
    /// The revision of the last change of `revocations`: two nodes' lists compare by it.
    pub(crate) revoked_revision: Revision,
    /// The revision of the last command that touched a resource of [`STEERING`]: serials of zones are made from it.
    pub(crate) dns_revision: Revision,
    /// The roots that are believed: a handful of kilobytes at most, so a copy is cheap enough.
    pub(crate) roots: Arc<Roots>,
    /// The versions of the federation key. They change less than once a week, so a copy of 200 KB is cheap enough.
    pub(crate) federation_keys: Arc<FederationKeys>,
    /// Who changed what.
    pub(crate) audit: AuditLog,
    /// Which join tokens of agents are in the audit, by the agent's identity.
    pub(crate) minted: OrdMap<Arc<str>, Arc<Recorded>>,
    /// The changes that wait for a second owner.
    pub(crate) proposals: Proposals,

    #[cfg(feature = "next")]
    pub(crate) motto: String,

    // What follows is computed from `resources` and `members`, kept up with every change, and never persisted.
    /// (target, source): who refers to what.
    pub(crate) references: OrdSet<(ResourceKey, ResourceKey)>,
    /// (organization, Api, number) of every ApiRevision, in the order of their numbers, and how many bytes of JSON its spec has.
    pub(crate) api_revisions: OrdMap<(Name, Name, u64), usize>,
    /// What only one resource may have, and who has it.
    pub(crate) claims: OrdSet<(Claim, ResourceKey)>,
    /// Where served Bindings ask for requests.
    pub(crate) places: OrdSet<Place>,
    /// Who owns which requests, of each Environment that has a HostGrant.
    pub(crate) grants: OrdMap<Name, Arc<Grants>>,
    /// The hosts of each Environment, read.
    pub(crate) hostnames: OrdMap<Name, Arc<HostSet>>,
    /// (key, identity) of every member.
    pub(crate) member_keys: OrdSet<([u8; 32], Arc<str>)>,

    // Computed from `journal`, kept up and not persisted either.
    /// How many keys its entries have.
    pub(crate) journal_keys: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            lineage: None,
            revision: 0,
            time_ms: 0,
            version: Version::FIRST,
            resources: OrdMap::new(),
            journal: OrdMap::new(),
            api_counters: OrdMap::new(),
            idempotent: IdempotentResults::default(),
            members: OrdMap::new(),
            revocations: OrdMap::new(),
            revoked_revision: 0,
            dns_revision: 0,
            roots: Arc::default(),
            federation_keys: Arc::default(),
            audit: AuditLog::default(),
            minted: OrdMap::new(),
            proposals: Proposals::default(),
            #[cfg(feature = "next")]
            motto: String::new(),
            references: OrdSet::new(),
            api_revisions: OrdMap::new(),
            claims: OrdSet::new(),
            places: OrdSet::new(),
            grants: OrdMap::new(),
            hostnames: OrdMap::new(),
            member_keys: OrdSet::new(),
            journal_keys: 0,
        }
    }
}

/// One history of the state. `restore` and `recover` start a greater generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Greater ones win.
    pub generation: u64,
    /// Random; tells two histories of one generation apart.
    pub id: [u8; 16],
    /// The history this one came from, and the revision it left it at.
    pub parent: Option<([u8; 16], Revision)>,
}

#[cfg(test)]
mod tests;
