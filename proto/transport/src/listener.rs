//! Accepting TLS connections: accepting never waits for a handshake, and no handshake waits for another.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, warn};

use crate::{
    Identity, KeyDigest, LiveTrust, ServerTls,
    connect::{CONNECTION_WINDOW, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW},
    cut::Guarded,
    digest_secret,
    pki::{Shown, public_key_of},
    telemetry,
    tls::{explained, of_client},
};

/// Longest handshake. A round trip around the world and a busy CPU take under a second.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at once; more wait in the kernel's backlog. Each holds a descriptor and some 40 KB: a herd of
/// reconnecting gateways passes through, an attacker cannot exhaust memory.
const MAX_HANDSHAKES: usize = 1024;
/// Longest wait for a refused client to close.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after accepting failed, usually for want of descriptors: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The other end of a connection. In gRPC services: `request.extensions().get::<Peer>()`; in axum handlers:
/// `ConnectInfo<Peer>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is, by its verified certificate; `None` where clients need none.
    pub identity: Option<Identity>,
    /// Where it is.
    pub address: SocketAddr,
    /// The public keys (SubjectPublicKeyInfo, DER) of its certificate and of the issuer's; none where it showed none.
    pub keys: Option<Arc<PeerKeys>>,
}

/// The public keys at the beginning of a peer's chain.
#[derive(Debug, PartialEq, Eq)]
pub struct PeerKeys {
    /// Its own: the handshake proved that it has the private half.
    pub own: Vec<u8>,
    /// That of the second certificate it showed, which is the issuer's: verified.
    pub issuer: Vec<u8>,
}

impl PeerKeys {
    /// What its own key goes by.
    pub fn own_digest(&self) -> KeyDigest {
        digest_secret(&self.own)
    }

    /// What the issuer's key goes by.
    pub fn issuer_digest(&self) -> KeyDigest {
        digest_secret(&self.issuer)
    }

    fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let [leaf, issuer, ..] = chain else { return None };
        Some(Self { own: public_key_of(leaf).ok()?, issuer: public_key_of(issuer).ok()? })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Some(identity) => write!(f, "{identity} ({})", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// Accepts TCP connections and shakes hands with each in a task of its own. Dropping it closes the port and ends the
/// handshakes under way; established connections live on.
#[derive(Debug)]
pub struct TlsListener {
    tcp: TcpListener,
    tls: ServerTls,
    handshakes: JoinSet<Option<TlsConnection>>,
}

impl TlsListener {
    /// Listens on a bound port.
    pub fn new(tcp: TcpListener, tls: ServerTls) -> Self {
        Self { tcp, tls, handshakes: JoinSet::new() }
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next connection whose handshake succeeded. Cancel-safe.
    pub async fn next_connection(&mut self) -> TlsConnection {
        loop {
            tokio::select! {
                Some(finished) = self.handshakes.join_next(), if !self.handshakes.is_empty() => {
                    if let Ok(Some(connection)) = finished {
                        return connection;
                    }
                }
                accepted = self.tcp.accept(), if self.handshakes.len() < MAX_HANDSHAKES => match accepted {
                    Ok((stream, address)) => {
                        self.handshakes.spawn(shake_hands(self.tls.clone(), stream, address));
                    }
                    Err(error) if concerns_one_connection(&error) => debug!(%error, "a connection ended before it began"),
                    Err(error) => {
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// The connections, for tonic's `serve_with_incoming` and `serve_with_incoming_shutdown`.
    pub fn incoming(self) -> impl Stream<Item = io::Result<TlsConnection>> + Send + 'static {
        stream::unfold(self, |mut listener| async move {
            let connection = listener.next_connection().await;
            Some((Ok(connection), listener))
        })
    }
}

async fn shake_hands(tls: ServerTls, stream: TcpStream, address: SocketAddr) -> Option<TlsConnection> {
    let acceptor = TlsAcceptor::from(tls.config);
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%address, %error, "cannot set TCP_NODELAY");
    }
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream).into_fallible()).await {
        Ok(Ok(stream)) => Some(TlsConnection::new(stream, address, tls.trust.as_ref())),
        Ok(Err((error, _))) if error.kind() == io::ErrorKind::UnexpectedEof => {
            debug!(%address, "closed before the handshake");
            None
        }
        Ok(Err((error, stream))) => {
            warn!(%address, error = %telemetry::causes(&explained(error)), "TLS handshake refused");
            let _ = timeout(LINGER, drain(stream)).await;
            None
        }
        Err(_) => {
            debug!(%address, "TLS handshake timed out");
            None
        }
    }
}

/// Reads what a refused client still sends: closing with unread bytes resets the connection, and the reset would
/// overtake the alert that tells the client why.
async fn drain(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// Whether one connection failed, rather than accepting as such.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsConnection;
    type Addr = Peer;

    async fn accept(&mut self) -> (TlsConnection, Peer) {
        let connection = self.next_connection().await;
        let peer = connection.peer.clone();
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { identity: None, address: self.tcp.local_addr()?, keys: None })
    }
}

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: axum::serve::IncomingStream<'_, TlsListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// An established connection.
#[derive(Debug)]
pub struct TlsConnection {
    stream: Guarded<TlsStream<TcpStream>>,
    peer: Peer,
}

impl TlsConnection {
    fn new(stream: TlsStream<TcpStream>, address: SocketAddr, trust: Option<&LiveTrust>) -> Self {
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        // The verifier has read the same identity already, so this fails only where no certificate was shown.
        let identity = chain.first().and_then(|leaf| Identity::of_certificate(leaf).ok());
        let keys = PeerKeys::of_chain(chain).map(Arc::new);
        let guarded = identity.clone().map(|identity| {
            let keys = of_client(identity.role, chain);
            Shown { identity, keys, root: trust.and_then(|trust| trust.current().root_of(chain)) }
        });
        let stream = Guarded::new(stream, trust, guarded);
        Self { stream, peer: Peer { identity, address, keys } }
    }

    /// The other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl tonic::transport::server::Connected for TlsConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A gRPC server with our keep-alive and windows: the same as [`connect`](crate::connect) has, since a peer that only
/// one end watches can vanish unseen.
pub fn grpc_server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

#[cfg(test)]
mod tests;
