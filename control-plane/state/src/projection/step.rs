//! The step from one state to a later one, in the scopes of one kind: which units may differ, and how they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_management::ResourceKey;
use hanse_topology::ScopeId;

use super::{
    Between, Reveal, ScopeChange,
    kind::{Anchor, Placed, ScopeKind, Touched, Unit, Variant},
    presence::{Present, Side},
};
use crate::State;

/// Two states, and the resources that may differ between them.
pub(super) struct Ends<'a> {
    before: &'a State,
    after: &'a State,
    changed: BTreeSet<ResourceKey>,
    /// The journal said what changed, not a comparison of the states.
    is_told: bool,
    /// Members or revocations may differ, or may have differed on the way.
    members_changed: bool,
}

impl<'a> Ends<'a> {
    /// The two states.
    pub(super) fn states(&self) -> (&'a State, &'a State) {
        (self.before, self.after)
    }

    /// Whether members or revocations may differ, or may have differed on the way.
    pub(super) fn members_changed(&self) -> bool {
        self.members_changed
    }

    pub(super) fn new(before: &'a State, after: &'a State) -> Self {
        let told = told_keys(before, after);
        let is_told = told.is_some();
        let mut changed = told.unwrap_or_default();
        // Another version may give other bytes of any resource.
        if !is_told || before.version() != after.version() {
            changed.extend(all_keys(before, after));
        }
        Self { before, after, changed, is_told, members_changed: before.may_differ_in_members(after) }
    }
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
fn all_keys<'a>(before: &'a State, after: &'a State) -> impl Iterator<Item = ResourceKey> + 'a {
    before.resources().chain(after.resources()).map(|resource| resource.key.clone())
}

/// What may differ between two states.
pub(super) struct Step<'a> {
    kind: &'a dyn ScopeKind,
    ends: &'a Ends<'a>,
    /// Units to compare.
    units: BTreeMap<Unit, Touch>,
    /// How many more (or fewer) placers bring an anchor into a scope; never 0.
    placed: BTreeMap<Anchor, BTreeMap<ScopeId, isize>>,
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
    /// Works out what the changes between the two states can have touched in the scopes of `kind`.
    pub(super) fn new(kind: &'a dyn ScopeKind, ends: &'a Ends<'a>) -> Self {
        let mut touched = Touched::new(ends.before, ends.after);
        for key in &ends.changed {
            kind.touch(key, &mut touched);
        }
        if ends.members_changed {
            kind.touch_members(&mut touched);
        }
        let units = touched.units.into_iter().map(|unit| (unit, Touch::Everywhere)).collect();
        let mut placed = BTreeMap::<Anchor, BTreeMap<ScopeId, isize>>::new();
        for placer in &touched.placers {
            let (old, new) = (kind.placement(ends.before, placer), kind.placement(ends.after, placer));
            if old == new {
                continue;
            }
            let groups =
                old.into_iter().map(|group| (group, -1)).chain(new.into_iter().map(|group| (group, 1)));
            for (Placed { anchors, scopes }, delta) in groups {
                for anchor in anchors {
                    let deltas = placed.entry(anchor).or_default();
                    scopes.iter().for_each(|scope| *deltas.entry(scope.clone()).or_default() += delta);
                }
            }
        }
        placed.retain(|_, deltas| {
            deltas.retain(|_, delta| *delta != 0);
            !deltas.is_empty()
        });
        Self { kind, ends, units, placed }
    }

    /// What may have been there between the two states and is not to be seen in how they differ.
    pub(super) fn between_revisions(&self) -> Between {
        let (before, after) = (self.ends.before, self.ends.after);
        if !self.ends.is_told {
            return Between::Unknown;
        }
        if after.revision().saturating_sub(before.revision()) <= 1 {
            return Between::default();
        }
        let exists = |unit: &Unit| [before, after].iter().any(|state| state.get(&unit.resource).is_some());
        match self.units.keys().all(exists) {
            true => Between::Touched(self.units.keys().map(|unit| self.kind.key(unit).into()).collect()),
            false => Between::Unknown,
        }
    }

