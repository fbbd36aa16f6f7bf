//! Routes and the upstreams that they are served with.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_runtime::{Context, HostPattern, Unusable};

use super::{Key, claims::Claims, kept, users::Users, versions::Versions};
use crate::{
    metrics::{ApiCounters, ApiStats, HostStats},
    table::{ApiRoutes, Places, ScopeTable, Served, SetId, Upstream, callers::OwnedId},
};

/// A host and a context, and the Organization that has a route there: some requests there may be its own.
type Place = (HostPattern, Context, Box<str>);

/// Every route of a scope, with the version of it that is served.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) upstreams: HashMap<Key, Arc<Upstream>>,
    entries: BTreeMap<Key, Entry>,
    /// Routes by the upstream they want, and by the one they are served with where that is another.
    by_upstream: Users,
    /// Upstreams by the set of endpoints that they refer to.
    pub(super) by_set: Users<SetId>,
    /// Upstreams that use no endpoint of the set that they refer to.
    pub(super) waiting: BTreeSet<Key>,
    claims: Claims<Place, Arc<Served>>,
    /// What keeps the places of routes that cannot be used.
    kept: BTreeMap<Key, Arc<Served>>,
    kept_claims: Claims<Place, Arc<Served>>,
    /// Of the whole environment.
    counters: ApiCounters,
    /// Of the Apis here.
    stats: HashMap<OwnedId, Arc<ApiStats>>,
    /// An Api may have lost its last route since the last sweep.
    stale_stats: bool,
}

#[derive(Debug)]
struct Entry {
    /// The newest good version.
    wanted: Arc<ApiRoutes>,
    /// What that was compiled from.
    wanted_from: Bytes,
    /// What is served: `wanted`, or the version before while the new one's upstream cannot be used.
    in_force: Option<InForce>,
}

/// A route in force and what it was compiled from.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    pub(super) served: Arc<Served>,
    pub(super) from: Bytes,
    /// The upstream's; `None`: the route was first seen without a usable one.
    pub(super) upstream_from: Option<Bytes>,
}

/// What a route is to be served as.
struct Next {
    routes: Arc<ApiRoutes>,
    from: Bytes,
    upstream: Option<Arc<Upstream>>,
    upstream_from: Option<Bytes>,
}

impl InForce {
    /// The key of the upstream it is served with.
    pub(super) fn upstream(&self) -> &Key {
        &self.served.routes.upstream
    }
}

impl Routes {
    /// No route. What is served counts here.
    pub(super) fn counting(counters: ApiCounters) -> Self {
        Self { counters, ..Self::default() }
    }

    /// How many are served.
    pub(super) fn served(&self) -> usize {
        self.entries.values().filter(|entry| entry.in_force.is_some()).count()
    }

    /// How many upstreams there are.
    pub(super) fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// What is served, by key.
    pub(super) fn all_in_force(&self) -> impl Iterator<Item = (&Key, &Arc<Served>)> {
        self.entries.iter().filter_map(|(key, entry)| Some((key, &entry.in_force.as_ref()?.served)))
    }

    /// What is served of one.
    pub(super) fn in_force(&self, key: &str) -> Option<&InForce> {
        self.entries.get(key)?.in_force.as_ref()
    }

    /// Counters of the Apis that are served.
    pub(super) fn stats(&self) -> impl Iterator<Item = &Arc<ApiStats>> {
        self.stats.values()
    }

    /// An upstream is there, or another. Who has to be settled is `touched`.
    pub(super) fn set_upstream(&mut self, key: &Key, upstream: Upstream, touched: &mut BTreeSet<Key>) {
        self.leave_set(key);
        if let Some(set) = upstream.set() {
            self.by_set.join(set, key);
            if upstream.lack().is_some() {
                self.waiting.insert(key.clone());
            }
        }
        self.upstreams.insert(key.clone(), Arc::new(upstream));
        touched.extend(self.by_upstream.of(key));
    }

    fn leave_set(&mut self, key: &Key) {
        if let Some(set) = self.upstreams.get(key).and_then(|upstream| upstream.set()) {
            self.by_set.leave(set, key);
            self.waiting.remove(key);
        }
    }

    /// An upstream is gone.
    pub(super) fn remove_upstream(&mut self, key: &Key, touched: &mut BTreeSet<Key>) {
        self.leave_set(key);
        self.upstreams.remove(key);
        touched.extend(self.by_upstream.of(key));
    }

