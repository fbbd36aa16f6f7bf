//! Which Bindings of different Organizations both ask for a request that no grant owns.
//!
//! An Environment may have 10,000 Bindings, so no code here compares all pairs. Bindings are sorted by host and context. Each looks at
//! the hosts that cover its own: there at the contexts that begin its own, and at those below it. It passes over Bindings of its own
//! Organization, and over what a grant owns, in one step.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
};

use hanse_management::{Kind, ResourceKey};
use hanse_runtime::{Area, Context, HostPattern};
use hanse_topology::Name;

use crate::{
    State,
    state::{Asked, FEW, Part, reversed, wider},
};

/// What two Bindings of different Organizations both ask for, and no grant owns.
#[derive(Debug, PartialEq)]
pub(crate) struct Meeting {
    pub(crate) areas: Vec<Area>,
    pub(crate) regions: Vec<Name>,
}

/// What two Bindings of different Organizations both ask for, and no grant owns.
pub(crate) fn meeting(state: &State, one: &ResourceKey, other: &ResourceKey) -> Option<Meeting> {
    if one.organization == other.organization {
        return None;
    }
    let (one, other) = (state.asked(one)?, state.asked(other)?);
    if one.environment != other.environment {
        return None;
    }
    let is_shared = |region: &&Name| other.regions.contains(region);
    let regions: Vec<Name> = one.regions.iter().filter(is_shared).cloned().collect();
    let is_free = |area: &Area| state.owner_of(&one.environment, &area.host, &area.context).is_none();
    let areas: Vec<Area> = one.common(&other).into_iter().filter(is_free).collect();
    (!areas.is_empty() && !regions.is_empty()).then_some(Meeting { areas, regions })
}

/// Calls `see` with each pair of Bindings of an Environment that meet, of which one at least is of `judged`; until it says to stop.
pub(crate) fn each_meeting<B>(
    state: &State,
    environment: &Name,
    judged: &BTreeSet<ResourceKey>,
    mut see: impl FnMut(&ResourceKey, &ResourceKey) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let keys = compared(state, environment, judged);
    let asked = keys.iter().filter_map(|key| Some(Asking { key, asked: state.asked(key)? }));
    let asked: Vec<Asking<'_>> = asked.filter(|asking| asking.asked.environment == *environment).collect();
    // Most Bindings are in all regions: what is the same in several of them is compared once.
    let mut by_region: BTreeMap<&Name, Vec<usize>> = BTreeMap::new();
    for (at, asking) in asked.iter().enumerate() {
        for region in &asking.asked.regions {
            by_region.entry(region).or_default().push(at);
        }
    }
    let groups: BTreeSet<Vec<usize>> = by_region.into_values().collect();
    let mut seen = BTreeSet::new();
    for group in groups {
        let sweep = Sweep::new(state, environment, &asked, &group);
        sweep.run(|one, other| {
            let (one, other) = (one.min(other), one.max(other));
            let (own, met) = (asked[one].key, asked[other].key);
            if !(judged.contains(own) || judged.contains(met)) || !seen.insert((one, other)) {
                return ControlFlow::Continue(());
            }
            see(own, met)
        })?;
    }
    ControlFlow::Continue(())
}

/// The Bindings of `judged` and those that may meet one of them.
fn compared(state: &State, environment: &Name, judged: &BTreeSet<ResourceKey>) -> BTreeSet<ResourceKey> {
    if judged.len() > FEW {
        let key = ResourceKey::global(Kind::Environment, environment.clone());
        return state.referrers_of_kind(&key, Kind::Binding).cloned().collect();
    }
    let mut keys = judged.clone();
    for key in judged {
        let parts = state.asked(key).map(|asked| asked.parts).unwrap_or_default();
        for part in parts.iter().filter(|part| !free_hosts(state, environment, part).is_empty()) {
            keys.extend(state.meeting(environment, &part.named(), key.organization.as_ref()));
        }
    }
    keys
}

/// The hosts of a part of which some requests have no owner.
fn free_hosts<'a>(state: &State, environment: &Name, part: &'a Part) -> Vec<&'a HostPattern> {
    let is_free = |host: &&HostPattern| state.owner_of(environment, host, &part.context).is_none();
    part.hosts.iter().filter(is_free).collect()
}

/// A Binding and what it asks for.
struct Asking<'a> {
    key: &'a ResourceKey,
    asked: Asked,
}

/// A part of what a Binding asks for.
#[derive(Clone, Copy)]
struct Entry<'a> {
    /// Its place in the list of Bindings.
    at: usize,
    organization: Option<&'a Name>,
    part: &'a Part,
}

