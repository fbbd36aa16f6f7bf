//! The body of an apply: resources to put, and what a manifest cannot say.

use hanse_topology::Name;
use serde_json::{Map, Value};

use super::{Manifest, envelope, own};
use crate::{Kind, Problem, ProblemName, ResourceKey, Revision};

/// What one entry of `delete` has.
const DELETE_FIELDS: &[&str] = &["kind", "organization", "name", "revision"];
/// What one entry of `expects` has.
const EXPECT_FIELDS: &[&str] = &["kind", "organization", "name", "revision", "apiRevision"];

/// The body of an apply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The resources to create or replace.
    pub resources: Vec<Manifest>,
    /// The resources to delete, each at its revision.
    pub delete: Vec<Expected>,
    /// The resources that must be as they are named. They are not changed.
    pub expects: Vec<Expected>,
}

/// A resource at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Kind, organization and name.
    pub key: ResourceKey,
    /// The revision it must be at; 0: it must not exist.
    pub revision: Revision,
    /// Of an Api, the number of its latest ApiRevision; of a Binding, of the one that it serves. `None`: any.
    pub api_revision: Option<u64>,
}

/// The lists of a request that has more than resources, as they were read.
#[derive(Debug, Default)]
pub(super) struct Lists {
    delete: Value,
    expects: Value,
}

impl Lists {
    /// The lists that may stand beside `resources`.
    pub(super) const NAMES: [&str; 2] = ["delete", "expects"];

    /// Takes them out of a request's fields; `None` where there are none.
    pub(super) fn take(fields: &mut Map<String, Value>) -> Option<Self> {
        let lists = Self::NAMES.map(|name| fields.remove(name));
        if lists.iter().all(Option::is_none) {
            return None;
        }
        let [delete, expects] = lists.map(Option::unwrap_or_default);
        Some(Self { delete, expects })
    }

    /// The request with these lists and `resources`.
    pub(super) fn request(
        self,
        resources: Vec<Manifest>,
        default_organization: &Name,
    ) -> Result<Request, Problem> {
        Ok(Request {
            resources,
            delete: entries("delete", &self.delete, DELETE_FIELDS, default_organization)?,
            expects: entries("expects", &self.expects, EXPECT_FIELDS, default_organization)?,
        })
    }
}

fn entries(
    list: &str,
    given: &Value,
    known: &[&str],
    default_organization: &Name,
) -> Result<Vec<Expected>, Problem> {
    let entries = match given {
        Value::Null => return Ok(Vec::new()),
        Value::Array(entries) => entries,
        _no_list => {
            return Err(invalid(format!("`{list}` is not a list"))
                .at(list)
                .remedy(format!("write mappings with the fields {}", known.join(", "))));
        }
    };
    let read = |(at, value)| {
        entry(value, known, default_organization)
            .map_err(|problem| envelope::within(&format!("{list}, item {}", at + 1), problem))
    };
    entries.iter().enumerate().map(read).collect()
}

fn entry(value: &Value, known: &[&str], default_organization: &Name) -> Result<Expected, Problem> {
    let Value::Object(fields) = value else {
        return Err(invalid("this is not a mapping".to_owned())
            .remedy(format!("write a mapping with the fields {}", known.join(", "))));
    };
    if let Some(unknown) = fields.keys().find(|field| !known.contains(&field.as_str())) {
        let detail = format!("there is no field `{unknown}` here, but {}", known.join(", "));
        return Err(invalid(detail).at(unknown.as_str()).remedy("take it out"));
    }
    let mut key = envelope::key(fields)?;
    own(&mut key, default_organization);
    let number = |field: &str| match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(given) => given.as_u64().map(Some).ok_or_else(|| {
            invalid(format!("{given} is not a revision")).at(field).remedy("give the number that `get` shows")
        }),
    };
    let revision = number("revision")?.ok_or_else(|| {
        invalid("the field `revision` is missing".to_owned())
            .at("revision")
            .remedy("give the number that `get` shows; 0 for a resource that must not exist")
    })?;
    let api_revision = number("apiRevision")?;
    if api_revision.is_some() && !matches!(key.kind, Kind::Api | Kind::Binding) {
        let detail = format!("{} has no ApiRevisions", key.kind);
        return Err(invalid(detail).at("apiRevision").remedy("leave it out: Apis and Bindings have them"));
    }
    Ok(Expected { key, revision, api_revision })
}

fn invalid(detail: String) -> Problem {
    Problem::new(ProblemName::Invalid, detail)
}
