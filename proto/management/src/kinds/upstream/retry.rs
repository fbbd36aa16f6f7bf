//! When a request to an Upstream is sent again.

use std::{collections::BTreeSet, fmt};

use hanse_runtime::MAX_ATTEMPTS;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Duration,
    check::{Verdict, invalid, text},
};

/// What holds of retries.
pub(super) const BOUNDS: [Bounded; 1] = [("RetrySpec", "attempts", Bound::Number(0, MAX_ATTEMPTS as u64))];

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

    /// `timeout`: the Upstream's.
    pub(super) fn check(&self, timeout: Duration) -> Verdict {
        if self.attempts > MAX_ATTEMPTS {
            let detail = format!("{} is more than {MAX_ATTEMPTS}", self.attempts);
            let remedy = "each further try multiplies what a failing service gets: use less, or 0 for none";
            return Err(invalid("retry.attempts", detail, remedy));
        }
        if let Some(each) = self.per_try_timeout {
            text::check_timeout("retry.perTryTimeout", each)?;
            if each > timeout {
                let detail =
                    format!("{each} is longer than the timeout of {timeout}, which holds for all tries");
                return Err(invalid("retry.perTryTimeout", detail, "shorten it, or lengthen the timeout"));
            }
        }
        if self.per_try_timeout.is_some() && !self.on.contains(&RetryOn::GatewayTimeout) {
            let remedy = "add 504 to retry.on, or leave it out: timeout holds anyway";
            return Err(invalid(
                "retry.perTryTimeout",
                "without 504 in retry.on no other try follows it",
                remedy,
            ));
        }
        if self.on.is_empty() && self.attempts > 0 {
            let remedy = "name what a request may be sent again after, or set attempts to 0";
            return Err(invalid("retry.on", "it is empty: nothing would be sent again", remedy));
        }
        let mut seen = BTreeSet::new();
        for (at, on) in self.on.iter().enumerate() {
            if !seen.insert(on) {
                let detail = format!("{on} is there already");
                return Err(invalid(format_args!("retry.on[{at}]"), detail, "name it once"));
            }
        }
        Ok(())
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
