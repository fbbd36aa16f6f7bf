//! Whom to trust when connecting to an upstream.

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, pem::PemObject as _};

use crate::Unusable;

/// Whom to trust when connecting to `https` endpoints.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The roots of trust as they were given, which tells bundles apart; empty: the public ones.
    pub ca_pem: String,
    /// The same, parsed.
    pub anchors: Vec<TrustAnchor<'static>>,
    /// The name the certificate must have, instead of the URL's host.
    pub server_name: Option<ServerName<'static>>,
}

impl Trust {
    pub(crate) fn new(ca_pem: String, server_name: &str) -> Result<Self, Unusable> {
        let anchors = anchors(&ca_pem).map_err(|reason| Unusable::new("ca_pem", reason))?;
        let server_name = match server_name {
            "" => None,
            name => Some(parse_name(name).map_err(|reason| Unusable::new("server_name", reason))?),
        };
        Ok(Self { ca_pem, anchors, server_name })
    }

    /// Whether it says more than the default: endpoints are meant to be asked over TLS.
    pub fn is_given(&self) -> bool {
        !self.ca_pem.is_empty() || self.server_name.is_some()
    }
}

/// A name that a certificate can have.
pub(crate) fn parse_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name:?} is neither a DNS name nor an address"))
}

fn anchors(ca_pem: &str) -> Result<Vec<TrustAnchor<'static>>, String> {
    if ca_pem.is_empty() {
        return Ok(Vec::new());
    }
    let one = |certificate: Result<CertificateDer<'static>, _>| {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        let anchor = webpki::anchor_from_trusted_cert(&certificate).map_err(|error| error.to_string())?;
        Ok(anchor.to_owned())
    };
    let anchors: Vec<_> =
        CertificateDer::pem_slice_iter(ca_pem.as_bytes()).map(one).collect::<Result<_, String>>()?;
    if anchors.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    Ok(anchors)
}
