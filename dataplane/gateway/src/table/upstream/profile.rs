//! How to connect to endpoints.

use std::{sync::Arc, time::Duration};

use hanse_proto::runtime;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};

use super::millis_or;
use crate::{health::Endpoints, resource::Unusable, weak::WeakMap};

/// A connection must stand within this time if an upstream says nothing.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to connect. Endpoints with equal profiles share connections.
#[derive(Debug)]
pub struct ConnectProfile {
    /// Identifies the profile for as long as anything uses it.
    pub id: u64,
    /// For TCP and TLS together.
    pub timeout: Duration,
    /// For `https` endpoints.
    pub tls: Arc<ClientConfig>,
    /// The name the certificate must have, instead of the URL's host.
    pub server_name: Option<ServerName<'static>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ProfileKey {
    timeout: Duration,
    ca_pem: String,
    server_name: String,
}

/// Every profile in use, each once.
#[derive(Debug, Default)]
pub struct ConnectProfiles {
    known: WeakMap<ProfileKey, ConnectProfile>,
    tls: WeakMap<String, ClientConfig>,
    pub(super) endpoints: Endpoints,
}

impl ConnectProfiles {
    /// Profiles for these endpoints, of which there is one collection per process.
    pub fn over(endpoints: Endpoints) -> Self {
        Self { endpoints, ..Self::default() }
    }

    pub(super) fn get(&mut self, upstream: &runtime::Upstream) -> Result<Arc<ConnectProfile>, Unusable> {
        let key = ProfileKey {
            timeout: millis_or(upstream.connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT),
            ca_pem: upstream.ca_pem.clone(),
            server_name: upstream.server_name.clone(),
        };
        if let Some(profile) = self.known.get(&key) {
            return Ok(profile);
        }
        let server_name = match key.server_name.as_str() {
            "" => None,
            name => Some(ServerName::try_from(name.to_owned()).map_err(|_| {
                Unusable::new("server_name", format!("{name:?} is neither a DNS name nor an address"))
            })?),
        };
        let tls = match self.tls.get(&key.ca_pem) {
            Some(tls) => tls,
            None => {
                let tls = Arc::new(client_config(&key.ca_pem)?);
                self.tls.insert(key.ca_pem.clone(), &tls);
                tls
            }
        };
        let id = self.endpoints.next_id();
        let profile = Arc::new(ConnectProfile { id, timeout: key.timeout, tls, server_name });
        self.known.insert(key, &profile);
        Ok(profile)
    }
}

/// TLS towards upstreams: the public roots, or those given instead.
fn client_config(ca_pem: &str) -> Result<ClientConfig, Unusable> {
    let refuse = |why: String| Unusable::new("ca_pem", why);
    let mut roots = RootCertStore::empty();
    if ca_pem.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|error| refuse(format!("is not PEM: {error:?}")))?;
            roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refuse("holds no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::upstream;

    #[test]
    fn equal_profiles_are_one() {
        let mut profiles = ConnectProfiles::default();
        let a = profiles.get(&upstream(&[])).unwrap();
        let b = profiles.get(&upstream(&[])).unwrap();
        let other = profiles.get(&runtime::Upstream { connect_timeout_ms: 7, ..upstream(&[]) }).unwrap();
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, other.id);
        assert!(Arc::ptr_eq(&a.tls, &other.tls));
    }
}
