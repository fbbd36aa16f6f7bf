//! Token: an operator's access to the API. Only the digest of its secret comes here.

use std::fmt;

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ApiSpec;
use crate::{
    Bound, Bounded, Claim, Column, Digest, Field, Kind, ManagementKind, Refer, ResourceKey,
    check::{Verdict, invalid, text},
    column::{expiry, or, text_of},
};

/// An operator's bearer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenSpec {
    /// What it may do.
    pub role: TokenRole,
    /// The person or the service that it belongs to. Tokens of one owner count as one operator. Absent: the token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The only Organization whose resources it may see and write. A publisher has one, an admin has none. A viewer without one sees
    /// everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Name>,
    /// SHA-256 of the token.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Unix seconds after which it is refused; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl TokenSpec {
    /// A token that may do everything.
    pub fn admin(digest: Digest, expires_at: Option<u64>) -> Self {
        Self { role: TokenRole::Admin, owner: None, organization: None, digest, expires_at }
    }

    /// Whether it is refused at this time, in Unix milliseconds.
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_at.is_some_and(|seconds| seconds.saturating_mul(1_000) <= now_ms)
    }

    /// Who answers for the Token `name`.
    pub fn owner<'a>(&'a self, name: &'a Name) -> &'a str {
        self.owner.as_deref().unwrap_or(name.as_str())
    }
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Everything.
    Admin,
    /// Write the resources of one Organization, and read what they rest on.
    Publisher,
    /// Read.
    Viewer,
}

impl TokenRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Publisher, Self::Viewer];

    /// As in a Token's `role`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }

    /// The role spelled `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ManagementKind for TokenSpec {
    const PLURAL: &'static str = "tokens";
    const GLOBAL: bool = true;
    // `lastUsed` changes without a revision.
    const ETAG_COVERS_STATUS: bool = false;
    const SECRETS: &'static [&'static str] = &["/digest"];
    const COLUMNS: &'static [Column] = &[
        Column::at("ROLE", "/spec/role"),
        Column::at("ORGANIZATION", "/spec/organization"),
        Column::of("OWNER", |item| or(text_of(&item["spec"]["owner"]), &text_of(&item["name"]))),
        Column::of("EXPIRES", |item| expiry(&item["spec"]["expiresAt"])),
        Column::of("LAST USED", |item| match &item["status"]["lastUsed"] {
            Value::Null => String::new(),
            hour => text_of(hour),
        }),
    ];

    fn bounds() -> Vec<Bounded> {
        vec![("TokenSpec", "owner", Bound::Text(1, text::MAX_TEXT_BYTES))]
    }

    fn check(&self, _name: &Name) -> Verdict {
        text::check_optional_line("owner", self.owner.as_ref())?;
        match (self.role, &self.organization) {
            (TokenRole::Publisher, None) => Err(invalid(
                "organization",
                "a publisher writes the resources of one Organization",
                "name that Organization",
            )),
            (TokenRole::Admin, Some(_)) => Err(invalid(
                "organization",
                "an admin may do everything, in every Organization",
                "leave the organization out, or use the role publisher",
            )),
            (TokenRole::Admin, None) | (TokenRole::Publisher, Some(_)) | (TokenRole::Viewer, _) => Ok(()),
        }
    }

    fn references(&self, refer: &mut Refer<'_>) {
        if let Some(organization) = &self.organization {
            refer.needs(Kind::Organization, organization, Field::Plain("organization"));
        }
    }

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
