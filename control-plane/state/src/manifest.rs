//! Manifests: resources as operators write them, in YAML or JSON.
//!
//! A document is one resource `{kind, name, organization?, labels?, spec?, revision?}`, or a list of them: `{items: […]}`
//! as `get` prints it, `{resources: […]}` as `apply` takes it. What the server owns (`createdAt`, `updatedAt`,
//! `status`) is read over, so that what `get` shows can be applied again.

mod envelope;
mod yaml;

#[cfg(test)]
mod tests;

use hanse_topology::{Labels, Name};
use serde_json::Value;

use crate::{Action, Change, Problem, ResourceKey, Revision, Spec};

/// The largest manifest, in bytes: the limit of a request's body.
pub const MAX_MANIFEST_BYTES: usize = 16 << 20;

/// One resource as an operator wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Kind, organization and name.
    pub key: ResourceKey,
    /// Its labels.
    pub labels: Labels,
    /// What it says.
    pub spec: Spec,
    /// The revision it must be at; 0: it must not exist yet.
    pub revision: Option<Revision>,
}

impl Manifest {
    /// The change that makes it so.
    pub fn into_change(self) -> Change {
        let Self { key, labels, spec, revision } = self;
        Change { key, action: Action::Put { labels, spec }, if_revision: revision }
    }
}

/// Reads YAML documents; empty ones are skipped. Resources that name no organization belong to `default_organization`.
///
/// The problem's field is `line L, column C` where the text is not YAML, else `document N: KIND NAME: FIELD`.
pub fn parse_yaml(text: &str, default_organization: &Name) -> Result<Vec<Manifest>, Problem> {
    let documents = yaml::documents(text)?;
    let mut manifests = Vec::with_capacity(documents.len());
    for (at, document) in documents.iter().enumerate() {
        let place = format!("document {}", at + 1);
        envelope::read_all(document, default_organization, &place, &mut manifests)?;
    }
    Ok(manifests)
}

/// Reads one resource. The problem's field is `KIND NAME: FIELD`.
pub fn from_json(value: &Value, default_organization: &Name) -> Result<Manifest, Problem> {
    envelope::read(value, default_organization, "")
}

/// Reads one resource or a list of them. The problem's field is `item N: KIND NAME: FIELD`.
pub fn all_from_json(value: &Value, default_organization: &Name) -> Result<Vec<Manifest>, Problem> {
    let mut manifests = Vec::new();
    envelope::read_all(value, default_organization, "", &mut manifests)?;
    Ok(manifests)
}
