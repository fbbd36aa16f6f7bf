//! Why a request was refused.

use hanse_management::ProblemName;
use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::{
        Object,
        schema::{ObjectBuilder, Type},
    },
};

/// Why a request was refused: problem details (RFC 9457).
// Reading takes those of proxies on the way too, which may say less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// Which kind of problem, as `urn:hanse:problem:NAME`.
    #[serde(rename = "type", default)]
    #[schema(required, schema_with = urns)]
    pub urn: String,
    /// The kind in words.
    #[serde(default)]
    #[schema(required)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    #[schema(required)]
    pub status: u16,
    /// What happened.
    #[serde(default)]
    #[schema(required)]
    pub detail: String,
    /// Where in the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl ProblemDetails {
    const URN: &'static str = "urn:hanse:problem:";

    /// The `type` of a problem.
    pub(crate) fn urn(name: ProblemName) -> String {
        format!("{}{}", Self::URN, name.as_str())
    }

    /// The problem that its `type` names, if it is one of ours.
    pub fn name(&self) -> Option<ProblemName> {
        self.urn.strip_prefix(Self::URN).and_then(ProblemName::parse)
    }
}

fn urns() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Which kind of problem; see docs/problems.md."))
        .enum_values(Some(ProblemName::ALL.map(ProblemDetails::urn)))
        .build()
}
