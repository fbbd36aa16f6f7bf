//! The step from one state to a later one: which units may differ, and how they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_management::{Kind, ResourceKey};
use hanse_topology::ScopeId;

use super::{
    Between, ScopeChange,
    plain::Plain,
    presence::{Placement, Present, Side},
    unit::{self, Anchor, Unit},
};
use crate::State;

/// What may differ between two states.
pub(super) struct Step<'a> {
    before: &'a State,
    after: &'a State,
    /// Units to compare.
    units: BTreeMap<Unit, Touch>,
    /// How many more (or fewer) Bindings and Environments bring an anchor into a scope; never 0.
    placed: BTreeMap<(Anchor, ScopeId), isize>,
    /// The journal said what changed, not a comparison of the states.
    is_told: bool,
}

/// Where a unit has to be compared.
#[derive(Debug, PartialEq, Eq)]
enum Touch {
    /// Wherever it was or is.
    Everywhere,
    /// In these scopes only: it came or went there and its content did not change.
    In(BTreeSet<ScopeId>),
}

impl<'a> Step<'a> {
    /// Works out what the changes between the two states can have touched.
    pub(super) fn between(before: &'a State, after: &'a State) -> Self {
        let told = told_keys(before, after);
        let (units, placed, is_told) = (BTreeMap::new(), BTreeMap::new(), told.is_some());
        let mut step = Self { before, after, units, placed, is_told };
        let mut placers = Placers::default();
        for key in told.unwrap_or_else(|| all_keys(before, after)) {
            step.touch(key, &mut placers);
        }
        step.place(placers);
        step
    }

    /// What may have been there between the two states and is not to be seen in how they differ.
    pub(super) fn between_revisions(&self) -> Between {
        if !self.is_told {
            return Between::Unknown;
        }
        if self.after.revision().saturating_sub(self.before.revision()) <= 1 {
            return Between::default();
        }
        let exists =
            |unit: &Unit| [self.before, self.after].iter().any(|state| state.get(unit.resource()).is_some());
        match self.units.keys().all(exists) {
            true => Between::Touched(self.units.keys().map(Unit::key).collect()),
            false => Between::Unknown,
        }
    }

    /// Anchors brought into scopes by more or fewer placers than before, and by how many.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&(Anchor, ScopeId), isize)> {
        self.placed.iter().map(|(pair, delta)| (pair, *delta))
    }

    /// Compares what has to be compared. The changes by scope, and the number of units compared.
    pub(super) fn run<P: Present>(
        mut self,
        before: &Side<'_, P>,
        after: &Side<'_, P>,
    ) -> (Vec<ScopeChange>, usize) {
        let mut found = Found::default();
        for ((anchor, scope), delta) in std::mem::take(&mut self.placed) {
            let present = match anchor.placer() {
                Some(_) => (delta < 0, delta > 0), // it alone brings it
                None => (before.has(&anchor, &scope), after.has(&anchor, &scope)),
            };
            let side = match present {
                (true, false) => before,
                (false, true) => after,
                (true, true) | (false, false) => continue,
            };
            if let (Anchor::Unit(Unit::Listener(_)), (true, _)) = (&anchor, present) {
                found.change(&scope).dropped = true;
            }
            for follower in anchor.followers(side.state) {
                let touch = self.units.entry(follower).or_insert_with(|| Touch::In(BTreeSet::new()));
                if let Touch::In(scopes) = touch {
                    scopes.insert(scope.clone());
                }
            }
        }
        let compared = self.units.len();
        for (unit, touch) in &self.units {
            compare(unit, touch, before, after, &mut found);
        }
        (found.0.into_values().collect(), compared)
    }

    /// Notes the units that a changed resource touches by its content, and the placers it may move.
    fn touch(&mut self, key: ResourceKey, placers: &mut Placers) {
        match key.kind {
            Kind::Region => {
                placers.regions.insert(key);
            }
            Kind::Environment => {
                placers.environments.insert(key.clone());
                self.everywhere(Unit::Listener(key));
            }
            Kind::Upstream => self.everywhere(Unit::Upstream(key)),
            Kind::Api => self.api(&key, placers),
            Kind::ApiRevision => self.revision(&key, placers),
            Kind::Binding => {
                placers.bindings.insert(key.clone());
                self.everywhere(Unit::Route(key));
            }
            kind if Plain::of(kind).is_some() => self.everywhere(Unit::Plain(key)),
            // In no runtime resource, or through an ApiRevision, which changed with it.
            _not_projected => {}
        }
    }

    fn everywhere(&mut self, unit: Unit) {
        self.units.insert(unit, Touch::Everywhere);
    }

    /// Bindings that referred to something and no longer do have changed themselves: `after` knows all others.
    fn api(&mut self, api: &ResourceKey, placers: &mut Placers) {
        for binding in self.after.referrers_of_kind(api, Kind::Binding) {
            placers.bindings.insert(binding.clone());
            self.units.insert(Unit::Route(binding.clone()), Touch::Everywhere);
        }
    }

    fn revision(&mut self, key: &ResourceKey, placers: &mut Placers) {
        for spec in [unit::revision(self.before, key), unit::revision(self.after, key)].into_iter().flatten()
        {
            for upstream in spec.upstreams.keys() {
                self.everywhere(Unit::Embedded { revision: key.clone(), upstream: upstream.clone() });
            }
            self.api(&key.sibling(Kind::Api, spec.api.clone()), placers);
        }
    }

    /// Compares the placements of those that may have moved.
    fn place(&mut self, mut placers: Placers) {
        let (before, after) = (self.before, self.after);
        for region in &placers.regions {
            let labels = |state: &State| state.get(region).map(|region| region.metadata.labels.clone());
            if labels(before) == labels(after) {
                continue;
            }
            for environment in after.referrers_of_kind(region, Kind::Environment) {
                placers.environments.insert(environment.clone());
                let by_label = |key: &&ResourceKey| {
                    unit::binding(after, key).is_some_and(|spec| !spec.regions.labels.is_empty())
                };
                let bindings = after.referrers_of_kind(environment, Kind::Binding).filter(by_label);
                placers.bindings.extend(bindings.cloned());
            }
        }
        for environment in &placers.environments {
            if self.moved(environment) {
                placers.bindings.extend(after.referrers_of_kind(environment, Kind::Binding).cloned());
            }
        }
        for binding in &placers.bindings {
            self.moved(binding);
        }
        self.placed.retain(|_, delta| *delta != 0);
    }

    /// Counts what an Environment or Binding brings and takes away. Whether that is anything.
    fn moved(&mut self, placer: &ResourceKey) -> bool {
        let (old, new) = (Placement::of(self.before, placer), Placement::of(self.after, placer));
        if old == new {
            return false;
        }
        for pair in old.pairs() {
            *self.placed.entry(pair).or_default() -= 1;
        }
        for pair in new.pairs() {
            *self.placed.entry(pair).or_default() += 1;
        }
        true
    }
}

