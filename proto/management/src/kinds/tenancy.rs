//! Organization, Region, Environment.

use hanse_topology::{Exposure, Location, Name, Provider};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::Duration;

/// A tenant: a department or line of business.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct OrganizationSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// A place with data planes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct RegionSpec {
    /// Where it lies.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "on_grid")]
    pub location: Option<Location>,
    /// Who runs its machines.
    pub provider: Provider,
}

/// Reads coordinates to a millionth of a degree, a tenth of a metre: text → number → text is then a fixed point on every
/// node, whatever the last bit of a parsed number.
fn on_grid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Location>, D::Error> {
    const STEPS_PER_DEGREE: f64 = 1e6;
    let snap = |degrees: f64| (degrees * STEPS_PER_DEGREE).round() / STEPS_PER_DEGREE;
    let location = Option::<Location>::deserialize(deserializer)?;
    Ok(location.map(|location| Location {
        latitude: snap(location.latitude),
        longitude: snap(location.longitude),
        ..location
    }))
}

/// A deployment target that regions serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// Whether it may be reached from outside.
    #[serde(default)]
    pub exposure: Exposure,
    /// Hosts it answers to: exact names or `*.suffix`. Empty: every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// What its gateways accept. Default: both.
    #[serde(default = "ListenerProtocol::both")]
    pub listeners: Vec<ListenerProtocol>,
    /// The regions that serve it.
    #[schema(value_type = Vec<String>)]
    pub regions: Vec<Name>,
    /// Whether credentials stay good while a gateway is cut off.
    #[serde(default)]
    pub stale_credentials: StaleCredentials,
}

/// A protocol clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListenerProtocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl ListenerProtocol {
    fn both() -> Vec<Self> {
        vec![Self::Http, Self::Https]
    }
}

/// What a gateway does with credentials it could not confirm for long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StaleCredentials {
    /// Goes on accepting them.
    #[default]
    Serve,
    /// Refuses them once this long without news.
    #[schema(value_type = String)]
    DenyAfter(Duration),
}
