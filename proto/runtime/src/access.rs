//! Who may call, and how much: plans, credentials, subscriptions.

use std::num::NonZeroU64;

use hanse_proto::runtime;

use crate::Unusable;

/// SHA-256 of a key.
pub type KeyDigest = [u8; 32];

/// The digest in a field.
pub(crate) fn key_digest(field: impl Into<String>, bytes: &[u8]) -> Result<KeyDigest, Unusable> {
    bytes.try_into().map_err(|_| Unusable::new(field, "is not a SHA-256: 32 octets"))
}

/// A quality of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rate that a subscriber may call at; `None`: without limit.
    pub rate: Option<Rate>,
}

/// A rate, and how far it may be exceeded for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The requests that one period allows.
    pub requests: NonZeroU64,
    /// How long a period lasts, in seconds.
    pub period_seconds: NonZeroU64,
    /// The requests that may come at once.
    pub burst: u64,
}

/// An API key of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The organization that owns the application.
    pub organization: String,
    /// The name of the application that calls with the key.
    pub application: String,
    /// The digest of the key.
    pub digest: KeyDigest,
    /// Unix seconds after which the key is refused.
    pub expires_at: Option<u64>,
}

/// Lets an application call an Api.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The organization that owns the application, the Api and the plan.
    pub organization: String,
    /// The name of the application that calls.
    pub application: String,
    /// The name of the Api that it may call.
    pub api: String,
    /// The name of the plan that bounds its calls.
    pub plan: String,
}

impl Plan {
    pub(crate) fn new(plan: &runtime::Plan) -> Result<Self, Unusable> {
        let Some(requests) = NonZeroU64::new(plan.requests) else { return Ok(Self { rate: None }) };
        let period_seconds =
            NonZeroU64::new(plan.period_seconds).ok_or_else(|| Unusable::new("period_seconds", "is 0"))?;
        Ok(Self { rate: Some(Rate { requests, period_seconds, burst: plan.burst }) })
    }
}

impl Credential {
    pub(crate) fn new(credential: runtime::Credential) -> Result<Self, Unusable> {
        let digest = key_digest("digest", &credential.digest)?;
        let expires_at = (credential.expires_at > 0).then_some(credential.expires_at);
        let runtime::Credential { organization, application, .. } = credential;
        Ok(Self { organization, application, digest, expires_at })
    }
}

impl From<runtime::Subscription> for Subscription {
    fn from(subscription: runtime::Subscription) -> Self {
        let runtime::Subscription { organization, application, api, plan, .. } = subscription;
        Self { organization, application, api, plan }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_period_and_a_digest_its_length() {
        let plan = runtime::Plan { requests: 1, ..Default::default() };
        assert_eq!(Plan::new(&plan).unwrap_err().field, "period_seconds");
        assert_eq!(Plan::new(&runtime::Plan::default()).unwrap().rate, None);
        assert_eq!(Credential::new(runtime::Credential::default()).unwrap_err().field, "digest");
    }
}