    /// Anchors brought into scopes by more or fewer placers than before, and by how many.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&Anchor, &ScopeId, isize)> {
        self.placed
            .iter()
            .flat_map(|(anchor, deltas)| deltas.iter().map(move |(scope, delta)| (anchor, scope, *delta)))
    }

    /// Compares what has to be compared. The differences by scope, and the number of units compared.
    pub(super) fn run<P: Present>(
        mut self,
        before: &Side<'_, P>,
        after: &Side<'_, P>,
        reveal: &dyn Reveal,
    ) -> (Vec<Difference>, usize) {
        for (anchor, deltas) in std::mem::take(&mut self.placed) {
            let moved: BTreeSet<ScopeId> = deltas.into_keys().collect();
            let [old, new] = [before, after].map(|side| side.scopes(&anchor, Some(&moved)));
            for (side, own, others) in [(before, &old, &new), (after, &new, &old)] {
                let only_here = own.iter().filter(|scope| others.binary_search(scope).is_err());
                self.touch_followers(&anchor, side.state, &only_here.collect::<Vec<_>>());
            }
        }
        let compared = self.units.len();
        let mut found = Found::default();
        for (unit, touch) in &self.units {
            let contents = [before, after].map(|side| Content::new(self.kind, unit, touch, side, reveal));
            self.compare(unit, contents, &mut found);
        }
        (found.0.into_values().collect(), compared)
    }

    /// What came or went with `anchor` is compared in these scopes. `state`: of the side on which the anchor is there.
    fn touch_followers(&mut self, anchor: &Anchor, state: &State, scopes: &[&ScopeId]) {
        if scopes.is_empty() {
            return;
        }
        for follower in anchor.followers(self.kind, state) {
            match self.units.entry(follower).or_insert_with(|| Touch::In(BTreeSet::new())) {
                Touch::In(known) => known.extend(scopes.iter().copied().cloned()),
                Touch::Everywhere => {}
            }
        }
    }

    fn compare(&self, unit: &Unit, contents: [Content<'_>; 2], found: &mut Found) {
        let [mut old, mut new] = contents;
        let both: BTreeSet<ScopeId> = old.scopes.iter().chain(&new.scopes).cloned().collect();
        let mut key: Option<Arc<str>> = None;
        for scope in &both {
            let (was, is) = (old.at(scope), new.at(scope));
            if was == is {
                continue;
            }
            let key = key.get_or_insert_with(|| self.kind.key(unit).into()).clone();
            let difference = found.difference(scope);
            match is {
                Some(bytes) => {
                    difference.made += usize::from(was.is_none());
                    difference.change.upserts.push((key, bytes));
                }
                None => difference.change.removals.push(key),
            }
        }
    }
}

/// What was found to differ in one scope.
pub(super) struct Difference {
    /// Without a word on whether the scope is dropped: that takes the count of its keys.
    pub(super) change: ScopeChange,
    /// How many of the upserts are of keys that were not there.
    pub(super) made: usize,
}

impl Difference {
    /// How many keys differ.
    pub(super) fn keys(&self) -> usize {
        self.change.upserts.len() + self.change.removals.len()
    }
}

#[derive(Default)]
struct Found(BTreeMap<ScopeId, Difference>);

impl Found {
    fn difference(&mut self, scope: &ScopeId) -> &mut Difference {
        self.0.entry(scope.clone()).or_insert_with(|| {
            let (scope, upserts, removals) = (scope.clone(), Vec::new(), Vec::new());
            Difference { change: ScopeChange { scope, upserts, removals, dropped: false }, made: 0 }
        })
    }
}

/// What one unit yields on one side, where it has to be compared. Bytes are encoded once for each variant and shared.
struct Content<'a> {
    kind: &'a dyn ScopeKind,
    unit: &'a Unit,
    state: &'a State,
    /// Where it is present, in order.
    scopes: Vec<ScopeId>,
    encoded: BTreeMap<Variant, Option<Bytes>>,
    reveal: &'a dyn Reveal,
}

impl<'a> Content<'a> {
    fn new<P: Present>(
        kind: &'a dyn ScopeKind,
        unit: &'a Unit,
        touch: &Touch,
        side: &Side<'a, P>,
        reveal: &'a dyn Reveal,
    ) -> Self {
        let state = side.state;
        let among = match touch {
            Touch::Everywhere => None,
            Touch::In(scopes) => Some(scopes),
        };
        let scopes = kind.anchor(state, unit).map(|anchor| side.scopes(&anchor, among)).unwrap_or_default();
        Self { kind, unit, state, scopes, encoded: BTreeMap::new(), reveal }
    }

    fn at(&mut self, scope: &ScopeId) -> Option<Bytes> {
        self.scopes.binary_search(scope).ok()?;
        let encode = || self.kind.encode(self.state, self.unit, scope, self.reveal);
        self.encoded.entry(self.kind.variant(self.state, self.unit, scope)).or_insert_with(encode).clone()
    }
}
