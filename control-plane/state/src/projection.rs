//! State → the runtime resources of every scope, incrementally.
//!
//! The state alone says what a scope holds. The version in force is part of the state (`State::version`), so nodes of two releases make
//! the same bytes of one state, and the same content root. A scope exists while it holds anything: `runtime/REGION/ENVIRONMENT`, for
//! example, while the Environment lists the Region, whose listener is there.
//!
//! - [`Projection`] goes from one state to the next and says what changed; the work is proportional to that.
//! - [`preview`] says how much one state differs from another, for dry runs; it needs no `Projection`.
//! - [`from_scratch`] is the same function written naively: the oracle of the tests.
//!
//! Scopes of agents are made of members, which are no resources: `agents` compares those.
//!
//! Inside: a *unit* yields one key; it is present in the scopes of its *anchor*: itself, or the group of a resource that it follows.
//! Some resources *place* anchors in scopes. Which ones do, and what units there are, each *kind* of scope says (`kind`; the one
//! of gateways is `runtime`, that of DNS responders `dns`, that of key managers `keys`). A *step* from one state to another works out which units may have changed and compares only those.

mod agents;
mod between;
mod dns;
mod encode;
mod keys;
mod kind;
mod naive;
mod plain;
mod planned;
mod presence;
mod preview;
mod reveal;
mod runtime;
mod serial;
mod shift;
mod source;
mod step;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hanse_topology::ScopeId;

pub use between::Between;
pub(crate) use encode::{by_itself, route_len};
pub use naive::from_scratch;
pub use planned::{Planned, planned};
pub use preview::{preview, required};
pub use reveal::{AsSealed, Reveal};
pub use source::{Source, last_change, source};

use hanse_management::Revision;
use kind::KINDS;
use presence::{Index, Side};
use step::{Difference, Ends, Step};

use crate::{State, port::ScopeEffect};

/// What the step to a newer state does to one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeChange {
    /// The scope.
    pub scope: ScopeId,
    /// Keys made or changed, each with its encoded `hanse.runtime.v1.Resource`.
    pub upserts: Vec<(Arc<str>, Bytes)>,
    /// Keys gone. All the scope's keys if it is dropped.
    pub removals: Vec<Arc<str>>,
    /// The scope itself is gone.
    pub dropped: bool,
}

impl ScopeChange {
    /// How much it changes.
    pub fn effect(&self) -> ScopeEffect {
        ScopeEffect { scope: self.scope.clone(), upserts: self.upserts.len(), removals: self.removals.len() }
    }
}

/// What each of `changes` does to its scope.
pub fn effects(changes: &[ScopeChange]) -> Vec<ScopeEffect> {
    changes.iter().map(ScopeChange::effect).collect()
}

/// The projection of one state, and the way from it to later ones.
///
/// It keeps that state (which shares structure with its successors) and an index of what is present where. It keeps no
/// bytes: those of the old state are encoded again where they have to be compared.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    at: State,
    /// Of each kind of scope.
    present: [Index; KINDS.len()],
    /// The scopes that exist, with how many keys each holds.
    scopes: BTreeMap<ScopeId, usize>,
    last_units: usize,
    /// Of the scopes that are made of resources.
    last_between: Between,
    /// Of the scopes of agents.
    last_between_agents: Between,
}

impl Projection {
    /// The projection of the empty state, at revision 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves on to `state` and says what changed, ordered by scope; scopes that did not change are not named.
    ///
    /// When `state` does not follow from the present one by its journal (too old, or another history), everything is
    /// compared with everything. `reveal` opens what Secrets have sealed.
    pub fn advance(&mut self, state: &State, reveal: &dyn Reveal) -> Vec<ScopeChange> {
        let ends = Ends::new(&self.at, state);
        let (mut changes, mut units, mut between) = (Vec::new(), 0, Between::default());
        for (kind, present) in KINDS.iter().zip(&mut self.present) {
            let step = Step::new(*kind, &ends);
            let mut after = present.clone();
            after.add(&step);
            between.extend(step.between_revisions());
            let (found, compared) =
                step.run(&Side::new(&self.at, present), &Side::new(state, &after), reveal);
            changes.extend(found.into_iter().map(|difference| count(&mut self.scopes, difference)));
            units += compared;
            *present = after;
        }
        let found = agents::differences(&ends);
        units += found.iter().map(Difference::keys).sum::<usize>();
        changes.extend(found.into_iter().map(|difference| count(&mut self.scopes, difference)));
        self.last_between_agents = agents::between(&ends);
        self.at = state.clone();
        (self.last_units, self.last_between) = (units, between);
        changes
    }

    /// The revision of the state projected last.
    pub fn revision(&self) -> Revision {
        self.at.revision()
    }

    /// The scopes that exist, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &ScopeId> {
        self.scopes.keys()
    }

    /// What the last [`advance`](Self::advance) passed over in a scope. A member that changed says nothing of scopes of other kinds:
    /// otherwise each agent that joins would cost every subscriber its delta.
    pub fn last_between(&self, scope: &ScopeId) -> &Between {
        match scope {
            ScopeId::Agents { .. } => &self.last_between_agents,
            ScopeId::Runtime { .. } | ScopeId::Local { .. } | ScopeId::Dns { .. } | ScopeId::Keys { .. } => {
                &self.last_between
            }
        }
    }

    /// How many units the last [`advance`](Self::advance) compared: its cost.
    pub fn last_units(&self) -> usize {
        self.last_units
    }
}

/// Counts the keys of a scope that changed; without any it is dropped.
fn count(scopes: &mut BTreeMap<ScopeId, usize>, difference: Difference) -> ScopeChange {
    let Difference { mut change, made } = difference;
    let held = scopes.get(&change.scope).copied().unwrap_or(0) + made;
    match held.checked_sub(change.removals.len()).expect("what is removed had been counted when it was made")
    {
        0 => {
            change.dropped = true;
            scopes.remove(&change.scope);
        }
        held => drop(scopes.insert(change.scope.clone(), held)),
    }
    change
}