impl Entry<'_> {
    fn context(&self) -> &[u8] {
        self.part.context.octets()
    }
}

/// The parts with one host, in the order of their contexts.
#[derive(Default)]
struct Row<'a> {
    entries: Vec<Entry<'a>>,
    /// For each of them, where the next one of another Organization is.
    next_other: Vec<usize>,
}

impl Row<'_> {
    /// Those with a context in this range.
    fn range(&self, from: &[u8], to: &[u8]) -> Range<usize> {
        let at = |bound: &[u8]| self.entries.partition_point(|entry| entry.context() < bound);
        at(from)..at(to)
    }

    fn finish(&mut self) {
        self.entries.sort_by_key(|entry| (entry.part.context.clone(), entry.organization, entry.at));
        self.next_other = vec![self.entries.len(); self.entries.len()];
        for at in (1..self.entries.len()).rev() {
            let is_same = self.entries[at - 1].organization == self.entries[at].organization;
            self.next_other[at - 1] = if is_same { self.next_other[at] } else { at };
        }
    }
}

/// The Bindings of one region, by reversed host.
struct Sweep<'a> {
    state: &'a State,
    environment: &'a Name,
    rows: BTreeMap<String, Row<'a>>,
}

impl<'a> Sweep<'a> {
    fn new(state: &'a State, environment: &'a Name, asked: &'a [Asking<'a>], group: &[usize]) -> Self {
        let mut rows: BTreeMap<String, Row<'a>> = BTreeMap::new();
        for &at in group {
            let organization = asked[at].key.organization.as_ref();
            for part in &asked[at].asked.parts {
                rows.entry(reversed(&part.host)).or_default().entries.push(Entry { at, organization, part });
            }
        }
        rows.values_mut().for_each(Row::finish);
        Self { state, environment, rows }
    }

    fn run<B>(&self, mut see: impl FnMut(usize, usize) -> ControlFlow<B>) -> ControlFlow<B> {
        for (host, row) in &self.rows {
            let wider: Vec<&Row<'_>> = wider(host).iter().filter_map(|host| self.rows.get(host)).collect();
            for entry in &row.entries {
                // What a grant owns as a whole meets nothing.
                let free = free_hosts(self.state, self.environment, entry.part);
                if free.is_empty() {
                    continue;
                }
                for row in &wider {
                    self.look(entry, &free, row, &mut see)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Sees the entries of a row that meet `own`, of which these hosts are free.
    fn look<B>(
        &self,
        own: &Entry<'_>,
        free: &[&HostPattern],
        row: &Row<'_>,
        see: &mut impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let context = own.context();
        let ends = context.iter().enumerate().filter(|(_, octet)| **octet == b'/').map(|(end, _)| end);
        for end in ends.chain([context.len()]) {
            let prefix = &context[..end];
            // No context has an octet 0.
            let mut at = row.range(prefix, &[prefix, b"\0"].concat());
            while at.start < at.end {
                let other = &row.entries[at.start];
                if other.organization == own.organization {
                    at.start = row.next_other[at.start];
                    continue;
                }
                see(own.at, other.at)?;
                at.start += 1;
            }
        }
        // '0' follows '/'.
        let mut at = row.range(&[context, b"/"].concat(), &[context, b"0"].concat());
        while at.start < at.end {
            let other = &row.entries[at.start];
            if other.organization == own.organization {
                at.start = row.next_other[at.start];
                continue;
            }
            match self.owned_below(free, &other.part.context) {
                None => {
                    see(own.at, other.at)?;
                    at.start += 1;
                }
                // With one host, all that is below the grant's prefix has an owner, too.
                Some(prefix) if free.len() == 1 => {
                    let after = [prefix.octets(), b"0"].concat();
                    let next = row.entries.partition_point(|entry| entry.context() < &*after);
                    at.start = next.max(at.start + 1);
                }
                Some(_) => at.start += 1,
            }
        }
        ControlFlow::Continue(())
    }

    /// The prefix of the grant that owns the requests to the first of these hosts below `context`. `None`: those to some of the hosts
    /// have no owner.
    fn owned_below(&self, hosts: &[&HostPattern], context: &Context) -> Option<&Context> {
        let mut owners = hosts.iter().map(|host| self.state.owner_of(self.environment, host, context));
        let first = owners.next()??;
        owners.all(|owner| owner.is_some()).then_some(&first.area.context)
    }
}
