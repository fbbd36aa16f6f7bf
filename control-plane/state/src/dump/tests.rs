use hanse_management::{Problem, ProblemName};

use super::*;
use crate::{
    Change,
    fixture::{World, told},
};

/// Version `number` of the Api of ORDERS.
fn orders(number: u64) -> String {
    format!(
        "{{kind: Api, name: orders, spec: {{context: /orders/v1, version: '{number}', policies: [stamp], upstream: backend, \
         operations: [{{method: GET, path: '/orders/{{id}}'}}]}}}}"
    )
}

fn bind(name: &str, environment: &str, revision: &str) -> String {
    format!(
        "{{kind: Binding, name: {name}, spec: {{api: orders, environment: {environment}, revision: {revision}}}}}"
    )
}

/// Production was rolled back from r3 to r2, the sandbox follows r4.
fn rolled_back() -> World {
    let mut world = World::with_orders();
    world.put(&bind("orders-production", "production", "new"));
    world.put(&bind("orders-sandbox", "sandbox", "latest"));
    for number in [2, 3] {
        world.put(&format!("{}\n---\n{}", orders(number), bind("orders-production", "production", "new")));
    }
    world.put(&bind("orders-production", "production", "2"));
    world.put(&orders(4));
    world
}

fn dumped(state: &State) -> Vec<Manifest> {
    Dump::of(state.clone(), true).resources_after(None).collect()
}

/// Applies a dump resource by resource, the smallest parts there are.
fn restore(world: &mut World, dump: Vec<Manifest>) -> Result<(), Problem> {
    dump.into_iter().try_for_each(|manifest| world.change(vec![Change::from(manifest)]).map(drop))
}

fn into_another(state: &State) -> World {
    let mut other = World::empty();
    restore(&mut other, dumped(state)).unwrap_or_else(|problem| panic!("{problem}"));
    other
}

#[test]
fn another_federation_serves_the_same_and_can_roll_back() {
    let world = rolled_back();
    let mut other = into_another(&world.state);
    assert_eq!(dumped(&other.state), dumped(&world.state));
    assert_eq!(other.names(Kind::ApiRevision), ["orders-r1", "orders-r2", "orders-r3", "orders-r4"]);
    let served = |world: &World, binding: &str| world.get(binding).metadata.served.clone();
    assert_eq!(served(&other, "Binding orders-production"), [1, 3, 2]);
    assert_eq!(served(&other, "Binding orders-sandbox"), [1, 2, 3, 4]);
    other.put(&bind("orders-production", "production", "1"));
    let made = other.put(&orders(5));
    assert!(
        told(&made).iter().any(|line| line.starts_with("created ApiRevision default/orders-r5")),
        "{made:?}"
    );
}

/// However it is cut into parts.
#[test]
fn an_api_that_went_back_to_an_older_content_is_restored() {
    let mut world = World::with_orders();
    world.put(&bind("orders-production", "production", "1"));
    let first = world.get("Api orders").spec.to_json();
    world.put(&orders(2));
    world.put(&serde_json::json!({"kind": "Api", "name": "orders", "spec": first}).to_string());
    assert_eq!(world.get("Api orders").metadata.api_revision, 3);
    let dump = dumped(&world.state);
    for cut in 0..dump.len() {
        let mut other = World::empty();
        for part in [&dump[..cut], &dump[cut..]].into_iter().filter(|part| !part.is_empty()) {
            let changes = part.iter().cloned().map(Change::from).collect();
            other.change(changes).unwrap_or_else(|problem| panic!("{cut}: {problem}"));
        }
        assert_eq!(dumped(&other.state), dump, "{cut}");
        assert_eq!(other.get("Binding orders-production").metadata.served, [1]);
    }
}

