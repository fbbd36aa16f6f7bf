//! Names and places that every part of Hanse must agree on, and the pure rules about them.
//!
//! - [`Name`], [`Labels`]: what a name and a label may look like, and what matches a label.
//! - [`Location`], [`RegionSelector`]: where a region lies, and which regions a selector picks.
//! - [`Exposure`]: whether an environment may be reached from outside, and at which addresses of a gateway it is served.
//! - [`ScopeId`], [`Role`]: how a scope is spelled, and which role may learn it.
//! - [`Identity`]: how a process's name, role and region are spelled.
//! - [`dialable`], [`of_no_host`]: which addresses others can be told.
//! - [`Position`], [`Lineage`]: which position follows which.
//! - [`bring_back`]: named bugs, by which tests prove their checkers.
//!
//! Nothing here does I/O. Nothing here knows HTTP, gRPC or Raft.

mod address;
mod identity;
mod labels;
mod lease;
mod line;
mod name;
mod position;
mod region;
mod role;
mod scope;
mod seeded;

pub use address::{MAX_ADDRESS_BYTES, dialable, is_loopback, of_no_host};
pub use identity::{DOMAIN, Identity, InvalidIdentity, is_reserved};
pub use labels::{InvalidLabel, Labels};
pub use lease::LEASE;
pub use line::{MAX_LINE_CHARS, one_line};
pub use name::{InvalidName, Name};
pub use position::{Lineage, LineageOrder, Position};
pub use region::{Continent, Exposure, Location, MAX_REGIONS, Provider, RegionSelector, WHOLE_PERCENT};
pub use role::{InvalidRole, Role};
pub use scope::{InvalidScope, ScopeId};
pub use seeded::{bring_back, is_brought_back};