    /// A route is there, or another. It has to be settled then.
    pub(super) fn insert(&mut self, key: &Key, from: Bytes, wanted: ApiRoutes) {
        let wanted = Arc::new(wanted);
        self.by_upstream.join(&wanted.upstream, key);
        match self.entries.get_mut(key) {
            Some(entry) => {
                let before = std::mem::replace(&mut entry.wanted, wanted);
                entry.wanted_from = from;
                let served_with = entry.in_force.as_ref().map(InForce::upstream);
                if before.upstream != entry.wanted.upstream && served_with != Some(&before.upstream) {
                    self.by_upstream.leave(&before.upstream, key);
                }
            }
            None => {
                self.entries.insert(key.clone(), Entry { wanted, wanted_from: from, in_force: None });
            }
        }
    }

    /// A route is gone.
    pub(super) fn remove(&mut self, key: &Key, table: &mut ScopeTable) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.by_upstream.leave(&entry.wanted.upstream, key);
        if let Some(in_force) = entry.in_force {
            self.by_upstream.leave(in_force.upstream(), key);
            for place in places(&in_force.served.routes) {
                set(&mut table.apis, &place, self.claims.withdraw(&place, key));
            }
            table.places += 1;
            self.stale_stats = true;
        }
    }

    /// Brings what is served of one in line with what is wanted and can be used. An error: the upstream it wants is not to
    /// be had, so the last good version stays.
    pub(super) fn settle(
        &mut self,
        key: &Key,
        versions: &Versions,
        table: &mut ScopeTable,
    ) -> Option<Result<(), Unusable>> {
        let entry = self.entries.get(key)?;
        let wanted = &entry.wanted.upstream;
        let missing = || Unusable::new("upstream", format!("{wanted} is not there, or cannot be used"));
        let is_there = !entry.wanted.served_in.is_empty() || self.upstreams.contains_key(wanted);
        let settled = if is_there { Ok(()) } else { Err(missing()) };
        if let Some(next) = self.next(entry, versions) {
            self.serve(key, next, table);
        }
        Some(settled)
    }

    /// Puts a version in force.
    fn serve(&mut self, key: &Key, next: Next, table: &mut ScopeTable) {
        let Next { routes, from, upstream, upstream_from } = next;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let stats = stats_of(&mut self.stats, &self.counters, table, &routes);
        let by_host = by_host(&self.counters, table, &routes);
        let is_local = table.scope.is_local();
        let served = Served { key: key.clone(), is_local, routes: routes.clone(), upstream, stats, by_host };
        let served = Arc::new(served);
        let now = InForce { served: served.clone(), from, upstream_from };
        let before = entry.in_force.replace(now);
        // With another upstream at the same places, no other route answers there than before.
        let is_moved = before.as_ref().is_none_or(|before| !Arc::ptr_eq(&before.served.routes, &routes));
        if let Some(before) = before {
            let left = places(&before.served.routes).filter(|old| !places(&routes).any(|new| new == *old));
            for place in left {
                set(&mut table.apis, &place, self.claims.withdraw(&place, key));
            }
            if before.upstream() != &routes.upstream && entry.wanted.upstream != *before.upstream() {
                self.by_upstream.leave(before.upstream(), key);
            }
            self.stale_stats |= before.served.routes.id != routes.id;
        }
        for place in places(&routes) {
            let holder = self.claims.claim(place.clone(), key, served.clone());
            set(&mut table.apis, &place, Some(holder));
        }
        table.places += u64::from(is_moved);
    }

    /// Serves a route as it is in force, with another state of its upstream.
    pub(super) fn serve_with(
        &mut self,
        key: &Key,
        in_force: InForce,
        upstream: Arc<Upstream>,
        table: &mut ScopeTable,
    ) {
        let InForce { served, from, upstream_from } = in_force;
        let next = Next { routes: served.routes.clone(), from, upstream: Some(upstream), upstream_from };
        self.serve(key, next, table);
    }

    /// Keeps the place of a route that cannot be used; `None`: it can, or there is no such route any more.
    pub(super) fn keep(&mut self, key: &Key, unusable: Option<&Bytes>, table: &mut ScopeTable) {
        if let Some(before) = self.kept.remove(key) {
            for place in places(&before.routes) {
                set(&mut table.kept, &place, self.kept_claims.withdraw(&place, key));
            }
            table.places += 1;
            self.stale_stats = true;
        }
        let Some(routes) = unusable.and_then(kept::place_of).map(Arc::new) else { return };
        let stats = stats_of(&mut self.stats, &self.counters, table, &routes);
        let (by_host, upstream) = (by_host(&self.counters, table, &routes), None);
        let is_local = table.scope.is_local();
        let served = Served { key: key.clone(), is_local, routes: routes.clone(), upstream, stats, by_host };
        let served = Arc::new(served);
        for place in places(&routes) {
            let holder = self.kept_claims.claim(place.clone(), key, served.clone());
            set(&mut table.kept, &place, Some(holder));
        }
        self.kept.insert(key.clone(), served);
        table.places += 1;
    }

    /// What is to be served of a route: its newest good version; while that one's upstream cannot be used, the version
    /// before, with its own upstream as it is now or as it last was. `None`: what is served now is that already.
    fn next(&self, entry: &Entry, versions: &Versions) -> Option<Next> {
        let newest = entry.wanted.clone();
        if !newest.served_in.is_empty() {
            let is_served = |before: &InForce| Arc::ptr_eq(&before.served.routes, &newest);
            let is_new = !entry.in_force.as_ref().is_some_and(is_served);
            let from = entry.wanted_from.clone();
            return is_new.then_some(Next { routes: newest, from, upstream: None, upstream_from: None });
        }
        let upstream = self.upstreams.get(&newest.upstream);
        let (routes, from, upstream, upstream_from) = match (upstream, &entry.in_force) {
            // Its upstream is gone: the last version of that serves the new route too.
            (None, Some(before)) if *before.upstream() == newest.upstream => {
                if Arc::ptr_eq(&before.served.routes, &newest) {
                    return None;
                }
                let upstream = before.served.upstream.clone();
                (newest, entry.wanted_from.clone(), upstream, before.upstream_from.clone())
            }
            (None, Some(before)) => {
                let routes = before.served.routes.clone();
                let upstream = self.upstreams.get(&routes.upstream)?;
                if before.served.upstream.as_ref().is_some_and(|known| Arc::ptr_eq(known, upstream)) {
                    return None;
                }
                let from = versions.usable(&routes.upstream).cloned();
                (routes, before.from.clone(), Some(upstream.clone()), from)
            }
            (upstream, _) => {
                let from = versions.usable(&newest.upstream).cloned();
                (newest, entry.wanted_from.clone(), upstream.cloned(), from)
            }
        };
        Some(Next { routes, from, upstream, upstream_from })
    }

    /// Drops the counters of Apis that no route serves any more. One sweep per delta, however many routes went.
    pub(super) fn forget_stats(&mut self) {
        if !std::mem::take(&mut self.stale_stats) {
            return;
        }
        let in_force = self.entries.values().filter_map(|entry| Some(&entry.in_force.as_ref()?.served));
        let served: HashSet<OwnedId> =
            in_force.chain(self.kept.values()).map(|served| served.routes.id).collect();
        self.stats.retain(|id, _| served.contains(id));
    }
}

