//! State → the runtime resources of every scope, incrementally.
//!
//! A scope `runtime/REGION/ENVIRONMENT` exists while the Environment lists the Region. What it holds follows from the
//! state alone: the same state gives the same bytes on every node.
//!
//! - [`Projection`] goes from one state to the next and says what changed; the work is proportional to that.
//! - [`preview`] says how much one state differs from another, for dry runs; it needs no `Projection`.
//! - [`from_scratch`] is the same function written naively: the oracle of the tests.
//!
//! Inside: a *unit* yields one key, most often of one resource as it is (`plain`); it is present in the scopes of its *anchor* (itself, its organization or its Api);
//! Environments and Bindings *place* anchors in scopes; a *step* from one state to another works out which units may have
//! changed and compares only those.

mod between;
mod encode;
mod naive;
mod plain;
mod presence;
mod preview;
mod source;
mod step;
#[cfg(test)]
mod tests;
mod unit;

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use hanse_topology::ScopeId;

pub use between::Between;
pub(crate) use encode::route_len;
pub use naive::from_scratch;
pub use preview::preview;
pub use source::{Source, last_change, source};

use hanse_management::Revision;
use presence::{Index, Side};
use step::Step;

use crate::{State, port::ScopeEffect};

/// The version of the function from state to bytes. Two nodes of one version give the same bytes for the same state.
pub const VERSION: u32 = 1;

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
    present: Index,
    scopes: BTreeSet<ScopeId>,
    last_units: usize,
    last_between: Between,
}

impl Projection {
    /// The projection of the empty state, at revision 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves on to `state` and says what changed, ordered by scope; scopes that did not change are not named.
    ///
    /// When `state` does not follow from the present one by its journal (too old, or another history), everything is
    /// compared with everything.
    pub fn advance(&mut self, state: &State) -> Vec<ScopeChange> {
        let step = Step::between(&self.at, state);
        let mut present = self.present.clone();
        present.add(&step);
        let between = step.between_revisions();
        let (changes, units) = step.run(&Side::new(&self.at, &self.present), &Side::new(state, &present));
        for change in &changes {
            if change.dropped {
                self.scopes.remove(&change.scope);
            } else if !self.scopes.contains(&change.scope) {
                self.scopes.insert(change.scope.clone());
            }
        }
        self.at = state.clone();
        self.present = present;
        (self.last_units, self.last_between) = (units, between);
        changes
    }

    /// The revision of the state projected last.
    pub fn revision(&self) -> Revision {
        self.at.revision()
    }

    /// The scopes that exist, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &ScopeId> {
        self.scopes.iter()
    }

    /// What the last [`advance`](Self::advance) passed over.
    pub fn last_between(&self) -> &Between {
        &self.last_between
    }

    /// How many units the last [`advance`](Self::advance) compared: its cost.
    pub fn last_units(&self) -> usize {
        self.last_units
    }
}
