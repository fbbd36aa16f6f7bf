//! Secret: private data of an Organization, such as a key that signs tokens.

mod reader;
mod value;

use std::{borrow::Cow, collections::BTreeMap};

use hanse_topology::Name;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use utoipa::ToSchema;

pub use value::{SealedValue, SecretValue};

use reader::{Quiet, Wanted};

use crate::{
    Bound, Bounded, Column, Field, Kind, ManagementKind, Refer, Spec,
    check::{Verdict, check_distinct, invalid},
};

/// The most fields of a Secret: it is one thing, such as a certificate with its key.
const MAX_FIELDS: usize = 16;
/// The longest name of a field: as long as a name of a resource.
const MAX_FIELD_NAME: usize = 64;
/// The longest value, in bytes. A chain of certificates has less than 20 KB.
const MAX_VALUE_BYTES: usize = 64 << 10;
/// The longest data, in bytes: two values of the longest. Every control node holds it, sealed, in memory and in its log.
const MAX_DATA_BYTES: usize = 128 << 10;
/// What sealing adds to a value: a nonce and a tag of AES-256-GCM-SIV.
const SEALING_ADDS: usize = 12 + 16;

/// The fields of a certificate with its key.
const TLS_FIELDS: [&str; 2] = ["tls.crt", "tls.key"];
/// The field of a key that signs tokens.
const TOKEN_SIGNING_FIELDS: [&str; 1] = ["key.pem"];

/// Private data. It is stored sealed, and no answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretSpec {
    /// What it is, which says which fields it has.
    #[serde(rename = "type")]
    pub secret_type: SecretType,
    /// The regions whose key managers get it. Of `token-signing` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Name>,
    /// The values by field. `tls` has `tls.crt` and `tls.key`, `token-signing` has `key.pem`, each in PEM. `opaque` has any fields, with
    /// names of `A-Z a-z 0-9 . _ -`.
    pub data: BTreeMap<String, SecretValue>,
}

/// What a Secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretType {
    /// Anything: a password, a token.
    Opaque,
    /// A chain of certificates with the key of the first.
    Tls,
    /// A key that signs tokens.
    TokenSigning,
}

impl SecretType {
    /// As in a Secret's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Tls => "tls",
            Self::TokenSigning => "token-signing",
        }
    }

    /// The fields that it has; `None`: any.
    const fn fields(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Opaque => None,
            Self::Tls => Some(&TLS_FIELDS),
            Self::TokenSigning => Some(&TOKEN_SIGNING_FIELDS),
        }
    }
}

impl SecretSpec {
    /// All of its data, where all of it is in the clear.
    pub fn texts(&self) -> Option<BTreeMap<&str, &str>> {
        self.data.iter().map(|(field, value)| Some((field.as_str(), value.text()?))).collect()
    }

    /// Whether any of its data is in the clear.
    pub fn has_text(&self) -> bool {
        self.data.values().any(|value| value.text().is_some())
    }

    /// Refuses more data than a Secret may have, as it is stored: what a request keeps counts, too.
    pub fn check_stored(&self) -> Verdict {
        let sealed = self.data.values().filter_map(SecretValue::sealed);
        check_bytes(sealed.map(|sealed| sealed.sealed.len().saturating_sub(SEALING_ADDS)).sum())
    }

    /// The same without its data, as everyone sees it.
    #[must_use]
    pub fn without_data(&self) -> Self {
        let data = self.data.keys().map(|field| (field.clone(), SecretValue::Kept)).collect();
        Self { data, ..self.clone() }
    }
}

impl Spec {
    /// This spec, if it is a Secret's.
    pub fn private_data(&self) -> Option<&SecretSpec> {
        match self {
            Self::Secret(secret) => Some(secret),
            _no_secret => None,
        }
    }

    /// Whether any of it is private data in the clear.
    pub fn has_private_text(&self) -> bool {
        self.private_data().is_some_and(SecretSpec::has_text)
    }
}

impl<'de> Deserialize<'de> for SecretSpec {
    /// By hand, so that a refusal repeats no data.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        struct Members {
            #[serde(rename = "type")]
            secret_type: SecretType,
            #[serde(default)]
            regions: Vec<Name>,
            #[serde(deserialize_with = "data")]
            data: BTreeMap<String, SecretValue>,
        }
        let Members { secret_type, regions, data } = reader::mapping(deserializer)?;
        Ok(Self { secret_type, regions, data })
    }
}

fn data<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, SecretValue>, D::Error> {
    deserializer.deserialize_any(Quiet(Data))
}

/// The values by field. A name is judged before its value is read, and is not repeated: an operator may have written the value in its
/// place.
struct Data;

impl<'de> Wanted<'de> for Data {
    type Value = BTreeMap<String, SecretValue>;
    const WANTED: &'static str = reader::MAPPING;

