//! How endpoints are, and what follows from it.
//!
//! One [`EndpointHealth`] per endpoint and process, shared by every table and thread: serving threads read one word of
//! it and count failures, checks write the other half. Tables come and go; it stays as long as any of them names the
//! endpoint with the same settings.

mod budget;
mod check;
mod endpoint;
mod ongoing;
mod permits;
mod registry;

use std::{sync::LazyLock, time::Instant};

pub use budget::RetryBudget;
pub(crate) use check::HealthChecks;
pub use endpoint::{EndpointHealth, Failure, Standing};
pub use ongoing::Ongoing;
pub use registry::{Asked, EndpointKey, EndpointSummary, Endpoints};

pub use hanse_runtime::{CheckSettings, EjectionSettings};

/// Milliseconds of this process's clock: small enough to share a word with a flag, and never 0.
pub fn millis(at: Instant) -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let since = at.saturating_duration_since(*ORIGIN).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX >> 1).saturating_add(1)
}
