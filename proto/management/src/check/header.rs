//! Header fields (RFC 9110, section 5).

use std::{collections::BTreeSet, fmt};

use super::{Verdict, invalid};
use crate::kinds::HeaderRulesSpec;

/// Fields that say how a message is framed or to whom it goes: the gateway's own business.
const GATEWAYS_OWN: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether `text` is a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The name of a header field.
pub(super) fn check_name(field: impl fmt::Display, name: &str) -> Verdict {
    if is_token(name) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("{name:?} is not a header's name"),
        "use letters, digits and hyphens, as in X-Request-Id",
    ))
}

/// Rules for one direction.
pub(super) fn check_rules(field: &str, rules: &HeaderRulesSpec) -> Verdict {
    for (list, headers) in [("set", &rules.set), ("add", &rules.add)] {
        let mut seen = BTreeSet::new();
        for (name, value) in headers {
            let field = format!("{field}.{list}.{name}");
            check_ours(&field, name)?;
            check_value(&field, value)?;
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(invalid(
                    field,
                    format!("{name:?} is there already in other letters: names do not differ by case"),
                    "name it once",
                ));
            }
        }
    }
    rules
        .remove
        .iter()
        .enumerate()
        .try_for_each(|(at, name)| check_ours(&format!("{field}.remove[{at}]"), name))
}

fn check_ours(field: &str, name: &str) -> Verdict {
    check_name(field, name)?;
    if GATEWAYS_OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(invalid(
            field,
            format!("{name:?} says how a message travels, which is the gateway's own business"),
            "leave it out",
        ));
    }
    Ok(())
}

fn check_value(field: &str, value: &str) -> Verdict {
    let sound = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    if !sound {
        return Err(invalid(
            field,
            "the value has characters that a header may not carry",
            "use printable ASCII on one line",
        ));
    }
    if value.trim() != value {
        return Err(invalid(
            field,
            "the value starts or ends with white space",
            "leave it out: it does not arrive",
        ));
    }
    Ok(())
}
