//! Resources: one by itself, in a page of a list, in an event of a watch.

use hanse_management::{Kind, manifest::Restored, schemas_of};
use hanse_state::admission::Warning;
use hanse_topology::{Labels, Name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Object, Ref, RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder, Type},
    },
};

/// A management resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// What it is.
    #[schema(schema_with = kinds)]
    pub kind: String,
    /// Its name: a DNS label.
    #[schema(value_type = Name)]
    pub name: String,
    /// Its owner; kinds that are not global have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Name, required = false)]
    pub organization: Option<String>,
    /// The operator's labels.
    #[schema(required = false)]
    pub labels: Labels,
    /// Whether no request may delete it: `false` lifts that. Left out, it stays as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub protected: bool,
    /// What the operator wrote, as its kind has it. Digests of secrets are shortened; sent back that way, they mean the digest
    /// that is there.
    pub spec: Value,
    /// The revision of its last change: its ETag.
    #[schema(required = false)]
    pub revision: u64,
    /// When it was first written.
    #[schema(required = false, read_only, format = DateTime)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(required = false, read_only, format = DateTime)]
    pub updated_at: String,
    /// What the server knows beside the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, schema_with = beside)]
    pub status: Option<Value>,
    /// Members of a later version: a client that sends a resource back loses none.
    #[serde(flatten)]
    #[schema(ignore)]
    pub others: Map<String, Value>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// The resources, by name.
    pub items: Vec<Resource>,
    /// The revision this page was read at.
    pub revision: u64,
    /// For the next page; absent on the last.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// An event of a watch: a resource was put, or deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeEvent {
    /// What it is.
    pub kind: String,
    /// Its owner; kinds that are not global have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Its name.
    pub name: String,
    /// The revision of its last change.
    pub revision: u64,
    /// What it is now; absent when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
}

/// An event of a watch: nothing changed up to a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// The revision.
    pub revision: u64,
}

impl From<&hanse_state::Resource> for Resource {
    fn from(resource: &hanse_state::Resource) -> Self {
        let hanse_state::Resource { key, metadata, spec } = resource;
        Self {
            kind: key.kind.as_str().to_owned(),
            name: key.name.to_string(),
            organization: key.organization.as_ref().map(ToString::to_string),
            labels: metadata.labels.clone(),
            protected: metadata.protected,
            spec: spec.shown(),
            revision: metadata.revision,
            created_at: metadata.created_at(),
            updated_at: metadata.updated_at(),
            status: resource.status(),
            others: Map::new(),
        }
    }
}

impl Resource {
    /// The same with the Organization that owns it by a HostGrant: `owner` of its status.
    pub(crate) fn owned_by(mut self, owner: Option<&str>) -> Self {
        if let Some(owner) = owner {
            self.status.get_or_insert_with(|| json!({}))["owner"] = owner.into();
        }
        self
    }

    /// The same with what is accepted of it although it does not hold: `warnings` of its status, each with field and detail.
    pub(crate) fn warned(mut self, warnings: &[Warning]) -> Self {
        if !warnings.is_empty() {
            let one = |Warning { field, detail, .. }: &Warning| json!({"field": field, "detail": detail});
            let status = self.status.get_or_insert_with(|| json!({}));
            status["warnings"] = warnings.iter().map(one).collect();
        }
        self
    }
}

fn beside() -> Object {
    let what = "What the server knows beside the spec. Of one resource by itself also its `warnings`: a `field` and a \
        `detail` each, and of a GlobalHost its `owner`.";
    ObjectBuilder::new().schema_type(Type::Object).description(Some(what)).read_only(true).build()
}

/// The schemas of a kind: its spec's, a resource's and a page's.
pub(crate) fn schemas_of_kind(kind: Kind) -> Vec<(String, RefOr<Schema>)> {
    let mut resource = properties::<Resource>();
    resource.description = None;
    resource.properties.insert("kind".to_owned(), one_of([kind]).into());
    resource.properties.insert("spec".to_owned(), Ref::from_schema_name(format!("{kind}Spec")).into());
    let restored = Ref::from_schema_name(Restored::name());
    resource.properties.insert("restored".to_owned(), restored.into());
    if kind.is_global() {
        resource.properties.shift_remove("organization");
    }
    let mut page = properties::<Page>();
    let items = ArrayBuilder::new().items(Ref::from_schema_name(kind.as_str())).build();
    page.properties.insert("items".to_owned(), items.into());
    let mut schemas = kind.schemas();
    schemas.extend(schemas_of::<Restored>());
    schemas.push((kind.as_str().to_owned(), resource.into()));
    schemas.push((format!("{kind}List"), page.into()));
    schemas
}

fn properties<T: PartialSchema>() -> Object {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object,
        _ => unreachable!("a struct's schema is an object"),
    }
}

/// A word for any kind.
pub(super) fn kinds() -> Object {
    one_of(Kind::ALL)
}

fn one_of<const N: usize>(kinds: [Kind; N]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("What it is."))
        .enum_values(Some(kinds.map(Kind::as_str)))
        .build()
}
