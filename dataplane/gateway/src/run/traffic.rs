//! What clients meet: sockets, TLS, the access log, and the threads that serve.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hanse_identity::LiveCredentials;
use hanse_process::Shutdown;
use hanse_topology::Exposure;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use serde::Serialize;
use tracing::info;

use super::tunnels;
use crate::{
    Config, Error,
    access_log::{AccessLog, Written},
    config::Shares,
    keeper::KeeperHandle,
    metrics::GatewayMetrics,
    proxy::{BoundEntry, BoundTunnel, Connector, Dataplane, DataplaneOptions, Slots, bind, own_id},
    table::Protocol,
};

/// For the access log's last lines to reach the disk.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The serving threads. They alone end a gateway.
pub(super) struct Traffic {
    dataplane: Dataplane,
    /// The last lines of the access log.
    written: Option<Written>,
    bound: Vec<Bound>,
}

/// An address that the gateway listens on for clients, for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bound {
    address: SocketAddr,
    protocol: &'static str,
    exposure: Exposure,
}

impl Traffic {
    /// Listens, and serves what is kept until the shutdown. `admin` listens already.
    pub(super) async fn start(
        config: &Config,
        shares: &Shares,
        (credentials, admin): (&LiveCredentials, SocketAddr),
        (kept, slots, metrics, between): (&KeeperHandle, &Arc<Slots>, &Arc<GatewayMetrics>, tunnels::Served),
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let workers = metrics.workers.len();
        let (mut entries, mut bound) = (Vec::new(), Vec::new());
        for (protocol, key, entry) in config.listen.entries() {
            let sockets = sockets(&format!("listen.{key}"), &entry.address, workers).await?;
            let address = sockets.first().map(std::net::TcpListener::local_addr).transpose();
            let Some(address) = address.map_err(Error::Serving)? else { continue }; // there are no threads
            bound.push(Bound { address, protocol: protocol.as_str(), exposure: entry.exposure });
            let (exposure, proxy_protocol) = (entry.exposure, entry.proxy_protocol);
            entries.push(BoundEntry { protocol, exposure, proxy_protocol, sockets });
        }
        let mut tunnel = None;
        if let Some(server) = between.server
            && let Some(address) = config.tunnel.as_ref().and_then(|tunnel| tunnel.listen.as_ref())
        {
            tunnel = Some(BoundTunnel { server, sockets: sockets("tunnel.listen", address, workers).await? });
        }
        let of_tunnel = tunnel.as_ref().and_then(|tunnel| tunnel.sockets.first());
        let of_tunnel =
            of_tunnel.map(std::net::TcpListener::local_addr).transpose().map_err(Error::Serving)?;
        let listening = bound.iter().map(|entry| entry.address).chain([admin]).chain(of_tunnel).collect();
        kept.endpoints.own_listeners().set(listening); // before anything is connected to
        let speaks_tls = entries.iter().any(|entry| entry.protocol == Protocol::Https);
        let (access_log, written) = match &config.access_log {
            Some(target) => {
                let (log, written) = AccessLog::open(target, metrics.clone()).map_err(Error::AccessLog)?;
                (Some(log), Some(written))
            }
            None => (None, None),
        };
        let options = DataplaneOptions {
            table: kept.table.clone(),
            limits: config.limits,
            max_connections: shares.clients,
            slots: slots.clone(),
            drain: config.drain,
            tls: if speaks_tls { Some(client_facing_tls(credentials)?) } else { None },
            entries,
            tunnel,
            tunnels: between.tunnels,
            trusted_proxies: config.trusted_proxies.clone().into(),
            loop_id: own_id(&credentials.identity()),
            access_log,
            metrics: metrics.clone(),
            abort_on_panic: true,
        };
        Connector::check().map_err(Error::Serving)?;
        let dataplane = Dataplane::start(options, shutdown).map_err(Error::Serving)?;
        let identity = credentials.identity();
        info!(%identity, workers, "gateway listens");
        for Bound { address, protocol, exposure } in &bound {
            info!(%address, protocol, %exposure, "gateway listens for clients");
        }
        if let Some(address) = of_tunnel {
            info!(%address, "gateway listens for gateways of other regions");
        }
        Ok(Self { dataplane, written, bound })
    }

    /// Where it listens for clients.
    pub(super) fn bound(&self) -> Vec<Bound> {
        self.bound.clone()
    }

    /// Returns when every thread has stopped, after the shutdown, or one has failed.
    pub(super) async fn ended(self) -> Result<(), Error> {
        self.dataplane.ended().await.map_err(Error::Serving)?;
        if let Some(written) = self.written {
            written.within(LAST_LINES).await;
        }
        Ok(())
    }
}

/// TLS towards clients: any of them, TLS 1.2 and 1.3, with the gateway's own certificate.
fn client_facing_tls(credentials: &LiveCredentials) -> Result<Arc<ServerConfig>, Error> {
    let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(credentials.client_facing());
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls.ticketer = aws_lc_rs::Ticketer::new()?; // sessions resume on any thread
    Ok(Arc::new(tls))
}

/// One socket per serving thread.
async fn sockets(key: &str, address: &str, count: usize) -> Result<Vec<std::net::TcpListener>, Error> {
    let resolved: Option<SocketAddr> =
        tokio::net::lookup_host(address).await.map_err(cannot_listen(key, address))?.next();
    let resolved = resolved
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"))
        .map_err(cannot_listen(key, address))?;
    bind(resolved, count).map_err(cannot_listen(key, address))
}

fn cannot_listen(key: &str, address: &str) -> impl FnOnce(std::io::Error) -> Error {
    let (entry, address) = (key.to_owned(), address.to_owned());
    move |source| Error::Listen { entry, address, source }
}

#[cfg(test)]
mod tests {
    use hanse_identity::Authority;
    use hanse_topology::{Identity, Name};
    use rustls::{ClientConfig, RootCertStore, client::Resumption};
    use rustls_pki_types::{CertificateDer, ServerName};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    #[tokio::test]
    async fn clients_are_shown_the_chain_without_its_root_and_the_renewed_one() {
        let name = |text: &str| Name::new(text).unwrap();
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&name("cp-1")).unwrap();
        let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
        let identity = Identity::gateway(name("gateway-1"), name("eu-west"));
        let issue = || region.issue_credentials(&identity, &[]).unwrap();
        let credentials = LiveCredentials::new(issue());

        let mut roots = RootCertStore::empty();
        roots.add(credentials.current().chain().last().unwrap().clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        let (client, server) = (Arc::new(client), client_facing_tls(&credentials).unwrap());
        let shown = async || -> Vec<CertificateDer<'static>> {
            let (near, far) = tokio::io::duplex(64 << 10);
            let accepting = TlsAcceptor::from(server.clone()).accept(far);
            let name = ServerName::try_from(identity.to_string()).unwrap();
            let connecting = TlsConnector::from(client.clone()).connect(name, near);
            let (_accepted, connected) = tokio::try_join!(accepting, connecting).unwrap();
            connected.get_ref().1.peer_certificates().unwrap().to_vec()
        };
        for _ in 0..2 {
            let current = credentials.current();
            let [without_root @ .., _root] = current.chain().as_slice() else { panic!("an empty chain") };
            assert_eq!(without_root.len(), 3, "leaf, region, control node");
            assert_eq!(shown().await, without_root);
            credentials.replace(issue());
        }
    }
}
