//! Regions that differ.

use super::*;

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
