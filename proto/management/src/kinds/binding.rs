//! Binding: where a revision runs.

use std::fmt;

use hanse_topology::{Name, RegionSelector};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

/// Puts one revision of an Api into regions of an Environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BindingSpec {
    /// The Api.
    #[schema(value_type = String)]
    pub api: Name,
    /// A number, or `latest`: whatever was published last.
    #[serde(default)]
    pub revision: RevisionRef,
    /// The Environment.
    #[schema(value_type = String)]
    pub environment: Name,
    /// Which of the Environment's regions. Empty: all of them.
    #[serde(default, deserialize_with = "selector")]
    pub regions: RegionSelector,
    /// Where requests go, instead of the Api's own upstream. Followed live, not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub upstream: Option<Name>,
    /// Which regions' endpoints a gateway may use.
    #[serde(default)]
    pub reach: Reach,
}

/// Which revision of an Api: a number or the newest. Written `3` or `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RevisionRef {
    /// Exactly this one.
    Number(u64),
    /// The newest.
    Latest(Latest),
}

impl Default for RevisionRef {
    fn default() -> Self {
        Self::Latest(Latest::Latest)
    }
}

/// Reads a mapping only: a list of names, which is a likely mistake, is told what to write.
fn selector<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RegionSelector, D::Error> {
    struct Expected;
    impl<'de> de::Visitor<'de> for Expected {
        type Value = RegionSelector;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a selector such as {names: [eu-west]} or {labels: {tier: edge}}")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RegionSelector, A::Error> {
            RegionSelector::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Expected)
}

impl<'de> Deserialize<'de> for RevisionRef {
    /// By hand, so that a mistake is told what may be written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl de::Visitor<'_> for Expected {
            type Value = RevisionRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a revision's number (1 or more) or `latest`")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RevisionRef, E> {
                if number == 0 {
                    return Err(E::invalid_value(de::Unexpected::Unsigned(0), &self));
                }
                Ok(RevisionRef::Number(number))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RevisionRef, E> {
                let unsigned = u64::try_from(number);
                unsigned
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
                    .and_then(|number| self.visit_u64(number))
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<RevisionRef, E> {
                match word {
                    "latest" => Ok(RevisionRef::Latest(Latest::Latest)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Expected)
    }
}

/// The word `latest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Latest {
    /// The word.
    #[default]
    Latest,
}

/// Which regions' endpoints a gateway may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Only its own region's.
    #[default]
    Local,
}