fn places(routes: &ApiRoutes) -> impl Iterator<Item = Place> + '_ {
    routes.hosts.iter().map(|host| (host.clone(), routes.context.clone(), routes.organization.clone()))
}

/// Counters of an Api: those of the environment's other scopes, where they serve it too.
fn stats_of(
    stats: &mut HashMap<OwnedId, Arc<ApiStats>>,
    counters: &ApiCounters,
    table: &ScopeTable,
    routes: &ApiRoutes,
) -> Arc<ApiStats> {
    let stats = stats.entry(routes.id).or_insert_with(|| {
        counters.of(routes.id, table.scope.environment(), &routes.organization, &routes.api)
    });
    stats.clone()
}

/// Counters of the hosts of a route.
fn by_host(counters: &ApiCounters, table: &ScopeTable, routes: &ApiRoutes) -> Box<[Arc<HostStats>]> {
    let of = |pattern| counters.hosts.of(table.scope.environment(), pattern);
    routes.hosts.iter().map(of).collect()
}

/// Serves the route that holds a place for its Organization, beside those of other Organizations. Costs what changes, however many claim the place.
fn set(at: &mut Places, (host, context, organization): &Place, holder: Option<Arc<Served>>) {
    let mut contexts = at.at(host).cloned().unwrap_or_default();
    let holders = contexts.at(context).map(|holders| &**holders).unwrap_or_default();
    let is_own = |served: &&Arc<Served>| served.routes.organization == *organization;
    let before = holders.iter().find(is_own);
    if before.map(Arc::as_ptr) == holder.as_ref().map(Arc::as_ptr) {
        return;
    }
    let others = holders.iter().filter(|served| !is_own(served));
    let mut holders: Vec<_> = others.cloned().chain(holder).collect();
    holders.sort_by(|one, other| one.key.cmp(&other.key));
    contexts.set(context, (!holders.is_empty()).then(|| holders.into()));
    at.set(host, (!contexts.is_empty()).then_some(contexts));
}
