//! Why an agent cannot start or go on.

use hanse_topology::Role;

/// Why an agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every node may meet.
    #[error(transparent)]
    Node(#[from] hanse_node::Error),
    /// One of the small files of the data directory.
    #[error(transparent)]
    Kept(#[from] hanse_process::json_file::Error),
    /// Minting before the agent has joined.
    #[error("this agent has not joined yet, so it cannot admit gateways; start it first")]
    NotEnrolled,
    /// Minting for a role that joins elsewhere.
    #[error(
        "an agent does not admit the role {0}; make its token at the control plane: hanse token create --join {0}"
    )]
    NotAdmitted(Role),
    /// Minting for a role that learns scopes of the region, with a limit on environments.
    #[error("a {0} node learns nothing of environments, so --environments limits nothing: leave it out")]
    NoEnvironments(Role),
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
