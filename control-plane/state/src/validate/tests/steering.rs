//! Zones, hosts, plans and decisions: what must hold between them.

use hanse_management::{ProblemName, Spec};

use crate::{
    ChangeResult, CommandBody, Outcome,
    admission::{Seal, Writer, admit},
    fixture::{Masks, World, changes, delete, key, told},
};

const ZONE: &str = "{kind: DnsZone, name: gslb, spec: {origin: gslb.example.com, nameServers: [{name: ns.example.net}], contact: dns@example.com}}";
const COPIED: &str = "{kind: DnsZone, name: gslb, spec: {origin: gslb.example.com, nameServers: [{name: ns.example.net}], \
                      contact: dns@example.com, secondaries: [{address: '192.0.2.9:53', key: to-bind}]}}";
const HOST: &str = "{kind: GlobalHost, name: orders, spec: {host: orders.gslb.example.com, zone: gslb, environment: production}}";
const PLAN: &str =
    "{kind: FailoverPlan, name: orders, spec: {hosts: [orders], active: eu-west, standby: [us-east]}}";
const ADDRESSED: &str = "{kind: Environment, name: production, spec: {regions: [eu-west, us-east], \
                         addresses: {eu-west: [192.0.2.1], us-east: [192.0.2.2]}}}";

/// A zone, a host and a plan.
fn planned() -> World {
    World::with_orders().with(ZONE).with(HOST).with(PLAN)
}

fn host(name: &str, more: &str) -> String {
    format!("{{kind: GlobalHost, name: {name}, spec: {{zone: gslb, {more}}}}}")
}

/// All of the plan's clients in a region.
fn failover(region: &str) -> String {
    decided(&format!("{{region: {region}, percent: 100}}"), &format!("to: {region}, steps: [100], step: 0"))
}

fn decided(serving: &str, more: &str) -> String {
    format!(
        "{{kind: Failover, name: orders, spec: {{serving: [{serving}], stepEvery: 30s, reason: r, {more}}}}}"
    )
}

const OVER: &str = "us-east";

#[test]
fn a_host_is_in_its_zone_and_no_other_one_has_its_name() {
    let world = planned();
    for (given, expected) in [
        (
            host("x", "host: x.example.com, environment: production"),
            "GlobalHost x: spec.host: x.example.com is not in DnsZone gslb, which has gslb.example.com and the names below it \
             (write a name such as orders.gslb.example.com, or name another zone)",
        ),
        (
            host("x", "host: orders.gslb.example.com, environment: production"),
            "GlobalHost x: spec.host: GlobalHost orders answers for orders.gslb.example.com already",
        ),
        (
            host("x", "host: x.gslb.example.com, environment: none"),
            "GlobalHost x: spec.environment: Environment none does not exist",
        ),
        (
            ZONE.replace("origin: gslb", "origin: other"),
            "GlobalHost orders: spec.host: orders.gslb.example.com is not in DnsZone gslb",
        ),
        (
            ZONE.replace("name: gslb", "name: inner").replace("origin: gslb", "origin: a.gslb"),
            "DnsZone inner: spec.origin: a.gslb.example.com and gslb.example.com of DnsZone gslb have names in common",
        ),
        (
            ZONE.replace("name: gslb", "name: outer").replace("origin: gslb.", "origin: "),
            "DnsZone outer: spec.origin: example.com and gslb.example.com of DnsZone gslb have names in common",
        ),
        (ZONE.replace("name: gslb", "name: same"), "DnsZone same: spec.origin: "),
    ] {
        world.check(&given, expected);
    }
    world.clone().put(&host("apex", "host: gslb.example.com, environment: production"));
    world.clone().put(&ZONE.replace("name: gslb", "name: beside").replace("origin: gslb", "origin: glb"));
}

