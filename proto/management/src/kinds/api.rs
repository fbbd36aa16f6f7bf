//! Api: what is published.

mod operation;

use std::collections::BTreeSet;

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use operation::{Method, OperationSpec, check_operation};

use crate::{
    Bound, Bounded, Column, Field, Kind, ManagementKind, Problem, ProblemName, Refer, ShownWith,
    check::{Verdict, check_distinct, header, host, invalid, path, text},
    column::count,
    kind::Known,
};

/// The longest name of an Api: `NAME-rNUMBER` names its revisions, and a name has 63 bytes.
const MAX_API_NAME_BYTES: usize = 52;

/// An API: what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApiSpec {
    /// The whole base path, `/orders/v1`; stripped before the upstream. `/` for none.
    pub context: String,
    /// The API's own version, for people and metrics.
    pub version: String,
    /// Hosts it answers to: exact names or `*.suffix`. Empty: every host of its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// What can be called.
    pub operations: Vec<OperationSpec>,
    /// Who may call.
    #[serde(default, skip_serializing_if = "SecuritySpec::is_open")]
    pub security: SecuritySpec,
    /// Policies, in order of application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Name>,
    /// Where it is in its life.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Where requests go, unless the Binding says otherwise. Copied into each revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Name>,
    /// Largest request body in bytes; the gateway's own limit holds too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// Sent to callers in the header `hanse-note`.
    #[cfg(feature = "next")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Which clients may call an API. Empty: every client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct SecuritySpec {
    /// Callers show an API key of a subscribed application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeySpec>,
}

impl SecuritySpec {
    /// Whether every client may call.
    pub fn is_open(&self) -> bool {
        self.api_key.is_none()
    }
}

impl From<ApiKeySpec> for SecuritySpec {
    fn from(api_key: ApiKeySpec) -> Self {
        Self { api_key: Some(api_key) }
    }
}

/// Where the API key is. With neither named: the header `X-API-Key`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ApiKeySpec {
    /// In this header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// In this query parameter; removed before the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

impl ApiKeySpec {
    /// The header used when a spec names none.
    pub const DEFAULT_HEADER: &'static str = "X-API-Key";
}

/// Where an API is in its life. Gateways know it from `published` to `blocked`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Being made; served nowhere.
    Created,
    /// Served.
    #[default]
    Published,
    /// Served, and callers are told to leave.
    Deprecated,
    /// Answered with 503.
    Blocked,
    /// Served nowhere any more.
    Retired,
}

impl Lifecycle {
    /// As in an Api's `lifecycle`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Published => "published",
            Self::Deprecated => "deprecated",
            Self::Blocked => "blocked",
            Self::Retired => "retired",
        }
    }
}

impl ApiSpec {
    /// The Policies that it and its operations name.
    pub fn policy_names(&self) -> BTreeSet<&Name> {
        self.policies.iter().chain(self.operations.iter().flat_map(|operation| &operation.policies)).collect()
    }
}

impl ManagementKind for ApiSpec {
    const PLURAL: &'static str = "apis";
    /// The number of the latest revision rises when a Policy changes too, which is no change of the Api.
    const ETAG_COVERS_STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::at("CONTEXT", "/spec/context"),
        Column::at("VERSION", "/spec/version"),
        Column::at("LIFECYCLE", "/spec/lifecycle"),
        Column::of("OPERATIONS", |item| count(&item["spec"]["operations"])),
        Column::at("LATEST", "/status/latestRevision"),
    ];
    const SHOWN_WITH: &'static [ShownWith] = &[
        ShownWith { kind: Kind::Upstream, field: "/spec/upstream", title: "Apis" },
        ShownWith { kind: Kind::Policy, field: "/spec/policies", title: "Apis" },
    ];

    fn bounds() -> Vec<Bounded> {
        let own = [
            ("ApiSpec", "context", Bound::Text(1, path::MAX_PATH_BYTES)),
            ("ApiSpec", "version", Bound::Text(1, text::MAX_TEXT_BYTES)),
            ("ApiSpec", "hosts", Bound::Items(0, host::MAX_HOSTS)),
            ("ApiSpec", "hosts", Bound::Each(1, host::MAX_PATTERN_BYTES)),
        ];
        [&own[..], &operation::BOUNDS].concat()
    }

    fn check(&self, name: &Name) -> Verdict {
        if name.as_str().len() > MAX_API_NAME_BYTES {
            let detail = format!(
                "the name has {} bytes; an Api's has at most {MAX_API_NAME_BYTES}",
                name.as_str().len()
            );
            let remedy = "choose a shorter name: its revisions are named after it";
            return Err(Problem::new(ProblemName::Invalid, detail).at("name").remedy(remedy));
        }
        path::check_context("context", &self.context)?;
        text::check_line("version", &self.version)?;
        host::check_patterns("hosts", &self.hosts)?;
        check_distinct("policies", &self.policies)?;
        if let Some(key) = &self.security.api_key {
            check_api_key(key)?;
        }
        #[cfg(feature = "next")]
        text::check_optional_line("note", self.note.as_ref())?;
        if self.max_body_bytes == Some(0) {
            let remedy = "leave it out for the gateway's own limit";
            return Err(invalid("maxBodyBytes", "0 would refuse every body", remedy));
        }
        operation::check_all(&self.operations)
    }

    fn warnings(&self) -> Vec<(&'static str, String)> {
        let mut warnings = Vec::new();
        let scoped = self.operations.iter().filter(|operation| !operation.scopes.is_empty()).count();
        if scoped > 0 {
            let detail =
                format!("no gateway of this version asks for any; operations that name some: {scoped}");
            warnings.push(("operations[].scopes", detail));
        }
        let is_guarded = |operation: &OperationSpec| !operation.open;
        if !self.security.is_open()
            && self.operations.iter().any(is_guarded)
            && let Some(tail) = self.operations.iter().find(|operation| operation::is_open_tail(operation))
        {
            let detail = format!(
                "{} {} is open and takes every path that no other operation has: a backend that ignores case serves /ADMIN \
                 as /admin to every client",
                tail.method, tail.path
            );
            warnings.push(("operations[].open", detail));
        }
        warnings
    }

    fn references(&self, refer: &mut Refer<'_>) {
        for (at, policy) in self.policies.iter().enumerate() {
            refer.lists(Kind::Policy, policy, Field::Item("policies", at));
        }
        for (at, operation) in self.operations.iter().enumerate() {
            for (second, policy) in operation.policies.iter().enumerate() {
                refer.lists(Kind::Policy, policy, Field::ItemOf("operations", at, "policies", second));
            }
        }
        if let Some(upstream) = &self.upstream {
            refer.needs(Kind::Upstream, upstream, Field::Plain("upstream"));
        }
    }

    fn status(&self, known: &Known<'_>) -> Option<Value> {
        Some(json!({ "latestRevision": known.latest_revision }))
    }
}

fn check_api_key(key: &ApiKeySpec) -> Verdict {
    if let Some(name) = &key.header {
        header::check_key("security.apiKey.header", name)?;
    }
    match &key.query {
        Some(name) if name.is_empty() || !name.bytes().all(is_query_char) => Err(invalid(
            "security.apiKey.query",
            format!("{name:?} is not a query parameter's name"),
            "use letters, digits and -._~",
        )),
        Some(_) | None => Ok(()),
    }
}

fn is_query_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
