//! Keeps one scope's table up to date, change by change.
//!
//! A change costs work proportional to what it touches. What cannot be used is noted with its reason and the last good
//! version stays in force, so one bad resource never takes another down.
//!
//! Resources are taken in one by one, each by itself; then those that need one that changed are settled, each once.

mod allowed;
mod claims;
mod kept;
mod outside;
mod quarantine;
mod routes;
mod subscriptions;
mod users;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use hanse_link::ValueHash;
use hanse_runtime::{Origin, Resource, ResourceKind, Shift, Unusable};
use hanse_topology::ScopeId;
use sha2::{Digest as _, Sha256};

pub use self::outside::{Waiting, WaitsFor};
use self::{claims::Claims, routes::Routes, subscriptions::Subscriptions, versions::Versions};
use super::{
    ApiRoutes, Caller, ConnectProfiles, HostMap, KeyDigest, ScopeTable, Served, SetId, Upstream, UpstreamId,
    callers::Callers, shifts::Shifts,
};
use crate::metrics::{ApiCounters, ApiStats};

/// Why a version that looks sound is not used.
const POISONED: &str = "is poisoned: this gateway ended, or could not compile, before it had served this version for five minutes; \
     until it changes, the last version that was served so long is used";

/// Keys of a scope.
pub(super) type Key = Arc<str>;

/// The resources of one scope and the table they make.
#[derive(Debug)]
pub struct ScopeIndex {
    versions: Versions,
    /// Versions that are not to be used, by SHA-256.
    poisoned: BTreeMap<Key, ValueHash>,
    /// What refers to something that is not there or cannot be used.
    dangling: BTreeMap<Key, Unusable>,
    routes: Routes,
    subscriptions: Subscriptions,
    credentials: HashMap<Key, KeyDigest>,
    credential_claims: Claims<KeyDigest, Arc<Caller>>,
    table: ScopeTable,
    /// Those in force.
    shifts: BTreeMap<Key, Shift>,
    /// Of a scope that the control plane makes: its Origins that can be used, by key.
    origins: BTreeMap<Key, Arc<Origin>>,
    /// Of a local scope: its Origin, once it is known.
    origin: Option<Arc<Origin>>,
    /// Of a local scope: what the Origin does not allow, with the reason.
    barred: BTreeMap<Key, (Bytes, Unusable)>,
}

