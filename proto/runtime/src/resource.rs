//! Runtime resources as they arrive: a key and opaque bytes, checked as what the key promises.

use std::fmt;

use hanse_proto::runtime::{self, resource::Kind};
use prost::Message as _;

use crate::{
    Credential, Endpoints, GlobalHost, Listener, Neighbour, Origin, Plan, Route, Secret, Shift, Subscription,
    Unusable, Upstream, Zone, features,
};

/// A key of a scope, taken apart. `docs/protocol.md` lists the spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `listener/ENVIRONMENT`
    Listener,
    /// `route/ORGANIZATION/BINDING`
    Route,
    /// `upstream/ORGANIZATION/NAME`, `upstream/ORGANIZATION/API_REVISION/NAME`
    Upstream,
    /// `plan/ORGANIZATION/NAME`
    Plan,
    /// `credential/ORGANIZATION/NAME`
    Credential,
    /// `subscription/ORGANIZATION/NAME`
    Subscription,
    /// `secret/ORGANIZATION/NAME`
    Secret,
    /// `origin/NAME`
    Origin,
    /// `agent/NAME`, in the scope of a region's agents
    Neighbour,
    /// `endpoints/ORGANIZATION/NAME`, in local scopes
    Endpoints,
    /// `zone/NAME`, in the scope of a region's DNS responders
    Zone,
    /// `host/NAME`, in the scope of a region's DNS responders
    GlobalHost,
    /// `shift/NAME`
    Shift,
}

/// A resource that can be used.
#[derive(Debug)]
#[allow(missing_docs)] // the names say it
pub enum Resource {
    Listener(Listener),
    Route(Route),
    Upstream(Upstream),
    Plan(Plan),
    Credential(Credential),
    Subscription(Subscription),
    Secret(Secret),
    Origin(Origin),
    Neighbour(Neighbour),
    Endpoints(Endpoints),
    Zone(Zone),
    GlobalHost(GlobalHost),
    Shift(Shift),
}

/// The key of an Origin in its `runtime` scope: `origin/NAME`.
pub fn origin_key(name: &impl fmt::Display) -> String {
    format!("origin/{name}")
}

impl ResourceKind {
    /// The kind a key's first part names; `None` for kinds of later versions, which are left alone.
    pub fn of_key(key: &str) -> Option<Self> {
        Some(match key.split('/').next()? {
            "listener" => Self::Listener,
            "route" => Self::Route,
            "upstream" => Self::Upstream,
            "plan" => Self::Plan,
            "credential" => Self::Credential,
            "subscription" => Self::Subscription,
            "secret" => Self::Secret,
            "origin" => Self::Origin,
            "agent" => Self::Neighbour,
            "endpoints" => Self::Endpoints,
            "zone" => Self::Zone,
            "host" => Self::GlobalHost,
            "shift" => Self::Shift,
            _ => return None,
        })
    }

    fn of_message(kind: &Kind) -> Self {
        match kind {
            Kind::Listener(_) => Self::Listener,
            Kind::Route(_) => Self::Route,
            Kind::Upstream(_) => Self::Upstream,
            Kind::Plan(_) => Self::Plan,
            Kind::Credential(_) => Self::Credential,
            Kind::Subscription(_) => Self::Subscription,
            Kind::Secret(_) => Self::Secret,
            Kind::Origin(_) => Self::Origin,
            Kind::Neighbour(_) => Self::Neighbour,
            Kind::Endpoints(_) => Self::Endpoints,
            Kind::Zone(_) => Self::Zone,
            Kind::GlobalHost(_) => Self::GlobalHost,
            Kind::Shift(_) => Self::Shift,
        }
    }
}

/// Checks `bytes` as a resource of the kind that its key promises.
pub fn check(expected: ResourceKind, bytes: &[u8]) -> Result<Resource, Unusable> {
    Ok(match decode(expected, bytes)? {
        Kind::Listener(listener) => Resource::Listener(Listener::new(&listener)?),
        Kind::Route(route) => Resource::Route(Route::new(&route)?),
        Kind::Upstream(upstream) => Resource::Upstream(Upstream::new(upstream)?),
        Kind::Plan(plan) => Resource::Plan(Plan::new(&plan)?),
        Kind::Credential(credential) => Resource::Credential(Credential::new(credential)?),
        Kind::Subscription(subscription) => Resource::Subscription(subscription.into()),
        Kind::Secret(secret) => Resource::Secret(Secret::new(secret)?),
        Kind::Origin(origin) => Resource::Origin(Origin::new(origin)?),
        Kind::Neighbour(neighbour) => Resource::Neighbour(Neighbour::new(neighbour)?),
        Kind::Endpoints(endpoints) => Resource::Endpoints(Endpoints::new(endpoints)?),
        Kind::Zone(zone) => Resource::Zone(Zone::new(zone)?),
        Kind::GlobalHost(host) => Resource::GlobalHost(GlobalHost::new(host)?),
        Kind::Shift(shift) => Resource::Shift(Shift::new(shift)?),
    })
}

fn decode(expected: ResourceKind, bytes: &[u8]) -> Result<Kind, Unusable> {
    let resource =
        runtime::Resource::decode(bytes).map_err(|error| Unusable::new("resource", error.to_string()))?;
    features::check(&resource)?;
    let kind = resource.kind.ok_or_else(|| Unusable::new("kind", "absent, or of a later version"))?;
    let found = ResourceKind::of_message(&kind);
    if found != expected {
        return Err(Unusable::new(
            "kind",
            format!("the key promises a {expected:?}, the value is a {found:?}"),
        ));
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_be_what_their_keys_promise() {
        let plan =
            runtime::Resource { kind: Some(Kind::Plan(runtime::Plan::default())), requires: Vec::new() };
        let bytes = plan.encode_to_vec();
        let field = |kind, bytes: &[u8]| check(kind, bytes).unwrap_err().field;
        assert!(check(ResourceKind::of_key("plan/default/gold").unwrap(), &bytes).is_ok());
        assert_eq!(field(ResourceKind::Route, &bytes), "kind");
        assert_eq!(field(ResourceKind::Plan, b"\xff\xff\xff"), "resource");
        assert_eq!(field(ResourceKind::Plan, b""), "kind");
        assert_eq!(ResourceKind::of_key("key-manager/default/a"), None);
    }

    #[test]
    fn what_requires_an_unknown_feature_is_not_looked_at_further() {
        let requires = vec!["quota by the month".to_owned()];
        for kind in [Some(Kind::Plan(runtime::Plan::default())), None] {
            let bytes = runtime::Resource { kind, requires: requires.clone() }.encode_to_vec();
            let unusable = check(ResourceKind::Plan, &bytes).unwrap_err();
            assert_eq!(unusable.field, "requires");
            assert!(unusable.reason.contains("quota by the month"), "{unusable}");
        }
    }
}
