//! The address of who is responsible for a zone.

use std::fmt;

use crate::{BadDomainName, DomainName};

/// The longest part before the `@`, in bytes: it becomes one label of a name (RFC 1035, section 8).
const MAX_LOCAL_BYTES: usize = 63;

/// A mailbox: `hostmaster@example.com`. In an SOA record its local part is the first label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// What stands before the `@`, in lower or upper case.
    pub local: Box<str>,
    /// What stands after it.
    pub domain: DomainName,
}

/// Why a text is no [`Mailbox`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMailbox {
    /// No `@`, or nothing that can stand before it.
    #[error("{given:?} is no mailbox such as hostmaster@example.com")]
    Shape {
        /// What was given.
        given: String,
    },
    /// What stands after the `@` is no name.
    #[error(transparent)]
    Domain(#[from] BadDomainName),
    /// The name that stands for it in an SOA record would be too long.
    #[error("the mailbox is longer than a name in the DNS may be")]
    Long,
}

impl Mailbox {
    /// Reads `LOCAL@DOMAIN`. The local part has the characters that need no quotes (RFC 5321, section 4.1.2).
    pub fn parse(text: &str) -> Result<Self, BadMailbox> {
        let shape = || BadMailbox::Shape { given: text.to_owned() };
        let (local, domain) = text.split_once('@').ok_or_else(shape)?;
        let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
        let is_dotted = local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom));
        if !is_dotted || local.len() > MAX_LOCAL_BYTES {
            return Err(shape());
        }
        let domain = DomainName::parse(domain)?;
        // A dot in the local part is an octet of its label, as every other character.
        if !domain.takes_label_of(local.len()) {
            return Err(BadMailbox::Long);
        }
        Ok(Self { local: local.into(), domain })
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_has_a_local_part_and_a_domain() {
        for good in ["hostmaster@example.com", "Jane.Doe+dns@a.example", "a@b"] {
            assert_eq!(Mailbox::parse(good).map(|mailbox| mailbox.to_string()).as_deref(), Ok(good));
        }
        let long = format!("{}@example.com", "a".repeat(64));
        let domain = [&"b".repeat(63), &"c".repeat(63), &*"d".repeat(63)].join(".");
        let beyond = format!("{}@{domain}", "a".repeat(62));
        for (bad, why) in [
            ("", "no mailbox"),
            ("hostmaster.example.com", "no mailbox"),
            ("@example.com", "no mailbox"),
            (".a@example.com", "no mailbox"),
            ("a..b@example.com", "no mailbox"),
            ("a b@example.com", "no mailbox"),
            ("\"a b\"@example.com", "no mailbox"),
            ("ä@example.com", "no mailbox"),
            (&long, "no mailbox"),
            ("a@", "at least one"),
            ("a@b@example.com", "has a-z"),
            ("a@Example.com", "lower case"),
            (&beyond, "longer than"),
        ] {
            let error = Mailbox::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Mailbox::parse(&format!("{}@{domain}", "a".repeat(61))).is_ok(), "255 octets in a message");
    }
}
