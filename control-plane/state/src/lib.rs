//! Management resources, commands, the state machine and its projection into scopes. Pure: no I/O, no clock, no
//! randomness, no floats in comparisons; the same commands give the same state on every node, for ever.
//!
//! - [`spec`]: what operators write. [`Kind`], [`ResourceKey`], [`Resource`]: its envelope.
//! - [`Command`] → [`State::apply`] → [`Outcome`]: the machine.
//! - [`projection`]: state → the runtime resources of every scope.
//! - [`port`]: what the REST API asks of whoever replicates the state.

mod apply;
mod command;
#[cfg(test)]
mod fixture;
mod kind;
pub mod manifest;
mod member;
pub mod port;
mod problem;
pub mod projection;
mod resource;
mod root;
mod snapshot;
pub mod spec;
mod state;
mod validate;

pub use command::{Accepted, Action, Change, ChangeResult, Command, CommandBody, JournalEntry, Outcome};
pub use kind::{Kind, ResourceKey, UnknownKind};
pub use member::{
    GONE_AFTER, Incumbent, Member, RUNS_WITHIN, Revocation, SEAT_UNDECIDED, Seat, SeatAsked, server_identity,
};
pub use problem::{Problem, ProblemName};
pub use resource::{Metadata, Resource};
pub use root::{Root, RootCertificate, RootKey};
pub use snapshot::SnapshotError;
pub use spec::Spec;
pub use state::{Lineage, STATE_VERSION, State};

/// A point in the state's history: dense, +1 per accepted command.
pub type Revision = u64;
