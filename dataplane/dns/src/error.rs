//! Why a responder cannot start or go on.

use std::io;

/// Why a responder cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work.
    #[error("the responder's configuration cannot work")]
    Config(#[from] crate::config::InvalidConfig),
    /// A TSIG key cannot be used.
    #[error("the responder's configuration cannot work")]
    Key(#[from] crate::keys::BadKey),
    /// What every node may meet.
    #[error(transparent)]
    Node(#[from] hanse_node::Error),
    /// An address cannot be bound.
    #[error("cannot listen on {address} (listen.dns)")]
    Listen {
        /// The address, as in the configuration.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A serving thread could not start, or ended.
    #[error("a serving thread failed")]
    Serving(#[source] io::Error),
}
