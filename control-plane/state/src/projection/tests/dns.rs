//! Zones and hosts in the scopes of responders.

use hanse_proto::runtime::step::Step as Wire;
use hanse_runtime::ResourceKind;

use super::*;

/// The name of the zone.
const ORIGIN: &str = "gslb.example.com";

pub(super) fn dns(region: &str) -> ScopeId {
    ScopeId::Dns { region: name(region) }
}

/// DnsZone `gslb` in the regions of a selector; `null`: in all.
pub(super) fn gslb(regions: Value) -> Change {
    let mut spec = json!({
        "origin": ORIGIN, "contact": "dns@example.com",
        "nameServers": [{"name": "ns1.gslb.example.com", "addresses": ["192.0.2.53", "2001:db8::53"]}],
    });
    if !regions.is_null() {
        spec["regions"] = regions;
    }
    put("DnsZone", "gslb", spec)
}

/// A GlobalHost of `gslb` and `production`.
pub(super) fn host(own: &str, policy: Value) -> Change {
    let host = format!("{own}.{ORIGIN}");
    put(
        "GlobalHost",
        own,
        json!({"host": host, "zone": "gslb", "environment": "production", "policy": policy}),
    )
}

pub(super) fn plan(hosts: &[&str]) -> Change {
    put(
        "FailoverPlan",
        "orders",
        json!({"hosts": hosts, "active": "eu", "standby": ["us"], "steps": [30, 100]}),
    )
}

pub(super) fn failover(serving: &[(&str, u32)], step: u32, reason: &str) -> Change {
    let serving: Vec<Value> =
        serving.iter().map(|(region, percent)| json!({"region": region, "percent": percent})).collect();
    let spec = json!({"serving": serving, "to": "us", "steps": [30, 100], "step": step, "stepEvery": "30s", "reason": reason});
    put("Failover", "orders", spec)
}

/// Zone `gslb` with host `orders`, in regions `eu` and `us`.
fn world() -> World {
    let mut world = World::with_orders();
    world.accept(vec![gslb(json!(null)), host("orders", json!([]))]);
    world
}

/// A resource of the scope of `eu`. A responder can use it.
fn read(world: &World, key: &str) -> Runtime {
    let bytes = world.content[&dns("eu")][key].clone();
    let kind = ResourceKind::of_key(key).unwrap();
    #[expect(clippy::disallowed_methods, reason = "as a responder does it")]
    let checked = hanse_runtime::check(kind, &bytes);
    assert!(checked.is_ok(), "{key}: {checked:?}");
    runtime::Resource::decode(bytes).unwrap().kind.unwrap()
}

fn zone(world: &World) -> runtime::Zone {
    let Runtime::Zone(zone) = read(world, "zone/gslb") else { panic!() };
    zone
}

fn global_host(world: &World, own: &str) -> runtime::GlobalHost {
    let Runtime::GlobalHost(host) = read(world, &format!("host/{own}")) else { panic!() };
    host
}

/// The percents of the candidates and the decisions, in their order.
fn shares(world: &World, own: &str) -> Vec<(String, u32, String)> {
    let candidates = global_host(world, own).candidates.into_iter();
    candidates.map(|candidate| (candidate.region, candidate.percent, candidate.why)).collect()
}

