//! Which revision of an Api a Binding means.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

/// Which revision of an Api: a number or the newest. Written `3`, `latest` or `new`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RevisionRef {
    /// Exactly this one.
    Number(u64),
    /// The newest, whichever that is: the Binding moves with each new one.
    Latest(Latest),
    /// The newest once the command that says it is applied, and that one from then on: its number is stored.
    New(New),
}

impl Default for RevisionRef {
    fn default() -> Self {
        Self::Latest(Latest::Latest)
    }
}

impl<'de> Deserialize<'de> for RevisionRef {
    /// By hand, so that a mistake is told what may be written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl de::Visitor<'_> for Expected {
            type Value = RevisionRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a revision's number (1 or more), `latest` or `new`")
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
                    "new" => Ok(RevisionRef::New(New::New)),
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

/// The word `new`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum New {
    /// The word.
    #[default]
    New,
}
