//! The second kind of scope and the third, and regions that differ.

use hanse_management::kinds::SecretValue;

use super::{dns::gslb, *};

fn keys(region: &str) -> ScopeId {
    ScopeId::Keys { region: name(region) }
}

/// What a command did, by scope: upserts, removals, and whether the scope is gone.
fn told(changes: &[ScopeChange]) -> Vec<(String, usize, usize, bool)> {
    let told = |change: &ScopeChange| {
        (change.scope.to_string(), change.upserts.len(), change.removals.len(), change.dropped)
    };
    changes.iter().map(told).collect()
}

fn told_is(changes: &[ScopeChange], wanted: &[(&str, usize, usize, bool)]) {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(scope, made, gone, dropped)| ((*scope).to_owned(), *made, *gone, *dropped))
        .collect();
    assert_eq!(told(changes), wanted);
}

#[test]
fn a_scope_exists_while_it_has_content() {
    let mut world = World::with_orders_bound();
    assert!(world.projection.scopes().all(|scope| matches!(scope, ScopeId::Runtime { .. })));
    let changes = world.accept(vec![gslb(json!(null))]);
    told_is(&changes, &[("dns/eu", 1, 0, false), ("dns/us", 1, 0, false)]);

    // A region that serves nothing has zones all the same; one that comes has them at once.
    let changes = world.accept(vec![put("Region", "ap", json!({}))]);
    told_is(&changes, &[("dns/ap", 1, 0, false), ("dns/eu", 1, 0, false), ("dns/us", 1, 0, false)]);

    // A region that is left: its scope of one kind goes, that of the other changes.
    let changes = world.accept(vec![put("Environment", "production", json!({"regions": ["eu"]}))]);
    let zones = [("dns/ap", 1, 0, false), ("dns/eu", 1, 0, false), ("dns/us", 1, 0, false)];
    told_is(&changes, &[&[("runtime/us/production", 0, 3, true)], &zones[..]].concat());
    let changes = world.accept(vec![delete("Region", "us")]);
    told_is(&changes, &[("dns/ap", 1, 0, false), ("dns/eu", 1, 0, false), ("dns/us", 0, 1, true)]);

    // The last of its content takes a scope with it.
    let changes = world.accept(vec![delete("DnsZone", "gslb")]);
    told_is(&changes, &[("dns/ap", 0, 1, true), ("dns/eu", 0, 1, true)]);
    assert_eq!(world.projection.scopes().collect::<Vec<_>>(), [&scope("eu", "production")]);
}

