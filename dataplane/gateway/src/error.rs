//! Why a gateway cannot start or go on.

use std::io;

/// Why a gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work.
    #[error("the gateway's configuration cannot work")]
    Config(#[from] crate::config::InvalidConfig),
    /// What every node may meet.
    #[error(transparent)]
    Node(#[from] hanse_node::Error),
    /// TLS towards clients.
    #[error("cannot prepare TLS for clients")]
    ClientTls(#[from] rustls::Error),
    /// TLS towards gateways of other regions.
    #[error("cannot prepare TLS for tunnels")]
    TunnelTls(#[from] hanse_identity::TlsError),
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({entry})")]
    Listen {
        /// Its key in the configuration: `listen.https[1]`.
        entry: String,
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log")]
    AccessLog(#[source] io::Error),
    /// A serving thread could not start, or ended.
    #[error("a serving thread failed")]
    Serving(#[source] io::Error),
}
