//! The environments that a leaf says its holder serves.
//!
//! They are an X.509 extension that is not critical: verifiers that do not ask for it pass over it. Its value is a `SEQUENCE OF UTF8String`
//! of names, in order and each once, or of `*` alone for all environments. A leaf without the extension names none.

use std::{collections::BTreeSet, fmt};

use hanse_topology::Name;
use rcgen::CustomExtension;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::{FromDer as _, Oid, Utf8String},
    parse_x509_certificate,
};

use super::PkiError;

/// The object identifier of the extension. It is private to Hanse's own PKI: no registry knows it, and only leaves below a Hanse root have it.
///
/// Its last arc was drawn at random below 2^31, and so is no UUID, although 2.25 is the arc of those. Go refuses a certificate with an arc
/// of 2^31 or more in any extension (`cryptobyte.ReadASN1ObjectIdentifier`), also where it verifies nothing.
const OID: [u64; 3] = [2, 25, 1_264_005_279];
/// The most environments that a leaf names: each handshake carries them, 4 KiB with the longest names.
pub const MAX_ENVIRONMENTS: usize = 64;
/// Stands for all environments. No environment has this name.
const ALL: &str = "*";
/// DER: a sequence.
const SEQUENCE: u8 = 0x30;
/// DER: a text in UTF-8.
const UTF8_STRING: u8 = 0x0c;

/// Some environments, or all. The default is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environments {
    /// All of them.
    All,
    /// Those of these names.
    Named(BTreeSet<Name>),
}

impl Default for Environments {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl Environments {
    /// Whether an environment is among them.
    pub fn contains(&self, environment: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(environment),
        }
    }

    /// The extension that says so; `None`: a leaf of no environments has none.
    pub(super) fn extension(&self) -> Result<Option<CustomExtension>, PkiError> {
        let names: Vec<&str> = match self {
            Self::All => vec![ALL],
            Self::Named(names) if names.is_empty() => return Ok(None),
            Self::Named(names) if names.len() > MAX_ENVIRONMENTS => {
                return Err(PkiError::not_allowed(format!(
                    "a leaf names at most {MAX_ENVIRONMENTS} environments, and these are {}",
                    names.len()
                )));
            }
            Self::Named(names) => names.iter().map(Name::as_str).collect(),
        };
        let texts: Vec<u8> = names.iter().flat_map(|name| der(UTF8_STRING, name.as_bytes())).collect();
        Ok(Some(CustomExtension::from_oid_content(&OID, der(SEQUENCE, &texts))))
    }
}

impl fmt::Display for Environments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ALL),
            Self::Named(names) if names.is_empty() => f.write_str("none"),
            Self::Named(names) => f.write_str(&names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// The environments that a leaf names. To be asked of leaves whose chain was verified: anybody can write a certificate.
///
/// An extension that is malformed, or is there twice, is an error, and stands for no environment.
pub fn environments_of(leaf: &CertificateDer<'_>) -> Result<Environments, PkiError> {
    let (_, parsed) = parse_x509_certificate(leaf).map_err(PkiError::certificate)?;
    let oid = Oid::from(&OID).expect("three arcs are an object identifier");
    let bad = |reason: &str| PkiError::certificate(format!("its extension of environments {reason}"));
    let extension = parsed.get_extension_unique(&oid).map_err(|_| bad("is there twice"))?;
    let Some(extension) = extension else { return Ok(Environments::default()) };
    let texts = match Vec::<Utf8String<'_>>::from_der(extension.value) {
        Ok(([], texts)) => texts,
        Ok(_) | Err(_) => return Err(bad("is no sequence of texts")),
    };
    let texts: Vec<String> = texts.iter().map(Utf8String::string).collect();
    match texts.as_slice() {
        [] => Err(bad("names none, and so should not be there")),
        [all] if all == ALL => Ok(Environments::All),
        texts if texts.len() > MAX_ENVIRONMENTS => Err(bad("names too many")),
        texts => {
            let names: Result<Vec<Name>, _> = texts.iter().map(Name::new).collect();
            let names = names.map_err(|_| bad("has a text that is no name"))?;
            if !names.is_sorted_by(|one, next| one < next) {
                return Err(bad("has names that are not in order, or twice"));
            }
            Ok(Environments::Named(names.into_iter().collect()))
        }
    }
}

/// A value in DER. The length has one octet below 128, and two more from there on: 64 names take less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("64 names take less than 64 KiB").to_be_bytes();
    let head = match length {
        [0, short @ 0..=0x7f] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

#[cfg(test)]
mod tests;