#[test]
fn a_host_is_answered_with_regions_of_its_environment() {
    let world = planned().with("{kind: Region, name: ap-south}");
    world.check(
        &host("x", "host: x.gslb.example.com, environment: production, policy: [{multivalue: {count: 1}}, {geo: {default: [ap-south]}}]"),
        "GlobalHost x: spec.policy[1].geo: Environment production is not in region ap-south; it is in eu-west, us-east",
    );
    world.check(
        &host("x", "host: x.gslb.example.com, environment: production, policy: [{weighted: {nowhere: 1}}]"),
        "GlobalHost x: spec.policy[0].weighted: Region nowhere does not exist",
    );
    let policy = host(
        "orders",
        "host: orders.gslb.example.com, environment: production, policy: [{geo: {default: [us-east]}}]",
    );
    world.clone().with(&policy).check(
        "{kind: Environment, name: production, spec: {regions: [eu-west]}}",
        "GlobalHost orders: spec.policy[0].geo: Environment production is not in region us-east; it is in eu-west",
    );
    world.check(
        "{kind: Environment, name: production, spec: {regions: []}}",
        "GlobalHost orders: spec.environment: Environment production is in no region, and every answer needs one",
    );
}

#[test]
fn a_zone_that_is_copied_needs_an_address_for_each_region() {
    let world = planned();
    let expected = "GlobalHost orders: spec.environment: addresses-required: DnsZone gslb is copied to other DNS servers, which know \
                    no other addresses than those of Environment production, and it has none for eu-west, us-east (add these regions";
    world.check(COPIED, expected);
    let mut copied = world.clone().with(ADDRESSED).with(COPIED);
    for fewer in ["", "addresses: {eu-west: [192.0.2.1]}"] {
        let environment = format!(
            "{{kind: Environment, name: production, spec: {{regions: [eu-west, us-east], {fewer}}}}}"
        );
        copied.check(&environment, "GlobalHost orders: spec.environment: addresses-required: ");
    }
    copied.check(
        &host("x", "host: x.gslb.example.com, environment: sandbox"),
        "GlobalHost x: spec.environment: addresses-required: ",
    );
    copied.put(
        "{kind: Environment, name: sandbox, spec: {regions: [us-east], addresses: {us-east: [192.0.2.2]}}}",
    );
    copied.put(&host("x", "host: x.gslb.example.com, environment: sandbox"));
    let publish = COPIED.replace(
        "secondaries: [{address: '192.0.2.9:53', key: to-bind}]",
        "publish: {server: '192.0.2.9:53', key: k, from: [eu-west]}",
    );
    world.check(&publish, "GlobalHost orders: spec.environment: addresses-required: ");
}

#[test]
fn a_host_without_address_or_owner_is_told() {
    let warned = |world: &World| -> Vec<String> {
        let warnings = world.state.warnings(&key("GlobalHost orders"), None);
        warnings.iter().map(|one| format!("{}: {}", one.field, one.detail)).collect()
    };
    let owner =
        |world: &World| world.state.owner_of_global_host(&key("GlobalHost orders")).map(str::to_owned);
    let mut world = planned();
    assert_eq!(
        warned(&world),
        [
            "spec.environment: no-address-known: Environment production has no address for eu-west, us-east: add it to its `addresses`",
            "spec.host: no Organization owns orders.gslb.example.com in Environment production: grant it with a HostGrant",
        ]
    );
    assert_eq!(owner(&world), None);
    let accepted = world.put(ADDRESSED);
    let reached = world.state.unserved_after(&world.state, &accepted.changes, 20, None);
    assert_eq!(
        reached.iter().filter(|one| one.key == key("GlobalHost orders")).count(),
        1,
        "it is told with its Environment"
    );
    world.put("{kind: HostGrant, name: part, spec: {environments: [production], host: orders.gslb.example.com, pathPrefix: /x, organization: default}}");
    assert_eq!((owner(&world), warned(&world).len()), (None, 1), "a part of the host is not the host");
    world.put("{kind: HostGrant, name: all, spec: {environments: [production], host: '*.gslb.example.com', organization: default}}");
    assert_eq!((owner(&world).as_deref(), warned(&world).len()), (Some("default"), 0));
    world.put("{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: [a.example], addresses: {eu-west: [192.0.2.1]}}}".replace("[eu-west],", "[eu-west, us-east],").replace("{eu-west: [192.0.2.1]}", "{eu-west: [192.0.2.1], us-east: [192.0.2.2]}").as_str());
    let hosts = "spec.host: Environment production does not answer to orders.gslb.example.com: add it to the `hostnames` of the Environment";
    assert_eq!(warned(&world)[0], hosts);
}

