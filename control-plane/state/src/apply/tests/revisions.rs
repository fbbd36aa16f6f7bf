//! ApiRevisions.

use hanse_management::{
    Kind, ProblemName, Spec,
    kinds::{ApiRevisionSpec, OperationSpec},
};

use crate::{
    Action, Change,
    fixture::{World, changes, key, name, told},
};

fn orders(version: &str, more: &str) -> String {
    format!(
        "{{kind: Api, name: orders, spec: {{context: /orders/v1, version: '{version}', policies: [stamp], upstream: backend, \
         operations: [{{method: GET, path: '/orders/{{id}}'}}]{more}}}}}"
    )
}

fn content<'a>(world: &'a World, revision: &str) -> &'a ApiRevisionSpec {
    let Spec::ApiRevision(spec) = &world.get(revision).spec else { panic!() };
    spec
}

#[test]
fn a_changed_api_makes_the_next_revision_in_the_same_command() {
    let mut world = World::with_orders();
    let accepted = world.put(&orders("2", ""));
    assert_eq!(
        told(&accepted),
        [
            "updated Api default/orders 3",
            "created ApiRevision default/orders-r2 3",
            "moved Binding default/orders-production 2"
        ]
    );
    assert_eq!(content(&world, "ApiRevision orders-r1").spec.version, "1");
    assert_eq!(content(&world, "ApiRevision orders-r2").spec.version, "2");
    assert_eq!(content(&world, "ApiRevision orders-r2").number, 2);
    let latest = world.state.latest_api_revision(&name("default"), &name("orders")).unwrap();
    assert_eq!(latest.key, key("ApiRevision orders-r2"));
    assert_eq!(world.get("Api orders").status().unwrap()["latestRevision"], 2);
}

#[test]
fn a_changed_policy_or_upstream_makes_revisions_of_the_apis_that_name_it() {
    let mut world = World::with_orders();
    let accepted =
        world.put("{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: '2'}}}}}");
    assert_eq!(
        told(&accepted),
        [
            "updated Policy default/stamp 3",
            "created ApiRevision default/orders-r2 3",
            "moved Binding default/orders-production 2"
        ]
    );
    let policy = &content(&world, "ApiRevision orders-r2").policies[&name("stamp")];
    assert_eq!(policy.headers.as_ref().unwrap().request.as_ref().unwrap().set["X-Stamp"], "2");
    assert_eq!(world.revision_of("Api orders"), 2, "the Api's own revision stays");
    assert_eq!(world.get("Api orders").metadata.api_revision, 2);

    world.put("{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://10.0.0.8:8080'}]}}");
    let upstream = &content(&world, "ApiRevision orders-r3").upstreams[&name("backend")];
    assert_eq!(upstream.endpoints[0].url, "http://10.0.0.8:8080");
}

#[test]
fn what_does_not_change_the_resolved_content_makes_none() {
    let mut world = World::with_orders();
    // Labels are not content; the lifecycle is the Api's own.
    world.put(&orders("1", ", lifecycle: deprecated").replacen(
        "name: orders,",
        "name: orders, labels: {a: b},",
        1,
    ));
    world.put(
        "{kind: Policy, name: stamp, labels: {a: b}, spec: {headers: {request: {set: {X-Stamp: '1'}}}}}",
    );
    world.put("{kind: Policy, name: other}");
    assert_eq!(world.names(Kind::ApiRevision), ["orders-r1"]);
    assert_eq!(world.get("Api orders").metadata.api_revision, 1);
}

#[test]
fn a_binding_means_a_number_or_the_latest() {
    let mut world = World::with_orders();
    world.put("{kind: Binding, name: pinned, spec: {api: orders, environment: sandbox, revision: 1}}");
    world.put(&orders("2", ""));
    let bound = |binding: &str| world.state.named_revision(world.get(binding)).unwrap().key.name.to_string();
    assert_eq!(bound("Binding orders-production"), "orders-r2");
    assert_eq!(bound("Binding pinned"), "orders-r1");
}

#[test]
fn a_binding_may_name_the_revision_its_command_makes() {
    let mut world = World::with_orders();
    let mut both = changes(&orders("2", ""));
    both.extend(changes(
        "{kind: Binding, name: pinned, spec: {api: orders, environment: sandbox, revision: 2}}",
    ));
    world.change(both).unwrap();
    let problem = world
        .refused("{kind: Binding, name: pinned, spec: {api: orders, environment: sandbox, revision: 3}}");
    assert_eq!(problem.name, ProblemName::MissingReference);
    assert_eq!(problem.detail, "Api orders has no revision 3; it has revisions from 1 to 2");
}

#[test]
fn a_number_is_never_used_twice() {
    let mut world = World::with_orders();
    world.put(&orders("2", ""));
    world.delete("Api orders", true).unwrap();
    world.put(&orders("1", ""));
    assert_eq!(world.names(Kind::ApiRevision), ["orders-r3"]);
    assert_eq!(world.get("Api orders").metadata.api_revision, 3);
}

