//! Keeps one environment's table up to date, change by change.
//!
//! A change costs work proportional to what it touches. What cannot be used is noted with its reason and the last good
//! version stays in force, so one bad resource never takes another down.

mod claims;
mod quarantine;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_proto::runtime::{self, resource::Kind};
use hanse_topology::ScopeId;

use self::claims::Claims;
use super::{
    ApiRoutes, Caller, ConnectProfiles, EnvironmentListener, EnvironmentTable, Grant, HostMap, KeyDigest,
    Served, Upstream, UpstreamId,
    callers::{self, Callers, OwnedId},
    contexts::Context,
    hosts::HostPattern,
};
use crate::{
    limit::{Bucket, Rate},
    metrics::ApiStats,
    resource::{ResourceKind, Unusable, decode},
};

/// Keys of a scope.
type Key = Arc<str>;

/// The resources of one scope and the table they make.
#[derive(Debug)]
pub struct ScopeIndex {
    /// As received: what is compared when everything comes again.
    received: BTreeMap<Key, Bytes>,
    /// What cannot be used by itself.
    refused: BTreeMap<Key, Refused>,
    /// What refers to something that is not there or cannot be used.
    dangling: BTreeMap<Key, Unusable>,
    upstreams: HashMap<Key, Arc<Upstream>>,
    routes: BTreeMap<Key, RouteEntry>,
    /// Routes by the upstream they want, and by the one they are served with where that is another.
    routes_by_upstream: HashMap<Key, BTreeSet<Key>>,
    route_claims: Claims<(HostPattern, Context), Arc<Served>>,
    stats: HashMap<OwnedId, Arc<ApiStats>>,
    /// An Api may have lost its last route since the last sweep.
    stale_stats: bool,
    plans: HashMap<Key, Option<Rate>>,
    credentials: HashMap<Key, KeyDigest>,
    credential_claims: Claims<KeyDigest, Arc<Caller>>,
    subscriptions: BTreeMap<Key, SubscriptionEntry>,
    /// Subscriptions by the plan they want, and by the one whose limit they keep where that is another.
    subscriptions_by_plan: HashMap<Key, BTreeSet<Key>>,
    grant_claims: Claims<(OwnedId, OwnedId), Arc<Grant>>,
    table: EnvironmentTable,
}

/// A resource that cannot be used by itself.
#[derive(Debug)]
struct Refused {
    reason: Unusable,
    /// The last version that could be used, if there was one.
    last_good: Option<Bytes>,
}

#[derive(Debug)]
struct RouteEntry {
    /// The newest good version.
    wanted: Arc<ApiRoutes>,
    /// What that was compiled from.
    wanted_from: Bytes,
    /// What is served: `wanted`, or the version before while the new one's upstream cannot be used.
    served: Option<InForce>,
}

/// A route in force and what it was compiled from.
#[derive(Debug, Clone)]
struct InForce {
    served: Arc<Served>,
    from: Bytes,
    /// The upstream's; `None`: the route was first seen without a usable one.
    upstream_from: Option<Bytes>,
}

#[derive(Debug)]
struct SubscriptionEntry {
    plan: Key,
    pair: (OwnedId, OwnedId),
    /// What it was compiled from.
    from: Bytes,
    granted: Option<Granted>,
}

/// The limit in force and what it was made from: the plan that is wanted, or the one before while that is not to be had.
#[derive(Debug, Clone)]
struct Granted {
    grant: Arc<Grant>,
    /// The version of the subscription that wants this plan.
    from: Bytes,
    plan: Key,
    /// The plan's; `None`: there was none yet.
    plan_from: Option<Bytes>,
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
    fn upstream(&self) -> &Key {
        &self.served.routes.upstream
    }
}

/// How much a scope holds, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Resources received, of all kinds.
    pub resources: usize,
    /// Routes in force.
    pub routes: usize,
    /// Upstreams in force.
    pub upstreams: usize,
    /// API keys known.
    pub credentials: usize,
    /// Subscriptions in force.
    pub subscriptions: usize,
}

