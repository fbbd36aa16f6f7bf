//! FailoverPlan: where hosts are served, and where else they may be.

mod probe;

use hanse_topology::{MAX_REGIONS, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use probe::{DrillScheduleSpec, GuardSpec, ObjectivesSpec, ProbeSpec};

use crate::{
    Bound, Bounded, Claim, Column, Duration, Field, Kind, ManagementKind, Problem, ProblemName, Refer,
    ResourceKey, ShownWith,
    check::{Verdict, check_distinct, invalid, region::check_regions, text},
    kinds::ApiSpec,
};

/// The most hosts of a plan: they move together, and an operator reads their names before.
const MAX_HOSTS: usize = 64;
/// What is left of a name for that of its plan's Drill: `-`, and as many digits as a plan can have drills in a thousand years.
const DRILL_SUFFIX: usize = 7;
/// The most steps: enough for ten tenths.
const MAX_STEPS: usize = 10;
/// All clients.
const WHOLE: u32 = 100;
/// A step is decided by the leader, and DNS answers need a second to change.
pub(super) const SHORTEST_STEP: Duration = Duration::from_millis(1_000);
/// An operator watches a shift that takes longer, and begins a new failover.
pub(super) const LONGEST_STEP: Duration = Duration::from_millis(60 * 60 * 1_000);
/// As long as the default TTL of a GlobalHost: clients of one step have come before the next one.
const DEFAULT_STEP_EVERY: Duration = Duration::from_millis(30_000);

/// Hosts that one region serves, and that others take over when an operator says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FailoverPlanSpec {
    /// The GlobalHosts that move together. All are of one Environment.
    pub hosts: Vec<Name>,
    /// The region that serves them unless a Failover says otherwise.
    pub active: Name,
    /// The regions that may take over.
    pub standby: Vec<Name>,
    /// The percents of the clients that have moved after each step, the last one 100. Default: all at once.
    #[serde(default = "at_once")]
    pub steps: Vec<u32>,
    /// The time from one step to the next: 1 second to 1 hour. Default 30s.
    #[serde(default = "default_step_every")]
    #[schema(value_type = String)]
    pub step_every: Duration,
    /// Whether a second owner must approve a change of the plan, a failover and a drill. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// What a drill is compared with.
    #[serde(default, skip_serializing_if = "ObjectivesSpec::is_empty")]
    pub objectives: ObjectivesSpec,
    /// The requests that a drill sends. A plan without it has no drills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub probe: Option<ProbeSpec>,
    /// When a drill is taken back.
    #[serde(default, skip_serializing_if = "GuardSpec::is_default")]
    pub guard: GuardSpec,
    /// When drills are run by themselves. Absent: only an operator runs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub drill: Option<DrillScheduleSpec>,
}

fn at_once() -> Vec<u32> {
    vec![WHOLE]
}

fn default_step_every() -> Duration {
    DEFAULT_STEP_EVERY
}

impl FailoverPlanSpec {
    /// The regions that may serve its hosts: the active one first, then the others in the order of the plan.
    pub fn regions(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.active).chain(&self.standby)
    }
}

impl ManagementKind for FailoverPlanSpec {
    const PLURAL: &'static str = "failover-plans";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::at("HOSTS", "/spec/hosts"),
        Column::at("ACTIVE", "/spec/active"),
        Column::at("STANDBY", "/spec/standby"),
    ];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::GlobalHost, field: "/spec/hosts", title: "Plans" }];

    fn bounds() -> Vec<Bounded> {
        let own = [
            ("FailoverPlanSpec", "hosts", Bound::Items(1, MAX_HOSTS)),
            ("FailoverPlanSpec", "standby", Bound::Items(1, MAX_REGIONS)),
            ("FailoverPlanSpec", "steps", Bound::Items(1, MAX_STEPS)),
        ];
        [&own[..], &probe::BOUNDS].concat()
    }

    fn normalize(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.normalize();
        }
    }

    fn check(&self, name: &Name) -> Verdict {
        let longest = Name::MAX_LEN - DRILL_SUFFIX;
        if name.as_str().len() > longest {
            let detail =
                format!("{name} is longer than {longest} characters, and no Drill could be named after it");
            return Err(Problem::new(ProblemName::Invalid, detail)
                .at("name")
                .remedy("choose a shorter name"));
        }
        let count = self.hosts.len();
        if !(1..=MAX_HOSTS).contains(&count) {
            let detail = format!("{count} hosts are not between 1 and {MAX_HOSTS}");
            return Err(invalid("hosts", detail, "name the GlobalHosts that move together"));
        }
        check_distinct("hosts", &self.hosts)?;
        check_regions("standby", &self.standby)?;
        if let Some(at) = self.standby.iter().position(|region| *region == self.active) {
            let detail = format!("{} is the active region", self.active);
            return Err(invalid(format!("standby[{at}]"), detail, "name the regions that take over from it"));
        }
        check_steps("steps", &self.steps)?;
        text::check_span("stepEvery", self.step_every, SHORTEST_STEP..=LONGEST_STEP)?;
        self.objectives.check()?;
        self.probe.as_ref().map_or(Ok(()), ProbeSpec::check)?;
        self.guard.check()?;
        let Some(drill) = &self.drill else { return Ok(()) };
        if self.probe.is_none() {
            return Err(invalid(
                "drill",
                "a drill without a probe measures nothing",
                "give it a `probe`, or leave `drill` out",
            ));
        }
        drill.check()
    }

    fn references(&self, refer: &mut Refer<'_>) {
        for (at, host) in self.hosts.iter().enumerate() {
            refer.lists(Kind::GlobalHost, host, Field::Item("hosts", at));
        }
        refer.lists(Kind::Region, &self.active, Field::Plain("active"));
        for (at, region) in self.standby.iter().enumerate() {
            refer.lists(Kind::Region, region, Field::Item("standby", at));
        }
    }

    fn claims(&self, _key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        self.hosts.iter().cloned().map(Claim::PlanOfHost).collect()
    }
}

