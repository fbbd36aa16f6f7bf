//! What was decided for a plan.

use std::{fmt, time::Duration};

use hanse_topology::Name;

use super::Plan;
use crate::{Finding, WHOLE};

/// What was decided for a plan. Operators do not write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// The regions that serve, by name. Their percents are [`WHOLE`] together.
    pub serving: Vec<Share>,
    /// The region that the shift leads to.
    pub to: Name,
    /// The percents in which it gets there.
    pub steps: Vec<u8>,
    /// The present step's place in them. The plan rests at the last.
    pub step: usize,
    /// The time from one step to the next.
    pub step_every: Duration,
    /// Why.
    pub reason: String,
    /// Why it was done although the region may not be ready.
    pub forced: Option<String>,
    /// Why nothing moves.
    pub frozen: Option<String>,
    /// The Drill that decided it.
    pub drill: Option<Name>,
    /// What each rule said of the region, when the step was decided.
    pub readiness: Vec<Finding>,
}

/// What a region serves of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The region.
    pub region: Name,
    /// Its part of the clients, 1 to [`WHOLE`].
    pub percent: u8,
}

/// A decision and the place in history at which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Greater for each later decision of the plan.
    pub epoch: Epoch,
    /// What was decided.
    pub failover: Failover,
}

/// Which of two decisions is the later one, also over a restored backup. Spelled `GENERATION/REVISION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// The lineage's.
    pub generation: u64,
    /// That of the decision's last change.
    pub revision: u64,
}

impl Epoch {
    /// Before every decision.
    pub const NONE: Self = Self { generation: 0, revision: 0 };
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.generation, self.revision)
    }
}

impl Failover {
    /// A plan of which nothing was decided: its active region serves.
    pub(super) fn initial(plan: &Plan, reason: &str) -> Self {
        Self {
            serving: vec![Share { region: plan.active.clone(), percent: WHOLE }],
            to: plan.active.clone(),
            steps: vec![WHOLE],
            step: 0,
            step_every: plan.step_every,
            reason: reason.to_owned(),
            forced: None,
            frozen: None,
            drill: None,
            readiness: Vec::new(),
        }
    }

    /// What a region serves.
    pub fn percent(&self, region: &Name) -> u8 {
        self.serving.iter().find(|share| share.region == *region).map_or(0, |share| share.percent)
    }

    /// Whether steps are left.
    pub fn moves(&self) -> bool {
        self.step + 1 < self.steps.len()
    }

    /// The shares when `to` has `percent`, which is at least what it has now. The others give in proportion to what they have,
    /// so that no region gets more but `to`.
    pub(super) fn moved(&self, to: &Name, percent: u8) -> Vec<Share> {
        let others = || self.serving.iter().filter(|share| share.region != *to);
        let before: u32 = others().map(|share| u32::from(share.percent)).sum();
        let after = u32::from(WHOLE.saturating_sub(percent));
        let part = |share: &Share| u32::from(share.percent) * after / before.max(1);
        // The parts are rounded down. What that leaves over goes to the first ones by name, at most one percent to each.
        let mut over = after.saturating_sub(others().map(part).sum());
        let mut moved: Vec<Share> = others()
            .map(|share| {
                let rounded = u32::from(over > 0);
                over -= rounded;
                let percent = u8::try_from(part(share) + rounded).unwrap_or(WHOLE);
                Share { region: share.region.clone(), percent }
            })
            .chain(std::iter::once(Share { region: to.clone(), percent }))
            .filter(|share| share.percent > 0)
            .collect();
        moved.sort_by(|one, other| one.region.cmp(&other.region));
        moved
    }
}
