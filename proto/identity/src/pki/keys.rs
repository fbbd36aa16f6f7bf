//! Key pairs and certificate chains.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{PublicKeyData as _, SigningKey as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::PkiError;

/// A certificate chain: leaf (or the authority's own certificate) first, root last.
pub type Chain = Vec<CertificateDer<'static>>;

/// An ECDSA P-256 key pair. Cloning shares it; printing does not reveal it.
#[derive(Clone)]
pub struct KeyPair(pub(super) Arc<rcgen::KeyPair>);

impl KeyPair {
    /// A fresh random pair.
    pub fn generate() -> Result<Self, PkiError> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(PkiError::Crypto)?;
        Ok(Self(Arc::new(pair)))
    }

    /// The public half as SubjectPublicKeyInfo, DER.
    pub fn public_key_der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// An ECDSA signature of the SHA-256 of `message`, as ASN.1 DER.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        self.0.sign(message).map_err(PkiError::Crypto)
    }

    /// The pair as PKCS #8 PEM. Secret: write it only through [`Credentials::save`](super::Credentials::save) and the
    /// like, which restrict the file's mode.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Reads PKCS #8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        Self::from_named_pem(pem, "private key")
    }

    /// Reads PKCS #8 PEM; errors say where it is from.
    pub(super) fn from_named_pem(pem: &str, what: &str) -> Result<Self, PkiError> {
        let bad = |reason: String| PkiError::Pem { what: what.to_owned(), reason };
        let pkcs8 =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| bad(error.to_string()))?;
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|error| bad(format!("it is not an ECDSA P-256 key: {error}")))?;
        Ok(Self(Arc::new(pair)))
    }

    /// The private half for rustls.
    pub(super) fn private_key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// Whether the certificate is about this key.
    pub(crate) fn belongs_to(&self, certificate: &CertificateDer<'_>) -> bool {
        x509_parser::parse_x509_certificate(certificate)
            .is_ok_and(|(_, parsed)| parsed.public_key().raw == self.public_key_der())
    }
}

/// Whether `signature` is one of [`KeyPair::sign`] for `message`, by the key with this SubjectPublicKeyInfo.
pub fn is_signed_by(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, spki)
        .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
}

/// A certificate's SubjectPublicKeyInfo, DER.
pub(crate) fn public_key_of(certificate: &[u8]) -> Result<Vec<u8>, PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(PkiError::certificate)?;
    Ok(parsed.public_key().raw.to_vec())
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(secret)")
    }
}

/// Certificates as PEM, in order.
pub(super) fn certificates_to_pem<'a>(
    chain: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> String {
    chain.into_iter().map(|certificate| to_pem("CERTIFICATE", certificate)).collect()
}

/// Octets as PEM with this label.
pub(super) fn to_pem(label: &str, content: &[u8]) -> String {
    /// RFC 7468 §2: lines of 64 characters.
    const LINE: usize = 64;
    let mut pem = format!("-----BEGIN {label}-----\n");
    let text = STANDARD.encode(content);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// The octets of a PEM text with this label. Libraries read known labels only.
pub(super) fn from_pem(label: &str, pem: &str) -> Option<Vec<u8>> {
    let rest = pem.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let text = rest.strip_suffix(&format!("-----END {label}-----"))?;
    STANDARD.decode(text.split_whitespace().collect::<String>()).ok()
}

/// All certificates of a PEM text, in order; at least one.
pub(super) fn certificates_from_pem(pem: &str, what: &str) -> Result<Chain, PkiError> {
    let bad = |reason: String| PkiError::Pem { what: what.to_owned(), reason };
    let chain: Chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if chain.is_empty() { Err(bad("it holds no certificate".into())) } else { Ok(chain) }
}
