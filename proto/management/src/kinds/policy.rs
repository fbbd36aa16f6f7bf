//! Policy: reusable mediation.

mod cors;
mod headers;
mod rewrite;

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use cors::CorsSpec;
pub use headers::{HeaderRulesSpec, HeadersSpec};
pub use rewrite::RewriteSpec;

use crate::{Bounded, Column, ManagementKind, check::Verdict};

/// What is done to requests and responses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct PolicySpec {
    /// Header rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeadersSpec>,
    /// Cross-origin resource sharing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsSpec>,
    /// Addresses in answers, as clients know them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<RewriteSpec>,
}

impl ManagementKind for PolicySpec {
    const PLURAL: &'static str = "policies";
    /// A header that is set may authenticate the gateway to the upstream.
    const SECRETS: &'static [&'static str] = &[
        "/headers/request/set/*",
        "/headers/request/add/*",
        "/headers/response/set/*",
        "/headers/response/add/*",
    ];
    const COLUMNS: &'static [Column] = &[Column::of("DOES", |item| keys(&item["spec"]))];

    fn bounds() -> Vec<Bounded> {
        cors::BOUNDS.to_vec()
    }

    fn check(&self, _name: &Name) -> Verdict {
        self.headers.as_ref().map_or(Ok(()), HeadersSpec::check)?;
        self.cors.as_ref().map_or(Ok(()), CorsSpec::check)?;
        self.rewrite.as_ref().map_or(Ok(()), RewriteSpec::check)
    }
}

/// What it does: the names of its fields.
fn keys(object: &Value) -> String {
    object
        .as_object()
        .map(|members| members.keys().cloned().collect::<Vec<_>>().join(","))
        .unwrap_or_default()
}
