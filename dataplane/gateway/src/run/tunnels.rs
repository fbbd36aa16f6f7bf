//! What a gateway has of tunnels: who it is to gateways of other regions, and where those are.

use std::sync::Arc;

use hanse_identity::{LiveTrust, TunnelIdentity, TunnelServer, Tunnels as Ends};
use hanse_process::{Shutdown, Supervisor};
use tokio::sync::watch;

use crate::{
    Error,
    config::TunnelConfig,
    health::Endpoints,
    tunnel::{Addresses, Peers, Tunnels},
};

/// What tunnels rest on: both change while the gateway runs.
pub(super) struct Sources {
    /// What the gateway shows to gateways of other regions.
    pub(super) identity: TunnelIdentity,
    /// Where those take requests.
    pub(super) addresses: watch::Receiver<Addresses>,
}

/// What serving threads need of tunnels.
pub(super) struct Served {
    pub(super) tunnels: Arc<Tunnels>,
    /// For the listener, where there is one.
    pub(super) server: Option<TunnelServer>,
}

/// Follows the gateways of other regions, as far as the configuration has tunnels.
pub(super) fn follow(
    config: Option<&TunnelConfig>,
    sources: Sources,
    trust: &LiveTrust,
    endpoints: &Endpoints,
    supervisor: &Supervisor,
) -> Result<Served, Error> {
    let Some(config) = config else {
        return Ok(Served { tunnels: Arc::default(), server: None });
    };
    let ends = Ends::new(sources.identity, trust.clone());
    let server = config.listen.as_ref().map(|_| ends.server()).transpose()?;
    let peers = Peers::default();
    let state = (peers.clone(), sources.addresses, ends, endpoints.clone());
    supervisor.spawn("tunnel-peers", state, |(peers, addresses, ends, endpoints), shutdown: Shutdown| {
        peers.follow(addresses, ends, endpoints, shutdown)
    });
    Ok(Served { tunnels: Tunnels::new(peers, config.max_requests), server })
}
