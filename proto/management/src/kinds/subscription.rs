//! Plan, Application, Subscription, Credential: who calls, and how much.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Digest;

/// A quality of service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct PlanSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// How many requests; absent: without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSpec>,
}

/// A rate per subscription, kept as a token bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RateSpec {
    /// Requests per period.
    pub requests: u64,
    /// The period.
    pub per: Period,
    /// Requests at once; default one second's worth, at least 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

impl RateSpec {
    /// The burst in force.
    pub fn effective_burst(&self) -> u64 {
        /// So that a page's worth of parallel requests passes on the slowest plan.
        const MIN_BURST: u64 = 10;
        self.burst.unwrap_or_else(|| (self.requests / self.per.seconds()).max(MIN_BURST))
    }
}

/// A unit of time for rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names say it
pub enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

impl Period {
    /// Its length in seconds.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// A calling program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ApplicationSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Lets an Application call an Api under a Plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SubscriptionSpec {
    /// The Application.
    #[schema(value_type = String)]
    pub application: Name,
    /// The Api.
    #[schema(value_type = String)]
    pub api: Name,
    /// The Plan.
    #[schema(value_type = String)]
    pub plan: Name,
}

/// An API key of an Application. The key itself is made and kept by the client; only its digest comes here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CredentialSpec {
    /// Whose key it is.
    #[schema(value_type = String)]
    pub application: Name,
    /// SHA-256 of the key.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Unix seconds after which it is refused; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}
