//! Where requests go: endpoints, their shares, and how to connect to them.

mod id;

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use hanse_proto::runtime;
use http::{HeaderValue, Uri, uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};

pub use self::id::UpstreamId;
use super::retry::{RetryPolicy, Tried};
use crate::{
    health::{
        Asked, CheckSettings, EjectionSettings, EndpointHealth, EndpointKey, Endpoints, Failure, Ongoing,
        RetryBudget, millis,
    },
    resource::Unusable,
};

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
    /// When a request is sent again.
    pub retry: RetryPolicy,
    /// What outlives changes of it.
    ongoing: Arc<Ongoing>,
    endpoints: Vec<Endpoint>,
    /// Indices of endpoints in the order they are used; each as often as its share.
    rota: Vec<u16>,
    /// How many endpoints have turns, and how many of those may be ejected at once.
    in_rota: usize,
    max_ejected: usize,
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
    /// How it is; shared with every other table that has it.
    pub health: Arc<EndpointHealth>,
    /// Among its upstream's.
    pub(super) place: u16,
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
    endpoints: Endpoints,
}

impl Upstream {
    /// Checks and compiles an upstream.
    pub fn new(
        id: &UpstreamId,
        upstream: &runtime::Upstream,
        profiles: &mut ConnectProfiles,
    ) -> Result<Self, Unusable> {
        let weights: Vec<u32> = upstream.endpoints.iter().map(|endpoint| endpoint.weight).collect();
        let rota = rota(&weights)?;
        let profile = profiles.get(upstream)?;
        let check = upstream.health_check.as_ref().map(CheckSettings::new).transpose()?;
        let ejection = EjectionSettings::new(upstream.ejection.as_ref());
        let endpoints: Vec<Endpoint> = (0..)
            .zip(&upstream.endpoints)
            .map(|(place, endpoint)| {
                let address = Address::parse(&endpoint.url)?;
                let key = EndpointKey {
                    url: endpoint.url.clone(),
                    profile: profile.id,
                    check: check.clone(),
                    ejection,
                };
                let health = profiles.endpoints.get(key, || Asked {
                    origin: origin(&address.scheme, &address.authority),
                    host: address.host.clone(),
                    profile: profile.clone(),
                    upstream: id.clone(),
                });
                let Address { scheme, authority, host, base_path } = address;
                Ok(Endpoint { scheme, authority, host, base_path, profile: profile.clone(), health, place })
            })
            .collect::<Result<_, _>>()?;
        let in_rota = weights.iter().filter(|weight| **weight > 0).count();
        Ok(Self {
            timeout: millis_or(upstream.timeout_ms, DEFAULT_TIMEOUT),
            retry: RetryPolicy::new(upstream.retry.as_ref()),
            ongoing: profiles.endpoints.ongoing(id),
            endpoints,
            rota,
            in_rota,
            max_ejected: max_ejected(in_rota, ejection),
        })
    }

    /// The endpoint whose turn it is, or for a request that has `tried` some the next that it has not; `None`: there is
    /// none, or all are drained.
    pub fn pick(&self, tried: &Tried) -> Option<&Endpoint> {
        let turn = match self.rota.len() {
            0 => return None,
            1 => 0,
            _ if tried.count() > 0 => return self.instead(tried),
            length => self.ongoing.next.fetch_add(1, Ordering::Relaxed) % length,
        };
        let endpoint = self.endpoints.get(usize::from(self.rota[turn]))?;
        if self.in_rota == 1 || endpoint.health.is_in() {
            return Some(endpoint);
        }
        self.instead(tried)
    }

    /// The turn of one that is out, or was tried in vain: the others take such turns in order, by weight too. When all
    /// look bad, all are used.
    fn instead(&self, tried: &Tried) -> Option<&Endpoint> {
        let now = millis(Instant::now());
        self.spare_turn(|endpoint| !tried.contains(endpoint) && endpoint.health.is_usable(now))
            .or_else(|| self.spare_turn(|endpoint| !tried.contains(endpoint)))
            .or_else(|| self.spare_turn(|_| true))
    }

    fn spare_turn(&self, fits: impl Fn(&Endpoint) -> bool) -> Option<&Endpoint> {
        let endpoints = self.rota.iter().filter_map(|&place| self.endpoints.get(usize::from(place)));
        let fitting = endpoints.filter(|endpoint| fits(endpoint));
        match fitting.clone().count() {
            0 => None,
            count => fitting.clone().nth(self.ongoing.spare.fetch_add(1, Ordering::Relaxed) % count),
        }
    }

    /// How much may be sent again.
    pub fn budget(&self) -> &RetryBudget {
        &self.ongoing.budget
    }

    /// Whether there is an endpoint that was not tried.
    pub fn has_others(&self, tried: &Tried) -> bool {
        self.in_rota > tried.count()
    }

