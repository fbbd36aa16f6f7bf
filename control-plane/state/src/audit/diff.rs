//! What differs between two contents of a resource, without secrets.

use serde_json::{Map, Value, json};

use super::AuditField;
use crate::Resource;

/// In the place of the digest of a secret.
const REDACTED: &str = "(redacted)";
/// Where kinds have the digest of their secret.
const SECRET: &str = "/spec/digest";

/// The parts that differ, in the order of their pointers.
pub(super) fn fields(before: Option<&Resource>, after: Option<&Resource>) -> Vec<AuditField> {
    let mut fields = Vec::new();
    compare("", before.map(content), after.map(content), &mut fields);
    if let (Some(before), Some(after)) = (before, after)
        && before.spec.secret() != after.spec.secret()
    {
        let redacted = Some(Value::from(REDACTED));
        fields.push(AuditField { pointer: SECRET.to_owned(), before: redacted.clone(), after: redacted });
    }
    fields.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    fields
}

/// What an operator writes of a resource. The digest of a secret is not in it.
fn content(resource: &Resource) -> Value {
    let mut spec = resource.spec.to_json();
    if resource.spec.secret().is_some() {
        spec["digest"] = REDACTED.into();
    }
    let mut content = Map::new();
    if !resource.metadata.labels.is_empty() {
        content.insert("labels".to_owned(), json!(resource.metadata.labels.0));
    }
    if resource.metadata.protected {
        content.insert("protected".to_owned(), true.into());
    }
    content.insert("spec".to_owned(), spec);
    Value::Object(content)
}

/// A value as it is told. A number with a fraction is told as text: readers of JSON may round it, and the hash would not fit.
fn told(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => number.to_string().into(),
        Value::Array(items) => items.into_iter().map(told).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, told(member))).collect::<Map<_, _>>().into()
        }
        value => value,
    }
}

/// Goes down where both are objects, or lists of one length. What is new or gone is told whole, one member of the resource at a
/// time.
fn compare(pointer: &str, before: Option<Value>, after: Option<Value>, fields: &mut Vec<AuditField>) {
    let below = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(mut before)), Some(Value::Object(after))) => {
            for (name, after) in after {
                compare(&below(&name), before.remove(&name), Some(after), fields);
            }
            for (name, before) in before {
                compare(&below(&name), Some(before), None, fields);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() => {
            for (at, (before, after)) in before.into_iter().zip(after).enumerate() {
                compare(&below(&at.to_string()), Some(before), Some(after), fields);
            }
        }
        (Some(Value::Object(content)), None) if pointer.is_empty() => {
            for (name, before) in content {
                compare(&below(&name), Some(before), None, fields);
            }
        }
        (None, Some(Value::Object(content))) if pointer.is_empty() => {
            for (name, after) in content {
                compare(&below(&name), None, Some(after), fields);
            }
        }
        (before, after) => {
            let (before, after) = (before.map(told), after.map(told));
            fields.push(AuditField { pointer: pointer.to_owned(), before, after });
        }
    }
}
