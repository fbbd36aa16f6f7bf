//! Puts, preconditions, what a command tells.

use hanse_management::{
    Digest, Kind, ProblemName, Spec,
    kinds::{ApplicationSpec, OperationSpec, OrganizationSpec},
};

use crate::{
    Action, Change, ChangeResult, CommandBody, Lineage, Outcome,
    fixture::{START_MS, World, changes, key, name, told},
};

#[test]
fn a_command_makes_one_revision_and_tells_each_change() {
    let mut world = World::new();
    let before = world.state.revision();
    let accepted = world.put("{kind: Plan, name: gold}\n---\n{kind: Plan, name: silver}");
    assert_eq!(accepted.revision, before + 1);
    assert_eq!(told(&accepted), ["created Plan default/gold 2", "created Plan default/silver 2"]);

    let accepted =
        world.put("{kind: Plan, name: silver}\n---\n{kind: Plan, name: gold, spec: {displayName: Gold}}");
    assert_eq!(told(&accepted), ["unchanged Plan default/silver 2", "updated Plan default/gold 3"]);
    assert_eq!(world.revision_of("Plan silver"), 2);
    assert_eq!(world.get("Plan gold").metadata.created_at_ms, START_MS + 2);
    assert_eq!(world.get("Plan gold").metadata.updated_at_ms, START_MS + 3);
}

#[test]
fn a_command_that_changes_nothing_keeps_the_revision() {
    let mut world = World::with_orders();
    let before = world.state.clone();
    let accepted = world.put(crate::fixture::ORDERS);
    assert_eq!(accepted.revision, before.revision());
    assert!(accepted.changes.iter().all(|change| change.action == ChangeResult::UNCHANGED), "{accepted:?}");
    assert!(world.state.resources().eq(before.resources()));
    assert_eq!(world.change(Vec::new()).unwrap().revision, before.revision());
}

#[test]
fn the_journal_says_what_each_revision_touched() {
    let mut world = World::new();
    world.put("{kind: Plan, name: gold}");
    world.put("{kind: Plan, name: gold}");
    world.delete("Plan gold", false).unwrap();
    let entries: Vec<_> =
        world.state.journal_since(1).unwrap().map(|entry| (entry.revision, entry.keys.clone())).collect();
    assert_eq!(entries, [(2, vec![key("Plan gold")]), (3, vec![key("Plan gold")])]);
    assert_eq!(world.state.journal_since(3).unwrap().count(), 0);
    assert_eq!(world.state.time_of(2), Some(START_MS + 2));
    assert_eq!(world.state.time_of(9), None);
}

#[test]
fn the_journal_is_bounded() {
    let mut world = World::empty();
    for number in 0..10_010 {
        let spec = OrganizationSpec { display_name: Some(format!("{number} ")) };
        let action = Action::put(Default::default(), spec);
        let change = Change { key: key("Organization default"), action, if_revision: None };
        world.change(vec![change]).unwrap();
    }
    assert_eq!(world.state.revision(), 10_010);
    assert!(world.state.journal_since(9).is_none(), "10 is forgotten");
    assert_eq!(world.state.journal_since(10).unwrap().count(), 10_000);
    assert_eq!(world.state.time_of(10), None);
}

#[test]
fn a_stale_revision_is_refused() {
    let mut world = World::new();
    world.put("{kind: Plan, name: gold}");
    world.put("{kind: Plan, name: gold, revision: 2, spec: {displayName: a}}");
    let problem = world.refused("{kind: Plan, name: gold, revision: 2, spec: {displayName: b}}");
    assert_eq!(problem.name, ProblemName::Stale);
    assert_eq!(
        problem.to_string(),
        "Plan default/gold: revision: Plan default/gold is at revision 3, not 2: it was changed since (read it again and \
         repeat the change on what is there now)"
    );
    // Even where nothing would change.
    assert_eq!(
        world.refused("{kind: Plan, name: gold, revision: 2, spec: {displayName: a}}").name,
        ProblemName::Stale
    );
    assert_eq!(world.refused("{kind: Plan, name: gone, revision: 2}").name, ProblemName::Stale);
    let problem = world.refused("{kind: Plan, name: gold, revision: 0}");
    assert_eq!(problem.name, ProblemName::Conflict);
    assert!(problem.to_string().contains("to replace it, name its revision, 3"), "{problem}");
    world.put("{kind: Plan, name: fresh, revision: 0}");
}

