//! How an Upstream's endpoints are looked after.

use std::collections::BTreeSet;

use super::{Verdict, invalid, text};
use crate::{
    Duration,
    kinds::{EjectionSpec, HealthCheckSpec, RetryOn, RetrySpec},
};

/// The longest path of a check: a line.
const MAX_PATH_BYTES: usize = 256;
/// The shortest time between two checks: every gateway asks every endpoint.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The longest check: of all that a gateway runs, a bounded number run at once, and one that hangs is one of them.
const MAX_CHECK_TIMEOUT: Duration = Duration::from_millis(30 * 1000);
/// The most checks in a row that decide: with more the answer comes too late for anybody.
const MAX_CHECKS_IN_A_ROW: u32 = 100;
/// The most failures in a row that eject: with more it is off, which 0 says.
const MAX_CONSECUTIVE_FAILURES: u32 = 1_000;
/// The most further tries, as gateways have it: each multiplies what a failing service gets.
const MAX_ATTEMPTS: u32 = 5;

pub(super) fn check_health_check(spec: &HealthCheckSpec) -> Verdict {
    check_path(&spec.path)?;
    text::check_timeout("healthCheck.interval", spec.interval)?;
    if spec.interval < MIN_INTERVAL {
        let detail = format!("{} is less than {MIN_INTERVAL}", spec.interval);
        let remedy = "every gateway asks every endpoint: choose an interval such as \"10s\"";
        return Err(invalid("healthCheck.interval", detail, remedy));
    }
    text::check_timeout("healthCheck.timeout", spec.timeout)?;
    if spec.timeout > spec.interval {
        let detail = format!("{} is longer than the interval of {}", spec.timeout, spec.interval);
        let remedy = "a check ends before the next begins: shorten the timeout or lengthen the interval";
        return Err(invalid("healthCheck.timeout", detail, remedy));
    }
    if spec.timeout > MAX_CHECK_TIMEOUT {
        let detail = format!("{} is longer than {MAX_CHECK_TIMEOUT}", spec.timeout);
        let remedy =
            "who takes that long to say how it is will not serve requests: choose one such as \"2s\"";
        return Err(invalid("healthCheck.timeout", detail, remedy));
    }
    for (field, count) in [
        ("healthCheck.unhealthyAfter", spec.unhealthy_after),
        ("healthCheck.healthyAfter", spec.healthy_after),
    ] {
        if !(1..=MAX_CHECKS_IN_A_ROW).contains(&count) {
            let detail = format!("{count} is not between 1 and {MAX_CHECKS_IN_A_ROW}");
            return Err(invalid(field, detail, "say how many checks in a row decide, such as 3"));
        }
    }
    match spec.expect_status {
        Some(status) if !(200..=599).contains(&status) => {
            let detail = format!("{status} is not the status of an answer");
            let remedy = "name one from 200 to 599, or leave it out: any from 200 to 399 passes";
            Err(invalid("healthCheck.expectStatus", detail, remedy))
        }
        Some(_) | None => Ok(()),
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
    let unsendable =
        |octet: &u8| !octet.is_ascii_graphic() || matches!(octet, b'#' | b'"' | b'<' | b'>' | b'\\' | b'`');
    if let Some(at) = path.bytes().position(|octet| unsendable(&octet)) {
        return refused(
            format!("{path:?} has something at byte {at} that no request line carries"),
            "percent-encode it",
        );
    }
    Ok(())
}

pub(super) fn check_ejection(spec: &EjectionSpec) -> Verdict {
    if spec.consecutive_failures > MAX_CONSECUTIVE_FAILURES {
        let detail = format!("{} is more than {MAX_CONSECUTIVE_FAILURES}", spec.consecutive_failures);
        return Err(invalid("ejection.consecutiveFailures", detail, "use less, or 0 for never"));
    }
    text::check_timeout("ejection.baseTime", spec.base_time)?;
    if !(1..=100).contains(&spec.max_ejected) {
        let detail = format!("{} is not a percentage between 1 and 100", spec.max_ejected);
        let remedy = "name a share such as 50; for no ejection at all set consecutiveFailures to 0";
        return Err(invalid("ejection.maxEjected", detail, remedy));
    }
    Ok(())
}

/// `timeout`: the Upstream's.
pub(super) fn check_retry(spec: &RetrySpec, timeout: Duration) -> Verdict {
    if spec.attempts > MAX_ATTEMPTS {
        let detail = format!("{} is more than {MAX_ATTEMPTS}", spec.attempts);
        let remedy = "each further try multiplies what a failing service gets: use less, or 0 for none";
        return Err(invalid("retry.attempts", detail, remedy));
    }
    if let Some(each) = spec.per_try_timeout {
        text::check_timeout("retry.perTryTimeout", each)?;
        if each > timeout {
            let detail = format!("{each} is longer than the timeout of {timeout}, which holds for all tries");
            return Err(invalid("retry.perTryTimeout", detail, "shorten it, or lengthen the timeout"));
        }
    }
    if spec.per_try_timeout.is_some() && !spec.on.contains(&RetryOn::GatewayTimeout) {
        let remedy = "add 504 to retry.on, or leave it out: timeout holds anyway";
        return Err(invalid(
            "retry.perTryTimeout",
            "without 504 in retry.on no other try follows it",
            remedy,
        ));
    }
    if spec.on.is_empty() && spec.attempts > 0 {
        let remedy = "name what a request may be sent again after, or set attempts to 0";
        return Err(invalid("retry.on", "it is empty: nothing would be sent again", remedy));
    }
    let mut seen = BTreeSet::new();
    for (at, on) in spec.on.iter().enumerate() {
        if !seen.insert(on) {
            let detail = format!("{on} is there already");
            return Err(invalid(format_args!("retry.on[{at}]"), detail, "name it once"));
        }
    }
    Ok(())
}
