//! Credential: an API key's digest.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiSpec;
use crate::{
    Claim, Column, Digest, Field, Kind, ManagementKind, Refer, ResourceKey, ShownWith, column::expiry,
};

/// An API key of an Application. The key itself is made and kept by the client; only its digest comes here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CredentialSpec {
    /// Whose key it is.
    pub application: Name,
    /// SHA-256 of the key.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Unix seconds after which it is refused; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl ManagementKind for CredentialSpec {
    const PLURAL: &'static str = "credentials";
    const SECRETS: &'static [&'static str] = &["/digest"];
    const COLUMNS: &'static [Column] = &[
        Column::at("APPLICATION", "/spec/application"),
        Column::of("EXPIRES", |item| expiry(&item["spec"]["expiresAt"])),
    ];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::Application, field: "/spec/application", title: "Credentials" }];

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::Application, &self.application, Field::Plain("application"));
    }

    fn claims(&self, _key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        vec![Claim::Credential(self.digest)]
    }

    fn secret(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn secret_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }
}
