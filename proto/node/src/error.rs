//! Why a node cannot start.

use std::path::PathBuf;

use hanse_topology::{Identity, Name, Role};

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with the join token.
    #[error("cannot read {path}")]
    JoinTokenFile {
        /// As in the configuration.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// One of the small files of the data directory.
    #[error(transparent)]
    Kept(#[from] hanse_process::json_file::Error),
    /// No certificate on disk and nothing to get one with.
    #[error(
        "{data_dir} holds no certificate and there is no join token; make one with {} and give it as join_token_file or \
         {variable}",
        minting(*.role)
    )]
    NoJoinToken {
        /// Where a certificate would be.
        data_dir: PathBuf,
        /// What the node is.
        role: Role,
        /// The variable that may carry a token.
        variable: String,
    },
    /// The certificate on disk is another's.
    #[error(
        "{dir} holds the certificate of {found}, but name = {name:?} is configured; a {role} does not change its name: give \
         it a data_dir of its own",
        role = .found.role,
        name = .name.as_str()
    )]
    OtherIdentity {
        /// Where the certificate is.
        dir: PathBuf,
        /// Whose it is.
        found: Identity,
        /// The configured name.
        name: Name,
    },
    /// The token was for another region.
    #[error("the join token is for region {token}, but region = \"{configured}\" is configured")]
    OtherRegion {
        /// The token's.
        token: String,
        /// The configuration's.
        configured: Name,
    },
    /// A join token that is none.
    #[error("the join token is unusable")]
    JoinToken(#[from] hanse_identity::InvalidToken),
    /// Joining was refused.
    #[error("cannot join the {}", place(*.role))]
    Enrol {
        /// What the node is.
        role: Role,
        /// What was said.
        #[source]
        source: hanse_identity::EnrolError,
    },
    /// Another process runs in the same data directory.
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

/// How an operator makes a token for a role.
fn minting(role: Role) -> String {
    if role.admitted_by() == Role::Agent {
        format!("`hanse agent mint-token --join {role}` in the node's region")
    } else {
        format!("`hanse token create --join {role} --region …`")
    }
}

/// What admits a role, in words.
pub(crate) fn admitting(role: Role) -> &'static str {
    if role.admitted_by() == Role::Agent { "agent" } else { "control node" }
}

/// What a role joins.
pub(crate) fn place(role: Role) -> &'static str {
    if role.admitted_by() == Role::Agent { "region" } else { "federation" }
}
