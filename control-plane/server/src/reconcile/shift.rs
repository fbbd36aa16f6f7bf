//! Takes the steps of failovers: a shift that leads its clients in several steps goes on by itself, `stepEvery` after the step before.
//!
//! Each step asks the plan, the readiness of the region and the decision as they are now. For example, a region whose gateways went down
//! after the first 10 percent gets no more clients until they are ready again. A leader that takes over has nothing to remember: the
//! decision has the steps, and its time.

use std::{collections::BTreeMap, time::Duration};

use hanse_management::Kind;
use hanse_state::{CommandBody, State};
use hanse_topology::Name;
use parking_lot::Mutex;
use tracing::info;

use super::{Observed, Reconciler};

/// See the module.
#[derive(Default)]
pub(crate) struct TakeSteps {
    /// The plans that wait, each with the decision and the rule that were logged. No step depends on it.
    logged: Mutex<BTreeMap<Name, (u64, &'static str)>>,
}

impl Reconciler for TakeSteps {
    fn name(&self) -> &'static str {
        "shift"
    }

    fn plan(&self, state: &State, observed: &dyn Observed, now_ms: u64) -> Vec<CommandBody> {
        let now = Duration::from_millis(now_ms);
        let (mut steps, mut wait) = (Vec::new(), BTreeMap::new());
        for failover in state.list(Kind::Failover, None) {
            let plan = &failover.key.name;
            if !state.decided(plan).is_some_and(|decided| decided.failover().moves()) {
                continue;
            }
            match state.next_step(plan, &observed.heard_standbys(plan), now) {
                Some(Ok(step)) => steps.push(CommandBody::Apply(vec![step])),
                Some(Err(why)) => {
                    let of = (failover.metadata.revision, why.rule);
                    if self.logged.lock().get(plan) != Some(&of) {
                        info!(%plan, %why, "the next step waits");
                    }
                    wait.insert(plan.clone(), of);
                }
                None => {}
            }
        }
        *self.logged.lock() = wait;
        steps
    }
}

#[cfg(test)]
mod tests;