#[test]
fn of_two_writes_in_one_batch_the_second_gets_another_revision_or_is_stale() {
    let mut world = World::new();
    world.put("{kind: Plan, name: gold}");
    let read = world.revision_of("Plan gold");
    let write = |text: &str| {
        changes(&format!("{{kind: Plan, name: gold, revision: {read}, spec: {{displayName: {text}}}}}"))
    };
    let first = world.change(write("a")).unwrap();
    let second = world.change(write("b")).unwrap_err();
    assert_eq!((first.revision, second.name), (read + 1, ProblemName::Stale));
    let third = world.put("{kind: Plan, name: gold, spec: {displayName: c}}");
    assert_eq!(third.changes[0].revision, read + 2);
}

#[test]
fn two_changes_of_one_resource_are_refused() {
    let world = World::new();
    world.check(
        "{kind: Plan, name: gold}\n---\n{kind: Plan, name: silver}\n---\n{kind: Plan, name: gold}",
        "Plan default/gold: Plan default/gold is given more than once, as changes 1 and 3 (keep one of them",
    );
}

#[test]
fn nothing_is_half_applied() {
    let world = World::new();
    world.check(
        "{kind: Plan, name: gold}\n---\n{kind: Subscription, name: s, spec: {application: a, api: b, plan: gold}}",
        "Subscription default/s: spec.application: Application default/a does not exist (create Application default/a \
         first, or in the same command)",
    );
    assert!(!world.has("Plan gold"));
}

#[test]
fn order_inside_a_command_does_not_matter() {
    let mut world = World::new();
    world.put("{kind: Credential, name: c, spec: {application: a, digest: 'sha256:2222222222222222222222222222222222222222222222222222222222222222'}}\n---\n{kind: Application, name: a}");
    // A replacement refers to what is put by the same command while the old target goes.
    let mut both = changes(
        "{kind: Application, name: b}\n---\n{kind: Credential, name: c, spec: {application: b, digest: 'sha256:2222222222222222222222222222222222222222222222222222222222222222'}}",
    );
    both.insert(0, crate::fixture::delete("Application a", false));
    let accepted = world.change(both).unwrap();
    assert_eq!(
        told(&accepted),
        [
            "deleted Application default/a 0",
            "created Application default/b 3",
            "updated Credential default/c 3"
        ]
    );
}

