//! Which addresses a Binding may begin to use.

use hanse_management::ProblemName;

use crate::{Change, Dump, fixture::World};

/// An Upstream with these endpoints.
fn upstream(endpoints: &str) -> String {
    format!("{{kind: Upstream, name: backend, spec: {{endpoints: [{endpoints}]}}}}")
}

/// `production`, with these regions and this egress.
fn production(regions: &str, egress: &str) -> String {
    format!("{{kind: Environment, name: production, spec: {{regions: [{regions}], egress: {{{egress}}}}}}}")
}

const BOTH: &str = "eu-west, us-east";

#[test]
fn link_local_addresses_are_refused_and_private_ones_are_not() {
    let world = World::with_orders();
    for url in [
        "http://127.0.0.1:1",
        "http://192.168.1.1",
        "http://[::1]:80",
        "http://[fd00::1]",
        "http://a.internal",
    ] {
        world.clone().put(&upstream(&format!("{{url: '{url}'}}")));
    }
    world.check(
        &upstream("{url: 'http://10.0.0.7:8080'}, {url: 'http://169.254.169.254/latest'}"),
        "Upstream default/backend: spec.endpoints[1].url: Binding default/orders-production would use \
         http://169.254.169.254/latest in Environment production, region eu-west, but egress denies 169.254.169.254: it is in \
         169.254.0.0/16 (name an address that may be used, or allow this one in spec.egress of Environment production)",
    );
    let problem = world.refused(&upstream("{url: 'https://[fe80::1]:8443'}"));
    assert_eq!(problem.name, ProblemName::Invalid);
    world.check(
        &upstream("{url: 'http://[64:ff9b::a9fe:a9fe]'}"),
        "Upstream default/backend: spec.endpoints[0].url: ",
    );
    // An Upstream that no Binding uses is in no Environment.
    let unused = "{kind: Upstream, name: unused, spec: {endpoints: [{url: 'http://169.254.169.254'}]}}";
    world.clone().put(unused);
    world
        .clone()
        .with(&production(BOTH, "allow: [169.254.0.0/16]"))
        .put(&upstream("{url: 'http://169.254.169.254'}"));
}

#[test]
fn whatever_makes_a_binding_use_an_address_is_judged() {
    let closed = World::with_orders().with(&production(BOTH, "deny: [10.9.0.0/16]"));
    let expected =
        "Upstream default/backend: spec.endpoints[0].url: Binding default/orders-production would use";
    // Its Api's next revision.
    closed.check(&upstream("{url: 'http://10.9.0.1'}"), expected);
    // Its own Upstream, when the Binding names it and when that changes.
    let other = "{kind: Upstream, name: other, spec: {endpoints: [{url: 'http://10.9.0.1'}]}}";
    let binding = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, upstream: other}}";
    let of_other =
        "Upstream default/other: spec.endpoints[0].url: Binding default/orders-production would use";
    closed.clone().with(other).check(binding, of_other);
    let named = closed.clone().with(&other.replace("10.9.0.1", "10.8.0.1")).with(binding);
    named.check(other, of_other);
    // Another Environment.
    let sandbox = "{kind: Binding, name: orders-sandbox, spec: {api: orders, environment: ENVIRONMENT}}";
    let mut open = World::with_orders()
        .with("{kind: Environment, name: closed, spec: {regions: [eu-west], egress: {deny: [10.0.0.0/8]}}}");
    open.check(
        &sandbox.replace("ENVIRONMENT", "closed"),
        "Upstream default/backend: spec.endpoints[0].url: ",
    );
    open.put(&sandbox.replace("ENVIRONMENT", "sandbox"));
    open.check(
        &sandbox.replace("ENVIRONMENT", "closed"),
        "Upstream default/backend: spec.endpoints[0].url: ",
    );
    // An earlier revision, whose Upstream has changed since.
    let mut pinned = World::with_orders().with(&upstream("{url: 'http://10.8.0.1'}"));
    pinned.put(&production(BOTH, "deny: [10.0.0.7/32]"));
    pinned.check(
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1}}",
        "ApiRevision default/orders-r1: spec.upstreams.backend.endpoints[0].url: ",
    );
}

