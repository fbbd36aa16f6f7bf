//! Replication of the state: openraft over sled, over gRPC. No other crate names openraft or sled.
//!
//! [`RaftGroup`] is one node's replica. It implements [`hanse_state::port::Replicated`], which is all that the rest of the
//! control plane sees of it.
//!
//! - `group`: the replica. Proposing, reading, membership, status.
//! - `batcher`, `coalesce`: many callers, few log entries and few rounds of heartbeats.
//! - `state_machine`: applies batches to the state in memory; snapshots in files.
//! - `log_store`: Raft's log, vote and marks, on sled, on a thread of its own.
//! - `network`, `service`: both ends of what nodes say to each other; `wire`: its encoding, the log's too.
//!
//! Nothing here decides what a command does. Nothing here knows the operator API, or judges the reports of agents that it
//! carries from node to node.

mod batch;
mod batcher;
mod coalesce;
mod contact;
mod group;
mod log_store;
mod member;
mod metrics;
mod network;
mod options;
mod reach;
mod service;
mod state_machine;
mod type_config;
mod wire;

pub use group::{GroupError, PeerAnswer, PeerReports, RaftGroup};
pub use log_store::LogError;
pub use metrics::DamageMetric;
pub use options::{Compaction, LOG_DIR, RaftOptions, Timing, WITNESS_FILE};
pub use service::{KeysHook, PeerService, RaftService, ReportsHook};
pub use state_machine::SnapshotError;
