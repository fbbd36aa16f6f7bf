//! Names of header fields (RFC 9110, section 5).

use std::fmt;

use super::{Verdict, invalid};

/// Whether `text` is a token (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The name of a header field that is not the gateway's own business.
pub(crate) fn check_ours(field: impl fmt::Display, name: &str) -> Verdict {
    check_name(&field, name)?;
    if hanse_runtime::is_protected(name) {
        let detail = format!("{name:?} says how a message travels, which is the gateway's own business");
        return Err(invalid(field, detail, "name another header, such as X-Api-Key, or leave it out"));
    }
    Ok(())
}

/// The name of a header field that can carry an API key.
pub(crate) fn check_key(field: impl fmt::Display, name: &str) -> Verdict {
    check_ours(&field, name)?;
    if hanse_runtime::may_carry_key(name) {
        return Ok(());
    }
    let detail = format!("{name:?} is written by gateways, and upstreams would see the key in it");
    Err(invalid(field, detail, "name another header, such as X-Api-Key"))
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
