//! Organization, Region, Environment.

use std::collections::BTreeSet;

use hanse_topology::Name;

use super::{Verdict, host, invalid, text};
use crate::{
    Duration, Problem, ProblemName,
    kinds::{EnvironmentSpec, OrganizationSpec, RegionSpec, StaleCredentials},
};

/// What stands in the region's place in the identities of control nodes.
const CONTROL: &str = "control";

/// The shortest time without news after which credentials may be refused: far above the heartbeat of a second, so that
/// a restart of an agent refuses nobody.
const MIN_STALENESS: Duration = Duration::from_millis(60 * 1000);
/// The longest: a year.
const MAX_STALENESS: Duration = Duration::from_millis(365 * 24 * 60 * 60 * 1000);

pub(super) fn check_organization(spec: &OrganizationSpec) -> Verdict {
    text::check_optional_line("displayName", spec.display_name.as_ref())
}

pub(super) fn check_region(name: &Name, spec: &RegionSpec) -> Verdict {
    if name.as_str() == CONTROL {
        return Err(Problem::new(
            ProblemName::Invalid,
            format!("{CONTROL:?} stands for the control plane in certificates"),
        )
        .at("name")
        .remedy("choose another name for the region"));
    }
    let Some(location) = &spec.location else { return Ok(()) };
    if !location.in_range() {
        return Err(invalid(
            "location",
            format!("{}, {} is not on earth", location.latitude, location.longitude),
            "give the latitude in -90 to 90 and the longitude in -180 to 180 degrees",
        ));
    }
    match &location.country {
        Some(code) if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) => Err(invalid(
            "location.country",
            format!("{code:?} is not a country code"),
            "use the two capital letters of ISO 3166-1, such as \"IE\"",
        )),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn check_environment(spec: &EnvironmentSpec) -> Verdict {
    host::check_patterns("hostnames", &spec.hostnames)?;
    if spec.listeners.is_empty() {
        return Err(invalid("listeners", "it accepts nothing", "name http, https or both"));
    }
    check_distinct("listeners", &spec.listeners)?;
    check_distinct("regions", &spec.regions)?;
    match spec.stale_credentials {
        StaleCredentials::DenyAfter(span) if !(MIN_STALENESS..=MAX_STALENESS).contains(&span) => {
            Err(invalid(
                "staleCredentials.denyAfter",
                format!("{span} is not between 1m and 365d"),
                "choose how long a region may be cut off before it refuses callers, such as \"24h\"",
            ))
        }
        StaleCredentials::DenyAfter(_) | StaleCredentials::Serve => Ok(()),
    }
}

/// No item of a list may come twice.
pub(super) fn check_distinct<T: Ord + std::fmt::Debug>(field: &str, items: &[T]) -> Verdict {
    let mut seen = BTreeSet::new();
    match items.iter().enumerate().find(|(_, item)| !seen.insert(*item)) {
        None => Ok(()),
        Some((at, item)) => {
            Err(invalid(format_args!("{field}[{at}]"), format!("{item:?} is there already"), "name it once"))
        }
    }
}
