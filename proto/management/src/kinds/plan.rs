//! Plan: a quality of service.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, ManagementKind,
    check::{Verdict, invalid, text},
    column::text_of,
};

/// The greatest number of requests in a rate: a billion per second is no limit any more, and products with times in
/// nanoseconds stay inside 64 bits.
const MAX_REQUESTS: u64 = 1_000_000_000;

/// A quality of service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct PlanSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// How many requests; absent: without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSpec>,
}

/// A rate per subscription, kept as a token bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RateSpec {
    /// Requests per period.
    pub requests: u64,
    /// The period.
    pub per: Period,
    /// Requests at once; default one second's worth, or 10 if that is more, but never more than `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

impl RateSpec {
    /// The burst in force.
    pub fn effective_burst(&self) -> u64 {
        /// So that a page's worth of parallel requests passes on a slow plan.
        const MIN_BURST: u64 = 10;
        self.burst.unwrap_or_else(|| (self.requests / self.per.seconds()).max(MIN_BURST).min(self.requests))
    }
}

/// A unit of time for rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names say it
pub enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

impl Period {
    /// Its length in seconds.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

impl ManagementKind for PlanSpec {
    const PLURAL: &'static str = "plans";
    const COLUMNS: &'static [Column] =
        &[Column::of("RATE", |item| rate(&item["spec"]["rate"])), Column::at("BURST", "/spec/rate/burst")];

    fn bounds() -> Vec<Bounded> {
        let count = Bound::Number(1, MAX_REQUESTS);
        vec![
            ("PlanSpec", "displayName", Bound::Text(1, text::MAX_TEXT_BYTES)),
            ("RateSpec", "requests", count),
            ("RateSpec", "burst", count),
        ]
    }

    fn check(&self, _name: &Name) -> Verdict {
        text::check_optional_line("displayName", self.display_name.as_ref())?;
        let Some(rate) = &self.rate else { return Ok(()) };
        check_count("rate.requests", rate.requests)?;
        rate.burst.map_or(Ok(()), |burst| check_count("rate.burst", burst))
    }
}

fn check_count(field: &str, count: u64) -> Verdict {
    if (1..=MAX_REQUESTS).contains(&count) {
        return Ok(());
    }
    let remedy = "leave the rate out for a plan without limit; to shut somebody out, delete the Subscription";
    Err(invalid(field, format!("{count} is not between 1 and {MAX_REQUESTS}"), remedy))
}

fn rate(rate: &Value) -> String {
    match rate.is_object() {
        true => format!("{}/{}", text_of(&rate["requests"]), text_of(&rate["per"])),
        false => "unlimited".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_burst_is_a_seconds_worth_and_never_more_than_the_plan() {
        for (requests, per, burst) in [
            (5, Period::Day, 5),
            (5, Period::Second, 5),
            (10, Period::Hour, 10),
            (60, Period::Minute, 10),
            (6_000, Period::Minute, 100),
            (100, Period::Second, 100),
        ] {
            assert_eq!(
                RateSpec { requests, per, burst: None }.effective_burst(),
                burst,
                "{requests}/{per:?}"
            );
        }
        let written = RateSpec { requests: 5, per: Period::Day, burst: Some(10) };
        assert_eq!(written.effective_burst(), 10, "a burst that is written holds");
    }
}
