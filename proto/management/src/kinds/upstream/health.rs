//! How gateways look after an Upstream's endpoints: checks and ejection.

use std::ops::RangeInclusive;

use hanse_runtime::is_check_path_byte;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Duration,
    check::{Verdict, invalid, text},
};

/// The longest path of a check: a line.
const MAX_PATH_BYTES: usize = 256;
/// The shortest time between two checks: every gateway asks every endpoint.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The longest check that gateways accept.
const MAX_CHECK_TIMEOUT: Duration =
    Duration::from_millis(hanse_runtime::MAX_CHECK_TIMEOUT.as_millis() as u64);
/// The longest ejection that gateways accept.
const MAX_EJECTION: Duration = Duration::from_millis(hanse_runtime::MAX_EJECTION.as_millis() as u64);
/// The most checks in a row that decide: with more, the answer comes too late to be of use.
const MAX_CHECKS_IN_A_ROW: u32 = 100;
/// The statuses of final answers.
const STATUSES: RangeInclusive<u16> = 200..=599;
/// All of the endpoints.
const MAX_PERCENT: u32 = 100;
/// The most failures in a row that eject: with more it is off, which 0 says.
const MAX_CONSECUTIVE_FAILURES: u32 = 1_000;

/// What holds of checks and ejection.
pub(super) const BOUNDS: [Bounded; 6] = [
    ("HealthCheckSpec", "path", Bound::Text(1, MAX_PATH_BYTES)),
    ("HealthCheckSpec", "unhealthyAfter", Bound::Number(1, MAX_CHECKS_IN_A_ROW as u64)),
    ("HealthCheckSpec", "healthyAfter", Bound::Number(1, MAX_CHECKS_IN_A_ROW as u64)),
    ("HealthCheckSpec", "expectStatus", Bound::Number(*STATUSES.start() as u64, *STATUSES.end() as u64)),
    ("EjectionSpec", "consecutiveFailures", Bound::Number(0, MAX_CONSECUTIVE_FAILURES as u64)),
    ("EjectionSpec", "maxEjected", Bound::Number(1, MAX_PERCENT as u64)),
];

/// Asks each endpoint how it is. One that fails is used only while no other is better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HealthCheckSpec {
    /// The whole path that is asked with GET; an endpoint's own path does not go before it.
    pub path: String,
    /// From one check to the next. Default 10s.
    #[serde(default = "HealthCheckSpec::default_interval")]
    #[schema(value_type = String)]
    pub interval: Duration,
    /// For the whole check; at most the interval. Default 2s.
    #[serde(default = "HealthCheckSpec::default_timeout")]
    #[schema(value_type = String)]
    pub timeout: Duration,
    /// Failed checks in a row that make an endpoint unhealthy. Default 3.
    #[serde(default = "HealthCheckSpec::default_unhealthy_after")]
    pub unhealthy_after: u32,
    /// Passed checks in a row that make it healthy again. Default 2.
    #[serde(default = "HealthCheckSpec::default_healthy_after")]
    pub healthy_after: u32,
    /// The one status that passes. Default: any from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_status: Option<u16>,
}

impl HealthCheckSpec {
    /// As a kubelet's probes.
    const fn default_interval() -> Duration {
        Duration::from_millis(10_000)
    }
    /// A lost packet and its retransmission (RFC 6298: 1 s), and then an answer.
    const fn default_timeout() -> Duration {
        Duration::from_millis(2_000)
    }
    /// As a kubelet's probes: one lost answer takes nothing away.
    const fn default_unhealthy_after() -> u32 {
        3
    }
    /// One answer may be luck.
    const fn default_healthy_after() -> u32 {
        2
    }

