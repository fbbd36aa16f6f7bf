//! Binding: where a revision runs.

use hanse_topology::{Name, RegionSelector};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Puts one revision of an Api into regions of an Environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BindingSpec {
    /// The Api.
    #[schema(value_type = String)]
    pub api: Name,
    /// A number, or `latest`: whatever was published last.
    #[serde(default)]
    pub revision: RevisionRef,
    /// The Environment.
    #[schema(value_type = String)]
    pub environment: Name,
    /// Which of the Environment's regions. Empty: all of them.
    #[serde(default)]
    pub regions: RegionSelector,
    /// Where requests go, instead of the Api's own upstream. Followed live, not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub upstream: Option<Name>,
    /// Which regions' endpoints a gateway may use.
    #[serde(default)]
    pub reach: Reach,
}

/// Which revision of an Api: a number or the newest. Written `3` or `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RevisionRef {
    /// Exactly this one.
    Number(u64),
    /// The newest.
    Latest(Latest),
}

impl Default for RevisionRef {
    fn default() -> Self {
        Self::Latest(Latest::Latest)
    }
}

/// The word `latest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Latest {
    /// The word.
    #[default]
    Latest,
}

/// Which regions' endpoints a gateway may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Only its own region's.
    #[default]
    Local,
}
