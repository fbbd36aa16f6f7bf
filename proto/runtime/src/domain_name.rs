//! Names in the DNS.

use std::fmt;

/// The longest label, in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;
/// The longest name in a message, in octets (RFC 1035, section 2.3.4): a length before each label, and the root's.
const MAX_NAME_OCTETS: usize = 255;

/// A name in the DNS, but for the root: `orders.gslb.example.com`. The one form of its text is in lower case and has no dot at the end.
///
/// A label may have any octets (RFC 2181, section 11). Here it has letters, digits, `-` and `_`: the names of hosts, and of records that
/// belong to no host, such as `_hanse-epoch`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Box<str>);

/// Why a text is no [`DomainName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no name in the DNS: {why}")]
pub struct BadDomainName {
    /// What was given.
    pub given: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl DomainName {
    /// Reads the one form.
    pub fn parse(text: &str) -> Result<Self, BadDomainName> {
        let why = if text.ends_with('.') {
            Some("leave out the dot at the end")
        } else if octets(text) > MAX_NAME_OCTETS {
            Some("it may have 253 characters")
        } else {
            text.split('.').find_map(bad_label)
        };
        match why {
            None => Ok(Self(text.into())),
            Some(why) => Err(BadDomainName { given: text.to_owned(), why }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one more label of so many octets before this name still makes a name: `a.example.com` of `example.com` and 1.
    pub(crate) fn takes_label_of(&self, length: usize) -> bool {
        octets(&self.0) + 1 + length <= MAX_NAME_OCTETS
    }

    /// Whether the name is `zone`, or below it.
    pub fn is_in(&self, zone: &Self) -> bool {
        is_in_zone(&self.0, &zone.0)
    }
}

/// Whether a name is `zone`, or below it. Both are in the form of a [`DomainName`].
pub fn is_in_zone(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The length of the wire form (RFC 1035, section 3.1): a length octet before each label, and the root's.
fn octets(text: &str) -> usize {
    1 + text.len() + 1
}

fn bad_label(label: &str) -> Option<&'static str> {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if label.is_empty() {
        Some("a label has at least one character")
    } else if label.len() > MAX_LABEL_BYTES {
        Some("a label may have 63 characters")
    } else if label.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some("write it in lower case")
    } else if !label.bytes().all(is_known) {
        Some("a label has a-z, 0-9, '-' and '_'")
    } else if label.starts_with('-') || label.ends_with('-') {
        Some("a label neither begins nor ends with '-'")
    } else {
        None
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four labels: 253 characters, and 255 octets in a message.
    fn longest() -> String {
        [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), &*"d".repeat(61)].join(".")
    }

    #[test]
    fn a_name_has_one_form() {
        let longest = longest();
        for good in ["a", "gslb.example.com", "_hanse-epoch.a", "1.0", "xn--bcher-kva.example", &longest] {
            assert_eq!(DomainName::parse(good).map(|name| name.to_string()).as_deref(), Ok(good));
        }
        let (too_long, label) = (format!("e{longest}"), "a".repeat(64));
        for (bad, why) in [
            ("", "at least one"),
            (".", "dot at the end"),
            ("example.com.", "dot at the end"),
            ("a..b", "at least one"),
            (".a", "at least one"),
            ("Example.com", "lower case"),
            ("a b", "has a-z"),
            ("*.example.com", "has a-z"),
            ("ä.example", "has a-z"),
            ("a\\.b", "has a-z"),
            ("-a.b", "'-'"),
            ("a.b-", "'-'"),
            (&label, "63"),
            (&too_long, "253"),
        ] {
            let error = DomainName::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(why) && error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn a_name_is_in_its_own_zone_and_in_those_above() {
        let check = |name: &str, zone: &str, is_in: bool| {
            let read = |text: &str| DomainName::parse(text).unwrap();
            assert_eq!(read(name).is_in(&read(zone)), is_in, "{name} {zone}");
        };
        check("gslb.example.com", "gslb.example.com", true);
        check("a.gslb.example.com", "gslb.example.com", true);
        check("a.b.gslb.example.com", "example.com", true);
        check("agslb.example.com", "gslb.example.com", false);
        check("example.com", "gslb.example.com", false);
        check("a.example.org", "example.com", false);
    }
}
