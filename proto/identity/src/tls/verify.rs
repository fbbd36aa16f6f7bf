//! The verifiers: path validation by webpki, then our own rule about the identity.

use std::{iter::once, sync::Arc};

use hanse_topology::{Identity, Name, Role};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::parse_x509_certificate;

use crate::{
    KeyDigest, LiveTrust, NoIdentity, TrustAnchor, TrustBundle, Validity, identity_of, key_digest,
    pki::{key_digests, unix_time},
};

const TLS_1_2: &str = "TLS 1.2 is not spoken here";

/// Why a peer with a valid chain was refused all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPeer {
    /// Its certificate carries no acceptable identity.
    #[error("the peer's certificate is refused: {0}")]
    Identity(NoIdentity),
    /// It is not what is expected here.
    #[error("{peer} is refused here: expected role {expected}")]
    Role {
        /// Who came.
        peer: String,
        /// The roles expected.
        expected: String,
    },
    /// It is of another region.
    #[error("{peer} is refused here: expected region {expected}")]
    Region {
        /// Who came.
        peer: String,
        /// The region expected.
        expected: Name,
    },
    /// No root with the pinned key.
    #[error(
        "its chain does not end in the root that the join token pins (SHA-256 {pinned}): \
         wrong address, or a token of another federation"
    )]
    Pin {
        /// The hash expected, in hex.
        pinned: String,
    },
    /// It is not the one process that is expected.
    #[error(
        "{peer} is refused here: expected {expected}, certified with the key that it joined with (SHA-256 {key})"
    )]
    Another {
        /// Who came.
        peer: String,
        /// Who is expected.
        expected: String,
        /// The hash of the expected issuer's key, in hex.
        key: String,
    },
    /// It is refused by name, or for a key in its chain.
    #[error("{peer} is refused here: it is revoked, or was certified under a key that is")]
    Revoked {
        /// Who came.
        peer: String,
    },
    /// A certificate whose issuer's does not follow it, where the issuer matters.
    #[error("the peer's chain is refused: its second certificate is not the issuer of its first")]
    Order,
}

