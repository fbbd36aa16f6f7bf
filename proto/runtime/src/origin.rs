//! Which agents may publish resources of their region by themselves, and which resources.

use std::collections::BTreeSet;

use hanse_proto::runtime;

use crate::{KeyDigest, ResourceKind, Unusable, access::key_digest};

/// The kinds that an origin may have at all: no other kind is known to be safe without the control plane's judgement.
const KINDS: [ResourceKind; 3] = [ResourceKind::Route, ResourceKind::Upstream, ResourceKind::Endpoints];

/// Agents that may publish for one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name.
    pub name: String,
    /// The organizations that its resources may belong to.
    pub organizations: BTreeSet<String>,
    /// The kinds that it may have. A kind that only later versions know is left out, so nothing of it is used.
    pub kinds: BTreeSet<ResourceKind>,
    /// The agents that may publish for it.
    pub holders: Vec<Holder>,
    /// When it was made, in Unix milliseconds. It tells the Origin from earlier ones of its name, which were deleted.
    pub made_at_ms: u64,
}

/// An agent that may publish for an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// The digest of its authority's public key (SPKI), with which it signs.
    pub key: KeyDigest,
}

impl Origin {
    pub(crate) fn new(origin: runtime::Origin) -> Result<Self, Unusable> {
        let runtime::Origin { name, organizations, kinds, holders, made_at_ms } = origin;
        if name.is_empty() {
            return Err(Unusable::new("name", "is empty"));
        }
        let known = kinds.iter().filter_map(|kind| ResourceKind::of_key(kind));
        let holder = |(at, holder): (usize, runtime::Holder)| {
            let key = key_digest(format!("holders[{at}].key"), &holder.key)?;
            Ok(Holder { name: holder.name, key })
        };
        Ok(Self {
            name,
            organizations: organizations.into_iter().collect(),
            kinds: known.filter(|kind| KINDS.contains(kind)).collect(),
            holders: holders.into_iter().enumerate().map(holder).collect::<Result<_, _>>()?,
            made_at_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kinds: &[&str], key: Vec<u8>) -> Result<Origin, Unusable> {
        Origin::new(runtime::Origin {
            name: "east".to_owned(),
            organizations: vec!["shop".to_owned()],
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            holders: vec![runtime::Holder { name: "agent-1".to_owned(), key: key.into() }],
            made_at_ms: 5,
        })
    }

    #[test]
    fn an_origin_has_the_kinds_that_are_known_and_safe() {
        let origin = read(
            &[
                "route",
                "upstream",
                "endpoints",
                "listener",
                "plan",
                "credential",
                "subscription",
                "zone",
                "host",
                "shift",
                "of-later",
            ],
            vec![7; 32],
        )
        .unwrap();
        assert_eq!(origin.kinds, KINDS.into());
        assert_eq!(origin.holders, [Holder { name: "agent-1".to_owned(), key: [7; 32] }]);
    }

    #[test]
    fn an_origin_without_a_name_or_with_half_a_key_is_unusable() {
        assert_eq!(read(&["route"], vec![7; 31]).unwrap_err().field, "holders[0].key");
        assert_eq!(Origin::new(runtime::Origin::default()).unwrap_err().field, "name");
    }
}
