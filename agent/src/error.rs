//! Why an agent cannot start or go on.

use std::path::PathBuf;

/// Why an agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot {action} {path}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// One of the small files of the data directory.
    #[error(transparent)]
    Kept(#[from] hanse_process::json_file::Error),
    /// No certificate on disk and nothing to get one with.
    #[error(
        "{0} holds no certificate and there is no join token; make one with `hanse token create --join agent --region …` \
         and give it as join_token_file or HANSE_AGENT_JOIN_TOKEN"
    )]
    NoJoinToken(PathBuf),
    /// A join token that is none.
    #[error("the join token is unusable")]
    JoinToken(#[from] hanse_identity::InvalidToken),
    /// Joining was refused or did not work.
    #[error("cannot join the federation")]
    Enrol(#[from] hanse_identity::EnrolError),
    /// The token was for another region.
    #[error("the join token is for region {token}, but region = \"{configured}\" is configured")]
    OtherRegion {
        /// The token's.
        token: String,
        /// The configuration's.
        configured: String,
    },
    /// Minting before the agent has joined.
    #[error("this agent has not joined yet, so it cannot admit gateways; start it first")]
    NotEnrolled,
    /// Another agent runs in the same data directory.
    #[error(transparent)]
    StoreInUse(#[from] hanse_link::StoreInUse),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] hanse_process::BindError),
    /// Keys or certificates.
    #[error(transparent)]
    Pki(#[from] hanse_identity::PkiError),
    /// TLS settings.
    #[error(transparent)]
    Tls(#[from] hanse_identity::TlsError),
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
