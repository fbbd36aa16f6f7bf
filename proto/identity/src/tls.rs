//! TLS 1.3 configurations. Both sides check the peer's chain and identity, never a host name: an address says where a
//! peer is, not who.

mod verify;

use std::{error::Error, fmt, io, ops::Deref, sync::Arc};

use hanse_process::WallClock;
use hanse_topology::{Identity, Name, Role};
use rustls::{
    CertificateError, ClientConfig, OtherError, ServerConfig,
    client::{ResolvesClientCert, Resumption},
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ResolvesServerCert},
    time_provider::TimeProvider,
    version::TLS13,
};

pub use self::verify::RefusedPeer;
use rustls_pki_types::UnixTime;

use self::verify::{Admit, ClientVerifier, Rule};
pub(crate) use self::verify::{ServerVerifier, of_client, of_server};
use crate::{KeyDigest, LiveCredentials, LiveTrust};

/// Whom a listener lets in.
#[derive(Debug, Clone)]
pub enum Clients {
    /// No client certificate is asked for: joining processes and operators have none.
    Anyone,
    /// Only peers with a certificate under one of the roots and of one of the roles.
    Mutual {
        /// The roots, and the clock that certificates are judged by.
        trust: LiveTrust,
        /// The roles let in.
        roles: Vec<Role>,
        /// The region let in; `None`: all of them.
        region: Option<Name>,
    },
    /// A peer may come without a certificate, to join. A peer that shows one must be of one of the roles. The certificate may
    /// have expired, because the peer comes to renew it: its chain is verified at the end of its own life. The verifier does
    /// not look whether the peer is refused, which the service must ask. Everything else is checked as ever, and the handshake
    /// proves that the peer has the key.
    Renewing {
        /// The roots, and the clock that certificates are judged by.
        trust: LiveTrust,
        /// The roles whose certificates are renewed here.
        roles: Vec<Role>,
        /// The region whose certificates are renewed here; `None`: all of them.
        region: Option<Name>,
    },
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// gRPC.
    Http2,
    /// Operators' clients.
    Http1And2,
    /// Gateways of other regions.
    Http1,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http2 => vec![b"h2".to_vec()],
            Self::Http1And2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

/// Whom a client will talk to.
#[derive(Debug, Clone)]
pub struct Expect {
    /// Any of these roles.
    pub roles: Vec<Role>,
    /// In this region; `None`: anywhere.
    pub region: Option<Name>,
}

/// A client's TLS: the configuration, and who may be refused by name later on.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    pub(crate) trust: Option<LiveTrust>,
}

impl Deref for ClientTls {
    type Target = ClientConfig;
    fn deref(&self) -> &ClientConfig {
        &self.config
    }
}

