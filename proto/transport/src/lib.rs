//! What every role needs to talk to another: identities and certificates, mutual TLS, gRPC channels and listeners,
//! joining, and the small machinery of a process (shutdown, backoff, logs, metrics, the admin port, small files).
//!
//! Nothing here knows what is said over a connection; the one exception is [`enrol`], because a process without a
//! certificate can say nothing else.

pub mod admin;
pub mod backoff;
mod bounded_log;
mod clock;
mod connect;
mod cut;
mod descriptors;
pub mod durable;
mod enrolment;
mod joining_key;
pub mod json_file;
mod listener;
mod metrics;
mod peer;
mod pki;
pub mod private;
mod renewal;
mod serve;
pub mod shutdown;
mod supervision;
pub mod telemetry;
mod tls;
mod token;

pub use bounded_log::BoundedLog;
pub use clock::{ClockHand, WallClock};
pub use connect::{ConnectError, InvalidAddress, connect, connect_lazy};
pub use descriptors::{raise_descriptor_limit, share_of};
pub use enrolment::{EnrolError, MAX_ENROLMENT_BYTES, chain_of, enrol};
pub use joining_key::{forget_joining_key, joining_key};
pub use listener::{Bounds, Listener, ListenerMetrics};
pub use metrics::Metrics;
pub use peer::{Peer, PeerKeys};
pub use pki::{
    Authority, Chain, Credentials, EndorsedRoot, KeyDigest, KeyPair, LiveAuthority, LiveCredentials,
    LiveTrust, NoIdentity, PkiError, Refused, Rotation, SanName, Tier, ToldRoots, TrustAnchor, TrustBundle,
    Validity, identity_of, key_digest,
};
pub use renewal::{
    ExpiryMetrics, Issuers, RenewError, RenewalSchedule, renew_authority, renew_credentials, renew_from,
    warn_of_expiry,
};
pub use serve::{BindError, bind, drain};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use supervision::tell_service_manager;
pub use tls::{
    Alpn, ClientTls, Clients, Expect, RefusedPeer, ServerTls, TlsError, client_tls, install_crypto_provider,
    server_tls,
};
pub use token::{InvalidToken, JoinToken, digest_secret};

#[cfg(test)]
mod testbed;
