//! Referential integrity.

use hanse_management::{Kind, ProblemName};

use crate::fixture::{World, changes, delete, told};

#[test]
fn what_is_used_is_not_deleted_and_the_refusal_names_who_uses_it() {
    let mut world = World::with_orders();
    for (key, expected) in [
        (
            "Application shop",
            "Application default/shop: Application default/shop is used by Subscription default/shop-orders, Credential \
             default/shop-key (delete those first, or delete it with cascade)",
        ),
        ("Plan gold", "Plan default/gold: Plan default/gold is used by Subscription default/shop-orders"),
        (
            "Api orders",
            "Api default/orders: Api default/orders is used by Binding default/orders-production, Subscription \
             default/shop-orders",
        ),
        (
            "Upstream backend",
            "Upstream default/backend: Upstream default/backend is used by Api default/orders",
        ),
        (
            "Policy stamp",
            "Policy default/stamp: Policy default/stamp is used by Api default/orders (take it out of Api \
             default/orders: spec.policies[0] first)",
        ),
        ("Environment production", "Environment production: Environment production is used by Binding"),
        (
            "Region us-east",
            "Region us-east: Region us-east is used by Environment production, Environment sandbox (take it out of \
             Environment production: spec.regions[1] first)",
        ),
        (
            "Organization default",
            "Organization default: Organization default owns Policy default/stamp, Upstream",
        ),
    ] {
        let problem = world.delete(key, false).unwrap_err();
        assert_eq!(problem.name, ProblemName::InUse);
        assert!(problem.to_string().starts_with(expected), "\n   was: {problem}\nwanted: {expected}");
    }
}

#[test]
fn a_refusal_names_five_and_counts_the_rest() {
    let mut world = World::new();
    let mut yaml = "{kind: Application, name: shop}".to_owned();
    for number in 0..8 {
        yaml += &format!(
            "\n---\n{{kind: Credential, name: k{number}, spec: {{application: shop, digest: 'sha256:{:064x}'}}}}",
            1 << number
        );
    }
    world.put(&yaml);
    let problem = world.delete("Application shop", false).unwrap_err();
    assert!(problem.detail.ends_with("Credential default/k4, 3 more"), "{problem}");
}

#[test]
fn a_cascade_takes_what_needs_it_and_tells() {
    let mut world = World::with_orders();
    let accepted = world.delete("Application shop", true).unwrap();
    assert_eq!(
        told(&accepted),
        [
            "deleted Application default/shop 0",
            "deleted Subscription default/shop-orders 0",
            "deleted Credential default/shop-key 0"
        ]
    );
    let accepted = world.delete("Upstream backend", true).unwrap();
    assert_eq!(
        told(&accepted),
        [
            "deleted Upstream default/backend 0",
            "deleted Api default/orders 0",
            "deleted ApiRevision default/orders-r1 0",
            "deleted Binding default/orders-production 0"
        ]
    );
    let entry = world.state.journal_since(world.state.revision() - 1).unwrap().next().unwrap();
    assert_eq!(entry.keys.len(), 4);
}

#[test]
fn revisions_go_with_their_api_unasked() {
    let mut world = World::with_orders();
    world.delete("Subscription shop-orders", false).unwrap();
    world.delete("Binding orders-production", false).unwrap();
    world.delete("Api orders", false).unwrap();
    assert!(world.names(Kind::ApiRevision).is_empty());
}

#[test]
fn a_pinned_binding_holds_its_api() {
    let mut world = World::with_orders();
    world.put(
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1}}",
    );
    world.delete("Subscription shop-orders", false).unwrap();
    let problem = world.delete("Api orders", false).unwrap_err();
    assert_eq!(problem.detail, "Api default/orders is used by Binding default/orders-production");
    world.delete("Api orders", true).unwrap();
    assert!(world.names(Kind::Binding).is_empty());
}

#[test]
fn an_organization_goes_with_everything_it_owns() {
    let mut world = World::with_orders()
        .with("{kind: Organization, name: retail}\n---\n{kind: Plan, organization: retail, name: x}");
    world.delete("Organization default", true).unwrap();
    let left: Vec<String> = world.state.resources().map(|resource| resource.key.to_string()).collect();
    assert_eq!(
        left,
        [
            "Organization retail",
            "Region eu-west",
            "Region us-east",
            "Environment production",
            "Environment sandbox",
            "Plan retail/x"
        ]
    );
    assert!(world.state.references.iter().all(|(_, source)| source.kind == Kind::Environment));
}

#[test]
fn a_cascade_never_takes_an_environment_with_one_of_its_regions() {
    let mut world = World::with_orders();
    let problem = world.delete("Region us-east", true).unwrap_err();
    assert_eq!(problem.name, ProblemName::InUse);
    assert!(
        problem.remedy.contains("take it out of Environment production: spec.regions[1] first"),
        "{problem}"
    );
    let mut together = changes(
        "{kind: Environment, name: production, spec: {regions: [eu-west]}}\n---\n{kind: Environment, name: sandbox, spec: {regions: [eu-west]}}",
    );
    together.push(delete("Region us-east", false));
    world.change(together).unwrap();
}

#[test]
fn explicit_deletes_in_one_command_need_no_cascade_and_no_order() {
    let mut world = World::with_orders();
    let gone = ["Application shop", "Credential shop-key", "Subscription shop-orders"];
    let accepted = world.change(gone.iter().map(|key| delete(key, false)).collect()).unwrap();
    assert_eq!(accepted.changes.len(), 3);
    // A cascade and an explicit delete of the same thing meet.
    world.change(vec![delete("Binding orders-production", false), delete("Api orders", true)]).unwrap();
}

