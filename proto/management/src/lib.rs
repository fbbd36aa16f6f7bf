//! Management resources as operators write them: kinds, specs, manifests, and the checks that need no other resource.
//! Pure: no I/O, no clock, no state.
//!
//! - [`Kind`], [`ResourceKey`], [`Spec`]: what there is, how it is named, what it says.
//! - [`manifest`]: text → resources.
//! - [`check`]: whether a resource may be accepted, as far as it can be judged by itself.
//! - [`Problem`]: why something is refused.

pub mod check;
mod digest;
mod duration;
mod kind;
pub mod kinds;
pub mod manifest;
mod problem;
mod spec;
mod wire;

pub use digest::Digest;
pub use duration::Duration;
pub use kind::{Kind, ResourceKey, UnknownKind};
pub use problem::{Problem, ProblemName};
pub use spec::Spec;

/// A point in the history of the replicated state: dense, +1 per accepted command.
pub type Revision = u64;
