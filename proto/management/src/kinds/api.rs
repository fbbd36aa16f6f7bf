//! Api and ApiRevision.

use std::{collections::BTreeMap, fmt};

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PolicySpec, UpstreamSpec};
use crate::{Duration, Kind, ResourceKey};

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
    #[schema(value_type = Vec<String>)]
    pub policies: Vec<Name>,
    /// Where it is in its life.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Where requests go, unless the Binding says otherwise. Copied into each revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub upstream: Option<Name>,
    /// Largest request body in bytes; the gateway's own limit holds too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
}

/// One method on one path template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OperationSpec {
    /// The HTTP method.
    pub method: Method,
    /// Below the context: `/orders/{id}`, `/compare/{base}...{head}`.
    pub path: String,
    /// The `operationId`, for metrics and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// OAuth scopes a token needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Policies after the API's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub policies: Vec<Name>,
    /// Instead of the upstream's timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<Duration>,
    /// Anybody may call it, whatever the API's security says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// An HTTP method (RFC 9110 §9, RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // the names say it
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
}

impl Method {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who may call an API. Empty: anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct SecuritySpec {
    /// Callers show an API key of a subscribed application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeySpec>,
}

impl SecuritySpec {
    /// Whether anybody may call.
    pub fn is_open(&self) -> bool {
        self.api_key.is_none()
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

/// An immutable numbered copy of an Api with what it refers to. Written by the server only; named `API-rNUMBER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApiRevisionSpec {
    /// The Api it copies.
    #[schema(value_type = String)]
    pub api: Name,
    /// 1, 2, 3, … per Api, never used twice.
    pub number: u64,
    /// The Api as it was.
    pub spec: ApiSpec,
    /// The Policies it named, as they were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub policies: BTreeMap<Name, PolicySpec>,
    /// The Upstream it named, as it was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub upstreams: BTreeMap<Name, UpstreamSpec>,
}

impl ApiRevisionSpec {
    /// The key of revision `number` of an Api. `None` when that is no name: the Api's is too long.
    pub fn key(organization: &Name, api: &Name, number: u64) -> Option<ResourceKey> {
        let name = Name::new(format!("{api}-r{number}")).ok()?;
        Some(ResourceKey::owned(Kind::ApiRevision, organization.clone(), name))
    }

    /// Whether `other` has the same content. Numbers and lifecycles do not count: the number is what a new content gets,
    /// and the lifecycle is the Api's own, not a revision's.
    pub fn same_content(&self, other: &Self) -> bool {
        let Self { api, number: _, spec, policies, upstreams } = self;
        let ApiSpec {
            context,
            version,
            hosts,
            operations,
            security,
            policies: names,
            lifecycle: _,
            upstream,
            max_body_bytes,
        } = spec;
        *api == other.api
            && *context == other.spec.context
            && *version == other.spec.version
            && *hosts == other.spec.hosts
            && *operations == other.spec.operations
            && *security == other.spec.security
            && *names == other.spec.policies
            && *upstream == other.spec.upstream
            && *max_body_bytes == other.spec.max_body_bytes
            && *policies == other.policies
            && *upstreams == other.upstreams
    }
}