impl ScopeIndex {
    /// An empty scope.
    pub fn new(scope: ScopeId) -> Self {
        Self {
            received: BTreeMap::new(),
            refused: BTreeMap::new(),
            dangling: BTreeMap::new(),
            upstreams: HashMap::new(),
            routes: BTreeMap::new(),
            routes_by_upstream: HashMap::new(),
            route_claims: Claims::default(),
            stats: HashMap::new(),
            stale_stats: false,
            plans: HashMap::new(),
            credentials: HashMap::new(),
            credential_claims: Claims::default(),
            subscriptions: BTreeMap::new(),
            subscriptions_by_plan: HashMap::new(),
            grant_claims: Claims::default(),
            table: EnvironmentTable {
                scope,
                listener: None,
                apis: HostMap::default(),
                callers: Callers::default(),
            },
        }
    }

    /// The table of what is in force. Cheap.
    pub fn table(&self) -> Arc<EnvironmentTable> {
        Arc::new(self.table.clone())
    }

    /// What cannot be used as received, with the reason.
    fn unusable(&self) -> impl Iterator<Item = (&str, &Unusable)> {
        let refused = self.refused.iter().map(|(key, refused)| (&**key, &refused.reason));
        let dangling = self.dangling.iter().filter(|(key, _)| !self.refused.contains_key(*key));
        refused.chain(dangling.map(|(key, reason)| (&**key, reason)))
    }

    /// The value received last of a key.
    pub fn received(&self, key: &str) -> Option<&Bytes> {
        self.received.get(key)
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        Counts {
            resources: self.received.len(),
            routes: self.routes.values().filter(|entry| entry.served.is_some()).count(),
            upstreams: self.upstreams.len(),
            credentials: self.table.callers.keys(),
            subscriptions: self.subscriptions.len(),
        }
    }

    /// Counters of its Apis.
    pub fn stats(&self) -> impl Iterator<Item = &Arc<ApiStats>> {
        self.stats.values()
    }

    /// Makes the scope hold exactly `content`: for a first content, and for one of another lineage.
    pub fn replace(&mut self, content: Vec<(Key, Bytes)>, profiles: &mut ConnectProfiles) {
        let kept: BTreeSet<&Key> = content.iter().map(|(key, _)| key).collect();
        let removals: Vec<Key> = self.received.keys().filter(|key| !kept.contains(key)).cloned().collect();
        self.apply(content, removals, profiles);
    }

    /// Applies changes. Values equal to those held cost nothing.
    pub fn apply(&mut self, upserts: Vec<(Key, Bytes)>, removals: Vec<Key>, profiles: &mut ConnectProfiles) {
        let mut routes = BTreeSet::new();
        let mut subscriptions = BTreeSet::new();
        for key in removals {
            self.remove(&key, &mut routes, &mut subscriptions);
        }
        for (key, bytes) in upserts {
            if self.received.get(&key) != Some(&bytes) {
                self.upsert(key, bytes, profiles, &mut routes, &mut subscriptions);
            }
        }
        for key in routes {
            self.settle_route(&key);
        }
        for key in subscriptions {
            self.settle_subscription(&key);
        }
        if std::mem::take(&mut self.stale_stats) {
            self.forget_stats();
        }
    }

    fn upsert(
        &mut self,
        key: Key,
        bytes: Bytes,
        profiles: &mut ConnectProfiles,
        routes: &mut BTreeSet<Key>,
        subscriptions: &mut BTreeSet<Key>,
    ) {
        let used = match ResourceKind::of_key(&key) {
            None => Ok(()), // of a later version: nothing here needs it
            Some(kind) => decode(kind, &bytes)
                .and_then(|resource| self.take_in(&key, &bytes, resource, profiles, routes, subscriptions)),
        };
        let before = self.received.insert(key.clone(), bytes);
        match used {
            Ok(()) => drop(self.refused.remove(&key)),
            Err(reason) => {
                tracing::warn!(scope = %self.table.scope, %key, %reason, "resource cannot be used; its last good version stays");
                let last_good = match self.refused.remove(&key) {
                    Some(refused) => refused.last_good,
                    None => before,
                };
                self.refused.insert(key, Refused { reason, last_good });
            }
        }
    }

