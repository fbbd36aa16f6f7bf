//! A configuration that ends its consumer is used a few times and no more.
//!
//! A version of a key is *proven* once a consumer has served with it for [`PROVEN_AFTER`]. The store keeps the last proven version of
//! each key beside the present one. Where a process ended [`UNCLEAN_ENDS`] times before it came so far, the versions that are
//! not proven are held back as *poisoned* until their bytes change, and the proven ones are used in their place.
//!
//! Example: a Plan arrives that makes every gateway of this release abort. The gateway's first three starts end like the process
//! before them. The fourth serves the Plan as it was before, and everything else as it is now.
//!
//! What ended a process before it was on disk could not be told at the next start from what arrives later. So after one unclean end
//! the consumer waits until what arrives is on disk ([`Proof::kept`]), until it has served for [`PROVEN_AFTER`]. Where nothing is
//! proven, there is nothing to go back to, and the newest is used.

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
use hanse_store::{KeyNote, Store, Transaction};
use hanse_sync::{Replica, ReplicaMap};
use hanse_topology::{Position, ScopeId};
use parking_lot::Mutex;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use prost::Message as _;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::Replicas;
use scope::ScopeProof;
pub use scope::{Poisoned, ValueHash};

/// How long a consumer serves with a version until that is proven: what a version does to a process by traffic shows within
/// minutes.
pub const PROVEN_AFTER: Duration = Duration::from_secs(5 * 60);
/// How often the process may end before that. One end may be a machine's, two a coincidence.
pub const UNCLEAN_ENDS: u32 = 3;
/// How long a start waits until its number is on disk: a disk that is slower than that must not keep a gateway from serving.
const COUNTED_WITHIN: Duration = Duration::from_millis(300);
/// The fact that says how often the process ended before anything was proven.
const FACT: &str = "unclean-ends";

/// Which versions of what a node holds are proven. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Proof {
    inner: Arc<Mutex<Inner>>,
    store: Option<Store>,
    /// Where what is on disk stands.
    durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
    after: Duration,
}

#[derive(Debug)]
struct Inner {
    scopes: BTreeMap<ScopeId, ScopeProof>,
    /// How many processes in a row ended before they had served for long enough, up to this one; 0 once it has.
    ends: u32,
    /// Since when the consumer serves.
    serving_since: Instant,
    metrics: ProofMetrics,
}

/// How much of what a node holds is not proven.
#[derive(Debug, Clone, Default)]
struct ProofMetrics {
    unproven: Gauge,
    poisoned: Gauge,
}

impl Proof {
    /// Of a node whose store and replicas were opened just now. Counts this start as an end that is not clean until it turns out
    /// to be: on disk, so that it also counts where the next instruction ends the process.
    pub async fn open(
        store: &Store,
        replicas: &Replicas,
        durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
        after: Duration,
    ) -> Self {
        let now = Instant::now();
        let before = store.fact(FACT).and_then(|fact| UncleanEnds::decode(fact).ok());
        let ends = before.map_or(0, |fact| fact.count);
        let restored = |scope: &ScopeId, replica: &Replica| {
            let notes = |what| store.key_notes(what, scope);
            let (proven, poisoned) = (notes(KeyNote::Proven), notes(KeyNote::Poisoned));
            Some((scope.clone(), ScopeProof::restored(replica, replica.seen()?, proven, poisoned, now)))
        };
        let scopes = replicas.read(|map| map.iter().filter_map(|(scope, it)| restored(scope, it)).collect());
        let mut inner = Inner { scopes, ends, serving_since: now, metrics: ProofMetrics::default() };
        if ends >= UNCLEAN_ENDS {
            error!(ends, "processes before this one ended before their configuration was proven");
            replicas.read(|map| inner.hold(map));
        }
        inner.count();
        let proof = Self { inner: Arc::new(Mutex::new(inner)), store: Some(store.clone()), durable, after };
        proof.count(ends.saturating_add(1)).await;
        proof
    }

    /// Of a hub without a store.
    pub fn unkept(after: Duration) -> Self {
        let (scopes, metrics) = (BTreeMap::new(), ProofMetrics::default());
        let inner = Inner { scopes, ends: 0, serving_since: Instant::now(), metrics };
        let (inner, durable) = (Arc::new(Mutex::new(inner)), watch::channel(BTreeMap::new()).1);
        Self { inner, store: None, durable, after }
    }

    /// How long a version is served with until it is proven.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// Where what may be used stands; `None`: all may be. A process before this one ended too early: what is used is on disk first.
    pub fn kept(&self) -> Option<watch::Receiver<BTreeMap<ScopeId, Position>>> {
        let inner = self.inner.lock();
        (inner.ends > 0).then(|| self.durable.clone())
    }