    pub(super) fn check(&self) -> Verdict {
        check_path(&self.path)?;
        text::check_timeout("healthCheck.interval", self.interval)?;
        if self.interval < MIN_INTERVAL {
            let detail = format!("{} is less than {MIN_INTERVAL}", self.interval);
            let remedy = "every gateway asks every endpoint: choose an interval such as \"10s\"";
            return Err(invalid("healthCheck.interval", detail, remedy));
        }
        text::check_timeout("healthCheck.timeout", self.timeout)?;
        if self.timeout > self.interval {
            let detail = format!("{} is longer than the interval of {}", self.timeout, self.interval);
            let remedy = "a check ends before the next begins: shorten the timeout or lengthen the interval";
            return Err(invalid("healthCheck.timeout", detail, remedy));
        }
        if self.timeout > MAX_CHECK_TIMEOUT {
            let detail = format!("{} is longer than {MAX_CHECK_TIMEOUT}", self.timeout);
            let remedy =
                "who takes that long to say how it is will not serve requests: choose one such as \"2s\"";
            return Err(invalid("healthCheck.timeout", detail, remedy));
        }
        for (field, count) in [
            ("healthCheck.unhealthyAfter", self.unhealthy_after),
            ("healthCheck.healthyAfter", self.healthy_after),
        ] {
            if !(1..=MAX_CHECKS_IN_A_ROW).contains(&count) {
                let detail = format!("{count} is not between 1 and {MAX_CHECKS_IN_A_ROW}");
                return Err(invalid(field, detail, "say how many checks in a row decide, such as 3"));
            }
        }
        match self.expect_status {
            Some(status) if !STATUSES.contains(&status) => {
                let detail = format!("{status} is not the status of an answer");
                let remedy = "name one from 200 to 599, or leave it out: any from 200 to 399 passes";
                Err(invalid("healthCheck.expectStatus", detail, remedy))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Takes an endpoint out for a while when requests to it fail in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EjectionSpec {
    /// After so many failures in a row; 0: never. Default 5.
    #[serde(default = "EjectionSpec::default_consecutive_failures")]
    pub consecutive_failures: u32,
    /// For so long the first time, twice as long the second, and so on up to 5 minutes. Default 10s.
    #[serde(default = "EjectionSpec::default_base_time")]
    #[schema(value_type = String)]
    pub base_time: Duration,
    /// The greatest share of the endpoints that may be out at once, in percent; of two or more at least one may. Default 50.
    #[serde(default = "EjectionSpec::default_max_ejected")]
    pub max_ejected: u32,
}

impl EjectionSpec {
    /// As Envoy's outlier detection.
    const fn default_consecutive_failures() -> u32 {
        5
    }
    /// As nginx's `fail_timeout`: a restart takes about as long.
    const fn default_base_time() -> Duration {
        Duration::from_millis(10_000)
    }
    /// Envoy's panic threshold: the other half must bear the load of all.
    const fn default_max_ejected() -> u32 {
        50
    }

    pub(super) fn check(&self) -> Verdict {
        if self.consecutive_failures > MAX_CONSECUTIVE_FAILURES {
            let detail = format!("{} is more than {MAX_CONSECUTIVE_FAILURES}", self.consecutive_failures);
            return Err(invalid("ejection.consecutiveFailures", detail, "use less, or 0 for never"));
        }
        text::check_timeout("ejection.baseTime", self.base_time)?;
        if self.base_time > MAX_EJECTION {
            let detail =
                format!("{} is longer than {MAX_EJECTION}, which no ejection exceeds", self.base_time);
            return Err(invalid("ejection.baseTime", detail, "choose a time such as \"10s\""));
        }
        if !(1..=MAX_PERCENT).contains(&self.max_ejected) {
            let detail = format!("{} is not a percentage between 1 and 100", self.max_ejected);
            let remedy = "name a share such as 50; for no ejection at all set consecutiveFailures to 0";
            return Err(invalid("ejection.maxEjected", detail, remedy));
        }
        Ok(())
    }
}

fn check_path(path: &str) -> Verdict {
    let refused = |detail: String, remedy: &str| Err(invalid("healthCheck.path", detail, remedy));
    if !path.starts_with('/') {
        return refused(format!("{path:?} does not start with a slash"), "write it as \"/healthz\"");
    }
    if path.len() > MAX_PATH_BYTES {
        return refused(format!("{} bytes are more than {MAX_PATH_BYTES}", path.len()), "write less");
    }
    if let Some(at) = path.bytes().position(|octet| !is_check_path_byte(octet)) {
        return refused(
            format!("{path:?} has something at byte {at} that no request line carries"),
            "percent-encode it",
        );
    }
    Ok(())
}