#[test]
fn the_oldest_go_but_for_those_that_bindings_name() {
    let mut world = World::with_orders();
    world.put("{kind: Binding, name: pinned, spec: {api: orders, environment: sandbox, revision: 1}}");
    for version in 2..=103 {
        world.put(&orders(&version.to_string(), ""));
    }
    let own = name("default");
    let numbers: Vec<u64> = world.state.api_revision_numbers(&own, &name("orders")).collect();
    assert_eq!(numbers.len(), 100);
    assert_eq!(numbers[..3], [1, 5, 6], "2, 3 and 4 are dropped, 1 is bound");
    let accepted = world.put(&orders("104", ""));
    assert_eq!(
        told(&accepted),
        [
            format!("updated Api default/orders {}", accepted.revision),
            format!("created ApiRevision default/orders-r104 {}", accepted.revision),
            "moved Binding default/orders-production 2".to_owned(),
            "deleted ApiRevision default/orders-r5 0".to_owned()
        ]
    );
    assert_eq!(world.state.journal_since(accepted.revision - 1).unwrap().next().unwrap().keys.len(), 3);
}

#[test]
fn the_oldest_stay_while_a_region_serves_them() {
    let mut world = World::with_orders();
    let held = "{kind: Binding, name: orders-production, labels: {hold: eu-west}, spec: {api: orders, environment: production}}";
    world.put(held);
    for version in 2..=102 {
        world.put(&orders(&version.to_string(), ""));
    }
    let first = |world: &World| {
        world.state.api_revision_numbers(&name("default"), &name("orders")).take(2).collect::<Vec<_>>()
    };
    assert_eq!(first(&world), [1, 4], "2 and 3 are dropped, eu-west serves 1");
    world.put(&held.replace("labels: {hold: eu-west}, ", ""));
    world.put(&orders("103", ""));
    assert_eq!(first(&world), [4, 5]);
}

#[test]
fn large_revisions_are_fewer_but_never_less_than_ten() {
    let mut world = World::with_orders();
    world.put("{kind: Binding, name: pinned, spec: {api: orders, environment: sandbox, revision: 1}}");
    // A revision copies the Policy.
    let mut publish = |version: u8, bytes: usize| {
        let value = char::from(b'a' + version % 26).to_string().repeat(bytes);
        let spec = serde_json::json!({"headers": {"request": {"set": {"X-Stamp": value}}}});
        let action = Action::put(Default::default(), Spec::from_json(Kind::Policy, &spec).unwrap());
        world.change(vec![Change { key: key("Policy stamp"), action, if_revision: None }]).unwrap();
        world.state.api_revision_numbers(&name("default"), &name("orders")).collect::<Vec<u64>>()
    };
    // 32 MiB hold 16 of 2 MB and the bound one.
    for version in 2..=17 {
        assert_eq!(publish(version, 2_000_000).len(), usize::from(version));
    }
    assert_eq!(publish(18, 2_000_000)[..3], [1, 3, 4]);
    // Of 4 MB they hold 8, and 10 are kept.
    for version in 19..=28 {
        publish(version, 4_000_000);
    }
    let kept = publish(29, 4_000_000);
    assert_eq!(kept, [1].into_iter().chain(20..=29).collect::<Vec<u64>>());
}

#[test]
fn a_revision_too_large_with_what_it_embeds_is_refused() {
    let mut world = World::new();
    let fat = |name: &str| {
        let value = "x".repeat(4_800_000);
        format!("{{kind: Policy, name: {name}, spec: {{headers: {{request: {{set: {{X-A: {value}}}}}}}}}}}")
    };
    world.put(&fat("a"));
    world.put(&fat("b"));
    let problem = world
        .refused("{kind: Api, name: x, spec: {context: /x, version: '1', operations: [], policies: [a, b]}}");
    assert_eq!(problem.name, ProblemName::TooLarge);
    assert!(
        problem.to_string().starts_with("Api default/x: spec: with the Policies and the Upstream it names"),
        "{problem}"
    );
}

/// A Policy of about `kib` KiB.
fn large_policy(kib: usize) -> String {
    format!(
        "{{kind: Policy, name: large, spec: {{headers: {{request: {{set: {{X: '{}'}}}}}}}}}}",
        "x".repeat(kib << 10)
    )
}

/// An Api with `count` operations, each naming `policies`.
fn with_operations(count: usize, policies: &str) -> String {
    let operation = |number| format!("{{method: GET, path: '/{number}', policies: [{policies}]}}");
    let operations: Vec<String> = (0..count).map(operation).collect();
    format!(
        "{{kind: Api, name: orders, spec: {{context: /orders/v1, version: '1', upstream: backend, policies: [stamp], \
         operations: [{}]}}}}",
        operations.join(", ")
    )
}

#[test]
fn policies_copied_into_operations_may_not_make_a_huge_route() {
    let mut world = World::with_orders().with(&large_policy(800));
    world.put(&with_operations(10, "large"));
    let problem = world.refused(&with_operations(11, "large"));
    assert_eq!(problem.name, ProblemName::TooLarge);
    assert_eq!(problem.field, "Api default/orders: spec.operations");
    assert!(problem.detail.ends_with("bytes, more than 8388608"), "{problem}");
    assert!(problem.remedy.starts_with("name a Policy that all operations share once, in spec.policies"));
    // Whichever of the two grows.
    assert_eq!(world.refused(&large_policy(840)).name, ProblemName::TooLarge);
    // What would have 5 GB is told in no time: nothing of that size is made.
    world.put(&with_operations(1, ""));
    world.put(&large_policy(500));
    let mut huge = changes(&with_operations(1, "large"));
    let Action::Put { spec: Spec::Api(api), .. } = &mut huge[0].action else { panic!() };
    let one = api.operations[0].clone();
    api.operations =
        (0..10_000).map(|number| OperationSpec { path: format!("/{number}"), ..one.clone() }).collect();
    let problem = world.change(huge).unwrap_err();
    assert!(problem.detail.contains("it has 5120"), "{problem}");
}
