//! Token: an operator's access to the API. Only the digest of its secret comes here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiSpec;
use crate::{Claim, Column, Digest, ManagementKind, ResourceKey, column::expiry};

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

impl ManagementKind for TokenSpec {
    const PLURAL: &'static str = "tokens";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] =
        &[Column::at("ROLE", "/spec/role"), Column::of("EXPIRES", |item| expiry(&item["spec"]["expiresAt"]))];

    fn claims(&self, _key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        vec![Claim::Token(self.digest)]
    }

    fn secret(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn secret_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }
}
