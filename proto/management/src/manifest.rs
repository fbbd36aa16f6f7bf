//! Manifests: resources as operators write them, in YAML or JSON.
//!
//! A document is one resource `{kind, name, organization?, labels?, protected?, spec?, revision?}`, or a list of them: `{items: […]}`
//! as `get` prints it, `{resources: […]}` as `apply` takes it. What the server owns (`createdAt`, `updatedAt`,
//! `status`) is read over, so that what `get` shows can be applied again.

mod document;
mod envelope;
mod json;
mod operations;
mod request;
mod restored;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

use hanse_topology::{Labels, Name};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

use self::{
    document::{Document, Items},
    operations::Operations,
};
pub use self::{
    document::{KEPT_BYTES as MAX_MANIFESTS_MEMORY, memory},
    request::{Expected, Request},
    restored::Restored,
};
use crate::{Problem, ProblemName, ResourceKey, Revision, Spec};

/// The largest manifest, in bytes: the limit of a request's body.
pub const MAX_MANIFEST_BYTES: usize = 16 << 20;

/// What to do about a resource that takes too much memory to read.
const SMALLER: &str = "make the resource smaller: leave out what it does not need";

/// One resource as an operator wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Kind, organization and name.
    pub key: ResourceKey,
    /// Its labels.
    pub labels: Labels,
    /// Whether no command may delete it. `None`: as it was; of a new resource, `false`.
    pub protected: Option<bool>,
    /// What it says.
    pub spec: Spec,
    /// The revision it must be at; 0: it must not exist yet.
    pub revision: Option<Revision>,
    /// Of a resource of a dump, what was known of it.
    pub restored: Option<Box<Restored>>,
}

impl Serialize for Manifest {
    /// As it is sent, in JSON.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { key, labels, protected, spec, revision, restored } = self;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("kind", key.kind.as_str())?;
        if let Some(organization) = &key.organization {
            members.serialize_entry("organization", organization)?;
        }
        members.serialize_entry("name", &key.name)?;
        if !labels.is_empty() {
            members.serialize_entry("labels", labels)?;
        }
        if let Some(protected) = protected {
            members.serialize_entry("protected", protected)?;
        }
        if let Some(revision) = revision {
            members.serialize_entry("revision", revision)?;
        }
        if let Some(restored) = restored {
            members.serialize_entry("restored", restored)?;
        }
        members.serialize_entry("spec", spec)?;
        members.end()
    }
}

/// Reads YAML documents; empty ones are skipped. Resources that name no organization belong to `default_organization`.
///
/// The problem's field is `line L, column C` where the text is not YAML, else `document N: KIND NAME: FIELD`.
pub fn parse_yaml(text: &str, default_organization: &Name) -> Result<Vec<Manifest>, Problem> {
    let documents = yaml::documents::<Documents>(text)?;
    documents.kept.outcome().map(|manifests| owned(manifests, default_organization))
}

/// The documents of a text: resources up to the first that is none.
#[derive(Default)]
struct Documents {
    kept: Items,
    number: usize,
}

impl Extend<Document> for Documents {
    fn extend<T: IntoIterator<Item = Document>>(&mut self, documents: T) {
        for document in documents {
            self.number += 1;
            let read = match document {
                Document::Refused(problem) => Err(problem),
                Document::Resources(manifests) => {
                    manifests.into_iter().try_for_each(|one| self.kept.push(one))
                }
                Document::Request(..) => Err(no_manifest()),
            };
            if let Err(problem) = read {
                self.kept.refuse(in_document(self.number, problem));
            }
        }
    }
}

/// Reads one resource or a list of them from JSON text. The problem's field is `line L, column C` where the text is not JSON,
/// else `item N: KIND NAME: FIELD`.
pub fn parse_json(text: &[u8], default_organization: &Name) -> Result<Vec<Manifest>, Problem> {
    match json::document(text)? {
        Document::Resources(manifests) => Ok(owned(manifests, default_organization)),
        Document::Request(..) => Err(no_manifest()),
        Document::Refused(problem) => Err(problem),
    }
}

/// Reads the body of an apply from JSON text: what [`parse_json`] reads, and beside `resources` the lists `delete` and
/// `expects`.
pub fn parse_request(text: &[u8], default_organization: &Name) -> Result<Request, Problem> {
    match json::document(text)? {
        Document::Resources(manifests) => {
            Ok(Request { resources: owned(manifests, default_organization), ..Request::default() })
        }
        Document::Request(manifests, lists) => {
            lists.request(owned(manifests, default_organization), default_organization)
        }
        Document::Refused(problem) => Err(problem),
    }
}

fn no_manifest() -> Problem {
    Problem::new(ProblemName::Invalid, "`delete` and `expects` are of a request in JSON, not of a manifest")
        .remedy("send it to POST /v1/apply as application/json, or take them out")
}

/// Reads JSON text as one value, within the bounds of a resource. The problem's field is `line L, column C`.
pub fn json_value(text: &[u8]) -> Result<Value, Problem> {
    json::tree(text)
}

/// Reads one resource from JSON text; `key` says what the text leaves out. The problem's field is `line L, column C` where the text
/// is not JSON, else `KIND NAME: FIELD`.
pub fn parse_json_of(text: &[u8], key: &ResourceKey) -> Result<Manifest, Problem> {
    let (mut value, operations) = json::resource(text)?;
    let Some(members) = value.as_object_mut() else {
        return Err(Problem::new(ProblemName::BadRequest, "the body is not a JSON object")
            .remedy("send {\"spec\": {…}}"));
    };
    members.entry("kind").or_insert_with(|| key.kind.as_str().into());
    members.entry("name").or_insert_with(|| key.name.as_str().into());
    let mut manifest = envelope::read(&value, operations, "")?;
    if let Some(organization) = &key.organization {
        own(&mut manifest.key, organization);
    }
    Ok(manifest)
}

/// Reads one resource. The problem's field is `KIND NAME: FIELD`.
pub fn from_json(value: &Value, default_organization: &Name) -> Result<Manifest, Problem> {
    let mut manifest = envelope::read(value, Operations::default(), "")?;
    own(&mut manifest.key, default_organization);
    Ok(manifest)
}

/// A problem of a document, its field seen from the whole text: `document 2, item 3: …`.
fn in_document(number: usize, problem: Problem) -> Problem {
    let mut problem = envelope::within(&format!("document {number}"), problem);
    if let Some(item) = problem.field.strip_prefix(&format!("document {number}: item ")) {
        problem.field = format!("document {number}, item {item}");
    }
    problem
}

fn owned(mut manifests: Vec<Manifest>, default_organization: &Name) -> Vec<Manifest> {
    manifests.iter_mut().for_each(|manifest| own(&mut manifest.key, default_organization));
    manifests
}

/// Gives a resource that names no organization the default one.
fn own(key: &mut ResourceKey, default_organization: &Name) {
    if !key.kind.is_global() && key.organization.is_none() {
        key.organization = Some(default_organization.clone());
    }
}
