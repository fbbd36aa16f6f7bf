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

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

pub use budget::RetryBudget;
pub(crate) use check::HealthChecks;
pub use endpoint::{EndpointHealth, Failure, Standing};
pub use ongoing::Ongoing;
pub use registry::{Asked, EndpointKey, EndpointSummary, Endpoints};

use hanse_proto::runtime;

use crate::resource::Unusable;

/// Failures in a row that eject where an upstream says nothing: as Envoy's outlier detection.
const DEFAULT_CONSECUTIVE_FAILURES: u32 = 5;
/// For how long at first: as nginx's `fail_timeout`; a restart takes about as long.
const DEFAULT_BASE_TIME: Duration = Duration::from_secs(10);
/// The greatest share that may be ejected: Envoy's panic threshold; the other half must bear the load of all.
const DEFAULT_MAX_EJECTED_PERCENT: u32 = 50;
/// The longest ejection, however often: Envoy's `max_ejection_time`, 300 s.
const MAX_EJECTION: Duration = Duration::from_secs(300);
/// The longest check, as manifests have it: a check that hangs holds one of a bounded number of places.
const MAX_CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// How an upstream's endpoints are asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckSettings {
    /// What is asked for with GET.
    pub path: http::uri::PathAndQuery,
    /// From one check to the next.
    pub interval: Duration,
    /// For a whole check.
    pub timeout: Duration,
    /// Failures in a row that make an endpoint unhealthy.
    pub unhealthy_after: u32,
    /// Passes in a row that make it healthy again.
    pub healthy_after: u32,
    /// The status that passes; `None`: 200 to 399.
    pub expect_status: Option<u16>,
}

/// When an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EjectionSettings {
    /// After so many failures in a row; 0: never.
    pub consecutive_failures: u32,
    /// For so long, times the ejections in a row.
    pub base_time: Duration,
    /// The greatest share of an upstream's endpoints.
    pub max_ejected_percent: u32,
}

impl CheckSettings {
    /// Checks what an upstream says.
    pub fn new(check: &runtime::HealthCheck) -> Result<Self, Unusable> {
        let refuse = |field: &str, why: &str| Unusable::new(format!("health_check.{field}"), why);
        let path = check.path.parse().map_err(|_| refuse("path", "is not a path"))?;
        for (field, value) in [
            ("interval_ms", check.interval_ms),
            ("timeout_ms", check.timeout_ms),
            ("unhealthy_after", check.unhealthy_after.into()),
            ("healthy_after", check.healthy_after.into()),
        ] {
            if value == 0 {
                return Err(refuse(field, "is 0"));
            }
        }
        Ok(Self {
            path,
            interval: Duration::from_millis(check.interval_ms),
            timeout: Duration::from_millis(check.timeout_ms).min(MAX_CHECK_TIMEOUT),
            unhealthy_after: check.unhealthy_after,
            healthy_after: check.healthy_after,
            expect_status: u16::try_from(check.expect_status).ok().filter(|status| *status > 0),
        })
    }
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self {
            consecutive_failures: DEFAULT_CONSECUTIVE_FAILURES,
            base_time: DEFAULT_BASE_TIME,
            max_ejected_percent: DEFAULT_MAX_EJECTED_PERCENT,
        }
    }
}

impl EjectionSettings {
    /// What an upstream says, or the defaults.
    pub fn new(ejection: Option<&runtime::Ejection>) -> Self {
        ejection.map_or_else(Self::default, |ejection| Self {
            consecutive_failures: ejection.consecutive_failures,
            base_time: Duration::from_millis(ejection.base_time_ms),
            max_ejected_percent: ejection.max_ejected_percent.min(100),
        })
    }
}

/// Milliseconds of this process's clock: small enough to share a word with a flag, and never 0.
pub fn millis(at: Instant) -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let since = at.saturating_duration_since(*ORIGIN).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX >> 1).saturating_add(1)
}
