//! The replicated state: commands, the state machine and its projection into scopes. The same commands give the same state on
//! every node, for ever.
//!
//! - [`Resource`]: a management resource with what the control plane knows about it.
//! - [`admission`]: whether a command may be proposed.
//! - [`Dump`]: state → what another federation makes the same of.
//! - [`Command`] → [`State::apply`] → [`Outcome`]: the machine.
//! - [`Proposal`]: a change that waits for a second owner.
//! - [`AuditLog`]: who changed what, in a chain of hashes.
//! - [`projection`]: state → the runtime resources of every scope.
//! - [`port`]: the traits by which the operator API reaches the replicated state.
//!
//! Pure: no I/O, no clock, no randomness, no floats in comparisons. Nothing here knows how a command is replicated, or how an
//! operator writes a resource: that is `hanse-management`'s.

pub mod admission;
mod apply;
mod audit;
mod command;
mod decision;
mod dump;
mod federation_key;
#[cfg(test)]
mod fixture;
mod listed;
mod member;
#[cfg(feature = "next")]
mod next;
pub mod port;
pub mod projection;
mod proposal;
mod resource;
mod root;
mod snapshot;
mod state;
mod validate;
mod version;

pub use apply::Attempt;
pub use audit::{AuditChange, AuditEntry, AuditField, AuditHash, AuditLink, AuditLog, LeftOut};
pub use command::{
    Accepted, Action, Change, ChangeResult, Command, CommandBody, JournalEntry, MintedToken, NeighbourAt,
    Origin, Outcome, ResealedValue,
};
pub use decision::{judge, readiness_spec};
pub use dump::{Dump, FIRST_TOKEN};
pub use federation_key::{FederationKeys, KeyVersion, MAX_KEY_VERSIONS, RecoveryKey};
pub use member::{
    GONE_AFTER, Incumbent, Member, RUNS_WITHIN, Revocation, SEAT_UNDECIDED, Seat, SeatAsked, identity_forms,
    server_identity,
};
pub use proposal::{Proposal, ProposedEffect, ProposedServing};
pub use resource::{Metadata, Resource, rfc3339};
pub use root::{Root, RootCertificate, RootId};
pub use snapshot::SnapshotError;
pub use state::{Lineage, State};
pub use validate::guarded::Guarded;
pub use validate::serving::{Serving, ServingIn};
pub use version::{UnknownVersion, Version};