/// Resources whose placement may have changed.
#[derive(Default)]
struct Placers {
    regions: BTreeSet<ResourceKey>,
    environments: BTreeSet<ResourceKey>,
    bindings: BTreeSet<ResourceKey>,
}

/// The keys put or deleted between two states, if the journal tells.
fn told_keys(before: &State, after: &State) -> Option<BTreeSet<ResourceKey>> {
    let one_history = before.lineage() == after.lineage();
    if !one_history || before.revision() == 0 || before.revision() > after.revision() {
        return None;
    }
    if before.revision() == after.revision() {
        return Some(BTreeSet::new());
    }
    let entries = after.journal_since(before.revision())?;
    Some(entries.flat_map(|entry| entry.keys.iter().cloned()).collect())
}

/// The keys of all there is in either.
fn all_keys(before: &State, after: &State) -> BTreeSet<ResourceKey> {
    before.resources().chain(after.resources()).map(|resource| resource.key.clone()).collect()
}

/// What was found to differ, by scope.
#[derive(Default)]
struct Found(BTreeMap<ScopeId, ScopeChange>);

impl Found {
    fn change(&mut self, scope: &ScopeId) -> &mut ScopeChange {
        self.0.entry(scope.clone()).or_insert_with(|| ScopeChange {
            scope: scope.clone(),
            upserts: Vec::new(),
            removals: Vec::new(),
            dropped: false,
        })
    }
}

fn compare<P: Present>(
    unit: &Unit,
    touch: &Touch,
    before: &Side<'_, P>,
    after: &Side<'_, P>,
    found: &mut Found,
) {
    let (mut old, mut new) = (Content::new(unit, touch, before), Content::new(unit, touch, after));
    let both;
    let scopes = match touch {
        Touch::Everywhere => {
            both = [&old, &new]
                .into_iter()
                .flat_map(|content| content.scopes.iter().flatten().cloned())
                .collect();
            &both
        }
        Touch::In(scopes) => scopes,
    };
    let mut key: Option<Arc<str>> = None;
    for scope in scopes {
        let (was, is) = (old.at(scope), new.at(scope));
        if was == is {
            continue;
        }
        let key = key.get_or_insert_with(|| unit.key()).clone();
        let change = found.change(scope);
        match is {
            Some(bytes) => change.upserts.push((key, bytes)),
            None => change.removals.push(key),
        }
    }
}

/// What one unit yields on one side. Bytes that are the same everywhere are encoded once and shared.
struct Content<'a, P> {
    unit: &'a Unit,
    side: &'a Side<'a, P>,
    anchor: Option<Anchor>,
    /// Where it is present, in order; `None`: not worth knowing as a whole.
    scopes: Option<Vec<ScopeId>>,
    everywhere: Option<Option<Bytes>>,
}

impl<'a, P: Present> Content<'a, P> {
    fn new(unit: &'a Unit, touch: &Touch, side: &'a Side<'a, P>) -> Self {
        let anchor = unit.anchor(side.state);
        let scopes = match (touch, &anchor) {
            (_, None) => None,
            (Touch::In(_), Some(anchor)) if anchor.placer().is_none() => None,
            (Touch::Everywhere | Touch::In(_), Some(anchor)) => Some(side.scopes(anchor)),
        };
        Self { unit, side, anchor, scopes, everywhere: None }
    }

    fn at(&mut self, scope: &ScopeId) -> Option<Bytes> {
        let anchor = self.anchor.as_ref()?;
        let present = match &self.scopes {
            Some(scopes) => scopes.binary_search(scope).is_ok(),
            None => self.side.has(anchor, scope),
        };
        if !present {
            return None;
        }
        if !self.unit.is_uniform() {
            return self.unit.encode(self.side.state, scope);
        }
        self.everywhere.get_or_insert_with(|| self.unit.encode(self.side.state, scope)).clone()
    }
}
