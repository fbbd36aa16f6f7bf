//! How much one state differs from another, without an index.

use std::{cell::RefCell, collections::BTreeMap};

use hanse_management::{Kind, ResourceKey};
use hanse_topology::{Name, ScopeId};

use super::{
    effects,
    presence::{Placement, Present, Side},
    step::Step,
    unit::{self, Anchor, Unit},
};
use crate::{State, port::ScopeEffect};

/// What going from `before` to `after` does to each scope it touches, ordered by scope; scopes that stay the same are
/// not named. `after` is `before` with commands applied.
///
/// The work is proportional to the change, but for one thing: where an organization is present is found by looking
/// through its Bindings until that is known.
pub fn preview(before: &State, after: &State) -> Vec<ScopeEffect> {
    let (old, new) = (Scan::default(), Scan::default());
    let step = Step::between(before, after);
    effects(&step.run(&Side::new(before, &old), &Side::new(after, &new)).0)
}

/// Finds what is present where by looking at the Bindings that could bring it; remembers what it found.
#[derive(Default)]
struct Scan {
    present: RefCell<BTreeMap<(Anchor, ScopeId), bool>>,
    scopes: RefCell<BTreeMap<Anchor, Vec<ScopeId>>>,
}

impl Present for Scan {
    fn has(&self, state: &State, anchor: &Anchor, scope: &ScopeId) -> bool {
        if let Some(scopes) = self.scopes.borrow().get(anchor) {
            return scopes.binary_search(scope).is_ok();
        }
        let question = (anchor.clone(), scope.clone());
        if let Some(answer) = self.present.borrow().get(&question) {
            return *answer;
        }
        let answer = candidates(state, anchor).any(|binding| {
            unit::binding(state, binding).is_some_and(|spec| Some(&spec.environment) == scope.environment())
                && placement(state, binding, anchor).is_some_and(|scopes| scopes.contains(scope))
        });
        self.present.borrow_mut().insert(question, answer);
        answer
    }

    fn scopes(&self, state: &State, anchor: &Anchor) -> Vec<ScopeId> {
        if let Some(scopes) = self.scopes.borrow().get(anchor) {
            return scopes.clone();
        }
        let mut open: BTreeMap<Name, Vec<ScopeId>> = BTreeMap::new(); // scopes not found yet, by Environment
        let mut found = Vec::new();
        for binding in candidates(state, anchor) {
            let Some(spec) = unit::binding(state, binding) else { continue };
            let open = open.entry(spec.environment.clone()).or_insert_with(|| {
                Placement::of(state, &ResourceKey::global(Kind::Environment, spec.environment.clone())).scopes
            });
            if open.is_empty() {
                continue;
            }
            let Some(scopes) = placement(state, binding, anchor) else { continue };
            found.extend(open.extract_if(.., |scope| scopes.contains(scope)));
        }
        found.sort();
        self.scopes.borrow_mut().insert(anchor.clone(), found.clone());
        found
    }
}

/// Bindings that may bring `anchor` somewhere.
fn candidates<'a>(state: &'a State, anchor: &'a Anchor) -> Box<dyn Iterator<Item = &'a ResourceKey> + 'a> {
    match anchor {
        Anchor::Organization(organization) => {
            Box::new(state.list(Kind::Binding, Some(organization)).map(|resource| &resource.key))
        }
        Anchor::Api(api) => Box::new(state.referrers_of_kind(api, Kind::Binding)),
        Anchor::Unit(Unit::Upstream(upstream)) => Box::new(state.referrers_of_kind(upstream, Kind::Binding)),
        Anchor::Unit(Unit::Embedded { revision, .. }) => match unit::revision(state, revision) {
            // A Binding refers to the Api, whichever revision it means.
            Some(spec) => {
                let api = revision.sibling(Kind::Api, spec.api.clone());
                let bindings: Vec<_> = state.referrers_of_kind(&api, Kind::Binding).cloned().collect();
                Box::new(bindings.into_iter().filter_map(|key| state.get(&key).map(|resource| &resource.key)))
            }
            None => Box::new(std::iter::empty()),
        },
        Anchor::Unit(Unit::Listener(_) | Unit::Route(_) | Unit::Plain(_)) => Box::new(std::iter::empty()), // not shared: their own placement, or their anchor's, tells
    }
}

/// Where `binding` is served, if it brings `anchor`.
fn placement(state: &State, binding: &ResourceKey, anchor: &Anchor) -> Option<Vec<ScopeId>> {
    let placement = Placement::of(state, binding);
    placement.anchors.contains(anchor).then_some(placement.scopes)
}
