//! What the gateway serves, compiled for lookup: environments by host, Apis by host and context, operations by path.
//!
//! A table is immutable. [`index::ScopeIndex`] keeps one scope up to date change by change; a new [`RoutingTable`] shares everything
//! with the old one but what changed. An [`EnvironmentTable`] is the scope that the control plane makes with those that Origins add.

mod api;
mod callers;
mod contexts;
mod environment;
mod hosts;
pub mod index;
mod map;
mod operations;
mod path;
mod readings;
mod retry;
mod sets;
mod upstream;

use std::{collections::BTreeMap, sync::Arc};

use hanse_runtime::{Area, Egress, HostPattern, Listener};
use hanse_topology::{Name, ScopeId};
use http::StatusCode;

pub use api::{ApiRoutes, Operation};
pub use callers::{Caller, Callers, Grant, KeyDigest, OwnedId, digest};
pub use environment::EnvironmentTable;
pub use operations::Methods;
#[cfg(test)]
pub(crate) use operations::naive;
pub use path::{BadPath, RequestPath, canonical_after};
pub use readings::readings;
pub use retry::{Tried, is_idempotent};
pub use sets::{EndpointSets, SetId};
pub use upstream::{ConnectProfile, ConnectProfiles, Endpoint, Lack, Upstream, UpstreamId};

use contexts::ContextMap;
use hosts::HostMap;

use crate::metrics::{ApiStats, HostStats};

/// How a client speaks to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Protocol {
    /// As in `X-Forwarded-Proto`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Everything the gateway serves.
#[derive(Debug, Default)]
pub struct RoutingTable {
    environments: Vec<Arc<EnvironmentTable>>,
    http: HostMap<Arc<EnvironmentTable>>,
    https: HostMap<Arc<EnvironmentTable>>,
}

/// What one scope serves.
#[derive(Debug, Clone)]
pub struct ScopeTable {
    /// The scope it was made from.
    pub scope: ScopeId,
    /// What the environment accepts; `None`: nothing yet.
    listener: Option<Arc<Listener>>,
    apis: Places,
    /// Places of routes that the gateway cannot use: each is blocked.
    kept: Places,
    callers: Callers,
    /// Changes whenever a route or the listener does.
    places: u64,
}

/// Routes by host and context.
type Places = HostMap<ContextMap<Holders>>;

/// The routes at one place: one of each Organization, by key.
type Holders = Arc<[Arc<Served>]>;

/// A route with the upstream it uses now.
#[derive(Debug)]
pub struct Served {
    /// Its key in the scope.
    pub key: Arc<str>,
    /// The route.
    pub routes: Arc<ApiRoutes>,
    /// Its upstream; `None`: the scope has none of that key.
    pub upstream: Option<Arc<Upstream>>,
    /// Counts its requests.
    pub stats: Arc<ApiStats>,
    /// Counts them by host pattern, in the order of the route's hosts.
    pub by_host: Box<[Arc<HostStats>]>,
}

impl Served {
    /// Counts one answered request, for the host at this place among the route's hosts.
    pub fn count(&self, worker: usize, status: StatusCode, host: usize) {
        self.stats.count(worker, status);
        if let Some(stats) = self.by_host.get(host) {
            stats.count(worker);
        }
    }
}

impl RoutingTable {
    /// A table of these scopes. A local one adds to its environment, and serves nothing without that. Of two environments that claim the same
    /// host the first stays.
    pub fn new(scopes: Vec<Arc<ScopeTable>>) -> Self {
        let (locals, controls): (Vec<_>, Vec<_>) =
            scopes.into_iter().partition(|table| table.scope.is_local());
        let environments = controls.into_iter().map(|control| {
            let adds = |local: &&Arc<ScopeTable>| local.scope.adds_to().as_ref() == Some(&control.scope);
            let locals = locals.iter().filter(adds).cloned().collect();
            Arc::new(EnvironmentTable::new(control, locals))
        });
        let environments: Vec<_> = environments.collect();
        let mut table = Self::default();
        for environment in &environments {
            let Some(listener) = &environment.control().listener else { continue };
            for (accepts, hosts) in [(listener.http, &mut table.http), (listener.https, &mut table.https)] {
                for pattern in listener.hosts.iter().filter(|_| accepts) {
                    match hosts.at(pattern) {
                        None => hosts.set(pattern, Some(environment.clone())),
                        Some(first) => tracing::warn!(
                            scope = %environment.scope(), ?pattern, first = %first.scope(),
                            "two environments claim one host on this gateway; the first keeps it"
                        ),
                    }
                }
            }
        }
        table.environments = environments;
        table
    }

    /// Where gateways may connect, by environment. An environment without a Listener is not in it.
    pub fn egress(&self) -> BTreeMap<Name, &Egress> {
        let rules = self.environments.iter().filter_map(|environment| {
            let listener = environment.control().listener.as_ref()?;
            Some((environment.scope().environment()?.clone(), &listener.egress))
        });
        rules.collect()
    }

    /// Whether there is a configuration at all.
    pub fn is_configured(&self) -> bool {
        !self.environments.is_empty()
    }

    /// The environment for `host` (lower case, no port).
    pub fn environment(&self, protocol: Protocol, host: &str) -> Option<&Arc<EnvironmentTable>> {
        let hosts = match protocol {
            Protocol::Http => &self.http,
            Protocol::Https => &self.https,
        };
        hosts.find(host, Some).map(|(_, environment)| environment)
    }

    /// For each host at which a route of a local scope does not answer, why.
    pub fn lost<'a>(
        &'a self,
        local: &ScopeId,
        served: &'a Arc<Served>,
    ) -> impl Iterator<Item = String> + use<'a> {
        let environment = self.environments.iter().find(|environment| environment.adds(local));
        served.routes.hosts.iter().filter_map(move |pattern| {
            let environment = environment?;
            if self.gets_requests(environment, pattern) {
                return environment.lost(served, pattern);
            }
            let place = Area { host: pattern.clone(), context: served.routes.context.clone() };
            Some(format!("{place} is at no host of the Environment on this gateway"))
        })
    }

    /// Whether an environment gets requests for any host of a pattern.
    fn gets_requests(&self, environment: &Arc<EnvironmentTable>, pattern: &HostPattern) -> bool {
        let listener = environment.control().listener.as_ref();
        let mut accepted = listener.into_iter().flat_map(|listener| &listener.hosts);
        accepted.any(|accepted| {
            let keeps = |hosts: &HostMap<Arc<EnvironmentTable>>| {
                hosts.at(accepted).is_some_and(|found| Arc::ptr_eq(found, environment))
            };
            accepted.common(pattern).is_some() && (keeps(&self.http) || keeps(&self.https))
        })
    }
}
