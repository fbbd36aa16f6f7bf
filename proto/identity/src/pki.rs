//! Who is who: identities, keys, certificates and the authorities that issue them.
//!
//! The chain is root → control intermediate → regional intermediate → leaf. An agent's intermediate is bound to its
//! region by a name constraint, so a stolen one cannot speak for another region.

mod authority;
mod credentials;
mod environments;
mod files;
mod held;
mod identity;
mod key_dir;
mod keys;
mod live;
mod recovery;
mod rotation;
mod sealed_file;
mod trust;
mod validity;
mod wrap;

use std::path::PathBuf;

pub use authority::{Authority, SanName, Tier};
pub use credentials::Credentials;
pub use environments::{Environments, MAX_ENVIRONMENTS, environments_of};
pub use held::Held;
pub use identity::{NoIdentity, identity_of};
pub use key_dir::{KeyDir, Seal};
pub(crate) use keys::public_key_of;
pub use keys::{Chain, KeyPair, is_signed_by, public_key_from_pem};
pub(crate) use live::Shown;
pub use live::{Live, LiveAuthority, LiveCredentials, LiveTrust, Refused};
pub use recovery::RecoveryPairs;
pub use rotation::{EndorsedRoot, Rotation, ToldRoots};
pub use trust::{KeyDigest, TrustAnchor, TrustBundle, key_digest};
pub(crate) use trust::{key_digests, unix_time};
pub use validity::Validity;
pub use wrap::{WrappedAs, check_public_key, wrap_key};

/// Why keys or certificates could not be made, read, written or believed.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or directory could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Text that should be PEM is not, or holds something else.
    #[error("{what} is not valid PEM: {reason}")]
    Pem {
        /// Which text.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A private key is sealed, and what seals it is not at hand.
    #[error("{path} is sealed, and the key at hand does not open it")]
    DoesNotOpen {
        /// The file.
        path: PathBuf,
    },
    /// A secret would be written in the clear.
    #[error("{path} is not written: there is no store_key to seal it with")]
    NotSealed {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be read or is not of the kind it must be.
    #[error("unusable certificate: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// A public key that an authority does not certify.
    #[error("unusable public key: {reason}")]
    PublicKey {
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate carries no acceptable identity.
    #[error("the certificate carries no acceptable identity")]
    Identity(#[from] NoIdentity),
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the first certificate of the chain")]
    KeyMismatch,
    /// The chain does not lead to the trust anchor, or breaks a constraint on the way.
    #[error("the certificate chain is not valid under the trust anchor")]
    Untrusted(#[source] rustls::Error),
    /// An authority was asked for something that its own certificate does not allow.
    #[error("this authority may not issue that: {reason}")]
    NotAllowed {
        /// The rule that forbids it.
        reason: String,
    },
    /// Making a key or a signature failed.
    #[error("cannot make a key or a signature")]
    Crypto(#[source] rcgen::Error),
    /// A key cannot be wrapped.
    #[error("cannot wrap a key")]
    Wrap(#[source] rustls::Error),
    /// A private key cannot be used for TLS.
    #[error("unusable private key")]
    PrivateKey(#[source] rustls::Error),
}

impl PkiError {
    pub(crate) fn certificate(reason: impl ToString) -> Self {
        Self::Certificate { reason: reason.to_string() }
    }

    fn not_allowed(reason: impl ToString) -> Self {
        Self::NotAllowed { reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests;