#[test]
fn no_change_of_an_environment_or_a_region_is_refused_for_an_address() {
    let closed = "deny: [10.0.0.0/8]";
    let mut world = World::with_orders().with(&production(BOTH, closed));
    // A region, the last region and a new region out and in again.
    for regions in ["eu-west", BOTH, "", BOTH] {
        let accepted = world.put(&production(regions, closed));
        let warned = world.state.unserved_after(&world.state, &accepted.changes, usize::MAX, None);
        let cut_off = warned.iter().any(|warning| warning.detail.starts_with("cut off"));
        assert_eq!(cut_off, !regions.is_empty(), "{regions}: {warned:?}");
    }
    // A label that makes a region one of a Binding.
    let labelled = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {labels: {tier: edge}}}}";
    let two = "{url: 'http://11.0.0.1', region: eu-west}, {url: 'http://10.9.0.1', region: us-east}";
    let mut world = World::with_orders().with(labelled).with(&upstream(two)).with(&production(BOTH, closed));
    let accepted = world.put("{kind: Region, name: us-east, labels: {tier: edge}}");
    let warned = world.state.unserved_after(&world.state, &accepted.changes, usize::MAX, None);
    assert!(warned.iter().any(|warning| warning.detail.contains("denies http://10.9.0.1")), "{warned:?}");
    // The author of the Binding is refused another one.
    world.check(
        &upstream("{url: 'http://11.0.0.1', region: eu-west}, {url: 'http://10.9.0.2', region: us-east}"),
        "Upstream default/backend: spec.endpoints[1].url: Binding default/orders-production would use \
         http://10.9.0.2 in Environment production, region us-east",
    );
}

#[test]
fn an_upstream_that_keeps_a_denied_endpoint_is_warned_of() {
    let mut world = World::with_orders()
        .with(&upstream("{url: 'http://10.0.0.7'}, {url: 'http://10.0.0.8'}"))
        .with(&production(BOTH, "deny: [10.0.0.0/8]"));
    let accepted = world.put(&upstream("{url: 'http://10.0.0.7'}, {url: 'http://11.0.0.8'}"));
    let told: Vec<String> = world
        .state
        .unserved_after(&world.state, &accepted.changes, usize::MAX, None)
        .iter()
        .map(|warning| warning.detail.clone())
        .collect();
    assert_eq!(
        told,
        [
            "cut off: `egress` of Environment production denies http://10.0.0.7; change the endpoints, or `egress`"
        ]
    );
    // Also one that a Binding names itself.
    let other = "{kind: Upstream, name: other, spec: {endpoints: [{url: 'http://12.0.0.1'}]}}";
    let binding = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, upstream: other}}";
    let mut world = world.with(other).with(binding).with(&production(BOTH, "deny: [12.0.0.0/8]"));
    let accepted = world.put(&other.replace("endpoints: [", "endpoints: [{url: 'http://b'}, "));
    assert_eq!(world.state.unserved_after(&world.state, &accepted.changes, usize::MAX, None).len(), 1);
}

#[test]
fn what_is_in_use_may_be_denied_and_stays() {
    let mut world = World::with_orders();
    world.put(&production(BOTH, "deny: [10.0.0.0/8]"));
    // It is no hindrance to other changes, or to the same manifests once more.
    world.put(crate::fixture::ORDERS);
    world.put("{kind: Api, name: orders, spec: {context: /orders/v1, version: '2', operations: [], upstream: backend}}");
    world.put(&upstream("{url: 'http://10.0.0.7:8080'}, {url: 'http://11.0.0.1'}"));
    // Another denied address is.
    world.check(
        &upstream("{url: 'http://10.0.0.7:8080'}, {url: 'http://10.0.0.8'}"),
        "Upstream default/backend: spec.endpoints[1].url: ",
    );
    // Once it is gone, it does not come back.
    world.put(&upstream("{url: 'http://11.0.0.1'}"));
    world.check(
        &upstream("{url: 'http://10.0.0.7:8080'}"),
        "Upstream default/backend: spec.endpoints[0].url: ",
    );
    // A command that denies an address and begins to use it is judged by what it makes.
    let both =
        format!("{}\n---\n{}", production(BOTH, "deny: [12.0.0.0/8]"), upstream("{url: 'http://12.0.0.1'}"));
    world.check(&both, "Upstream default/backend: spec.endpoints[0].url: ");
    let both = format!("{}\n---\n{}", production(BOTH, ""), upstream("{url: 'http://10.0.0.7:8080'}"));
    world.put(&both);
}

#[test]
fn a_binding_that_is_cut_off_comes_back_from_a_dump() {
    let mut cut_off = World::with_orders();
    cut_off.put(&production(BOTH, "deny: [10.0.0.0/8]"));
    let dumped: Vec<_> = Dump::of(cut_off.state, true).resources_after(None).collect();
    let mut other = World::new().with(&production(BOTH, "deny: [10.0.0.0/8]"));
    for manifest in dumped {
        let change = Change::from(manifest);
        if other.state.get(&change.key).is_none() {
            other.change(vec![change]).unwrap();
        }
    }
    let binding = crate::fixture::key("Binding orders-production");
    let warnings = other.state.warnings(&binding, None);
    assert!(warnings.iter().any(|warning| warning.detail.starts_with("cut off")), "{warnings:?}");
}
