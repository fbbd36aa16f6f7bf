//! What every role below the control plane shares: a node is this shell with a consumer in it.
//!
//! A [`Shell`] is a process with an admin port, metrics and supervision; it joins where it has to. A [`JoinedNode`] adds who it
//! is, whom it believes, and what it holds on its disk. [`JoinedNode::follow`] keeps that in step with a publisher. The role
//! adds what it consumes and serves. For example, a gateway's consumer compiles a routing table, and its threads serve by it:
//!
//! ```text
//! Shell::start → shell.join → JoinedNode::open → node.follow(consumer) → the role's own work → node.close
//! ```
//!
//! Nothing here knows which role it is for beyond its name and who admits it, and nothing here reads a runtime resource.

mod config;
mod error;
mod joining;
mod node;
mod renewal;
mod shell;

pub use config::NodeConfig;
pub use error::Error;
pub use node::{Consumer, JoinedNode};
pub use shell::Shell;

#[cfg(test)]
mod tests;
