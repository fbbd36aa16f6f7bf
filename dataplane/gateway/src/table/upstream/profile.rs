//! How to connect to endpoints.

use std::{sync::Arc, time::Duration};

use hanse_runtime::Trust;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{ServerName, TrustAnchor};

use crate::{health::Endpoints, weak::WeakMap};

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
    server_name: Option<ServerName<'static>>,
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

    pub(super) fn get(&mut self, timeout: Duration, trust: Trust) -> Arc<ConnectProfile> {
        let Trust { ca_pem, anchors, server_name } = trust;
        let key = ProfileKey { timeout, ca_pem, server_name };
        if let Some(profile) = self.known.get(&key) {
            return profile;
        }
        let tls = self.tls.get(&key.ca_pem).unwrap_or_else(|| {
            let tls = Arc::new(client_config(anchors));
            self.tls.insert(key.ca_pem.clone(), &tls);
            tls
        });
        let id = self.endpoints.next_id();
        let profile = Arc::new(ConnectProfile { id, timeout, tls, server_name: key.server_name.clone() });
        self.known.insert(key, &profile);
        profile
    }
}

/// TLS towards upstreams: these roots, or if there are none the public ones.
fn client_config(mut roots: Vec<TrustAnchor<'static>>) -> ClientConfig {
    if roots.is_empty() {
        roots.extend_from_slice(webpki_roots::TLS_SERVER_ROOTS);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions of TLS")
        .with_root_certificates(RootCertStore { roots })
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{checked, upstream};

    #[test]
    fn equal_profiles_are_one() {
        let mut profiles = ConnectProfiles::default();
        let mut get = |timeout: u64| {
            let trust = checked(upstream(&[])).trust;
            profiles.get(Duration::from_millis(timeout), trust)
        };
        let [a, b, other] = [5, 5, 7].map(&mut get);
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, other.id);
        assert!(Arc::ptr_eq(&a.tls, &other.tls));
    }
}
