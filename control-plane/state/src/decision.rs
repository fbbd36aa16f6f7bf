//! Failovers as the code that decides has them.

use std::time::Duration;

use hanse_management::kinds::{FailoverSpec, ReadinessSpec, ReadinessVerdict, ServingSpec};
use hanse_steering::{Failover, Finding, Share, Verdict};

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
