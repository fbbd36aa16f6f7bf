//! Upstream: where requests go.

mod endpoints_from;
mod health;
mod host;
mod retry;
pub(super) mod url;

use std::collections::BTreeSet;

use hanse_runtime::MAX_ENDPOINTS;
use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use endpoints_from::EndpointsFromSpec;
pub use health::{EjectionSpec, HealthCheckSpec};
pub use host::HostSpec;
pub use retry::{RetryOn, RetrySpec};

use crate::{
    Bound, Bounded, Column, Duration, Field, Kind, ManagementKind, Refer,
    check::{
        Verdict,
        host::{MAX_HOST_BYTES, check_exact},
        invalid, text,
    },
    column::{each, text_of},
};

/// The greatest weight: sums stay far inside 32 bits.
const MAX_WEIGHT: u32 = 1_000_000;

/// Endpoints of one service and how to talk to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct UpstreamSpec {
    /// Round robin by weight. At least one, unless there is `endpointsFrom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointSpec>,
    /// Endpoints that an Origin publishes. Where they are there, they are used instead of `endpoints`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints_from: Option<EndpointsFromSpec>,
    /// From sending the request to the response's head. Default 30s.
    #[serde(default = "UpstreamSpec::default_timeout")]
    #[schema(value_type = String)]
    pub timeout: Duration,
    /// To establish a connection. Default 5s.
    #[serde(default = "UpstreamSpec::default_connect_timeout")]
    #[schema(value_type = String)]
    pub connect_timeout: Duration,
    /// The `Host` that endpoints get. Default: each the host and port of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostSpec>,
    /// For `https` endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTlsSpec>,
    /// Asks each endpoint how it is. Default: not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckSpec>,
    /// Takes an endpoint out when requests to it fail. Default: as its fields say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<EjectionSpec>,
    /// When a request is sent again. Default: as its fields say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
}

impl UpstreamSpec {
    /// What browsers and most clients would still wait for.
    const fn default_timeout() -> Duration {
        Duration::from_millis(30_000)
    }
    /// A few retransmissions of a SYN (RFC 6298: 1 s, then 2 s).
    const fn default_connect_timeout() -> Duration {
        Duration::from_millis(5_000)
    }

    /// The endpoints that serve `region` and `environment`: those that name them or name none.
    pub fn endpoints_for<'a>(
        &'a self,
        region: &'a Name,
        environment: &'a Name,
    ) -> impl Iterator<Item = &'a EndpointSpec> + 'a {
        self.endpoints.iter().filter(move |endpoint| endpoint.serves(region, environment))
    }
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EndpointSpec {
    /// `http://host:port/base` or `https://…`; the path, if any, goes before the request's.
    pub url: String,
    /// Serves this region only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Name>,
    /// Serves this environment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
    /// Its share among the endpoints; 0 drains it. Default 1.
    #[serde(default = "EndpointSpec::default_weight")]
    pub weight: u32,
}

impl EndpointSpec {
    const fn default_weight() -> u32 {
        1
    }

    /// Whether gateways of `environment` in `region` may use it.
    pub fn serves(&self, region: &Name, environment: &Name) -> bool {
        self.region.as_ref().is_none_or(|own| own == region)
            && self.environment.as_ref().is_none_or(|own| own == environment)
    }
}