#[test]
fn a_plan_has_hosts_of_one_environment_that_no_other_rule_moves() {
    let world = planned()
        .with("{kind: Region, name: ap-south}")
        .with(&host("a", "host: a.gslb.example.com, environment: production"))
        .with(&host("s", "host: s.gslb.example.com, environment: sandbox"))
        .with(&host(
            "f",
            "host: f.gslb.example.com, environment: production, policy: [{failover: {order: [eu-west]}}]",
        ));
    let plan = |more: &str| {
        format!("{{kind: FailoverPlan, name: other, spec: {{active: eu-west, standby: [us-east], {more}}}}}")
    };
    for (given, expected) in [
        (plan("hosts: [none]"), "FailoverPlan other: spec.hosts[0]: GlobalHost none does not exist"),
        (
            plan("hosts: [a, s]"),
            "FailoverPlan other: spec.hosts[1]: GlobalHost s is of Environment sandbox, and a of Environment production",
        ),
        (
            plan("hosts: [orders]"),
            "FailoverPlan other: spec.hosts: FailoverPlan orders has GlobalHost orders already",
        ),
        (
            plan("hosts: [f]"),
            "FailoverPlan other: spec.hosts[0]: GlobalHost f has the step `failover`, which decides beside the plan",
        ),
        (
            plan("hosts: [a]").replace("[us-east]", "[us-east, ap-south]"),
            "FailoverPlan other: spec.standby[1]: Environment production is not in region ap-south; it is in eu-west, us-east",
        ),
        (
            plan("hosts: [a]").replace("active: eu-west", "active: ap-south"),
            "FailoverPlan other: spec.active: Environment production is not in region ap-south",
        ),
        (
            plan("hosts: [a], probe: {url: 'http://orders.gslb.example.com:8080/x'}"),
            "FailoverPlan other: spec.probe.url: \"orders.gslb.example.com\" is the host of no GlobalHost of the plan (ask for one of a.gslb",
        ),
        // The hosts change under the plan.
        (
            host(
                "orders",
                "host: orders.gslb.example.com, environment: production, policy: [{failover: {order: [us-east]}}]",
            ),
            "FailoverPlan orders: spec.hosts[0]: GlobalHost orders has the step `failover`",
        ),
        (
            "{kind: Environment, name: production, spec: {regions: [eu-west]}}".to_owned(),
            "FailoverPlan orders: spec.standby[0]: Environment production is not in region us-east; it is in eu-west",
        ),
    ] {
        // The host with a failover step names eu-west alone, so only the plan is wrong.
        world.check(&given, expected);
    }
    world.clone().put(&plan("hosts: [a], probe: {url: 'http://a.gslb.example.com:8080/x'}"));
}

#[test]
fn a_failover_has_the_hosts_in_regions_of_its_plan() {
    let world = planned().with("{kind: Region, name: ap-south}");
    world.check(
        &failover("ap-south"),
        "Failover orders: spec.serving[0].region: ap-south is no region of FailoverPlan orders",
    );
    world.check(
        &failover(OVER).replace("name: orders", "name: none"),
        "Failover none: name: FailoverPlan none does not exist",
    );
    let over = world.clone().with(&failover(OVER));
    let wide = "{kind: Environment, name: production, spec: {regions: [eu-west, us-east, ap-south]}}";
    over.clone().with(wide).check(
        "{kind: FailoverPlan, name: orders, spec: {hosts: [orders], active: eu-west, standby: [ap-south]}}",
        "FailoverPlan orders: spec.standby: its hosts are served in us-east now, which would be no region of it (keep us-east in",
    );
}

#[test]
fn what_is_referred_to_is_not_deleted() {
    let world = planned();
    for (gone, expected) in [
        ("DnsZone gslb", "DnsZone gslb: DnsZone gslb is used by GlobalHost orders"),
        (
            "GlobalHost orders",
            "GlobalHost orders: GlobalHost orders is used by FailoverPlan orders (take it out of FailoverPlan orders",
        ),
        (
            "Environment production",
            "Environment production: Environment production is used by GlobalHost orders",
        ),
        ("Region us-east", "Region us-east: "),
    ] {
        let problem = world.clone().delete(gone, false).unwrap_err();
        assert_eq!(problem.name, ProblemName::InUse, "{gone}");
        assert!(problem.to_string().starts_with(expected), "{problem}");
    }
}

