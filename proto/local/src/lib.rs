//! Local scopes: what an agent publishes for its region by itself, with the control plane or without it.
//!
//! An Origin, which comes from the control plane, names the agents that may publish a local scope: its *holders*. A holder signs each
//! position of the scope, so any node may pass it on.
//!
//! - `head`: what is signed, and how a lineage is bound to a key.
//! - [`Origins`]: the Origins that a node knows, and so the heads that it believes. [`OriginKeeper`] reads them from the node's own
//!   `runtime` scopes, and drops local scopes whose Origin has gone.
//! - [`Merge`]: which of the heads that links bring an agent takes. [`Origins::of_link`] says what a link asks for, and tells of.
//! - [`Holder`]: when an agent publishes, takes over, and stops: pure. [`Holding`] is the task around it.
//!
//! - [`Directory`]: the agents of a region. [`followed`] says which of them an agent follows: pure.
//!
//! Nothing here knows who wishes for what: a source says it in [`Wishes`]. Nothing here reads a resource but an Origin and a Neighbour.

mod directory;
mod forge;
mod head;
mod holder;
mod holding;
mod keeper;
mod merge;
mod origins;

#[cfg(test)]
mod testbed;
#[cfg(test)]
mod world;

pub use directory::{Directory, DirectoryReader, Target, followed};
pub use head::{sign, verify};
pub use holder::{Draw, Holder, Publication, Reason, Seen, Step};
pub use holding::{Holding, HoldingHandle, Wish, Wishes};
pub use keeper::OriginKeeper;
pub use merge::Merge;
pub use origins::Origins;
