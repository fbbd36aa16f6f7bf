//! Hosts that a region does not serve, and Bindings that it sends on.

use hanse_runtime::{Resource as Usable, ResourceKind};

use super::{
    dns::{failover, gslb, host, plan},
    *,
};

/// Environment `production` with `tunnel` in these regions.
fn tunnelled(regions: &[&str]) -> Change {
    put("Environment", "production", json!({"regions": regions, "tunnel": true}))
}

/// Zone `gslb` with the hosts `orders` and `free`; `orders` is in a plan: `eu` is active, `us` stands by. Region `ap` is in no plan.
fn world() -> World {
    let mut world = World::with_orders();
    world.accept(vec![put("Region", "ap", json!({})), tunnelled(&["eu", "us", "ap"])]);
    world.accept(vec![gslb(json!(null)), host("orders", json!([])), host("free", json!([]))]);
    world.accept(vec![plan(&["orders"])]);
    world
}

fn drain(region: &str) -> Change {
    put("Drain", region, json!({"reason": "test", "forced": "test"}))
}

/// The clients of `orders` are led back to `eu`.
fn back() -> Change {
    let spec = json!({
        "serving": [{"region": "eu", "percent": 100}], "to": "eu", "steps": [100], "step": 0, "stepEvery": "30s",
        "reason": "back",
    });
    put("Failover", "orders", spec)
}

/// The resource at a key, which a gateway that knows tunnels can use, and no other.
#[expect(clippy::disallowed_methods, reason = "as a gateway does it")]
fn usable(scope: &ScopeId, key: &str, bytes: &Bytes) -> Usable {
    let read = runtime::Resource::decode(bytes.clone()).unwrap();
    assert_eq!(read.requires, ["tunnel"], "{scope} {key}");
    hanse_runtime::check(ResourceKind::of_key(key).unwrap(), bytes)
        .unwrap_or_else(|error| panic!("{scope} {key}: {error}"))
}

/// Every Shift of the Environment: its region, key, host, and where the host is served.
fn shifts(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for (scope, content) in &world.content {
        for (key, bytes) in content.iter().filter(|(key, _)| key.starts_with("shift/")) {
            let Usable::Shift(shift) = usable(scope, key, bytes) else { panic!("{key}") };
            let len = bytes.len();
            assert!((20..100).contains(&len), "docs/protocol.md says what a command costs: {len} bytes");
            let host = shift.host.map_or("*".to_owned(), |host| host.as_str().to_owned());
            let regions: Vec<&str> = shift.regions.iter().map(Name::as_str).collect();
            let epoch = (shift.epoch.generation, shift.epoch.revision);
            assert_eq!(epoch, (1, world.state.dns_revision()), "{scope} {key}");
            found.push(format!("{} {key} {host} {}", scope.region(), regions.join("+")));
        }
    }
    found
}

#[test]
fn a_standby_says_where_a_plan_has_its_hosts() {
    let mut world = world();
    let check = |world: &mut World, changes: Vec<Change>, expected: &[(&str, &str)]| {
        world.accept(changes);
        let line = |(region, serving): &(&str, &str)| {
            format!("{region} shift/orders orders.gslb.example.com {serving}")
        };
        assert_eq!(shifts(world), expected.iter().map(line).collect::<Vec<_>>());
    };
    let in_eu = &[("ap", "eu"), ("us", "eu")];
    check(&mut world, vec![], in_eu);
    // Each step of a failover serves in both; the last one in the standby alone. A failback ends it.
    let share = |eu: u32, us: u32| [("eu", eu), ("us", us)];
    check(&mut world, vec![failover(&share(70, 30), 0, "test")], &[("ap", "eu+us")]);
    let in_us = &[("ap", "us"), ("eu", "us")];
    check(&mut world, vec![failover(&[("us", 100)], 1, "test")], in_us);
    check(&mut world, vec![back()], in_eu);
    // An edit of the plan moves nothing that was decided.
    world.accept(vec![put(
        "FailoverPlan",
        "orders",
        json!({"hosts": ["orders"], "active": "us", "standby": ["eu"]}),
    )]);
    check(&mut world, vec![], in_eu);
    check(&mut world, vec![delete("FailoverPlan", "orders"), delete("GlobalHost", "orders")], &[]);
}

#[test]
fn a_drained_region_serves_no_host() {
    let mut world = world();
    let check = |world: &mut World, changes: Vec<Change>, expected: &[&str]| {
        world.accept(changes);
        assert_eq!(shifts(world), expected);
    };
    let planned =
        |region: &str, serving: &str| format!("{region} shift/orders orders.gslb.example.com {serving}");
    let (ap, us) = (planned("ap", "eu"), planned("us", "eu"));
    check(&mut world, vec![drain("us")], &[&ap, "us shift/drain/us * ap+eu", &us]);
    // A host of a plan goes to the regions of the plan that serve it, the others to every region that is not drained.
    world.accept(vec![delete("Drain", "us"), failover(&[("eu", 70), ("us", 30)], 0, "test")]);
    let (ap, eu) = (planned("ap", "us"), planned("eu", "us"));
    check(&mut world, vec![drain("eu")], &[&ap, "eu shift/drain/eu * ap+us", &eu]);
    // A drained region that leaves the Environment.
    let gone = ["FailoverPlan/orders", "GlobalHost/orders", "GlobalHost/free", "DnsZone/gslb"];
    let gone = gone.iter().filter_map(|path| path.split_once('/')).map(|(kind, name)| delete(kind, name));
    world.accept(gone.collect());
    check(&mut world, vec![drain("us")], &["eu shift/drain/eu * ap", "us shift/drain/us * ap"]);
    check(&mut world, vec![tunnelled(&["us", "ap"])], &["us shift/drain/us * ap"]);
    // Where every region is drained each serves what comes: nobody else does.
    check(&mut world, vec![drain("ap")], &[]);
    check(&mut world, vec![delete("Drain", "us")], &["ap shift/drain/ap * us"]);
}

