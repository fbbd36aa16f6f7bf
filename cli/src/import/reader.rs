//! The text of a description, JSON or YAML → a tree.
//!
//! A key that comes twice in a mapping is refused in both formats. Members that are text by OpenAPI's definition keep
//! their own characters: an unquoted `version: 1.10` is "1.10", not the number 1.1.

use std::{borrow::Cow, fmt};

use hanse_management::words;
use serde::de::{Deserialize as _, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, value::RawValue};
use serde_saphyr::{
    Error, MessageFormatter as _, NonFiniteFloatPolicy, Spanned, UserMessageFormatter, budget::BudgetBreach,
};

/// Why a text is no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Neither JSON nor YAML.
    #[error("it cannot be read as {format}: line {line}, column {column}: {why}")]
    Syntax {
        /// `JSON` or `YAML`.
        format: &'static str,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong there.
        why: String,
        /// What to do about it, where that is known.
        fix: Option<&'static str>,
    },
    /// YAML's separators.
    #[error("it is several YAML documents, and a description is one")]
    Several,
    /// Beyond the bounds of a description.
    #[error("as YAML it unfolds to more, or goes deeper, than a description does")]
    TooMuch,
    /// The system gives no thread, or the reader failed.
    #[error("the system is short of memory or threads")]
    NoReader,
}

impl Unreadable {
    /// What to do about it, where that is known.
    pub(super) fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Syntax { fix, .. } => *fix,
            Self::NoReader => Some("try again when fewer programs run"),
            Self::Several | Self::TooMuch => None,
        }
    }
}

/// Nesting beyond this is no API description. serde_json's own bound for JSON.
const MAX_YAML_DEPTH: usize = 128;
/// The reader calls itself for each level, and a debug build takes more than 16 KiB for that: enough for all of them.
const YAML_STACK_BYTES: usize = 32 << 20;
/// A YAML document of 64 MiB in two-byte nodes, so that the size is the only bound a document meets.
const MAX_YAML_NODES: usize = 32 << 20;

/// The members of a document's or an `info`'s mapping that are text.
const TEXTS_AT_TOP: [&str; 4] = ["openapi", "swagger", "title", "version"];
/// The member that is text wherever it stands.
const TEXT_ANYWHERE: &str = "operationId";

/// Below the greatest float, 1.8e308, so that readers that round differently agree.
const HUGE: f64 = 1e308;
/// The digits of such a number without an exponent.
const HUGE_DIGITS: usize = 309;

/// How the YAML reader names numbers that are none.
const NON_FINITE: [&str; 3] = [".inf", "-.inf", ".nan"];

/// Reads JSON or YAML.
pub(super) fn tree(text: &str) -> Result<Value, Unreadable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) { json(text) } else { yaml(text) }
}

fn json(text: &str) -> Result<Value, Unreadable> {
    let text = huge_numbers_as_text(text);
    let mut reader = serde_json::Deserializer::from_str(&text);
    let tree = Tree::top(Json).deserialize(&mut reader);
    tree.and_then(|tree| reader.end().map(|()| tree)).map_err(|error| {
        let why = error.to_string();
        let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why).to_owned();
        let (line, column) = (error.line() as u64, error.column() as u64);
        Unreadable::Syntax { format: "JSON", line, column, why, fix: None }
    })
}

/// JSON in which numbers that no float holds are text, as the YAML reader takes them: the JSON reader refuses them, and nothing
/// that is imported is one. An example or a schema's `maximum` may be.
fn huge_numbers_as_text(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut changed = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let end = at + bytes[at..].iter().take_while(is_part).count();
                if is_huge(&text[at..end]) {
                    changed.push_str(&text[copied..at]);
                    changed.extend(["\"", &text[at..end], "\""]);
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return text.into();
    }
    changed.push_str(&text[copied..]);
    changed.into()
}

/// Where the string that starts at `start` ends.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_huge(number: &str) -> bool {
    let may_be = number.len() >= HUGE_DIGITS || number.contains(['e', 'E']);
    may_be && number.parse::<f64>().is_ok_and(|value| value.abs() >= HUGE)
}

