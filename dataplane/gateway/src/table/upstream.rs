//! Where requests go: endpoints, their shares, and how to connect to them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_proto::runtime;
use http::{HeaderValue, Uri, uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};

use crate::resource::Unusable;

/// The response's head must come within this time if an upstream says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection must stand within this time if an upstream says nothing.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shares are kept exactly up to this sum of weights, and scaled down to it above: it bounds the rota's memory.
const MAX_ROTA: u64 = 1_024;

/// Endpoints of one service.
#[derive(Debug)]
pub struct Upstream {
    /// Up to the response's head.
    pub timeout: Duration,
    endpoints: Vec<Endpoint>,
    /// Indices of endpoints in the order they are used; each as often as its share.
    rota: Vec<u16>,
    next: AtomicUsize,
}

/// One address.
#[derive(Debug)]
pub struct Endpoint {
    /// `http` or `https`.
    pub scheme: uri::Scheme,
    /// `host:port` as in the URL.
    pub authority: uri::Authority,
    /// The authority as the `Host` header.
    pub host: HeaderValue,
    /// What goes before a request's path: empty, or `/` and segments without a final `/`.
    pub base_path: Box<str>,
    /// How to connect.
    pub profile: Arc<ConnectProfile>,
}

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
    known: HashMap<ProfileKey, Weak<ConnectProfile>>,
    tls: HashMap<String, Weak<ClientConfig>>,
    made: AtomicU64,
}

impl Upstream {
    /// Checks and compiles an upstream.
    pub fn new(upstream: &runtime::Upstream, profiles: &mut ConnectProfiles) -> Result<Self, Unusable> {
        let profile = profiles.get(upstream)?;
        let endpoints: Vec<Endpoint> = upstream
            .endpoints
            .iter()
            .map(|endpoint| Endpoint::new(&endpoint.url, &profile))
            .collect::<Result<_, _>>()?;
        let weights: Vec<u32> = upstream.endpoints.iter().map(|endpoint| endpoint.weight).collect();
        Ok(Self {
            timeout: millis_or(upstream.timeout_ms, DEFAULT_TIMEOUT),
            endpoints,
            rota: rota(&weights)?,
            next: AtomicUsize::new(0),
        })
    }

    /// The endpoint whose turn it is; `None`: there is none, or all are drained.
    pub fn pick(&self) -> Option<&Endpoint> {
        let turn = match self.rota.len() {
            0 => return None,
            1 => 0,
            length => self.next.fetch_add(1, Ordering::Relaxed) % length,
        };
        self.endpoints.get(usize::from(self.rota[turn]))
    }
}

impl Endpoint {
    fn new(url: &str, profile: &Arc<ConnectProfile>) -> Result<Self, Unusable> {
        let refuse = |why: &str| Unusable::new("endpoints.url", format!("{url:?} {why}"));
        let parsed: Uri = url.parse().map_err(|_| refuse("is not a URL"))?;
        let parts = parsed.into_parts();
        let scheme = parts
            .scheme
            .filter(|scheme| *scheme == uri::Scheme::HTTP || *scheme == uri::Scheme::HTTPS)
            .ok_or_else(|| refuse("is neither http:// nor https://"))?;
        let authority = parts.authority.ok_or_else(|| refuse("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("carries a user name, which is not sent"));
        }
        let path = parts.path_and_query.unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(refuse("carries a query, which is not sent"));
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse("has no valid host"))?;
        let base_path = path.path().trim_end_matches('/').into();
        Ok(Self { scheme, authority, host, base_path, profile: profile.clone() })
    }
}

