//! Drill: a failover that is tried and measured.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, Field, Kind, ManagementKind, Problem, ProblemName, Refer, ShownWith, Written,
    check::{
        Verdict, invalid,
        text::{MAX_TEXT_BYTES, check_line, check_optional_line},
    },
};

/// The longest report, in bytes: an hour by the second, and what each rule looked at.
const MAX_REPORT_BYTES: usize = 128 << 10;

/// A failover of a FailoverPlan that is tried, measured and taken back, named `PLAN-NUMBER`. No manifest has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DrillSpec {
    /// The FailoverPlan.
    pub plan: Name,
    /// How far it is.
    pub phase: DrillPhase,
    /// Why it was begun.
    pub reason: String,
    /// Whether the plan's schedule began it. Default false: an operator did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scheduled: bool,
    /// Why it ended early; absent: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub aborted: Option<String>,
    /// The signed report, as JSON text; absent before the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub report: Option<String>,
}

/// How far a Drill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DrillPhase {
    /// Readiness is judged; nothing has moved.
    Preflight,
    /// Clients move, step by step.
    Shift,
    /// The standby serves.
    Hold,
    /// Clients move back.
    Failback,
    /// The active region serves again, and is watched.
    Settle,
    /// It is over.
    Done,
}

impl DrillSpec {
    /// Whether it has begun and is not over.
    pub fn runs(&self) -> bool {
        match self.phase {
            DrillPhase::Preflight
            | DrillPhase::Shift
            | DrillPhase::Hold
            | DrillPhase::Failback
            | DrillPhase::Settle => true,
            DrillPhase::Done => false,
        }
    }

    /// Whether it only is a later phase of `earlier`.
    pub fn continues(&self, earlier: &Self) -> bool {
        earlier.runs()
            && self.phase > earlier.phase
            && (&self.plan, &self.reason, self.scheduled)
                == (&earlier.plan, &earlier.reason, earlier.scheduled)
    }

    /// As it is taken back from a dump. One that ran is over: what its clients got meanwhile was not measured.
    pub fn restore(&mut self) {
        if self.runs() {
            self.phase = DrillPhase::Done;
            self.aborted = Some("it was taken back from a dump that was made while it ran".to_owned());
        }
    }
}

/// Whether a name is that of a drill of a plan.
pub(super) fn is_named(name: &str, plan: &str) -> bool {
    let number = name.strip_prefix(plan).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| {
        !number.starts_with('0') && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl ManagementKind for DrillSpec {
    const PLURAL: &'static str = "drills";
    const GLOBAL: bool = true;
    const WRITTEN: Written = Written::ByHandlers;
    const COLUMNS: &'static [Column] = &[
        Column::at("PLAN", "/spec/plan"),
        Column::at("PHASE", "/spec/phase"),
        Column::at("REASON", "/spec/reason"),
        Column::at("ABORTED", "/spec/aborted"),
    ];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::FailoverPlan, field: "/spec/plan", title: "Drills" }];

    fn bounds() -> Vec<Bounded> {
        vec![
            ("DrillSpec", "reason", Bound::Text(1, MAX_TEXT_BYTES)),
            ("DrillSpec", "aborted", Bound::Text(1, MAX_TEXT_BYTES)),
            ("DrillSpec", "report", Bound::Text(1, MAX_REPORT_BYTES)),
        ]
    }

    fn check(&self, name: &Name) -> Verdict {
        if !is_named(name.as_str(), self.plan.as_str()) {
            let detail = format!("{name} is not the name of a drill of FailoverPlan {}", self.plan);
            let remedy = format!("call it {}-NUMBER; numbers begin at 1", self.plan);
            return Err(Problem::new(ProblemName::Invalid, detail).at("name").remedy(remedy));
        }
        check_line("reason", &self.reason)?;
        check_optional_line("aborted", self.aborted.as_ref())?;
        let Some(report) = &self.report else { return Ok(()) };
        if !(1..=MAX_REPORT_BYTES).contains(&report.len()) {
            let detail = format!("{} bytes are not between 1 and {MAX_REPORT_BYTES}", report.len());
            return Err(invalid("report", detail, "leave out what it does not need"));
        }
        Ok(())
    }

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::FailoverPlan, &self.plan, Field::Plain("plan"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::check_named;

    #[test]
    fn a_drill_is_named_by_its_plan_and_a_number() {
        let spec = "{plan: orders, phase: preflight, reason: r, scheduled: true}";
        for good in ["orders-1", "orders-120"] {
            check_named(Kind::Drill, good, spec, "");
        }
        for bad in ["orders", "orders-0", "orders-01", "orders-x", "other-1"] {
            let expected = format!(
                "name: {bad} is not the name of a drill of FailoverPlan orders (call it orders-NUMBER; numbers begin at 1)"
            );
            check_named(Kind::Drill, bad, spec, &expected);
        }
        check_named(Kind::Drill, "a-1", "{plan: a, phase: over, reason: r}", "unknown word `over`");
        let long =
            format!("{{plan: a, phase: done, reason: r, report: {}}}", "x".repeat(MAX_REPORT_BYTES + 1));
        check_named(Kind::Drill, "a-1", &long, "spec.report: 131073 bytes are not between 1 and 131072");
    }

    #[test]
    fn phases_go_forward_until_it_is_over() {
        let drill = |phase| DrillSpec {
            plan: Name::new("a").unwrap(),
            phase,
            reason: "r".into(),
            scheduled: false,
            aborted: None,
            report: None,
        };
        let (first, hold, done) =
            (drill(DrillPhase::Preflight), drill(DrillPhase::Hold), drill(DrillPhase::Done));
        assert!(hold.continues(&first) && done.continues(&hold));
        let reasoned = DrillSpec { reason: "another".into(), ..hold.clone() };
        let scheduled = DrillSpec { scheduled: true, ..hold.clone() };
        for (next, before) in [
            (&first, &first),
            (&first, &hold),
            (&first, &done),
            (&done, &done),
            (&reasoned, &first),
            (&scheduled, &first),
        ] {
            assert!(!next.continues(before), "{next:?} after {before:?}");
        }
    }

    #[test]
    fn one_that_ran_is_over_when_it_is_restored() {
        let mut drill = DrillSpec {
            plan: Name::new("a").unwrap(),
            phase: DrillPhase::Hold,
            reason: "r".into(),
            scheduled: false,
            aborted: None,
            report: None,
        };
        drill.restore();
        assert!(!drill.runs() && drill.aborted.is_some());
        let once = drill.clone();
        drill.restore();
        assert_eq!(drill, once);
    }
}
