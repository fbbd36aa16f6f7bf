//! The DNS responder: it answers for the hosts of GlobalHosts with addresses of regions.
//!
//! - A pure core (`zones`, `respond`, `steer`) makes the answer to a message from what is configured. It has no clock and no chance, and
//!   does no I/O.
//! - A shell of one thread per core (`worker`, `udp`, `tcp`) receives and sends.
//! - A keeper beside them compiles the zones from what the region's agent sends. It shares one `ArcSwap` of them with the serving threads.
//!
//! The core knows nothing of sockets. The serving threads know nothing of agents or of the control plane: they answer on without both.
//! Which regions a host leads to, `hanse-steering` decides.

mod admin;
pub mod config;
mod error;
mod explain;
pub mod geo;
mod keeper;
mod key;
mod keys;
mod metrics;
mod notify;
mod places;
mod respond;
mod run;
mod sockets;
mod steer;
mod tcp;
mod transfer;
mod udp;
mod worker;
mod zones;

pub use config::Config;
pub use error::Error;
pub use explain::{Explained, RuleTrace};
pub use keys::BadKey;
pub use run::{run, run_with_clock};

#[cfg(test)]
mod testbed;
