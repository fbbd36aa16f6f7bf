//! Which addresses a Binding may begin to use.

use hanse_management::{ProblemName, manifest::Restored};

use crate::{
    Action, Change,
    fixture::{World, changes},
};

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
fn a_region_that_is_new_to_a_binding_is_judged_with_its_endpoints() {
    let two = "{url: 'http://10.8.0.1', region: eu-west}, {url: 'http://10.9.0.1', region: us-east}";
    let world = World::new()
        .with(&production("eu-west", "deny: [10.9.0.0/16]"))
        .with(crate::fixture::ORDERS)
        .with(&upstream(two));
    let expected = "Upstream default/backend: spec.endpoints[1].url: Binding default/orders-production would use \
                    http://10.9.0.1 in Environment production, region us-east";
    world.check(&production(BOTH, "deny: [10.9.0.0/16]"), expected);
    // By a label of the region.
    let labelled = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {labels: {tier: edge}}}}";
    let mut world = World::with_orders().with(labelled).with(&upstream(two));
    world.put(&production(BOTH, "deny: [10.9.0.0/16]"));
    world.check("{kind: Region, name: us-east, labels: {tier: edge}}", expected);
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
fn what_comes_back_from_a_dump_is_judged_like_any_other() {
    let world = World::new()
        .with(&production(BOTH, "deny: [10.9.0.0/16]"))
        .with(crate::fixture::ORDERS)
        .with("{kind: Upstream, name: other, spec: {endpoints: [{url: 'http://10.9.0.1'}]}}");
    let binding =
        "{kind: Binding, name: more, spec: {api: orders, environment: production, upstream: other}}";
    let restored = |change: Change| match change.action {
        Action::Put { labels, spec, .. } => {
            let action = Action::Restore { labels, spec, protected: false, restored: Restored::default() };
            Change { action, ..change }
        }
        other => panic!("{other:?}"),
    };
    let problem = world.clone().change(changes(binding).into_iter().map(restored).collect()).unwrap_err();
    assert_eq!(problem.field, "Upstream default/other: spec.endpoints[0].url");
}