#[test]
fn every_missing_reference_names_its_field() {
    let world = World::with_orders();
    for (yaml, expected) in [
        (
            "{kind: Plan, name: x, organization: nobody}",
            "Plan nobody/x: organization: Organization nobody does not exist",
        ),
        (
            "{kind: Environment, name: x, spec: {regions: [eu-west, mars]}}",
            "Environment x: spec.regions[1]: Region mars does not exist",
        ),
        (
            "{kind: Upstream, name: x, spec: {endpoints: [{url: 'http://a', region: mars}]}}",
            "Upstream default/x: spec.endpoints[0].region: Region mars does not exist",
        ),
        (
            "{kind: Upstream, name: x, spec: {endpoints: [{url: 'http://a', environment: mars}]}}",
            "Upstream default/x: spec.endpoints[0].environment: Environment mars does not exist",
        ),
        (
            "{kind: Api, name: x, spec: {context: /x, version: '1', operations: [], policies: [nix]}}",
            "Api default/x: spec.policies[0]: Policy default/nix does not exist",
        ),
        (
            "{kind: Api, name: x, spec: {context: /x, version: '1', operations: [{method: GET, path: /, policies: [nix]}]}}",
            "Api default/x: spec.operations[0].policies[0]: Policy default/nix does not exist",
        ),
        (
            "{kind: Api, name: x, spec: {context: /x, version: '1', operations: [], upstream: nix}}",
            "Api default/x: spec.upstream: Upstream default/nix does not exist",
        ),
        (
            "{kind: Binding, name: x, spec: {api: orders, environment: staging}}",
            "Binding default/x: spec.environment: Environment staging does not exist (create Environment staging first",
        ),
        (
            "{kind: Binding, name: x, spec: {api: nix, environment: sandbox}}",
            "Binding default/x: spec.api: Api default/nix does not exist",
        ),
        (
            "{kind: Binding, name: x, spec: {api: orders, environment: sandbox, regions: {names: [mars]}}}",
            "Binding default/x: spec.regions.names[0]: Region mars does not exist",
        ),
        (
            "{kind: Binding, name: x, spec: {api: orders, environment: sandbox, upstream: nix}}",
            "Binding default/x: spec.upstream: Upstream default/nix does not exist",
        ),
        (
            "{kind: Binding, name: x, spec: {api: orders, environment: sandbox, revision: 7}}",
            "Binding default/x: spec.revision: Api orders has no revision 7; it has revision 1 (name one it has, `latest` or `new`)",
        ),
        (
            "{kind: Subscription, name: x, spec: {application: shop, api: orders, plan: nix}}",
            "Subscription default/x: spec.plan: Plan default/nix does not exist",
        ),
        (
            "{kind: Credential, name: x, spec: {application: nix, digest: 'sha256:2222222222222222222222222222222222222222222222222222222222222222'}}",
            "Credential default/x: spec.application: Application default/nix does not exist",
        ),
    ] {
        world.check(yaml, expected);
        assert_eq!(world.refused(yaml).name, ProblemName::MissingReference, "{yaml}");
    }
}

#[test]
fn a_resource_of_another_organization_is_not_found() {
    let world = World::with_orders().with("{kind: Organization, name: retail}");
    world.check(
        "{kind: Binding, organization: retail, name: x, spec: {api: orders, environment: sandbox}}",
        "Binding retail/x: spec.api: Api retail/orders does not exist",
    );
}

#[test]
fn what_the_server_makes_may_not_be_written() {
    let mut world = World::with_orders();
    let revision = world.get("ApiRevision orders-r1").spec.clone();
    let put = Action::put(Default::default(), revision);
    let change = Change { key: key("ApiRevision orders-r2"), action: put, if_revision: None };
    let problem = world.change(vec![change]).unwrap_err();
    assert!(
        problem
            .to_string()
            .starts_with("ApiRevision default/orders-r2: ApiRevision default/orders-r2 is written by"),
        "{problem}"
    );
    assert_eq!(world.delete("ApiRevision orders-r1", true).unwrap_err().name, ProblemName::Forbidden);
}

#[test]
fn a_spec_of_another_kind_or_a_wrong_owner_is_refused() {
    let mut world = World::new();
    let spec = || Spec::from(OrganizationSpec::default());
    let put = |key, spec| Change { key, action: Action::put(Default::default(), spec), if_revision: None };
    let problem = world.change(vec![put(key("Plan gold"), spec())]).unwrap_err();
    assert_eq!(problem.field, "Plan default/gold: kind");
    let mut owned = key("Organization retail");
    owned.organization = Some(name("default"));
    assert_eq!(
        world.change(vec![put(owned, spec())]).unwrap_err().field,
        "Organization default/retail: organization"
    );
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    world.now_ms -= 500;
    world.put("{kind: Plan, name: gold}");
    assert_eq!(world.state.time_ms(), START_MS + 1);
    assert_eq!(world.get("Plan gold").metadata.created_at_ms, START_MS + 1);
}

