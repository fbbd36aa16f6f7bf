//! How much one state differs from another, without an index.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use hanse_management::ResourceKey;
use hanse_topology::ScopeId;

use super::{
    kind::{Anchor, KINDS, ScopeKind},
    presence::{Present, Side},
    step::{Ends, Step},
};
use crate::{State, port::ScopeEffect};

/// What going from `before` to `after` does to each scope it touches, ordered by scope; scopes that stay the same are
/// not named. `after` is `before` with commands applied.
///
/// The work is proportional to the change, but for one thing: where an organization is present is found by looking
/// through its Bindings until that is known.
pub fn preview(before: &State, after: &State) -> Vec<ScopeEffect> {
    let ends = Ends::new(before, after);
    let differences = KINDS.iter().flat_map(|kind| {
        let (old, new) = (Scan::of(*kind), Scan::of(*kind));
        Step::new(*kind, &ends).run(&Side::new(before, &old), &Side::new(after, &new)).0
    });
    differences.map(|difference| difference.change.effect()).collect()
}

/// Finds what is present where by looking at the placers that could bring it; remembers what it found.
struct Scan {
    kind: &'static dyn ScopeKind,
    present: RefCell<BTreeMap<(Anchor, ScopeId), bool>>,
    scopes: RefCell<BTreeMap<Anchor, Vec<ScopeId>>>,
}

impl Scan {
    fn of(kind: &'static dyn ScopeKind) -> Self {
        Self { kind, present: RefCell::default(), scopes: RefCell::default() }
    }

    /// The scopes that `anchor` is in, in order. `only`: no other scope is asked for.
    fn find(&self, state: &State, anchor: &Anchor, only: Option<&ScopeId>) -> Vec<ScopeId> {
        // Scopes not found yet, by the placer whose they are.
        let mut open: BTreeMap<ResourceKey, BTreeSet<ScopeId>> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for placer in self.kind.placers(state, anchor) {
            let within = self.kind.within(state, &placer).unwrap_or_else(|| placer.clone());
            let open = open.entry(within).or_insert_with_key(|within| {
                let scopes = self.kind.placement(state, within).into_iter().map(|(_, scope)| scope);
                scopes.filter(|scope| only.is_none_or(|only| scope == only)).collect()
            });
            if open.is_empty() {
                continue;
            }
            for (placed, scope) in self.kind.placement(state, &placer) {
                if placed == *anchor && open.remove(&scope) {
                    found.insert(scope);
                }
            }
            if only.is_some() && !found.is_empty() {
                break;
            }
        }
        found.into_iter().collect()
    }
}

impl Present for Scan {
    fn has(&self, state: &State, anchor: &Anchor, scope: &ScopeId) -> bool {
        if let Some(scopes) = self.scopes.borrow().get(anchor) {
            return scopes.binary_search(scope).is_ok();
        }
        let mut present = self.present.borrow_mut();
        let question = (anchor.clone(), scope.clone());
        *present.entry(question).or_insert_with(|| !self.find(state, anchor, Some(scope)).is_empty())
    }

    fn scopes(&self, state: &State, anchor: &Anchor) -> Vec<ScopeId> {
        let mut known = self.scopes.borrow_mut();
        known.entry(anchor.clone()).or_insert_with(|| self.find(state, anchor, None)).clone()
    }
}
