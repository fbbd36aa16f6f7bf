//! `$ref`: following and checking references inside one document.

use std::{borrow::Cow, collections::HashSet};

use serde_json::Value;

use super::ImportError;

/// The longest chain of references followed. Real documents have one or two in a row; bundlers make three.
const MAX_CHAIN: usize = 32;

/// Follows the references of one document.
#[derive(Debug, Clone, Copy)]
pub(super) struct References<'a> {
    document: &'a Value,
}

impl<'a> References<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { document }
    }

    /// `value` and everything its `$ref`s lead to, in order: the last one is no reference.
    pub(super) fn follow(&self, value: &'a Value, pointer: &str) -> Result<Vec<&'a Value>, ImportError> {
        let mut layers = vec![value];
        let mut chain: Vec<String> = Vec::new();
        let mut present = value;
        while let Some(reference) = reference_of(present) {
            if let Some(start) = chain.iter().position(|seen| seen == reference) {
                let mut chain = chain.split_off(start);
                chain.push(reference.to_owned());
                return Err(ImportError::Loop { pointer: pointer.to_owned(), chain });
            }
            if chain.len() == MAX_CHAIN {
                return Err(ImportError::TooDeep { pointer: pointer.to_owned(), limit: MAX_CHAIN });
            }
            chain.push(reference.to_owned());
            present = self.target(reference, pointer)?;
            layers.push(present);
        }
        Ok(layers)
    }

    /// The end of `value`'s chain of references: itself when it is none.
    pub(super) fn resolve(&self, value: &'a Value, pointer: &str) -> Result<&'a Value, ImportError> {
        Ok(self
            .follow(value, pointer)?
            .last()
            .copied()
            .expect("follow answers with at least the value itself"))
    }

    fn target(&self, reference: &str, pointer: &str) -> Result<&'a Value, ImportError> {
        let at = || (pointer.to_owned(), reference.to_owned());
        let Some(fragment) = reference.strip_prefix('#') else {
            let (pointer, reference) = at();
            return Err(ImportError::External { pointer, reference });
        };
        self.document.pointer(&percent_decoded(fragment)).ok_or_else(|| {
            let (pointer, reference) = at();
            ImportError::Dangling { pointer, reference }
        })
    }

    /// Refuses references anywhere in the document that lead only to each other. A schema that contains itself is no
    /// such loop: its chain ends at the schema. References out of the document or to nothing are judged where they are used.
    pub(super) fn check_loops(&self) -> Result<(), ImportError> {
        let mut sound: HashSet<&'a str> = HashSet::new();
        let mut pending: Vec<(&'a Value, Place<'_>)> = vec![(self.document, Place::default())];
        while let Some((value, place)) = pending.pop() {
            if let Some(reference) = reference_of(value)
                && sound.insert(reference)
            {
                match self.follow(value, &place.pointer()) {
                    Ok(_) | Err(ImportError::Dangling { .. } | ImportError::External { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            match value {
                Value::Object(members) => {
                    for (key, member) in members.iter().filter(|(_, member)| is_container(member)) {
                        pending.push((member, place.below(Cow::Borrowed(key))));
                    }
                }
                Value::Array(items) => {
                    for (index, item) in items.iter().enumerate().filter(|(_, item)| is_container(item)) {
                        pending.push((item, place.below(Cow::Owned(index.to_string()))));
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        Ok(())
    }
}

/// The way to a value, turned into a pointer only for errors.
#[derive(Debug, Clone, Default)]
struct Place<'a>(Option<std::rc::Rc<(Place<'a>, Cow<'a, str>)>>);

impl<'a> Place<'a> {
    fn below(&self, key: Cow<'a, str>) -> Self {
        Self(Some(std::rc::Rc::new((self.clone(), key))))
    }

    fn pointer(&self) -> String {
        let mut keys = Vec::new();
        let mut place = self;
        while let Some(step) = &place.0 {
            keys.push(escape(&step.1));
            place = &step.0;
        }
        keys.iter().rev().fold(String::new(), |pointer, key| pointer + "/" + key)
    }
}

fn is_container(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// What `value` refers to, if it is a reference. A property named `$ref` whose value is a schema is none.
fn reference_of(value: &Value) -> Option<&str> {
    value.as_object()?.get("$ref")?.as_str()
}

/// A key as it stands in a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A fragment may be percent-encoded (RFC 6901 §6).
fn percent_decoded(fragment: &str) -> Cow<'_, str> {
    if !fragment.contains('%') {
        return Cow::Borrowed(fragment);
    }
    let bytes = fragment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| hex::decode(digits).ok()) {
            Some(byte) => {
                decoded.extend(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}
