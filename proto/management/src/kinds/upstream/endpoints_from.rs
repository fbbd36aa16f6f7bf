//! Endpoints that an Origin publishes.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which endpoints of an Origin an Upstream uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EndpointsFromSpec {
    /// The Origin that publishes them.
    pub origin: Name,
    /// Their name there. They are of the Upstream's Organization.
    pub name: Name,
}
