//! How to connect to endpoints.

use std::{sync::Arc, time::Duration};

use hanse_identity::TunnelClient;
use hanse_runtime::Trust;
use hanse_topology::Name;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{ServerName, TrustAnchor};

use super::UpstreamId;
use crate::{egress::EgressGuard, health::Endpoints, table::EndpointSets, weak::WeakMap};

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
    /// Where connections may go.
    pub egress: Arc<EgressGuard>,
    /// To gateways of another region; `None`: to a service.
    pub tunnel: Option<TunnelClient>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ProfileKey {
    environment: Option<Name>,
    timeout: Duration,
    ca_pem: String,
    server_name: Option<ServerName<'static>>,
}

/// Every profile in use, each once, and what else scopes share while they are compiled.
#[derive(Debug, Default)]
pub struct ConnectProfiles {
    known: WeakMap<ProfileKey, ConnectProfile>,
    tls: WeakMap<String, ClientConfig>,
    pub(crate) endpoints: Endpoints,
    pub(crate) sets: EndpointSets,
}

impl ConnectProfiles {
    /// Profiles for these endpoints, of which there is one collection per process.
    pub fn over(endpoints: Endpoints) -> Self {
        Self { endpoints, ..Self::default() }
    }

    pub(super) fn get(&mut self, of: &UpstreamId, timeout: Duration, trust: Trust) -> Arc<ConnectProfile> {
        let Trust { ca_pem, anchors, server_name } = trust;
        let environment = of.scope.environment().cloned();
        let key = ProfileKey { environment, timeout, ca_pem, server_name };
        if let Some(profile) = self.known.get(&key) {
            return profile;
        }
        let tls = self.tls.get(&key.ca_pem).unwrap_or_else(|| {
            let tls = Arc::new(client_config(anchors));
            self.tls.insert(key.ca_pem.clone(), &tls);
            tls
        });
        let (id, egress) = (self.endpoints.next_id(), self.endpoints.egress(key.environment.as_ref()));
        let server_name = key.server_name.clone();
        let profile = Arc::new(ConnectProfile { id, timeout, tls, server_name, egress, tunnel: None });
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
    use crate::testbed::{checked, scope, upstream};

    #[test]
    fn equal_profiles_are_one() {
        let mut profiles = ConnectProfiles::default();
        let mut get = |(scope, timeout)| {
            let trust = checked(upstream(&[])).trust;
            let id = UpstreamId::new(&scope, "upstream/default/a");
            profiles.get(&id, Duration::from_millis(timeout), trust)
        };
        let local: hanse_topology::ScopeId = "local/eu-west/production/east".parse().unwrap();
        let [a, b, other, elsewhere] = [
            (scope("production"), 5),
            (scope("production"), 5),
            (scope("production"), 7),
            (scope("sandbox"), 5),
        ]
        .map(&mut get);
        let local = get((local, 7));
        assert_eq!(a.id, b.id);
        assert!(a.id != other.id && a.id != elsewhere.id);
        assert!(Arc::ptr_eq(&a.tls, &other.tls) && Arc::ptr_eq(&a.tls, &elsewhere.tls));
        assert!(
            Arc::ptr_eq(&local.egress, &a.egress),
            "what an Origin adds connects where its environment may"
        );
        assert!(Arc::ptr_eq(&a.egress, &other.egress) && !Arc::ptr_eq(&a.egress, &elsewhere.egress));
    }
}
