//! A control node: the replicated state, its listeners, and the work that only a running node does (projecting, enrolling,
//! publishing to agents).
//!
//! - [`init`] and [`join`] make a node. [`rejoin`] makes a node anew whose log is damaged.
//! - [`run`] runs it.
//! - [`reissue`] brings it under another root of trust while it is stopped. [`reissue_with_new_key`] gives it another private key.
//!
//! Nothing here decides what a command does or what a scope holds: that is `hanse-state`'s.

mod admission;
mod behind;
mod config;
mod control;
mod create;
mod damaged;
mod enrolment;
mod error;
mod fleet;
mod founding;
mod home;
mod identity;
mod locked;
mod node;
mod places;
mod projector;
mod reconcile;
mod renewal;
mod revocations;
mod roots;
mod secrets;
mod shell;

pub use config::{Addresses, Config};
pub use control::control_intermediate;
pub use create::{init, join, reissue, reissue_with_new_key, rejoin};
pub use error::Error;
pub use node::{run, run_with_clock};
