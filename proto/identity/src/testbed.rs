//! A federation's certificates and connections, for the tests of this crate.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hanse_topology::{Identity, Name, Role};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::listener::handshake::{NoHandshake, linger, shake_hands};
use crate::{
    Alpn, Authority, Bounds, ClientTls, Clients, Credentials, Expect, Listener, ListenerMetrics,
    LiveCredentials, ServerTls, TrustAnchor, client_tls, peer::TlsConnection, server_tls,
};

/// Longest wait for anything a test expects to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn identity(text: &str) -> Identity {
    format!("{text}.hanse.internal").parse().unwrap()
}

/// Root, one control intermediate, one region.
pub(crate) struct Federation {
    pub(crate) root: Authority,
    pub(crate) control: Authority,
    pub(crate) region: Authority,
}

impl Federation {
    pub(crate) fn new() -> Self {
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&name("cp-1")).unwrap();
        let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
        Self { root, control, region }
    }

    pub(crate) fn anchor(&self) -> TrustAnchor {
        self.root.trust_anchor().unwrap()
    }

    pub(crate) fn credentials(&self, who: &str) -> Credentials {
        let identity = identity(who);
        let authority = if identity.region.is_some() { &self.region } else { &self.control };
        authority.issue_credentials(&identity, &[]).unwrap()
    }

    pub(crate) fn live(&self, who: &str) -> LiveCredentials {
        LiveCredentials::new(self.credentials(who))
    }

    pub(crate) fn mutual(&self, roles: &[Role]) -> Clients {
        Clients::Mutual { trust: self.anchor().into(), roles: roles.to_vec(), region: None }
    }

    /// A mutual TLS server for gRPC.
    pub(crate) fn server(&self, who: &str, roles: &[Role]) -> ServerTls {
        server_tls(&self.live(who), self.mutual(roles), Alpn::Http2).unwrap()
    }

    pub(crate) fn client(&self, who: &str, roles: &[Role]) -> ClientTls {
        client_tls(Some(&self.live(who)), self.anchor(), Expect { roles: roles.to_vec(), region: None })
            .unwrap()
    }
}

/// A bound port, for a test that serves on it or takes connections from it one by one.
#[derive(Debug)]
pub(crate) struct TlsListener {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: ServerTls,
}

impl TlsListener {
    /// The next connection whose handshake succeeded.
    pub(crate) async fn next_connection(&mut self) -> TlsConnection {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            match shake_hands(self.tls.clone(), stream, address).await {
                Ok(connection) => return connection,
                Err(NoHandshake::Refused { stream: Some(stream), .. }) => linger(stream).await,
                Err(_) => {}
            }
        }
    }

    /// The listener that processes have.
    pub(crate) fn serving(self) -> Listener {
        let bounds = Bounds::of_federation(1_000);
        Listener::new("federation", self.tcp, bounds, &ListenerMetrics::default()).with_tls(self.tls)
    }
}

/// A listener on a free port.
pub(crate) async fn listen(tls: ServerTls) -> (TlsListener, SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    (TlsListener { tcp, tls }, address)
}

/// Connects without gRPC. In TLS 1.3 the client is done before the server has judged the client's certificate.
pub(crate) async fn dial(
    address: SocketAddr,
    tls: impl Into<Arc<ClientConfig>>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(tls.into())
        .connect(ServerName::from(address.ip()), tcp)
        .await
        .map_err(crate::tls::explained)
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it should have happened by now")
}
