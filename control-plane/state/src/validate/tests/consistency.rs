//! What must hold between resources.

use hanse_management::ProblemName;

use crate::{
    fixture::{World, changes},
    validate::consistency::affected,
};

/// An Api `name` at `context`, more of its spec, and a Binding of it with more of its spec.
fn bound(name: &str, context: &str, api: &str, binding: &str) -> String {
    format!(
        "{{kind: Api, name: {name}, spec: {{context: {context}, version: '1', operations: [], upstream: backend, {api}}}}}
---
{{kind: Binding, name: {name}-b, spec: {{api: {name}, environment: production, {binding}}}}}"
    )
}

#[test]
fn two_apis_may_not_claim_one_host_and_path() {
    let world = World::with_orders();
    let same = bound("billing", "/orders/v1", "", "");
    world.check(
        &same,
        "Binding default/billing-b: spec.environment: Binding default/billing-b and Binding default/orders-production both \
         claim /orders/v1 on any host in Environment production, region eu-west (list the hosts of one of the Apis, change \
         its context, or keep them in different environments or regions)",
    );
    assert_eq!(world.refused(&same).name, ProblemName::Conflict);
}

#[test]
fn what_differs_in_context_host_environment_region_or_life_does_not_conflict() {
    for yaml in [
        bound("billing", "/orders", "", ""),
        bound("billing", "/orders/v1", "hosts: [a.example]", ""),
        bound("billing", "/orders/v1", "lifecycle: created", ""),
        bound("billing", "/orders/v1", "lifecycle: retired", ""),
        bound("billing", "/orders/v1", "", "").replace("environment: production", "environment: sandbox"),
    ] {
        World::with_orders().put(&yaml);
    }
    let mut apart = World::with_orders();
    apart.put("{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {names: [us-east]}}}");
    apart.put(&bound("billing", "/orders/v1", "", "regions: {labels: {tier: edge}}"));
    // A change by which they meet in a region is refused, of whichever kind it is.
    apart.check(
        "{kind: Region, name: us-east, labels: {tier: edge}}",
        "Binding default/billing-b: spec.environment: Binding default/billing-b and Binding default/orders-production both",
    );
}

#[test]
fn a_binding_that_reaches_the_federation_is_in_every_region() {
    let mut world = World::with_orders();
    world.put("{kind: Environment, name: production, spec: {regions: [eu-west, us-east], tunnel: true}}");
    let orders = |more: &str| {
        format!(
            "{{kind: Binding, name: orders-production, spec: {{api: orders, environment: production, {more}}}}}"
        )
    };
    world.put(&orders("regions: {names: [us-east]}"));
    world.put(&bound("billing", "/orders/v1", "", "regions: {names: [eu-west]}"));
    world.check(
        &orders("regions: {names: [us-east]}, reach: federation"),
        "Binding default/orders-production: spec.environment: Binding default/orders-production and Binding default/billing-b \
         both claim /orders/v1 on any host in Environment production, region eu-west",
    );
    world.check(
        "{kind: Binding, name: second, spec: {api: orders, environment: production, regions: {names: [eu-west]}, reach: federation}}",
        "Binding default/second: spec.",
    );
    // It needs endpoints where it runs, and nowhere else.
    world.put("{kind: Upstream, name: near, spec: {endpoints: [{url: 'http://10.0.0.8', region: us-east}]}}");
    world.put(&bound("near", "/near", "", "upstream: near, regions: {names: [us-east]}, reach: federation"));
}

#[test]
fn hosts_conflict_where_they_share_one() {
    let world = World::with_orders().with(&bound("a", "/x", "hosts: [one.example, two.example]", ""));
    world.check(
        &bound("b", "/x", "hosts: [three.example, two.example]", ""),
        "Binding default/b-b: spec.environment: Binding default/b-b and Binding default/a-b both claim /x on host two.example",
    );
    // A wildcard yields to a name: both may be there.
    world.clone().put(&bound("b", "/x", "hosts: ['*.example']", ""));
    world.clone().put(&bound("b", "/x", "", ""));
}

#[test]
fn conflicts_reach_across_organizations() {
    let world = World::with_orders().with("{kind: Organization, name: retail}");
    let theirs = "{kind: Upstream, organization: retail, name: u, spec: {endpoints: [{url: 'http://a'}]}}
---
{kind: Api, organization: retail, name: a, spec: {context: /orders/v1, version: '1', operations: [], upstream: u}}
---
{kind: Binding, organization: retail, name: b, spec: {api: a, environment: production}}";
    world.check(theirs, "Binding retail/b: spec.environment: Binding retail/b and Binding default/orders-production both ask for requests to any host/orders/v1");
}

