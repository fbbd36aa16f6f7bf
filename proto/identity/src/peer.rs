//! The other end of a connection.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{
    KeyDigest, LiveTrust,
    cut::Guarded,
    digest_secret,
    pki::{Shown, identity_of, public_key_of},
    tls::of_client,
};
use hanse_topology::Identity;

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

/// An established TLS connection.
#[derive(Debug)]
pub(crate) struct TlsConnection {
    stream: Guarded<TlsStream<TcpStream>>,
    peer: Peer,
}

impl TlsConnection {
    pub(crate) fn new(stream: TlsStream<TcpStream>, address: SocketAddr, trust: Option<&LiveTrust>) -> Self {
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        // The verifier has read the same identity already, so this fails only where no certificate was shown.
        let identity = chain.first().and_then(|leaf| identity_of(leaf).ok());
        let keys = PeerKeys::of_chain(chain).map(Arc::new);
        let guarded = identity.clone().map(|identity| {
            let keys = of_client(identity.role, chain);
            Shown { identity, keys, root: trust.and_then(|trust| trust.current().root_of(chain)) }
        });
        let stream = Guarded::new(stream, trust, guarded);
        Self { stream, peer: Peer { identity, address, keys } }
    }

    /// The other end.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
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