#[test]
fn nothing_is_sent_on_without_a_tunnel() {
    let mut world = world();
    world.accept(vec![drain("us")]);
    assert!(!shifts(&world).is_empty());
    let peers = |world: &World| {
        let Runtime::Listener(listener) = world.decoded("eu", "production", "listener/production") else {
            panic!()
        };
        listener.tunnel_peers
    };
    assert_eq!(peers(&world), ["ap", "eu", "us"]);
    world.accept(vec![put("Environment", "production", json!({"regions": ["eu", "us", "ap"]}))]);
    assert_eq!((shifts(&world), peers(&world)), (vec![], vec![]));
}

/// An exit whose own Shift is of an earlier epoch than the entry's has not heard of the entry's decision.
#[test]
fn of_two_decisions_the_later_has_the_later_epoch() {
    let mut world = world();
    let mut last = world.state.dns_revision();
    for change in [
        failover(&[("us", 100)], 1, "test"),
        drain("eu"),
        delete("Drain", "eu"), // no resource has its revision any more
        back(),
    ] {
        let what = change.key.to_string();
        world.accept(vec![change]);
        let epoch = world.state.dns_revision();
        assert!(epoch > last, "{what}");
        shifts(&world); // compares each with the epoch of the state
        last = epoch;
    }
    world.accept(vec![bind("acme/orders", "orders", "production")]);
    assert_eq!(world.state.dns_revision(), last, "it decides about no host");
    assert!(!shifts(&world).is_empty());
}

fn reaching(regions: Value) -> Change {
    let spec =
        json!({"api": "orders", "environment": "production", "regions": regions, "reach": "federation"});
    put("Binding", "acme/orders", spec)
}

/// The regions that have the Route, and where each sends its requests: `-` to an upstream of its own.
fn routes(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for (scope, content) in &world.content {
        let Some(bytes) = content.get("route/acme/orders") else { continue };
        let Some(Runtime::Route(route)) = runtime::Resource::decode(bytes.clone()).unwrap().kind else {
            panic!()
        };
        let upstreams = content.keys().filter(|key| key.starts_with("upstream/")).count();
        assert_eq!(
            (upstreams == 0, route.upstream.is_empty()),
            (!route.served_in.is_empty(), !route.served_in.is_empty())
        );
        if upstreams == 0 {
            usable(scope, "route/acme/orders", bytes);
        }
        let to = if route.served_in.is_empty() { "-".to_owned() } else { route.served_in.join("+") };
        found.push(format!("{} {to}", scope.region()));
    }
    found
}

#[test]
fn a_binding_that_reaches_the_federation_has_its_route_in_every_region() {
    let mut world = world();
    let check = |world: &mut World, changes: Vec<Change>, expected: &[&str]| {
        world.accept(changes);
        assert_eq!(routes(world), expected);
    };
    let in_us = json!({"names": ["us"]});
    check(&mut world, vec![reaching(in_us.clone())], &["ap us", "eu us", "us -"]);
    // The entry judges keys and limits, so it has them.
    world.accept(caller("acme/shop", "orders"));
    let callers = ["credential/acme/shop", "plan/acme/shop", "subscription/acme/shop"];
    assert!(callers.iter().all(|key| world.keys("ap", "production").contains(key)));
    // No region sends to one that is drained, while another serves.
    check(&mut world, vec![drain("us")], &["ap us", "eu us", "us -"]);
    check(&mut world, vec![reaching(json!({"names": ["us", "eu"]}))], &["ap eu", "eu -", "us -"]);
    check(&mut world, vec![delete("Drain", "us")], &["ap eu+us", "eu -", "us -"]);
    // A region that comes, and one that is selected by its labels.
    check(&mut world, vec![reaching(json!({"labels": {"tier": "edge"}}))], &["ap eu", "eu -", "us eu"]);
    let edge = labelled(put("Region", "ap", json!({})), &[("tier", "edge")]);
    check(&mut world, vec![edge], &["ap -", "eu -", "us ap+eu"]);
    check(&mut world, vec![put("Region", "eu", json!({}))], &["ap -", "eu ap", "us ap"]);
    // Without a region that serves it, it is nowhere.
    check(&mut world, vec![put("Region", "ap", json!({}))], &[]);
    check(&mut world, vec![reaching(json!({}))], &["ap -", "eu -", "us -"]);
    let local = json!({"api": "orders", "environment": "production", "regions": in_us});
    check(&mut world, vec![put("Binding", "acme/orders", local)], &["us -"]);
}

#[test]
fn a_retired_api_is_sent_on_by_no_region() {
    let mut world = world();
    world.accept(vec![reaching(json!({"names": ["us"]}))]);
    world.accept(vec![put("Api", "acme/orders", with(orders(), json!({"lifecycle": "retired"})))]);
    assert_eq!(routes(&world), [""; 0]);
}
