//! Failover: where the hosts of a FailoverPlan are served, as it was decided.

use std::collections::BTreeSet;

use hanse_topology::{MAX_REGIONS, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::failover_plan::check_steps;
use crate::{
    Bound, Bounded, Column, Duration, Field, Kind, ManagementKind, Refer, ShownWith, Written,
    check::{
        Verdict, invalid,
        text::{MAX_TEXT_BYTES, check_line, check_optional_line},
    },
    column::{each, text_of},
};

/// The most rules of a record: there are six, and later versions may have more.
const MAX_RULES: usize = 32;

/// Where the hosts of the FailoverPlan of the same name are served, and why. Operators decide by commands; no manifest has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FailoverSpec {
    /// The regions that serve, and the percent of the clients of each. Together 100.
    pub serving: Vec<ServingSpec>,
    /// The percents that have moved after each step.
    pub steps: Vec<u32>,
    /// How many of the steps are done, from 1 on.
    pub step: u32,
    /// The time from one step to the next.
    #[schema(value_type = String)]
    pub step_every: Duration,
    /// Why it was decided.
    pub reason: String,
    /// Why it was decided although a region was not ready; absent: no rule was overruled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub forced: Option<String>,
    /// Why nothing moves until an operator lifts it; absent: it may move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub frozen: Option<String>,
    /// The Drill that decided it; absent: an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub drill: Option<Name>,
    /// What was known of the region that takes over, rule by rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readiness: Vec<ReadinessSpec>,
}

/// A region that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServingSpec {
    /// The region.
    pub region: Name,
    /// Its percent of the clients: 1 to 100.
    pub percent: u32,
}

/// What one rule said of a region that takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReadinessSpec {
    /// The rule: `sync`, for example.
    pub rule: String,
    /// What it said.
    pub verdict: ReadinessVerdict,
    /// Why.
    pub why: String,
    /// How old its oldest input was, in milliseconds; absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub age_ms: Option<u64>,
}

/// Whether a region can take over, by one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReadinessVerdict {
    /// It can.
    Ready,
    /// It cannot: only force overrules it.
    NotReady,
    /// Nothing tells: it is warned of.
    Unknown,
}

impl FailoverSpec {
    /// Whether it only is a later step of `earlier`: the same decision, with less clients left where they were.
    pub fn continues(&self, earlier: &Self) -> bool {
        let same = Self { serving: earlier.serving.clone(), step: earlier.step, ..self.clone() };
        let was_there = |one: &ServingSpec| earlier.serving.iter().any(|was| was.region == one.region);
        same == *earlier && self.step > earlier.step && self.serving.iter().all(was_there)
    }
}