    /// A request to one of its endpoints failed. Whether that ejects the endpoint.
    pub fn failed(&self, endpoint: &Endpoint, failure: Failure) -> bool {
        if !endpoint.health.failed(failure) || self.max_ejected == 0 {
            return false;
        }
        if self.ongoing.ejecting.swap(true, Ordering::Acquire) {
            return false; // the next failure is as good
        }
        let now = millis(Instant::now());
        let ejected = self.endpoints.iter().filter(|endpoint| endpoint.health.is_ejected(now)).count();
        let time = if ejected < self.max_ejected { endpoint.health.eject(now) } else { None };
        self.ongoing.ejecting.store(false, Ordering::Release);
        if let Some(time) = time {
            let reason = failure.as_str();
            tracing::warn!(endpoint = %endpoint.health.url, reason, ?time, "endpoint ejected");
        }
        time.is_some()
    }
}

/// Of two or more at least one; of one none, for there would be nothing instead.
fn max_ejected(endpoints: usize, ejection: EjectionSettings) -> usize {
    match endpoints {
        0 | 1 => 0,
        _ => (endpoints * ejection.max_ejected_percent as usize / 100).max(1),
    }
}

/// An endpoint's URL, taken apart.
struct Address {
    scheme: uri::Scheme,
    authority: uri::Authority,
    host: HeaderValue,
    base_path: Box<str>,
}

impl Address {
    fn parse(url: &str) -> Result<Self, Unusable> {
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
        Ok(Self { scheme, authority, host, base_path })
    }
}

impl Endpoint {
    /// `scheme://authority/`.
    pub fn origin(&self) -> Uri {
        origin(&self.scheme, &self.authority)
    }
}

fn origin(scheme: &uri::Scheme, authority: &uri::Authority) -> Uri {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}

impl ConnectProfiles {
    /// Profiles for these endpoints, of which there is one collection per process.
    pub fn over(endpoints: Endpoints) -> Self {
        Self { endpoints, ..Self::default() }
    }

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
        let id = self.endpoints.next_id();
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
    use crate::testbed::scope;

