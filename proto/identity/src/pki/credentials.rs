//! A process's own chain and key.

use std::{fmt, path::Path, sync::Arc};

use super::{Chain, KeyPair, LiveCredentials, PkiError, TrustAnchor, Validity, files, identity_of};
use hanse_topology::Identity;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// A leaf's chain with its key.
#[derive(Clone)]
pub struct Credentials {
    chain: Chain,
    key: KeyPair,
    identity: Identity,
    validity: Validity,
    /// The whole chain: joining processes check their pin against the root.
    certified: Arc<CertifiedKey>,
    /// The chain without the root.
    public: Arc<CertifiedKey>,
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
        let certified = Arc::new(CertifiedKey::new(chain.clone(), signing_key.clone()));
        let without_root = chain[..chain.len().saturating_sub(1).max(1)].to_vec(); // a leaf alone stays
        let public = Arc::new(CertifiedKey::new(without_root, signing_key));
        Ok(Self { chain, key, identity, validity, certified, public })
    }

    /// Reads `chain.pem` and `key.pem` of a directory.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let (chain, key) = files::load(&dir.into())?;
        Self::new(chain, key)
    }

    /// Writes `chain.pem` and `key.pem` (mode 0600) into a directory, made if absent. A crash leaves the old pair or
    /// the new.
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        files::save(&dir.into(), &self.chain, &self.key)
    }

    /// Leaf first, root last.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The leaf's key.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The whole chain with the key, for handshakes.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
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

impl ResolvesServerCert for LiveCredentials {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified.clone())
    }
}

/// Shows the chain without its root: a client believes the root already, or not at all, so it would be octets for nothing in every
/// handshake.
#[derive(Debug)]
struct ClientFacing(LiveCredentials);

impl LiveCredentials {
    /// What a listener shows to clients that are no nodes.
    pub fn client_facing(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(ClientFacing(self.clone()))
    }
}

impl ResolvesServerCert for ClientFacing {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().public.clone())
    }
}

impl ResolvesClientCert for LiveCredentials {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
