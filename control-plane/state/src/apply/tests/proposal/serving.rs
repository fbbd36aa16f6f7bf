//! What a guarded Binding serves after an approval is what it would have served when the change was proposed.

use hanse_management::ProblemName;

use super::{GUARDED, ONE_REGION, OTHER_UPSTREAM, TOKENS, guarded};
use crate::{
    Change, State,
    fixture::{World, changes},
};

/// No guarded Binding uses what the test moves, so one owner may move it.
fn world(yaml: &str) -> World {
    World::with_orders().with(TOKENS).with(yaml)
}

#[track_caller]
fn is_stale(mut world: World, what: Vec<Change>, meanwhile: &str, expected: &str) {
    let number = world.propose("ann", what);
    world.clone().approve("bob", number).unwrap();
    world
        .by("ci", crate::CommandBody::Apply(changes(meanwhile)))
        .unwrap_or_else(|problem| panic!("{problem}"));
    let restored = State::from_records(world.state.to_records()).unwrap();
    world.state = restored;
    let shown =
        world.state.try_proposal(world.state.proposal(number).unwrap(), world.now_ms, None).unwrap_err();
    let problem = world.approve("bob", number).unwrap_err();
    assert_eq!((problem.name, shown.name), (ProblemName::Stale, ProblemName::Stale));
    assert_eq!(problem.detail, format!("proposal 1 would do something else by now: {expected}"));
}

#[test]
fn another_upstream_of_a_new_binding() {
    let world = || {
        guarded().with(
            "{kind: Upstream, name: canary, spec: {endpoints: [{url: 'http://10.0.0.9:8080'}]}}\n---\n\
         {kind: Api, name: pay, spec: {context: /pay, version: '1', operations: []}}",
        )
    };
    let binding = "{kind: Binding, name: pay, spec: {api: pay, environment: production, upstream: canary}}";
    let meanwhile = "{kind: Upstream, name: canary, spec: {endpoints: [{url: 'http://10.6.6.6:8080'}]}}";
    is_stale(world(), changes(binding), meanwhile, "Binding default/pay would serve something else");
    // And of one that is there: it uses another one today.
    let moved = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, upstream: canary}}";
    is_stale(
        world(),
        changes(moved),
        meanwhile,
        "Binding default/orders-production would serve something else",
    );
}

/// The URLs stay, and gateways would use them no more.
#[test]
fn endpoints_of_an_origin() {
    let upstream = |more: &str| {
        format!(
            "{{kind: Upstream, name: canary, spec: {{endpoints: [{{url: 'http://10.0.0.9:8080'}}]{more}}}}}"
        )
    };
    let origin = "{kind: Origin, name: east, spec: {region: eu-west, environments: [sandbox], organizations: [default], \
                  kinds: [Endpoints], holders: [agent-1]}}";
    let moved = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, upstream: canary}}";
    is_stale(
        guarded().with(&format!("{}\n---\n{origin}", upstream(""))),
        changes(moved),
        &upstream(", endpointsFrom: {origin: east, name: pods}"),
        "Binding default/orders-production would serve something else",
    );
    // Of a Binding that uses the Upstream already, the reference alone needs an approval.
    let mut world = world(&[&upstream(""), origin, moved].join("\n---\n")).with(GUARDED);
    let refers = changes(&upstream(", endpointsFrom: {origin: east, name: pods}"));
    let problem = world.by("ci", crate::CommandBody::Apply(refers)).unwrap_err();
    assert_eq!(problem.name, ProblemName::ApprovalNeeded);
}

#[test]
fn another_latest_revision() {
    let world = || {
        world(
        "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1}}",
    )
    .with(GUARDED)
    };
    let follows = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production}}";
    let meanwhile = "{kind: Api, name: orders, spec: {context: /orders/v1, version: '2', upstream: backend, operations: []}}";
    // It serves r1 before and after, and would serve r2.
    is_stale(
        world(),
        changes(follows),
        meanwhile,
        "Binding default/orders-production would serve something else",
    );
    let second = "{kind: Binding, name: second, spec: {api: orders, environment: production, regions: {names: [eu-west]}}}";
    let gone = crate::fixture::delete("Binding orders-production", false);
    is_stale(
        world(),
        [vec![gone], changes(second)].concat(),
        meanwhile,
        "Binding default/second would serve something else",
    );
}