#[test]
fn a_dump_has_what_bindings_need_and_no_join_tokens() {
    let mut world = rolled_back();
    world.put("{kind: Token, name: bootstrap, spec: {role: admin, digest: 'sha256:5555555555555555555555555555555555555555555555555555555555555555'}}");
    world.put("{kind: Token, name: ops, spec: {role: admin, digest: 'sha256:3333333333333333333333333333333333333333333333333333333333333333'}}");
    let expires = world.now_ms / 1_000 + 60;
    world.put(&format!(
        "{{kind: JoinToken, name: t, spec: {{role: server, uses: 1, expiresAt: {expires}, digest: 'sha256:4444444444444444444444444444444444444444444444444444444444444444'}}}}"
    ));
    world.put(&bind("orders-sandbox", "sandbox", "4"));
    let named = |tokens: bool, kind: Kind| -> Vec<String> {
        let dump = Dump::of(world.state.clone(), tokens);
        let of_kind = dump.resources_after(None).filter(|manifest| manifest.key.kind == kind);
        of_kind.map(|manifest| manifest.key.name.to_string()).collect()
    };
    assert_eq!(named(true, Kind::ApiRevision), ["orders-r1", "orders-r2", "orders-r3"]);
    assert_eq!(named(true, Kind::JoinToken), [""; 0]);
    assert_eq!(named(true, Kind::Token), ["ops"]);
    assert_eq!(named(false, Kind::Token), [""; 0]);
    let digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    let key =
        dumped(&world.state).into_iter().find(|manifest| manifest.key.kind == Kind::Credential).unwrap();
    assert_eq!(key.spec.to_json()["digest"], digest, "it is whole");
}

/// Resource by resource: the Environment has its tunnel before the Binding needs it.
#[test]
fn what_is_sent_on_is_sent_on_in_another_federation() {
    let mut world = rolled_back();
    world.put("{kind: Environment, name: production, spec: {regions: [eu-west, us-east], tunnel: true}}");
    world.put(
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 2, \
         regions: {names: [us-east]}, reach: federation}}",
    );
    let other = into_another(&world.state);
    assert_eq!(dumped(&other.state), dumped(&world.state));
    let key = crate::fixture::key("Binding orders-production");
    assert_eq!(other.state.serving(&key).unwrap().sent_on_from, [crate::fixture::name("eu-west")]);
}

#[test]
fn a_second_restore_changes_nothing() {
    let world = rolled_back();
    let mut other = into_another(&world.state);
    let before = other.state.revision();
    restore(&mut other, dumped(&world.state)).unwrap();
    assert_eq!(other.state.revision(), before);
}

#[test]
fn what_is_protected_is_restored_protected() {
    let plan = |protected: bool| format!("{{kind: Plan, name: gold, protected: {protected}}}");
    let world = World::with_orders().with(&plan(true));
    let mut other = into_another(&world.state);
    assert_eq!(dumped(&other.state), dumped(&world.state));
    assert!(other.get("Plan gold").metadata.protected && !other.get("Application shop").metadata.protected);
    let refused = other.delete("Plan gold", true).unwrap_err();
    assert_eq!(refused.detail, "Plan default/gold is protected");

    // Protection that is not as in the dump is a difference.
    other.put(&plan(false));
    let problem = restore(&mut other, dumped(&world.state)).unwrap_err();
    assert_eq!(problem.detail, "already there, and not as in the dump: Plan default/gold");
    assert!(!other.get("Plan gold").metadata.protected);
}

#[test]
fn a_dump_replaces_nothing() {
    let world = rolled_back();
    let mut other = World::new().with("{kind: Plan, name: gold, spec: {rate: {requests: 5, per: minute}}}");
    other.put("{kind: Application, name: shop, labels: {team: x}}");
    let changes = dumped(&world.state).into_iter().map(Change::from).collect();
    let problem = other.change(changes).unwrap_err();
    assert_eq!(problem.name, ProblemName::Conflict);
    let named = "already there, and not as in the dump: Plan default/gold, Application default/shop";
    assert_eq!(problem.detail, named);
}

#[test]
fn an_api_that_was_deleted_comes_back_under_its_numbers() {
    let world = rolled_back();
    let mut other = world.clone();
    other.delete("Api orders", true).unwrap();
    restore(&mut other, dumped(&world.state)).unwrap();
    assert_eq!(dumped(&other.state), dumped(&world.state));
    other.put(&orders(5));
    assert_eq!(other.get("Api orders").metadata.api_revision, 5);
    // Its numbers had gone on before it was deleted.
    other.put(&orders(6));
    other.delete("Api orders", true).unwrap();
    restore(&mut other, dumped(&world.state)).unwrap();
    assert_eq!(other.get("Api orders").metadata.api_revision, 4);
    other.put(&orders(7));
    assert_eq!(other.get("Api orders").metadata.api_revision, 7, "no number is used for something else");
}

