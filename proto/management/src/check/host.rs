//! Host names and patterns of them.

use std::collections::BTreeSet;

use hanse_runtime::{BadDomainName, DomainName};

use super::{Verdict, invalid};

/// The longest host name, in bytes (RFC 1035, section 2.3.4, without the root).
pub(crate) const MAX_HOST_BYTES: usize = 253;
/// The longest label.
const MAX_LABEL_BYTES: usize = 63;
/// The longest pattern: `*.` and a name.
pub(crate) const MAX_PATTERN_BYTES: usize = "*.".len() + MAX_HOST_BYTES;
/// How many hosts one Api or Environment may name.
pub(crate) const MAX_HOSTS: usize = 256;

/// The hosts that two names or `*.suffix`es have in common: the narrower of the two.
pub fn common<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let is_within = |narrow: &str, wide: &str| {
        let below = wide.strip_prefix('*').filter(|suffix| suffix.starts_with('.'));
        narrow == wide || below.is_some_and(|suffix| narrow.len() > suffix.len() && narrow.ends_with(suffix))
    };
    if is_within(one, other) {
        return Some(one);
    }
    is_within(other, one).then_some(other)
}

/// A list of exact names and `*.suffix`es.
pub(crate) fn check_patterns(field: &str, hosts: &[String]) -> Verdict {
    if hosts.len() > MAX_HOSTS {
        let detail = format!("{} hosts are more than {MAX_HOSTS}", hosts.len());
        return Err(invalid(field, detail, "use a wildcard such as *.example.com"));
    }
    let mut seen = BTreeSet::new();
    for (at, host) in hosts.iter().enumerate() {
        let field = format!("{field}[{at}]");
        check_pattern(&field, host)?;
        if !seen.insert(host) {
            return Err(invalid(field, format!("{host:?} is there already"), "name it once"));
        }
    }
    Ok(())
}

/// One of them.
pub(crate) fn check_pattern(field: &str, host: &str) -> Verdict {
    if host == "*" {
        return Err(invalid(field, "\"*\" is not a host", "leave the list empty for every host"));
    }
    check_name(field, host.strip_prefix("*.").unwrap_or(host), host)
}

/// An exact name.
pub(crate) fn check_exact(field: &str, host: &str) -> Verdict {
    check_name(field, host, host)
}

/// A name in the DNS, by the rules of those who answer for it. It may have labels that no host has, such as `_tcp`.
pub(crate) fn check_domain_name(field: &str, name: &str) -> Verdict {
    let refused = |bad: BadDomainName| invalid(field, bad.to_string(), "write it as orders.gslb.example.com");
    DomainName::parse(name).map(drop).map_err(refused)
}

fn check_name(field: &str, name: &str, given: &str) -> Verdict {
    let refused = |remedy: &str| Err(invalid(field, format!("{given:?} is not a host name"), remedy));
    if name.contains("://") || name.contains('/') {
        return refused("give the bare name, without scheme and path");
    }
    if name.contains(':') {
        return refused("give the name without a port");
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return refused("write it in lower case");
    }
    if name.ends_with('.') {
        return refused("leave out the dot at the end");
    }
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > MAX_HOST_BYTES || !name.split('.').all(label) {
        return refused("use an exact name such as api.example.com, or *.example.com for all below it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_of_two_patterns_is_what_they_have_in_common() {
        for (one, other, expected) in [
            ("a.example", "a.example", Some("a.example")),
            ("a.example", "b.example", None),
            ("a.example", "*.example", Some("a.example")),
            ("a.b.example", "*.example", Some("a.b.example")),
            ("example", "*.example", None),
            ("anexample", "*.example", None),
            ("*.b.example", "*.example", Some("*.b.example")),
            ("*.b.example", "*.c.example", None),
            ("*.example", "*.example", Some("*.example")),
        ] {
            assert_eq!(common(one, other), expected, "{one} {other}");
            assert_eq!(common(other, one), expected, "{other} {one}");
        }
    }
}
