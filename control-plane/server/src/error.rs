//! Why a control-plane node cannot start or go on.

use std::path::PathBuf;

/// Why a control-plane node cannot be made, start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
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
    /// A file of the data directory does not say what it should.
    #[error("{path} is damaged; restore it from a backup, or join this node anew in an empty data directory")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// `init` or `join` on a directory that has a node already.
    #[error("{0} holds a control-plane node already; use an empty data directory")]
    AlreadyMade(PathBuf),
    /// Another process has the node's keys: the node runs, or a command replaces them.
    #[error("the node in {0} is running, or its keys are being replaced; stop it first")]
    Running(PathBuf),
    /// The node was joined anew while this process said that its log is damaged.
    #[error("this node was joined anew under another id; start it again")]
    Rejoined,
    /// Started before `init` or `join`.
    #[error("{0} holds no control-plane node; run `hanse server init` or `hanse server join` first")]
    NotMade(PathBuf),
    /// `reissue --new-key` of a node that joined and was never started.
    #[error("the node in {0} was not added to the control plane yet; join anew in an empty data directory")]
    NotAdded(PathBuf),
    /// There is no key that seals this node's private key.
    #[error(transparent)]
    StoreKey(#[from] hanse_link::KeyError),
    /// The key that `store_key` names is not the one that sealed this node's private key.
    #[error(
        "{path} does not open: the key in store_key ({store_key}) did not seal it, or the file is damaged"
    )]
    OtherStoreKey {
        /// The file with the private key.
        path: PathBuf,
        /// Where the other key is.
        store_key: hanse_link::StoreKey,
    },
    /// The root's key is needed and not here.
    #[error("{0} holds no root; put the directory of the root's certificate and key there")]
    NoRoot(PathBuf),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] hanse_process::BindError),
    /// Keys or certificates.
    #[error(transparent)]
    Pki(#[from] hanse_identity::PkiError),
    /// TLS settings.
    #[error(transparent)]
    Tls(#[from] hanse_identity::TlsError),
    /// Joining was refused or did not work.
    #[error("cannot join the control plane")]
    Enrol(#[from] hanse_identity::EnrolError),
    /// The answer to joining lacks something.
    #[error("the enrolling node's answer is unusable: {0}")]
    EnrolAnswer(String),
    /// The store of what was published.
    #[error(transparent)]
    Store(#[from] hanse_link::StoreInUse),
    /// The replicated log or state.
    #[error(transparent)]
    Raft(#[from] hanse_raft::GroupError),
    /// The first commands were refused.
    #[error("the first write of the new control plane failed: {0}")]
    Bootstrap(hanse_management::Problem),
    /// The first commands found no leader, though this node alone is the quorum.
    #[error("the first write of the new control plane was not possible within {0:?}; see this node's log")]
    NotFounded(std::time::Duration),
    /// The projection failed.
    #[error(
        "the projection of the state failed on this node, so its agents would learn nothing; see its log, then restart it"
    )]
    Projection,
    /// The Raft core ended by itself.
    #[error("the replicated state can no longer be trusted on this node; see its log, then restart it")]
    Fatal,
}

impl Error {
    /// Whether it says that this node's private key cannot be opened with its `store_key` as it is now.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::StoreKey(_) | Self::OtherStoreKey { .. })
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
