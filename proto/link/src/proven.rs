//! A configuration that ends its consumer is used a few times and no more.
//!
//! A version of a key is *proven* once a consumer has served with it for [`PROVEN_AFTER`]. The store keeps the last proven version of
//! each key beside the present one. After [`UNCLEAN_ENDS`] processes in a row that ended out of order, the versions that are not
//! proven are held back as *poisoned* until their bytes change, and the proven ones are used in their place.
//!
//! Example: a Plan arrives that makes every gateway of this release abort. The gateway that received it ends, and so do its next two
//! starts. The third start serves the Plan as it was before, and everything else as it is now.
//!
//! A version that ends a process before it is on disk is not known at the next start. So after one such end the consumer waits until what
//! arrives is on disk ([`ProvenVersions::kept`]), until it has served for [`PROVEN_AFTER`]. Where nothing is proven, there is nothing to
//! go back to, and the newest is used.

mod scope;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_proto::store::UncleanEnds;
use hanse_store::{KeyNote, Store};
use hanse_sync::{Replica, ReplicaMap};
use hanse_topology::{Position, ScopeId};
use parking_lot::Mutex;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use prost::Message as _;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::Replicas;
use scope::ScopeVersions;
pub use scope::{HeldBack, ValueHash};

/// How long a consumer serves with a version until that is proven: what a version does to a process by traffic shows within
/// minutes.
pub const PROVEN_AFTER: Duration = Duration::from_secs(5 * 60);
/// How many processes in a row may end out of order before that. One end may be a machine's, two a coincidence.
pub const UNCLEAN_ENDS: u32 = 3;
/// How long a start waits until it is counted on disk: a disk that is slower must not keep a gateway from serving.
const COUNTED_WITHIN: Duration = Duration::from_millis(300);
/// How often it is looked whether that is done.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// The fact that says how many processes in a row ended out of order.
const FACT: &str = "unclean-ends";

/// Where what is on disk stands.
pub type Durable = watch::Receiver<BTreeMap<ScopeId, Position>>;

/// Which versions of what a node holds are proven. Cloning shares it.
#[derive(Debug, Clone)]
pub struct ProvenVersions {
    inner: Arc<Mutex<Inner>>,
    store: Option<Store>,
    durable: Durable,
    after: Duration,
}

#[derive(Debug)]
struct Inner {
    scopes: BTreeMap<ScopeId, ScopeVersions>,
    /// How many processes in a row ended out of order before this one; 0 once this one has served for long enough.
    ends: u32,
    /// Since when the consumer serves.
    serving_since: Instant,
    metrics: ProvenMetrics,
    may_hold: fn(&str) -> bool,
}

/// How much of what a node holds is not proven.
#[derive(Debug, Clone, Default)]
struct ProvenMetrics {
    unproven: Gauge,
    poisoned: Gauge,
}

impl ProvenVersions {
    /// Of a node whose store and replicas were opened just now. `may_hold`: whether versions of a key may be held back.
    pub fn open(
        store: &Store,
        replicas: &Replicas,
        durable: Durable,
        after: Duration,
        may_hold: fn(&str) -> bool,
    ) -> Self {
        let now = Instant::now();
        let before = store.fact(FACT).and_then(|fact| UncleanEnds::decode(fact).ok());
        let ends = before.map_or(0, |fact| fact.count);
        let restored = |scope: &ScopeId, replica: &Replica| {
            let notes = |what| store.key_notes(what, scope);
            let (proven, poisoned) = (notes(KeyNote::Proven), notes(KeyNote::Poisoned));
            Some((scope.clone(), ScopeVersions::restored(replica, replica.seen()?, proven, poisoned, now)))
        };
        let scopes = replicas.read(|map| map.iter().filter_map(|(scope, it)| restored(scope, it)).collect());
        let metrics = ProvenMetrics::default();
        let mut inner = Inner { scopes, ends, serving_since: now, metrics, may_hold };
        if ends >= UNCLEAN_ENDS {
            error!(ends, "processes before this one ended before their configuration was proven");
            inner.hold(ScopeVersions::hold_all);
        }
        inner.count();
        Self { inner: Arc::new(Mutex::new(inner)), store: Some(store.clone()), durable, after }
    }

    /// Of a hub without a store.
    pub fn unkept(after: Duration) -> Self {
        let (scopes, metrics) = (BTreeMap::new(), ProvenMetrics::default());
        let inner = Inner { scopes, ends: 0, serving_since: Instant::now(), metrics, may_hold: |_| true };
        let (inner, durable) = (Arc::new(Mutex::new(inner)), watch::channel(BTreeMap::new()).1);
        Self { inner, store: None, durable, after }
    }

    /// Counts this start as an end out of order until it turns out to be none, on disk, so that it also counts where the next
    /// instruction ends the process. Something must keep what the store is told.
    pub async fn count_start(&self) {
        let ends = self.inner.lock().ends;
        // Three ends were answered by holding back what there is. They count for nothing else.
        let before = if ends < UNCLEAN_ENDS { ends } else { 0 };
        self.set_count(before + 1);
        self.is_counted().await;
    }

    /// The process ends before it served anything, and for another reason than its content: this start does not count.
    pub async fn withdraw(&self) {
        let ends = self.inner.lock().ends;
        self.set_count(ends);
        self.is_counted().await;
    }

    /// How long a version is served with until it is proven.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// Where what may be used stands; `None`: all may be. A process before this one ended out of order, so what is used is on disk
    /// first.
    pub fn kept(&self) -> Option<Durable> {
        (self.inner.lock().ends > 0).then(|| self.durable.clone())
    }