fn shares_are(world: &World, own: &str, expected: &[(&str, u32, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(region, percent, why)| ((*region).to_owned(), *percent, (*why).to_owned()))
        .collect();
    assert_eq!(shares(world, own), expected, "{own}");
}

#[test]
fn a_zone_is_as_it_was_written_with_the_epoch_of_the_state() {
    let mut world = world();
    let revision = world.state.revision();
    assert_eq!(world.state.dns_revision(), revision);
    let written = zone(&world);
    assert_eq!((&*written.name, &*written.origin, &*written.contact), ("gslb", ORIGIN, "dns@example.com"));
    assert_eq!((written.negative_ttl_s, written.serial), (30, u32::try_from(revision).unwrap()));
    assert_eq!(written.epoch, Some(runtime::Epoch { generation: 1, revision }));
    let server = &written.name_servers[0];
    assert_eq!(server.addresses.iter().map(Bytes::len).collect::<Vec<_>>(), [4, 16]);
    assert_eq!((written.secondaries.len(), &written.publish), (0, &None));

    let mut copied = gslb(json!(null));
    if let Action::Put { spec: Spec::DnsZone(spec), .. } = &mut copied.action {
        let spec_of = json!({
            "origin": ORIGIN, "contact": "dns@example.com", "negativeTtl": "5s",
            "nameServers": [{"name": "ns.example.net"}],
            "secondaries": [{"address": "192.0.2.9:53", "key": "to-bind"}],
            "publish": {"server": "[2001:db8::1]:53", "key": "to-knot", "from": ["us", "eu"]},
        });
        *spec = serde_json::from_value(spec_of).unwrap();
    }
    let addresses = json!({"eu": ["192.0.2.1"], "us": ["192.0.2.2"]});
    let environment = json!({"regions": ["eu", "us"], "addresses": addresses});
    world.accept(vec![put("Environment", "production", environment), copied]);
    let written = zone(&world);
    let secondary = &written.secondaries[0];
    assert_eq!((&*secondary.address, &*secondary.key), ("192.0.2.9:53", "to-bind"));
    let publish = written.publish.unwrap();
    assert_eq!((&*publish.server, &*publish.key), ("[2001:db8::1]:53", "to-knot"));
    assert_eq!((publish.from, written.negative_ttl_s), (vec!["us".to_owned(), "eu".to_owned()], 5));
    assert_eq!(written.serial, u32::try_from(revision + 1).unwrap());
}

#[test]
fn a_zone_with_its_hosts_is_in_the_regions_that_it_selects() {
    let mut world = world();
    let held = |world: &World| -> Vec<String> {
        let scopes = world.content.iter().filter(|(scope, _)| matches!(scope, ScopeId::Dns { .. }));
        scopes
            .map(|(scope, content)| {
                format!("{scope}: {}", content.keys().cloned().collect::<Vec<_>>().join(" "))
            })
            .collect()
    };
    let check = |world: &mut World, changes: Vec<Change>, expected: &[&str]| {
        world.accept(changes);
        assert_eq!(held(world), expected);
    };
    let (eu, us) = ("dns/eu: host/orders zone/gslb", "dns/us: host/orders zone/gslb");
    check(&mut world, vec![], &[eu, us]);
    check(&mut world, vec![gslb(json!({"names": ["eu"]}))], &[eu]);
    check(&mut world, vec![gslb(json!({"labels": {"tier": "edge"}}))], &[eu]);
    check(&mut world, vec![labelled(put("Region", "us", json!({})), &[("tier", "edge")])], &[eu, us]);
    check(&mut world, vec![put("Region", "eu", json!({}))], &[us]);
    check(&mut world, vec![gslb(json!({"names": ["eu"], "labels": {"tier": "edge"}}))], &[eu, us]);
    // A region that is not of the Environment has the zone all the same.
    let ap = "dns/ap: host/orders zone/gslb";
    check(&mut world, vec![gslb(json!(null)), put("Region", "ap", json!({}))], &[ap, eu, us]);
    check(
        &mut world,
        vec![delete("GlobalHost", "orders")],
        &["dns/ap: zone/gslb", "dns/eu: zone/gslb", "dns/us: zone/gslb"],
    );
    check(&mut world, vec![gslb(json!({"labels": {"tier": "core"}}))], &[]);
    check(
        &mut world,
        vec![gslb(json!(null))],
        &["dns/ap: zone/gslb", "dns/eu: zone/gslb", "dns/us: zone/gslb"],
    );
    check(&mut world, vec![delete("DnsZone", "gslb")], &[]);
}

#[test]
fn a_host_moves_with_its_zone() {
    let mut world = world();
    let other = json!({
        "origin": "other.example", "contact": "dns@example.com", "regions": {"names": ["us"]},
        "nameServers": [{"name": "ns.example.net"}],
    });
    world.accept(vec![put("DnsZone", "other", other)]);
    let moved = json!({"host": "orders.other.example", "zone": "other", "environment": "production"});
    world.accept(vec![put("GlobalHost", "orders", moved)]);
    let keys = |region: &str| world.content[&dns(region)].keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(keys("eu"), ["zone/gslb"]);
    assert_eq!(keys("us"), ["host/orders", "zone/gslb", "zone/other"]);
}

#[test]
fn a_candidate_has_the_addresses_and_the_place_that_operators_wrote() {
    let mut world = world();
    let location =
        json!({"latitude": 53.349_805, "longitude": -6.260_31, "country": "IE", "continent": "EU"});
    let addresses = json!({"eu": ["192.0.2.1", "2001:db8::1"]});
    world.accept(vec![put("Region", "eu", json!({"location": location}))]);
    world.accept(vec![put(
        "Environment",
        "production",
        json!({"regions": ["us", "eu"], "addresses": addresses}),
    )]);
    let candidates = global_host(&world, "orders").candidates;
    assert_eq!(candidates.iter().map(|one| &*one.region).collect::<Vec<_>>(), ["eu", "us"], "by name");
    let octets: Vec<Vec<u8>> = candidates[0].addresses.iter().map(|octets| octets.to_vec()).collect();
    let six = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    assert_eq!(octets, [vec![192, 0, 2, 1], six]);
    let spot = runtime::Spot {
        latitude_e6: 53_349_805,
        longitude_e6: -6_260_310,
        country: "IE".to_owned(),
        continent: "EU".to_owned(),
    };
    assert_eq!(candidates[0].spot, Some(spot));
    assert_eq!((candidates[1].addresses.len(), &candidates[1].spot), (0, &None));
    world.accept(vec![put("Region", "eu", json!({}))]);
    assert_eq!(global_host(&world, "orders").candidates[0].spot, None);
    world.accept(vec![put("Environment", "production", json!({"regions": ["us"]}))]);
    shares_are(&world, "orders", &[("us", 100, "")]);
}

#[test]
fn the_steps_of_a_policy_are_in_their_order() {
    let mut world = world();
    let policy = json!([
        {"origin": {"rules": [{"cidr": "10.0.0.0/8", "regions": ["eu"]}, {"cidr": "fd00::/8", "regions": ["us", "eu"]}]}},
        {"geo": {"default": ["us"]}},
        {"weighted": {"us": 1, "eu": 3}},
        {"failover": {"order": ["us", "eu"]}},
        {"multivalue": {"count": 2}},
    ]);
    world.accept(vec![host("orders", policy)]);
    let written = global_host(&world, "orders");
    assert_eq!(
        (written.ttl_s, &*written.host, &*written.environment),
        (30, "orders.gslb.example.com", "production")
    );
    let shown: Vec<String> = written
        .steps
        .into_iter()
        .map(|step| match step.step.unwrap() {
            Wire::Failover(order) => format!("failover {}", order.names.join(",")),
            Wire::Geo(default) => format!("geo {}", default.names.join(",")),
            Wire::Multivalue(count) => format!("multivalue {count}"),
            Wire::Weighted(weights) => {
                let one = |weight: &runtime::RegionWeight| format!("{}={}", weight.region, weight.weight);
                format!("weighted {}", weights.weights.iter().map(one).collect::<Vec<_>>().join(","))
            }
            Wire::Origin(origin) => {
                let one = |rule: &runtime::OriginRule| {
                    let network = rule.network.as_ref().unwrap();
                    format!("{}/{}={}", network.address.len(), network.length, rule.regions.join("+"))
                };
                format!("origin {}", origin.rules.iter().map(one).collect::<Vec<_>>().join(","))
            }
        })
        .collect();
    assert_eq!(
        shown,
        ["origin 4/8=eu,16/8=us+eu", "geo us", "weighted eu=3,us=1", "failover us,eu", "multivalue 2"]
    );
}

#[test]
fn a_plan_a_failover_and_a_drain_decide_about_percents() {
    let mut world = world();
    world.accept(vec![host("free", json!([]))]);
    let everywhere: &[(&str, u32, &str)] = &[("eu", 100, ""), ("us", 100, "")];
    shares_are(&world, "orders", everywhere);
    world.accept(vec![plan(&["orders"])]);
    shares_are(&world, "orders", &[("eu", 100, ""), ("us", 0, "FailoverPlan orders has its hosts in eu")]);
    shares_are(&world, "free", everywhere);

    let (at, done) = ("FailoverPlan orders, step 1 of 2: test", "FailoverPlan orders, step 2 of 2: test");
    world.accept(vec![failover(&[("eu", 70), ("us", 30)], 0, "test")]);
    shares_are(&world, "orders", &[("eu", 70, at), ("us", 30, at)]);
    world.accept(vec![failover(&[("us", 100)], 1, "test")]);
    shares_are(&world, "orders", &[("eu", 0, done), ("us", 100, "")]);

    world.accept(vec![put("Drain", "eu", json!({"reason": "new kernels"}))]);
    shares_are(&world, "orders", &[("eu", 0, "drained: new kernels"), ("us", 100, "")]);
    shares_are(&world, "free", &[("eu", 0, "drained: new kernels"), ("us", 100, "")]);
    world.accept(vec![delete("Drain", "eu")]);
    shares_are(&world, "free", everywhere);

    // A host that comes to the plan is served where the plan's hosts are.
    world.accept(vec![delete("GlobalHost", "orders"), plan(&["free"])]);
    shares_are(&world, "free", &[("eu", 0, done), ("us", 100, "")]);
}

#[test]
fn what_answers_are_made_of_raises_the_serial_and_nothing_else_does() {
    let mut world = world();
    world.accept(vec![plan(&["orders"])]);
    let bytes = world.content[&dns("eu")]["zone/gslb"].len();
    assert!((100..200).contains(&bytes), "docs/protocol.md says what a command costs: {bytes} bytes");
    let mut check = |change: Change, raises: bool| {
        let (before, what) = (zone(&world), change.key.to_string());
        let changes = world.accept(vec![change]);
        let after = zone(&world);
        let revision = world.state.revision();
        if raises {
            assert_eq!(after.epoch, Some(runtime::Epoch { generation: 1, revision }), "{what}");
            assert_eq!(after.serial, u32::try_from(revision).unwrap(), "{what}");
            let told = |scope: &ScopeId| changes.iter().any(|change| change.scope == *scope);
            assert!(told(&dns("eu")) && told(&dns("us")), "{what}");
        } else {
            assert_eq!(after, before, "{what}");
        }
    };
    check(labelled(put("Region", "us", json!({})), &[("a", "b")]), true);
    check(put("Environment", "sandbox", json!({"regions": ["eu"]})), true);
    check(host("more", json!([])), true);
    check(plan(&["orders", "more"]), true);
    check(failover(&[("us", 100)], 1, "test"), true);
    check(put("Drain", "eu", json!({"reason": "test"})), true);
    check(delete("Drain", "eu"), true);
    check(gslb(json!({"names": ["eu", "us"]})), true);
    check(put("Upstream", "acme/backend", json!({"endpoints": [{"url": "http://new:80"}]})), false);
    check(bind("acme/orders", "orders", "production"), false);
    check(plan(&["orders", "more"]), false); // as it is there already
}

#[test]
fn what_came_and_went_is_unknown_and_what_changed_back_is_named() {
    let mut world = world();
    let step = |world: &mut World, changes: Vec<Change>| {
        for change in changes {
            let outcome = world.apply(vec![change]);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        }
        world.advance();
        world.projection.last_between(&dns("eu")).clone()
    };
    let drained = vec![put("Drain", "eu", json!({"reason": "test"})), delete("Drain", "eu")];
    let touched = Between::Touched(vec!["zone/gslb".into(), "host/orders".into()]);
    assert_eq!(step(&mut world, drained), touched);
    let passing = vec![host("passing", json!([])), delete("GlobalHost", "passing")];
    assert_eq!(step(&mut world, passing), Between::Unknown);
}
