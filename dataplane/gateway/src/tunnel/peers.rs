//! The gateways of other regions, by environment and region: each region's are an [`Upstream`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hanse_identity::{TlsError, Tunnels};
use hanse_process::Shutdown;
use hanse_runtime::{Egress, EndpointUrl};
use hanse_topology::{Name, ScopeId};
use tokio::sync::watch;
use tracing::warn;

use crate::{
    egress::EgressGuard,
    health::Endpoints,
    table::{ConnectProfile, Upstream, UpstreamId},
};

/// For TCP and TLS to another region together: under a second across continents, and a lost SYN is repeated after one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where gateways take requests over tunnels, `host:port`, by region and environment.
pub type Addresses = BTreeMap<(Name, Name), Vec<String>>;

/// The gateways of other regions. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<ArcSwap<ByEnvironment>>);

type ByEnvironment = BTreeMap<Name, BTreeMap<Name, Region>>;

/// The gateways of one region for one environment.
#[derive(Debug, Clone)]
struct Region {
    addresses: Vec<String>,
    upstream: Arc<Upstream>,
}

impl Peers {
    /// Of these regions the first with a gateway that looks well, else the first with any; and its gateways.
    pub fn of(&self, environment: &Name, regions: &[Name]) -> Option<(Name, Arc<Upstream>)> {
        let known = self.0.load();
        let known = known.get(environment)?;
        let mut found = regions.iter().filter_map(|region| Some((region, &known.get(region)?.upstream)));
        let best = found.clone().find(|(_, upstream)| upstream.looks_well()).or_else(|| found.next());
        best.map(|(region, upstream)| (region.clone(), upstream.clone()))
    }

    /// These addresses count from now on. Those that stay keep their connections and their health.
    pub fn set(
        &self,
        addresses: &Addresses,
        tunnels: &Tunnels,
        endpoints: &Endpoints,
    ) -> Result<(), TlsError> {
        let before = self.0.load_full();
        let mut now = ByEnvironment::new();
        for ((region, environment), addresses) in addresses {
            let known = before.get(environment).and_then(|regions| regions.get(region));
            let of_region = match known.filter(|known| known.addresses == *addresses) {
                Some(known) => known.clone(),
                None => {
                    let profile = profile(tunnels, endpoints, region, environment, known)?;
                    let upstream = upstream(addresses, &profile, endpoints, region, environment);
                    Region { addresses: addresses.clone(), upstream: Arc::new(upstream) }
                }
            };
            if of_region.upstream.has_endpoints() {
                now.entry(environment.clone()).or_default().insert(region.clone(), of_region);
            }
        }
        self.0.store(Arc::new(now));
        Ok(())
    }

    /// Follows the addresses until the shutdown.
    pub(crate) async fn follow(
        self,
        mut addresses: watch::Receiver<Addresses>,
        tunnels: Tunnels,
        endpoints: Endpoints,
        shutdown: Shutdown,
    ) {
        loop {
            let now = addresses.borrow_and_update().clone();
            if let Err(error) = self.set(&now, &tunnels, &endpoints) {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "gateways of other regions stay as they were"
                );
            }
            tokio::select! {
                () = shutdown.wait() => return,
                changed = addresses.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// How to connect to gateways of a region. With the one there was, endpoints stay the same.
fn profile(
    tunnels: &Tunnels,
    endpoints: &Endpoints,
    region: &Name,
    environment: &Name,
    known: Option<&Region>,
) -> Result<Arc<ConnectProfile>, TlsError> {
    if let Some(profile) = known.and_then(|known| known.upstream.profile()) {
        return Ok(profile);
    }
    // What an environment allows its upstreams is no matter of tunnels. Only a call to itself is denied.
    let egress = EgressGuard::new(endpoints.own_listeners().clone());
    egress.set(Some(&Egress::default()));
    let tunnel = tunnels.client(region.clone(), environment.clone())?;
    let (id, tls) = (endpoints.next_id(), tunnel.config());
    Ok(Arc::new(ConnectProfile {
        id,
        timeout: CONNECT_TIMEOUT,
        tls,
        server_name: None,
        egress: Arc::new(egress),
        tunnel: Some(tunnel),
    }))
}

fn upstream(
    addresses: &[String],
    profile: &Arc<ConnectProfile>,
    endpoints: &Endpoints,
    region: &Name,
    environment: &Name,
) -> Upstream {
    let read = addresses.iter().filter_map(|address| {
        let url = EndpointUrl::parse(&format!("https://{address}"));
        let endpoint = url.and_then(|url| hanse_runtime::Endpoint::new(&url.to_wire(1)).ok());
        if endpoint.is_none() {
            warn!(%region, %environment, address, "a gateway of another region has an address that cannot be used");
        }
        endpoint
    });
    let scope = ScopeId::runtime(region.clone(), environment.clone());
    Upstream::of_peers(&UpstreamId::new(&scope, "tunnel"), read.collect(), profile, endpoints)
}