    /// Registers how much is not proven, and how much of that is held back.
    pub fn register(&self, registry: &mut Registry) {
        let ProvenMetrics { unproven, poisoned } = self.inner.lock().metrics.clone();
        let registry = registry.sub_registry_with_prefix("hanse_config");
        registry.register(
            "unproven",
            "Keys whose last change was not served for five minutes yet, poisoned ones included",
            unproven,
        );
        registry.register("poisoned", "Resources held back because processes ended with them", poisoned);
    }

    /// Takes in what the replicas hold now. To be called before a consumer is given that.
    pub fn observe(&self, map: &ReplicaMap) {
        self.inner.lock().observe(map, Instant::now());
    }

    /// A consumer is about to be given a scope as it is: what of it is not to be used.
    pub fn give(&self, scope: &ScopeId) -> HeldBack {
        self.inner.lock().scopes.get_mut(scope).map(ScopeVersions::give).unwrap_or_default()
    }

    /// The consumer uses what it was given, as far as it has `tried` to.
    pub fn is_used(&self, tried: impl Fn(&ScopeId, &str) -> bool) {
        let now = Instant::now();
        for (scope, versions) in &mut self.inner.lock().scopes {
            versions.is_used(now, |key| tried(scope, key));
        }
    }

    /// Holds back what the consumer was given last and cannot use. Whether there is such a thing.
    pub fn hold(&self) -> bool {
        self.inner.lock().hold(|versions, may_hold| versions.hold_tried(false, may_hold)) > 0
    }

    /// The same, with what it was given before and may have tried only now. Whether there is such a thing.
    pub fn hold_with_untried(&self) -> bool {
        let mut inner = self.inner.lock();
        let has_untried = inner.scopes.values().any(ScopeVersions::has_untried);
        has_untried && inner.hold(|versions, may_hold| versions.hold_tried(true, may_hold)) > 0
    }

    /// Undoes that: it did not help.
    pub fn release(&self) {
        let mut inner = self.inner.lock();
        inner.scopes.values_mut().for_each(ScopeVersions::release_tried);
        inner.count();
    }

    /// Proves what has been in use for long enough; to be called every now and then. `uses`: whether the consumer uses a key as it was
    /// received; `None`: it serves nothing now.
    pub fn prove(&self, map: &ReplicaMap, uses: Option<impl Fn(&ScopeId, &str) -> bool>) {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        match uses {
            Some(uses) => {
                if inner.prove(map, uses, now, self.after) {
                    self.set_count(1);
                }
            }
            None => inner.restart(now),
        }
        self.note_all(&mut inner);
    }

    /// Has the store keep what is to be kept beside the content of these replicas.
    pub(crate) fn note(&self, map: &ReplicaMap) {
        let mut inner = self.inner.lock();
        inner.observe(map, Instant::now());
        self.note_all(&mut inner);
    }

    fn note_all(&self, inner: &mut Inner) {
        let Some(store) = &self.store else { return };
        for (scope, versions) in &mut inner.scopes {
            store.set_key_notes_of(scope, versions.take_notes());
        }
    }

    /// The process ends in order. Kept with the next transaction.
    pub(crate) fn ends_in_order(&self) {
        self.set_count(0);
    }

    fn set_count(&self, count: u32) {
        let fact = (count > 0).then(|| Bytes::from(UncleanEnds { count }.encode_to_vec()));
        if let Some(store) = &self.store {
            store.set_fact(FACT, fact);
        }
    }

    async fn is_counted(&self) {
        let Some(store) = &self.store else { return };
        let counted = async {
            while !store.is_fact_kept(FACT) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(COUNTED_WITHIN, counted).await.is_err() {
            warn!("this start is not counted on disk; if its configuration ends it, that may not count");
        }
    }
}

impl Inner {
    fn observe(&mut self, map: &ReplicaMap, now: Instant) {
        self.scopes.retain(|scope, _| map.contains_key(scope));
        for (scope, replica) in map {
            let Some(seen) = replica.seen() else { continue };
            match self.scopes.get_mut(scope) {
                Some(versions) => versions.observe(replica, seen, now),
                None => drop(self.scopes.insert(scope.clone(), ScopeVersions::new(replica, seen, now))),
            }
        }
        self.count();
    }

    fn hold(&mut self, hold: impl Fn(&mut ScopeVersions, fn(&str) -> bool) -> usize) -> usize {
        let mut all = 0;
        for (scope, versions) in &mut self.scopes {
            if scope.is_local() {
                versions.may_go_back_to_nothing();
            }
            let held = hold(versions, self.may_hold);
            if held > 0 {
                error!(%scope, resources = held, "resources are poisoned; their proven versions are used until they change");
            }
            all += held;
        }
        self.count();
        all
    }

    /// Whether the process has served for so long that those before it do not count any more.
    fn prove(
        &mut self,
        map: &ReplicaMap,
        uses: impl Fn(&ScopeId, &str) -> bool,
        now: Instant,
        after: Duration,
    ) -> bool {
        self.observe(map, now);
        for (scope, versions) in &mut self.scopes {
            if let Some(replica) = map.get(scope) {
                versions.prove(replica, |key| uses(scope, key), now, after);
            }
        }
        self.count();
        let has_served = now.saturating_duration_since(self.serving_since) >= after;
        has_served && std::mem::take(&mut self.ends) > 0
    }

    fn restart(&mut self, now: Instant) {
        self.serving_since = now;
        self.scopes.values_mut().for_each(|versions| versions.restart(now));
    }

    fn count(&self) {
        let sum = |of: fn(&ScopeVersions) -> usize| self.scopes.values().map(of).sum::<usize>() as i64;
        self.metrics.unproven.set(sum(ScopeVersions::unproven));
        self.metrics.poisoned.set(sum(ScopeVersions::poisoned));
    }
}
