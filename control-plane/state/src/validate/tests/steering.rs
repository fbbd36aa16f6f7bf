//! Zones, hosts, plans and decisions: what must hold between them.

use hanse_management::ProblemName;

use crate::{
    ChangeResult, CommandBody, Outcome,
    fixture::{World, changes, delete, key, told},
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

fn failover(serving: &str) -> String {
    format!(
        "{{kind: Failover, name: orders, spec: {{serving: [{serving}], steps: [100], step: 1, stepEvery: 30s, reason: r}}}}"
    )
}

const OVER: &str = "{region: us-east, percent: 100}";

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
fn a_host_has_as_many_candidates_as_are_answered() {
    let environment = |count: usize| {
        let regions: Vec<String> = (1..=count).map(|at| format!("r{at}")).collect();
        format!("{{kind: Environment, name: wide, spec: {{regions: [{}]}}}}", regions.join(", "))
    };
    let regions: Vec<String> = (1..=65).map(|at| format!("{{kind: Region, name: r{at}}}")).collect();
    let world = planned().with(&regions.join("\n---\n"));
    let wide = host("wide", "host: wide.gslb.example.com, environment: wide");
    let expected = "GlobalHost wide: spec.environment: Environment wide is in 65 regions, and 64 at most are answered for a host";
    world.clone().with(&environment(65)).check(&wide, expected);
    world.with(&environment(64)).with(&wide).check(&environment(65), expected);
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
        &failover("{region: ap-south, percent: 100}"),
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
fn a_plan_takes_its_decisions_with_it_unless_its_hosts_are_elsewhere() {
    let home = failover("{region: eu-west, percent: 100}");
    let mut world = planned()
        .with(&home)
        .with("{kind: Drill, name: orders-1, spec: {plan: orders, phase: done, reason: r}}");
    let problem = world.clone().with(&failover(OVER)).delete("FailoverPlan orders", true).unwrap_err();
    assert_eq!(problem.name, ProblemName::InUse);
    assert!(
        problem.detail.starts_with(
            "the hosts of FailoverPlan orders are served in us-east, and not in its active region eu-west"
        ),
        "{problem}"
    );
    // The region that serves has become the active one.
    let turned =
        "{kind: FailoverPlan, name: orders, spec: {hosts: [orders], active: us-east, standby: [eu-west]}}";
    world.clone().with(&failover(OVER)).with(turned).delete("FailoverPlan orders", false).unwrap();
    // The hosts go, too.
    let all = vec![delete("FailoverPlan orders", false), delete("GlobalHost orders", false)];
    world.clone().with(&failover(OVER)).change(all).unwrap();
    let deleted = world.delete("FailoverPlan orders", false).unwrap();
    assert_eq!(
        told(&deleted),
        ["deleted FailoverPlan orders 0", "deleted Failover orders 0", "deleted Drill orders-1 0"]
    );
    assert!(deleted.changes.iter().all(|change| change.action == ChangeResult::DELETED));
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
    let back = failover("{region: eu-west, percent: 100}");
    drained.check(&back, "GlobalHost orders: no region would serve orders.gslb.example.com");
    drained.check(
        &host("x", "host: x.gslb.example.com, environment: production, policy: []")
            .replace("production", "lone"),
        "GlobalHost x: spec.environment: Environment lone does not exist",
    );
    let other = DRAIN.replace("eu-west", "us-east");
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
    world.check(DRAIN, "Drain eu-west: served in region eu-west only: Binding default/orders-production (serve these Bindings in");
    world.clone().put(&DRAIN.replace("eu-west", "us-east"));
    let forced = "{kind: Drain, name: eu-west, spec: {reason: maintenance, forced: 'nobody calls it'}}";
    world.clone().put(forced);
    // A dump is taken back as it is: the Binding may have lost its other region after the Drain.
    world.clone().put("{kind: Drain, name: eu-west, spec: {reason: maintenance}, restored: {}}");
    World::with_orders().with(DRAIN).put(one);
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

/// Admission refuses both fields in this version, so the commands are as a log has them.
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
    world.replicate(
        "{kind: Environment, name: production, spec: {regions: [eu-west, us-east], tunnel: true}}",
    );
    world.replicate(binding);
    let closed = "{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}";
    assert_eq!(refused(&mut world, closed), expected);
    world.check(
        binding,
        "Binding default/orders-production: spec.reach: no gateway of this version sends requests on",
    );
}
