//! Endpoints of one service, and how to talk to them.

use std::time::Duration;

use hanse_proto::runtime::{self, upstream::Host};
use http::{HeaderValue, uri::Scheme};

use crate::{
    CheckSettings, EjectionSettings, Endpoint, EndpointsFrom, RetryPolicy, Trust, Unusable, is_authority, tls,
};

/// The response's head must come within this time if an upstream says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection must stand within this time if an upstream says nothing.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Endpoints of one service, and how to talk to them.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// At most 65,535.
    pub endpoints: Vec<Endpoint>,
    /// Where endpoints come from instead, as long as they are there.
    pub endpoints_from: Option<EndpointsFrom>,
    /// Up to the response's head.
    pub timeout: Duration,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// For `https` endpoints.
    pub trust: Trust,
    /// How endpoints are asked; `None`: they are not.
    pub check: Option<CheckSettings>,
    /// When requests that fail take an endpoint out.
    pub ejection: EjectionSettings,
    /// When a request is sent again.
    pub retry: RetryPolicy,
    /// Which `Host` endpoints get.
    pub host: HostHeader,
}

/// Which `Host` endpoints get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// Each its own authority.
    Endpoints,
    /// The client's.
    Clients,
    /// This one.
    Named(HeaderValue),
}

impl HostHeader {
    fn new(host: Option<&Host>) -> Result<Self, Unusable> {
        match host {
            None => Ok(Self::Endpoints),
            Some(Host::ClientHost(runtime::ClientHost {})) => Ok(Self::Clients),
            Some(Host::HostName(name)) => match HeaderValue::from_str(name) {
                Ok(value) if is_authority(name) => Ok(Self::Named(value)),
                _ => Err(Unusable::new("host_name", format!("{name:?} is no host"))),
            },
        }
    }
}

impl Upstream {
    pub(crate) fn new(upstream: runtime::Upstream) -> Result<Self, Unusable> {
        if u16::try_from(upstream.endpoints.len()).is_err() {
            return Err(Unusable::new("endpoints", "more than 65,535"));
        }
        let trust = Trust::new(upstream.ca_pem, &upstream.server_name)?;
        let endpoint = |(at, given): (usize, &runtime::Endpoint)| {
            let refuse = |why: String| Unusable::new(format!("endpoints[{at}].url"), why);
            let endpoint = Endpoint::new(given).map_err(refuse)?;
            if endpoint.scheme == Scheme::HTTPS && trust.server_name.is_none() {
                tls::parse_name(endpoint.tls_name()).map_err(|_| {
                    refuse(format!("{:?} has a host that no certificate names", endpoint.url))
                })?;
            }
            Ok(endpoint)
        };
        let from = upstream.endpoints_from.map(EndpointsFrom::new).transpose();
        let health = upstream.health_check.as_ref().map(CheckSettings::new).transpose();
        let ejection = upstream.ejection.as_ref().map(EjectionSettings::new).transpose();
        let retry = upstream.retry.as_ref().map(RetryPolicy::new).transpose();
        Ok(Self {
            endpoints: upstream.endpoints.iter().enumerate().map(endpoint).collect::<Result<_, _>>()?,
            endpoints_from: from.map_err(|bad| bad.within("endpoints_from"))?,
            timeout: millis_or(upstream.timeout_ms, DEFAULT_TIMEOUT),
            connect_timeout: millis_or(upstream.connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT),
            check: health.map_err(|bad| bad.within("health_check"))?,
            ejection: ejection.map_err(|bad| bad.within("ejection"))?.unwrap_or_default(),
            retry: retry.map_err(|bad| bad.within("retry"))?.unwrap_or_default(),
            host: HostHeader::new(upstream.host.as_ref())?,
            trust,
        })
    }
}

