//! What the operator API asks about certificates.

use std::time::UNIX_EPOCH;

use hanse_identity::{EndorsedRoot, LiveAuthority, Rotation, TrustAnchor};
use hanse_management::{Problem, ProblemName};
use hanse_process::telemetry;
use hanse_state::{
    RootCertificate, RootId,
    port::{RootCertificates, RootFacts},
};

/// Reads certificates for the API.
pub(crate) struct Certificates {
    /// This node's own authority.
    pub(crate) control: LiveAuthority,
}

impl RootCertificates for Certificates {
    fn present(&self) -> Option<RootFacts> {
        self.control.current().trust_anchor().ok().map(|anchor| facts(&anchor))
    }

    fn facts(&self, certificate: &[u8]) -> Option<RootFacts> {
        TrustAnchor::from_der(certificate).ok().map(|anchor| facts(&anchor))
    }

    fn rotation(&self, pem: &str) -> Result<(RootCertificate, RootCertificate), Problem> {
        let rotation = Rotation::from_pem(pem).map_err(|error| {
            Problem::new(ProblemName::Invalid, telemetry::causes(&error).to_string())
                .at("body: rotation")
                .remedy("send the file rotation.pem that hanse root new wrote")
        })?;
        let certificate = |root: &EndorsedRoot| RootCertificate {
            key: root.anchor.spki_sha256(),
            certificate: root.anchor.certificate().to_vec(),
            endorsement: root.endorsement.to_vec(),
        };
        let own = self.control.current().trust_anchor().ok();
        let known = |root: &EndorsedRoot| own.as_ref().is_some_and(|own| *own == root.anchor);
        // After the change-over it may be said again, by a client that did not hear the answer.
        if !known(&rotation.present) && !known(&rotation.fresh) {
            return Err(Problem::new(
                ProblemName::Invalid,
                "the rotation takes the place of a root that is not this federation's",
            )
            .at("body: rotation")
            .remedy("make it from the root in use: hanse root list shows which that is"));
        }
        Ok((certificate(&rotation.present), certificate(&rotation.fresh)))
    }
}

fn facts(anchor: &TrustAnchor) -> RootFacts {
    let key: RootId = anchor.spki_sha256();
    let end = anchor.validity().ok().and_then(|validity| validity.not_after.duration_since(UNIX_EPOCH).ok());
    let not_after_ms = end.and_then(|end| u64::try_from(end.as_millis()).ok()).unwrap_or_default();
    RootFacts { key, pem: anchor.to_pem(), not_after_ms }
}
