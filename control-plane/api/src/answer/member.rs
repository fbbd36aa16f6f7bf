//! Who takes part, and who is refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Control nodes, agents, gateways, and identities that are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// In order of role, region and name.
    pub items: Vec<Member>,
    /// The state's revision.
    pub revision: u64,
}

/// One identity, and what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its identity: `NAME.ROLE.REGION.hanse.internal`.
    pub identity: String,
    /// Its name.
    pub name: String,
    /// `server`, `agent`, `gateway` or `dns`.
    pub role: String,
    /// Its region; control nodes have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub region: Option<String>,
    /// The environments it may learn; none: all of its region's. Absent where it did not join at a control node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub environments: Option<Vec<String>>,
    /// The digest of the public key it joined with; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// The JoinToken it joined with; absent for the first control node and for gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token: Option<String>,
    /// Where other agents of its region reach it, `host:port`. Only relays and holders of Origins have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// Whether it is a relay of its region; absent where it is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub relay: bool,
    /// Whether it has a stream now; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub connected: Option<bool>,
    /// Who revoked it, where it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revoked_by: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub revoked_at: Option<String>,
    /// The digests of the public keys that are refused with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revoked_keys: Option<Vec<String>>,
}

/// Whom every part of the federation refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revocations {
    /// In order of identity.
    pub items: Vec<Revocation>,
    /// The state's revision.
    pub revision: u64,
}

/// An identity that is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The identity: `NAME.ROLE.REGION.hanse.internal`.
    pub identity: String,
    /// Who revoked it; absent where it was readmitted in the same moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revoked_by: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub revoked_at: Option<String>,
    /// The digests of the public keys that are refused with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revoked_keys: Option<Vec<String>>,
}

/// A revocation was lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readmitted {
    /// The identity.
    pub identity: String,
    /// The state's revision after it.
    pub revision: u64,
}
