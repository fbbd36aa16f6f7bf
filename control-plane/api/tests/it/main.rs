//! Tests of the operator API in one process, over one node that keeps its state in memory. No Raft, agent or gateway takes part.
#![allow(clippy::unwrap_used)] // the leave in clippy.toml reaches test functions, not what they call

mod access;
mod answers;
mod apply;
mod approvals;
mod audit;
mod authentication;
mod bounds;
mod decisions;
mod documents;
mod dump;
mod failover;
mod federation_key;
mod hosts;
mod members;
mod node;
mod problems;
mod reads;
mod request;
mod roots;
mod secrets;
mod soft_state;
mod spec_bounds;
mod upgrade;
mod watch;
mod writes;
