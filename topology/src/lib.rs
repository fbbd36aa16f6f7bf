//! Names, regions, environments and scopes, and the pure rules about them.
//!
//! Everything that more than one part of Hanse must agree on and that needs no I/O: what a name may look like, where a
//! region lies, which regions a selector picks, how a scope is spelled. Nothing here knows about HTTP, gRPC or Raft.

mod labels;
mod line;
mod name;
mod region;
mod scope;

pub use labels::{InvalidLabel, Labels};
pub use line::{MAX_LINE_CHARS, one_line};
pub use name::{InvalidName, Name};
pub use region::{Continent, Exposure, Location, Provider, RegionSelector};
pub use scope::{InvalidScope, ScopeId};
