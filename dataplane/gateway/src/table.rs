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
mod shifts;
mod upstream;

use std::{collections::BTreeMap, sync::Arc};

use hanse_runtime::{Area, Egress, HostPattern, Listener};
use hanse_topology::{Exposure, Name, ScopeId};
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
pub use shifts::Elsewhere;
pub use upstream::{ConnectProfile, ConnectProfiles, Endpoint, Lack, Upstream, UpstreamId};

use contexts::ContextMap;
use hosts::HostMap;
use shifts::Shifts;

use crate::metrics::{ApiStats, HostStats};

/// How a client speaks to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http, Self::Https];

    /// As in `X-Forwarded-Proto`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A way to the gateway: the protocol and the exposure of an entry.
pub type Face = (Protocol, Exposure);

/// Every face that a gateway may have.
pub const FACES: [Face; 4] = [
    (Protocol::Http, Exposure::External),
    (Protocol::Http, Exposure::Internal),
    (Protocol::Https, Exposure::External),
    (Protocol::Https, Exposure::Internal),
];

/// Everything the gateway serves.
#[derive(Debug, Default)]
pub struct RoutingTable {
    environments: Vec<Arc<EnvironmentTable>>,
    /// The faces of this gateway.
    faces: Box<[Face]>,
    /// What clients find that came by an external entry: no internal environment.
    external: Hosts,
    /// What clients find that came by an internal entry.
    internal: Hosts,
}

/// What clients of one exposure find.
#[derive(Debug, Default)]
struct Hosts {
    /// Whether there is any environment for them, found or not.
    is_configured: bool,
    http: HostMap<Arc<EnvironmentTable>>,
    https: HostMap<Arc<EnvironmentTable>>,
}

impl Hosts {
    fn of(&self, protocol: Protocol) -> &HostMap<Arc<EnvironmentTable>> {
        match protocol {
            Protocol::Http => &self.http,
            Protocol::Https => &self.https,
        }
    }

    fn of_mut(&mut self, protocol: Protocol) -> &mut HostMap<Arc<EnvironmentTable>> {
        match protocol {
            Protocol::Http => &mut self.http,
            Protocol::Https => &mut self.https,
        }
    }
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
    /// What other regions serve for this one; `None`: nothing. Requests look at it on their way, so it costs them no memory access.
    shifts: Option<Arc<Shifts>>,
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
    /// An Origin publishes it: it is served in this region alone.
    pub is_local: bool,
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
    /// A table of these scopes, for a gateway with these faces. A local scope adds to its environment, and serves nothing without that. Of two
    /// environments that claim the same host the first stays. Nothing but this says which environments there are for clients of an entry:
    /// none of them asks again.
    pub fn new(scopes: Vec<Arc<ScopeTable>>, faces: &[Face]) -> Self {
        let (locals, controls): (Vec<_>, Vec<_>) =
            scopes.into_iter().partition(|table| table.scope.is_local());
        let environments = controls.into_iter().map(|control| {
            let adds = |local: &&Arc<ScopeTable>| local.scope.adds_to().as_ref() == Some(&control.scope);
            let locals = locals.iter().filter(adds).cloned().collect();
            Arc::new(EnvironmentTable::new(control, locals))
        });
        let environments: Vec<_> = environments.collect();
        let mut table = Self { faces: faces.into(), ..Self::default() };
        for environment in &environments {
            let listener = environment.control().listener.as_ref();
            for exposure in Exposure::ALL {
                // One without a listener says nothing of itself.
                let is_there = listener.is_none_or(|listener| listener.exposure.is_served_at(exposure));
                table.hosts_mut(exposure).is_configured |= is_there;
            }
            for pattern in listener.into_iter().flat_map(|listener| &listener.hosts) {
                table.claim(faces, pattern, environment);
            }
        }
        table.environments = environments;
        table
    }

