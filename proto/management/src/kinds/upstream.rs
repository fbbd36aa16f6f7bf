//! Upstream: where requests go.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EjectionSpec, HealthCheckSpec, RetrySpec};
use crate::Duration;

/// Endpoints of one service and how to talk to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct UpstreamSpec {
    /// At least one; round robin by weight.
    pub endpoints: Vec<EndpointSpec>,
    /// From sending the request to the response's head. Default 30s.
    #[serde(default = "UpstreamSpec::default_timeout")]
    #[schema(value_type = String)]
    pub timeout: Duration,
    /// To establish a connection. Default 5s.
    #[serde(default = "UpstreamSpec::default_connect_timeout")]
    #[schema(value_type = String)]
    pub connect_timeout: Duration,
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
        self.endpoints.iter().filter(move |endpoint| {
            endpoint.region.as_ref().is_none_or(|own| own == region)
                && endpoint.environment.as_ref().is_none_or(|own| own == environment)
        })
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
    #[schema(value_type = Option<String>)]
    pub region: Option<Name>,
    /// Serves this environment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub environment: Option<Name>,
    /// Its share among the endpoints; 0 drains it. Default 1.
    #[serde(default = "EndpointSpec::default_weight")]
    pub weight: u32,
}

impl EndpointSpec {
    const fn default_weight() -> u32 {
        1
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
