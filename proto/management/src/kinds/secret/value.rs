//! One value of a Secret, in its three forms.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type, schema::AdditionalProperties},
};

use super::reader::{Quiet, Wanted};

/// One value of a Secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// New data. In requests only.
    Text(String),
    /// The data that is there already. All that a reader is shown.
    Kept,
    /// Data as control nodes keep it. In commands and the state only.
    Sealed(SealedValue),
}

/// Data that opens with a federation key only.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedValue {
    /// The version of the federation key.
    pub version: u32,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
    /// SHA-256 of the [`sealed`](Self::sealed) bytes that have equal data under another version. The node that was asked says it, so
    /// that equal data is no change.
    pub same_as: Option<[u8; 32]>,
}

impl SecretValue {
    /// Its data, where it is in the clear.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Kept | Self::Sealed(_) => None,
        }
    }

    /// Its data, where it is sealed.
    pub fn sealed(&self) -> Option<&SealedValue> {
        match self {
            Self::Sealed(sealed) => Some(sealed),
            Self::Text(_) | Self::Kept => None,
        }
    }

    /// The JSON form of [`Kept`](Self::Kept).
    pub(super) fn kept() -> Value {
        json!({ "sealed": true })
    }
}

impl fmt::Debug for SecretValue {
    /// Without data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::Kept => f.write_str("Kept"),
            Self::Sealed(sealed) => sealed.fmt(f),
        }
    }
}

impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(version {}, {} bytes)", self.version, self.sealed.len())
    }
}

impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Kept => Self::kept().serialize(serializer),
            Self::Sealed(sealed) => sealed.serialize(serializer),
        }
    }
}

impl Serialize for SealedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Members {
            version: u32,
            sealed: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            same_as: Option<String>,
        }
        let same_as = self.same_as.map(hex::encode);
        Members { version: self.version, sealed: STANDARD.encode(&self.sealed), same_as }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quiet(OneOf))
    }
}

/// Any of the forms.
struct OneOf;

impl<'de> Wanted<'de> for OneOf {
    type Value = SecretValue;
    const WANTED: &'static str =
        "a value is text, or {sealed: true}: put the data in quotes, also where it is a number";

    fn text(self, text: String) -> Option<SecretValue> {
        Some(SecretValue::Text(text))
    }

    fn mapping<A: de::MapAccess<'de>>(self, mut map: A) -> Result<SecretValue, A::Error> {
        let mut members = Map::new();
        while let Some((member, value)) = map.next_entry::<Cow<'_, str>, Value>()? {
            members.insert(member.into_owned(), value);
        }
        let members = Value::Object(members);
        if members == SecretValue::kept() {
            return Ok(SecretValue::Kept);
        }
        sealed(&members).map(SecretValue::Sealed).ok_or_else(|| de::Error::custom(Self::WANTED))
    }
}

/// Reads the form that control nodes write; `None`: it is something else.
fn sealed(members: &Value) -> Option<SealedValue> {
    let sealed = SealedValue {
        version: members["version"].as_u64()?.try_into().ok()?,
        sealed: STANDARD.decode(members["sealed"].as_str()?).ok()?,
        same_as: match &members["sameAs"] {
            Value::Null => None,
            digest => Some(hex::decode(digest.as_str()?).ok()?.try_into().ok()?),
        },
    };
    let known = 2 + usize::from(sealed.same_as.is_some());
    (members.as_object()?.len() == known).then_some(sealed)
}

impl ToSchema for SecretValue {
    fn name() -> Cow<'static, str> {
        "SecretValue".into()
    }
}

impl PartialSchema for SecretValue {
    /// What operators write and read.
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).description(Some("The data"));
        let flag = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
        let kept = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("sealed", flag)
            .required("sealed")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .description(Some("`{\"sealed\": true}`: the data that is there. Answers have this form only"));
        OneOfBuilder::new().item(text).item(kept).into()
    }
}