    /// Compiles one resource. Nothing changes unless it can be used.
    fn take_in(
        &mut self,
        key: &Key,
        bytes: &Bytes,
        resource: Kind,
        profiles: &mut ConnectProfiles,
        routes: &mut BTreeSet<Key>,
        subscriptions: &mut BTreeSet<Key>,
    ) -> Result<(), Unusable> {
        match resource {
            Kind::Listener(listener) => {
                self.table.listener = Some(Arc::new(EnvironmentListener::new(&listener)))
            }
            Kind::Upstream(upstream) => {
                let id = UpstreamId::new(&self.table.scope, key);
                self.upstreams.insert(key.clone(), Arc::new(Upstream::new(&id, &upstream, profiles)?));
                routes.extend(self.routes_by_upstream.get(key).into_iter().flatten().cloned());
            }
            Kind::Route(route) => {
                let wanted = Arc::new(ApiRoutes::new(&route)?);
                self.routes_by_upstream.entry(wanted.upstream.clone()).or_default().insert(key.clone());
                match self.routes.get_mut(key) {
                    Some(entry) => {
                        let before = std::mem::replace(&mut entry.wanted, wanted);
                        entry.wanted_from = bytes.clone();
                        let served_with = entry.served.as_ref().map(|served| served.upstream());
                        if before.upstream != entry.wanted.upstream && served_with != Some(&before.upstream) {
                            leave(&mut self.routes_by_upstream, &before.upstream, key);
                        }
                    }
                    None => {
                        let entry = RouteEntry { wanted, wanted_from: bytes.clone(), served: None };
                        self.routes.insert(key.clone(), entry);
                    }
                }
                routes.insert(key.clone());
            }
            Kind::Plan(plan) => {
                self.plans.insert(key.clone(), Rate::of(&plan));
                subscriptions.extend(self.subscriptions_by_plan.get(key).into_iter().flatten().cloned());
            }
            Kind::Credential(credential) => {
                let (digest, caller) = callers::caller(&credential)?;
                if let Some(before) = self.credentials.insert(key.clone(), digest)
                    && before != digest
                {
                    let holder = self.credential_claims.withdraw(&before, key);
                    self.table.callers.set_key(before, holder);
                }
                let holder = self.credential_claims.claim(digest, key, caller);
                self.table.callers.set_key(digest, Some(holder));
            }
            Kind::Subscription(subscription) => {
                let organization = subscription.organization.as_str();
                let plan: Key = format!("plan/{organization}/{}", subscription.plan).into();
                let pair = (
                    OwnedId::new(organization, &subscription.application),
                    OwnedId::new(organization, &subscription.api),
                );
                self.subscriptions_by_plan.entry(plan.clone()).or_default().insert(key.clone());
                let before = self.subscriptions.remove(key);
                if let Some(before) = &before {
                    let kept = before.granted.as_ref().map(|granted| &granted.plan);
                    if before.plan != plan && kept != Some(&before.plan) {
                        leave(&mut self.subscriptions_by_plan, &before.plan, key);
                    }
                    if before.pair != pair {
                        let grant = self.grant_claims.withdraw(&before.pair, key);
                        self.table.callers.set_grant(before.pair, grant);
                    }
                }
                let granted = before.and_then(|entry| entry.granted);
                let entry = SubscriptionEntry { plan, pair, from: bytes.clone(), granted };
                self.subscriptions.insert(key.clone(), entry);
                subscriptions.insert(key.clone());
            }
        }
        Ok(())
    }

