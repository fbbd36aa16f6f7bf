//! An agent of a region, as the other agents there need it.

use hanse_proto::runtime;

use crate::{KeyDigest, Unusable, access::key_digest};

/// An agent of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// The digest of its authority's public key (SPKI), with which it joined.
    pub key: KeyDigest,
    /// The environments that it may learn; empty: all of the region's.
    pub environments: Vec<String>,
    /// Where agents of the region subscribe to it, `host:port`; `None`: not known.
    pub address: Option<String>,
    /// Whether all agents of the region subscribe to it.
    pub relay: bool,
}

impl Neighbour {
    pub(crate) fn new(neighbour: runtime::Neighbour) -> Result<Self, Unusable> {
        let runtime::Neighbour { name, key, environments, address, relay } = neighbour;
        if name.is_empty() {
            return Err(Unusable::new("name", "is empty"));
        }
        let key = key_digest("key", &key)?;
        Ok(Self { name, key, environments, address: Some(address).filter(|it| !it.is_empty()), relay })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_has_a_name_and_a_whole_key() {
        let wire = |name: &str, key: usize| runtime::Neighbour {
            name: name.to_owned(),
            key: vec![7; key].into(),
            ..Default::default()
        };
        assert_eq!(Neighbour::new(wire("a", 32)).unwrap().address, None);
        assert_eq!(Neighbour::new(wire("a", 31)).unwrap_err().field, "key");
        assert_eq!(Neighbour::new(wire("", 32)).unwrap_err().field, "name");
    }
}
