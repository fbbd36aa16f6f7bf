//! What the gateway serves, compiled for lookup: environments by host, Apis by host and context, operations by path.
//!
//! A table is immutable. [`index::ScopeIndex`] keeps one environment up to date change by change; a new
//! [`RoutingTable`] shares everything with the old one but what changed.

mod api;
mod callers;
mod contexts;
mod hosts;
pub mod index;
mod map;
mod operations;
mod path;
mod readings;
mod retry;
mod upstream;

use std::{collections::BTreeMap, sync::Arc};

use hanse_runtime::{Egress, Listener, plain};
use hanse_topology::{Name, ScopeId};

pub use api::{ApiRoutes, Operation};
pub use callers::{Caller, Callers, Grant, KeyDigest, digest};
pub use operations::Methods;
#[cfg(test)]
pub(crate) use operations::naive;
pub use path::{BadPath, RequestPath, canonical_after};
pub use readings::readings;
pub use retry::{Tried, is_idempotent};
pub use upstream::{ConnectProfile, ConnectProfiles, Endpoint, Upstream, UpstreamId};

use contexts::ContextMap;
use hosts::HostMap;

use crate::metrics::ApiStats;

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
pub struct EnvironmentTable {
    /// The scope it was made from.
    pub scope: ScopeId,
    /// What the environment accepts; `None`: nothing yet.
    listener: Option<Arc<Listener>>,
    apis: HostMap<ContextMap<Arc<Served>>>,
    callers: Callers,
}

/// A route with the upstream it uses now.
#[derive(Debug)]
pub struct Served {
    /// The route.
    pub routes: Arc<ApiRoutes>,
    /// Its upstream; `None`: the scope has none of that key.
    pub upstream: Option<Arc<Upstream>>,
    /// Counts its requests.
    pub stats: Arc<ApiStats>,
}

impl RoutingTable {
    /// A table of these environments. Of two that claim the same host the first stays.
    pub fn new(environments: Vec<Arc<EnvironmentTable>>) -> Self {
        let mut table = Self::default();
        for environment in &environments {
            let Some(listener) = &environment.listener else { continue };
            for (accepts, hosts) in [(listener.http, &mut table.http), (listener.https, &mut table.https)] {
                for pattern in listener.hosts.iter().filter(|_| accepts) {
                    match hosts.at(pattern) {
                        None => hosts.set(pattern, Some(environment.clone())),
                        Some(first) => tracing::warn!(
                            scope = %environment.scope, ?pattern, first = %first.scope,
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
            let listener = environment.listener.as_ref()?;
            Some((environment.scope.environment()?.clone(), &listener.egress))
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
        hosts.find(host, Some)
    }
}

impl EnvironmentTable {
    /// The Api for a host and canonical path: of the most special host that has a fitting context, the longest one. Segments
    /// are compared with a context without their parameters. A request that an Organization owns is answered by its Apis only, as if
    /// there were no others.
    pub fn api(&self, host: &str, path: &[u8]) -> Option<&Arc<Served>> {
        let plain = plain(path);
        match self.owner_of_plain(host, &plain) {
            None => self.apis.find(host, |contexts| contexts.find(&plain, |_| true)),
            Some(owner) => self.own(owner, host, &plain),
        }
    }

    /// The same among the Apis of one Organization, as if there were neither others nor grants.
    pub fn api_of(&self, organization: &str, host: &str, path: &[u8]) -> Option<&Arc<Served>> {
        self.own(organization, host, &plain(path))
    }

    /// The same of a path whose segments are without their parameters.
    fn own(&self, organization: &str, host: &str, path: &[u8]) -> Option<&Arc<Served>> {
        let is_own = |served: &Arc<Served>| *served.routes.organization == *organization;
        self.apis.find(host, |contexts| contexts.find(path, is_own))
    }

    /// The Organization that owns a request, if any does.
    pub fn owner(&self, host: &str, path: &[u8]) -> Option<&str> {
        self.owner_of_plain(host, &plain(path))
    }

    /// The same of a path whose segments are without their parameters.
    fn owner_of_plain(&self, host: &str, path: &[u8]) -> Option<&str> {
        let grants =
            self.listener.as_ref().map(|listener| &listener.grants).filter(|grants| !grants.is_empty());
        grants?.owner(host, path).map(|grant| &*grant.organization)
    }

    /// Who may call.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }
}