    fn remove(&mut self, key: &Key, routes: &mut BTreeSet<Key>, subscriptions: &mut BTreeSet<Key>) {
        self.received.remove(key);
        self.refused.remove(key);
        self.dangling.remove(key);
        match ResourceKind::of_key(key) {
            None => {}
            Some(ResourceKind::Listener) => self.table.listener = None,
            Some(ResourceKind::Upstream) => {
                self.upstreams.remove(key);
                routes.extend(self.routes_by_upstream.get(key).into_iter().flatten().cloned());
            }
            Some(ResourceKind::Route) => {
                if let Some(entry) = self.routes.remove(key) {
                    leave(&mut self.routes_by_upstream, &entry.wanted.upstream, key);
                    if let Some(in_force) = entry.served {
                        leave(&mut self.routes_by_upstream, in_force.upstream(), key);
                        self.withdraw_route(key, &in_force.served.routes);
                        self.stale_stats = true;
                    }
                }
            }
            Some(ResourceKind::Plan) => {
                self.plans.remove(key);
                subscriptions.extend(self.subscriptions_by_plan.get(key).into_iter().flatten().cloned());
            }
            Some(ResourceKind::Credential) => {
                if let Some(digest) = self.credentials.remove(key) {
                    let holder = self.credential_claims.withdraw(&digest, key);
                    self.table.callers.set_key(digest, holder);
                }
            }
            Some(ResourceKind::Subscription) => {
                if let Some(entry) = self.subscriptions.remove(key) {
                    leave(&mut self.subscriptions_by_plan, &entry.plan, key);
                    if let Some(granted) = &entry.granted {
                        leave(&mut self.subscriptions_by_plan, &granted.plan, key);
                    }
                    let grant = self.grant_claims.withdraw(&entry.pair, key);
                    self.table.callers.set_grant(entry.pair, grant);
                }
            }
        }
    }

    /// Brings what is served of one route in line with what is wanted and can be used.
    fn settle_route(&mut self, key: &Key) {
        let Some(entry) = self.routes.get(key) else { return };
        let before = entry.served.clone();
        let next = self.next_in_force(entry);
        let unserved = !self.upstreams.contains_key(&entry.wanted.upstream);
        if unserved {
            let why = format!("{} is not there, or cannot be used", entry.wanted.upstream);
            let reason = Unusable::new("upstream", why);
            tracing::warn!(scope = %self.table.scope, %key, %reason, "route cannot be used; its last good version stays");
            self.dangling.insert(key.clone(), reason);
        } else {
            self.dangling.remove(key);
        }
        let Some(Next { routes, from, upstream, upstream_from }) = next else { return };
        let stats = self.stats.entry(routes.id).or_insert_with(|| {
            Arc::new(ApiStats::new(self.table.scope.environment(), &routes.organization, &routes.api))
        });
        let served = Arc::new(Served { routes: routes.clone(), upstream, stats: stats.clone() });
        if let Some(before) = &before {
            let gone = |place: &&(HostPattern, Context)| !places(&routes).any(|new| new == **place);
            for place in places(&before.served.routes).collect::<Vec<_>>().iter().filter(gone) {
                let holder = self.route_claims.withdraw(place, key);
                self.set_route(place, holder);
            }
            if before.upstream() != &routes.upstream && self.routes[key].wanted.upstream != *before.upstream()
            {
                leave(&mut self.routes_by_upstream, before.upstream(), key);
            }
        }
        for place in places(&routes) {
            let holder = self.route_claims.claim(place.clone(), key, served.clone());
            self.set_route(&place, Some(holder));
        }
        self.stale_stats |= before.is_some_and(|before| before.served.routes.id != routes.id);
        if let Some(entry) = self.routes.get_mut(key) {
            entry.served = Some(InForce { served, from, upstream_from });
        }
    }

