//! Management resources as operators write them: kinds, specs, manifests, and the checks that need no other resource.
//!
//! - [`kinds`]: every kind in a file of its own, and the table of them, which makes [`Kind`] and [`Spec`].
//! - [`ManagementKind`]: what a kind has to say: checks, [`Reference`]s, [`Claim`]s, secrets, status, columns for people.
//! - [`manifest`]: text → resources.
//! - [`check`]: whether a resource may be accepted, as far as it can be judged by itself.
//! - [`Problem`]: why something is refused. [`words`]: what deserializers say, for people.
//!
//! Pure: no I/O, no clock. Nothing here knows the state: a check looks at one resource alone.

mod bound;
pub mod check;
mod claim;
mod column;
mod digest;
mod duration;
mod json;
mod key;
mod kind;
pub mod kinds;
pub mod manifest;
mod problem;
mod reference;
mod wire;
mod word;
pub mod words;

pub use bound::{Bound, Bounded};
pub use check::{host::common as common_hosts, path::shape};
pub use claim::Claim;
pub use column::{Column, text_of};
pub use digest::Digest;
pub use duration::Duration;
pub use hanse_runtime::Template;
pub use key::ResourceKey;
pub use kind::{Known, ManagementKind, ShownWith, Written, schemas_of};
pub use kinds::{Kind, Spec, check_operation};
pub use problem::{Problem, ProblemName};
pub use reference::{Field, Hold, Refer, Reference};
pub use word::UnknownKind;

/// A point in the history of the replicated state: dense, +1 per accepted command.
pub type Revision = u64;
