//! What differs between two contents of a resource, without secrets.
//!
//! A field is told whole where it is short, and by size and SHA-256 where it is not. So a long list beside a short field does not
//! hide the short one.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{AuditField, LeftOut};
use crate::Resource;

/// In the place of a secret.
const REDACTED: &str = "(redacted)";
/// How long a value of an entry may be, as JSON. The members of any spec fit into an entry with that, before and after: a spec has at
/// most 20.
pub(super) const MAX_VALUE_BYTES: usize = 256;
/// Where a spec is in the content of a resource.
const SPEC: &str = "/spec";

/// How far down differences are told.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    /// Down to single values.
    Values,
    /// Down to the members of the spec: there is no room for more.
    Members,
}

/// How much is told of a difference.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// How many bytes all fields may have.
    pub(super) fields: usize,
    /// How long a value may be. A longer one is told by size and SHA-256.
    pub(super) value: usize,
}

/// The parts that differ, in the order of their pointers. `None`: they do not fit into `room`.
pub(super) fn fields(
    before: Option<&Resource>,
    after: Option<&Resource>,
    room: Room,
) -> Option<Vec<AuditField>> {
    // What is gone is not even looked at when it cannot fit: a cascade may delete a thousand large specs.
    if let (Some(gone), None) = (before, after)
        && gone.spec.json_len() > room.fields
    {
        return None;
    }
    let secrets = before.or(after).map_or(&[][..], |resource| resource.spec.secrets());
    let (before, after) = (before.map(content), after.map(content));
    [Detail::Values, Detail::Members].into_iter().find_map(|detail| {
        let mut diff = Diff { secrets, detail, room, fields: Vec::new() };
        diff.compare("", before.as_ref(), after.as_ref())?;
        diff.fields.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        Some(diff.fields)
    })
}

/// Size and SHA-256 of a content.
pub(crate) fn digest(resource: &Resource) -> LeftOut {
    let secrets = resource.spec.secrets();
    let mut text = Value::Object(beside_spec(resource)).to_string().into_bytes();
    match secrets.is_empty() {
        true => text.extend(resource.spec.to_json_bytes()),
        false => text.extend(told(secrets, SPEC, &resource.spec.to_json()).to_string().into_bytes()),
    }
    LeftOut { bytes: text.len() as u64, sha256: Sha256::digest(&text).into() }
}

/// What an operator writes of a resource, with its secrets.
fn content(resource: &Resource) -> Value {
    let mut content = beside_spec(resource);
    content.insert("spec".to_owned(), resource.spec.to_json());
    Value::Object(content)
}

fn beside_spec(resource: &Resource) -> Map<String, Value> {
    let mut content = Map::new();
    if !resource.metadata.labels.is_empty() {
        content.insert("labels".to_owned(), json!(resource.metadata.labels.0));
    }
    if resource.metadata.protected {
        content.insert("protected".to_owned(), true.into());
    }
    content
}

/// A value as it is told: without secrets, and members by name, so that the order of a spec's fields in code is not hashed. A number
/// with a fraction is told as text: readers of JSON may round it, and the hash would not fit.
fn told(secrets: &[&str], pointer: &str, value: &Value) -> Value {
    if is_secret(secrets, pointer) {
        return REDACTED.into();
    }
    match value {
        Value::Number(number) if number.is_f64() => number.to_string().into(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| told(secrets, &below(pointer, &at.to_string()), item))
            .collect(),
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members
                .iter()
                .map(|(name, member)| (name.clone(), told(secrets, &below(pointer, name), member)))
                .collect();
            members.into_iter().collect::<Map<_, _>>().into()
        }
        value => value.clone(),
    }
}

/// Whether a pointer is one of these below the spec. `*` stands for any one part.
fn is_secret(secrets: &[&str], pointer: &str) -> bool {
    let Some(pointer) = pointer.strip_prefix(SPEC) else { return false };
    secrets.iter().any(|secret| {
        secret.split('/').count() == pointer.split('/').count()
            && secret.split('/').zip(pointer.split('/')).all(|(any, part)| any == "*" || any == part)
    })
}

fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A comparison of two contents.
struct Diff<'a> {
    secrets: &'a [&'a str],
    detail: Detail,
    /// What is left of the room.
    room: Room,
    fields: Vec<AuditField>,
}

impl Diff<'_> {
    /// Goes down where both are objects or lists. `None`: there is no room.
    fn compare(&mut self, pointer: &str, before: Option<&Value>, after: Option<&Value>) -> Option<()> {
        let is_above_members = pointer.is_empty() || pointer == SPEC;
        let goes_down = self.detail == Detail::Values || is_above_members;
        match (before, after) {
            (before, after) if before == after => Some(()),
            // A secret may be a mapping itself.
            (before, after) if is_secret(self.secrets, pointer) => self.tell(pointer, before, after),
            (Some(Value::Object(before)), Some(Value::Object(after))) if goes_down => {
                for (name, value) in after {
                    self.compare(&below(pointer, name), before.get(name), Some(value))?;
                }
                let mut gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
                gone.try_for_each(|(name, value)| self.compare(&below(pointer, name), Some(value), None))
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) if goes_down => {
                self.lists(pointer, before, after)
            }
            // What is new or gone is told whole: a member of the resource, or of a spec that is long.
            (Some(Value::Object(members)), None) | (None, Some(Value::Object(members)))
                if pointer.is_empty() || pointer == SPEC && self.is_long(pointer, members) =>
            {
                members.iter().try_for_each(|(name, value)| {
                    let (was, is) = (before.map(|_| value), after.map(|_| value));
                    self.compare(&below(pointer, name), was, is)
                })
            }
            (before, after) => self.tell(pointer, before, after),
        }
    }

    /// Of lists of another length, the common beginning and end are no difference.
    fn lists(&mut self, pointer: &str, before: &[Value], after: &[Value]) -> Option<()> {
        let (mut from, mut common) = (0, 0);
        let shorter = before.len().min(after.len());
        if before.len() != after.len() {
            from = before.iter().zip(after).take_while(|(a, b)| a == b).count();
            let ends = before.iter().rev().zip(after.iter().rev());
            common = ends.take(shorter - from).take_while(|(a, b)| a == b).count();
        }
        let (before, after) = (&before[..before.len() - common], &after[..after.len() - common]);
        (from..before.len().max(after.len()))
            .try_for_each(|at| self.compare(&below(pointer, &at.to_string()), before.get(at), after.get(at)))
    }

    fn is_long(&self, pointer: &str, members: &Map<String, Value>) -> bool {
        told(self.secrets, pointer, &Value::Object(members.clone())).to_string().len() > self.room.value
    }

    fn tell(&mut self, pointer: &str, before: Option<&Value>, after: Option<&Value>) -> Option<()> {
        let short = |value: &Value| {
            let value = told(self.secrets, pointer, value);
            let text = value.to_string();
            match text.len() > self.room.value {
                true => format!("({} bytes, sha256:{:x})", text.len(), Sha256::digest(&text)).into(),
                false => value,
            }
        };
        let field =
            AuditField { pointer: pointer.to_owned(), before: before.map(short), after: after.map(short) };
        self.room.fields = self.room.fields.checked_sub(field.to_proto().encoded_len())?;
        self.fields.push(field);
        Some(())
    }
}