impl ConnectProfiles {
    fn get(&mut self, upstream: &runtime::Upstream) -> Result<Arc<ConnectProfile>, Unusable> {
        let key = ProfileKey {
            timeout: millis_or(upstream.connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT),
            ca_pem: upstream.ca_pem.clone(),
            server_name: upstream.server_name.clone(),
        };
        if let Some(profile) = self.known.get(&key).and_then(Weak::upgrade) {
            return Ok(profile);
        }
        let server_name = match key.server_name.as_str() {
            "" => None,
            name => Some(ServerName::try_from(name.to_owned()).map_err(|_| {
                Unusable::new("server_name", format!("{name:?} is neither a DNS name nor an address"))
            })?),
        };
        let tls = match self.tls.get(&key.ca_pem).and_then(Weak::upgrade) {
            Some(tls) => tls,
            None => {
                let tls = Arc::new(client_config(&key.ca_pem)?);
                self.tls.retain(|_, known| known.strong_count() > 0);
                self.tls.insert(key.ca_pem.clone(), Arc::downgrade(&tls));
                tls
            }
        };
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        let profile = Arc::new(ConnectProfile { id, timeout: key.timeout, tls, server_name });
        self.known.retain(|_, known| known.strong_count() > 0);
        self.known.insert(key, Arc::downgrade(&profile));
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

fn millis_or(millis: u64, default: Duration) -> Duration {
    if millis == 0 { default } else { Duration::from_millis(millis) }
}

/// Spreads each endpoint's turns evenly (smooth weighted round robin).
fn rota(weights: &[u32]) -> Result<Vec<u16>, Unusable> {
    if u16::try_from(weights.len()).is_err() {
        return Err(Unusable::new("endpoints", "more than 65,535"));
    }
    if weights.first().is_some_and(|first| *first > 0 && weights.iter().all(|weight| weight == first)) {
        return Ok((0..weights.len() as u16).collect()); // what almost every upstream is
    }
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let scaled: Vec<i64> = weights
        .iter()
        .map(|&weight| u64::from(weight / divisor))
        .map(|weight| if sum <= MAX_ROTA || weight == 0 { weight } else { (weight * MAX_ROTA / sum).max(1) })
        .map(|weight| weight as i64) // at most u32::MAX
        .collect();
    let total: i64 = scaled.iter().sum();
    let mut credit = vec![0; scaled.len()];
    let mut rota = Vec::new();
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&scaled) {
            *credit += weight;
        }
        // The first of equals, so that the order of endpoints is the order of use.
        let Some(chosen) = (0..credit.len()).max_by_key(|&at| (credit[at], std::cmp::Reverse(at))) else {
            break;
        };
        credit[chosen] -= total;
        rota.push(chosen as u16); // checked above
    }
    Ok(rota)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(urls: &[(&str, u32)]) -> runtime::Upstream {
        let endpoint =
            |(url, weight): &(&str, u32)| runtime::Endpoint { url: (*url).to_owned(), weight: *weight };
        runtime::Upstream { endpoints: urls.iter().map(endpoint).collect(), ..Default::default() }
    }

    #[test]
    fn turns_follow_the_weights() {
        let check =
            |weights: &[u32], wanted: &[u16]| assert_eq!(rota(weights).unwrap(), wanted, "{weights:?}");
        check(&[], &[]);
        check(&[0], &[]);
        check(&[7], &[0]);
        check(&[1, 1, 1], &[0, 1, 2]);
        check(&[4, 0, 2], &[0, 2, 0]);
        check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        let large = rota(&[u32::MAX, 1, u32::MAX - 1]).unwrap();
        assert!(large.len() <= MAX_ROTA as usize + 3 && large.contains(&1), "{}", large.len());
    }

    #[test]
    fn endpoints_take_turns_and_keep_their_base_path() {
        let compiled = Upstream::new(
            &upstream(&[("http://a:1/base/", 1), ("https://b", 1)]),
            &mut ConnectProfiles::default(),
        )
        .unwrap();
        let turn = || {
            let endpoint = compiled.pick().unwrap();
            (endpoint.scheme.to_string(), endpoint.authority.to_string(), endpoint.base_path.to_string())
        };
        let a = ("http".to_owned(), "a:1".to_owned(), "/base".to_owned());
        let b = ("https".to_owned(), "b".to_owned(), String::new());
        assert_eq!([turn(), turn(), turn()], [a.clone(), b, a]);
        assert_eq!(compiled.timeout, DEFAULT_TIMEOUT);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |given: &runtime::Upstream, field: &str| {
            assert_eq!(
                Upstream::new(given, &mut ConnectProfiles::default()).unwrap_err().field,
                field,
                "{given:?}"
            );
        };
        for url in ["", "a:1", "ftp://a", "http://", "http://user:secret@a", "http://a/?q=1", "http://a b"] {
            check(&upstream(&[(url, 1)]), "endpoints.url");
        }
        check(&runtime::Upstream { ca_pem: "nonsense".to_owned(), ..upstream(&[]) }, "ca_pem");
        check(&runtime::Upstream { server_name: "a b".to_owned(), ..upstream(&[]) }, "server_name");
    }

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