#[test]
fn another_lifecycle_and_other_regions() {
    let api = |lifecycle: &str| {
        format!(
            "{{kind: Api, name: pay, spec: {{context: /pay, version: '1', upstream: backend, lifecycle: {lifecycle}, operations: []}}}}"
        )
    };
    let binding = "{kind: Binding, name: pay, spec: {api: pay, environment: production, revision: 1, regions: {labels: {tier: edge}}}}";
    let stale = "Binding default/pay would serve something else";
    is_stale(guarded().with(&api("retired")), changes(binding), &api("published"), stale);
    // Regions are for admins to change.
    let mut world = guarded().with(&api("published"));
    let number = world.propose("ci", changes(binding));
    world.put("{kind: Region, name: us-east, labels: {tier: edge}}");
    let problem = world.approve("bob", number).unwrap_err();
    assert!(problem.detail.ends_with(stale), "{problem}");
}

/// A Binding that came in between is concerned by the proposal of another thing.
#[test]
fn another_binding() {
    let mut world = guarded();
    world.put(
        "{kind: Api, name: pay, spec: {context: /pay, version: '1', upstream: backend, operations: []}}",
    );
    let number = world.propose("ann", changes(OTHER_UPSTREAM));
    assert_eq!(world.state.proposal(number).unwrap().serves.len(), 1);
    let pay = "{kind: Binding, name: pay, spec: {api: pay, environment: production, upstream: backend}}";
    let other = world.propose("ann", changes(pay));
    world.approve("bob", other).unwrap();
    let problem = world.approve("bob", number).unwrap_err();
    let detail = "proposal 1 would do something else by now: Binding default/pay would change, too";
    assert_eq!((problem.name, &*problem.detail), (ProblemName::Stale, detail));
}

/// The Environment was guarded in between: the proposal did not name it.
#[test]
fn another_environment() {
    let mut world =
        guarded().with("{kind: Binding, name: orders-sandbox, spec: {api: orders, environment: sandbox}}");
    let number = world.propose("ann", changes(OTHER_UPSTREAM));
    world.put("{kind: Environment, name: sandbox, spec: {regions: [eu-west, us-east], approval: {}}}");
    let problem = world.approve("bob", number).unwrap_err();
    assert_eq!(
        (problem.name, &*problem.detail),
        (
            ProblemName::Stale,
            "proposal 1 would do something else by now: Environment sandbox needs an approval, too"
        )
    );
}

/// What does not change where requests go leaves a proposal as it is.
#[test]
fn what_is_served_stays() {
    let mut world = guarded();
    let number = world.propose("ann", changes(ONE_REGION));
    world.put("{kind: Plan, name: silver}");
    world.put("{kind: Upstream, name: other, spec: {endpoints: [{url: 'http://10.0.0.9:8080'}]}}");
    world.put("{kind: Region, name: us-east, labels: {tier: other}}");
    world.approve("bob", number).unwrap();
}

/// An endpoint of another Environment, or of a region that the Binding is not in, is nothing that the Binding serves.
#[test]
fn endpoints_of_elsewhere_leave_a_proposal_good() {
    let upstream = |more: &str| {
        format!(
            "{{kind: Upstream, name: canary, spec: {{endpoints: [{{url: 'http://10.0.0.9:8080'}}{more}]}}}}"
        )
    };
    let binding = "{kind: Binding, name: orders-production, \
                   spec: {api: orders, environment: production, upstream: canary, regions: {names: [eu-west]}}}";
    for (more, is_good) in [
        (", {url: 'http://10.6.6.6:8080', environment: sandbox}", true),
        (", {url: 'http://10.6.6.6:8080', region: us-east}", true),
        (", {url: 'http://10.6.6.6:8080', environment: production}", false),
        (", {url: 'http://10.6.6.6:8080', region: eu-west}", false),
    ] {
        let mut world = guarded().with(&upstream(""));
        let number = world.propose("ann", changes(binding));
        world.by("ci", crate::CommandBody::Apply(changes(&upstream(more)))).unwrap();
        assert_eq!(world.approve("bob", number).is_ok(), is_good, "{more}");
    }
}

#[test]
fn regions_that_come_to_send_requests_on() {
    let binding = |reach: &str| {
        format!(
            "{{kind: Binding, name: orders-production, spec: {{api: orders, environment: production, regions: {{names: [us-east]}}, reach: {reach}}}}}"
        )
    };
    let mut world = world(
        "{kind: Environment, name: production, spec: {regions: [eu-west, us-east], tunnel: true}}",
    )
    .with(&binding("local"))
    .with("{kind: Environment, name: production, spec: {regions: [eu-west, us-east], tunnel: true, approval: {}}}");
    let federation = || changes(&binding("federation"));
    let problem = world.by("ci", crate::CommandBody::Apply(federation())).unwrap_err();
    assert_eq!(problem.name, ProblemName::ApprovalNeeded);
    let number = world.propose("ann", federation());
    world.approve("bob", number).unwrap();
    let key = crate::fixture::key("Binding orders-production");
    assert_eq!(world.state.serving(&key).unwrap().sent_on_from, [crate::fixture::name("eu-west")]);
}