#[test]
fn a_failover_is_one_that_could_have_been_decided() {
    let world = planned().with("{kind: Drill, name: orders-1, spec: {plan: orders, phase: hold, reason: r}}");
    let half = "{region: eu-west, percent: 50}, {region: us-east, percent: 50}";
    world.clone().put(&decided(half, "to: us-east, steps: [10, 50, 100], step: 1, drill: orders-1"));
    let ten = "{region: eu-west, percent: 90}, {region: us-east, percent: 10}";
    for (given, expected) in [
        (
            decided("", "to: us-east, steps: [100], step: 0"),
            "serving: []; give regions in the order of their names",
        ),
        (decided(half, "to: us-east, steps: [50], step: 0"), "steps: [50]; "),
        (decided(half, "to: us-east, steps: [50, 100], step: 2"), "step: 2 is no place in 2 steps"),
        (
            decided(ten, "to: eu-west, steps: [10, 100], step: 0"),
            "to: eu-west serves 90 percent, and step 0 is at 10",
        ),
        (
            decided(
                "{region: us-east, percent: 50}, {region: eu-west, percent: 50}",
                "to: us-east, steps: [50, 100], step: 0",
            ),
            "serving: [us-east 50, eu-west 50]; give regions in the order",
        ),
    ] {
        world.check(&given, &format!("Failover orders: spec: {expected}"));
    }
    world.check(
        &decided(half, "to: us-east, steps: [50, 100], step: 0, drill: orders-2"),
        "Failover orders: spec.drill: Drill orders-2 does not exist",
    );
}

#[test]
fn a_plan_takes_its_decisions_with_it() {
    let mut world = planned()
        .with(&failover("us-east"))
        .with("{kind: Drill, name: orders-1, spec: {plan: orders, phase: done, reason: r}}")
        .with("{kind: Drain, name: eu-west, spec: {reason: r, forced: f}}");
    // The hosts go, too.
    let all = vec![delete("FailoverPlan orders", false), delete("GlobalHost orders", false)];
    world.clone().change(all).unwrap();
    // The other region is drained, so clients stay where they are.
    let deleted = world.delete("FailoverPlan orders", false).unwrap();
    assert_eq!(
        told(&deleted),
        ["deleted FailoverPlan orders 0", "deleted Failover orders 0", "deleted Drill orders-1 0"]
    );
    assert!(deleted.changes.iter().all(|change| change.action == ChangeResult::DELETED));
}

#[test]
fn no_manifest_moves_clients() {
    let world = planned()
        .with("{kind: Region, name: ap-south}")
        .with("{kind: Environment, name: production, spec: {regions: [ap-south, eu-west, us-east]}}")
        .with(&host("pay", "host: pay.gslb.example.com, environment: production"))
        .with(&PLAN.replace("[orders]", "[orders, pay]"));
    let over = world.clone().with(&failover("us-east"));
    let plan = |hosts: &str, active: &str, standby: &str| {
        format!(
            "{{kind: FailoverPlan, name: orders, spec: {{hosts: [{hosts}], active: {active}, standby: [{standby}]}}}}"
        )
    };
    let both = "orders, pay";
    // Without a decision, the active region serves.
    world.check(
        &plan(both, "us-east", "eu-west"),
        "FailoverPlan orders: spec.active: no manifest moves clients: FailoverPlan orders has GlobalHost orders in eu-west (100%), and this \
         would lead its clients to us-east (100%) (lead them there with a failover of FailoverPlan orders first)",
    );
    // A host that leaves its plan is served in all regions.
    over.check(
        &plan("orders", "eu-west", "us-east"),
        "FailoverPlan orders: spec.hosts: no manifest moves clients: FailoverPlan orders has GlobalHost pay in us-east (100%), and this \
         would lead its clients to ap-south, eu-west, us-east (give the host to another plan that has it in the same regions",
    );
    for world in [&world, &over] {
        let problem = world.clone().delete("FailoverPlan orders", true).unwrap_err();
        assert_eq!(
            (problem.name, &*problem.field),
            (ProblemName::Conflict, "FailoverPlan orders: spec.hosts")
        );
        // It comes back with the decision, or with none.
        let mut world = world.clone();
        if world.has("Failover orders") {
            let problem = world.delete("Failover orders", false).unwrap_err();
            assert_eq!(problem.field, "FailoverPlan orders: spec.active");
        }
    }
    // Another plan that has it in the same region.
    let other = plan("pay", "us-east", "eu-west").replace("name: orders", "name: pay");
    over.clone().put(&format!("{}\n---\n{other}", plan("orders", "eu-west", "us-east")));
    let elsewhere = plan("pay", "eu-west", "us-east").replace("name: orders", "name: pay");
    over.check(
        &format!("{}\n---\n{elsewhere}", plan("orders", "eu-west", "us-east")),
        "FailoverPlan orders: spec.hosts: no manifest moves clients",
    );
    // A change that moves no clients is free.
    for free in [
        plan(both, "us-east", "eu-west"),
        plan(both, "eu-west", "ap-south, us-east"),
        plan(both, "eu-west", "us-east")
            .replace("standby", "steps: [50, 100], objectives: {rto: 60s}, standby"),
        host("orders", "host: orders.gslb.example.com, environment: production, ttl: 5s"),
    ] {
        over.clone().put(&free);
    }
    world.clone().put(&failover("us-east"));
}