    fn mapping<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut data = BTreeMap::new();
        while let Some(field) = map.next_key::<Cow<'_, str>>()? {
            if !is_field_name(&field) {
                return Err(de::Error::custom(format_args!(
                    "a field's name has 1 to {MAX_FIELD_NAME} of the characters A-Z a-z 0-9 . _ -"
                )));
            }
            data.insert(field.into_owned(), map.next_value()?);
        }
        Ok(data)
    }
}

fn is_field_name(field: &str) -> bool {
    (1..=MAX_FIELD_NAME).contains(&field.len())
        && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl ManagementKind for SecretSpec {
    const PLURAL: &'static str = "secrets";
    const SECRETS: &'static [&'static str] = &["/data/*"];
    const COLUMNS: &'static [Column] = &[
        Column::at("TYPE", "/spec/type"),
        Column::of("FIELDS", |item| fields(&item["spec"]["data"])),
        Column::at("REGIONS", "/spec/regions"),
    ];

    fn bounds() -> Vec<Bounded> {
        vec![("SecretSpec", "data", Bound::Members(1, MAX_FIELDS))]
    }

    fn check(&self, _name: &Name) -> Verdict {
        self.check_fields()?;
        for (field, value) in &self.data {
            check_value(field, value)?;
        }
        self.check_whole()?;
        check_bytes(self.data.values().filter_map(SecretValue::text).map(str::len).sum())?;
        self.check_regions()
    }

    fn references(&self, refer: &mut Refer<'_>) {
        for (at, region) in self.regions.iter().enumerate() {
            refer.lists(Kind::Region, region, Field::Item("regions", at));
        }
    }

    fn redact(&self, shown: &mut Value) {
        for value in shown["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
            *value = SecretValue::kept();
        }
    }
}

impl SecretSpec {
    fn check_fields(&self) -> Verdict {
        let Some(wanted) = self.secret_type.fields() else { return self.check_free_fields() };
        if self.data.keys().map(String::as_str).eq(wanted.iter().copied()) {
            return Ok(());
        }
        let (fields, secret_type) = (wanted.join(" and "), self.secret_type.as_str());
        Err(invalid(
            "data",
            format!("a Secret of type {secret_type} has exactly {fields}"),
            format!("give {fields}, or use the type opaque"),
        ))
    }

    /// Data of a type is judged as a whole, which needs all of it.
    fn check_whole(&self) -> Verdict {
        if self.secret_type.fields().is_none() || !self.has_text() || self.texts().is_some() {
            return Ok(());
        }
        let secret_type = self.secret_type.as_str();
        Err(invalid(
            "data",
            format!("the fields of a Secret of type {secret_type} are judged together"),
            "give the data of each as text, or keep that of each with {sealed: true}",
        ))
    }

    fn check_free_fields(&self) -> Verdict {
        let count = self.data.len();
        if !(1..=MAX_FIELDS).contains(&count) {
            return Err(invalid(
                "data",
                format!("a Secret has 1 to {MAX_FIELDS} fields, not {count}"),
                "make a Secret of what belongs together",
            ));
        }
        Ok(())
    }

    fn check_regions(&self) -> Verdict {
        check_distinct("regions", &self.regions)?;
        match (self.secret_type, self.regions.is_empty()) {
            (SecretType::TokenSigning, true) => Err(invalid(
                "regions",
                "a key that signs tokens is for the key managers of some regions",
                "name the regions, such as [eu-west]",
            )),
            (SecretType::TokenSigning, false) | (SecretType::Opaque | SecretType::Tls, true) => Ok(()),
            (SecretType::Opaque | SecretType::Tls, false) => Err(invalid(
                "regions",
                "only Secrets of type token-signing go to key managers of regions",
                "leave the regions out",
            )),
        }
    }
}

fn check_bytes(bytes: usize) -> Verdict {
    if bytes <= MAX_DATA_BYTES {
        return Ok(());
    }
    let detail = format!("its values have {bytes} bytes together, more than {MAX_DATA_BYTES}");
    Err(invalid("data", detail, "make two Secrets of it"))
}

fn check_value(field: &str, value: &SecretValue) -> Verdict {
    let place = format_args!("data.{field}");
    match value {
        SecretValue::Text(text) if (1..=MAX_VALUE_BYTES).contains(&text.len()) => Ok(()),
        SecretValue::Text(text) => Err(invalid(
            place,
            format!("a value has 1 to {MAX_VALUE_BYTES} bytes, not {}", text.len()),
            "give the data as text, or leave the field out",
        )),
        SecretValue::Kept => Ok(()),
        SecretValue::Sealed(_) => Err(invalid(
            place,
            "only control nodes write sealed data",
            "give the data as text, or {sealed: true} to keep the data that is there",
        )),
    }
}

/// The names of fields, with commas.
fn fields(data: &Value) -> String {
    data.as_object().map(|data| data.keys().cloned().collect::<Vec<_>>().join(",")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
