//! The decision of a failover plan.

use std::{fmt, str::FromStr, time::Duration};

use hanse_topology::{Name, WHOLE_PERCENT};

use super::FailoverPlan;
use crate::Finding;

/// The decision of a failover plan. Operators do not write it: [`shift`] makes it, and [`Decided::new`] checks one that was stored.
///
/// [`shift`]: crate::shift()
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// The regions that serve, by name. Their percents are [`WHOLE_PERCENT`] together.
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
    /// Why the shift was made although the region was not ready. It covers the rules that are not ready in `readiness`.
    pub forced: Option<String>,
    /// Why nothing moves.
    pub frozen: Option<String>,
    /// The Drill that decided it.
    pub drill: Option<Name>,
    /// What each rule said of the region when the shift was decided. Steps do not change it.
    pub readiness: Vec<Finding>,
}

/// What a region serves of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The region.
    pub region: Name,
    /// Its part of the clients, 1 to [`WHOLE_PERCENT`].
    pub percent: u8,
}

/// A stored decision, checked, and the place in history at which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    epoch: Epoch,
    failover: Failover,
}

impl Decided {
    /// Checks a decision as it was read: shares that are 100 together, steps that grow, a step among them. Errors name the field.
    pub fn new(epoch: Epoch, failover: Failover) -> Result<Self, InvalidFailover> {
        failover.check()?;
        Ok(Self { epoch, failover })
    }

    /// Greater for each later decision of the plan.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The decision.
    pub fn failover(&self) -> &Failover {
        &self.failover
    }
}

/// Why a stored decision is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFailover {
    /// The shares.
    #[error(
        "serving: {0}; give regions in the order of their names, each 1 to {WHOLE_PERCENT} percent, and {WHOLE_PERCENT} together"
    )]
    Serving(String),
    /// The steps.
    #[error("steps: {0:?}; give percents from 1 on that grow and end with {WHOLE_PERCENT}")]
    Steps(Vec<u8>),
    /// The present step.
    #[error("step: {step} is no place in {count} steps; give one below {count}")]
    Step {
        /// The step.
        step: usize,
        /// How many steps there are.
        count: usize,
    },
    /// The share of the region that the shift leads to.
    #[error(
        "to: {to} serves {percent} percent, and step {step} is at {expected}; give the region that step {step} leads to"
    )]
    To {
        /// The region.
        to: Name,
        /// What it serves.
        percent: u8,
        /// The present step.
        step: usize,
        /// What it should serve.
        expected: u8,
    },
}

/// Whether these are percents of a shift: they grow from 1 on, and end with [`WHOLE_PERCENT`].
pub(super) fn are_steps(steps: &[u8]) -> bool {
    steps.is_sorted_by(|one, next| one < next) && steps.last() == Some(&WHOLE_PERCENT) && !steps.contains(&0)
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

/// A text is no epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no epoch is spelled so; write GENERATION/REVISION: 1/42")]
pub struct InvalidEpoch;

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        let number = |text: &str| text.parse().map_err(|_| InvalidEpoch);
        let (generation, revision) = text.split_once('/').ok_or(InvalidEpoch)?;
        Ok(Self { generation: number(generation)?, revision: number(revision)? })
    }
}

impl Failover {
    /// A plan without a decision: its active region serves.
    pub(super) fn initial(plan: &FailoverPlan) -> Self {
        Self {
            serving: vec![Share { region: plan.active.clone(), percent: WHOLE_PERCENT }],
            to: plan.active.clone(),
            steps: vec![WHOLE_PERCENT],
            step: 0,
            step_every: plan.step_every,
            reason: "no shift was decided".to_owned(),
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
        self.step < self.steps.len().saturating_sub(1)
    }

    fn check(&self) -> Result<(), InvalidFailover> {
        let sum: u32 = self.serving.iter().map(|share| u32::from(share.percent)).sum();
        let in_order = self.serving.is_sorted_by(|one, next| one.region < next.region);
        if sum != u32::from(WHOLE_PERCENT) || !in_order || self.serving.iter().any(|share| share.percent == 0)
        {
            let shares: Vec<String> =
                self.serving.iter().map(|share| format!("{} {}", share.region, share.percent)).collect();
            return Err(InvalidFailover::Serving(format!("[{}]", shares.join(", "))));
        }
        if !are_steps(&self.steps) {
            return Err(InvalidFailover::Steps(self.steps.clone()));
        }
        let Some(expected) = self.steps.get(self.step).copied() else {
            return Err(InvalidFailover::Step { step: self.step, count: self.steps.len() });
        };
        let percent = self.percent(&self.to);
        if percent != expected {
            return Err(InvalidFailover::To { to: self.to.clone(), percent, step: self.step, expected });
        }
        Ok(())
    }

    /// The shares when `to` has `percent`, which is at least what it has now. The others give in proportion to what they have,
    /// so that no region gets more but `to`.
    pub(super) fn moved(&self, to: &Name, percent: u8) -> Vec<Share> {
        let others = || self.serving.iter().filter(|share| share.region != *to);
        let before: u32 = others().map(|share| u32::from(share.percent)).sum();
        let after = u32::from(WHOLE_PERCENT.saturating_sub(percent));
        let part = |share: &Share| u32::from(share.percent) * after / before.max(1);
        // The parts are rounded down. What that leaves over goes to the first ones by name, at most one percent to each.
        let mut over = after.saturating_sub(others().map(part).sum());
        let mut moved: Vec<Share> = others()
            .map(|share| {
                let rounded = u32::from(over > 0);
                over -= rounded;
                let percent = u8::try_from(part(share) + rounded).unwrap_or(WHOLE_PERCENT);
                Share { region: share.region.clone(), percent }
            })
            .chain(std::iter::once(Share { region: to.clone(), percent }))
            .filter(|share| share.percent > 0)
            .collect();
        moved.sort_by(|one, other| one.region.cmp(&other.region));
        moved
    }
}
