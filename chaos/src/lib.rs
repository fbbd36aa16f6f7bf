//! A harness that breaks and measures. It starts real federations from the built binary, breaks them, loads them, and speaks to
//! them as operators and clients do.
//!
//! - [`Federation`]: `hanse dev`, as the README has it. [`World`]: a federation from typed specs, every node with an address
//!   of its own, on loopback or in network namespaces.
//! - [`load`]: open-loop load and the ledger. Verdicts about traffic come from the ledger alone.
//! - [`process`], [`netns`], [`delay`], [`clock`]: kill, freeze and restart; cut links; slow links; wrong clocks.
//! - [`mod@attack`]: what a peer may try at a port, and what honest clients beside it notice.
//! - [`needles`]: a search for secrets in files.
//! - [`history`]: what concurrent clients of the operator API were answered under faults, and whether that can be.
//! - [`mod@bench`]: figures, beside a peer's from the same run.
//!
//! Nothing here knows the product but by its binary and its documents, with two exceptions. An attacker that speaks the wire
//! ([`mod@attack`]) uses the product's schema and certificates. The benchmark of a region ([`bench::region`]) runs hundreds of agents
//! in its own process.

pub mod attack;
pub mod bench;
pub mod clock;
pub mod delay;
mod federation;
mod flaky;
pub mod history;
mod http;
pub mod load;
pub mod needles;
pub mod netns;
pub mod nginx;
mod openapi;
mod operator;
mod percentile;
pub mod process;
pub mod spec;
mod world;

pub use federation::{DevProcess, Federation};
pub use flaky::{Bug, FlakyUpstream};
pub use http::{Answer, Client};
pub use openapi::{Operation, operations};
pub use operator::{Cli, Operator};
pub use percentile::percentile;
pub use process::{Process, binary};
pub use world::{Placement, Role, World, WorldOptions};
