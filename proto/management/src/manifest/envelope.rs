//! What is around a spec.

use hanse_topology::{Labels, Name};
use serde_json::{Map, Value};

use super::{Manifest, Restored, operations::Operations};
use crate::{Kind, Problem, ProblemName, ResourceKey, Spec, json};

/// What an operator may write.
const WRITABLE: &str = "kind, name, organization, labels, protected, spec, revision";
/// What the server writes: read over.
const SERVER_OWNED: [&str; 3] = ["createdAt", "updatedAt", "status"];
/// What a dump writes.
const DUMPED: &str = "restored";
/// What may stand beside a list's items: what `get` prints.
const LIST_FIELDS: [&str; 4] = ["kind", "items", "revision", "continue"];

/// What a list of resources may be called.
pub(super) const LISTS: [&str; 2] = ["items", "resources"];

/// Of a mapping that is a list of resources: which of its fields lists them.
pub(super) fn list_of(fields: &Map<String, Value>) -> Result<Option<&'static str>, Problem> {
    let (name, known): (&str, &[&str]) = match fields.get("kind") {
        Some(Value::String(kind)) if kind == "List" => ("items", &LIST_FIELDS),
        Some(_) => return Ok(None),
        None if fields.contains_key("items") => ("items", &LIST_FIELDS),
        None if fields.contains_key("resources") => ("resources", &["resources"]),
        None => return Ok(None),
    };
    if let Some(unknown) = fields.keys().find(|field| !known.contains(&field.as_str())) {
        let detail = format!("a list has no field `{unknown}`, it has {}", known.join(", "));
        return Err(Problem::new(ProblemName::Invalid, detail).at(unknown.as_str()).remedy("take it out"));
    }
    match fields.get(name) {
        Some(Value::Array(_)) => Ok(Some(name)),
        Some(_) | None => Err(Problem::new(ProblemName::Invalid, format!("`{name}` is not a list"))
            .at(name)
            .remedy(format!("write the resources as a list under `{name}`"))),
    }
}

/// Reads one resource, whose operations were read apart from it. One that names no organization has none yet. `place` says where it
/// stands.
pub(super) fn read(document: &Value, operations: Operations, place: &str) -> Result<Manifest, Problem> {
    let Value::Object(fields) = document else {
        let problem =
            Problem::new(ProblemName::Invalid, format!("{} is not a resource", kind_of_value(document)));
        return Err(within(place, problem.remedy(format!("write a mapping with the fields {WRITABLE}"))));
    };
    let about = name_of_document(fields);
    let problem_at = |problem: Problem| within(place, within(&about, problem));
    read_fields(fields, operations).map_err(problem_at)
}

fn read_fields(fields: &Map<String, Value>, operations: Operations) -> Result<Manifest, Problem> {
    let known = |field: &str| {
        WRITABLE.split(", ").any(|known| known == field) || SERVER_OWNED.contains(&field) || field == DUMPED
    };
    if let Some(unknown) = fields.keys().find(|field| !known(field)) {
        let detail = format!("a resource has no field `{unknown}`, it has {WRITABLE}");
        let remedy = match unknown.as_str() {
            "metadata" => "write `name` and `labels` without `metadata` around them",
            "apiVersion" => "leave it out",
            _ => "correct its name, or put it under `spec`",
        };
        return Err(Problem::new(ProblemName::Invalid, detail).at(unknown.as_str()).remedy(remedy));
    }
    let key = key(fields)?;
    let revision = match fields.get("revision") {
        None | Some(Value::Null) => None,
        Some(given) => Some(given.as_u64().ok_or_else(|| {
            invalid("revision", format!("{given} is not a revision"))
                .remedy("give the number that `get` shows, or leave it out")
        })?),
    };
    let labels = labels(fields)?;
    let protected = match fields.get("protected") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(protected)) => Some(*protected),
        Some(given) => {
            return Err(invalid("protected", format!("{given} is no truth value"))
                .remedy("write `true` or `false`, or leave it out"));
        }
    };
    let restored = restored(fields)?;
    let mut spec = spec(key.kind, fields)?;
    operations.put_into(&mut spec)?;
    Ok(Manifest { key, labels, protected, spec, revision, restored })
}