#[test]
fn a_history_starts_once_and_first() {
    let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
    let mut world = World::empty();
    let accepted = world.run(CommandBody::StartLineage(lineage.clone())).unwrap();
    assert_eq!((accepted.revision, world.state.lineage()), (1, Some(&lineage)));
    assert_eq!(
        world.run(CommandBody::StartLineage(lineage.clone())).unwrap_err().name,
        ProblemName::Conflict
    );
    assert_eq!(World::new().run(CommandBody::StartLineage(lineage)).unwrap_err().name, ProblemName::Conflict);
}

#[test]
fn a_shortened_digest_means_the_present_one() {
    let mut world = World::with_orders();
    let shown = world.shown("Credential shop-key");
    assert_eq!(shown["spec"]["digest"], "sha256:11111111…");
    let again = hanse_management::manifest::from_json(&shown, &name("default")).unwrap();
    let accepted = world.change(vec![again.into()]).unwrap();
    assert_eq!(accepted.changes[0].action, ChangeResult::UNCHANGED);

    // With another field changed, too.
    world.put("{kind: Credential, name: shop-key, spec: {application: shop, digest: 'sha256:11111111…', expiresAt: 9}}");
    assert_eq!(world.get("Credential shop-key").spec.secret(), Some(&Digest([0x11; 32])));
    world.check(
        "{kind: Credential, name: shop-key, spec: {application: shop, digest: 'sha256:22222222…'}}",
        "Credential default/shop-key: spec.digest: sha256:22222222… is a shortened digest, and not of the one that is there",
    );
    world.check(
        "{kind: Credential, name: fresh, spec: {application: shop, digest: 'sha256:11111111…'}}",
        "Credential default/fresh: spec.digest: sha256:11111111… is a shortened digest",
    );
}

#[test]
fn times_and_status_are_shown() {
    let world = World::with_orders();
    let api = world.get("Api orders");
    assert_eq!(api.status(), Some(serde_json::json!({"latestRevision": 1})));
    assert_eq!(api.metadata.created_at(), "2026-01-01T00:00:00.002Z");
    assert_eq!(world.get("Region eu-west").status(), None);
}

#[test]
fn too_large_resources_and_commands_are_refused() {
    let mut world = World::new();
    let mut api = changes(
        "{kind: Api, name: big, spec: {context: /big, version: '1', operations: [{method: GET, path: /}]}}",
    );
    let Action::Put { spec: Spec::Api(spec), .. } = &mut api[0].action else { panic!() };
    let operation = |number| OperationSpec {
        path: format!("/{number}/{}", "x".repeat(1900)),
        ..spec.operations[0].clone()
    };
    let operations: Vec<OperationSpec> = (0..4_350).map(operation).collect();
    spec.operations = operations[..4_000].to_vec();
    let mut larger = api.clone();
    world.change(api).unwrap();
    let Action::Put { spec: Spec::Api(spec), .. } = &mut larger[0].action else { panic!() };
    spec.operations = operations;
    let problem = world.change(larger).unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge);
    assert!(problem.to_string().starts_with("1 changes with 84"), "{problem}");

    let application = |number: usize| Change {
        key: key(&format!("Application a{number}")),
        action: Action::put(Default::default(), ApplicationSpec::default()),
        if_revision: None,
    };
    let problem = world.change((0..140_000).map(application).collect()).unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge, "{problem}");
}

