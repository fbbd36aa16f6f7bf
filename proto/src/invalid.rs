//! What is wrong with a message that cannot be read.

use hanse_topology::one_line;

/// A message that another version of Hanse, or something else, sent malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {message}: {why}")]
pub struct InvalidMessage {
    /// The message or field.
    pub message: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl InvalidMessage {
    /// An error about `message`. A reason may repeat text of the message, which can be a megabyte: it is cut to one line.
    pub fn new(message: &'static str, why: impl Into<String>) -> Self {
        Self { message, why: one_line(&why.into()).into_owned() }
    }
}

impl From<hanse_topology::InvalidScope> for InvalidMessage {
    fn from(error: hanse_topology::InvalidScope) -> Self {
        Self::new("scope", error.to_string())
    }
}