/// Kind, organization if it names one, and name.
pub(super) fn key(fields: &Map<String, Value>) -> Result<ResourceKey, Problem> {
    let kind = text(fields, "kind")?.ok_or_else(|| missing("kind", "say what it is, as in `kind: Api`"))?;
    let kind = Kind::from_word(kind).map_err(|error| invalid("kind", error.to_string()))?;
    let name = text(fields, "name")?.ok_or_else(|| missing("name", "give it a name"))?;
    let name = Name::new(name).map_err(|error| invalid("name", error.to_string()))?;
    let organization = match (text(fields, "organization")?, kind.is_global()) {
        (None, _) => None,
        (Some(own), false) => {
            Some(Name::new(own).map_err(|error| invalid("organization", error.to_string()))?)
        }
        (Some(_), true) => {
            let detail = format!("resources of kind {kind} belong to no organization");
            return Err(invalid("organization", detail).remedy("leave it out"));
        }
    };
    Ok(ResourceKey { kind, organization, name })
}

fn labels(fields: &Map<String, Value>) -> Result<Labels, Problem> {
    let given = match fields.get("labels") {
        None | Some(Value::Null) => return Ok(Labels::default()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(invalid("labels", "labels are a mapping from words to words".to_owned())),
    };
    let pairs = given.iter().map(|(key, value)| match value {
        Value::String(value) => Ok((key.clone(), value.clone())),
        other => Err(invalid(format!("labels.{key}"), format!("{other} is not text"))
            .remedy(format!("write \"{other}\""))),
    });
    pairs.collect::<Result<Vec<_>, _>>().map(|pairs| pairs.into_iter().collect())
}

fn restored(fields: &Map<String, Value>) -> Result<Option<Box<Restored>>, Problem> {
    let Some(given) = fields.get(DUMPED).filter(|given| !given.is_null()) else { return Ok(None) };
    let read = json::read(given).map_err(|problem: Problem| {
        let below = problem.field.strip_prefix("spec").unwrap_or_default();
        Problem { field: format!("{DUMPED}{below}"), ..problem }
    });
    read.map(|restored| Some(Box::new(restored)))
}

/// The spec; left out, it is empty, which some kinds allow.
fn spec(kind: Kind, fields: &Map<String, Value>) -> Result<Spec, Problem> {
    let empty = Value::Object(Map::new());
    let given = fields.get("spec").filter(|given| !given.is_null()).unwrap_or(&empty);
    Spec::from_json(kind, given)
}

fn text<'a>(fields: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, Problem> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            Err(invalid(field, format!("{other} is not text"))
                .remedy(format!("put it in quotes: \"{other}\"")))
        }
    }
}

fn invalid(field: impl Into<String>, detail: String) -> Problem {
    Problem::new(ProblemName::Invalid, detail).at(field).remedy("correct the value")
}

fn missing(field: &str, remedy: &str) -> Problem {
    Problem::new(ProblemName::Invalid, format!("the field `{field}` is missing")).at(field).remedy(remedy)
}

/// `Binding default/orders`, or as much of it as is there.
fn name_of_document(fields: &Map<String, Value>) -> String {
    let word = |field: &str| fields.get(field).and_then(Value::as_str);
    match (word("kind"), word("organization"), word("name")) {
        (Some(kind), Some(organization), Some(name)) => format!("{kind} {organization}/{name}"),
        (Some(kind), None, Some(name)) => format!("{kind} {name}"),
        (Some(kind), _, None) => kind.to_owned(),
        (None, _, Some(name)) => name.to_owned(),
        (None, _, None) => String::new(),
    }
}

/// The problem, its field seen from further out.
pub(super) fn within(place: &str, mut problem: Problem) -> Problem {
    problem.field = match (place, problem.field.as_str()) {
        ("", _) => problem.field,
        (place, "") => place.to_owned(),
        (place, field) => format!("{place}: {field}"),
    };
    problem
}

fn kind_of_value(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a piece of text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
