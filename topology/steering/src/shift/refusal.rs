//! Why a plan does not move.

use hanse_topology::Name;

use super::{Epoch, Failover, FailoverPlan};
use crate::{Finding, MAX_AGE, Readiness};

/// A shift and a freeze have a reason, and a force has one. Months later, the record shows why.
pub const REASON: &str = "reason";
/// A request that rests on another decision than the present one is refused, however late it comes.
///
/// AWS, October 2025: a slow process carried out a plan that a newer one had replaced, and the clean-up that followed took the
/// newer one away.
pub const OLD_EPOCH: &str = "old-epoch";
/// A frozen plan does not move, not with force either: first it is unfrozen, by a decision of its own.
///
/// Cloudflare, December 2025: in the middle of one rollout, a second change went out to everything at once, and was the outage.
pub const FROZEN: &str = "frozen";
/// Only a frozen plan is unfrozen.
pub const NOT_FROZEN: &str = "not-frozen";
/// A plan leads to its own regions only. Each step asks the plan as it is now.
pub const UNKNOWN_REGION: &str = "unknown-region";
/// A region that serves all clients already is no place to shift to. Only a Drill's decision is taken over there.
pub const ALREADY_THERE: &str = "already-there";
/// Steps grow, up to all clients.
///
/// Cloudflare, November and December 2025: changes went to everything at once, where steps would have shown the fault in a part.
pub const STEPS: &str = "steps";
/// Steps are taken one by one, of the present shift.
pub const STEP_ORDER: &str = "step-order";
/// A shift leads to a region that is not ready only with force. The reason of the force stays in the decision, and covers the
/// rules that were not ready then.
///
/// AWS, October 2025: machines were put into service before their network was set up, and failed their checks there.
pub const NOT_READY: &str = "not-ready";
/// A readiness counts for the plan that it was judged for: another plan has other Bindings and another load.
pub const OTHER_PLAN: &str = "other-plan";
/// A readiness counts for [`MAX_AGE`].
pub const OLD_READINESS: &str = "old-readiness";

/// Why a plan does not move, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; {remedy}")]
pub struct Refusal {
    /// The rule that forbids it.
    pub rule: &'static str,
    /// Why.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    fn new(rule: &'static str, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { rule, why: why.into(), remedy: remedy.into() }
    }

    pub(super) fn reason() -> Self {
        Self::new(
            REASON,
            "no reason is given",
            "say in a few words why the plan is to move, or not to move, or is forced to",
        )
    }

    pub(super) fn old_epoch(expected: Epoch, present: Epoch) -> Self {
        let why = format!("it rests on decision {expected}, and the plan is at {present}");
        Self::new(OLD_EPOCH, why, "look at the plan again, and decide anew")
    }

    pub(super) fn frozen(reason: &str) -> Self {
        Self::new(FROZEN, format!("the plan is frozen: {reason}"), "unfreeze it first")
    }

    pub(super) fn not_frozen() -> Self {
        Self::new(NOT_FROZEN, "the plan is not frozen", "nothing is to be done")
    }

    pub(super) fn unknown_region(region: &Name, plan: &FailoverPlan) -> Self {
        let regions: Vec<&str> =
            std::iter::once(&plan.active).chain(&plan.standby).map(Name::as_str).collect();
        let why = format!("{region} is no region of the plan");
        Self::new(UNKNOWN_REGION, why, format!("name one of {}, or add it to the plan", regions.join(", ")))
    }

    pub(super) fn already_there(region: &Name) -> Self {
        let why = format!("{region} serves all clients of the plan already");
        Self::new(ALREADY_THERE, why, "name another region")
    }

    pub(super) fn steps(steps: &[u8]) -> Self {
        let why = format!("{steps:?} are no steps");
        Self::new(STEPS, why, "give percents from 1 on that grow and end with 100, for example 10,50,100")
    }

    pub(super) fn step_order(step: usize, to: &Name, present: &Failover) -> Self {
        let remedy = match present.moves() {
            true => format!("step {} to {} is next", present.step + 1, present.to),
            false => format!("the shift to {} has no more steps: start another one", present.to),
        };
        Self::new(STEP_ORDER, format!("step {step} to {to} is not the next one"), remedy)
    }

    pub(super) fn not_ready(region: &Name, findings: &[&Finding]) -> Self {
        let why: Vec<String> =
            findings.iter().map(|finding| format!("{}: {}", finding.rule, finding.why)).collect();
        let remedy = "mend that, or shift with --force and the reason for it";
        Self::new(NOT_READY, format!("{region} is not ready: {}", why.join("; ")), remedy)
    }

    pub(super) fn other_plan(to: &Readiness, plan: &FailoverPlan) -> Self {
        let why = format!("{} was judged for plan {}", to.region(), to.plan());
        Self::new(OTHER_PLAN, why, format!("judge it for plan {}", plan.name))
    }

    pub(super) fn old_readiness(to: &Readiness) -> Self {
        let why = format!("{} was not judged within {} s", to.region(), MAX_AGE.as_secs());
        Self::new(OLD_READINESS, why, "judge it again")
    }
}