#[test]
fn a_key_that_signs_tokens_is_in_the_regions_that_it_lists() {
    let mut world = World::with_orders();
    world.use_key(1);
    world.advance();
    let changes = world.accept(vec![secret("acme/signer", &["eu"], 1, "first")]);
    told_is(&changes, &[("keys/eu", 1, 0, false)]);
    let data = |world: &World, region: &str| {
        let bytes = world.content[&keys(region)]["secret/acme/signer"].clone();
        let Some(Runtime::Secret(secret)) = runtime::Resource::decode(bytes).unwrap().kind else { panic!() };
        assert_eq!(
            (&*secret.organization, &*secret.name, &*secret.r#type),
            ("acme", "signer", "token-signing")
        );
        secret.data.get("key.pem").cloned()
    };
    assert_eq!(data(&world, "eu").unwrap(), "first");
    assert_eq!(world.accept(vec![secret("acme/other", &[], 1, "private")]), [], "it signs nothing");

    let changes = world.accept(vec![secret("acme/signer", &["us"], 1, "first")]);
    told_is(&changes, &[("keys/eu", 0, 1, true), ("keys/us", 1, 0, false)]);
    told_is(&world.accept(vec![secret("acme/signer", &["us"], 1, "second")]), &[("keys/us", 1, 0, false)]);
    assert_eq!(data(&world, "us").unwrap(), "second");
    let changes = world.accept(vec![secret("acme/signer", &[], 1, "second")]);
    told_is(&changes, &[("keys/us", 0, 1, true)]);
}

#[test]
fn a_value_that_does_not_open_is_left_out() {
    let mut world = World::with_orders();
    world.use_key(1);
    world.advance();
    let Change { key, mut action, .. } = secret("acme/signer", &["eu"], 1, "first");
    if let Some(Spec::Secret(secret)) = action.spec_mut() {
        let altered = SealedValue { version: 1, sealed: vec![9], same_as: None };
        secret.data.insert("key.pem".to_owned(), SecretValue::Sealed(altered));
    }
    world.accept(vec![Change { key, action, if_revision: None }]);
    let bytes = &world.content[&keys("eu")]["secret/acme/signer"];
    #[expect(clippy::disallowed_methods, reason = "as a key manager does it")]
    let unusable = hanse_runtime::check(hanse_runtime::ResourceKind::Secret, bytes).unwrap_err();
    assert_eq!(unusable.field, "data.key.pem", "a key manager keeps the last one that it could use");
}

#[test]
fn a_key_of_any_kind_of_scope_leads_back_to_its_source() {
    for (key, kind) in [
        ("route/acme/orders", Kind::Binding),
        ("zone/gslb", Kind::DnsZone),
        ("host/orders", Kind::GlobalHost),
        ("secret/acme/signer", Kind::Secret),
    ] {
        assert_eq!(crate::projection::source(key).map(|source| source.kind), Some(kind), "{key}");
    }
}

#[test]
fn what_came_and_went_in_scopes_of_any_kind_is_unknown() {
    let mut world = World::with_orders_bound();
    world.use_key(1);
    world.accept(vec![secret("acme/signer", &["eu"], 1, "first")]);
    for change in [secret("acme/passing", &["eu"], 1, "first"), delete("Secret", "acme/passing")] {
        world.apply(vec![change]);
    }
    assert_eq!(world.advance(), []);
    assert_eq!(*world.projection.last_between(&scope("eu", "production")), Between::Unknown);
    for data in ["second", "first"] {
        world.apply(vec![secret("acme/signer", &["eu"], 1, data)]);
    }
    assert_eq!(world.advance(), []);
    assert_eq!(
        *world.projection.last_between(&scope("eu", "production")),
        Between::Touched(vec!["secret/acme/signer".into()])
    );
}

/// `orders` bound in both regions, of which `eu` holds back.
fn held_back() -> World {
    let mut world = World::with_orders();
    world.accept(vec![
        put("Api", "acme/orders", with(orders(), json!({"version": "2"}))),
        labelled(bind("acme/orders", "orders", "production"), &[("hold", "eu")]),
    ]);
    world
}

#[test]
fn a_region_that_serves_another_revision_has_its_route_and_its_upstream() {
    let mut world = held_back();
    let version = |world: &World, region: &str| {
        let Runtime::Route(route) = world.decoded(region, "production", "route/acme/orders") else {
            panic!()
        };
        (route.version, route.upstream)
    };
    let upstream = |number: u64| format!("upstream/acme/orders-r{number}/backend");
    assert_eq!(version(&world, "eu"), ("1.0".to_owned(), upstream(1)));
    assert_eq!(version(&world, "us"), ("2".to_owned(), upstream(2)));
    assert_eq!(world.keys("eu", "production"), ["listener/production", "route/acme/orders", &*upstream(1)]);
    assert_eq!(world.keys("us", "production"), ["listener/production", "route/acme/orders", &*upstream(2)]);

    let changes = world.accept(vec![put("Api", "acme/orders", with(orders(), json!({"version": "3"})))]);
    told_is(&changes, &[("runtime/us/production", 2, 1, false)]);
    let changes = world.accept(vec![bind("acme/orders", "orders", "production")]);
    told_is(&changes, &[("runtime/eu/production", 2, 1, false)]);
    assert_eq!(version(&world, "eu"), version(&world, "us"));
}

#[test]
fn scopes_share_the_bytes_that_are_the_same() {
    let mut world = held_back();
    world.accept(caller("acme/shop", "orders"));
    world.accept(vec![
        put("Region", "ap", json!({})),
        put("Environment", "sandbox", json!({"regions": ["ap", "eu", "us"]})),
        put(
            "Upstream",
            "acme/own",
            json!({"endpoints": [{"url": "http://a:80"}, {"url": "http://b:80", "region": "us"}]}),
        ),
        put("Api", "acme/other", with(orders(), json!({"context": "/other"}))),
        put("Binding", "acme/other", json!({"api": "other", "environment": "sandbox", "upstream": "own"})),
        labelled(bind("acme/trial", "orders", "sandbox"), &[("hold", "eu")]),
    ]);
    let at =
        |region: &str, environment: &str, key: &str| world.content[&scope(region, environment)][key].as_ptr();
    let same = |key: &str, one: &str, other: &str| at(one, "sandbox", key) == at(other, "sandbox", key);
    assert!(same("route/acme/other", "eu", "us"), "one revision everywhere");
    assert!(same("route/acme/trial", "ap", "us") && !same("route/acme/trial", "ap", "eu"), "eu has another");
    assert!(
        same("upstream/acme/own", "ap", "eu") && !same("upstream/acme/own", "ap", "us"),
        "us has an endpoint"
    );
    assert!(same("upstream/acme/orders-r2/backend", "ap", "us"));
    assert!(same("listener/sandbox", "ap", "eu"));
    let plan = "plan/acme/shop";
    assert_eq!(at("eu", "production", plan), at("us", "production", plan));
}
