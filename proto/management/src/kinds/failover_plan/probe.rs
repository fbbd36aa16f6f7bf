//! How a plan is tried: drills.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Duration,
    check::{Verdict, invalid, text},
    kinds::upstream::{check_certificates, url},
};

/// The most requests a second that a drill sends: it measures, and is no load test.
const MAX_RATE: u32 = 1_000;
/// Fine enough to tell an outage of 50 ms.
const DEFAULT_RATE: u32 = 20;
/// No failover is decided and answered within less.
const SHORTEST_RTO: Duration = Duration::from_millis(1_000);
/// An objective beyond a day needs no drill.
const LONGEST_RTO: Duration = Duration::from_millis(24 * 60 * 60 * 1_000);
/// One request of a hundred may fail by itself, without the drill.
const DEFAULT_FAILED_PERCENT: u32 = 1;
/// Long enough for one step to hold.
const SHORTEST_LIMIT: Duration = Duration::from_millis(60 * 1_000);
/// A drill that is not over within a day was forgotten.
const LONGEST_LIMIT: Duration = Duration::from_millis(24 * 60 * 60 * 1_000);
/// Three steps of 30 s, there and back, and holds of 3 × 30 s at each end have 6 minutes.
const DEFAULT_LIMIT: Duration = Duration::from_millis(15 * 60 * 1_000);
/// One drill is over before the next one begins.
const SHORTEST_EVERY: Duration = Duration::from_millis(60 * 60 * 1_000);
/// A plan that was not tried for a year is no plan.
const LONGEST_EVERY: Duration = Duration::from_millis(31_557_600_000);

/// The bounds of its members.
pub(super) const BOUNDS: [Bounded; 2] = [
    ("ProbeSpec", "rate", Bound::Number(1, MAX_RATE as u64)),
    ("GuardSpec", "failedPercent", Bound::Number(0, 100)),
];

/// What a drill is compared with. What is absent is measured, and compared with nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ObjectivesSpec {
    /// The longest time from the first failed request to the first answer of the standby: 1 second to 1 day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rto: Option<Duration>,
    /// The most acknowledged revisions that the standby may lack when it takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpo: Option<u64>,
}

impl ObjectivesSpec {
    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self) -> Verdict {
        let range = SHORTEST_RTO..=LONGEST_RTO;
        self.rto.map_or(Ok(()), |rto| text::check_span("objectives.rto", rto, range))
    }
}

/// The requests that a drill sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProbeSpec {
    /// `http://host/path` or `https://…`: its host is one of the plan's.
    pub url: String,
    /// How many a second: 1 to 1,000. Default 20.
    #[serde(default = "default_rate")]
    pub rate: u32,
    /// PEM certificates trusted instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ca: Option<String>,
}

fn default_rate() -> u32 {
    DEFAULT_RATE
}

impl ProbeSpec {
    /// The host of its URL, without the port.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or_default()
    }

    pub(super) fn normalize(&mut self) {
        if let Ok(normal) = url::normalize(&self.url) {
            self.url = normal;
        }
    }

    pub(super) fn check(&self) -> Verdict {
        url::check("probe.url", &self.url)?;
        if !(1..=MAX_RATE).contains(&self.rate) {
            let detail = format!("{} is not between 1 and {MAX_RATE}", self.rate);
            return Err(invalid("probe.rate", detail, "say how many requests a second tell enough"));
        }
        let Some(ca) = &self.ca else { return Ok(()) };
        check_certificates("probe.ca", ca)?;
        match self.url.starts_with("https:") {
            true => Ok(()),
            false => Err(invalid("probe.ca", "the URL is plain HTTP", "leave it out, or write an https URL")),
        }
    }
}

/// When a drill is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct GuardSpec {
    /// The most percents of the requests of 5 seconds that may fail: 0 to 100. Default 1.
    pub failed_percent: u32,
    /// How long a drill may take: 1 minute to 1 day. Default 15m.
    #[schema(value_type = String)]
    pub limit: Duration,
}

impl Default for GuardSpec {
    fn default() -> Self {
        Self { failed_percent: DEFAULT_FAILED_PERCENT, limit: DEFAULT_LIMIT }
    }
}

impl GuardSpec {
    /// Whether it says what holds without it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self) -> Verdict {
        if self.failed_percent > 100 {
            let detail = format!("{} is more than 100", self.failed_percent);
            return Err(invalid("guard.failedPercent", detail, "write a percent"));
        }
        text::check_span("guard.limit", self.limit, SHORTEST_LIMIT..=LONGEST_LIMIT)
    }
}

/// Drills that run by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DrillScheduleSpec {
    /// The time from the end of one drill to the next: 1 hour to 1 year.
    #[schema(value_type = String)]
    pub every: Duration,
}

impl DrillScheduleSpec {
    pub(super) fn check(&self) -> Verdict {
        text::check_span("drill.every", self.every, SHORTEST_EVERY..=LONGEST_EVERY)
    }
}