/// Percents that grow up to 100.
fn check_steps(field: &str, steps: &[u32]) -> Verdict {
    let remedy = "write percents that grow up to 100: [10, 50, 100]";
    if !(1..=MAX_STEPS).contains(&steps.len()) {
        let detail = format!("{} steps are not between 1 and {MAX_STEPS}", steps.len());
        return Err(invalid(field, detail, remedy));
    }
    if let Some(at) = steps.windows(2).position(|pair| pair[0] >= pair[1]) {
        let detail = format!("{} does not come after {}", steps[at + 1], steps[at]);
        return Err(invalid(format!("{field}[{}]", at + 1), detail, remedy));
    }
    if steps[0] == 0 {
        return Err(invalid(format!("{field}[0]"), "a step of 0 moves nobody", remedy));
    }
    match steps.last() {
        Some(&WHOLE) => Ok(()),
        _other => Err(invalid(field, "the last step does not move all clients", remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::{check, check_named};

    #[test]
    fn a_name_leaves_room_for_the_numbers_of_drills() {
        let spec = "{hosts: [orders], active: eu-west, standby: [us-east]}";
        check_named(Kind::FailoverPlan, &"a".repeat(56), spec, "");
        let long = "a".repeat(57);
        let expected = format!(
            "name: {long} is longer than 56 characters, and no Drill could be named after it (choose a shorter name)"
        );
        check_named(Kind::FailoverPlan, &long, spec, &expected);
    }

    #[test]
    fn a_plan_names_hosts_regions_steps_and_how_it_is_tried() {
        let plan = |more: &str| format!("{{hosts: [orders], active: eu-west, standby: [us-east], {more}}}");
        for good in [
            "",
            "steps: [10, 50, 100], stepEvery: 1m, approval: true",
            "objectives: {rto: 60s, rpo: 0}, probe: {url: 'https://orders.gslb.example.com/ping'}",
            "probe: {url: 'http://orders.gslb.example.com/ping', rate: 50}, guard: {failedPercent: 0, limit: 1h}, drill: {every: 30d}",
        ] {
            check(Kind::FailoverPlan, &plan(good), "");
        }
        let probed = "probe: {url: 'http://a.example/'}";
        for (bad, expected) in [
            ("steps: []", "spec.steps: 0 steps are not between 1 and 10"),
            ("steps: [0, 100]", "spec.steps[0]: a step of 0 moves nobody"),
            (
                "steps: [50, 50, 100]",
                "spec.steps[1]: 50 does not come after 50 (write percents that grow up to 100: [10, 50, 100])",
            ),
            ("steps: [10, 90]", "spec.steps: the last step does not move all clients"),
            ("steps: [10, 101]", "spec.steps: the last step does not move all clients"),
            ("stepEvery: 0s", "spec.stepEvery: 0s is not between 1s and 1h"),
            ("objectives: {rto: 0s}", "spec.objectives.rto: 0s is not between 1s and 1day"),
            (
                "probe: {url: 'ftp://a.example/'}",
                "spec.probe.url: \"ftp://a.example/\" is neither http nor https",
            ),
            ("probe: {url: 'http://a.example/', rate: 0}", "spec.probe.rate: 0 is not between 1 and 1000"),
            (
                "probe: {url: 'https://a.example/', ca: x}",
                "spec.probe.ca: it is not a sequence of PEM certificates",
            ),
            (
                "probe: {url: 'http://a.example/', ca: '-----BEGIN CERTIFICATE----- -----END CERTIFICATE-----'}",
                "spec.probe.ca: the URL is plain HTTP",
            ),
            ("guard: {failedPercent: 101}", "spec.guard.failedPercent: 101 is more than 100"),
            ("guard: {limit: 10s}", "spec.guard.limit: 10s is not between 1m and 1day"),
            ("drill: {every: 30d}", "spec.drill: a drill without a probe measures nothing"),
            (
                &format!("{probed}, drill: {{every: 10m}}"),
                "spec.drill.every: 10m is not between 1h and 1year",
            ),
        ] {
            check(Kind::FailoverPlan, &plan(bad), expected);
        }
        for (bad, expected) in [
            ("{hosts: [], active: a, standby: [b]}", "spec.hosts: 0 hosts are not between 1 and 64"),
            ("{hosts: [h, h], active: a, standby: [b]}", "spec.hosts[1]: "),
            ("{hosts: [h], active: a, standby: []}", "spec.standby: it names no region"),
            ("{hosts: [h], active: a, standby: [b, a]}", "spec.standby[1]: a is the active region"),
        ] {
            check(Kind::FailoverPlan, bad, expected);
        }
    }
}
