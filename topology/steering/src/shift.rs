//! How a failover plan moves: the only maker of decisions, also of those of drills.
//!
//! A *decision* says what each region of a failover plan serves. An operator requests another one, or a reconciler the next step,
//! and [`shift`] makes it, or says which rule forbids it. The caller writes it at the revision that it read, so of two that are
//! made at once one is refused.

mod failover;
mod refusal;

#[cfg(test)]
mod tests;

use std::time::Duration;

use hanse_topology::{Name, WHOLE_PERCENT, is_brought_back};

pub use self::{
    failover::{Decided, Epoch, Failover, InvalidEpoch, InvalidFailover, Share},
    refusal::{
        ALREADY_THERE, FROZEN, NOT_FROZEN, NOT_READY, OLD_EPOCH, OLD_READINESS, OTHER_PLAN, REASON, Refusal,
        STEP_ORDER, STEPS, UNKNOWN_REGION,
    },
};
use crate::{Finding, MAX_AGE, Readiness, Verdict};

/// A failover plan: the regions between which the clients of some hosts may move.
///
/// An edit may take away a region that still serves. It serves until a shift leads its clients to another region, and no shift
/// and no step leads clients to it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverPlan {
    /// Its name.
    pub name: Name,
    /// The region that serves the plan's hosts while there is no decision: an edit of it moves all clients at once. A decision
    /// pins the regions that serve, and after it an edit of this field moves no client. A freeze is a decision, too.
    pub active: Name,
    /// The regions that may serve them instead.
    pub standby: Vec<Name>,
    /// The percents in which a shift goes, unless the request has its own: growing, and the last is [`WHOLE_PERCENT`].
    pub steps: Vec<u8>,
    /// The time from one step to the next.
    pub step_every: Duration,
}

/// A request to change a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The change.
    pub action: Action,
    /// The decision that the request rests on, [`Epoch::NONE`] if there was none. When the plan has another decision by now, the
    /// request is refused. An operator's request without an expectation rests on the present decision.
    pub on: Epoch,
}

/// A change of a decision. The decision keeps the reasons that are fields here. Those of a step and of an unfreeze are for the
/// caller's audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Lead the clients to another region. To the active region it is a failback.
    Shift {
        /// The region, as it was judged.
        to: Readiness,
        /// Other steps than the plan's. `[100]` is at once.
        steps: Option<Vec<u8>>,
        /// Why.
        reason: String,
        /// Why the clients are led there although the region is not ready. It covers the rules that are not ready in `to`, in all
        /// steps of this shift. A step at which another rule is not ready is refused.
        force: Option<String>,
        /// The Drill that requests it. A shift without one takes over from a Drill.
        drill: Option<Name>,
    },
    /// Take the next step of the present shift, for the reason of the shift.
    Step {
        /// Its place in the steps, counted from 0.
        step: usize,
        /// The region that the shift leads to, as it was judged.
        to: Readiness,
    },
    /// Let nothing move, not with force either. The decision keeps everything else, and a Drill waits for the end of the freeze. A
    /// plan without a decision gets one, which pins its active region.
    Freeze {
        /// Why.
        reason: String,
    },
    /// End a freeze. The shift goes on where it was, so the decision still pins the regions that serve.
    Unfreeze,
}

/// The next decision of a plan with the present decision `at`. `now`: since the start of 1970, as for [`readiness`]. A refusal
/// changes nothing.
///
/// [`readiness`]: crate::readiness()
pub fn shift(
    plan: &FailoverPlan,
    at: Option<&Decided>,
    request: &Request,
    now: Duration,
) -> Result<Failover, Refusal> {
    let epoch = at.map_or(Epoch::NONE, Decided::epoch);
    if request.on != epoch && !is_brought_back("ignore-epoch") {
        return Err(Refusal::old_epoch(request.on, epoch));
    }
    let present = at.map_or_else(|| Failover::initial(plan), |decided| decided.failover().clone());
    match &request.action {
        Action::Shift { to, steps, reason, force, drill } => {
            is_given(reason)?;
            force.as_deref().map_or(Ok(()), is_given)?;
            is_not_frozen(&present)?;
            may_lead_to(plan, to, now)?;
            let start = Failover {
                step_every: plan.step_every,
                reason: reason.clone(),
                forced: force.clone(),
                drill: drill.clone(),
                readiness: to.findings().to_vec(),
                ..present.clone()
            };
            first(&present, start, to, steps.as_ref().unwrap_or(&plan.steps))
        }
        Action::Step { step, to } => {
            is_not_frozen(&present)?;
            next(plan, present, *step, to, now)
        }
        Action::Freeze { reason } => {
            is_given(reason)?;
            is_not_frozen(&present)?;
            Ok(Failover { frozen: Some(reason.clone()), ..present })
        }
        Action::Unfreeze if present.frozen.is_none() => Err(Refusal::not_frozen()),
        Action::Unfreeze => Ok(Failover { frozen: None, ..present }),
    }
}

