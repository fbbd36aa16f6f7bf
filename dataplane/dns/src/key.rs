//! Names as they are looked up: labels in lower case, each behind its length, as in a message and without the root's.

use std::borrow::Borrow;

use hanse_dns_wire::Name;
use hanse_runtime::DomainName;

/// A name of a query or of a zone. `Orders.Example` and `orders.example` are the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NameKey(Box<[u8]>);

impl NameKey {
    /// Of a name as a client wrote it.
    pub(crate) fn of(name: &Name) -> Self {
        Self::of_labels(name.iter())
    }

    /// Of a name of a resource.
    pub(crate) fn of_domain(name: &DomainName) -> Self {
        Self::of_labels(name.as_str().split('.').map(str::as_bytes))
    }

    fn of_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut octets = Vec::with_capacity(64);
        for label in labels {
            octets.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
            octets.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        Self(octets.into())
    }

    /// The name, the one above it, and so on; without the root.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let whole = rest;
            let length = usize::from(*whole.first()?);
            rest = &whole[1 + length..];
            Some(whole)
        })
    }
}

impl Borrow<[u8]> for NameKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for NameKey {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_key_in_any_case() {
        let key = NameKey::of_domain(&DomainName::parse("orders.example").unwrap());
        assert_eq!(NameKey::of(&Name::from_ascii("Orders.EXAMPLE.").unwrap()), key);
        assert_ne!(NameKey::of(&Name::from_ascii("ordersexample.").unwrap()), key);
        let up: Vec<&[u8]> = key.upwards().collect();
        assert_eq!(up, [&b"\x06orders\x07example"[..], b"\x07example"]);
        assert_eq!(NameKey::of(&Name::root()).upwards().count(), 0);
    }
}
