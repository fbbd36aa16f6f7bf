//! Why a gateway cannot start or go on.

use std::{io, path::PathBuf};

/// Why a gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work.
    #[error("the gateway's configuration cannot work")]
    Config(#[from] crate::config::InvalidConfig),
    /// A file cannot be read.
    #[error("cannot {action} {path}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// One of the small files of the data directory.
    #[error(transparent)]
    Kept(#[from] hanse_process::json_file::Error),
    /// No certificate on disk and nothing to get one with.
    #[error(
        "{0} holds no certificate and there is no join token; make one with `hanse agent mint-token` in the gateway's \
         region and give it as join_token_file or HANSE_GATEWAY_JOIN_TOKEN"
    )]
    NoJoinToken(PathBuf),
    /// The certificate on disk is another's.
    #[error(
        "{dir} holds the certificate of {found}, but name = {name:?} is configured; a gateway does not change its name: \
         give it a data_dir of its own"
    )]
    OtherIdentity {
        /// Where the certificate is.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// The configured name.
        name: String,
    },
    /// Another gateway runs in the same data directory.
    #[error(transparent)]
    StoreInUse(#[from] hanse_link::StoreInUse),
    /// A join token that is none.
    #[error("the join token is unusable")]
    JoinToken(#[from] hanse_identity::InvalidToken),
    /// Joining was refused or did not work.
    #[error("cannot join the region")]
    Enrol(#[from] hanse_identity::EnrolError),
    /// Keys or certificates.
    #[error(transparent)]
    Pki(#[from] hanse_identity::PkiError),
    /// TLS towards agents.
    #[error(transparent)]
    Tls(#[from] hanse_identity::TlsError),
    /// TLS towards clients.
    #[error("cannot prepare TLS for clients")]
    ClientTls(#[from] rustls::Error),
    /// An address cannot be bound.
    #[error("cannot listen on {address} (listen.{face})")]
    Listen {
        /// The face, as in the configuration.
        face: &'static str,
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
    /// A part without which the gateway would serve on and never follow the configuration.
    #[error("{task} ended by itself; start the gateway again, and report this")]
    TaskEnded {
        /// Which one.
        task: &'static str,
        /// The panic, if it was one.
        #[source]
        source: Option<tokio::task::JoinError>,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