    fn compile(given: &runtime::Upstream, profiles: &mut ConnectProfiles) -> Result<Upstream, Unusable> {
        Upstream::new(&UpstreamId::new(&scope("production"), "upstream/default/a"), given, profiles)
    }

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
        let compiled =
            compile(&upstream(&[("http://a:1/base/", 1), ("https://b", 1)]), &mut ConnectProfiles::default())
                .unwrap();
        let turn = || {
            let endpoint = compiled.pick(&Tried::default()).unwrap();
            (endpoint.scheme.to_string(), endpoint.authority.to_string(), endpoint.base_path.to_string())
        };
        let a = ("http".to_owned(), "a:1".to_owned(), "/base".to_owned());
        let b = ("https".to_owned(), "b".to_owned(), String::new());
        assert_eq!([turn(), turn(), turn()], [a.clone(), b, a]);
        assert_eq!(compiled.timeout, DEFAULT_TIMEOUT);
    }

    /// Turns in a row, by host.
    fn turns(upstream: &Upstream, count: usize) -> HashMap<String, usize> {
        let mut turns = HashMap::new();
        for _ in 0..count {
            let endpoint = upstream.pick(&Tried::default()).unwrap();
            *turns.entry(endpoint.authority.to_string()).or_default() += 1;
        }
        turns
    }

    fn counted(turns: &[(&str, usize)]) -> HashMap<String, usize> {
        turns.iter().map(|(host, count)| ((*host).to_owned(), *count)).collect()
    }

    fn fail(upstream: &Upstream, place: usize, times: usize) -> bool {
        let endpoint = &upstream.endpoints[place];
        (0..times).fold(false, |ejected, _| ejected | upstream.failed(endpoint, Failure::Connect))
    }

    #[test]
    fn turns_of_one_that_is_out_go_to_the_others_by_weight() {
        let given = upstream(&[("http://a", 1), ("http://b", 2), ("http://c", 1), ("http://d", 0)]);
        let compiled = compile(&given, &mut ConnectProfiles::default()).unwrap();
        assert_eq!(turns(&compiled, 400), counted(&[("a", 100), ("b", 200), ("c", 100)]));
        assert!(!fail(&compiled, 2, 4) && fail(&compiled, 2, 1));
        // 300 turns of its own, and 100 of the other's, as 1 to 2.
        let after = turns(&compiled, 300);
        assert_eq!(after, counted(&[("a", 100), ("b", 200)]));
    }

    #[test]
    fn never_more_than_the_share_is_ejected_and_never_the_only_one() {
        let given = upstream(&[("http://a", 1), ("http://b", 1), ("http://c", 1)]);
        let compiled = compile(&given, &mut ConnectProfiles::default()).unwrap();
        assert!(fail(&compiled, 0, 5) && !fail(&compiled, 1, 50) && !fail(&compiled, 2, 50));
        assert_eq!(turns(&compiled, 100), counted(&[("b", 50), ("c", 50)]));

        let alone = upstream(&[("http://a", 1), ("http://b", 0)]);
        let alone = compile(&alone, &mut ConnectProfiles::default()).unwrap();
        assert!(!fail(&alone, 0, 50));

        let all =
            runtime::Ejection { consecutive_failures: 1, base_time_ms: 60_000, max_ejected_percent: 100 };
        let given = runtime::Upstream { ejection: Some(all), ..given };
        let compiled = compile(&given, &mut ConnectProfiles::default()).unwrap();
        assert!((0..3).all(|place| fail(&compiled, place, 1)));
        // All look bad, so all are used.
        assert_eq!(turns(&compiled, 90), counted(&[("a", 30), ("b", 30), ("c", 30)]));
    }

    #[test]
    fn another_try_goes_elsewhere_while_there_is_an_elsewhere() {
        let given = upstream(&[("http://a", 1), ("http://b", 1), ("http://c", 1)]);
        let compiled = compile(&given, &mut ConnectProfiles::default()).unwrap();
        assert!(fail(&compiled, 1, 5));
        let mut tried = Tried::default();
        let mut places = Vec::new();
        for others in [true, true, true, false] {
            assert_eq!(compiled.has_others(&tried), others);
            let endpoint = compiled.pick(&tried).unwrap();
            tried.add(endpoint);
            places.push(endpoint.place);
        }
        // The one that is out comes last, and only then one for the second time.
        assert_eq!(places[..3], [0, 2, 1]);
    }

    #[test]
    fn an_endpoint_keeps_its_health_while_anything_names_it_alike() {
        let mut profiles = ConnectProfiles::default();
        let given = upstream(&[("http://a", 1), ("http://b", 1)]);
        let before = compile(&given, &mut profiles).unwrap();
        assert!(fail(&before, 0, 5));
        let changed = runtime::Upstream { timeout_ms: 7, ..given.clone() };
        let after = compile(&changed, &mut profiles).unwrap();
        assert!(Arc::ptr_eq(&before.endpoints[0].health, &after.endpoints[0].health));
        assert_eq!(turns(&after, 10), counted(&[("b", 10)]));
        let check = runtime::HealthCheck {
            path: "/".to_owned(),
            interval_ms: 1_000,
            timeout_ms: 1_000,
            unhealthy_after: 1,
            healthy_after: 1,
            expect_status: 0,
        };
        let other = runtime::Upstream { health_check: Some(check), ..given.clone() };
        let other = compile(&other, &mut profiles).unwrap();
        assert!(!Arc::ptr_eq(&before.endpoints[0].health, &other.endpoints[0].health));
        drop((before, after, other));
        assert!(compile(&given, &mut profiles).unwrap().endpoints[0].health.is_in());
    }

    #[test]
    fn the_budget_and_the_turns_go_on_through_changes() {
        let mut profiles = ConnectProfiles::default();
        let given = upstream(&[("http://a", 1), ("http://b", 1), ("http://c", 1)]);
        let mut make = |key: &str, timeout_ms: u64| {
            let id = UpstreamId::new(&scope("production"), key);
            let given = runtime::Upstream { timeout_ms, ..given.clone() };
            Upstream::new(&id, &given, &mut profiles).unwrap()
        };
        let granted = |upstream: &Upstream| (0..10_000).filter(|_| upstream.budget().take(0, 1)).count();
        let mut current = make("upstream/default/orders-r1/backend", 0);
        let mut places = Vec::new();
        let mut spent = 0;
        for change in 1..=6 {
            places.push(current.pick(&Tried::default()).unwrap().place);
            spent += granted(&current);
            current = make(&format!("upstream/default/orders-r{change}/backend"), change);
        }
        assert_eq!(places, [0, 1, 2, 0, 1, 2]);
        let other = make("upstream/default/other", 0);
        assert_eq!(spent, granted(&other), "what one has once");
        assert_eq!(other.pick(&Tried::default()).unwrap().place, 0);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |given: &runtime::Upstream, field: &str| {
            assert_eq!(
                compile(given, &mut ConnectProfiles::default()).unwrap_err().field,
                field,
                "{given:?}"
            );
        };
        for url in ["", "a:1", "ftp://a", "http://", "http://user:secret@a", "http://a/?q=1", "http://a b"] {
            check(&upstream(&[(url, 1)]), "endpoints.url");
        }
        check(&runtime::Upstream { ca_pem: "nonsense".to_owned(), ..upstream(&[]) }, "ca_pem");
        let asked = runtime::HealthCheck { path: "/".to_owned(), ..Default::default() };
        check(&runtime::Upstream { health_check: Some(asked), ..upstream(&[]) }, "health_check.interval_ms");
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
