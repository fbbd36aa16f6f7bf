//! What the caller's token is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A token, and what it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// The Token's name.
    pub token: String,
    /// Who answers for it.
    pub owner: String,
    /// `admin`, `publisher` or `viewer`.
    pub role: String,
    /// The only Organization that it reaches; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// When it expires; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub expires_at: Option<String>,
    /// The state's revision.
    pub revision: u64,
}
