//! How a plan moves: the only maker of decisions, of drills' too.
//!
//! A *decision* says what each region of a plan serves. An operator wishes for another one, or a reconciler for the next step,
//! and [`shift`] makes it, or says which rule forbids it. The caller writes it at the revision that it read, so of two that are
//! made at once one is refused.

mod failover;
mod refusal;

#[cfg(test)]
mod tests;

use std::time::Duration;

use hanse_topology::Name;

pub use self::{
    failover::{Decided, Epoch, Failover, Share},
    refusal::{
        ALREADY_THERE, FROZEN, NOT_FROZEN, NOT_READY, OLD_EPOCH, REASON, Refusal, STEP_ORDER, STEPS,
        UNKNOWN_REGION,
    },
};
use crate::{Finding, Readiness, Verdict, WHOLE, seeded::seeded};

/// What a plan says of its regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where its hosts are served as long as nothing else was decided.
    pub active: Name,
    /// Where they may be served instead.
    pub standby: Vec<Name>,
    /// The percents in which a shift goes, where the wish has no other ones: growing, and the last is [`WHOLE`].
    pub steps: Vec<u8>,
    /// The time from one step to the next.
    pub step_every: Duration,
}

/// What somebody wishes for, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub what: What,
    /// Why, for the record. A step goes on for the reason of its shift, and needs none.
    pub reason: String,
    /// Why it is to be done although the region is not ready. It counts for all steps of a shift.
    pub force: Option<String>,
    /// The Drill that wishes for it.
    pub drill: Option<Name>,
    /// The decision that the wish rests on: a plan that moved on refuses it. A plan without a decision is at [`Epoch::NONE`].
    pub expects: Option<Epoch>,
}

/// What may be wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Lead the clients to another region. To the active region it is a failback.
    Shift {
        /// The region, as it was judged.
        to: Readiness,
        /// Other steps than the plan's. `[100]` is at once.
        steps: Option<Vec<u8>>,
    },
    /// Take the next step of the present shift.
    Step {
        /// Its place in the steps, counted from 0.
        step: usize,
        /// The region that the shift leads to, as it was judged.
        to: Readiness,
    },
    /// Let nothing move, not with force either.
    Freeze,
    /// End that.
    Unfreeze,
}

/// The next decision of a plan, whose present one is `at`. Nothing is changed where it is refused.
pub fn shift(plan: &Plan, at: Option<&Decided>, wanted: &Wanted) -> Result<Failover, Refusal> {
    let epoch = at.map_or(Epoch::NONE, |decided| decided.epoch);
    if let Some(expected) = wanted.expects.filter(|expected| *expected != epoch && !seeded("ignore-epoch")) {
        return Err(Refusal::old_epoch(expected, epoch));
    }
    let present =
        at.map_or_else(|| Failover::initial(plan, &wanted.reason), |decided| decided.failover.clone());
    match &wanted.what {
        What::Shift { to, steps } => {
            has_reason(wanted)?;
            start(plan, present, to, steps.as_ref().unwrap_or(&plan.steps), wanted)
        }
        What::Step { step, to } => next(present, *step, to, wanted),
        What::Freeze => {
            has_reason(wanted)?;
            not_frozen(&present)?;
            Ok(Failover { frozen: Some(wanted.reason.clone()), ..present })
        }
        What::Unfreeze => {
            has_reason(wanted)?;
            if present.frozen.is_none() {
                return Err(Refusal::not_frozen());
            }
            Ok(Failover { frozen: None, ..present })
        }
    }
}

/// The first step to a region.
fn start(
    plan: &Plan,
    present: Failover,
    to: &Readiness,
    steps: &[u8],
    wanted: &Wanted,
) -> Result<Failover, Refusal> {
    not_frozen(&present)?;
    let region = to.region();
    if *region != plan.active && !plan.standby.contains(region) {
        return Err(Refusal::unknown_region(region, plan));
    }
    let served = present.percent(region);
    if served == WHOLE {
        return Err(Refusal::already_there(region));
    }
    if !steps.is_sorted_by(|one, next| one < next) || steps.last() != Some(&WHOLE) || steps.contains(&0) {
        return Err(Refusal::steps(steps));
    }
    let readiness = judged(to, wanted.force.as_ref())?;
    // What the region serves already is never taken back by a step to it.
    let steps: Vec<u8> = steps.iter().copied().filter(|percent| *percent > served).collect();
    Ok(Failover {
        serving: present.moved(region, steps[0]),
        to: region.clone(),
        steps,
        step: 0,
        step_every: plan.step_every,
        reason: wanted.reason.clone(),
        forced: wanted.force.clone(),
        frozen: None,
        drill: wanted.drill.clone(),
        readiness,
    })
}

/// The next step to the same region.
fn next(present: Failover, step: usize, to: &Readiness, wanted: &Wanted) -> Result<Failover, Refusal> {
    not_frozen(&present)?;
    let percent = present.steps.get(step).copied();
    let Some(percent) = percent.filter(|_| step == present.step + 1 && *to.region() == present.to) else {
        return Err(Refusal::step_order(step, to.region(), &present));
    };
    let force = wanted.force.as_ref().or(present.forced.as_ref());
    let readiness = judged(to, force)?;
    let forced = force.cloned();
    let serving = present.moved(&present.to, percent);
    Ok(Failover { serving, step, forced, readiness, ..present })
}

fn has_reason(wanted: &Wanted) -> Result<(), Refusal> {
    let reasons = [Some(&wanted.reason), wanted.force.as_ref()];
    if reasons.into_iter().flatten().any(|reason| reason.trim().is_empty()) {
        return Err(Refusal::reason());
    }
    Ok(())
}

fn not_frozen(present: &Failover) -> Result<(), Refusal> {
    present.frozen.as_ref().map_or(Ok(()), |reason| Err(Refusal::frozen(reason)))
}

fn judged(to: &Readiness, force: Option<&String>) -> Result<Vec<Finding>, Refusal> {
    match to.verdict() {
        Verdict::NotReady if force.is_none() => Err(Refusal::not_ready(to)),
        Verdict::Ready | Verdict::Unknown | Verdict::NotReady => Ok(to.findings().to_vec()),
    }
}
