//! Keeps one environment's table up to date, change by change.
//!
//! A change costs work proportional to what it touches. What cannot be used is noted with its reason and the last good
//! version stays in force, so one bad resource never takes another down.

mod claims;

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
    Served, Upstream,
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
    refused: BTreeMap<Key, Unusable>,
    /// What refers to something that is not there or cannot be used.
    dangling: BTreeMap<Key, Unusable>,
    upstreams: HashMap<Key, Arc<Upstream>>,
    routes: BTreeMap<Key, RouteEntry>,
    /// Routes by the upstream they want.
    routes_by_upstream: HashMap<Key, BTreeSet<Key>>,
    route_claims: Claims<(HostPattern, Context), Arc<Served>>,
    stats: HashMap<OwnedId, Arc<ApiStats>>,
    /// An Api may have lost its last route since the last sweep.
    stale_stats: bool,
    plans: HashMap<Key, Option<Rate>>,
    credentials: HashMap<Key, KeyDigest>,
    credential_claims: Claims<KeyDigest, Arc<Caller>>,
    subscriptions: BTreeMap<Key, SubscriptionEntry>,
    /// Subscriptions by the plan they want.
    subscriptions_by_plan: HashMap<Key, BTreeSet<Key>>,
    grant_claims: Claims<(OwnedId, OwnedId), Arc<Grant>>,
    table: EnvironmentTable,
}

#[derive(Debug)]
struct RouteEntry {
    /// The newest good version.
    wanted: Arc<ApiRoutes>,
    /// What is served: `wanted`, or the version before while the new one's upstream cannot be used.
    served: Option<Arc<Served>>,
}

#[derive(Debug)]
struct SubscriptionEntry {
    plan: Key,
    pair: (OwnedId, OwnedId),
    grant: Option<Arc<Grant>>,
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
    /// Resources that cannot be used as received.
    pub unusable: usize,
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
    pub fn unusable(&self) -> impl Iterator<Item = (&str, &Unusable)> {
        let dangling = self.dangling.iter().filter(|(key, _)| !self.refused.contains_key(*key));
        self.refused.iter().chain(dangling).map(|(key, reason)| (&**key, reason))
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        Counts {
            resources: self.received.len(),
            routes: self.routes.values().filter(|entry| entry.served.is_some()).count(),
            upstreams: self.upstreams.len(),
            credentials: self.table.callers.keys(),
            subscriptions: self.subscriptions.len(),
            unusable: self.unusable().count(),
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
                .and_then(|resource| self.take_in(&key, resource, profiles, routes, subscriptions)),
        };
        match used {
            Ok(()) => drop(self.refused.remove(&key)),
            Err(reason) => {
                tracing::warn!(scope = %self.table.scope, %key, %reason, "resource cannot be used; its last good version stays");
                self.refused.insert(key.clone(), reason);
            }
        }
        self.received.insert(key, bytes);
    }

    /// Compiles one resource. Nothing changes unless it can be used.
    fn take_in(
        &mut self,
        key: &Key,
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
                self.upstreams.insert(key.clone(), Arc::new(Upstream::new(&upstream, profiles)?));
                routes.extend(self.routes_by_upstream.get(key).into_iter().flatten().cloned());
            }
            Kind::Route(route) => {
                let wanted = Arc::new(ApiRoutes::new(&route)?);
                self.routes_by_upstream.entry(wanted.upstream.clone()).or_default().insert(key.clone());
                match self.routes.get_mut(key) {
                    Some(entry) => {
                        let before = std::mem::replace(&mut entry.wanted, wanted);
                        if before.upstream != entry.wanted.upstream {
                            leave(&mut self.routes_by_upstream, &before.upstream, key);
                        }
                    }
                    None => {
                        self.routes.insert(key.clone(), RouteEntry { wanted, served: None });
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
                    if before.plan != plan {
                        leave(&mut self.subscriptions_by_plan, &before.plan, key);
                    }
                    if before.pair != pair {
                        let grant = self.grant_claims.withdraw(&before.pair, key);
                        self.table.callers.set_grant(before.pair, grant);
                    }
                }
                let grant = before.and_then(|entry| entry.grant);
                self.subscriptions.insert(key.clone(), SubscriptionEntry { plan, pair, grant });
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
                    if let Some(served) = entry.served {
                        self.withdraw_route(key, &served.routes);
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
                    let grant = self.grant_claims.withdraw(&entry.pair, key);
                    self.table.callers.set_grant(entry.pair, grant);
                }
            }
        }
    }

    /// Brings what is served of one route in line with what is wanted and can be used.
    fn settle_route(&mut self, key: &Key) {
        let Some(entry) = self.routes.get(key) else { return };
        let wanted = entry.wanted.clone();
        let before = entry.served.clone();
        let upstream = self.upstreams.get(&wanted.upstream).cloned();
        if upstream.is_none() {
            let reason =
                Unusable::new("upstream", format!("{} is not there, or cannot be used", wanted.upstream));
            tracing::warn!(scope = %self.table.scope, %key, %reason, "route cannot be used; its last good version stays");
            self.dangling.insert(key.clone(), reason);
            if before.is_some() {
                return;
            }
        } else {
            self.dangling.remove(key);
        }
        let stats = self
            .stats
            .entry(wanted.id)
            .or_insert_with(|| {
                Arc::new(ApiStats::new(self.table.scope.environment(), &wanted.organization, &wanted.api))
            })
            .clone();
        if let Some(before) = &before {
            let gone = |place: &&(HostPattern, Context)| !places(&wanted).any(|new| new == **place);
            for place in places(&before.routes).collect::<Vec<_>>().iter().filter(gone) {
                let holder = self.route_claims.withdraw(place, key);
                self.set_route(place, holder);
            }
        }
        let served = Arc::new(Served { routes: wanted.clone(), upstream, stats });
        for place in places(&wanted) {
            let holder = self.route_claims.claim(place.clone(), key, served.clone());
            self.set_route(&place, Some(holder));
        }
        if let Some(entry) = self.routes.get_mut(key) {
            entry.served = Some(served);
        }
        self.stale_stats |= before.is_some_and(|before| before.routes.id != wanted.id);
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
            .map(|served| served.routes.id)
            .collect();
        self.stats.retain(|id, _| served.contains(id));
    }

    /// Brings one subscription in line with its plan. Its budget goes on where the rate stays the same.
    fn settle_subscription(&mut self, key: &Key) {
        let Some(entry) = self.subscriptions.get_mut(key) else { return };
        let before = entry.grant.take();
        let grant = match self.plans.get(&entry.plan) {
            Some(&rate) => {
                self.dangling.remove(key);
                let bucket = before.as_ref().and_then(|grant| grant.bucket.as_ref());
                match before.as_ref().filter(|_| bucket.map(|bucket| bucket.rate()) == rate) {
                    Some(grant) => grant.clone(),
                    None => Arc::new(Grant { bucket: rate.map(Bucket::new) }),
                }
            }
            // Availability goes before limits, but not unsaid, and not where there is a limit still.
            None => {
                let reason = Unusable::new("plan", format!("{} is not there, or cannot be used", entry.plan));
                tracing::warn!(scope = %self.table.scope, %key, %reason, "subscription keeps its last limit, or has none");
                self.dangling.insert(key.clone(), reason);
                before.unwrap_or_else(|| Arc::new(Grant { bucket: None }))
            }
        };
        entry.grant = Some(grant.clone());
        let pair = entry.pair;
        let grant = self.grant_claims.claim(pair, key, grant);
        self.table.callers.set_grant(pair, Some(grant));
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
