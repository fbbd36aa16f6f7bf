//! Why a resource cannot be used.

use std::fmt;

/// The longest field and the longest reason, in bytes: a few lines for people, and of any number of resources in one
/// report. Both may repeat text of the resource, which can be a megabyte.
const MAX_BYTES: usize = 512;
/// How much of its end a shortened text keeps, in bytes: the reason stands after the text that it repeats.
const KEPT_END_BYTES: usize = 128;

/// A resource that a consumer cannot use. It goes into quarantine, and its last good version stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unusable {
    /// The part at fault, as in the schema: `operations[3].path`. A header that is set or added has its name instead of its
    /// place in the list: `policies[0].request_headers.set.X-A`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Unusable {
    /// Blames `field`. Texts over a few lines lose their middle.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: shortened(field.into()), reason: shortened(reason.into()) }
    }

    /// The same, told of the message that has `parent` for a field.
    pub(crate) fn within(self, parent: impl fmt::Display) -> Self {
        let field = match self.field.as_str() {
            "" => parent.to_string(),
            field => format!("{parent}.{field}"),
        };
        Self { field: shortened(field), ..self }
    }
}

fn shortened(text: String) -> String {
    const GAP: char = '…';
    if text.len() <= MAX_BYTES {
        return text;
    }
    let start = text.floor_char_boundary(MAX_BYTES - KEPT_END_BYTES - GAP.len_utf8());
    let end = text.ceil_char_boundary(text.len() - KEPT_END_BYTES);
    format!("{}{GAP}{}", &text[..start], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_of_a_resource_is_short() {
        for letter in ["a", "ä", "…", "🦀"] {
            let long = letter.repeat(100_000);
            let Unusable { field, reason } =
                Unusable::new(format!("set.{long}"), format!("{long:?} is not a header name")).within("a");
            assert!(field.len() <= MAX_BYTES && reason.len() <= MAX_BYTES);
            assert!(
                field.starts_with("a.set.")
                    && field.contains('…')
                    && reason.ends_with(" is not a header name")
            );
        }
        let whole = "ä".repeat(MAX_BYTES / 2);
        assert_eq!(Unusable::new("", whole.clone()).reason, whole);
    }
}
