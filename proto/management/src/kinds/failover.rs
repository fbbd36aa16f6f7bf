//! Failover: where the hosts of a FailoverPlan are served, as it was decided.

use hanse_topology::{MAX_REGIONS, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    drill::is_named,
    failover_plan::{LONGEST_STEP, SHORTEST_STEP},
};
use crate::{
    Bound, Bounded, Column, Duration, Field, Kind, ManagementKind, Refer, ShownWith, Written,
    check::{
        Verdict, invalid,
        text::{self, MAX_TEXT_BYTES, check_line, check_optional_line},
    },
    column::{each, text_of},
};

/// The most rules of a record: there are six, and later versions may have more.
const MAX_RULES: usize = 32;

/// The longest text of a rule, in bytes: a sentence that names some keys, each of them 63 characters long.
const MAX_WHY_BYTES: usize = 1 << 10;

/// Where the hosts of the FailoverPlan of the same name are served, and why. Operators decide by commands; no manifest has one. What its
/// numbers must be together is judged by the state machine, with the code that makes decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FailoverSpec {
    /// The regions that serve, by name, and the percent of the clients of each. Together 100.
    pub serving: Vec<ServingSpec>,
    /// The region that the clients are led to.
    pub to: Name,
    /// The percents that it has after each step.
    pub steps: Vec<u8>,
    /// The place of the present step in `steps`, from 0 on.
    pub step: u32,
    /// The time from one step to the next: 1 second to 1 hour.
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
    pub percent: u8,
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
    /// Whether it only is the next step of `earlier`: the same decision, which is not frozen, and no region has more clients than before
    /// but the one that they are led to.
    pub fn continues(&self, earlier: &Self) -> bool {
        let same = Self { serving: earlier.serving.clone(), step: earlier.step, ..self.clone() };
        let is_led = |one: &ServingSpec| one.region == self.to || one.percent <= earlier.percent(&one.region);
        same == *earlier
            && earlier.frozen.is_none()
            && Some(self.step) == earlier.step.checked_add(1)
            && self.serving.iter().all(is_led)
    }

    /// The percent of the clients that a region has.
    pub fn percent(&self, region: &Name) -> u8 {
        self.serving.iter().find(|one| one.region == *region).map_or(0, |one| one.percent)
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
            ("ReadinessSpec", "why", Bound::Text(1, MAX_WHY_BYTES)),
        ]
    }

    fn check(&self, name: &Name) -> Verdict {
        if self.serving.len() > MAX_REGIONS {
            let detail = format!("{} regions are more than {MAX_REGIONS}", self.serving.len());
            return Err(invalid("serving", detail, "leave some out"));
        }
        text::check_span("stepEvery", self.step_every, SHORTEST_STEP..=LONGEST_STEP)?;
        if let Some(drill) = self.drill.as_ref().filter(|drill| !is_named(drill.as_str(), name.as_str())) {
            let detail = format!("{drill} is not the name of a Drill of FailoverPlan {name}");
            return Err(invalid("drill", detail, format!("name one, such as {name}-1")));
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
            text::check_line_of(&format!("readiness[{at}].why"), &rule.why, MAX_WHY_BYTES)
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
    use crate::kinds::tests::check_named;

    const SERVED: &str =
        "serving: [{region: a, percent: 50}, {region: b, percent: 50}], to: b, steps: [10, 50, 100], step: 1";

    #[test]
    fn texts_spans_and_the_drill_are_judged_by_themselves() {
        let spec = |more: &str| format!("{{{SERVED}, stepEvery: 30s, {more}}}");
        let with_why = |bytes: usize| {
            let why = "w".repeat(bytes);
            spec(&format!("reason: r, readiness: [{{rule: quarantine, verdict: notReady, why: {why}}}]"))
        };
        let all = "reason: r, forced: f, frozen: z, drill: x-1, readiness: [{rule: sync, verdict: notReady, why: 'lag 90 s', ageMs: 5}]";
        for (given, expected) in [
            (spec("reason: r"), ""),
            (spec(all), ""),
            (with_why(1_024), ""),
            (with_why(1_025), "spec.readiness[0].why: 1025 bytes are more than 1024"),
            (spec("reason: ''"), "spec.reason: it must not be empty"),
            (spec("reason: r, forced: ''"), "spec.forced: it must not be empty"),
            (
                spec("reason: r, drill: other-1"),
                "spec.drill: other-1 is not the name of a Drill of FailoverPlan x (name one, such as x-1)",
            ),
            (spec("reason: r").replace("30s", "0s"), "spec.stepEvery: 0s is not between 1s and 1h"),
        ] {
            check_named(Kind::Failover, "x", &given, expected);
        }
    }

    #[test]
    fn only_the_next_step_of_the_same_decision_continues_it() {
        let name = |name: &str| Name::new(name).unwrap();
        let serving = |percents: &[(&str, u8)]| -> Vec<ServingSpec> {
            let one =
                |(region, percent): &(&str, u8)| ServingSpec { region: name(region), percent: *percent };
            percents.iter().map(one).collect()
        };
        let at = |step: u32, percents: &[(&str, u8)]| FailoverSpec {
            serving: serving(percents),
            to: name("b"),
            steps: vec![10, 50, 100],
            step,
            step_every: Duration::from_millis(1_000),
            reason: "r".into(),
            forced: None,
            frozen: None,
            drill: None,
            readiness: Vec::new(),
        };
        let (first, second) = (at(0, &[("a", 90), ("b", 10)]), at(1, &[("a", 50), ("b", 50)]));
        let third = at(2, &[("b", 100)]);
        let frozen = |of: &FailoverSpec| FailoverSpec { frozen: Some("why".into()), ..of.clone() };
        assert!(second.continues(&first) && third.continues(&second));
        for (next, before, why) in [
            (&first, &first, "it goes on"),
            (&first, &second, "it goes forward"),
            (&third, &first, "it leaves no step out"),
            (&frozen(&second), &first, "it is the same decision"),
            (&frozen(&second), &frozen(&first), "what is frozen does not move"),
            (&FailoverSpec { to: name("a"), ..second.clone() }, &first, "it leads to the same region"),
            (&FailoverSpec { reason: "another".into(), ..second.clone() }, &first, "for the same reason"),
            (&at(1, &[("b", 50), ("c", 50)]), &first, "nobody else gets clients"),
            (&at(1, &[("a", 95), ("b", 5)]), &first, "nobody gets clients back"),
        ] {
            assert!(!next.continues(before), "{why}: {next:?}");
        }
    }
}
