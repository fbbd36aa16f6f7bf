//! Free-form key/value pairs on any object, and matching by them.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, ObjectBuilder, Type},
    },
};

/// Labels of an object: what selectors match. Ordered, so that encoding them is deterministic.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(pub BTreeMap<String, String>);

/// Why a label is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {key:?}: {why}")]
pub struct InvalidLabel {
    /// The label's key as given.
    pub key: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Labels {
    /// The most labels one object carries: enough for every tagging scheme we know, small enough to copy freely.
    pub const MAX: usize = 64;
    /// The longest key or value, in bytes (the limit of a Kubernetes label value).
    pub const MAX_LEN: usize = 63;

    /// Whether no label is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every pair of `wanted` is among these labels.
    pub fn contains_all(&self, wanted: &Labels) -> bool {
        wanted.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// Checks count, lengths and alphabet (`A-Za-z0-9` and `-_./`; a key is not empty).
    pub fn check(&self) -> Result<(), InvalidLabel> {
        let sound = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
        if self.0.len() > Self::MAX {
            return Err(InvalidLabel { key: String::new(), why: "more than 64 labels" });
        }
        for (key, value) in &self.0 {
            let why = if key.is_empty() {
                "a key must not be empty"
            } else if key.len() > Self::MAX_LEN || value.len() > Self::MAX_LEN {
                "longer than 63 characters"
            } else if !sound(key) || !sound(value) {
                "only letters, digits and '-', '_', '.', '/' are allowed"
            } else {
                continue;
            };
            return Err(InvalidLabel { key: key.clone(), why });
        }
        Ok(())
    }
}

impl PartialSchema for Labels {
    fn schema() -> RefOr<Schema> {
        let text = |least: usize| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(least))
                .max_length(Some(Self::MAX_LEN))
                .pattern(Some("^[A-Za-z0-9_./-]*$"))
                .build()
        };
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("Labels of an object: what selectors match."))
            .property_names(Some(Schema::Object(text(1))))
            .additional_properties(Some(AdditionalProperties::from(RefOr::T(Schema::Object(text(0))))))
            .max_properties(Some(Self::MAX))
            .into()
    }
}

impl ToSchema for Labels {
    fn name() -> Cow<'static, str> {
        "Labels".into()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_matches_when_every_pair_is_there() {
        let region: Labels = [("provider", "aws"), ("tier", "edge")].into_iter().collect();
        assert!(region.contains_all(&Labels::default()));
        assert!(region.contains_all(&[("tier", "edge")].into_iter().collect()));
        assert!(!region.contains_all(&[("tier", "core")].into_iter().collect()));
        assert!(!region.contains_all(&[("zone", "a")].into_iter().collect()));
    }

    #[test]
    fn odd_labels_are_refused() {
        for (key, value) in [("", "x"), ("k", "a b"), ("k\n", "x"), ("k", &"v".repeat(64))] {
            let labels: Labels = [(key, value)].into_iter().collect();
            assert!(labels.check().is_err(), "{key:?}={value:?}");
        }
        let many: Labels = (0..65).map(|n| (format!("k{n}"), "v")).collect();
        assert!(many.check().is_err());
    }
}