    /// Registers how much is not proven, and how much of that is held back.
    pub fn register(&self, registry: &mut Registry) {
        let ProofMetrics { unproven, poisoned } = self.inner.lock().metrics.clone();
        let registry = registry.sub_registry_with_prefix("hanse_config");
        registry.register("unproven", "Resources that were not served for five minutes yet", unproven);
        registry.register("poisoned", "Resources held back because processes ended with them", poisoned);
    }

    /// Takes in what the replicas hold now. To be called before a consumer compiles that.
    pub fn observe(&self, map: &ReplicaMap) {
        self.inner.lock().observe(map, Instant::now());
    }

    /// The versions of a scope that are not to be used.
    pub fn poisoned(&self, scope: &ScopeId) -> BTreeMap<Arc<str>, Poisoned> {
        self.inner.lock().scopes.get(scope).map(ScopeProof::poisoned).unwrap_or_default()
    }

    /// Holds back every version that is not proven: the consumer cannot use what there is. Whether that changes anything.
    pub fn hold(&self, map: &ReplicaMap) -> bool {
        self.inner.lock().hold(map) > 0
    }

    /// Proves what has been in use for long enough; to be called every now and then. `serves`: whether the consumer has in use what
    /// was observed.
    pub fn prove(&self, map: &ReplicaMap, serves: bool) {
        if self.inner.lock().prove(map, serves, Instant::now(), self.after) {
            self.set_count(1);
        }
        self.note(map);
    }

    /// Has the store keep what is to be kept beside the content of these replicas.
    pub(crate) fn note(&self, map: &ReplicaMap) {
        let Some(store) = &self.store else { return };
        let mut inner = self.inner.lock();
        inner.observe(map, Instant::now());
        for (scope, proof) in inner.scopes.iter_mut().filter(|(_, proof)| !proof.is_noted) {
            store.set_key_notes(KeyNote::Proven, scope, proof.notes_of_proven());
            store.set_key_notes(KeyNote::Poisoned, scope, proof.notes_of_poisoned());
            proof.is_noted = true;
        }
    }

    /// The process ends in order. Kept with the next transaction.
    pub(crate) fn ends_in_order(&self) {
        self.set_count(0);
    }

    /// The process ends before it served anything, and for another reason than its content: this start does not count.
    pub async fn withdraw(&self) {
        let ends = self.inner.lock().ends;
        self.count(ends).await;
    }

    fn set_count(&self, count: u32) {
        let fact = (count > 0).then(|| Bytes::from(UncleanEnds { count }.encode_to_vec()));
        if let Some(store) = &self.store {
            store.set_fact(FACT, fact);
        }
    }

    async fn count(&self, count: u32) {
        self.set_count(count);
        let Some(store) = &self.store else { return };
        let kept = store.commit(Transaction::default(), store.unkept_notes());
        if !matches!(tokio::time::timeout(COUNTED_WITHIN, kept).await, Ok(Ok(()))) {
            warn!("this start is not on disk; if its configuration ends it, that end may not count");
        }
    }
}

impl Inner {
    fn observe(&mut self, map: &ReplicaMap, now: Instant) {
        self.scopes.retain(|scope, _| map.contains_key(scope));
        for (scope, replica) in map {
            let Some(seen) = replica.seen() else { continue };
            match self.scopes.get_mut(scope) {
                Some(proof) => proof.observe(replica, seen, now),
                None => drop(self.scopes.insert(scope.clone(), ScopeProof::new(replica, seen, now))),
            }
        }
        self.count();
    }

    fn hold(&mut self, map: &ReplicaMap) -> usize {
        let mut all = 0;
        for (scope, proof) in &mut self.scopes {
            let held = map.get(scope).map_or(0, |replica| proof.hold(replica));
            if held > 0 {
                error!(%scope, resources = held, "resources are poisoned; their proven versions are used until they change");
            }
            all += held;
        }
        self.count();
        all
    }

    /// Whether the process has served for so long that those before it do not count any more.
    fn prove(&mut self, map: &ReplicaMap, serves: bool, now: Instant, after: Duration) -> bool {
        self.observe(map, now);
        if !serves {
            self.serving_since = now;
            self.scopes.values_mut().for_each(|proof| proof.restart(now));
            return false;
        }
        for (scope, proof) in &mut self.scopes {
            if let Some(replica) = map.get(scope) {
                proof.prove(replica, now, after);
            }
        }
        self.count();
        let has_served = now.saturating_duration_since(self.serving_since) >= after;
        has_served && std::mem::take(&mut self.ends) > 0
    }

    fn count(&self) {
        let sum = |of: fn(&ScopeProof) -> usize| self.scopes.values().map(of).sum::<usize>() as i64;
        self.metrics.unproven.set(sum(ScopeProof::unproven));
        self.metrics.poisoned.set(sum(ScopeProof::held_back));
    }
}
