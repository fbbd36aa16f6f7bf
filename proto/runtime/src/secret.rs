//! Private data: certificates with their keys, keys that sign tokens, and anything else. No reason and no `Debug` repeats it.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use hanse_proto::runtime;
use rustls_pki_types::{
    CertificateDer,
    pem::{PemObject as _, SectionKind},
};

use crate::Unusable;

/// A Secret that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The organization that owns it.
    pub organization: String,
    /// Its name there.
    pub name: String,
    /// What it holds.
    pub data: SecretData,
}

/// What a Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretData {
    /// Anything, by field.
    Opaque(BTreeMap<String, Bytes>),
    /// A certificate with its key. Whether they fit is for the one who uses them.
    Tls {
        /// The chain of certificates, in PEM.
        chain: Bytes,
        /// The key, in PEM.
        key: Bytes,
    },
    /// A key that signs tokens, PKCS #8 in PEM. Only the envelope was checked.
    TokenSigning(Bytes),
}

impl fmt::Debug for SecretData {
    /// Without data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opaque(_) => "Opaque(…)",
            Self::Tls { .. } => "Tls(…)",
            Self::TokenSigning(_) => "TokenSigning(…)",
        })
    }
}

impl Secret {
    pub(crate) fn new(secret: runtime::Secret) -> Result<Self, Unusable> {
        let runtime::Secret { organization, name, r#type, mut data } = secret;
        let mut take = |field: &str| {
            data.remove(field).ok_or_else(|| Unusable::new(format!("data.{field}"), "is missing"))
        };
        let data = match r#type.as_str() {
            "opaque" => SecretData::Opaque(data),
            "tls" => {
                let (chain, key) = (take("tls.crt")?, take("tls.key")?);
                check_chain(&chain).map_err(|reason| Unusable::new("data.tls.crt", reason))?;
                check_key(&key).map_err(|reason| Unusable::new("data.tls.key", reason))?;
                SecretData::Tls { chain, key }
            }
            "token-signing" => {
                let key = take("key.pem")?;
                check_pkcs8(&key).map_err(|reason| Unusable::new("data.key.pem", reason))?;
                SecretData::TokenSigning(key)
            }
            _ => return Err(Unusable::new("type", "is none of opaque, tls and token-signing")),
        };
        Ok(Self { organization, name, data })
    }
}

/// The sections of a PEM text that have a known kind. An error of the library has a line of the text, and is not told.
fn sections(pem: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, &'static str> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| "is not PEM")
}

fn check_chain(pem: &[u8]) -> Result<(), &'static str> {
    let sections = sections(pem)?;
    if sections.is_empty() || sections.iter().any(|(kind, _)| *kind != SectionKind::Certificate) {
        return Err("is not one or more certificates, and nothing else");
    }
    for (_, der) in sections {
        webpki::EndEntityCert::try_from(&CertificateDer::from(der))
            .map_err(|_| "has a certificate that cannot be read")?;
    }
    Ok(())
}

fn check_key(pem: &[u8]) -> Result<(), &'static str> {
    match sections(pem)?.as_slice() {
        [(SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _)] => Ok(()),
        _ => Err("is not one private key without a password, and nothing else"),
    }
}

fn check_pkcs8(pem: &[u8]) -> Result<(), &'static str> {
    match sections(pem)?.as_slice() {
        [(SectionKind::PrivateKey, _)] => Ok(()),
        _ => Err(
            "is not one private key in PKCS #8 without a password (-----BEGIN PRIVATE KEY-----), and nothing else",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PKCS8: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n";
    const LOCKED: &str =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
    /// A certificate of `test`.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUDYcn4dGSp+ma5RTdvNi/johSr5MwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjkxMjIwMTdaGA8yMTI2MTEwNTEyMjAx
N1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIFn
m09iEdNyzRaYDHAkskc6SX4biPaLWp21+gSNnm0hJwvXpD6muHZHYuhhp3F1nK2i
eoNIknp8GIN0tZAuZN2jUzBRMB0GA1UdDgQWBBSoSDgKbAw7+lqXp4OvGCizovGW
hDAfBgNVHSMEGDAWgBSoSDgKbAw7+lqXp4OvGCizovGWhDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIDBJWSC+6CLb3U9iz0C99ReTNr+OPdRFE81Z
hlWrkkuoAiEAxTSFd7qBy/KcR0IcwKxekF0B3c4FmOkPHq7sBg8ktfA=
-----END CERTIFICATE-----
";

    fn read(secret_type: &str, data: &[(&str, &str)]) -> Result<Secret, Unusable> {
        let bytes = |(field, value): &(&str, &str)| ((*field).to_owned(), value.as_bytes().to_vec().into());
        Secret::new(runtime::Secret {
            organization: "shop".to_owned(),
            name: "private".to_owned(),
            r#type: secret_type.to_owned(),
            data: data.iter().map(bytes).collect(),
        })
    }

    #[test]
    fn each_type_has_the_data_that_it_promises() {
        read("opaque", &[("password", "secret")]).unwrap();
        read("token-signing", &[("key.pem", PKCS8)]).unwrap();
        for key in [PKCS8, SEC1] {
            read("tls", &[("tls.crt", CERTIFICATE), ("tls.key", key)]).unwrap();
        }
    }

    #[test]
    fn what_it_is_not_is_told_without_the_data() {
        let two = PKCS8.repeat(2);
        let broken = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
        let line = "-----BEGIN c2VjcmV0\n";
        let (chain, both) = (("tls.crt", CERTIFICATE), format!("{CERTIFICATE}{PKCS8}"));
        for (secret_type, data, field) in [
            ("c2VjcmV0", &[("a", "c2VjcmV0")][..], "type"),
            ("token-signing", &[], "data.key.pem"),
            ("token-signing", &[("key.pem", "c2VjcmV0")], "data.key.pem"),
            ("token-signing", &[("key.pem", line)], "data.key.pem"),
            ("token-signing", &[("key.pem", SEC1)], "data.key.pem"),
            ("token-signing", &[("key.pem", LOCKED)], "data.key.pem"),
            ("token-signing", &[("key.pem", &two)], "data.key.pem"),
            ("tls", &[chain], "data.tls.key"),
            ("tls", &[chain, ("tls.key", LOCKED)], "data.tls.key"),
            ("tls", &[chain, ("tls.key", &two)], "data.tls.key"),
            ("tls", &[("tls.key", PKCS8)], "data.tls.crt"),
            ("tls", &[("tls.crt", PKCS8), ("tls.key", PKCS8)], "data.tls.crt"),
            ("tls", &[("tls.crt", &both), ("tls.key", PKCS8)], "data.tls.crt"),
            ("tls", &[("tls.crt", broken), ("tls.key", PKCS8)], "data.tls.crt"),
        ] {
            let unusable = read(secret_type, data).unwrap_err();
            assert_eq!(unusable.field, field, "{unusable}");
            assert!(!unusable.to_string().contains("c2VjcmV0"), "{unusable}");
        }
    }

    #[test]
    fn debug_shows_no_data() {
        let secret = read("opaque", &[("password", "c2VjcmV0")]).unwrap();
        let message = runtime::Secret {
            r#type: "opaque".to_owned(),
            data: [("password".to_owned(), "c2VjcmV0".into())].into(),
            ..Default::default()
        };
        for shown in [format!("{secret:?}"), format!("{message:?}")] {
            assert!(shown.to_lowercase().contains("opaque") && !shown.contains("c2VjcmV0"), "{shown}");
        }
    }
}
