//! Places in a document, and where references lead.

use std::{borrow::Cow, fmt, rc::Rc};

use serde_json::{Map, Value};

use super::ImportProblem;

/// The longest chain of references followed. Real documents have one or two in a row; bundlers make three.
const MAX_CHAIN: usize = 32;

/// A value of a document.
#[derive(Debug, Clone)]
pub(super) struct Place {
    document: Rc<Value>,
    pointer: String,
}

impl Place {
    /// The whole document.
    pub(super) fn root(document: Value) -> Self {
        Self { document: Rc::new(document), pointer: String::new() }
    }

    /// What is there.
    pub(super) fn value(&self) -> &Value {
        self.document.pointer(&self.pointer).unwrap_or(&Value::Null)
    }

    /// The place of a member, whether it is there or not.
    pub(super) fn below(&self, key: &str) -> Self {
        Self {
            document: self.document.clone(),
            pointer: format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1")),
        }
    }

    /// The members. A place that says nothing has none.
    pub(super) fn members(&self) -> Result<impl Iterator<Item = (&str, Self)>, ImportProblem> {
        /// For values that say nothing.
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let members = match self.value() {
            Value::Object(members) => members,
            Value::Null => &*NONE,
            _ => return Err(ImportProblem::new(self, "is no mapping", "write its members there")),
        };
        Ok(members.keys().map(|key| (key.as_str(), self.below(key))))
    }

    /// The text there. A place that says nothing has none.
    pub(super) fn text(&self) -> Result<Option<&str>, ImportProblem> {
        match self.value() {
            Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty()).map(String::as_str)),
            Value::Null => Ok(None),
            _ => Err(ImportProblem::new(self, "is not text", "write one line of text there")),
        }
    }

    /// The mappings that say together what this one is: itself, and what its `$ref`s lead to. The first to say something wins.
    pub(super) fn layers(&self) -> Result<Vec<Self>, ImportProblem> {
        let layers = self.clone().follow()?;
        layers.iter().try_for_each(|layer| layer.members().map(drop))?;
        Ok(layers)
    }

    /// This place and every one its `$ref`s lead to, in order: the last one is no reference.
    fn follow(self) -> Result<Vec<Self>, ImportProblem> {
        let mut layers = vec![self];
        loop {
            let place = &layers[layers.len() - 1];
            let Some(reference) = place.reference() else { return Ok(layers) };
            let target = place.target(reference)?;
            if layers.iter().any(|seen| seen.is(&target)) {
                let why = format!("$ref {reference:?} leads back to where it came from");
                return Err(ImportProblem::new(place, why, "let it end at something that is no $ref"));
            }
            if layers.len() > MAX_CHAIN {
                let why = format!("more than {MAX_CHAIN} $refs in a row");
                return Err(ImportProblem::new(&layers[0], why, "refer to their end"));
            }
            layers.push(target);
        }
    }

    fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.document, &other.document) && self.pointer == other.pointer
    }

    /// What it refers to, if it is a reference. A property named `$ref` whose value is a schema is none.
    fn reference(&self) -> Option<&str> {
        self.value().as_object()?.get("$ref")?.as_str()
    }

    fn target(&self, reference: &str) -> Result<Self, ImportProblem> {
        let refused = |why: &str, fix: &str| {
            Err(ImportProblem::new(self, format!("$ref {reference:?} leads {why}"), fix))
        };
        let Some(fragment) = reference.strip_prefix('#') else {
            let fix = "bundle the document into one file, for example with `npx @redocly/cli bundle FILE`";
            return refused("to another file", fix);
        };
        let target =
            Self { document: self.document.clone(), pointer: percent_decoded(fragment).into_owned() };
        match target.document.pointer(&target.pointer) {
            Some(_) => Ok(target),
            None => refused("nowhere", "name a place that is there"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pointer.is_empty() { "/" } else { &self.pointer })
    }
}

/// A reference may be percent-encoded (RFC 3986; RFC 6901 §6).
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
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
