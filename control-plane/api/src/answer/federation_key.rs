//! The federation key and the recovery key.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::word::words;

/// The versions of the federation key. No answer has a key itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FederationKey {
    /// The recovery key; absent where there is none. Then no version is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub recovery_key: Option<RecoveryKey>,
    /// Whether a rotation is under way: another version is made, or waits until every control node has it, or values of Secrets are not
    /// sealed with it yet.
    pub rotating: bool,
    /// The first 10 Secrets with a value that an earlier version than the active one sealed, as `Secret shop/upstream`; absent when there are
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated_secrets: Vec<String>,
    /// The oldest first.
    pub items: Vec<FederationKeyVersion>,
    /// The state's revision.
    pub revision: u64,
}

/// The public keys of an operator's recovery pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryKey {
    /// The SHA-256 of the public key in sign.pem, 64 hexadecimal digits.
    pub sign: String,
    /// The SHA-256 of the public key in wrap.pem, 64 hexadecimal digits. Every version is wrapped to it.
    pub wrap: String,
}

/// One version of the federation key. Identities are `NAME.server.control.hanse.internal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FederationKeyVersion {
    /// Its number, from 1 on.
    pub version: u32,
    /// What it is used for.
    pub state: KeyState,
    /// What the state knows it by, 64 hexadecimal digits.
    pub digest: String,
    /// The revision that brought it.
    pub made_at: u64,
    /// How many values of Secrets are sealed with it. Those of a retired version are sealed anew with the active one.
    pub values: u64,
    /// Of a pending or active version, the control nodes that said that they lack it; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacked_by: Vec<String>,
    /// Of a pending or active version, the control nodes that did not say, as one that is off; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

words! {
    /// What a version of the federation key is used for.
    KeyState {
        /// It is used once every control node has it.
        Pending = "pending",
        /// Secrets are sealed with it.
        Active = "active",
        /// It was active: what is sealed with it opens, and is sealed anew with the active version.
        Retired = "retired",
        /// It was never used, and will not be.
        Skipped = "skipped",
    }
}

/// The body that sets the recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRecoveryKey {
    /// The public key of sign.pem, as PEM.
    pub sign: String,
    /// The public key of wrap.pem, as PEM.
    pub wrap: String,
    /// Whether it may take the place of another recovery key.
    #[serde(default)]
    pub replace: bool,
}

/// The recovery key is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryKeySet {
    /// The SHA-256 of the public keys.
    pub recovery_key: RecoveryKey,
    /// The state's revision after it.
    pub revision: u64,
}

/// Another version of the federation key was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FederationKeyRotated {
    /// The state's revision after it.
    pub revision: u64,
}
