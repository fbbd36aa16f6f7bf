//! From a runtime resource's key back to what it was made from.

use hanse_topology::Name;

use crate::Kind;

/// The management resource a runtime resource was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its kind.
    pub kind: Kind,
    /// Its organization; `None` for global kinds.
    pub organization: Option<Name>,
    /// Its name. Of an Upstream that an ApiRevision embeds, `REVISION/NAME`.
    pub name: String,
}

/// What the resource at `key` was made from; `None` where this version does not know. `docs/protocol.md` lists the keys.
pub fn source(key: &str) -> Option<Source> {
    let (kind, rest) = key.split_once('/')?;
    let kind = match kind {
        "listener" => Kind::Environment,
        "route" => Kind::Binding,
        "upstream" => Kind::Upstream,
        "plan" => Kind::Plan,
        "credential" => Kind::Credential,
        "subscription" => Kind::Subscription,
        _later => return None,
    };
    if kind.is_global() {
        return Some(Source { kind, organization: None, name: rest.to_owned() });
    }
    let (organization, name) = rest.split_once('/')?;
    Some(Source { kind, organization: Some(Name::new(organization).ok()?), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_back() {
        let check = |key: &str, wanted: Option<(Kind, Option<&str>, &str)>| {
            let found = source(key);
            let found = found.as_ref().map(|source| {
                (source.kind, source.organization.as_ref().map(Name::as_str), source.name.as_str())
            });
            assert_eq!(found, wanted, "{key}");
        };
        check("listener/production", Some((Kind::Environment, None, "production")));
        check("route/shop/orders", Some((Kind::Binding, Some("shop"), "orders")));
        check("upstream/shop/orders-r2/backend", Some((Kind::Upstream, Some("shop"), "orders-r2/backend")));
        check("subscription/shop/a", Some((Kind::Subscription, Some("shop"), "a")));
        check("key-manager/shop/a", None);
        check("plan/gold", None);
        check("plan", None);
    }
}
