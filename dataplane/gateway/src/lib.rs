//! The data plane: a gateway routes, authenticates, limits, mediates and proxies calls.
//!
//! - A pure core ([`table`], [`decide`], [`policy`], [`limit`]) says what is to become of a request.
//! - A shell of one thread per core does it ([`proxy`]).
//! - A small runtime beside them keeps the routing table in step with the region's agent. It shares one [`arc_swap::ArcSwap`] of
//!   the table with the serving threads.
//!
//! The core knows nothing of sockets. The serving threads know nothing of the control plane.

pub mod access_log;
mod admin;
pub mod config;
pub mod decide;
pub mod egress;
mod error;
pub mod health;
mod keeper;
pub mod limit;
pub mod metrics;
pub mod policy;
pub mod problem;
pub mod proxy;
mod run;
pub mod scheme;
mod stored;
pub mod table;
pub mod tunnel;
mod weak;

pub use config::Config;
pub use error::Error;
pub use run::{run, run_with_clock};

#[cfg(test)]
mod testbed;