/// How an `https` endpoint is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct UpstreamTlsSpec {
    /// PEM certificates trusted instead of the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// The name its certificate must have, if not the URL's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl ManagementKind for UpstreamSpec {
    const PLURAL: &'static str = "upstreams";
    const COLUMNS: &'static [Column] = &[
        Column::of("ENDPOINTS", |item| {
            let urls = each(&item["spec"]["endpoints"], |endpoint| text_of(&endpoint["url"]));
            let from = &item["spec"]["endpointsFrom"];
            let from =
                from.as_object().map(|_| format!("{}/{}", text_of(&from["origin"]), text_of(&from["name"])));
            from.into_iter().chain(Some(urls).filter(|urls| !urls.is_empty())).collect::<Vec<_>>().join(",")
        }),
        Column::at("TIMEOUT", "/spec/timeout"),
    ];

    fn normalize(&mut self) {
        for endpoint in &mut self.endpoints {
            if let Ok(normal) = url::normalize(&endpoint.url) {
                endpoint.url = normal;
            }
        }
    }

    fn bounds() -> Vec<Bounded> {
        let own = [
            ("UpstreamSpec", "endpoints", Bound::Items(0, MAX_ENDPOINTS)),
            ("EndpointSpec", "weight", Bound::Number(0, MAX_WEIGHT.into())),
            ("UpstreamTlsSpec", "serverName", Bound::Text(1, MAX_HOST_BYTES)),
            ("HostSpec", "name", Bound::Text(1, MAX_HOST_BYTES + ":65535".len())),
        ];
        [&own[..], &health::BOUNDS, &retry::BOUNDS].concat()
    }

    fn check(&self, _name: &Name) -> Verdict {
        if self.endpoints.is_empty() && self.endpoints_from.is_none() {
            let remedy = "name at least one url, or an Origin's endpoints in spec.endpointsFrom";
            return Err(invalid("endpoints", "it has no endpoint", remedy));
        }
        if self.endpoints.len() > MAX_ENDPOINTS {
            let detail = format!("{} endpoints are more than {MAX_ENDPOINTS}", self.endpoints.len());
            return Err(invalid("endpoints", detail, "put a load balancer before them"));
        }
        let mut seen = BTreeSet::new();
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            url::check(&format!("endpoints[{at}].url"), &endpoint.url)?;
            if endpoint.weight > MAX_WEIGHT {
                let detail = format!("{} is more than {MAX_WEIGHT}", endpoint.weight);
                return Err(invalid(
                    format_args!("endpoints[{at}].weight"),
                    detail,
                    "only proportions count: use less",
                ));
            }
            if !seen.insert((&endpoint.url, &endpoint.region, &endpoint.environment)) {
                let detail = format!("{} is there already for the same region and environment", endpoint.url);
                return Err(invalid(
                    format_args!("endpoints[{at}]"),
                    detail,
                    "name it once; weight gives it a larger share",
                ));
            }
        }
        if !self.endpoints.is_empty() && self.endpoints.iter().all(|endpoint| endpoint.weight == 0) {
            let remedy = "give at least one endpoint a weight of 1 or more";
            return Err(invalid("endpoints", "every weight is 0: no request could go anywhere", remedy));
        }
        text::check_timeout("timeout", self.timeout)?;
        text::check_timeout("connectTimeout", self.connect_timeout)?;
        self.host.as_ref().map_or(Ok(()), HostSpec::check)?;
        self.tls.as_ref().map_or(Ok(()), check_tls)?;
        self.health_check.as_ref().map_or(Ok(()), HealthCheckSpec::check)?;
        self.ejection.as_ref().map_or(Ok(()), EjectionSpec::check)?;
        self.retry.as_ref().map_or(Ok(()), |retry| retry.check(self.timeout))
    }

    fn references(&self, refer: &mut Refer<'_>) {
        if let Some(from) = &self.endpoints_from {
            // The Upstream makes sense without the Origin if it has endpoints of its own: an operator decides that, no cascading delete.
            refer.lists(Kind::Origin, &from.origin, Field::Below("endpointsFrom", "origin"));
        }
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            if let Some(region) = &endpoint.region {
                refer.lists(Kind::Region, region, Field::Of("endpoints", at, "region"));
            }
            if let Some(environment) = &endpoint.environment {
                refer.lists(Kind::Environment, environment, Field::Of("endpoints", at, "environment"));
            }
        }
    }
}

fn check_tls(spec: &UpstreamTlsSpec) -> Verdict {
    if let Some(name) = &spec.server_name {
        check_exact("tls.serverName", name)?;
    }
    spec.ca_bundle.as_ref().map_or(Ok(()), |bundle| check_certificates("tls.caBundle", bundle))
}

/// A sequence of PEM certificates, and no key.
pub(super) fn check_certificates(field: &str, bundle: &str) -> Verdict {
    let remedy = "give PEM certificates: -----BEGIN CERTIFICATE----- …";
    if bundle.contains("PRIVATE KEY-----") {
        return Err(invalid(field, "it has a private key", "give certificates only, and replace that key"));
    }
    let begun = bundle.matches("-----BEGIN CERTIFICATE-----").count();
    let ended = bundle.matches("-----END CERTIFICATE-----").count();
    if begun == 0 || begun != ended {
        return Err(invalid(field, "it is not a sequence of PEM certificates", remedy));
    }
    Ok(())
}
