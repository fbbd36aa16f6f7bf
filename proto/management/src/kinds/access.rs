//! Token and JoinToken: who may operate, and who may join. Only digests of secrets come here.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Digest;

/// An operator's bearer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenSpec {
    /// What it may do.
    pub role: TokenRole,
    /// SHA-256 of the token.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Unix seconds after which it is refused; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Everything.
    Admin,
}

/// Leave for an agent or a control node to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JoinTokenSpec {
    /// What may join with it.
    pub role: JoinRole,
    /// The agent's region; a control node has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub region: Option<Name>,
    /// The environments an agent may learn; empty: all of its region's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub environments: Vec<Name>,
    /// How often it may be used. Default 1.
    #[serde(default = "JoinTokenSpec::default_uses")]
    pub uses: u64,
    /// Whether it may take over an identity that joined with another key, as when a machine was rebuilt and its key is
    /// lost. Otherwise a name that is taken stays with the key it joined with. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Whether a control node may take the place of one of the same name that runs, as when that one cannot be stopped.
    /// Includes `replace`. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Unix seconds after which it is refused.
    pub expires_at: u64,
    /// SHA-256 of the secret.
    #[schema(value_type = String)]
    pub digest: Digest,
}

impl JoinTokenSpec {
    const fn default_uses() -> u64 {
        1
    }

    /// Whether it may take over an identity that joined with another key.
    pub fn may_replace(&self) -> bool {
        self.replace || self.force
    }
}

/// What a JoinToken lets join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JoinRole {
    /// A control-plane node.
    Server,
    /// A region's agent.
    Agent,
}
