//! How kinds are spelled.

use std::{fmt, str::FromStr};

use crate::Kind;

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind; kinds are {all}", all = Kind::ALL.map(|kind| kind.as_str()).join(", "))]
pub struct UnknownKind(pub String);

impl Kind {
    /// The kind whose URL form is `plural`.
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// As people type it: singular or plural, any case, with or without hyphens.
    pub fn from_word(word: &str) -> Result<Self, UnknownKind> {
        let bare = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        let wanted = bare(word);
        Self::ALL
            .into_iter()
            .find(|kind| bare(kind.as_str()) == wanted || bare(kind.plural()) == wanted)
            .ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_as_people_type_them() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(Kind::from_plural(kind.plural()), Some(kind));
            assert_eq!(Kind::from_word(&kind.as_str().to_lowercase()), Ok(kind));
            assert_eq!(Kind::from_word(kind.plural()), Ok(kind));
        }
        assert_eq!(Kind::from_word("apirevision"), Ok(Kind::ApiRevision));
        let error = Kind::from_word("gadget").unwrap_err().to_string();
        assert!(error.contains("\"gadget\" is not a kind; kinds are Organization, Region"), "{error}");
    }
}
