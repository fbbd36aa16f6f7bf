//! How gateways look after an Upstream's endpoints: checks, ejection, retries.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::Duration;

/// Asks each endpoint how it is. One that fails is used only while no other is better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HealthCheckSpec {
    /// The whole path that is asked with GET; an endpoint's own path does not go before it.
    pub path: String,
    /// From one check to the next. Default 10s.
    #[serde(default = "HealthCheckSpec::default_interval")]
    #[schema(value_type = String)]
    pub interval: Duration,
    /// For the whole check; at most the interval. Default 2s.
    #[serde(default = "HealthCheckSpec::default_timeout")]
    #[schema(value_type = String)]
    pub timeout: Duration,
    /// Failed checks in a row that make an endpoint unhealthy. Default 3.
    #[serde(default = "HealthCheckSpec::default_unhealthy_after")]
    pub unhealthy_after: u32,
    /// Passed checks in a row that make it healthy again. Default 2.
    #[serde(default = "HealthCheckSpec::default_healthy_after")]
    pub healthy_after: u32,
    /// The one status that passes. Default: any from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_status: Option<u16>,
}

impl HealthCheckSpec {
    /// As a kubelet's probes.
    const fn default_interval() -> Duration {
        Duration::from_millis(10_000)
    }
    /// A lost packet and its retransmission (RFC 6298: 1 s), and then an answer.
    const fn default_timeout() -> Duration {
        Duration::from_millis(2_000)
    }
    /// As a kubelet's probes: one lost answer takes nothing away.
    const fn default_unhealthy_after() -> u32 {
        3
    }
    /// One answer may be luck.
    const fn default_healthy_after() -> u32 {
        2
    }
}

/// Takes an endpoint out for a while when requests to it fail in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EjectionSpec {
    /// After so many failures in a row; 0: never. Default 5.
    #[serde(default = "EjectionSpec::default_consecutive_failures")]
    pub consecutive_failures: u32,
    /// For so long the first time, twice as long the second, and so on. Default 10s.
    #[serde(default = "EjectionSpec::default_base_time")]
    #[schema(value_type = String)]
    pub base_time: Duration,
    /// The greatest share of the endpoints that may be out at once, in percent; of two or more at least one may. Default 50.
    #[serde(default = "EjectionSpec::default_max_ejected")]
    pub max_ejected: u32,
}

impl EjectionSpec {
    /// As Envoy's outlier detection.
    const fn default_consecutive_failures() -> u32 {
        5
    }
    /// As nginx's `fail_timeout`: a restart takes about as long.
    const fn default_base_time() -> Duration {
        Duration::from_millis(10_000)
    }
    /// Envoy's panic threshold: the other half must bear the load of all.
    const fn default_max_ejected() -> u32 {
        50
    }
}

/// When a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RetrySpec {
    /// How often at most after the first time; 0: never. Default 2.
    #[serde(default = "RetrySpec::default_attempts")]
    pub attempts: u32,
    /// For each time, where the request may be sent again; needs `504` in `on`; at most the Upstream's timeout. Default:
    /// only that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub per_try_timeout: Option<Duration>,
    /// After what. Default: `connect-failure` and `reset-before-response`.
    #[serde(default = "RetrySpec::default_on")]
    pub on: Vec<RetryOn>,
}

impl RetrySpec {
    /// Past two endpoints that are down.
    const fn default_attempts() -> u32 {
        2
    }
    /// What an endpoint that stops or restarts does to requests; its answers are the service's own business.
    fn default_on() -> Vec<RetryOn> {
        vec![RetryOn::ConnectFailure, RetryOn::ResetBeforeResponse]
    }
}

/// What may be followed by another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection: nothing was sent, so any request may be.
    ConnectFailure,
    /// The connection broke before the head of the answer was there: idempotent requests, unless nothing was sent.
    ResetBeforeResponse,
    /// 502: idempotent requests only.
    #[schema(rename = "502")]
    BadGateway,
    /// 503: idempotent requests only.
    #[schema(rename = "503")]
    ServiceUnavailable,
    /// 504, or no answer within `perTryTimeout`: idempotent requests only.
    #[schema(rename = "504")]
    GatewayTimeout,
}

impl RetryOn {
    const CONNECT_FAILURE: &'static str = "connect-failure";
    const RESET_BEFORE_RESPONSE: &'static str = "reset-before-response";

    /// The status it stands for.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::ConnectFailure | Self::ResetBeforeResponse => None,
            Self::BadGateway => Some(502),
            Self::ServiceUnavailable => Some(503),
            Self::GatewayTimeout => Some(504),
        }
    }

    const fn of_status(status: u64) -> Option<Self> {
        match status {
            502 => Some(Self::BadGateway),
            503 => Some(Self::ServiceUnavailable),
            504 => Some(Self::GatewayTimeout),
            _ => None,
        }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectFailure => f.write_str(Self::CONNECT_FAILURE),
            Self::ResetBeforeResponse => f.write_str(Self::RESET_BEFORE_RESPONSE),
            Self::BadGateway => f.write_str("502"),
            Self::ServiceUnavailable => f.write_str("503"),
            Self::GatewayTimeout => f.write_str("504"),
        }
    }
}

impl Serialize for RetryOn {
    /// A status as text too, so that the list is one of strings.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    /// By hand, so that a status may be quoted or not, and a mistake is told what may be written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl de::Visitor<'_> for Expected {
            type Value = RetryOn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("connect-failure, reset-before-response, 502, 503 or 504")
            }
            fn visit_u64<E: de::Error>(self, status: u64) -> Result<RetryOn, E> {
                RetryOn::of_status(status)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(status), &self))
            }
            fn visit_i64<E: de::Error>(self, status: i64) -> Result<RetryOn, E> {
                let unsigned = u64::try_from(status);
                unsigned
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(status), &self))
                    .and_then(|status| self.visit_u64(status))
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<RetryOn, E> {
                match word {
                    RetryOn::CONNECT_FAILURE => Ok(RetryOn::ConnectFailure),
                    RetryOn::RESET_BEFORE_RESPONSE => Ok(RetryOn::ResetBeforeResponse),
                    other => other
                        .parse()
                        .ok()
                        .and_then(RetryOn::of_status)
                        .ok_or_else(|| E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Expected)
    }
}