impl ManagementKind for FailoverSpec {
    const PLURAL: &'static str = "failovers";
    const GLOBAL: bool = true;
    const WRITTEN: Written = Written::ByHandlers;
    const COLUMNS: &'static [Column] = &[
        Column::of("SERVING", |item| {
            each(&item["spec"]["serving"], |one| {
                format!("{}={}%", text_of(&one["region"]), text_of(&one["percent"]))
            })
        }),
        Column::at("REASON", "/spec/reason"),
        Column::at("FROZEN", "/spec/frozen"),
    ];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::FailoverPlan, field: ShownWith::BY_NAME, title: "Failover" }];

    fn bounds() -> Vec<Bounded> {
        vec![
            ("FailoverSpec", "serving", Bound::Items(1, MAX_REGIONS)),
            ("FailoverSpec", "reason", Bound::Text(1, MAX_TEXT_BYTES)),
            ("FailoverSpec", "readiness", Bound::Items(0, MAX_RULES)),
            ("ServingSpec", "percent", Bound::Number(1, 100)),
            ("ReadinessSpec", "rule", Bound::Text(1, MAX_TEXT_BYTES)),
            ("ReadinessSpec", "why", Bound::Text(1, MAX_TEXT_BYTES)),
        ]
    }

    fn check(&self, _name: &Name) -> Verdict {
        let mut seen = BTreeSet::new();
        for (at, ServingSpec { region, percent }) in self.serving.iter().enumerate() {
            if !(1..=100).contains(percent) {
                let detail = format!("{percent} is not between 1 and 100");
                return Err(invalid(
                    format!("serving[{at}].percent"),
                    detail,
                    "leave a region out that serves nobody",
                ));
            }
            if !seen.insert(region) {
                let detail = format!("{region} is there already");
                return Err(invalid(format!("serving[{at}].region"), detail, "name it once"));
            }
        }
        if self.serving.len() > MAX_REGIONS {
            let detail = format!("{} regions are more than {MAX_REGIONS}", self.serving.len());
            return Err(invalid("serving", detail, "leave some out"));
        }
        let whole: u32 = self.serving.iter().map(|one| one.percent).sum();
        if whole != 100 {
            return Err(invalid(
                "serving",
                format!("the percents make {whole}, not 100"),
                "say where all clients go",
            ));
        }
        check_steps("steps", &self.steps)?;
        let moved = usize::try_from(self.step).ok().and_then(|step| self.steps.get(step.checked_sub(1)?));
        let Some(moved) = moved else {
            let detail = format!("{} is not between 1 and {}", self.step, self.steps.len());
            return Err(invalid("step", detail, "say how many steps are done"));
        };
        if !self.serving.iter().any(|one| one.percent == *moved) {
            let detail = format!("no region serves the {moved} percent of step {}", self.step);
            return Err(invalid("serving", detail, "say where the clients of the step go"));
        }
        check_line("reason", &self.reason)?;
        check_optional_line("forced", self.forced.as_ref())?;
        check_optional_line("frozen", self.frozen.as_ref())?;
        if self.readiness.len() > MAX_RULES {
            let detail = format!("{} rules are more than {MAX_RULES}", self.readiness.len());
            return Err(invalid("readiness", detail, "leave some out"));
        }
        self.readiness.iter().enumerate().try_for_each(|(at, rule)| {
            check_line(&format!("readiness[{at}].rule"), &rule.rule)?;
            check_line(&format!("readiness[{at}].why"), &rule.why)
        })
    }

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::FailoverPlan, &refer.from().name, Field::Name);
        for (at, one) in self.serving.iter().enumerate() {
            refer.lists(Kind::Region, &one.region, Field::Of("serving", at, "region"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::check;

    const AT_HALF: &str = "serving: [{region: a, percent: 50}, {region: b, percent: 50}], steps: [10, 50, 100], step: 2, stepEvery: 30s";

    #[test]
    fn percents_make_100_and_fit_the_step() {
        check(Kind::Failover, &format!("{{{AT_HALF}, reason: r}}"), "");
        check(
            Kind::Failover,
            "{serving: [{region: b, percent: 100}], steps: [100], step: 1, stepEvery: 30s, reason: r, forced: f, frozen: z, \
             drill: orders-1, readiness: [{rule: sync, verdict: notReady, why: 'lag 90 s', ageMs: 5}, {rule: heard, verdict: unknown, why: w}]}",
            "",
        );
        for (spec, expected) in [
            ("serving: [], steps: [100], step: 1", "spec.serving: the percents make 0, not 100"),
            (
                "serving: [{region: a, percent: 0}, {region: b, percent: 100}], steps: [100], step: 1",
                "spec.serving[0].percent: 0 is not",
            ),
            (
                "serving: [{region: a, percent: 50}, {region: a, percent: 50}], steps: [50, 100], step: 1",
                "spec.serving[1].region: a is there already",
            ),
            (
                "serving: [{region: a, percent: 50}, {region: b, percent: 51}], steps: [50, 100], step: 1",
                "the percents make 101",
            ),
            (
                "serving: [{region: a, percent: 100}], steps: [10, 100], step: 0",
                "spec.step: 0 is not between 1 and 2",
            ),
            (
                "serving: [{region: a, percent: 100}], steps: [10, 100], step: 3",
                "spec.step: 3 is not between 1 and 2",
            ),
            (
                "serving: [{region: a, percent: 100}], steps: [10, 100], step: 1",
                "spec.serving: no region serves the 10 percent of step 1",
            ),
            (
                "serving: [{region: a, percent: 100}], steps: [10], step: 1",
                "spec.steps: the last step does not move all clients",
            ),
        ] {
            check(Kind::Failover, &format!("{{{spec}, stepEvery: 30s, reason: r}}"), expected);
        }
        check(Kind::Failover, &format!("{{{AT_HALF}, reason: ''}}"), "spec.reason: it must not be empty");
        check(
            Kind::Failover,
            &format!("{{{AT_HALF}, reason: r, forced: ''}}"),
            "spec.forced: it must not be empty",
        );
    }

    #[test]
    fn only_a_later_step_of_the_same_decision_continues_it() {
        let serving = |percents: &[(&str, u32)]| -> Vec<ServingSpec> {
            let one = |(region, percent): &(&str, u32)| ServingSpec {
                region: Name::new(*region).unwrap(),
                percent: *percent,
            };
            percents.iter().map(one).collect()
        };
        let first = FailoverSpec {
            serving: serving(&[("a", 90), ("b", 10)]),
            steps: vec![10, 100],
            step: 1,
            step_every: Duration::from_millis(1),
            reason: "r".into(),
            forced: None,
            frozen: None,
            drill: None,
            readiness: Vec::new(),
        };
        let second = FailoverSpec { serving: serving(&[("b", 100)]), step: 2, ..first.clone() };
        assert!(second.continues(&first));
        assert!(!first.continues(&first) && !first.continues(&second), "it goes on");
        let frozen = FailoverSpec { frozen: Some("why".into()), ..second.clone() };
        let elsewhere = FailoverSpec { serving: serving(&[("c", 100)]), ..second.clone() };
        let other = FailoverSpec { reason: "another".into(), ..second };
        for another in [frozen, elsewhere, other] {
            assert!(!another.continues(&first), "{another:?}");
        }
    }
}