/// What a change touches beside itself.
#[derive(Debug, Default)]
struct Touched {
    routes: BTreeSet<Key>,
    subscriptions: BTreeSet<Key>,
    shifts: bool,
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
            versions: Versions::default(),
            poisoned: BTreeMap::new(),
            dangling: BTreeMap::new(),
            routes: Routes::default(),
            subscriptions: Subscriptions::default(),
            credentials: HashMap::new(),
            credential_claims: Claims::default(),
            table: ScopeTable {
                scope,
                listener: None,
                apis: HostMap::default(),
                kept: HostMap::default(),
                callers: Callers::default(),
                shifts: None,
                places: 0,
            },
            shifts: BTreeMap::new(),
            origins: BTreeMap::new(),
            origin: None,
            barred: BTreeMap::new(),
        }
    }

    /// The same, with its Apis counted in `counters`, which the scopes of an environment share.
    pub fn counting(scope: ScopeId, counters: ApiCounters) -> Self {
        Self { routes: Routes::counting(counters), ..Self::new(scope) }
    }

    /// Changes whenever a route or the listener does.
    pub fn places(&self) -> u64 {
        self.table.places
    }

    /// The table of what is in force. Cheap.
    pub fn table(&self) -> Arc<ScopeTable> {
        Arc::new(self.table.clone())
    }

    /// The value received last of a key.
    pub fn received(&self, key: &str) -> Option<&Bytes> {
        self.versions.received().get(key)
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        Counts {
            resources: self.versions.received().len() + self.barred.len(),
            routes: self.routes.served(),
            upstreams: self.routes.upstreams(),
            credentials: self.table.callers.keys(),
            subscriptions: self.subscriptions.len(),
        }
    }

    /// Whether a key is not allowed at all, so that its value was never looked into.
    pub fn is_barred(&self, key: &str) -> bool {
        self.barred.contains_key(key)
    }

    /// An Origin of a scope that the control plane makes, by its key.
    pub fn origin(&self, key: &str) -> Option<Arc<Origin>> {
        self.origins.get(key).cloned()
    }

    /// The routes in force.
    pub fn all_in_force(&self) -> impl Iterator<Item = (&Key, &Arc<Served>)> {
        self.routes.all_in_force()
    }

    /// What is served of a route.
    #[cfg(test)]
    pub(super) fn in_force(&self, key: &str) -> Option<&Arc<Served>> {
        self.all_in_force().find(|(own, _)| ***own == *key).map(|(_, served)| served)
    }

    /// Counters of its Apis.
    pub fn stats(&self) -> impl Iterator<Item = &Arc<ApiStats>> {
        self.routes.stats()
    }

    /// Makes the scope hold exactly `content`, with the versions in `held_over` where that cannot be used.
    pub fn replace(
        &mut self,
        held_over: Vec<(Key, Bytes)>,
        content: Vec<(Key, Bytes)>,
        profiles: &mut ConnectProfiles,
    ) {
        let kept: BTreeSet<&Key> = content.iter().map(|(key, _)| key).collect();
        let held = self.versions.received().keys().chain(self.barred.keys());
        let held = held.chain(held_over.iter().map(|(key, _)| key));
        let removals: BTreeSet<Key> = held.filter(|key| !kept.contains(key)).cloned().collect();
        self.catch_up(held_over, content, removals.into_iter().collect(), profiles);
    }

    /// Applies changes. Values equal to those held cost nothing.
    pub fn apply(&mut self, upserts: Vec<(Key, Bytes)>, removals: Vec<Key>, profiles: &mut ConnectProfiles) {
        let mut touched = Touched::default();
        for key in removals {
            self.remove(&key, profiles, &mut touched);
        }
        for (key, bytes) in upserts {
            if self.versions.received().get(&key) != Some(&bytes) {
                self.upsert(key, bytes, profiles, &mut touched);
            }
        }
        self.settle(touched);
    }

    /// Has this Origin say from now on what the local scope may have; `None`: nothing. Whether that changed what is in force.
    pub fn set_origin(&mut self, origin: Option<Arc<Origin>>, profiles: &mut ConnectProfiles) -> bool {
        fn allows(origin: Option<&Origin>) -> Option<(&BTreeSet<ResourceKind>, &BTreeSet<String>)> {
            origin.map(|origin| (&origin.kinds, &origin.organizations))
        }
        let is_same = allows(self.origin.as_deref()) == allows(origin.as_deref());
        self.origin = origin;
        if is_same {
            return false;
        }
        let mut touched = Touched::default();
        let barred = std::mem::take(&mut self.barred).into_iter().map(|(key, (bytes, _))| (key, bytes));
        let allowed = self.versions.received().iter().filter(|(key, _)| self.judge(key).is_err());
        let again: Vec<_> = allowed.map(|(key, bytes)| (key.clone(), bytes.clone())).chain(barred).collect();
        for (key, bytes) in again {
            self.upsert(key, bytes, profiles, &mut touched);
        }
        self.settle(touched);
        true
    }

    /// Whether a key may be in the scope at all.
    fn judge(&self, key: &str) -> Result<(), Unusable> {
        match ResourceKind::of_key(key) {
            Some(kind) if self.table.scope.is_local() => {
                allowed::judge_key(self.origin.as_deref(), key, kind)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Brings what needs something that changed in line with it.
    fn settle(&mut self, touched: Touched) {
        for key in touched.routes {
            let settled = self.routes.settle(&key, &self.versions, &mut self.table);
            self.settled(key, settled, "route cannot be used; its last good version stays");
        }
        for key in touched.subscriptions {
            let settled = self.subscriptions.settle(&key, &self.versions, &mut self.table.callers);
            self.settled(key, settled, "subscription keeps its last limit, or has none");
        }
        if touched.shifts {
            self.table.shifts = Shifts::of(&self.shifts).map(Arc::new);
        }
        self.routes.forget_stats();
    }

    /// Has these versions not be used from now on, though nothing is wrong with them that can be seen.
    pub fn set_poisoned(&mut self, poisoned: BTreeMap<Key, ValueHash>) {
        self.poisoned = poisoned;
    }

    fn is_poisoned(&self, key: &str, bytes: &Bytes) -> bool {
        self.poisoned.get(key).is_some_and(|hash| Sha256::digest(bytes)[..] == *hash)
    }

    fn upsert(&mut self, key: Key, bytes: Bytes, profiles: &mut ConnectProfiles, touched: &mut Touched) {
        if let Err(reason) = self.judge(&key) {
            self.remove(&key, profiles, touched);
            self.barred.insert(key, (bytes, reason));
            return;
        }
        self.barred.remove(&key);
        let used = match ResourceKind::of_key(&key) {
            _ if self.is_poisoned(&key, &bytes) => Err(Unusable::new("", POISONED)),
            None => Ok(()), // of a later version: nothing here needs it
            Some(kind) => hanse_runtime::check(kind, &bytes)
                .and_then(|resource| match self.table.scope.is_local() {
                    true => allowed::judge_content(&key, &resource).map(|()| resource),
                    false => Ok(resource),
                })
                .map(|resource| self.take_in(&key, &bytes, resource, profiles, touched)),
        };
        if let Err(reason) = &used {
            tracing::warn!(scope = %self.table.scope, %key, %reason, "resource cannot be used; its last good version stays");
        }
        if ResourceKind::of_key(&key) == Some(ResourceKind::Route) && !self.table.scope.is_local() {
            self.routes.keep(&key, used.is_err().then_some(&bytes), &mut self.table);
        }
        self.versions.insert(key, bytes, used);
    }

    /// Compiles one resource.
    fn take_in(
        &mut self,
        key: &Key,
        bytes: &Bytes,
        resource: Resource,
        profiles: &mut ConnectProfiles,
        touched: &mut Touched,
    ) {
        #[cfg(test)]
        crate::testbed::meet(bytes);
        match resource {
            Resource::Listener(listener) => {
                self.table.listener = Some(Arc::new(listener));
                self.table.places += 1;
            }
            Resource::Upstream(upstream) => {
                let id = UpstreamId::new(&self.table.scope, key);
                let upstream = Upstream::new(&id, upstream, profiles);
                self.routes.set_upstream(key, upstream, &mut touched.routes);
            }
            Resource::Route(route) => {
                self.routes.insert(key, bytes.clone(), ApiRoutes::new(route));
                touched.routes.insert(key.clone());
            }
            Resource::Plan(plan) => self.subscriptions.set_plan(key, &plan, &mut touched.subscriptions),
            Resource::Credential(credential) => {
                let (digest, caller) = (credential.digest, Arc::new(Caller::new(&credential)));
                if let Some(before) = self.credentials.insert(key.clone(), digest)
                    && before != digest
                {
                    let holder = self.credential_claims.withdraw(&before, key);
                    self.table.callers.set_key(before, holder);
                }
                let holder = self.credential_claims.claim(digest, key, caller);
                self.table.callers.set_key(digest, Some(holder));
            }
            Resource::Subscription(subscription) => {
                self.subscriptions.insert(key, bytes.clone(), &subscription, &mut self.table.callers);
                touched.subscriptions.insert(key.clone());
            }
            Resource::Endpoints(set) => profiles.sets.insert(SetId::new(&self.table.scope, key), set),
            // No scope that a gateway follows has one.
            Resource::Secret(_) | Resource::Neighbour(_) | Resource::Zone(_) | Resource::GlobalHost(_) => {}
            // One that cannot be used leaves its last good version in force. Where there was none, this region serves the host.
            Resource::Shift(shift) => {
                self.shifts.insert(key.clone(), shift);
                touched.shifts = true;
            }
            // It says who may publish, and what of it is used.
            Resource::Origin(origin) => drop(self.origins.insert(key.clone(), Arc::new(origin))),
        }
    }

    fn remove(&mut self, key: &Key, profiles: &mut ConnectProfiles, touched: &mut Touched) {
        self.versions.remove(key);
        self.dangling.remove(key);
        self.barred.remove(key);
        match ResourceKind::of_key(key) {
            None
            | Some(
                ResourceKind::Secret
                | ResourceKind::Neighbour
                | ResourceKind::Zone
                | ResourceKind::GlobalHost,
            ) => {}
            Some(ResourceKind::Shift) => touched.shifts |= self.shifts.remove(key).is_some(),
            Some(ResourceKind::Endpoints) => profiles.sets.remove(SetId::new(&self.table.scope, key)),
            Some(ResourceKind::Origin) => drop(self.origins.remove(key)),
            Some(ResourceKind::Listener) => {
                self.table.listener = None;
                self.table.places += 1;
            }
            Some(ResourceKind::Upstream) => self.routes.remove_upstream(key, &mut touched.routes),
            Some(ResourceKind::Route) => {
                self.routes.keep(key, None, &mut self.table);
                self.routes.remove(key, &mut self.table);
            }
            Some(ResourceKind::Plan) => self.subscriptions.remove_plan(key, &mut touched.subscriptions),
            Some(ResourceKind::Credential) => {
                if let Some(digest) = self.credentials.remove(key) {
                    let holder = self.credential_claims.withdraw(&digest, key);
                    self.table.callers.set_key(digest, holder);
                }
            }
            Some(ResourceKind::Subscription) => self.subscriptions.remove(key, &mut self.table.callers),
        }
    }

    /// Notes whether what a resource needs is there. `None`: there is no such resource any more.
    fn settled(&mut self, key: Key, settled: Option<Result<(), Unusable>>, otherwise: &str) {
        match settled {
            None => {}
            Some(Ok(())) => drop(self.dangling.remove(&key)),
            Some(Err(reason)) => {
                tracing::warn!(scope = %self.table.scope, %key, %reason, "{otherwise}");
                self.dangling.insert(key, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
