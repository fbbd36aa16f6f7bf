//! Plan and Application.

use super::{Verdict, invalid, text};
use crate::kinds::{ApplicationSpec, PlanSpec};

/// The greatest number of requests in a rate: a billion per second is no limit any more, and products with times in
/// nanoseconds stay inside 64 bits.
const MAX_REQUESTS: u64 = 1_000_000_000;

pub(super) fn check_plan(spec: &PlanSpec) -> Verdict {
    text::check_optional_line("displayName", spec.display_name.as_ref())?;
    let Some(rate) = &spec.rate else { return Ok(()) };
    check_count("rate.requests", rate.requests)?;
    rate.burst.map_or(Ok(()), |burst| check_count("rate.burst", burst))
}

fn check_count(field: &str, count: u64) -> Verdict {
    if (1..=MAX_REQUESTS).contains(&count) {
        return Ok(());
    }
    let remedy = "leave the rate out for a plan without limit; to shut somebody out, delete the Subscription";
    Err(invalid(field, format!("{count} is not between 1 and {MAX_REQUESTS}"), remedy))
}

pub(super) fn check_application(spec: &ApplicationSpec) -> Verdict {
    text::check_optional_line("displayName", spec.display_name.as_ref())?;
    text::check_optional_line("owner", spec.owner.as_ref())
}
