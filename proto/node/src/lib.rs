//! The shell of every role below the control plane: a node is this shell with a consumer in it.
//!
//! - A [`Shell`] is a process with an admin port, metrics and supervision. It joins where it has to.
//! - A [`JoinedNode`] adds the node's identity, the roots and revocations that it was told, and the content on its disk.
//! - [`JoinedNode::follow`] keeps that content in step with a publisher.
//! - The role adds what it consumes and serves. For example, a gateway's consumer compiles a routing table, and its threads serve
//!   by it:
//!
//! ```text
//! Shell::start → shell.join → JoinedNode::open → node.follow(consumer) → the role's own work → node.close
//! ```
//!
//! Nothing here knows more of a role than its name and the role that admits it. Nothing here reads a runtime resource.

mod config;
mod error;
mod joining;
mod node;
mod places;
mod renewal;
mod shell;

pub use config::NodeConfig;
pub use error::Error;
pub use node::{Consumer, JoinedNode};
pub use places::PlaceShown;
pub use shell::Shell;

#[cfg(test)]
mod tests;
