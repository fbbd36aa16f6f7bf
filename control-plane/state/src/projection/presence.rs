//! What is present where: one end of a step, and the index of placements.

use std::collections::BTreeSet;

use hanse_topology::ScopeId;
use imbl::OrdMap;

use super::{kind::Anchor, step::Step};
use crate::State;

/// Answers where anchors are present in one state.
pub(super) trait Present {
    /// The scopes that `anchor` is present in, in order; of those in `among`, if that is given.
    fn scopes(&self, state: &State, anchor: &Anchor, among: Option<&BTreeSet<ScopeId>>) -> Vec<ScopeId>;
}

/// One end of a step: a state and what is present where in it.
pub(super) struct Side<'a, P> {
    pub(super) state: &'a State,
    present: &'a P,
}

impl<'a, P: Present> Side<'a, P> {
    pub(super) fn new(state: &'a State, present: &'a P) -> Self {
        Self { state, present }
    }

    /// The scopes that `anchor` is present in, in order; of those in `among`, if that is given.
    pub(super) fn scopes(&self, anchor: &Anchor, among: Option<&BTreeSet<ScopeId>>) -> Vec<ScopeId> {
        self.present.scopes(self.state, anchor, among)
    }
}

/// How many placers bring each anchor into each scope of one kind. A copy is O(1).
#[derive(Debug, Clone, Default)]
pub(super) struct Index(OrdMap<Slot, usize>);

/// The scope is `None` only as the lower end of an anchor's range.
type Slot = (Anchor, Option<ScopeId>);

impl Index {
    /// Follows a step.
    pub(super) fn add(&mut self, step: &Step<'_>) {
        for (anchor, scope, delta) in step.placed() {
            let slot = (anchor.clone(), Some(scope.clone()));
            let count = self.0.get(&slot).copied().unwrap_or(0).checked_add_signed(delta);
            match count.expect("what leaves a scope had been counted when it came") {
                0 => self.0.remove(&slot),
                count => self.0.insert(slot, count),
            };
        }
    }
}

impl Present for Index {
    fn scopes(&self, _state: &State, anchor: &Anchor, among: Option<&BTreeSet<ScopeId>>) -> Vec<ScopeId> {
        let has = |scope: &&ScopeId| self.0.contains_key(&(anchor.clone(), Some((*scope).clone())));
        match among {
            Some(among) => among.iter().filter(has).cloned().collect(),
            None => self
                .0
                .range((anchor.clone(), None)..)
                .take_while(|((other, _), _)| other == anchor)
                .filter_map(|((_, scope), _)| scope.clone())
                .collect(),
        }
    }
}
