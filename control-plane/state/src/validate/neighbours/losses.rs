//! What Bindings lose to grants.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::ResourceKey;
use hanse_runtime::{Area, Context, Grant, HostPattern};
use hanse_topology::Name;

use super::{Regranted, is_own};
use crate::{
    State,
    state::{below, reversed, wider},
};

/// By reversed host: the host, and the HostGrant whose change gives it to another owner.
type ByHost<'a> = BTreeMap<String, (HostPattern, &'a ResourceKey)>;

/// The requests that changes of grants give to another owner in an Environment.
pub(super) struct Cells<'a> {
    before: &'a State,
    next: &'a State,
    environment: &'a Name,
    /// By owner and context.
    groups: BTreeMap<(&'a str, Context), ByHost<'a>>,
}

/// What a Binding loses.
pub(super) struct Loss<'a> {
    pub(super) area: Area,
    pub(super) owner: String,
    pub(super) by: &'a ResourceKey,
}

impl<'a> Cells<'a> {
    /// The owner of a request changes only where its grant before or after changed. So the areas of the changed grants, and what
    /// each has in common with any grant, are enough: in one of them the owners of that request are the owners of the whole area.
    pub(super) fn new(
        before: &'a State,
        next: &'a State,
        environment: &'a Name,
        regranted: &[&'a Regranted],
    ) -> Self {
        let mut areas: BTreeMap<Area, &ResourceKey> = BTreeMap::new();
        let grants = || [before, next].into_iter().filter_map(|state| state.grants(environment));
        for Regranted { key, area, .. } in regranted {
            areas.entry(area.clone()).or_insert(key);
            for other in grants().flat_map(|grants| grants.iter()) {
                if let Some(common) = area.common(&other.area) {
                    areas.entry(common).or_insert(key);
                }
            }
        }
        let mut groups: BTreeMap<(&str, Context), BTreeMap<String, _>> = BTreeMap::new();
        let owner = |state: &'a State, area: &Area| {
            state.owner_of(environment, &area.host, &area.context).map(|grant| &*grant.organization)
        };
        for (area, by) in areas {
            let Some(after) = owner(next, &area) else { continue };
            if owner(before, &area) == Some(after) {
                continue;
            }
            let hosts = next.hostnames.get(environment).map(|hosts| hosts.common(&area.host));
            for host in hosts.into_iter().flatten() {
                let group = groups.entry((after, area.context.clone())).or_default();
                group.insert(reversed(&host), (host, by));
            }
        }
        Self { before, next, environment, groups }
    }

    /// The first requests that a Binding asked for before, and asks for in vain now.
    pub(super) fn lost(&self, key: &ResourceKey) -> Option<Loss<'a>> {
        let before = self.before.asked(key).filter(|asked| asked.environment == *self.environment)?;
        let now = self.next.asked(key).filter(|asked| asked.environment == *self.environment)?;
        let is_same = before.parts == now.parts;
        let own = key.organization.as_ref().map(Name::as_str);
        for part in &now.parts {
            let host = reversed(&part.host);
            let wider = wider(&host);
            for ((owner, context), cells) in &self.groups {
                let Some(context) = part.context.common(context).filter(|_| own != Some(*owner)) else {
                    continue;
                };
                let covering = wider.iter().filter_map(|host| cells.get(host));
                let covered = below(cells, &host).map(|(_, cell)| cell);
                let found = covering.chain(covered).find_map(|(host, by)| {
                    let host = part.host.common(host)?.clone();
                    let area = Area { host, context: context.clone() };
                    let areas = if is_same { vec![area] } else { before.within(&area).collect() };
                    areas.into_iter().find_map(|area| {
                        let owner = self.foreign(self.next, key, &area)?.organization.to_string();
                        let is_new = self.foreign(self.before, key, &area).is_none();
                        is_new.then_some(Loss { area, owner, by })
                    })
                });
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn foreign(&self, state: &'a State, key: &ResourceKey, area: &Area) -> Option<&'a Grant> {
        state.owner_of(self.environment, &area.host, &area.context).filter(|grant| !is_own(key, grant))
    }
}

/// The requests that a Binding asks for and that belong to others, each with the owner: `most` at most.
pub(crate) fn lost_now(state: &State, key: &ResourceKey, most: usize) -> BTreeSet<String> {
    let Some(asked) = state.asked(key) else { return BTreeSet::new() };
    let Some(grants) = state.grants(&asked.environment) else { return BTreeSet::new() };
    let mut lost = BTreeSet::new();
    for grant in grants.iter().filter(|grant| !is_own(key, grant)) {
        for area in asked.within(&grant.area) {
            if lost.len() == most {
                return lost;
            }
            if let Some(owner) =
                grants.owner_of(&area.host, &area.context).filter(|grant| !is_own(key, grant))
            {
                lost.insert(format!("{area} of Organization {}", owner.organization));
            }
        }
    }
    lost
}