#[test]
fn what_does_not_exist_cannot_be_deleted() {
    let mut world = World::new();
    let problem = world.delete("Plan gold", true).unwrap_err();
    assert_eq!(
        (problem.name, problem.detail.as_str()),
        (ProblemName::NotFound, "Plan default/gold does not exist")
    );
}

#[test]
fn what_is_put_is_not_deleted_by_a_cascade_of_the_same_command() {
    let mut world = World::with_orders();
    let mut both = changes(
        "{kind: Subscription, name: shop-orders, spec: {application: shop, api: orders, plan: gold}}",
    );
    both.push(delete("Application shop", true));
    let problem = world.change(both).unwrap_err();
    assert_eq!(problem.name, ProblemName::Invalid);
    assert!(
        problem.detail.starts_with("Subscription default/shop-orders is put by the same command"),
        "{problem}"
    );

    let mut both = changes(
        "{kind: Subscription, name: shop-orders, spec: {application: shop, api: orders, plan: gold}}",
    );
    both.push(delete("Plan gold", false));
    let problem = world.change(both).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "Subscription default/shop-orders: spec.plan: Plan default/gold is deleted by the same command (name another one, \
         or do not delete it)"
    );
}

#[test]
fn the_last_good_operators_token_stays() {
    let token = |name: &str, byte: &str, expiry: &str| {
        format!(
            "{{kind: Token, name: {name}, spec: {{role: admin, digest: 'sha256:{}'{expiry}}}}}",
            byte.repeat(32)
        )
    };
    let end = crate::fixture::START_MS / 1000 + 3_600;
    let mut world = World::new().with(&token("first", "01", ""));
    let problem = world.delete("Token first", true).unwrap_err();
    assert_eq!(problem.name, ProblemName::InUse);
    assert!(problem.remedy.contains("hanse token create"), "{problem}");

    // Nor may it be replaced by one that ends before it begins to count.
    world.put(&token("second", "02", &format!(", expiresAt: {end}")));
    world.delete("Token first", false).unwrap();
    world.now_ms += 3_600_000;
    world.put(&token("third", "03", ""));
    world.delete("Token second", false).unwrap();
    assert!(world.delete("Token third", false).is_err());
}

#[test]
fn what_is_protected_is_not_deleted_until_a_manifest_lifts_it() {
    let mut world = World::with_orders();
    let plan = "{kind: Plan, name: gold, spec: {rate: {requests: 600, per: minute}}}";
    let says = |protected: &str| plan.replace("name: gold,", &format!("name: gold, protected: {protected},"));
    world.put(plan);
    assert_eq!(told(&world.put(&says("true"))).len(), 1, "it is a change by itself");
    assert_eq!(world.put(&says("true")).changes[0].action, "unchanged");
    assert!(world.get("Plan gold").metadata.protected);

    // By itself, with what it needs, and with its organization.
    for (root, expected) in [
        (
            "Plan gold",
            "Plan default/gold: Plan default/gold is protected (to delete it, apply Plan default/gold with",
        ),
        (
            "Organization default",
            "Plan default/gold: Plan default/gold, which would go with Organization default, is protected",
        ),
    ] {
        let problem = world.delete(root, true).unwrap_err();
        assert_eq!(problem.name, ProblemName::Conflict);
        assert!(problem.to_string().starts_with(expected), "\n   was: {problem}\nwanted: {expected}");
    }
    // Put by a manifest that does not speak of it, it stays.
    world.put(&plan.replace("600", "700"));
    assert!(world.get("Plan gold").metadata.protected);
    world.put(&says("false"));
    world.delete("Plan gold", true).unwrap();
    world.put(plan);
    assert!(!world.get("Plan gold").metadata.protected);
}

#[test]
fn a_protected_binding_keeps_its_api() {
    let mut world = World::with_orders();
    let binding = "{kind: Binding, name: orders-production, protected: true, spec: {api: orders, environment: production}}";
    world.put(binding);
    let problem = world.delete("Api orders", true).unwrap_err();
    assert_eq!(
        (problem.name, problem.field.as_str()),
        (ProblemName::Conflict, "Binding default/orders-production")
    );
    // `new` stands for the number that it serves already.
    world.put(&binding.replace("environment: production", "environment: production, revision: 1"));
    let unprotected = binding
        .replace("protected: true", "protected: false")
        .replace("environment: production", "environment: production, revision: new");
    assert_eq!(world.put(&unprotected).changes[0].action, "updated");
    world.delete("Api orders", true).unwrap();
}

#[test]
fn an_organization_owns_its_resources_and_is_used_by_tokens() {
    let digest = "7".repeat(64);
    let mut world = World::with_orders()
        .with("{kind: Organization, name: retail}\n---\n{kind: Plan, organization: retail, name: gold}")
        .with(&format!(
            "{{kind: Token, name: ci, spec: {{role: publisher, organization: retail, digest: 'sha256:{digest}'}}}}"
        ));
    let problem = world.delete("Organization retail", false).unwrap_err();
    assert_eq!(problem.detail, "Organization retail owns Plan retail/gold and is used by Token ci");
    world.delete("Plan retail/gold", false).unwrap();
    let problem = world.delete("Organization retail", false).unwrap_err();
    assert_eq!(problem.detail, "Organization retail is used by Token ci");
    world.delete("Organization retail", true).unwrap();
    assert!(!world.has("Token ci"));
}
