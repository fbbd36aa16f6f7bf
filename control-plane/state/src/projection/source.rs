//! From a runtime resource's key back to what it was made from.

use hanse_management::{Kind, ResourceKey, Revision, Spec};
use hanse_topology::Name;

use super::{kind::KINDS, shift};
use crate::State;

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
    if let Some((kind, name)) = shift::source(key) {
        return Some(Source { kind, organization: None, name: name.to_owned() });
    }
    let (prefix, rest) = key.split_once('/')?;
    let kind = KINDS.iter().find_map(|scopes| scopes.source(prefix))?;
    if kind.is_global() {
        return Some(Source { kind, organization: None, name: rest.to_owned() });
    }
    let (organization, name) = rest.split_once('/')?;
    Some(Source { kind, organization: Some(Name::new(organization).ok()?), name: name.to_owned() })
}

/// The last revision that changed any resource that the one at `key` is made from; `None` where there is none.
pub fn last_change(state: &State, key: &str) -> Option<Revision> {
    let source = source(key)?;
    let of = |kind: Kind, name: &str| {
        let name = Name::new(name).ok()?;
        let key = match &source.organization {
            Some(organization) => ResourceKey::owned(kind, organization.clone(), name),
            None => ResourceKey::global(kind, name),
        };
        state.get(&key)
    };
    let revision = |kind: Kind, name: &str| of(kind, name).map(|resource| resource.metadata.revision);
    // Each Shift has the epoch of all that Shifts are made of.
    if shift::source(key).is_some() {
        return revision(source.kind, &source.name).map(|_| state.dns_revision());
    }
    match source.kind {
        Kind::Upstream => match source.name.split_once('/') {
            Some((api_revision, _)) => revision(Kind::ApiRevision, api_revision),
            None => revision(Kind::Upstream, &source.name),
        },
        // A route is made of a Binding and of a revision of its Api, and the Api's lifecycle decides. A changed Policy makes a
        // revision of the Api, which does not change itself.
        Kind::Binding => {
            let binding = of(Kind::Binding, &source.name)?;
            let api = match &binding.spec {
                Spec::Binding(spec) => revision(Kind::Api, spec.api.as_str()),
                _other_kind => None,
            };
            let bound = state.bound_revisions(binding).into_iter().map(|bound| bound.metadata.revision);
            bound.chain(api).chain([binding.metadata.revision]).max()
        }
        // Its HostGrants are in it. One that was deleted is in no revision any more.
        Kind::Environment => {
            let environment = of(Kind::Environment, &source.name)?;
            let grants = state.host_grants(&environment.key).filter_map(|(key, _)| state.get(key));
            grants.chain([environment]).map(|resource| resource.metadata.revision).max()
        }
        // Each zone has the epoch of all that answers are made of.
        Kind::DnsZone => revision(Kind::DnsZone, &source.name).map(|_| state.dns_revision()),
        // A Drain or a Failover that was deleted is in no revision any more.
        Kind::GlobalHost => {
            let host = of(Kind::GlobalHost, &source.name)?;
            let decided = state.decides_about(&host.key.name);
            decided.filter_map(|key| state.get(&key)).chain([host]).map(|made| made.metadata.revision).max()
        }
        other => revision(other, &source.name),
    }
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
        check("zone/gslb", Some((Kind::DnsZone, None, "gslb")));
        check("host/orders", Some((Kind::GlobalHost, None, "orders")));
        check("shift/orders", Some((Kind::GlobalHost, None, "orders")));
        check("shift/drain", Some((Kind::GlobalHost, None, "drain")));
        check("shift/drain/eu-west", Some((Kind::Drain, None, "eu-west")));
        check("plan/gold", None);
        check("plan", None);
    }

    #[test]
    fn a_zone_and_a_host_change_with_what_answers_are_made_of() {
        use crate::fixture::World;
        let mut world = World::with_orders().with(
            "{kind: DnsZone, name: gslb, spec: {origin: gslb.example.com, nameServers: [{name: ns.example.net}], contact: dns@example.com}}",
        );
        let host = "{kind: GlobalHost, name: h, spec: {host: h.gslb.example.com, zone: gslb, environment: production}}";
        let made = world.put(host).revision;
        let of = |world: &World, key: &str| last_change(&world.state, key);
        assert_eq!((of(&world, "zone/gslb"), of(&world, "host/h")), (Some(made), Some(made)));
        let plan = "{kind: FailoverPlan, name: p, spec: {hosts: [h], active: eu-west, standby: [us-east]}}";
        for (yaml, reaches) in [
            (plan, true),
            ("{kind: Region, name: us-east, labels: {a: b}}", true),
            ("{kind: Drain, name: us-east, spec: {reason: test}}", true),
            ("{kind: Region, name: ap-south}", false),
        ] {
            let before = of(&world, "host/h");
            world.replicate(yaml);
            let revision = world.state.revision();
            assert_eq!(of(&world, "zone/gslb"), Some(revision), "{yaml}");
            assert_eq!(of(&world, "host/h"), if reaches { Some(revision) } else { before }, "{yaml}");
        }
        let last = of(&world, "zone/gslb");
        world.put("{kind: Application, name: shop}");
        assert_eq!(of(&world, "zone/gslb"), last);
        assert_eq!((of(&world, "zone/none"), of(&world, "host/none")), (None, None));
    }

    #[test]
    fn the_last_change_is_that_of_any_resource_behind_it() {
        use crate::fixture::{ORDERS, World};
        let mut world = World::new().with(ORDERS);
        let of = |world: &World, key: &str| last_change(&world.state, key);
        let made = world.revision_of("Binding orders-production");
        assert_eq!(of(&world, "route/default/orders-production"), Some(made));
        assert_eq!(of(&world, "plan/default/gold"), Some(world.revision_of("Plan gold")));
        assert!(of(&world, "listener/production").is_some_and(|revision| revision < made));
        assert_eq!(of(&world, "upstream/default/orders-r1/backend"), Some(made));
        assert_eq!(of(&world, "route/default/none"), None);
        let version = ORDERS.replace(r#"version: "1""#, r#"version: "2""#);
        let api = version.split("---").find(|part| part.contains("kind: Api")).unwrap();
        let later = world.put(api).revision;
        assert_eq!(
            of(&world, "route/default/orders-production"),
            Some(later),
            "the Binding stayed, the Api changed"
        );
        let stamp = "{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: '2'}}}}}";
        let latest = world.put(stamp).revision;
        assert!(world.revision_of("Api orders") < latest);
        assert_eq!(
            of(&world, "route/default/orders-production"),
            Some(latest),
            "the Api has another revision"
        );
    }
}
