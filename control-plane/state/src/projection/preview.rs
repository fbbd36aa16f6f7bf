//! How much one state differs from another, without an index.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use hanse_management::ResourceKey;
use hanse_proto::runtime;
use hanse_topology::ScopeId;
use prost::Message as _;

use super::{
    AsSealed, ScopeChange, agents, effects,
    kind::{Anchor, KINDS, ScopeKind},
    presence::{Present, Side},
    step::{Ends, Step},
};
use crate::{State, port::ScopeEffect};

/// What going from `before` to `after` does to each scope it touches, ordered by scope; scopes that stay the same are
/// not named. `after` is `before` with commands applied, none of which seals values anew: nothing is opened here, and data in other sealed
/// bytes counts as other data.
///
/// The work is proportional to the change, but for one thing: where an organization is present is found by looking
/// through its Bindings until that is known.
pub fn preview(before: &State, after: &State) -> Vec<ScopeEffect> {
    effects(&changes(before, after))
}

/// The features that consumers must know to use what going from `before` to `after` makes or changes, by scope.
pub fn required(before: &State, after: &State) -> BTreeMap<ScopeId, BTreeSet<String>> {
    let requires = |bytes: &Bytes| {
        runtime::Resource::decode(bytes.clone()).map(|made| made.requires).unwrap_or_default()
    };
    let required = changes(before, after).into_iter().map(|change| {
        let features = change.upserts.iter().flat_map(|(_, bytes)| requires(bytes)).collect();
        (change.scope, features)
    });
    required.filter(|(_, features): &(_, BTreeSet<_>)| !features.is_empty()).collect()
}

fn changes(before: &State, after: &State) -> Vec<ScopeChange> {
    let ends = Ends::new(before, after);
    let differences = KINDS.iter().flat_map(|kind| {
        let (old, new) = (Scan::of(*kind), Scan::of(*kind));
        Step::new(*kind, &ends).run(&Side::new(before, &old), &Side::new(after, &new), &AsSealed).0
    });
    differences.chain(agents::differences(&ends)).map(|difference| difference.change).collect()
}

/// Finds what is present where by looking at the placers that could bring it; remembers what it found.
struct Scan {
    kind: &'static dyn ScopeKind,
    /// Whether an anchor is in a scope, where that was asked of single scopes.
    present: RefCell<BTreeMap<Anchor, BTreeMap<ScopeId, bool>>>,
    scopes: RefCell<BTreeMap<Anchor, Vec<ScopeId>>>,
    /// The scopes of the placers that others are within. There are few of those, as many as Environments.
    reach: RefCell<BTreeMap<ResourceKey, BTreeSet<ScopeId>>>,
}

impl Scan {
    fn of(kind: &'static dyn ScopeKind) -> Self {
        Self { kind, present: RefCell::default(), scopes: RefCell::default(), reach: RefCell::default() }
    }

    /// The scopes that `anchor` is in; of those in `among`, if that is given.
    fn find(&self, state: &State, anchor: &Anchor, among: Option<&BTreeSet<ScopeId>>) -> BTreeSet<ScopeId> {
        let is_asked = |scope: &ScopeId| among.is_none_or(|among| among.contains(scope));
        // Scopes not found yet, by the placer that the others are within.
        let mut open: BTreeMap<ResourceKey, BTreeSet<ScopeId>> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for placer in self.kind.placers(state, anchor) {
            let mut open = self.kind.within(state, &placer).map(|within| {
                open.entry(within).or_insert_with_key(|within| {
                    let mut scopes = self.scopes_of(state, within);
                    scopes.retain(is_asked);
                    scopes
                })
            });
            if open.as_ref().is_some_and(|open| open.is_empty()) {
                continue;
            }
            let placement = self.kind.placement(state, &placer);
            let groups = placement.into_iter().filter(|group| group.anchors.contains(anchor));
            for scope in groups.flat_map(|group| group.scopes).filter(is_asked) {
                if let Some(open) = &mut open {
                    open.remove(&scope);
                }
                found.insert(scope);
            }
            if among.is_some_and(|among| among.len() == found.len()) {
                break;
            }
        }
        found
    }

    /// The scopes of a placer that others are within.
    fn scopes_of(&self, state: &State, placer: &ResourceKey) -> BTreeSet<ScopeId> {
        let mut known = self.reach.borrow_mut();
        let find = || self.kind.placement(state, placer).into_iter().flat_map(|group| group.scopes).collect();
        known.entry(placer.clone()).or_insert_with(find).clone()
    }
}

impl Present for Scan {
    fn scopes(&self, state: &State, anchor: &Anchor, among: Option<&BTreeSet<ScopeId>>) -> Vec<ScopeId> {
        let Some(among) = among else {
            let mut known = self.scopes.borrow_mut();
            let find = || self.find(state, anchor, None).into_iter().collect();
            return known.entry(anchor.clone()).or_insert_with(find).clone();
        };
        if let Some(all) = self.scopes.borrow().get(anchor) {
            return all.iter().filter(|scope| among.contains(scope)).cloned().collect();
        }
        let mut present = self.present.borrow_mut();
        let known = present.entry(anchor.clone()).or_default();
        let unknown: BTreeSet<ScopeId> =
            among.iter().filter(|scope| !known.contains_key(scope)).cloned().collect();
        if !unknown.is_empty() {
            let found = self.find(state, anchor, Some(&unknown));
            known.extend(unknown.into_iter().map(|scope| {
                let is_present = found.contains(&scope);
                (scope, is_present)
            }));
        }
        among.iter().filter(|scope| known.get(scope) == Some(&true)).cloned().collect()
    }
}
