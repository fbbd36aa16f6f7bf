//! What a kind of scope has to say, and the table of all kinds.
//!
//! A further kind is a file beside `runtime.rs`, as `dns.rs` and `keys.rs` are, its line in [`KINDS`], and its plain loops in `naive.rs`.

use std::collections::BTreeSet;

use bytes::Bytes;
use hanse_management::{Kind, ResourceKey};
use hanse_topology::{Name, ScopeId};

use super::{Reveal, dns::Dns, keys::Keys, runtime::Runtime};
use crate::State;

/// Every kind, in the order of [`ScopeId`].
pub(super) const KINDS: &[&dyn ScopeKind] = &[&Runtime, &Dns, &Keys];

/// A kind of scope: which scopes there are, and what is in them.
///
/// For example, `runtime`: a Binding *places* its Route in the scopes of its regions, and with it the *group* of its
/// organization, which Plans and Credentials follow.
///
/// A scope exists while anything is in it. A kind whose scopes are to exist before there is content has a unit for that in
/// each: as an Environment's listener is in every scope of the Environment.
///
/// All answers follow from the state alone. They are of resources that exist in it; of others the answer is nothing.
pub(super) trait ScopeKind: Sync {
    /// Notes what a changed resource may have touched: the units that have it in their bytes, and the placers whose placement
    /// follows from it.
    fn touch(&self, key: &ResourceKey, touched: &mut Touched<'_>);

    /// Notes the same of members and revocations: some of them may have changed, and changed back.
    fn touch_members(&self, _touched: &mut Touched<'_>) {}

    /// What a resource brings into which scopes, always in the same order and the same groups.
    fn placement(&self, state: &State, placer: &ResourceKey) -> Placement;

    /// The resources whose placement may have `anchor` in it.
    fn placers<'a>(&self, state: &'a State, anchor: &'a Anchor)
    -> Box<dyn Iterator<Item = ResourceKey> + 'a>;

    /// A placer that is in every scope which this one may reach. It saves work where many placers share one: of a Binding, the
    /// Environment.
    fn within(&self, _state: &State, _placer: &ResourceKey) -> Option<ResourceKey> {
        None
    }

    /// Whose presence brings `unit` into a scope.
    fn anchor(&self, state: &State, unit: &Unit) -> Option<Anchor>;

    /// The units whose anchor is the group of that resource.
    fn followers(&self, _state: &State, _group: &ResourceKey) -> Vec<Unit> {
        Vec::new()
    }

    /// The unit's key in every scope. No other unit of the kind has it.
    fn key(&self, unit: &Unit) -> String;

    /// What tells the scopes apart in which the unit's bytes differ. Scopes of one variant get the same bytes, encoded once.
    fn variant(&self, state: &State, unit: &Unit, scope: &ScopeId) -> Variant;

    /// The unit's bytes in a scope that it is present in.
    fn encode(&self, state: &State, unit: &Unit, scope: &ScopeId, reveal: &dyn Reveal) -> Option<Bytes>;

    /// The kind of management resource that keys beginning with `prefix/` are made from. Kinds of scopes share no prefix.
    fn source(&self, prefix: &str) -> Option<Kind>;
}

/// What yields one key: a resource, or a part of it. The same key in every scope that it is present in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unit {
    /// The resource it is made from.
    pub(super) resource: ResourceKey,
    /// Which of several that one resource yields: of an ApiRevision, the name of an Upstream in it.
    pub(super) part: Option<Name>,
}

impl Unit {
    /// The one unit of a resource.
    pub(super) fn of(resource: ResourceKey) -> Self {
        Self { resource, part: None }
    }

    /// One of the units of a resource.
    pub(super) fn part(resource: ResourceKey, part: Name) -> Self {
        Self { resource, part: Some(part) }
    }
}

/// What is placed in scopes, and brings units there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Anchor {
    /// One unit.
    Unit(Unit),
    /// All units that follow a resource: for example those of an Organization.
    Group(ResourceKey),
}

impl Anchor {
    /// The units that come and go with it.
    pub(super) fn followers(&self, kind: &dyn ScopeKind, state: &State) -> Vec<Unit> {
        match self {
            Self::Unit(unit) => vec![unit.clone()],
            Self::Group(resource) => kind.followers(state, resource),
        }
    }
}

/// What one resource places.
pub(super) type Placement = Vec<Placed>;

/// Anchors that are in the same scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) anchors: Vec<Anchor>,
    /// All of them in each of these.
    pub(super) scopes: Vec<ScopeId>,
}

/// The names that the bytes of a unit depend on beside the state; none: the bytes are the same in every scope.
pub(super) type Variant = Vec<Option<Name>>;

/// What the changes between two states may have touched.
pub(super) struct Touched<'a> {
    pub(super) before: &'a State,
    pub(super) after: &'a State,
    pub(super) units: BTreeSet<Unit>,
    pub(super) placers: BTreeSet<ResourceKey>,
    /// Something changed that Shifts are made of: they all have the epoch in them, and are noted once.
    pub(super) is_steered: bool,
}

impl<'a> Touched<'a> {
    pub(super) fn new(before: &'a State, after: &'a State) -> Self {
        Self { before, after, units: BTreeSet::new(), placers: BTreeSet::new(), is_steered: false }
    }

    /// The bytes of `unit` may differ.
    pub(super) fn unit(&mut self, unit: Unit) {
        self.units.insert(unit);
    }

    /// The placement of `placer` may differ.
    pub(super) fn placer(&mut self, placer: &ResourceKey) {
        self.placers.insert(placer.clone());
    }
}