/// The first step to a region. `start`: the decision without the regions and steps.
fn first(present: &Failover, start: Failover, to: &Readiness, steps: &[u8]) -> Result<Failover, Refusal> {
    let region = to.region();
    let served = present.percent(region);
    let takes_over = start.drill.is_none() && present.drill.is_some();
    if served == WHOLE_PERCENT && !takes_over {
        return Err(Refusal::already_there(region));
    }
    if !failover::are_steps(steps) {
        return Err(Refusal::steps(steps));
    }
    if start.forced.is_none() {
        is_ready(to, &[])?;
    }
    // A step to a region takes no clients from it.
    let steps: Vec<u8> =
        steps.iter().copied().filter(|percent| *percent > served || *percent == WHOLE_PERCENT).collect();
    Ok(Failover { serving: present.moved(region, steps[0]), to: region.clone(), steps, step: 0, ..start })
}

/// The next step to the same region.
fn next(
    plan: &FailoverPlan,
    present: Failover,
    step: usize,
    to: &Readiness,
    now: Duration,
) -> Result<Failover, Refusal> {
    let is_next = step.checked_sub(1) == Some(present.step) && *to.region() == present.to;
    let Some(percent) = present.steps.get(step).copied().filter(|_| is_next) else {
        return Err(Refusal::step_order(step, to.region(), &present));
    };
    may_lead_to(plan, to, now)?;
    let covered = if present.forced.is_some() { &*present.readiness } else { &[] };
    if !is_brought_back("skip-readiness") {
        is_ready(to, covered)?;
    }
    Ok(Failover { serving: present.moved(&present.to, percent), step, ..present })
}

fn is_given(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() { Err(Refusal::reason()) } else { Ok(()) }
}

fn is_not_frozen(present: &Failover) -> Result<(), Refusal> {
    present.frozen.as_ref().map_or(Ok(()), |reason| Err(Refusal::frozen(reason)))
}

/// The region is the plan's, and was judged for this plan within the last minute.
fn may_lead_to(plan: &FailoverPlan, to: &Readiness, now: Duration) -> Result<(), Refusal> {
    let region = to.region();
    if *to.plan() != plan.name {
        return Err(Refusal::other_plan(to, plan));
    }
    // A clock that jumped back makes a readiness of the future: its age is not known either.
    if now.abs_diff(to.judged()) > MAX_AGE {
        return Err(Refusal::old_readiness(to));
    }
    if *region != plan.active && !plan.standby.contains(region) && !is_brought_back("any-region") {
        return Err(Refusal::unknown_region(region, plan));
    }
    Ok(())
}

/// No rule is not ready but those that already were in `covered`.
fn is_ready(to: &Readiness, covered: &[Finding]) -> Result<(), Refusal> {
    let not_ready = |finding: &&Finding| finding.verdict == Verdict::NotReady;
    let was = |rule: &str| {
        covered
            .iter()
            .filter(not_ready)
            .any(|finding| finding.rule == rule || is_brought_back("force-covers-all"))
    };
    let new: Vec<&Finding> =
        to.findings().iter().filter(not_ready).filter(|finding| !was(&finding.rule)).collect();
    if new.is_empty() { Ok(()) } else { Err(Refusal::not_ready(to.region(), &new)) }
}