const DRAIN: &str = "{kind: Drain, name: eu-west, spec: {reason: maintenance}}";

#[test]
fn a_drain_leaves_every_host_a_region() {
    let world = planned();
    let problem = world.refused(DRAIN);
    assert_eq!(
        problem.to_string(),
        "Drain eu-west: no region would serve orders.gslb.example.com (GlobalHost orders): FailoverPlan orders has it in eu-west, \
         which is drained (fail FailoverPlan orders over to a region that is not drained first)"
    );
    let drained = world.clone().with(&failover(OVER)).with(DRAIN);
    let back = failover("eu-west");
    drained.check(&back, "GlobalHost orders: no region would serve orders.gslb.example.com");
    drained.check(
        &host("x", "host: x.gslb.example.com, environment: production, policy: []")
            .replace("production", "lone"),
        "GlobalHost x: spec.environment: Environment lone does not exist",
    );
    let other = DRAIN.replace("eu-west", "us-east").replace("maintenance", "maintenance, forced: f");
    drained.check(&other, "Drain us-east: no region would serve orders.gslb.example.com (GlobalHost orders)");
    // Without a plan, each region of the Environment serves.
    let free = World::with_orders().with(ZONE).with(HOST).with(DRAIN);
    free.check(
        &other,
        "Drain us-east: no region would serve orders.gslb.example.com (GlobalHost orders): all of its Environment's are drained, \
         eu-west, us-east (end a drain",
    );
    free.check(
        "{kind: Environment, name: production, spec: {regions: [eu-west]}}",
        "GlobalHost orders: no region would serve",
    );
    free.check(PLAN, "GlobalHost orders: no region would serve");
    // A Region takes its Drain with it.
    let mut lone =
        World::new().with("{kind: Region, name: ap-south}").with(&DRAIN.replace("eu-west", "ap-south"));
    let gone = lone.delete("Region ap-south", false).unwrap();
    assert_eq!(told(&gone), ["deleted Region ap-south 0", "deleted Drain ap-south 0"]);
}

#[test]
fn a_drain_of_the_only_region_of_a_binding_needs_force() {
    let one = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {names: [eu-west]}}}";
    let world = World::with_orders().with(one);
    world.check(DRAIN, "Drain eu-west: served in no region but eu-west that is not drained: Binding default/orders-production (serve these Bindings in");
    world.clone().put(&DRAIN.replace("eu-west", "us-east"));
    let forced = "{kind: Drain, name: eu-west, spec: {reason: maintenance, forced: 'nobody calls it'}}";
    world.clone().put(forced);
    // A dump is taken back as it is: the Binding may have lost its other region after the Drain.
    world.clone().put("{kind: Drain, name: eu-west, spec: {reason: maintenance}, restored: {}}");
    World::with_orders().with(DRAIN).put(one);
    // The second of two Drains takes the last region.
    World::with_orders().with(DRAIN).check(
        &DRAIN.replace("eu-west", "us-east"),
        "Drain us-east: served in no region but us-east that is not drained: Binding default/orders-production",
    );
}