/// On a thread of its own, whose stack holds the deepest document.
fn yaml(text: &str) -> Result<Value, Unreadable> {
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(YAML_STACK_BYTES);
        let reading = reader.spawn_scoped(scope, || read_yaml(text));
        let read = reading.map(|reading| reading.join());
        read.ok().and_then(Result::ok).unwrap_or(Err(Unreadable::NoReader))
    })
}

fn read_yaml(text: &str) -> Result<Value, Unreadable> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_YAML_DEPTH,
            max_nodes: MAX_YAML_NODES,
            max_events: 2 * MAX_YAML_NODES,
            max_documents: 1,
            // One anchor may serve every operation. What aliases unfold to is bounded by nodes and bytes.
            enforce_alias_anchor_ratio: false,
            max_anchors: MAX_YAML_NODES,
            max_aliases: MAX_YAML_NODES,
        },
        strict_booleans: true, // `title: y` is a letter, as in YAML 1.2 and in manifests
        non_finite_float_policy: NonFiniteFloatPolicy::AsString, // `version: 1e999` is a version
        with_snippet: false,
    };
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        Tree::top(Yaml(text)).deserialize(reader)
    });
    read.map_err(|error| match innermost(&error) {
        Error::MultipleDocuments { .. } | Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            Unreadable::Several
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => Unreadable::TooMuch,
        other => {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            let said = match other {
                Error::DuplicateMappingKey { key: Some(key), .. } => twice(key),
                other => UserMessageFormatter.format_message(other).into_owned(),
            };
            let known = words::of_yaml(&said);
            let (why, fix) = known.map_or((said, None), |(why, fix)| (why.to_owned(), Some(fix)));
            Unreadable::Syntax { format: "YAML", line, column, why, fix }
        }
    })
}

/// The error itself. The reader wraps those that it meets where an alias stands.
fn innermost(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => innermost(error),
        error => error,
    }
}

fn twice(key: &str) -> String {
    format!("the key {key:?} comes twice")
}

/// How a format gives a scalar's own characters.
trait OwnText: Copy {
    /// Reads a value: a number or a truth value as the text it is written as.
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error>;
}

#[derive(Clone, Copy)]
struct Json;

impl OwnText for Json {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(raw.get()) {
            Ok(Value::Number(_) | Value::Bool(_)) => Ok(Value::String(raw.get().to_owned())),
            read => read.map_err(D::Error::custom),
        }
    }
}

/// The whole text, which a scalar's place leads into.
#[derive(Clone, Copy)]
struct Yaml<'t>(&'t str);

impl OwnText for Yaml<'_> {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let read = Spanned::<Value>::deserialize(deserializer)?;
        let span = read.defined.span();
        let written = || {
            let start = usize::try_from(span.byte_offset()?).ok()?;
            let end = start + usize::try_from(span.byte_len()?).ok()?;
            Some(self.0.get(start..end)?.trim())
        };
        let own = match &read.value {
            Value::Number(_) | Value::Bool(_) => written(),
            // A number beyond all floats, such as `1e999`, unless it is text in quotes.
            Value::String(text) if NON_FINITE.contains(&text.as_str()) => {
                written().filter(|written| !written.starts_with(['"', '\'']))
            }
            _ => None,
        };
        Ok(own.map_or(read.value, |text| Value::String(text.to_owned())))
    }
}

/// Reads any value as a tree.
#[derive(Clone, Copy)]
struct Tree<F> {
    own: F,
    /// Whether this is a document or its `info`.
    top: bool,
}

impl<F: OwnText> Tree<F> {
    fn top(own: F) -> Self {
        Self { own, top: true }
    }

    fn is_text(self, key: &str) -> bool {
        key == TEXT_ANYWHERE || self.top && TEXTS_AT_TOP.contains(&key)
    }
}

impl<'de, F: OwnText> DeserializeSeed<'de> for Tree<F> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The member of that key.
struct Member<'k, F>(Tree<F>, &'k str);

impl<'de, F: OwnText> DeserializeSeed<'de> for Member<'_, F> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Self(parent, key) = self;
        if parent.is_text(key) {
            return parent.own.read(deserializer);
        }
        Tree { top: parent.top && key == "info", ..parent }.deserialize(deserializer)
    }
}

impl<'de, F: OwnText> Visitor<'de> for Tree<F> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = Self { top: false, ..self };
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(twice(&key)));
            }
            let value = members.next_value_seed(Member(self, &key))?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
