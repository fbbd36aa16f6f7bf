//! A process's own chain and key, and the cell they are swapped in at renewal.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::watch;

use super::{Chain, KeyPair, PkiError, TrustAnchor, Validity, files, identity_of};
use hanse_topology::Identity;

/// A leaf's chain with its key.
#[derive(Clone)]
pub struct Credentials {
    chain: Chain,
    key: KeyPair,
    identity: Identity,
    validity: Validity,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// Checks that key, leaf and identity fit together. Trust is not checked: see [`TrustAnchor::verify`].
    pub fn new(chain: Chain, key: KeyPair) -> Result<Self, PkiError> {
        let leaf = chain.first().ok_or_else(|| PkiError::certificate("the chain is empty"))?;
        if !key.belongs_to(leaf) {
            return Err(PkiError::KeyMismatch);
        }
        let identity = identity_of(leaf)?;
        let validity = Validity::of_certificate(leaf)?;
        let signing_key = any_ecdsa_type(&key.private_key_der()).map_err(PkiError::PrivateKey)?;
        let certified = Arc::new(CertifiedKey::new(chain.clone(), signing_key));
        Ok(Self { chain, key, identity, validity, certified })
    }

    /// Reads `chain.pem` and `key.pem` of a directory.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let (chain, key) = files::load(dir)?;
        Self::new(chain, key)
    }

    /// Whether credentials were saved in this directory, whole.
    pub fn is_saved(dir: &Path) -> bool {
        files::is_saved(dir)
    }

    /// Writes `chain.pem` and `key.pem` (mode 0600) into a directory, made if absent. A crash leaves the old pair or
    /// the new.
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        files::save(dir, &self.chain, &self.key)
    }

    /// Leaf first, root last.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The leaf's key.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Whose they are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The root the chain ends in.
    pub fn trust_anchor(&self) -> Result<TrustAnchor, PkiError> {
        TrustAnchor::of_chain(&self.chain)
    }

    /// When the leaf is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.identity)
    }
}

/// Credentials that listeners and channels share and that renewal replaces. New connections use the new ones; existing
/// connections live on. Cloning shares the cell.
#[derive(Clone)]
pub struct LiveCredentials(watch::Sender<Arc<Credentials>>);

impl LiveCredentials {
    /// Starts with these.
    pub fn new(credentials: Credentials) -> Self {
        Self(watch::Sender::new(Arc::new(credentials)))
    }

    /// New handshakes use these from now on.
    pub fn replace(&self, credentials: Credentials) {
        self.0.send_replace(Arc::new(credentials));
    }

    /// What is in use now.
    pub fn current(&self) -> Arc<Credentials> {
        self.0.borrow().clone()
    }

    /// Fires when they are replaced.
    pub fn replaced(&self) -> watch::Receiver<Arc<Credentials>> {
        self.0.subscribe()
    }

    /// Whose they are.
    pub fn identity(&self) -> Identity {
        self.0.borrow().identity.clone()
    }
}

impl fmt::Debug for LiveCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveCredentials({})", self.identity())
    }
}

impl ResolvesServerCert for LiveCredentials {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().certified.clone())
    }
}

impl ResolvesClientCert for LiveCredentials {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
