//! Who a certificate says its holder is.

use hanse_topology::{DOMAIN, Identity, InvalidIdentity, Name};
use rustls_pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// Why a certificate says no [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// Its name is none.
    #[error(transparent)]
    Invalid(#[from] InvalidIdentity),
    /// The bytes are not an X.509 certificate.
    #[error("not an X.509 certificate")]
    NotACertificate,
    /// The certificate has no name under the domain, or several.
    #[error("the certificate has {found} names under {DOMAIN}, not exactly one")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// The certificate has an alternative name of a kind that name constraints do not bind.
    #[error("the certificate has an alternative name that is neither a DNS name nor an IP address ({kind})")]
    ForbiddenName {
        /// Which kind.
        kind: &'static str,
    },
}

/// The identity a certificate carries: the single DNS name under [`DOMAIN`]. Other DNS names and IP addresses are for clients that
/// check host names. Anything else, URIs above all, is refused, since a regional authority's name constraint does not bind it.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<Identity, NoIdentity> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| NoIdentity::NotACertificate)?;
    let names = parsed.subject_alternative_name().map_err(|_| NoIdentity::NotACertificate)?;
    let mut own = Vec::new();
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) if under_domain(name) => own.push(*name),
            GeneralName::DNSName(_) | GeneralName::IPAddress(_) => {}
            other => return Err(NoIdentity::ForbiddenName { kind: kind_of(other) }),
        }
    }
    match own.as_slice() {
        [name] => Ok(name.parse::<Identity>()?),
        _ => Err(NoIdentity::Count { found: own.len() }),
    }
}

/// Whether a DNS name is [`DOMAIN`] or lies under it; DNS names compare without case.
pub(super) fn under_domain(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.strip_suffix(DOMAIN).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The DNS subtree of a region.
pub(super) fn subtree(region: &Name) -> String {
    format!("{region}.{DOMAIN}")
}

fn kind_of(name: &GeneralName<'_>) -> &'static str {
    match name {
        GeneralName::URI(_) => "URI",
        GeneralName::RFC822Name(_) => "mail address",
        GeneralName::DirectoryName(_) => "directory name",
        GeneralName::OtherName(..) => "other name",
        _ => "unknown kind",
    }
}
