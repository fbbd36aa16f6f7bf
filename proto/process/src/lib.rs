//! The small machinery of every role's process: shutdown, backoff, clock, logs, metrics, the admin port, private files.
//!
//! Nothing here knows another process: who speaks to whom is in `hanse-identity`.

pub mod admin;
pub mod backoff;
mod bounded_log;
mod clock;
mod descriptors;
pub mod durable;
pub mod json_file;
mod metrics;
pub mod private;
mod serve;
pub mod shutdown;
mod supervision;
pub mod telemetry;

pub use bounded_log::BoundedLog;
pub use clock::{ClockHand, WallClock};
pub use descriptors::{raise_descriptor_limit, share_of};
pub use metrics::Metrics;
pub use serve::{BindError, bind, drain};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use supervision::tell_service_manager;

#[cfg(test)]
mod testbed;
