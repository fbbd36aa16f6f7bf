//! Names of header fields (RFC 9110, section 5).

use std::fmt;

use super::{Verdict, invalid};

/// Whether `text` is a token (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The name of a header field.
pub(crate) fn check_name(field: impl fmt::Display, name: &str) -> Verdict {
    if is_token(name) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("{name:?} is not a header's name"),
        "use letters, digits and hyphens, as in X-Request-Id",
    ))
}
