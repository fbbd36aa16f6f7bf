//! The root certificates a process believes in.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::aws_lc_rs,
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use x509_parser::{certificate::X509Certificate, parse_x509_certificate};

use super::{PkiError, Tier, Validity, authority::tier_of, identity_of, keys};
use hanse_topology::Identity;

/// The root certificate. Cloning is cheap.
#[derive(Clone)]
pub struct TrustAnchor {
    certificate: CertificateDer<'static>,
    spki_sha256: [u8; 32],
}

impl TrustAnchor {
    /// Takes a root's certificate as the root of trust: self-signed, and of the tier that is above all others. No certificate that
    /// a root issues to others is one.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Result<Self, PkiError> {
        let certificate = CertificateDer::from(der.into());
        let spki_sha256 = key_digest(&certificate)?;
        let (_, parsed) = parse_x509_certificate(&certificate).map_err(PkiError::certificate)?;
        if tier_of(&certificate)? != Tier::Root || parsed.verify_signature(None).is_err() {
            return Err(PkiError::certificate("a trust anchor must be a root's certificate"));
        }
        RootCertStore::empty().add(certificate.clone()).map_err(PkiError::Untrusted)?;
        Ok(Self { certificate, spki_sha256 })
    }

    /// Reads PEM text that holds exactly one certificate.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        match keys::certificates_from_pem(pem, "trust anchor")?.as_slice() {
            [certificate] => Self::from_der(certificate.to_vec()),
            several => Err(PkiError::Pem {
                what: "trust anchor".into(),
                reason: format!("it holds {} certificates, not one", several.len()),
            }),
        }
    }

    /// The root of a chain: its last certificate.
    pub fn of_chain(chain: &[CertificateDer<'_>]) -> Result<Self, PkiError> {
        let root = chain.last().ok_or_else(|| PkiError::certificate("the chain is empty"))?;
        Self::from_der(root.to_vec())
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        keys::certificates_to_pem([&self.certificate])
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When the certificate is valid.
    pub fn validity(&self) -> Result<Validity, PkiError> {
        Validity::of_certificate(&self.certificate)
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what a join token pins. It outlives a renewal of the root under its key.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// As [`TrustBundle::verify`], with this root alone.
    pub fn verify(&self, chain: &[CertificateDer<'_>], at: SystemTime) -> Result<Identity, PkiError> {
        TrustBundle::from(self.clone()).verify(chain, at)
    }
}

/// The roots a process believes in: one, or two while one takes the other's place. Cloning is cheap.
#[derive(Clone)]
pub struct TrustBundle {
    anchors: Arc<[TrustAnchor]>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    issuing: Option<KeyDigest>,
    dropped: Arc<BTreeSet<KeyDigest>>,
}

impl TrustBundle {
    /// These roots; at least one.
    pub fn new(anchors: impl Into<Arc<[TrustAnchor]>>) -> Result<Self, PkiError> {
        let anchors = anchors.into();
        let mut roots = RootCertStore::empty();
        for anchor in &*anchors {
            roots.add(anchor.certificate.clone()).map_err(PkiError::Untrusted)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider)
            .build()
            .map_err(|error| PkiError::certificate(format!("no bundle of trust: {error}")))?;
        Ok(Self { anchors, roots, clients, issuing: None, dropped: Arc::default() })
    }

    /// Reads PEM text that holds one root or several.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let certificates = keys::certificates_from_pem(pem, "trust bundle")?;
        let anchors: Vec<_> = certificates
            .iter()
            .map(|certificate| TrustAnchor::from_der(certificate.to_vec()))
            .collect::<Result<_, _>>()?;
        Self::new(anchors)
    }

    /// The roots as PEM.
    pub fn to_pem(&self) -> String {
        keys::certificates_to_pem(self.anchors.iter().map(TrustAnchor::certificate))
    }

    /// The same roots; certificates should come from the one with this key, if it is among them.
    pub fn issued_by(self, root: KeyDigest) -> Self {
        let issuing = self.anchors.iter().any(|anchor| anchor.spki_sha256() == root).then_some(root);
        Self { issuing, ..self }
    }

    /// The root that certificates should come from, while one takes another's place.
    pub fn issuing(&self) -> Option<KeyDigest> {
        self.issuing
    }

    /// The same, but for roots of these keys: they are never believed again, whichever root endorses them.
    pub(super) fn without(self, dropped: BTreeSet<KeyDigest>) -> Self {
        Self { dropped: Arc::new(dropped), ..self }
    }

    /// The keys of roots that were believed once and never will be again.
    pub fn dropped(&self) -> &BTreeSet<KeyDigest> {
        &self.dropped
    }

    /// The root that a leaf rests on, by way of certificates of its chain. What else is shown, as another root's certificate, says
    /// nothing.
    pub(crate) fn root_of(&self, chain: &[CertificateDer<'_>]) -> Option<KeyDigest> {
        let parsed = |der| parse_x509_certificate(der).ok().map(|(_, certificate)| certificate);
        let anchors: Vec<_> =
            self.anchors.iter().filter_map(|held| Some((held, parsed(held.certificate())?))).collect();
        let shown: Vec<_> = chain.iter().filter_map(|der| parsed(der)).collect();
        let mut at = shown.first()?;
        for _ in &shown {
            if let Some((held, _)) = anchors.iter().find(|(_, root)| is_issued_by(at, root)) {
                return Some(held.spki_sha256);
            }
            at = shown.iter().find(|above| is_issued_by(at, above))?;
        }
        None
    }

    /// Whether a root of this key is believed.
    pub(crate) fn believes(&self, root: &KeyDigest) -> bool {
        self.anchors.iter().any(|anchor| anchor.spki_sha256 == *root)
    }

    /// Whether a chain ends in another root than certificates should come from.
    pub fn is_outdated(&self, chain: &[CertificateDer<'_>]) -> bool {
        let ends_in = chain.last().and_then(|root| key_digest(root).ok());
        self.issuing.is_some_and(|issuing| ends_in != Some(issuing))
    }

    /// The roots, in the order given.
    pub fn anchors(&self) -> &[TrustAnchor] {
        &self.anchors
    }

    /// Verifies a leaf's chain at a time and says whose it is.
    pub fn verify(&self, chain: &[CertificateDer<'_>], at: SystemTime) -> Result<Identity, PkiError> {
        let (leaf, rest) = chain.split_first().ok_or_else(|| PkiError::certificate("the chain is empty"))?;
        self.verify_path(leaf, rest, unix_time(at)).map_err(PkiError::Untrusted)?;
        Ok(identity_of(leaf)?)
    }

    /// Path validation of a server's chain: signatures, validity, basic constraints, name constraints, key usage.
    pub(crate) fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms.all)
    }

    /// Path validation of a client's chain, likewise.
    pub(crate) fn verify_client(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        self.clients.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }
}

/// By name first: most are not, and a signature takes its time.
fn is_issued_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

impl PartialEq for TrustBundle {
    /// Whether the same roots are believed and dropped, and certificates should come from the same.
    fn eq(&self, other: &Self) -> bool {
        self.anchors == other.anchors && self.issuing == other.issuing && self.dropped == other.dropped
    }
}

impl From<TrustAnchor> for TrustBundle {
    fn from(anchor: TrustAnchor) -> Self {
        Self::new([anchor]).expect("a root that was accepted as an anchor makes a bundle")
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.anchors).finish()
    }
}

/// A time as the verifiers take it.
pub(crate) fn unix_time(at: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// SHA-256 of a SubjectPublicKeyInfo: what a key goes by.
pub type KeyDigest = [u8; 32];

/// Those of a chain's certificates, in order. What cannot be read has none.
pub(crate) fn key_digests<'a>(chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Vec<KeyDigest> {
    chain.into_iter().filter_map(|certificate| key_digest(certificate).ok()).collect()
}

/// The digest of a certificate's key, as the certificate has it.
pub fn key_digest(certificate: &CertificateDer<'_>) -> Result<KeyDigest, PkiError> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(PkiError::certificate)?;
    Ok(Sha256::digest(parsed.public_key().raw).into())
}

impl fmt::Debug for TrustAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustAnchor({})", hex::encode(self.spki_sha256))
    }
}

impl PartialEq for TrustAnchor {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for TrustAnchor {}
