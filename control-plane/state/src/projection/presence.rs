//! What is present where: placements, and the index of them.

use std::collections::BTreeSet;

use hanse_management::{Kind, ResourceKey};
use hanse_topology::ScopeId;
use imbl::OrdMap;

use super::{
    step::Step,
    unit::{self, Anchor, Unit},
};
use crate::State;

/// What one Environment or Binding brings, and into which scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// In order.
    pub(super) scopes: Vec<ScopeId>,
    /// All of them in each of the scopes.
    pub(super) anchors: Vec<Anchor>,
}

impl Placement {
    /// Of an Environment or Binding. Nothing for one that does not exist or is not served.
    pub(super) fn of(state: &State, key: &ResourceKey) -> Self {
        let placement =
            if key.kind == Kind::Environment { environment(state, key) } else { binding(state, key) };
        placement.unwrap_or_default()
    }

    /// Each anchor in each scope.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Anchor, ScopeId)> + '_ {
        self.scopes
            .iter()
            .flat_map(|scope| self.anchors.iter().map(move |anchor| (anchor.clone(), scope.clone())))
    }
}

fn environment(state: &State, key: &ResourceKey) -> Option<Placement> {
    let regions: BTreeSet<_> = unit::environment(state, key)?.regions.iter().collect();
    let scopes = regions
        .into_iter()
        .filter(|region| state.get(&ResourceKey::global(Kind::Region, (*region).clone())).is_some())
        .map(|region| ScopeId::runtime(region.clone(), key.name.clone()))
        .collect();
    Some(Placement { scopes, anchors: vec![Anchor::Unit(Unit::Listener(key.clone()))] })
}

fn binding(state: &State, key: &ResourceKey) -> Option<Placement> {
    let served = unit::served(state, key)?;
    let scopes = state
        .regions_of(state.get(key)?)
        .into_iter()
        .map(|region| ScopeId::runtime(region, served.spec.environment.clone()))
        .collect();
    let mut anchors = vec![
        Anchor::Unit(Unit::Route(key.clone())),
        Anchor::Organization(key.organization.clone()?),
        Anchor::Api(key.sibling(Kind::Api, served.spec.api.clone())),
    ];
    anchors.extend(served.upstream().map(Anchor::Unit));
    Some(Placement { scopes, anchors })
}

/// Answers where shared anchors are present in one state.
pub(super) trait Present {
    /// Whether `anchor` is present in `scope`.
    fn has(&self, state: &State, anchor: &Anchor, scope: &ScopeId) -> bool;
    /// The scopes it is present in, in order.
    fn scopes(&self, state: &State, anchor: &Anchor) -> Vec<ScopeId>;
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

    /// Whether a shared anchor is present in `scope`.
    pub(super) fn has(&self, anchor: &Anchor, scope: &ScopeId) -> bool {
        self.present.has(self.state, anchor, scope)
    }

    /// The scopes any anchor is present in, in order.
    pub(super) fn scopes(&self, anchor: &Anchor) -> Vec<ScopeId> {
        match anchor.placer() {
            Some(placer) => Placement::of(self.state, placer).scopes,
            None => self.present.scopes(self.state, anchor),
        }
    }
}

/// How many Bindings bring each shared anchor into each scope. A copy is O(1).
#[derive(Debug, Clone, Default)]
pub(super) struct Index(OrdMap<Slot, usize>);

/// The scope is `None` only as the lower end of an anchor's range.
type Slot = (Anchor, Option<ScopeId>);

impl Index {
    /// Follows a step.
    pub(super) fn add(&mut self, step: &Step<'_>) {
        for ((anchor, scope), delta) in step.placed() {
            if anchor.placer().is_some() {
                continue; // its own placement tells
            }
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
    fn has(&self, _state: &State, anchor: &Anchor, scope: &ScopeId) -> bool {
        self.0.contains_key(&(anchor.clone(), Some(scope.clone())))
    }

    fn scopes(&self, _state: &State, anchor: &Anchor) -> Vec<ScopeId> {
        self.0
            .range((anchor.clone(), None)..)
            .take_while(|((other, _), _)| other == anchor)
            .filter_map(|((_, scope), _)| scope.clone())
            .collect()
    }
}