#[test]
fn a_conflict_may_come_of_any_of_the_resources_involved() {
    let mut world = World::with_orders().with(&bound("billing", "/billing", "", ""));
    // The context moves.
    let moved = bound("billing", "/orders/v1", "", "");
    world.check(moved.split("---").next().unwrap(), "Binding default/billing-b: spec.environment: ");
    // The lifecycle begins.
    world.put(bound("billing", "/orders/v1", "lifecycle: created", "").split("---").next().unwrap());
    world.check(moved.split("---").next().unwrap(), "Binding default/billing-b: spec.environment: ");
    // Both move in one command: the old claims do not count.
    let swap = format!(
        "{}\n---\n{}",
        bound("billing", "/orders/v1", "", ""),
        "{kind: Api, name: orders, spec: {context: /billing, version: '1', operations: [], upstream: backend}}"
    );
    world.put(&swap);
}

#[test]
fn a_claim_ends_with_its_binding() {
    let mut world = World::with_orders();
    world.delete("Binding orders-production", false).unwrap();
    world.put(&bound("billing", "/orders/v1", "", ""));
    world.check(
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production}}",
        "Binding default/orders-production: spec.environment: ",
    );
}

#[test]
fn a_pinned_binding_claims_what_its_revision_says_and_lives_by_its_api() {
    let mut world = World::with_orders();
    world.put(
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1}}",
    );
    let orders = |context: &str, lifecycle: &str| {
        format!(
            "{{kind: Api, name: orders, spec: {{context: {context}, version: '1', operations: [], lifecycle: {lifecycle}, upstream: backend}}}}"
        )
    };
    world.put(&orders("/elsewhere", "published"));
    world.check(&bound("billing", "/orders/v1", "", ""), "Binding default/billing-b: spec.environment: ");
    world.put(&bound("billing", "/elsewhere", "", ""));
    world.put(&orders("/elsewhere", "retired"));
    world.put(&bound("third", "/orders/v1", "", ""));
}

#[test]
fn a_binding_whose_regions_differ_claims_what_each_of_them_serves() {
    let mut world = World::with_orders();
    let held = "{kind: Binding, name: orders-production, labels: {hold: eu-west}, spec: {api: orders, environment: production}}";
    world.put(held);
    world.put("{kind: Api, name: orders, spec: {context: /elsewhere, version: '1', operations: [], upstream: backend}}");
    for context in ["/orders/v1", "/elsewhere"] {
        world.check(&bound("billing", context, "", ""), "Binding default/billing-b: spec.environment: ");
    }
    // A region that joins in what another has moved on from.
    world.put(&held.replace("labels: {hold: eu-west}, ", ""));
    world.put(&bound("billing", "/orders/v1", "", ""));
    world.check(held, "Binding default/orders-production: spec.environment: ");
}

#[test]
fn one_binding_for_each_api_environment_and_region() {
    let mut world = World::with_orders();
    world.check(
        "{kind: Binding, name: again, spec: {api: orders, environment: production, regions: {names: [eu-west]}}}",
        "Binding default/again: spec.regions: Binding default/again and Binding default/orders-production both put Api orders \
         into Environment production, region eu-west (keep one Binding",
    );
    world.put("{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {names: [us-east]}}}");
    world.put("{kind: Binding, name: again, spec: {api: orders, environment: production, regions: {names: [eu-west]}}}");
    world.put("{kind: Binding, name: other, spec: {api: orders, environment: sandbox}}");
}

#[test]
fn regions_of_a_binding_are_among_its_environments() {
    let mut world = World::with_orders().with("{kind: Region, name: ap-south}");
    let binding = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {names: [eu-west, ap-south]}}}";
    world.check(
        binding,
        "Binding default/orders-production: spec.regions.names[1]: Environment production is not in region ap-south; it is in \
         eu-west, us-east (name one of those, or add ap-south to the regions of Environment production)",
    );
    world.put("{kind: Environment, name: production, spec: {regions: [ap-south, eu-west]}}");
    world.put(binding);
    let regions: Vec<String> = world
        .state
        .regions_of(world.get("Binding orders-production"))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(regions, ["ap-south", "eu-west"]);
    world.check(
        "{kind: Environment, name: production, spec: {regions: [eu-west]}}",
        "Binding default/orders-production: spec.regions.names[1]: Environment production is not in region ap-south",
    );
}

