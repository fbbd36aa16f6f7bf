//! Every endpoint and upstream in use, each once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use hanse_runtime::Egress;
use hanse_topology::Name;
use http::{HeaderValue, Uri};
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{CheckSettings, EjectionSettings, EndpointHealth, Ongoing, Standing};
use crate::{
    egress::{EgressGuard, OwnListeners},
    table::{ConnectProfile, UpstreamId},
    weak::WeakMap,
};

/// What makes two endpoints one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    /// Whose it is: what others say of the same address is not taken for it, nor are they asked on its account.
    pub upstream: UpstreamId,
    /// As in the configuration.
    pub url: String,
    /// The connect profile's.
    pub profile: u64,
    /// How it is asked.
    pub check: Option<CheckSettings>,
    /// When it is ejected.
    pub ejection: EjectionSettings,
    /// The `Host` that it gets, where that is not its own.
    pub named_host: Option<HeaderValue>,
}

/// Whom checks ask.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `scheme://authority/`.
    pub origin: Uri,
    /// The `Host` of checks.
    pub host: HeaderValue,
    /// How to connect.
    pub profile: Arc<ConnectProfile>,
}

/// Whom and how to ask.
#[derive(Debug, Clone)]
pub(super) struct CheckTarget {
    pub(super) endpoint: Weak<EndpointHealth>,
    /// Once the endpoint is no more.
    pub(super) gone: CancellationToken,
    pub(super) settings: CheckSettings,
    /// On whose account.
    pub(super) upstream: UpstreamId,
    pub(super) asked: Asked,
}

/// Every endpoint in use, and what upstreams have under way. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Endpoints(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    made: AtomicU64,
    inner: Mutex<Inner>,
    arrived: Notify,
    own_listeners: OwnListeners,
}

#[derive(Debug, Default)]
struct Inner {
    known: WeakMap<EndpointKey, EndpointHealth>,
    ongoing: WeakMap<UpstreamId, Ongoing>,
    /// Of environments; `None`: of scopes that are of none.
    egress: WeakMap<Option<Name>, EgressGuard>,
    /// To be asked from now on.
    unchecked: Vec<CheckTarget>,
}

/// One endpoint, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSummary {
    url: Box<str>,
    /// How it stands.
    pub health: Standing,
    /// What the last check found; absent where there are no checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_check: Option<String>,
    /// What the last request that failed came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<&'static str>,
}

impl Endpoints {
    /// A number that nothing else of the process has.
    pub fn next_id(&self) -> u64 {
        self.0.made.fetch_add(1, Ordering::Relaxed)
    }

    /// The endpoint of that key: the one there is, with its health, or a new one that counts as healthy.
    pub fn get(&self, key: EndpointKey, asked: impl FnOnce() -> Asked) -> Arc<EndpointHealth> {
        let mut inner = self.lock();
        if let Some(known) = inner.known.get(&key) {
            return known;
        }
        let mut made = EndpointHealth::new(self.next_id(), &key.url, key.ejection);
        let gone = CancellationToken::new();
        made.ends_checks = key.check.is_some().then(|| gone.clone().drop_guard());
        let made = Arc::new(made);
        if let Some(settings) = key.check.clone() {
            inner.unchecked.push(CheckTarget {
                endpoint: Arc::downgrade(&made),
                gone,
                settings,
                upstream: key.upstream.clone(),
                asked: asked(),
            });
            self.0.arrived.notify_one();
        }
        inner.known.insert(key, &made);
        made
    }

    /// What an upstream has under way: as long as any table has it, the same.
    pub fn ongoing(&self, upstream: &UpstreamId) -> Arc<Ongoing> {
        let mut inner = self.lock();
        inner.ongoing.get(upstream).unwrap_or_else(|| {
            let made = Arc::default();
            inner.ongoing.insert(upstream.clone(), &made);
            made
        })
    }

    /// Where connections of an environment may go: as long as anything of the environment is in use, the same. Nothing is allowed until
    /// its rules are enforced.
    pub fn egress(&self, environment: Option<&Name>) -> Arc<EgressGuard> {
        let mut inner = self.lock();
        let environment = environment.cloned();
        inner.egress.get(&environment).unwrap_or_else(|| {
            let made = Arc::new(EgressGuard::new(self.own_listeners().clone()));
            inner.egress.insert(environment, &made);
            made
        })
    }

    /// Has these rules of environments hold from now on. Other environments may connect nowhere.
    pub(crate) fn enforce(&self, rules: &BTreeMap<Name, &Egress>) {
        for (environment, guard) in self.lock().egress.entries() {
            guard.set(environment.as_ref().and_then(|name| rules.get(name)).copied());
        }
    }

    /// The listeners of the process, to which no connection goes.
    pub fn own_listeners(&self) -> &OwnListeners {
        &self.0.own_listeners
    }

    /// Endpoints that no check asks yet, once there are any.
    pub(super) async fn unchecked(&self) -> Vec<CheckTarget> {
        loop {
            let taken = std::mem::take(&mut self.lock().unchecked);
            if !taken.is_empty() {
                return taken;
            }
            self.0.arrived.notified().await;
        }
    }

    /// How many stand how.
    pub fn standings(&self, now: u64) -> [(Standing, u64); 3] {
        let mut counts = Standing::ALL.map(|standing| (standing, 0));
        for endpoint in self.in_use() {
            counts[endpoint.standing(now) as usize].1 += 1;
        }
        counts
    }

    /// Each endpoint in use, for people, in the order of URLs.
    pub fn summary(&self, now: u64) -> Vec<EndpointSummary> {
        let sorted: BTreeMap<(Box<str>, u64), Arc<EndpointHealth>> =
            self.in_use().into_iter().map(|one| ((one.url.clone(), one.id), one)).collect();
        sorted.into_values().map(|one| one.summary(now)).collect()
    }

    fn in_use(&self) -> Vec<Arc<EndpointHealth>> {
        self.lock().known.values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointHealth {
    fn summary(&self, now: u64) -> EndpointSummary {
        let (last_check, last_failure) = self.reasons();
        EndpointSummary { url: self.url.clone(), health: self.standing(now), last_check, last_failure }
    }
}