#[test]
fn revisions_that_bindings_of_a_later_part_need_are_not_dropped() {
    let mut world = World::with_orders();
    let name = |number: u64| format!("b{number}");
    for number in 1..=130 {
        world.put(&orders(number));
        // One Api has one Binding in an Environment and region.
        let environment = format!("e{number}");
        world.put(&format!("{{kind: Environment, name: {environment}, spec: {{regions: [eu-west]}}}}"));
        world.put(&bind(&name(number), &environment, &number.to_string()));
    }
    let other = into_another(&world.state);
    assert_eq!(dumped(&other.state), dumped(&world.state));
}

#[test]
fn what_a_dump_says_of_revisions_must_hold() {
    let world = World::with_orders();
    let revision = |number: u64, more: &str| {
        format!(
            "{{kind: ApiRevision, name: orders-r{number}, restored: {{}}, spec: {{api: orders, number: {number}, spec: {{context: /x, \
             version: '1', operations: []{more}}}}}}}"
        )
    };
    world.check(
        &revision(1, ""),
        "ApiRevision default/orders-r1: already there, and not as in the dump: ApiRevision default/orders-r1",
    );
    world.check(
        &revision(2, ""),
        "ApiRevision default/orders-r2: spec.number: Api default/orders is at r1, and r2 is not",
    );
    world.check(
        &revision(2, ", policies: [stamp]"),
        "ApiRevision default/orders-r2: spec.policies: stamp, which the Api names, is not among them",
    );
    world.check(
        &revision(2, "").replace("name: orders-r2", "name: orders-r3"),
        "ApiRevision default/orders-r3: name: orders-r3 is not the name of revision 2 of Api orders",
    );
    world.check(
        &revision(2, "").replace("context: /x", "context: x"),
        "ApiRevision default/orders-r2: spec.spec.context: ",
    );
    let binding = "{kind: Binding, name: b, restored: {served: [7, 1]}, spec: {api: orders, environment: sandbox, revision: 1}}";
    world.check(binding, "Binding default/b: restored.served: Api default/orders has no revision 7");
    world
        .check(&binding.replace("[7, 1]", "[1, 1]"), "Binding default/b: restored.served: [1, 1] is no list");
    world.check(
        "{kind: Plan, name: p, restored: {apiRevision: 1}}",
        "Plan default/p: restored.apiRevision: Plan has no ApiRevisions",
    );
}

/// A Secret with two fields.
const SECRET: &str = "{kind: Secret, name: s, spec: {type: opaque, data: {a: private-1, b: private-2}}}";

#[test]
fn a_dump_has_secrets_without_their_data() {
    let world = World::new().with_key().with(SECRET);
    let dump = dumped(&world.state);
    assert!(!serde_json::to_string(&dump).unwrap().contains("version"), "{dump:?}");
    let mut other = World::empty().with_key();
    let problem = restore(&mut other, dump.clone()).unwrap_err();
    assert_eq!((problem.name, &*problem.field), (ProblemName::Invalid, "Secret default/s"));
    other.put(SECRET);
    restore(&mut other, dump.clone()).unwrap();
    assert_eq!(dumped(&other.state), dump);
    other.put("{kind: Secret, name: s, spec: {type: opaque, data: {a: private-1}}}");
    assert_eq!(restore(&mut other, dump).unwrap_err().name, ProblemName::Conflict);
}

#[test]
fn secrets_without_data_are_named_together() {
    let mut world = World::new().with_key();
    let secrets = |count: u32| (0..count).map(|n| format!("s{n:02}"));
    for name in secrets(12) {
        world.put(&SECRET.replace("name: s", &format!("name: {name}")));
    }
    let changes: Vec<Change> = dumped(&world.state).into_iter().map(Change::from).collect();
    let problem = World::empty().with_key().change(changes).unwrap_err();
    let named: Vec<String> = secrets(10).map(|name| format!("Secret default/{name}")).collect();
    let expected =
        format!("a dump has no data of Secrets, and these are not there: {} and 2 more", named.join(", "));
    assert_eq!(problem.detail, expected);
}