impl From<RefusedPeer> for Error {
    fn from(refused: RefusedPeer) -> Self {
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

/// Which identities are accepted.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) roles: Vec<Role>,
    pub(super) region: Option<Name>,
}

impl Rule {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<Identity, RefusedPeer> {
        let peer = identity_of(certificate).map_err(RefusedPeer::Identity)?;
        if !self.roles.contains(&peer.role) {
            let expected = self.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
            return Err(RefusedPeer::Role { peer: peer.to_string(), expected });
        }
        match &self.region {
            Some(region) if peer.region.as_ref() != Some(region) => {
                Err(RefusedPeer::Region { peer: peer.to_string(), expected: region.clone() })
            }
            _ => Ok(peer),
        }
    }
}

/// Whether an identity is refused, by name or for a key of its chain that it answers for.
fn check_refusal(
    trust: &LiveTrust,
    peer: &Identity,
    (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    answers_for: fn(Role, &[CertificateDer<'_>]) -> Vec<KeyDigest>,
) -> Result<(), RefusedPeer> {
    let chain: Vec<_> = once(leaf).chain(intermediates).cloned().collect();
    let is_refused = trust.refuses_peer(peer, &answers_for(peer.role, &chain));
    if is_refused { Err(RefusedPeer::Revoked { peer: peer.to_string() }) } else { Ok(()) }
}

/// How both verifiers check signatures of a handshake.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General(TLS_1_2.into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

/// The keys that a client answers for.
///
/// An agent is known by the key of its authority, and a gateway by the key of its leaf. The services check that key, so the keys
/// above it do not matter: a client that was refused for one of them would never hear that it must be certified anew. A control
/// node answers for its whole chain.
pub(crate) fn of_client(role: Role, chain: &[CertificateDer<'_>]) -> Vec<KeyDigest> {
    let own = match (role.has_region(), role.certifies()) {
        (true, false) => 1,
        (true, true) => 2,
        (false, _) => chain.len(),
    };
    key_digests(chain.iter().take(own))
}

/// The keys that a server answers for: all that it shows, because it is known by nothing else.
pub(crate) fn of_server(chain: &[CertificateDer<'_>]) -> Vec<KeyDigest> {
    key_digests(chain)
}

/// Which clients' certificates are of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// Valid ones.
    Valid,
    /// Also expired and refused ones, in order, or none at all. The renewing service judges by key and name, and says why it refuses.
    ExpiredOrNone,
}

/// Checks clients: webpki's path validation, then the rule.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    trust: LiveTrust,
    rule: Rule,
    admit: Admit,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(super) fn new(trust: LiveTrust, rule: Rule, admit: Admit) -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { trust, rule, admit, algorithms }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.admit == Admit::Valid
    }

    /// No hints: our clients have one certificate, and the roots may change.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        directly_issued(leaf, intermediates.first())?;
        let at = match self.admit {
            Admit::Valid => now,
            Admit::ExpiredOrNone => end_of_life(leaf)?.min(now),
        };
        self.trust.current().verify_client(leaf, intermediates, at)?;
        let peer = self.rule.check(leaf)?;
        if self.admit == Admit::Valid {
            check_refusal(&self.trust, &peer, (leaf, intermediates), of_client)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}

/// The last moment a certificate is valid.
fn end_of_life(certificate: &CertificateDer<'_>) -> Result<UnixTime, Error> {
    let validity = Validity::of_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(unix_time(validity.not_after))
}

/// Services look at the key of a leaf's issuer: the second certificate must be that one, not merely somewhere in the chain.
fn directly_issued(leaf: &CertificateDer<'_>, issuer: Option<&CertificateDer<'_>>) -> Result<(), Error> {
    let signed = issuer.is_some_and(|issuer| {
        let (Ok((_, leaf)), Ok((_, issuer))) = (parse_x509_certificate(leaf), parse_x509_certificate(issuer))
        else {
            return false;
        };
        leaf.verify_signature(Some(issuer.public_key())).is_ok()
    });
    if signed { Ok(()) } else { Err(RefusedPeer::Order.into()) }
}

/// Where a client's trust comes from.
#[derive(Debug)]
enum Trust {
    Live(LiveTrust),
    /// The root is whichever presented certificate has a public key of this SHA-256.
    Pinned([u8; 32]),
}

/// Checks servers: webpki's path validation without the host name, then the rule.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    trust: Trust,
    rule: Rule,
    /// The only process accepted, and the key of its certificate's issuer.
    exactly: Option<(Identity, KeyDigest)>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn trusting(trust: LiveTrust, rule: Rule) -> Self {
        Self::new(Trust::Live(trust), rule)
    }

    /// Accepts one process only, under the authority with this key.
    pub(super) fn of_one(trust: LiveTrust, peer: Identity, issuer: KeyDigest) -> Self {
        let rule = Rule { roles: vec![peer.role], region: peer.region.clone() };
        Self { exactly: Some((peer, issuer)), ..Self::trusting(trust, rule) }
    }

    pub(super) fn pinned(spki_sha256: [u8; 32], rule: Rule) -> Self {
        Self::new(Trust::Pinned(spki_sha256), rule)
    }

    fn new(trust: Trust, rule: Rule) -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { trust, rule, exactly: None, algorithms }
    }

    /// Whether a chain is that of the only process accepted, if there is one.
    fn check_exactly(
        &self,
        peer: &Identity,
        leaf: &CertificateDer<'_>,
        issuer: Option<&CertificateDer<'_>>,
    ) -> Result<(), Error> {
        let Some((expected, key)) = &self.exactly else { return Ok(()) };
        directly_issued(leaf, issuer)?;
        let has_key = issuer.and_then(|issuer| key_digest(issuer).ok()).is_some_and(|found| found == *key);
        if peer == expected && has_key {
            return Ok(());
        }
        let (peer, expected) = (peer.to_string(), expected.to_string());
        Err(RefusedPeer::Another { peer, expected, key: hex::encode(key) }.into())
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Live(trust) => trust.current().verify_path(leaf, intermediates, now)?,
            Trust::Pinned(pin) => {
                // The rest of the chain must then be signed under that very key, so presenting another federation's root
                // gains nothing.
                let anchor = intermediates
                    .iter()
                    .find(|certificate| key_digest(certificate).is_ok_and(|hash| hash == *pin))
                    .and_then(|root| TrustAnchor::from_der(root.to_vec()).ok())
                    .ok_or_else(|| RefusedPeer::Pin { pinned: hex::encode(pin) })?;
                TrustBundle::from(anchor).verify_path(leaf, intermediates, now)?;
            }
        }
        let peer = self.rule.check(leaf)?;
        if let Trust::Live(trust) = &self.trust {
            check_refusal(trust, &peer, (leaf, intermediates), |_, chain| of_server(chain))?;
        }
        self.check_exactly(&peer, leaf, intermediates.first())?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}
