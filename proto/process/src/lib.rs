//! The small machinery of every role's process: shutdown, supervision, backoff, clock, logs, metrics, the admin port, private
//! files.
//!
//! Nothing here knows another process: identities and connections are in `hanse-identity`. Nothing here knows what a role does.

pub mod admin;
pub mod backoff;
mod bounded_log;
mod clock;
mod descriptors;
mod due;
pub mod durable;
pub mod json_file;
mod metrics;
pub mod private;
mod pulse;
mod seeded;
mod serve;
mod service_manager;
pub mod shutdown;
mod supervisor;
pub mod telemetry;

pub use bounded_log::BoundedLog;
pub use clock::{ClockHand, WallClock};
pub use descriptors::{raise_descriptor_limit, share_of};
pub use due::sleep_until;
pub use hanse_topology::bring_back;
pub use metrics::Metrics;
pub use pulse::{Hung, Pulse};
pub use seeded::seeded;
pub use serve::{BindError, bind, drain};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use supervisor::{Running, Supervisor};

#[cfg(test)]
mod testbed;