#[test]
fn a_zone_with_hosts_has_a_region_that_answers() {
    let world = planned();
    let picking = |regions: &str| ZONE.replace("spec: {", &format!("spec: {{regions: {{{regions}}}, "));
    world.check(
        &picking("labels: {tier: nowhere}"),
        "DnsZone gslb: spec.regions: it picks no Region, so nobody would answer for its hosts (name a Region, give one the labels",
    );
    let labelled = world
        .clone()
        .with("{kind: Region, name: us-east, labels: {tier: dns}}")
        .with(&picking("labels: {tier: dns}"));
    labelled.check("{kind: Region, name: us-east}", "DnsZone gslb: spec.regions: it picks no Region");
    let unused = ZONE.replace("name: gslb", "name: later").replace("origin: gslb", "origin: later");
    let unused =
        World::with_orders().with(&unused.replace("spec: {", "spec: {regions: {labels: {tier: nowhere}}, "));
    unused.check(
        "{kind: GlobalHost, name: x, spec: {host: x.later.example.com, zone: later, environment: production}}",
        "DnsZone later: spec.regions: it picks no Region",
    );
    let published = |from: &str| {
        picking("names: [eu-west]").replace(
            "contact",
            &format!("publish: {{server: '192.0.2.9:53', key: k, from: [{from}]}}, contact"),
        )
    };
    let addressed = world.with(ADDRESSED);
    addressed.clone().put(&published("eu-west"));
    addressed.check(
        &published("eu-west, us-east"),
        "DnsZone gslb: spec.publish.from[1]: Region us-east does not have the zone, so it would publish nothing",
    );
}

#[test]
fn a_host_is_no_name_server_of_its_zone() {
    let served = ZONE
        .replace("ns.example.net}", "ns.example.net}, {name: ns1.gslb.example.com, addresses: [192.0.2.1]}");
    World::with_orders().with(&served).check(
        &host("ns", "host: ns1.gslb.example.com, environment: production"),
        "GlobalHost ns: spec.host: it is the name of a name server: spec.nameServers[1] of DnsZone gslb (choose another name",
    );
}

#[test]
fn a_region_has_addresses_of_each_family_that_another_one_has() {
    let mixed = ADDRESSED.replace("[192.0.2.2]", "['2001:db8::1']");
    let world = planned().with(&mixed);
    let warnings = world.state.warnings(&key("GlobalHost orders"), None);
    let told: Vec<&str> = warnings
        .iter()
        .map(|one| &*one.detail)
        .filter(|one| one.contains("family") || one.contains("IPv"))
        .collect();
    assert_eq!(
        told,
        [
            "Environment production has no IPv4 address for us-east, and other regions have one",
            "Environment production has no IPv6 address for eu-west, and other regions have one",
        ]
    );
    world.check(
        COPIED,
        "GlobalHost orders: spec.environment: addresses-required: Environment production has no IPv4 address for us-east, and other \
         regions have one",
    );
}

#[test]
fn a_drill_has_time_to_end() {
    let world = planned();
    let plan = |more: &str| {
        PLAN.replace("hosts:", &format!("probe: {{url: 'http://orders.gslb.example.com/'}}, {more}, hosts:"))
    };
    world.clone().put(&plan("steps: [10, 50, 100], stepEvery: 30s"));
    world.check(
        &plan("steps: [10, 50, 100], stepEvery: 1h"),
        "FailoverPlan orders: spec.guard.limit: 15m is less than the 4h 3m that a drill takes: 3 steps with 1h between them, and 3 times \
         the longest `ttl` of its hosts, 30s, there and back (raise it, or shorten `stepEvery` or the `ttl` of the hosts)",
    );
    world.with(&plan("guard: {limit: 5m}")).check(
        &host("orders", "host: orders.gslb.example.com, environment: production, ttl: 1m"),
        "FailoverPlan orders: spec.guard.limit: 5m is less than the 6m that a drill takes",
    );
}