    /// What is to be served of a route: its newest good version; while that one's upstream cannot be used, the version
    /// before, with its own upstream as it is now or as it last was. `None`: what is served now is that already.
    fn next_in_force(&self, entry: &RouteEntry) -> Option<Next> {
        let newest = entry.wanted.clone();
        let upstream = self.upstreams.get(&newest.upstream);
        let (routes, from, upstream, upstream_from) = match (upstream, &entry.served) {
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
                let from = self.usable_version(&routes.upstream).cloned();
                (routes, before.from.clone(), Some(upstream.clone()), from)
            }
            (upstream, _) => {
                let from = self.usable_version(&newest.upstream).cloned();
                (newest, entry.wanted_from.clone(), upstream.cloned(), from)
            }
        };
        Some(Next { routes, from, upstream, upstream_from })
    }

    fn withdraw_route(&mut self, key: &Key, routes: &ApiRoutes) {
        for place in places(routes) {
            let holder = self.route_claims.withdraw(&place, key);
            self.set_route(&place, holder);
        }
    }

    fn set_route(&mut self, (host, context): &(HostPattern, Context), served: Option<Arc<Served>>) {
        let mut contexts = self.table.apis.at(host).cloned().unwrap_or_default();
        contexts.set(context, served);
        self.table.apis.set(host, (!contexts.is_empty()).then_some(contexts));
    }

    /// Drops the counters of Apis that no route serves any more. One sweep per delta, however many routes went.
    fn forget_stats(&mut self) {
        let served: HashSet<OwnedId> = self
            .routes
            .values()
            .filter_map(|entry| entry.served.as_ref())
            .map(|in_force| in_force.served.routes.id)
            .collect();
        self.stats.retain(|id, _| served.contains(id));
    }

    /// Brings one subscription in line with its plan. Its budget goes on where the rate stays the same.
    fn settle_subscription(&mut self, key: &Key) {
        let Some(entry) = self.subscriptions.get(key) else { return };
        let (pair, before) = (entry.pair, entry.granted.clone());
        if self.plans.contains_key(&entry.plan) {
            self.dangling.remove(key);
        } else {
            // Availability goes before limits, but not unsaid, and not where there is a limit still.
            let reason = Unusable::new("plan", format!("{} is not there, or cannot be used", entry.plan));
            tracing::warn!(scope = %self.table.scope, %key, %reason, "subscription keeps its last limit, or has none");
            self.dangling.insert(key.clone(), reason);
        }
        let granted = self.next_grant(&self.subscriptions[key]);
        if let Some(before) = before.filter(|before| before.plan != granted.plan)
            && self.subscriptions[key].plan != before.plan
        {
            leave(&mut self.subscriptions_by_plan, &before.plan, key);
        }
        let grant = self.grant_claims.claim(pair, key, granted.grant.clone());
        self.table.callers.set_grant(pair, Some(grant));
        if let Some(entry) = self.subscriptions.get_mut(key) {
            entry.granted = Some(granted);
        }
    }

    /// The limit of a subscription: that of its plan; while this is not to be had, of the plan before as it is now or as it
    /// last was.
    fn next_grant(&self, entry: &SubscriptionEntry) -> Granted {
        let before = entry.granted.as_ref();
        let wanted = [(&entry.plan, &entry.from)];
        let candidates = wanted.into_iter().chain(before.map(|granted| (&granted.plan, &granted.from)));
        let found = candidates.filter_map(|(plan, from)| Some((plan, from, *self.plans.get(plan)?))).next();
        match (found, before) {
            (Some((plan, from, rate)), before) => {
                let bucket = before.and_then(|granted| granted.grant.bucket.as_ref());
                let same = before.filter(|_| bucket.map(|bucket| bucket.rate()) == rate);
                let grant = same.map(|granted| granted.grant.clone());
                let grant = grant.unwrap_or_else(|| Arc::new(Grant { bucket: rate.map(Bucket::new) }));
                let plan_from = self.usable_version(plan).cloned();
                Granted { grant, from: from.clone(), plan: plan.clone(), plan_from }
            }
            (None, Some(granted)) if granted.plan == entry.plan => {
                Granted { from: entry.from.clone(), ..granted.clone() }
            }
            (None, Some(granted)) => granted.clone(),
            (None, None) => {
                let grant = Arc::new(Grant { bucket: None });
                Granted { grant, from: entry.from.clone(), plan: entry.plan.clone(), plan_from: None }
            }
        }
    }
}

impl EnvironmentListener {
    fn new(listener: &runtime::Listener) -> Self {
        Self {
            http: listener.http,
            https: listener.https,
            hosts: HostPattern::parse_all(&listener.hostnames),
        }
    }
}

fn places(routes: &ApiRoutes) -> impl Iterator<Item = (HostPattern, Context)> + '_ {
    routes.hosts.iter().map(|host| (host.clone(), routes.context.clone()))
}

/// Removes `key` from the users of `of`.
fn leave(users: &mut HashMap<Key, BTreeSet<Key>>, of: &Key, key: &Key) {
    if let Some(set) = users.get_mut(of) {
        set.remove(key);
        if set.is_empty() {
            users.remove(of);
        }
    }
}

#[cfg(test)]
mod tests;
