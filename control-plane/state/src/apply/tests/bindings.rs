//! Bindings: which ApiRevision they say, which they serve, and what they served.

use serde_json::json;

use crate::{
    ChangeResult,
    fixture::{World, told},
};

fn orders(version: u32) -> String {
    format!(
        "{{kind: Api, name: orders, spec: {{context: /orders/v1, version: '{version}', policies: [stamp], upstream: backend, \
         operations: [{{method: GET, path: '/orders/{{id}}'}}]}}}}"
    )
}

fn binding(environment: &str, revision: &str) -> String {
    format!(
        "{{kind: Binding, name: orders-{environment}, spec: {{api: orders, environment: {environment}, revision: {revision}}}}}"
    )
}

/// What a Binding says, the revision it serves and those it served.
fn serves(world: &World, name: &str) -> (serde_json::Value, serde_json::Value, serde_json::Value) {
    let binding = world.get(&format!("Binding {name}"));
    let status = binding.status().unwrap();
    (binding.spec.to_json()["revision"].clone(), status["serving"].clone(), status["served"].clone())
}

#[test]
fn new_is_stored_as_the_number_that_the_command_made() {
    let mut world = World::with_orders();
    let both = format!("{}\n---\n{}", orders(2), binding("sandbox", "new"));
    world.put(&both);
    assert_eq!(serves(&world, "orders-sandbox"), (json!(2), json!(2), json!([2])));
    // The same again changes nothing.
    let accepted = world.put(&both);
    assert_eq!(
        told(&accepted),
        ["unchanged Api default/orders 3", "unchanged Binding default/orders-sandbox 3"]
    );
    assert_eq!(accepted.revision, 3);
    // Nor does it follow what comes later.
    world.put(&orders(3));
    assert_eq!(serves(&world, "orders-sandbox"), (json!(2), json!(2), json!([2])));
    // Each of two commands gets what it made.
    world.put(&format!("{}\n---\n{}", orders(4), binding("sandbox", "new")));
    assert_eq!(serves(&world, "orders-sandbox"), (json!(4), json!(4), json!([2, 4])));
    let shown = world.get("Binding orders-sandbox").metadata.revision;
    assert_eq!(shown, world.state.revision());
    // Other labels are a change, with the same number too.
    let labelled = binding("sandbox", "new").replace("spec:", "labels: {a: b}, spec:");
    assert!(told(&world.put(&labelled))[0].starts_with("updated Binding default/orders-sandbox"));
    assert_eq!(serves(&world, "orders-sandbox").0, json!(4));
}

#[test]
fn new_of_no_api_is_refused() {
    let world = World::new();
    world.check(
        &binding("production", "new"),
        "Binding default/orders-production: spec.api: Api default/orders does not exist",
    );
}

#[test]
fn a_command_tells_which_bindings_moved() {
    let mut world = World::with_orders();
    world.put(&binding("sandbox", "1"));
    let moved = |world: &mut World, yaml: &str| {
        let accepted = world.put(yaml);
        let moved = accepted.changes.iter().filter(|change| change.action == ChangeResult::MOVED);
        moved.map(|change| format!("{} {}", change.key, change.revision)).collect::<Vec<_>>()
    };
    let own = world.revision_of("Binding orders-production");
    let production = [format!("Binding default/orders-production {own}")];
    // By the Api, by a Policy that it names, by the Upstream that it embeds.
    assert_eq!(moved(&mut world, &orders(2)), production);
    let stamp = "{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: '2'}}}}}";
    assert_eq!(moved(&mut world, stamp), production);
    let backend = "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://10.0.0.8:8080'}]}}";
    assert_eq!(moved(&mut world, backend), production);
    assert_eq!(world.revision_of("Binding orders-production"), own, "it is unchanged itself");
    assert_eq!(serves(&world, "orders-production"), (json!("latest"), json!(4), json!([1, 2, 3, 4])));
    // What makes no revision moves none.
    assert_eq!(moved(&mut world, &orders(2)), [""; 0]);
    assert_eq!(moved(&mut world, "{kind: Policy, name: other}"), [""; 0]);
    // One that is put is told once, as what became of it.
    let both = format!("{}\n---\n{}", orders(5), binding("production", "latest"));
    assert_eq!(
        told(&world.put(&both))[1..],
        [
            format!("moved Binding default/orders-production {own}"),
            format!("created ApiRevision default/orders-r5 {}", world.state.revision())
        ]
    );
}

#[test]
fn the_last_ten_are_served_and_the_highest_always() {
    let mut world = World::with_orders();
    for version in 2..=12 {
        world.put(&orders(version));
    }
    assert_eq!(serves(&world, "orders-production").2, json!((3..=12).collect::<Vec<_>>()));
    // Back and forth: each number is there once, the present one last, and 12 stays.
    for number in 2..=11 {
        world.put(&binding("production", &number.to_string()));
    }
    assert_eq!(
        serves(&world, "orders-production"),
        (json!(11), json!(11), json!([12, 3, 4, 5, 6, 7, 8, 9, 10, 11]))
    );
}

#[test]
fn what_was_served_is_kept() {
    let mut world = World::with_orders();
    world.put(&binding("sandbox", "1"));
    world.put(&orders(2));
    world.put(&binding("sandbox", "2"));
    for version in 3..=150 {
        world.put(&orders(version));
    }
    world.put(&binding("sandbox", "1"));
    assert_eq!(serves(&world, "orders-sandbox").2, json!([2, 1]));
    assert!(!world.has("ApiRevision orders-r3"));
    // Without the Binding they go as others do.
    world.delete("Binding orders-sandbox", false).unwrap();
    world.put(&orders(151));
    world.put(&orders(152));
    assert!(!world.has("ApiRevision orders-r1") && !world.has("ApiRevision orders-r2"));
}

#[test]
fn the_newest_revisions_are_kept_however_many_were_served() {
    let mut world = World::with_orders();
    for version in 2..=100 {
        world.put(&orders(version));
    }
    // Ten Bindings that served ten each.
    for environment in 0..10 {
        world.put(&format!("{{kind: Environment, name: e{environment}, spec: {{regions: [eu-west]}}}}"));
        for number in 1..=10 {
            world.put(&binding(&format!("e{environment}"), &(environment * 10 + number).to_string()));
        }
    }
    world.put(&binding("production", "100"));
    for version in 101..=111 {
        world.put(&orders(version));
    }
    assert!(!world.has("ApiRevision orders-r101") && world.has("ApiRevision orders-r102"));
    assert!((1..=100).all(|number| world.has(&format!("ApiRevision orders-r{number}"))));
    // What a Binding that goes had kept goes with it.
    world.delete("Binding orders-e0", false).unwrap();
    assert!(!world.has("ApiRevision orders-r1") && world.has("ApiRevision orders-r11"));
}

#[test]
fn a_binding_of_another_api_or_environment_begins_anew() {
    let mut world = World::with_orders();
    world.put(&orders(2));
    world.put(&binding("sandbox", "latest"));
    let elsewhere = binding("sandbox", "1").replace("environment: sandbox", "environment: production");
    world.delete("Binding orders-production", false).unwrap();
    world.put(&elsewhere);
    assert_eq!(serves(&world, "orders-sandbox").2, json!([1]), "production never served 2");
    world.put(&elsewhere.replace("production", "sandbox"));
    world.put(&binding("production", "latest"));
    world.put(
        "{kind: Api, name: bills, spec: {context: /bills, version: '1', upstream: backend, operations: []}}",
    );
    world.put(&binding("production", "latest").replace("api: orders", "api: bills"));
    assert_eq!(serves(&world, "orders-production").2, json!([1]));
}