#[test]
fn there_are_not_too_many_zones() {
    let many: Vec<String> = (0..65)
        .map(|at| {
            ZONE.replace("name: gslb", &format!("name: z{at}"))
                .replace("origin: gslb", &format!("origin: z{at}"))
        })
        .collect();
    World::new().clone().put(&many[..64].join("\n---\n"));
    World::new().check(
        &many.join("\n---\n"),
        "DnsZone z0: there would be 65 DnsZones, more than 64 (keep more hosts in one zone)",
    );
}

#[test]
fn a_decision_is_written_by_handlers_and_has_no_protection() {
    let world = planned();
    world.check(
        "{kind: Drain, name: us-east, protected: true, spec: {reason: r}, restored: {}}",
        "Drain us-east: protected: Drain us-east is written by the control plane, and has no protection of its own (leave it out",
    );
    let seal = || Seal { state: &world.state, by: &Masks };
    let version = world.state.version();
    let admitted = |changes: Vec<crate::Change>, writer| {
        let command = world.clone().command(CommandBody::Apply(changes), None);
        #[expect(clippy::disallowed_methods, reason = "as the node that is asked does it")]
        admit(command, version, writer, seal()).map(|admitted| admitted.into_command())
    };
    let over = changes(&failover("us-east"));
    admitted(over.clone(), Writer::Handler).unwrap();
    for refused in [over, vec![delete("Drain us-east", false)]] {
        let problem = admitted(refused, Writer::Operator).unwrap_err();
        assert_eq!(problem.name, ProblemName::Forbidden, "{problem}");
    }
    // A dump may have one, and a Drill that ran is over.
    let drill = "{kind: Drill, name: orders-1, spec: {plan: orders, phase: hold, reason: r}, restored: {}}";
    let command = admitted(changes(drill), Writer::Operator).unwrap();
    let Some(Spec::Drill(drill)) = command.body.changes()[0].action.spec() else { panic!("a Drill") };
    assert!(!drill.runs() && drill.aborted.is_some(), "{drill:?}");
}

#[test]
fn a_zone_has_not_too_many_hosts() {
    let many = |range: std::ops::Range<usize>| {
        let one =
            |at| host(&format!("h{at}"), &format!("host: h{at}.gslb.example.com, environment: production"));
        range.map(one).collect::<Vec<_>>().join("\n---\n")
    };
    let world = World::new().with(ZONE).with(&many(0..512));
    world.check(
        &many(512..513),
        "GlobalHost h512: spec.zone: DnsZone gslb would have 513 GlobalHosts, more than 512",
    );
}

#[test]
fn a_binding_reaches_other_regions_through_a_tunnel_only() {
    let mut world = World::with_orders();
    let refused = |world: &mut World, yaml: &str| {
        let command = world.command(CommandBody::Apply(changes(yaml)), None);
        let Outcome::Rejected(problem) = world.state.apply(&command) else { panic!("{yaml} is accepted") };
        problem.to_string()
    };
    let binding = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, reach: federation}}";
    let expected = "Binding default/orders-production: spec.reach: Environment production has no `tunnel`, so no request goes to \
                    another region (write `local`, or set `tunnel` of Environment production first)";
    assert_eq!(refused(&mut world, binding), expected);
    world.put("{kind: Environment, name: production, spec: {regions: [eu-west, us-east], tunnel: true}}");
    world.put(binding);
    let told = |world: &World, key: &str| -> Vec<String> {
        let warnings = world.state.warnings(&crate::fixture::key(key), None);
        warnings.iter().map(|warning| format!("{}: {}", warning.field, warning.detail)).collect()
    };
    assert_eq!(
        told(&world, "Environment production"),
        ["spec.tunnel: no gateway of this version sends requests on"]
    );
    let everywhere = "spec.reach: every region of the Environment serves it, so none sends its requests on";
    assert_eq!(told(&world, "Binding orders-production"), [everywhere]);
    world.put(&binding.replace("reach:", "regions: {names: [us-east]}, reach:"));
    let elsewhere = "spec.reach: no gateway of this version sends requests on";
    assert_eq!(told(&world, "Binding orders-production"), [elsewhere]);
    let closed = "{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}";
    assert_eq!(refused(&mut world, closed), expected);
}
