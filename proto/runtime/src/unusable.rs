//! Why a resource cannot be used.

use std::fmt;

/// A resource that a consumer cannot use. It goes into quarantine, and its last good version stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unusable {
    /// The part at fault, as in the schema: `operations[3].path`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Unusable {
    /// Blames `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// The same, told of the message that has `parent` for a field.
    pub(crate) fn within(self, parent: impl fmt::Display) -> Self {
        let field = match self.field.as_str() {
            "" => parent.to_string(),
            field => format!("{parent}.{field}"),
        };
        Self { field, ..self }
    }
}
