//! Plans and Failovers as the code that decides has them, and its decisions as they are stored.

use std::time::Duration;

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{FailoverPlanSpec, FailoverSpec, ReadinessSpec, ReadinessVerdict, ServingSpec},
};
use hanse_steering::{
    Action as Shift, Decided, Epoch, Failover, FailoverPlan, Finding, Readiness, Refusal, Request, Share,
    Standby, Verdict, readiness, shift,
};
use hanse_topology::{Labels, Name};

use crate::{Action, Change, State};

impl State {
    /// The FailoverPlan of that name, as decisions are made of it. `None`: there is none.
    pub fn plan_to_decide(&self, name: &Name) -> Option<FailoverPlan> {
        let FailoverPlanSpec { active, standby, steps, step_every, .. } = self.failover_plan(name)?;
        Some(FailoverPlan {
            name: name.clone(),
            active: active.clone(),
            standby: standby.clone(),
            // Percents.
            steps: steps.iter().map(|step| u8::try_from(*step).unwrap_or(u8::MAX)).collect(),
            step_every: Duration::from_millis(step_every.as_millis()),
        })
    }

    /// The present decision of a FailoverPlan, with its epoch. `None`: there is none yet.
    pub fn decided(&self, plan: &Name) -> Option<Decided> {
        let resource = self.get(&ResourceKey::global(Kind::Failover, plan.clone()))?;
        let Spec::Failover(spec) = &resource.spec else { return None };
        let generation = self.lineage().map_or(0, |lineage| lineage.generation);
        let epoch = Epoch { generation, revision: resource.metadata.revision };
        // Each state was judged with the same code.
        Decided::new(epoch, of_spec(spec)).ok()
    }

    /// Since when the present decision of a FailoverPlan holds, in Unix milliseconds by the state's time.
    pub fn decided_at_ms(&self, plan: &Name) -> Option<u64> {
        let resource = self.get(&ResourceKey::global(Kind::Failover, plan.clone()))?;
        Some(resource.metadata.updated_at_ms)
    }

    /// The next step of a FailoverPlan, once it is due. `Err`: why the plan waits; it is due until it is taken. `None`: all steps are
    /// taken, or the next one is not due yet. `standbys`: what is known of the plan's regions. `now`: since the start of 1970.
    pub fn next_step(
        &self,
        plan: &Name,
        standbys: &[Standby],
        now: Duration,
    ) -> Option<Result<Change, Refusal>> {
        let decided = self.decided(plan)?;
        let present = decided.failover();
        let due = Duration::from_millis(self.decided_at_ms(plan)?).saturating_add(present.step_every);
        if !present.moves() || now < due {
            return None;
        }
        let to = judge(standbys, plan, &present.to, now);
        let action = Shift::Step { step: present.step + 1, to };
        let request = Request { action, on: decided.epoch() };
        let next = shift(&self.plan_to_decide(plan)?, Some(&decided), &request, now);
        Some(next.map(|decision| self.to_decide(plan, &decision)))
    }

    /// The change that makes a decision the present one, if the plan is still at the one that it was made from.
    pub fn to_decide(&self, plan: &Name, decision: &Failover) -> Change {
        let key = ResourceKey::global(Kind::Failover, plan.clone());
        let present = self.get(&key).map_or(0, |resource| resource.metadata.revision);
        let spec = Spec::Failover(to_spec(decision));
        let action = Action::Put { labels: Labels::default(), spec, protected: None };
        Change { key, action, if_revision: Some(present) }
    }
}

/// Judges a region of a plan. Of a region that is not among `standbys` nothing is known.
pub fn judge(standbys: &[Standby], plan: &Name, region: &Name, now: Duration) -> Readiness {
    match standbys.iter().find(|standby| standby.region == *region) {
        Some(standby) => readiness(standby, now),
        None => readiness(&Standby::unheard(plan.clone(), region.clone()), now),
    }
}

/// The same decision as it is stored.
fn to_spec(decision: &Failover) -> FailoverSpec {
    let Failover { serving, to, steps, step, step_every, reason, forced, frozen, drill, readiness } =
        decision;
    let share = |share: &Share| ServingSpec { region: share.region.clone(), percent: share.percent };
    FailoverSpec {
        serving: serving.iter().map(share).collect(),
        to: to.clone(),
        steps: steps.clone(),
        step: u32::try_from(*step).unwrap_or(u32::MAX),
        step_every: hanse_management::Duration::from_millis(millis(*step_every)),
        reason: reason.clone(),
        forced: forced.clone(),
        frozen: frozen.clone(),
        drill: drill.clone(),
        readiness: readiness.iter().map(readiness_spec).collect(),
    }
}

/// What a rule said, as it is stored and answered.
pub fn readiness_spec(finding: &Finding) -> ReadinessSpec {
    let verdict = match finding.verdict {
        Verdict::Ready => ReadinessVerdict::Ready,
        Verdict::NotReady => ReadinessVerdict::NotReady,
        Verdict::Unknown => ReadinessVerdict::Unknown,
    };
    let (rule, why) = (finding.rule.to_string(), finding.why.clone());
    ReadinessSpec { rule, verdict, why, age_ms: finding.age.map(millis) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The same decision. Nothing is judged: [`Decided::new`](hanse_steering::Decided::new) does that.
pub(crate) fn of_spec(spec: &FailoverSpec) -> Failover {
    let FailoverSpec { serving, to, steps, step, step_every, reason, forced, frozen, drill, readiness } =
        spec;
    Failover {
        serving: serving.iter().map(share).collect(),
        to: to.clone(),
        steps: steps.clone(),
        // A step that no list has, where the target has no such number.
        step: usize::try_from(*step).unwrap_or(usize::MAX),
        step_every: Duration::from_millis(step_every.as_millis()),
        reason: reason.clone(),
        forced: forced.clone(),
        frozen: frozen.clone(),
        drill: drill.clone(),
        readiness: readiness.iter().map(finding).collect(),
    }
}

fn share(ServingSpec { region, percent }: &ServingSpec) -> Share {
    Share { region: region.clone(), percent: *percent }
}

fn finding(ReadinessSpec { rule, verdict, why, age_ms }: &ReadinessSpec) -> Finding {
    let verdict = match verdict {
        ReadinessVerdict::Ready => Verdict::Ready,
        ReadinessVerdict::NotReady => Verdict::NotReady,
        ReadinessVerdict::Unknown => Verdict::Unknown,
    };
    Finding { rule: rule.clone().into(), verdict, why: why.clone(), age: age_ms.map(Duration::from_millis) }
}
