//! Names, regions, environments, scopes, roles, identities and positions, and the pure rules about them.
//!
//! Everything that more than one part of Hanse must agree on and that needs no I/O: what a name may look like, where a
//! region lies, which regions a selector picks, how a scope is spelled, who may learn it, which position follows which. Nothing here knows about HTTP, gRPC or Raft.

mod identity;
mod labels;
mod lease;
mod line;
mod name;
mod position;
mod region;
mod role;
mod scope;

pub use identity::{DOMAIN, Identity, InvalidIdentity, is_reserved};
pub use labels::{InvalidLabel, Labels};
pub use lease::LEASE;
pub use line::{MAX_LINE_CHARS, one_line};
pub use name::{InvalidName, Name};
pub use position::{Lineage, LineageOrder, Position};
pub use region::{Continent, Exposure, Location, Provider, RegionSelector};
pub use role::{InvalidRole, Role};
pub use scope::{InvalidScope, ScopeId};