    /// Gives a host to an environment at every face that serves it, where no other has it.
    fn claim(&mut self, faces: &[Face], pattern: &HostPattern, environment: &Arc<EnvironmentTable>) {
        let mut told: Option<Arc<EnvironmentTable>> = None;
        for &(protocol, exposure) in faces.iter().filter(|face| is_served_at(environment, **face)) {
            let hosts = self.hosts_mut(exposure).of_mut(protocol);
            let Some(first) = hosts.at(pattern).cloned() else {
                hosts.set(pattern, Some(environment.clone()));
                continue;
            };
            if !told.as_ref().is_some_and(|told| Arc::ptr_eq(told, &first)) {
                tracing::warn!(
                    scope = %environment.scope(), ?pattern, first = %first.scope(), entries = %exposure,
                    "two environments claim one host on this gateway; the first keeps it"
                );
            }
            told = Some(first);
        }
    }

    /// Where gateways may connect, by environment. An environment without a Listener is not in it.
    pub fn egress(&self) -> BTreeMap<Name, &Egress> {
        let rules = self.environments.iter().filter_map(|environment| {
            let listener = environment.control().listener.as_ref()?;
            Some((environment.scope().environment()?.clone(), &listener.egress))
        });
        rules.collect()
    }

    /// Whether there is a configuration at all, for clients of an entry of that exposure. One that is made of internal environments alone
    /// is none for those of an external entry.
    pub fn is_configured(&self, exposure: Exposure) -> bool {
        self.hosts(exposure).is_configured
    }

    /// The environment for `host` (lower case, no port), for a client that came by an entry of that exposure.
    pub fn environment(
        &self,
        protocol: Protocol,
        exposure: Exposure,
        host: &str,
    ) -> Option<&Arc<EnvironmentTable>> {
        self.hosts(exposure).of(protocol).find(host, Some).map(|(_, environment)| environment)
    }

    /// The environment of that name, at whichever entries it is served.
    pub fn environment_named(&self, name: &Name) -> Option<&Arc<EnvironmentTable>> {
        self.environments.iter().find(|environment| environment.scope().environment() == Some(name))
    }

    fn hosts(&self, exposure: Exposure) -> &Hosts {
        match exposure {
            Exposure::External => &self.external,
            Exposure::Internal => &self.internal,
        }
    }

    fn hosts_mut(&mut self, exposure: Exposure) -> &mut Hosts {
        match exposure {
            Exposure::External => &mut self.external,
            Exposure::Internal => &mut self.internal,
        }
    }

    /// The environments that no face of this gateway serves, each with the reason.
    pub fn dark(&self) -> BTreeMap<ScopeId, String> {
        let dark = self.environments.iter().filter_map(|environment| {
            let listener = environment.control().listener.as_ref()?;
            let is_served = self.faces.iter().any(|face| is_served_at(environment, *face));
            (!is_served).then(|| (environment.scope().clone(), lacks(listener)))
        });
        dark.collect()
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
            let mut all = Exposure::ALL.into_iter().flat_map(|exposure| {
                let hosts = self.hosts(exposure);
                Protocol::ALL.map(|protocol| hosts.of(protocol))
            });
            accepted.common(pattern).is_some()
                && all.any(|hosts| hosts.at(accepted).is_some_and(|found| Arc::ptr_eq(found, environment)))
        })
    }
}

/// Whether clients of a face find an environment.
fn is_served_at(environment: &EnvironmentTable, (protocol, exposure): Face) -> bool {
    let listener = environment.control().listener.as_ref();
    listener.is_some_and(|listener| accepts(listener, protocol) && listener.exposure.is_served_at(exposure))
}

fn accepts(listener: &Listener, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Http => listener.http,
        Protocol::Https => listener.https,
    }
}

/// What a gateway lacks that serves an environment with this listener at no entry.
fn lacks(listener: &Listener) -> String {
    let protocols = Protocol::ALL.into_iter().filter(|protocol| accepts(listener, *protocol));
    let protocols: Vec<_> = protocols.map(Protocol::as_str).collect();
    let internal = match listener.exposure {
        Exposure::Internal => "an internal",
        Exposure::External => "an",
    };
    format!("it needs {internal} entry under [listen], for {}", protocols.join(" or "))
}

#[cfg(test)]
mod tests;