#[test]
fn a_binding_has_an_upstream_with_an_endpoint_in_each_region() {
    let mut world = World::with_orders();
    let api = "{kind: Api, name: bare, spec: {context: /bare, version: '1', operations: []}}";
    let binding = "{kind: Binding, name: b, spec: {api: bare, environment: production}}";
    world.check(
        &format!("{api}\n---\n{binding}"),
        "Binding default/b: spec.upstream: neither the Binding nor ApiRevision default/bare-r1 names an Upstream (name an \
         Upstream here, or in Api bare)",
    );
    let local = "{kind: Upstream, name: local, spec: {endpoints: [{url: 'http://a', region: eu-west}]}}";
    world.check(
        &format!("{api}\n---\n{local}\n---\n{}", binding.replace("production}", "production, upstream: local}")),
        "Binding default/b: spec.upstream: Upstream local has no endpoint for region us-east in Environment production (give it \
         one with `region: us-east`, or leave us-east out of spec.regions)",
    );
    // An Upstream may not lose what a Binding needs, whether followed or embedded anew.
    world.check(
        "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://a', region: eu-west}]}}",
        "Binding default/orders-production: spec.upstream: Upstream backend has no endpoint for region us-east",
    );
    world.check(
        "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://a', environment: sandbox}]}}",
        "Binding default/orders-production: spec.upstream: Upstream backend has no endpoint for region eu-west",
    );
    // A Binding's own Upstream is followed live.
    let own = "{kind: Binding, name: own, spec: {api: orders, environment: sandbox, upstream: own}}";
    let with_own =
        world.clone().with("{kind: Upstream, name: own, spec: {endpoints: [{url: 'http://a'}]}}").with(own);
    with_own.check(
        "{kind: Upstream, name: own, spec: {endpoints: [{url: 'http://a', region: eu-west}]}}",
        "Binding default/own: spec.upstream: Upstream own has no endpoint for region us-east in Environment sandbox",
    );
    // A pinned Binding keeps the Upstream that its revision embeds.
    world.put(
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1}}",
    );
    world.put("{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://a', region: eu-west}]}}");
    // An Environment may not gain a region that a Binding cannot serve.
    world.put("{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {names: [eu-west]}}}");
    world.put("{kind: Region, name: ap-south}\n---\n{kind: Environment, name: production, spec: {regions: [eu-west, us-east, ap-south]}}");
}

#[test]
fn a_region_has_an_endpoint_in_the_revision_that_it_serves() {
    let local = "{kind: Upstream, name: local, spec: {endpoints: [{url: 'http://a', region: us-east}]}}";
    let api =
        "{kind: Api, name: moved, spec: {context: /moved, version: '1', operations: [], upstream: local}}";
    let world =
        World::with_orders().with(&format!("{local}\n---\n{api}")).with(&local.replace("us-east", "eu-west"));
    let held = |hold: &str, region: &str| {
        format!(
            "{{kind: Binding, name: moved, labels: {{hold: {hold}}}, spec: {{api: moved, environment: production, \
             regions: {{names: [{region}]}}}}}}"
        )
    };
    world.check(
        &held("eu-west", "eu-west"),
        "Binding default/moved: spec.upstream: Upstream local has no endpoint for region eu-west in Environment production",
    );
    // The Binding is not in the region that is held.
    world.clone().put(&held("us-east", "eu-west"));
    // What the Binding names is meant for all its regions.
    world.check(
        &held("us-east", "us-east"),
        "Binding default/moved: spec.upstream: Upstream local has no endpoint for region us-east in Environment production",
    );
}

#[test]
fn one_subscription_for_each_application_and_api() {
    let mut world = World::with_orders().with("{kind: Plan, name: silver}");
    world.check(
        "{kind: Subscription, name: second, spec: {application: shop, api: orders, plan: silver}}",
        "Subscription default/second: spec.api: Subscription default/second and Subscription default/shop-orders both \
         subscribe Application shop to Api orders (change the plan of the one that is there, or delete it)",
    );
    world
        .put("{kind: Subscription, name: shop-orders, spec: {application: shop, api: orders, plan: silver}}");
}

#[test]
fn secrets_are_told_apart() {
    let world = World::with_orders();
    let digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    world.check(
        &format!("{{kind: Credential, name: k2, spec: {{application: shop, digest: '{digest}'}}}}"),
        "Credential default/k2: spec.digest: another Credential has the same key",
    );
    let token = format!("{{kind: Token, name: a, spec: {{role: admin, digest: '{digest}'}}}}");
    let world = world.with(&token);
    world.check(
        &token.replace("name: a", "name: b"),
        "Token b: spec.digest: another Token has the same secret",
    );
    let found = world.state.token_with(&hanse_management::Digest([0x11; 32])).unwrap();
    assert_eq!(found.key.name.as_str(), "a");
}

#[test]
fn only_what_bindings_depend_on_has_them_checked_again() {
    for (yaml, expected) in [
        (
            "{kind: Region, name: eu-west, labels: {tier: edge}, spec: {location: {latitude: 1, longitude: 2}}}",
            0,
        ),
        ("{kind: Region, name: eu-west, labels: {tier: core}}", 1),
        (
            "{kind: Environment, name: production, spec: {regions: [eu-west, us-east], hostnames: [a.example]}}",
            0,
        ),
        ("{kind: Environment, name: production, labels: {a: b}, spec: {regions: [eu-west, us-east]}}", 0),
        ("{kind: Environment, name: production, spec: {regions: [eu-west]}}", 1),
        (
            "{kind: Api, name: orders, spec: {context: /x, version: '1', operations: [], upstream: backend}}",
            1,
        ),
    ] {
        let before = World::with_orders().state;
        let after = World::with_orders().with(yaml).state;
        let touched = changes(yaml).into_iter().map(|change| change.key).collect();
        let bindings = affected(&before, &after, &touched).len() - 1;
        assert_eq!(bindings, expected, "{yaml}");
    }
}