fn millis_or(millis: u64, default: Duration) -> Duration {
    if millis == 0 { default } else { Duration::from_millis(millis) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointUrl;

    fn upstream(urls: &[&str]) -> runtime::Upstream {
        let endpoint = |url: &&str| EndpointUrl::parse(url).unwrap().to_wire(1);
        runtime::Upstream { endpoints: urls.iter().map(endpoint).collect(), ..Default::default() }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |given: runtime::Upstream, field: &str| {
            assert_eq!(Upstream::new(given.clone()).unwrap_err().field, field, "{given:?}");
        };
        check(upstream(&["http://good", "https://a..b"]), "endpoints[1].url");
        let good = runtime::Endpoint { host: "a".to_owned(), ..Default::default() };
        for endpoint in [
            runtime::Endpoint::default(),
            runtime::Endpoint { host: "user@a".to_owned(), ..good.clone() },
            runtime::Endpoint { host: "A".to_owned(), ..good.clone() },
            runtime::Endpoint { host: "a:1".to_owned(), ..good.clone() },
            runtime::Endpoint { host: "127.1".to_owned(), ..good.clone() },
            runtime::Endpoint { port: 70_000, ..good.clone() },
            runtime::Endpoint { base_path: "base".to_owned(), ..good.clone() },
            runtime::Endpoint { base_path: "/a?b".to_owned(), ..good.clone() },
            runtime::Endpoint { base_path: "/a/../b".to_owned(), ..good },
        ] {
            check(runtime::Upstream { endpoints: vec![endpoint], ..Default::default() }, "endpoints[0].url");
        }
        check(runtime::Upstream { ca_pem: "nonsense".to_owned(), ..upstream(&[]) }, "ca_pem");
        check(runtime::Upstream { server_name: "a b".to_owned(), ..upstream(&[]) }, "server_name");
        for bad in ["", "a b", "A", "http://a", "a/b", "a\r\nb: c"] {
            let host = Some(Host::HostName(bad.to_owned()));
            check(runtime::Upstream { host, ..upstream(&[]) }, "host_name");
        }
        let from = |origin: &str, name: &str| {
            let from = runtime::EndpointsFrom { origin: origin.to_owned(), name: name.to_owned() };
            runtime::Upstream { endpoints_from: Some(from), ..upstream(&[]) }
        };
        check(from("", "pets"), "endpoints_from.origin");
        check(from("east/x", "pets"), "endpoints_from.origin");
        check(from("east", ""), "endpoints_from.name");
        Upstream::new(from("east", "pets")).unwrap();
        let asked = runtime::HealthCheck { path: "/".to_owned(), ..Default::default() };
        let with = |health| runtime::Upstream { health_check: Some(health), ..upstream(&[]) };
        check(with(asked.clone()), "health_check.interval_ms");
        for path in ["*", "/a#b", "/a b", "/ä", "/\"", "/\\"] {
            check(with(runtime::HealthCheck { path: path.to_owned(), ..asked.clone() }), "health_check.path");
        }
        let all = runtime::HealthCheck {
            interval_ms: 1,
            timeout_ms: 30_000,
            unhealthy_after: 1,
            healthy_after: 1,
            ..asked
        };
        Upstream::new(with(all.clone())).unwrap();
        check(with(runtime::HealthCheck { timeout_ms: 30_001, ..all }), "health_check.timeout_ms");
        let ejected = |base_time_ms, max_ejected_percent| {
            let ejection =
                Some(runtime::Ejection { base_time_ms, max_ejected_percent, ..Default::default() });
            runtime::Upstream { ejection, ..upstream(&[]) }
        };
        Upstream::new(ejected(300_000, 100)).unwrap();
        check(ejected(300_001, 100), "ejection.base_time_ms");
        check(ejected(u64::MAX, 100), "ejection.base_time_ms");
        check(ejected(300_000, 101), "ejection.max_ejected_percent");
    }

    #[test]
    fn what_is_usual_can_be_used() {
        let given = upstream(&["http://a:1/base/", "https://b", "https://[::1]:8443", "http://a_b"]);
        let checked = Upstream::new(given).unwrap();
        let first = &checked.endpoints[0];
        assert_eq!((&*first.url, &*first.base_path), ("http://a:1/base/", "/base"));
        assert_eq!((first.authority.as_str(), first.host.to_str().unwrap()), ("a:1", "a:1"));
        assert_eq!((checked.timeout, checked.connect_timeout), (DEFAULT_TIMEOUT, DEFAULT_CONNECT_TIMEOUT));
    }
}
