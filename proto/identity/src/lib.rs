//! Certificates and connections: which process a peer is, and whether it is believed.
//!
//! The crate has certificates and authorities, mutual TLS, channels and listeners, joining, renewal and revocation.
//!
//! Nothing here knows what is said over a connection. Joining ([`enrol`]) and renewal ([`renew_credentials`]) are the exceptions:
//! a process without a certificate can say nothing else, and one with a certificate must keep it valid.

mod connect;
mod cut;
mod enrolment;
mod joining_key;
mod listener;
mod peer;
mod pki;
mod renewal;
mod tls;
mod token;
mod tunnel;

pub use connect::{ConnectError, InvalidAddress, connect, connect_lazy, explain};
pub use enrolment::{EnrolError, MAX_ENROLMENT_BYTES, chain_of, enrol};
pub use joining_key::{forget_joining_key, joining_key};
pub use listener::{ADMIN_CONNECTIONS, Bounds, Listener, ListenerMetrics, Ports};
pub use peer::{Peer, PeerKeys};
pub use pki::{
    Authority, Chain, Credentials, EndorsedRoot, Environments, Held, KeyDigest, KeyDir, KeyPair, Live,
    LiveAuthority, LiveCredentials, LiveTrust, MAX_ENVIRONMENTS, NoIdentity, PkiError, RecoveryPairs,
    Refused, Rotation, SanName, Seal, Tier, ToldRoots, TrustAnchor, TrustBundle, Validity, WrappedAs,
    check_public_key, environments_of, identity_of, is_signed_by, key_digest, public_key_from_pem, wrap_key,
};
pub use renewal::{
    ExpiryMetrics, Issuers, Issuing, RenewError, Renewal, renew_authority, renew_credentials, renew_from,
    warn_of_expiry,
};
pub use tls::{
    Alpn, ClientTls, Clients, Expect, RefusedPeer, ServerTls, TlsError, client_tls, client_tls_to,
    install_crypto_provider, server_tls,
};
pub use token::{InvalidToken, JoinToken, digest_secret};
pub use tunnel::{TunnelClient, TunnelIdentity, TunnelPeer, TunnelServer, TunnelStream, Tunnels};

#[cfg(test)]
mod testbed;
