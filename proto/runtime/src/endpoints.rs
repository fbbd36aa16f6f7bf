//! Endpoints that an Origin publishes for Upstreams.

use std::collections::HashSet;

use hanse_proto::runtime;
use hanse_topology::Name;
use http::uri::Scheme;

use crate::{Endpoint, Unusable, tls};

/// The most endpoints of an Upstream that an operator writes, and of one set: a gateway walks them when it looks for one that can be used.
pub const MAX_ENDPOINTS: usize = 1_000;

/// A set of endpoints. No endpoint is there twice.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Whose Upstreams may use it.
    pub organization: String,
    /// At most [`MAX_ENDPOINTS`], one of which has a weight; none: the service has no instance now.
    pub endpoints: Vec<Endpoint>,
}

/// Which set of endpoints an Upstream uses. It is of the Upstream's Organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointsFrom {
    /// The Origin that publishes it.
    pub origin: Name,
    /// Its name.
    pub name: String,
}

impl Endpoints {
    pub(crate) fn new(set: runtime::Endpoints) -> Result<Self, Unusable> {
        let runtime::Endpoints { organization, name: _, endpoints } = set;
        if endpoints.len() > MAX_ENDPOINTS {
            let reason = format!("{} endpoints are more than {MAX_ENDPOINTS}", endpoints.len());
            return Err(Unusable::new("endpoints", reason));
        }
        let endpoints = endpoints.iter().enumerate().map(|(at, given)| endpoint(at, given));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.weight == 0) {
            let reason = "every weight is 0: no request could go anywhere; give one endpoint a weight of 1 or more, or leave all out";
            return Err(Unusable::new("endpoints", reason));
        }
        let mut seen = HashSet::new();
        if let Some(at) = endpoints.iter().position(|endpoint| !seen.insert(&endpoint.url)) {
            let reason = format!("{:?} is there already", endpoints[at].url);
            return Err(Unusable::new(format!("endpoints[{at}].url"), reason));
        }
        Ok(Self { organization, endpoints })
    }

    /// Whether requests to one of them go out in the clear.
    pub fn has_plain(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.scheme == Scheme::HTTP)
    }
}

/// One that a certificate can name, if it is asked over TLS: the set does not know which name its Upstreams ask for.
fn endpoint(at: usize, given: &runtime::Endpoint) -> Result<Endpoint, Unusable> {
    let refuse = |why: String| Unusable::new(format!("endpoints[{at}].url"), why);
    let endpoint = Endpoint::new(given).map_err(refuse)?;
    if endpoint.scheme == Scheme::HTTPS {
        tls::parse_name(endpoint.tls_name())
            .map_err(|_| refuse(format!("{:?} has a host that no certificate names", endpoint.url)))?;
    }
    Ok(endpoint)
}

impl EndpointsFrom {
    pub(crate) fn new(from: runtime::EndpointsFrom) -> Result<Self, Unusable> {
        let runtime::EndpointsFrom { origin, name } = from;
        let origin = Name::new(&origin).map_err(|error| Unusable::new("origin", error.to_string()))?;
        if name.is_empty() {
            return Err(Unusable::new("name", "is empty"));
        }
        Ok(Self { origin, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointUrl;

    fn set(urls: &[&str]) -> runtime::Endpoints {
        let endpoint = |url: &&str| EndpointUrl::parse(url).unwrap().to_wire(1);
        let endpoints = urls.iter().map(endpoint).collect();
        runtime::Endpoints { organization: "shop".to_owned(), name: "pets".to_owned(), endpoints }
    }

    #[test]
    fn a_set_that_cannot_be_used_names_the_endpoint_at_fault() {
        let check = |given: runtime::Endpoints, field: &str| {
            assert_eq!(Endpoints::new(given).unwrap_err().field, field);
        };
        check(set(&["http://a", "https://a..b"]), "endpoints[1].url");
        check(set(&["http://a:1", "http://b:1", "http://a:1"]), "endpoints[2].url");
        let empty = runtime::Endpoint::default();
        check(runtime::Endpoints { endpoints: vec![empty], ..set(&[]) }, "endpoints[0].url");
        let drained = || EndpointUrl::parse("http://a").unwrap().to_wire(0);
        check(runtime::Endpoints { endpoints: vec![drained()], ..set(&[]) }, "endpoints");
        let mut half = set(&["http://b"]);
        half.endpoints.push(drained());
        assert_eq!(Endpoints::new(half).unwrap().endpoints.len(), 2, "one drains");
        let many: Vec<String> = (0..=MAX_ENDPOINTS).map(|at| format!("http://h{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(set(&many), "endpoints");
        assert_eq!(Endpoints::new(set(&many[1..])).unwrap().endpoints.len(), MAX_ENDPOINTS);
    }

    #[test]
    fn a_set_may_be_empty_and_has_addresses_and_names() {
        assert!(Endpoints::new(set(&[])).unwrap().endpoints.is_empty());
        let some = Endpoints::new(set(&["https://10.0.0.7:8443", "http://a_b", "http://a/base"])).unwrap();
        assert_eq!((some.organization.as_str(), some.endpoints.len()), ("shop", 3));
        assert_eq!(&*some.endpoints[2].base_path, "/base");
    }
}
