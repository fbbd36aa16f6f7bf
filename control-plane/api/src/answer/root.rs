//! The roots of trust.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The roots of trust that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Roots {
    /// In the order in which they came to be believed.
    pub items: Vec<Root>,
    /// The state's revision.
    pub revision: u64,
}

/// One root of trust. Identities are `NAME.ROLE.REGION.hanse.internal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// The SHA-256 of its public key, 64 hexadecimal digits.
    pub root: String,
    /// Whether certificates come from it.
    pub issuing: bool,
    /// When it ends.
    #[schema(format = DateTime)]
    pub not_after: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The identities that said that they do not believe this root.
    pub not_believed_by: Vec<String>,
    /// The identities whose certificate comes from it.
    pub shown_by: Vec<String>,
    /// The identities that did not say, as one that is off; each step waits for them.
    pub unknown: Vec<String>,
    /// Who had it believed; absent while the root was never replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub trusted_by: Option<String>,
    /// When it came to be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub trusted_at: Option<String>,
}

/// The body that has another root believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rotation {
    /// The file rotation.pem that `hanse root new` wrote: four certificates, PEM.
    pub rotation: String,
}

/// A step of a rotation was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RootSettled {
    /// Which root.
    pub root: String,
    /// The state's revision after it.
    pub revision: u64,
}
