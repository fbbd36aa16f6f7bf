//! How an upstream's endpoints are asked, and when requests that fail take one out.

use std::time::Duration;

use hanse_proto::runtime;
use http::uri::PathAndQuery;

use crate::Unusable;

/// Failures in a row that eject where an upstream says nothing: as Envoy's outlier detection.
const DEFAULT_CONSECUTIVE_FAILURES: u32 = 5;
/// For how long at first: as nginx's `fail_timeout`; a restart takes about as long.
const DEFAULT_BASE_TIME: Duration = Duration::from_secs(10);
/// The greatest share that may be ejected: Envoy's panic threshold; the other half must bear the load of all.
const DEFAULT_MAX_EJECTED_PERCENT: u32 = 50;
/// The longest ejection, however often: Envoy's `max_ejection_time`, 300 s.
pub const MAX_EJECTION: Duration = Duration::from_secs(300);
/// The longest check: one that hangs holds one of a bounded number of places.
pub const MAX_CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// How an upstream's endpoints are asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckSettings {
    /// What is asked for with GET.
    pub path: PathAndQuery,
    /// From one check to the next.
    pub interval: Duration,
    /// For a whole check: at most [`MAX_CHECK_TIMEOUT`].
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
    /// For so long, times the ejections in a row: at most [`MAX_EJECTION`].
    pub base_time: Duration,
    /// The greatest share of an upstream's endpoints.
    pub max_ejected_percent: u32,
}

/// Whether the path of checks, or its query, may have this octet: one that a request line carries.
pub fn is_check_path_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"#\"<>\\`".contains(&byte)
}

impl CheckSettings {
    pub(crate) fn new(check: &runtime::HealthCheck) -> Result<Self, Unusable> {
        let is_path = |path: &&String| path.starts_with('/') && path.bytes().all(is_check_path_byte);
        let path = Some(&check.path).filter(is_path).and_then(|path| path.parse().ok());
        let path = path.ok_or_else(|| Unusable::new("path", format!("{:?} is not a path", check.path)))?;
        for (field, value) in [
            ("interval_ms", check.interval_ms),
            ("timeout_ms", check.timeout_ms),
            ("unhealthy_after", check.unhealthy_after.into()),
            ("healthy_after", check.healthy_after.into()),
        ] {
            if value == 0 {
                return Err(Unusable::new(field, "is 0"));
            }
        }
        let timeout = at_most("timeout_ms", check.timeout_ms, MAX_CHECK_TIMEOUT)?;
        let expect_status = u16::try_from(check.expect_status)
            .map_err(|_| Unusable::new("expect_status", format!("{} is no status", check.expect_status)))?;
        Ok(Self {
            path,
            interval: Duration::from_millis(check.interval_ms),
            timeout,
            unhealthy_after: check.unhealthy_after,
            healthy_after: check.healthy_after,
            expect_status: (expect_status > 0).then_some(expect_status),
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
    pub(crate) fn new(ejection: &runtime::Ejection) -> Result<Self, Unusable> {
        let max_ejected_percent = ejection.max_ejected_percent;
        if max_ejected_percent > 100 {
            let reason = format!("{max_ejected_percent} is more than 100 percent");
            return Err(Unusable::new("max_ejected_percent", reason));
        }
        Ok(Self {
            consecutive_failures: ejection.consecutive_failures,
            base_time: at_most("base_time_ms", ejection.base_time_ms, MAX_EJECTION)?,
            max_ejected_percent,
        })
    }
}

fn at_most(field: &str, millis: u64, most: Duration) -> Result<Duration, Unusable> {
    let span = Duration::from_millis(millis);
    if span > most {
        return Err(Unusable::new(field, format!("{millis} ms are more than {} ms", most.as_millis())));
    }
    Ok(span)
}