impl From<ClientTls> for Arc<ClientConfig> {
    fn from(tls: ClientTls) -> Self {
        tls.config
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// A listener's TLS: the configuration, and who may be refused by name later on.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) trust: Option<LiveTrust>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The provider does not offer what we ask of it.
    #[error("the TLS provider refused the configuration")]
    Provider(#[source] rustls::Error),
}

/// Makes aws-lc-rs the process's default provider, for code that asks rustls for the default. Idempotent; call it
/// first in `main`.
pub fn install_crypto_provider() {
    // An error says that a provider is installed already, which is what we want.
    let _ = aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A listener's configuration. It sends the whole chain with the root, so that joining processes can check the pin.
/// Sessions are never resumed: resumption would outlive a replaced certificate.
pub fn server_tls(
    credentials: &LiveCredentials,
    clients: Clients,
    alpn: Alpn,
) -> Result<ServerTls, TlsError> {
    server_showing(Arc::new(credentials.clone()), clients, alpn)
}

/// The same, showing what `shown` has.
pub(crate) fn server_showing(
    shown: Arc<dyn ResolvesServerCert>,
    clients: Clients,
    alpn: Alpn,
) -> Result<ServerTls, TlsError> {
    // Who comes to be renewed is not cut: it is told why not.
    let guard = match &clients {
        Clients::Mutual { trust, .. } => Some(trust.clone()),
        Clients::Anyone | Clients::Renewing { .. } => None,
    };
    let verifier = match clients {
        Clients::Anyone => None,
        Clients::Mutual { trust, roles, region } => Some((trust, Rule { roles, region }, Admit::Valid)),
        Clients::Renewing { trust, roles, region } => {
            Some((trust, Rule { roles, region }, Admit::ExpiredOrNone))
        }
    };
    let clock = verifier.as_ref().map_or_else(WallClock::system, |(trust, ..)| trust.clock().clone());
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Provider)?;
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some((trust, rule, admit)) => {
            builder.with_client_cert_verifier(Arc::new(ClientVerifier::new(trust, rule, admit)))
        }
    };
    let mut config = builder.with_cert_resolver(shown);
    config.alpn_protocols = alpn.protocols();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(ServerTls { config: Arc::new(config), trust: guard })
}

/// A client's configuration: shows the credentials if given, accepts only the peers expected. Speaks HTTP/2.
pub fn client_tls(
    credentials: Option<&LiveCredentials>,
    trust: impl Into<LiveTrust>,
    expect: Expect,
) -> Result<ClientTls, TlsError> {
    client_with_trust(shown_by(credentials), trust.into(), expect, Alpn::Http2)
}

/// The same, showing what `shown` has.
pub(crate) fn client_showing(
    shown: Arc<dyn ResolvesClientCert>,
    trust: LiveTrust,
    expect: Expect,
    alpn: Alpn,
) -> Result<ClientTls, TlsError> {
    client_with_trust(Some(shown), trust, expect, alpn)
}

fn client_with_trust(
    shown: Option<Arc<dyn ResolvesClientCert>>,
    trust: LiveTrust,
    expect: Expect,
    alpn: Alpn,
) -> Result<ClientTls, TlsError> {
    let rule = Rule { roles: expect.roles, region: expect.region };
    let clock = trust.clock().clone();
    let config = client_with(shown, ServerVerifier::trusting(trust.clone(), rule), clock, alpn)?;
    Ok(ClientTls { config, trust: Some(trust) })
}

fn shown_by(credentials: Option<&LiveCredentials>) -> Option<Arc<dyn ResolvesClientCert>> {
    credentials.map(|credentials| Arc::new(credentials.clone()) as _)
}

/// A client's configuration for one process: it accepts that one only, under the authority whose key it joined with.
pub fn client_tls_to(
    credentials: &LiveCredentials,
    trust: LiveTrust,
    peer: Identity,
    issuer: KeyDigest,
) -> Result<ClientTls, TlsError> {
    let clock = trust.clock().clone();
    let verifier = ServerVerifier::of_one(trust.clone(), peer, issuer);
    Ok(ClientTls {
        config: client_with(shown_by(Some(credentials)), verifier, clock, Alpn::Http2)?,
        trust: Some(trust),
    })
}

/// The client's configuration of a joining process: no credentials, and a root known only by its key's hash.
pub(crate) fn pinned_client_tls(
    spki_sha256: [u8; 32],
    roles: Vec<Role>,
    clock: &WallClock,
) -> Result<ClientTls, TlsError> {
    let verifier = ServerVerifier::pinned(spki_sha256, Rule { roles, region: None });
    Ok(ClientTls { config: client_with(None, verifier, clock.clone(), Alpn::Http2)?, trust: None })
}

fn client_with(
    shown: Option<Arc<dyn ResolvesClientCert>>,
    verifier: ServerVerifier,
    clock: WallClock,
    alpn: Alpn,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(shown),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.protocols();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A handshake's error with our own reason in plain words, where it is our own: rustls prints it as a debug value.
pub(crate) fn explained(error: io::Error) -> io::Error {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason)))) = rustls else {
        return error;
    };
    match reason.downcast_ref::<RefusedPeer>() {
        Some(refused) => io::Error::new(io::ErrorKind::PermissionDenied, refused.clone()),
        None => error,
    }
}

/// Whether a connection did not come about because the chain that was shown does not end in the pinned root.
pub(crate) fn fails_the_pin(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An `io::Error` gives as its source that of its inner error.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(RefusedPeer::Pin { .. }) = inner.and_then(|inner| inner.downcast_ref()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The clock by which TLS judges certificates.
#[derive(Debug)]
struct TlsClock(WallClock);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.since_epoch()))
    }
}

#[cfg(test)]
mod tests;
