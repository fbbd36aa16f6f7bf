//! A change costs work proportional to what it affects.

use super::*;

/// How many of everything there is beside what changes.
const MANY: usize = 120;

/// Applies and projects, without the naive projection, which would take long. The units compared.
fn units(world: &mut World, changes: Vec<Change>) -> usize {
    let before = world.state.clone();
    let outcome = world.apply(changes);
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    let changes = world.projection.advance(&world.state, &Unmasked);
    assert_eq!(preview(&before, &world.state), effects(&changes));
    world.projection.last_units()
}

/// `MANY` Apis bound in two regions, and `MANY` callers.
fn crowded() -> World {
    let mut world = World::with_orders();
    let mut changes = Vec::new();
    for number in 0..MANY {
        let api = format!("api-{number}");
        changes.push(put(
            "Api",
            &format!("acme/{api}"),
            with(orders(), json!({"context": format!("/{api}")})),
        ));
        changes.push(bind(&format!("acme/{api}"), &api, "production"));
        changes.extend(caller(&format!("acme/caller-{number}"), &api));
    }
    assert!(units(&mut world, changes) >= 5 * MANY);
    world
}

#[test]
fn a_change_costs_what_it_affects() {
    let mut world = crowded();
    let digest = hanse_management::Digest::of(b"another").to_string();
    let selector = json!({"names": ["eu"]});
    for (what, changes, most) in [
        (
            "a credential",
            vec![put("Credential", "acme/caller-7", json!({"application": "caller-7", "digest": digest}))],
            1,
        ),
        ("a plan", vec![put("Plan", "acme/caller-7", json!({}))], 1),
        ("a new caller", caller("acme/new", "api-3"), 3),
        (
            "an Api: route, two embedded upstreams",
            vec![put("Api", "acme/api-3", with(orders(), json!({"context": "/x"})))],
            3,
        ),
        (
            "a Binding that leaves a region: route, embedded upstream, subscription",
            vec![put(
                "Binding",
                "acme/api-3",
                json!({"api": "api-3", "environment": "production", "regions": selector}),
            )],
            4,
        ),
        (
            "a hostname",
            vec![put(
                "Environment",
                "production",
                json!({"regions": ["eu", "us"], "hostnames": ["a.example"]}),
            )],
            1,
        ),
        ("a label nobody selects", vec![labelled(put("Region", "us", json!({})), &[("tier", "core")])], 0),
        (
            "an unused upstream",
            vec![put("Upstream", "acme/idle", json!({"endpoints": [{"url": "http://idle:80"}]}))],
            1,
        ),
        (
            "a key, in scopes of another kind",
            vec![put("Application", "acme/caller-7", json!({"displayName": "d"}))],
            1,
        ),
        ("one more Binding of the organization", vec![bind("acme/orders", "orders", "production")], 2),
    ] {
        let units = units(&mut world, changes);
        assert!(units <= most, "{what}: {units} units");
    }
}

#[test]
fn the_first_binding_of_an_organization_in_a_scope_brings_its_callers_and_no_more() {
    let mut world = crowded();
    assert_eq!(units(&mut world, vec![put("Environment", "sandbox", json!({"regions": ["eu"]}))]), 1);
    // Plans and credentials; route, embedded upstream, subscription.
    assert_eq!(units(&mut world, vec![bind("acme/trial", "api-3", "sandbox")]), 2 * MANY + 3);
}

#[test]
fn what_answers_are_made_of_costs_a_unit_a_zone_and_one_for_each_host_that_it_reaches() {
    const ZONES: usize = 3;
    let mut world = crowded();
    let zone = |number: usize| {
        let spec = json!({
            "origin": format!("z{number}.example"), "contact": "dns@example.com", "nameServers": [{"name": "ns.example.net"}],
        });
        put("DnsZone", &format!("z{number}"), spec)
    };
    let host = |number: usize, environment: &str| {
        let host = format!("h{number}.z0.example");
        put(
            "GlobalHost",
            &format!("h{number}"),
            json!({"host": host, "zone": "z0", "environment": environment}),
        )
    };
    let mut changes: Vec<Change> = (0..ZONES).map(zone).collect();
    changes.push(put("Environment", "sandbox", json!({"regions": ["eu"]})));
    changes.extend((0..MANY).map(|number| host(number, "production")));
    changes.push(host(MANY, "sandbox"));
    units(&mut world, changes);
    let regions = json!({"regions": ["eu"], "addresses": {"eu": ["192.0.2.1"]}});
    let plan = json!({"hosts": ["h3", "h4"], "active": "eu", "standby": ["us"]});
    for (what, changes, expected) in [
        ("no answer", vec![bind("acme/orders", "orders", "production")], 2),
        (
            "an address of an Environment with one host: its listener, too",
            vec![put("Environment", "sandbox", regions)],
            ZONES + 2,
        ),
        ("a host", vec![host(7, "sandbox")], ZONES + 1),
        ("a zone", vec![zone(1)], 0),
        ("a plan of two hosts", vec![put("FailoverPlan", "p", plan)], ZONES + 2),
        (
            "a Drain: the hosts of its region",
            vec![put("Drain", "us", json!({"reason": "test"}))],
            ZONES + MANY - 1,
        ),
        ("a region that nothing lists", vec![put("Region", "ap", json!({}))], ZONES + MANY + 1),
    ] {
        assert_eq!(units(&mut world, changes), expected, "{what}");
    }
}
