//! Connections between gateways of different regions.
//!
//! Both sides show their leaf for tunnels, which names the environments that its gateway serves. Each side reads the other's from the
//! verified leaf: an address and a header say nothing of who a peer is.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hanse_topology::{Identity, Name, Role};
use rustls::{
    ClientConfig, ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::{
    Alpn, ClientTls, Clients, Credentials, Environments, Expect, LiveTrust, ServerTls, TlsError,
    cut::Guarded,
    environments_of, identity_of,
    pki::Shown,
    tls::{self, client_showing, of_client, of_server, server_showing},
};

/// What a gateway shows to gateways of other regions; `None`: it has no such leaf yet. Handshakes use what is current.
pub type TunnelIdentity = watch::Receiver<Option<Arc<Credentials>>>;

/// Makes both sides of tunnels.
#[derive(Debug, Clone)]
pub struct Tunnels {
    own: TunnelIdentity,
    trust: LiveTrust,
}

/// The side that takes requests.
#[derive(Debug, Clone)]
pub struct TunnelServer(ServerTls);

/// The side that sends requests to the gateways of one region, for one environment.
#[derive(Debug, Clone)]
pub struct TunnelClient {
    own: TunnelIdentity,
    tls: ClientTls,
    environment: Name,
}

/// A gateway at the other end, by its verified leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelPeer {
    /// Who it is.
    pub identity: Identity,
    /// The environments that it serves.
    pub environments: Environments,
}

/// A connection that fails from the moment its peer is refused.
pub struct TunnelStream<S>(Guarded<TlsStream<S>>);

impl Tunnels {
    /// Shows this, and believes and refuses by this.
    pub fn new(own: TunnelIdentity, trust: LiveTrust) -> Self {
        Self { own, trust }
    }

    /// Lets gateways of every region in. Which regions may tunnel is a matter of each environment.
    pub fn server(&self) -> Result<TunnelServer, TlsError> {
        let clients = Clients::Mutual { trust: self.trust.clone(), roles: vec![Role::Gateway], region: None };
        let shown = Arc::new(Own(self.own.clone()));
        Ok(TunnelServer(server_showing(shown, clients, Alpn::Http1)?))
    }

    /// Talks to gateways of this region that serve this environment.
    pub fn client(&self, region: Name, environment: Name) -> Result<TunnelClient, TlsError> {
        let expect = Expect { roles: vec![Role::Gateway], region: Some(region) };
        let shown = Arc::new(Own(self.own.clone()));
        let tls = client_showing(shown, self.trust.clone(), expect, Alpn::Http1)?;
        Ok(TunnelClient { own: self.own.clone(), tls, environment })
    }
}

impl TunnelServer {
    /// For the handshake.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.0.config
    }

    /// The connection after its handshake with [`config`](Self::config), and its peer.
    pub fn guard<S>(
        &self,
        stream: tokio_rustls::server::TlsStream<S>,
    ) -> io::Result<(TunnelStream<S>, TunnelPeer)> {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let peer = peer_of(&chain)?;
        let keys = of_client(peer.identity.role, &chain);
        let root = self.0.trust.as_ref().and_then(|trust| trust.current().root_of(&chain));
        let shown = Shown { identity: peer.identity.clone(), keys, root };
        let stream = Guarded::new(TlsStream::Server(stream), self.0.trust.as_ref(), Some(shown));
        Ok((TunnelStream(stream), peer))
    }
}

impl TunnelClient {
    /// Its TLS without the guard.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.tls.clone().into()
    }

    /// A TLS connection over `stream`, to a gateway at `host`. Its leaf must name the environment.
    ///
    /// In TLS 1.3 a client is done before the server has judged the client's certificate: where the server refuses it, the first request
    /// fails.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TunnelStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.own.borrow().is_none() {
            return Err(refused("this gateway has no leaf for tunnels yet".to_owned()));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| refused(format!("{host:?} is no name that TLS knows")))?;
        let connector = TlsConnector::from(Arc::from(self.tls.clone()));
        let stream = connector.connect(name, stream).await.map_err(tls::explained)?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let peer = peer_of(&chain)?;
        if !peer.environments.contains(&self.environment) {
            let TunnelPeer { identity, environments } = peer;
            let wanted = &self.environment;
            return Err(refused(format!(
                "{identity} does not serve {wanted}: its leaf names {environments}"
            )));
        }
        let trust = self.tls.trust.as_ref();
        let root = trust.and_then(|trust| trust.current().root_of(&chain));
        let shown = Shown { identity: peer.identity, keys: of_server(&chain), root };
        Ok(TunnelStream(Guarded::new(TlsStream::Client(stream), trust, Some(shown))))
    }
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Whom a chain that was verified is of.
fn peer_of(chain: &[CertificateDer<'_>]) -> io::Result<TunnelPeer> {
    let leaf = chain.first().ok_or_else(|| refused("the peer showed no certificate".to_owned()))?;
    let identity = identity_of(leaf).map_err(|error| refused(error.to_string()))?;
    let environments = environments_of(leaf).map_err(|error| refused(error.to_string()))?;
    Ok(TunnelPeer { identity, environments })
}

/// Shows the leaf for tunnels.
#[derive(Debug)]
struct Own(TunnelIdentity);

impl Own {
    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().as_ref().map(|own| own.certified())
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        self.0.borrow().is_some()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TunnelStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TunnelStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for TunnelStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelStream").finish_non_exhaustive()
    }
}