#[test]
fn kinds_are_listed_in_order_of_key() {
    let world = World::with_orders()
        .with("{kind: Organization, name: a}\n---\n{kind: Plan, organization: a, name: zinc}");
    assert_eq!(world.names(Kind::Region), ["eu-west", "us-east"]);
    assert_eq!(world.names(Kind::Plan), ["zinc", "gold"], "organization a comes first");
    let own = name("default");
    assert_eq!(world.state.list(Kind::Plan, Some(&own)).count(), 1);
    assert_eq!(world.state.list(Kind::Region, Some(&own)).count(), 0);
    let after = world.state.list_after(Kind::Region, None, key("Region eu-west"));
    assert_eq!(after.map(|region| region.key.clone()).collect::<Vec<_>>(), [key("Region us-east")]);
    let users: Vec<String> = world.state.referrers(&key("Api orders")).map(ToString::to_string).collect();
    assert_eq!(
        users,
        [
            "ApiRevision default/orders-r1",
            "Binding default/orders-production",
            "Subscription default/shop-orders"
        ]
    );
}

#[test]
fn a_dry_run_is_a_clone() {
    let world = World::with_orders();
    let mut dry = world.state.clone();
    let outcome = dry.apply(&crate::Command {
        actor: String::new(),
        request_id: String::new(),
        time_ms: 0,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: crate::Origin::default(),
        body: CommandBody::Apply(changes("{kind: Plan, name: silver}")),
    });
    assert!(matches!(outcome, Outcome::Accepted(_)));
    assert!(!world.has("Plan silver"));
}

#[test]
fn a_command_may_rest_on_resources_that_it_does_not_change() {
    let mut world = World::with_orders();
    let upstream = "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://10.0.0.8:8080'}]}}";
    world.put(upstream);
    let latest = world.get("Api orders").metadata.api_revision;
    assert_eq!(latest, 2, "the Api embeds the Upstream");
    let expect = |key: &str, if_revision, api_revision| Change {
        key: crate::fixture::key(key),
        action: Action::Expect { api_revision },
        if_revision: Some(if_revision),
    };
    let mut run = |expected: Change| {
        let plan = format!("{{kind: Plan, name: p{}}}", world.state.revision());
        let mut both = changes(&plan);
        both.push(expected);
        world.change(both).map(|accepted| told(&accepted).len()).map_err(|problem| problem.to_string())
    };
    // What is expected is no result.
    assert_eq!(run(expect("Api orders", 2, None)), Ok(1));
    assert_eq!(run(expect("Api orders", 2, Some(2))), Ok(1));
    assert_eq!(run(expect("Binding orders-production", 2, Some(2))), Ok(1), "it follows the latest");
    assert_eq!(run(expect("Plan none", 0, None)), Ok(1), "it is not there, as expected");
    let refused = |outcome: Result<usize, String>, expected: &str| {
        let problem = outcome.unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    };
    refused(run(expect("Api orders", 1, None)), "Api default/orders is at revision 2, not 1");
    refused(
        run(expect("Api orders", 2, Some(1))),
        "Api default/orders is at r2, not r1: it was changed since",
    );
    refused(run(expect("Binding orders-production", 2, Some(1))), "is at r2, not r1");
    refused(run(expect("Plan gold", 2, Some(1))), "Plan default/gold has no r1");
    refused(run(expect("Api orders", 2, Some(0))), "is at r2, not r0");
    refused(run(expect("Plan gold", 0, None)), "Plan default/gold is at revision 2, and should not exist");
    refused(run(expect("Plan none", 3, None)), "Plan default/none does not exist");
}

/// A Policy's edit moves a Binding and leaves its revision: a change of that Binding can rest on what it served.
#[test]
fn a_command_may_expect_the_api_revision_of_what_it_changes() {
    let mut world = World::with_orders();
    let pinned =
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1}}";
    let pin = |world: &mut World| {
        let mut both = changes(pinned);
        let key = crate::fixture::key("Binding orders-production");
        both[0].if_revision = Some(world.revision_of("Binding orders-production"));
        both.push(Change { key, action: Action::Expect { api_revision: Some(1) }, if_revision: None });
        world.change(both).map_err(|problem| problem.to_string())
    };
    let mut moved = World::with_orders();
    moved.put("{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: '2'}}}}}");
    assert!(pin(&mut moved).unwrap_err().contains("orders-production is at r2, not r1"));
    pin(&mut world).unwrap();
}
