//! Writes of resources: what they did.

use std::{fmt, ops::Not};

use hanse_management::Kind;
use hanse_state::port;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Ref,
        schema::{Array, ArrayBuilder, OneOfBuilder},
    },
};

use super::{resource::kinds, word::words};

/// The body of an apply.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApplyRequest {
    /// The resources, as manifests.
    #[schema(schema_with = manifests)]
    pub resources: Vec<Value>,
    /// Resources to delete, each at its revision. Only JSON has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub delete: Vec<AtRevision>,
    /// Resources that must be as they are named here. The apply does not change them; it is refused as stale where one is not so.
    /// Only JSON has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub expects: Vec<Expected>,
}

impl fmt::Debug for ApplyRequest {
    /// Without the resources: a Secret may be among them, with its data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplyRequest")
            .field("resources", &self.resources.len())
            .field("delete", &self.delete)
            .field("expects", &self.expects)
            .finish()
    }
}

impl ApplyRequest {
    /// A request that only puts resources.
    pub fn of(resources: Vec<Value>) -> Self {
        Self { resources, delete: Vec::new(), expects: Vec::new() }
    }
}

/// A resource at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AtRevision {
    /// Its kind.
    #[schema(schema_with = kinds)]
    pub kind: String,
    /// Its owner; absent: the request's. Kinds that are global have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// Its name: a DNS label.
    pub name: String,
    /// The revision it must be at.
    pub revision: u64,
}

impl Expected {
    /// Whether both are of one resource.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.kind, &self.organization, &self.name) == (&other.kind, &other.organization, &other.name)
    }
}

/// A resource that must be as it is named here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// Its kind.
    #[schema(schema_with = kinds)]
    pub kind: String,
    /// Its owner; absent: the request's. Kinds that are global have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// Its name: a DNS label.
    pub name: String,
    /// The revision it must be at; 0: it must not exist.
    pub revision: u64,
    /// Of an Api, the number of its latest ApiRevision; of a Binding, of the one that it serves. Absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub api_revision: Option<u64>,
}

fn manifests() -> Array {
    // What the control plane makes, too: a dump has it.
    let any = OneOfBuilder::new();
    let any = Kind::ALL.into_iter().fold(any, |any, kind| any.item(Ref::from_schema_name(kind.as_str())));
    ArrayBuilder::new().items(any).build()
}

/// What an apply did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The state's revision after the write.
    pub revision: u64,
    /// What happened to each resource.
    pub changes: Vec<Change>,
    /// What it did to the scopes that it touched; absent when the projection did not say in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub scopes: Option<Vec<ScopeEffect>>,
    /// What was accepted although it does not hold yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// How many more warnings there are; absent: none.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    #[schema(required = false)]
    pub warnings_left_out: u64,
    /// Present and true when nothing was written; `revision` is then the one it was tried on.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub dry_run: bool,
    /// In a dry run: the Environments for which a second owner must approve the change; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_approval: Vec<String>,
    /// In a dry run: the FailoverPlans for which a second owner must approve the change; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_approval_plans: Vec<String>,
}

/// Something of a resource that was accepted although it does not hold yet: a field that gateways do not act on, a Binding that is
/// served nowhere, a host of an Api that no Environment has, or requests that belong to another Organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// The kind of the resource.
    #[schema(schema_with = kinds)]
    pub kind: String,
    /// Its owner; kinds that are not global have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// Its name: a DNS label.
    pub name: String,
    /// The field that does not hold yet: `spec.operations[].scopes`.
    pub field: String,
    /// What is not done.
    pub detail: String,
}

impl From<&hanse_state::admission::Warning> for Warning {
    fn from(warning: &hanse_state::admission::Warning) -> Self {
        let hanse_state::admission::Warning { key, field, detail } = warning;
        Self {
            kind: key.kind.as_str().to_owned(),
            organization: key.organization.as_ref().map(ToString::to_string),
            name: key.name.to_string(),
            field: field.clone(),
            detail: detail.clone(),
        }
    }
}

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// The state's revision after the write.
    pub revision: u64,
    /// What was deleted.
    pub changes: Vec<Change>,
    /// What does not hold any more of what is left: the Bindings that lose requests because a HostGrant is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// How many more warnings there are; absent: none.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    #[schema(required = false)]
    pub warnings_left_out: u64,
    /// Present and true when nothing was deleted; `revision` is then the one it was tried on.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub dry_run: bool,
    /// In a dry run: the Environments for which a second owner must approve the delete; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_approval: Vec<String>,
    /// In a dry run: the FailoverPlans for which a second owner must approve the delete; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_approval_plans: Vec<String>,
}

/// What happened to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// What it is.
    #[schema(schema_with = kinds)]
    pub kind: String,
    /// Its owner; kinds that are not global have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// Its name: a DNS label.
    pub name: String,
    /// What happened to it.
    pub action: Action,
    /// Its revision now; absent when deleted and in a dry run. In the dry run of a delete, the one it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revision: Option<u64>,
}

words! {
    /// What happened to a resource.
    Action {
        /// It was not there before.
        Created = "created",
        /// It was there and is different now.
        Updated = "updated",
        /// It was there and is the same.
        Unchanged = "unchanged",
        /// It is gone.
        Deleted = "deleted",
        /// It is a Binding that follows its Api's latest revision: it is unchanged, and serves another revision than before.
        Moved = "moved",
    }
}

/// What a change did to one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScopeEffect {
    /// The region.
    pub region: String,
    /// The environment; absent for scopes that have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub environment: Option<String>,
    /// Runtime resources made or changed.
    pub upserts: u64,
    /// Runtime resources removed.
    pub removals: u64,
}

impl From<&port::ScopeEffect> for ScopeEffect {
    fn from(effect: &port::ScopeEffect) -> Self {
        Self {
            region: effect.scope.region().to_string(),
            environment: effect.scope.environment().map(ToString::to_string),
            upserts: effect.upserts as u64,
            removals: effect.removals as u64,
        }
    }
}
