//! Random commands of several owners: nothing of a guarded Environment ever changes without two of them.

use std::{collections::BTreeMap, sync::Arc};

use hanse_management::{Digest, Kind, Spec};
use proptest::prelude::*;

use super::{ONE_REGION, OTHER_UPSTREAM};
use crate::{
    Change, CommandBody, Resource, State,
    fixture::{World, changes, delete, key, name},
    projection::{AsSealed, from_scratch},
};

#[derive(Debug, Clone)]
enum Step {
    Apply(usize),
    Propose(usize),
    Approve(u64),
    Reject(u64),
    Wait,
    Forget,
    /// A control node by itself.
    Node(usize),
}

const TOKENS: [&str; 5] = ["ann", "ann-2", "bob", "ci", "eve"];

/// Manifests that concern production in every way, and some that do not.
const MENU: [&str; 40] = [
    "{kind: Plan, name: gold, spec: {displayName: a}}",
    "{kind: Plan, name: gold, spec: {displayName: b}}",
    "{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}",
    "{kind: Environment, name: production, spec: {regions: [eu-west], approval: {expiresAfter: 1h}}}",
    "{kind: Environment, name: production, spec: {regions: [eu-west, us-east], approval: {expiresAfter: 2h}}}",
    ONE_REGION,
    "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, upstream: backend}}",
    "{kind: Binding, name: orders-production, spec: {api: orders, environment: sandbox, revision: 1}}",
    "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {labels: {tier: edge}}}}",
    OTHER_UPSTREAM,
    "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://10.0.0.7:8080'}]}}",
    "{kind: Region, name: us-east, labels: {tier: edge}}",
    "{kind: Region, name: us-east, labels: {tier: core}}",
    "{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: '2'}}}}}",
    "{kind: Api, name: orders, spec: {context: /orders/v1, version: '1', upstream: backend, operations: []}}",
    "{kind: Api, name: orders, spec: {context: /orders/v1, version: '1', upstream: backend, lifecycle: blocked, operations: []}}",
    "{kind: HostGrant, name: shop, spec: {environments: [sandbox], host: a.example, organization: default}}",
    "{kind: HostGrant, name: shop, spec: {environments: [production], host: b.example, organization: default}}",
    "{kind: GlobalHost, name: orders, spec: {host: orders.gslb.example, zone: gslb, environment: sandbox}}",
    "{kind: GlobalHost, name: orders, spec: {host: orders.gslb.example, zone: gslb, environment: production}}",
    // A plan that is guarded, and decisions about it.
    "{kind: FailoverPlan, name: orders, spec: {hosts: [orders], active: eu-west, standby: [us-east]}}",
    "{kind: FailoverPlan, name: orders, spec: {hosts: [orders], active: us-east, standby: [eu-west], approval: true}}",
    "{kind: Failover, name: orders, spec: {serving: [{region: us-east, percent: 100}], to: us-east, steps: [100], step: 0, stepEvery: 1s, reason: r}}",
    "{kind: Failover, name: orders, spec: {serving: [{region: eu-west, percent: 100}], to: eu-west, steps: [100], step: 0, stepEvery: 1s, reason: r}}",
    "{kind: Failover, name: orders, spec: {serving: [{region: eu-west, percent: 90}, {region: us-east, percent: 10}], to: us-east, steps: [10, 100], step: 0, stepEvery: 1s, reason: r}}",
    "{kind: Failover, name: orders, spec: {serving: [{region: us-east, percent: 100}], to: us-east, steps: [10, 100], step: 1, stepEvery: 1s, reason: r}}",
    "{kind: Failover, name: orders, spec: {serving: [{region: eu-west, percent: 90}, {region: us-east, percent: 10}], to: us-east, steps: [10, 100], step: 0, stepEvery: 1s, reason: r, frozen: f}}",
    "{kind: Failover, name: orders, spec: {serving: [{region: us-east, percent: 100}], to: us-east, steps: [10, 100], step: 1, stepEvery: 1s, reason: r, frozen: f}}",
    "{kind: Failover, name: orders, spec: {serving: [{region: us-east, percent: 100}], to: us-east, steps: [100], step: 0, stepEvery: 1s, reason: r, drill: orders-1}}",
    "{kind: Drill, name: orders-1, spec: {plan: orders, phase: preflight, reason: r}}",
    "{kind: Drill, name: orders-1, spec: {plan: orders, phase: hold, reason: r}}",
    "{kind: Drill, name: orders-1, spec: {plan: orders, phase: done, reason: r}}",
    "{kind: Drain, name: us-east, spec: {reason: r, forced: f}}",
    // As of a dump.
    "{kind: HostGrant, name: late, spec: {environments: [production], host: l.example, organization: default}, restored: {}}",
    "{kind: Binding, name: late, spec: {api: orders, environment: production, upstream: canary}, restored: {}}",
    // An Upstream that only what is proposed uses.
    "{kind: Upstream, name: canary, spec: {endpoints: [{url: 'http://10.0.0.1:8080'}]}}",
    "{kind: Upstream, name: canary, spec: {endpoints: [{url: 'http://10.6.6.6:8080'}]}}",
    "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, upstream: canary}}",
    // Another secret of a proposer's token, and the first one again.
    "{kind: Token, name: ci, spec: {role: publisher, organization: default, owner: ci, digest: 'sha256:8888888888888888888888888888888888888888888888888888888888888888'}}",
    "{kind: Token, name: ci, spec: {role: publisher, organization: default, owner: ci, digest: 'sha256:4444444444444444444444444444444444444444444444444444444444444444'}}",
];

fn menu() -> Vec<Vec<Change>> {
    let mut menu: Vec<Vec<Change>> = MENU.iter().map(|yaml| changes(yaml)).collect();
    menu.push(vec![delete("HostGrant shop", false)]);
    menu.push(vec![delete("Binding orders-production", false)]);
    menu.push(vec![delete("Api orders", true)]);
    menu.push(vec![delete("FailoverPlan orders", false)]);
    menu.push(vec![delete("Failover orders", false)]);
    menu.push(vec![delete("GlobalHost orders", true), delete("FailoverPlan orders", false)]);
    menu
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..MENU.len() + 6).prop_map(Step::Apply),
        4 => (0..MENU.len() + 6).prop_map(Step::Propose),
        4 => (0..MENU.len() + 6).prop_map(Step::Node),
        4 => (1..12_u64).prop_map(Step::Approve),
        1 => (1..12_u64).prop_map(Step::Reject),
        1 => Just(Step::Wait),
        1 => Just(Step::Forget),
    ]
}

/// What the gateways of production route: listeners, routes and upstreams. Which callers have keys and plans is not guarded.
fn routed(state: &State) -> BTreeMap<String, Vec<u8>> {
    let mut routed = BTreeMap::new();
    for (scope, content) in from_scratch(state, &AsSealed) {
        for (key, bytes) in content {
            let is_routed = ["listener/", "route/", "upstream/"].iter().any(|kind| key.starts_with(kind));
            if is_routed && scope.environment() == Some(&name("production")) {
                routed.insert(format!("{scope} {key}"), bytes.to_vec());
            }
        }
    }
    routed
}

/// What is decided about the plan: the plan itself, its Failover, its Drills.
fn decided(state: &State) -> Vec<Arc<Resource>> {
    let of = [Kind::FailoverPlan, Kind::Failover, Kind::Drill];
    of.into_iter().flat_map(|kind| state.list(kind, None)).cloned().collect()
}

/// Whether a node only did what two owners decided before: the percents of the steps, the phases of a Drill and what it decides.
fn goes_on(before: &State, next: &State) -> bool {
    let (plan, drill) = (name("orders"), name("orders-1"));
    let was_running = before.drill(&drill).filter(|drill| drill.runs());
    let drilled = match (before.drill(&drill), next.drill(&drill)) {
        (was, is) if was == is => true,
        (Some(was), Some(is)) => was.runs() && is.phase > was.phase,
        (_, _) => false,
    };
    let moved = match (before.failover(&plan), next.failover(&plan)) {
        (was, is) if was == is => true,
        (was, Some(is)) => {
            let is_frozen = is.frozen.is_some() || was.is_some_and(|was| was.frozen.is_some());
            let is_next =
                was.is_some_and(|was| was.to == is.to && was.steps == is.steps && was.step < is.step);
            !is_frozen && (is_next || is.drill.is_some() && was_running.is_some())
        }
        (_, None) => false,
    };
    drilled && moved && before.failover_plan(&plan) == next.failover_plan(&plan)
}

fn is_plan_guarded(world: &World) -> bool {
    world.state.failover_plan(&name("orders")).is_some_and(|plan| plan.approval)
}

/// The Routes and Upstreams that are there after a change, and were not, or were others. Listeners are left out: several proposals
/// may each change a part of one.
fn new_in(before: &BTreeMap<String, Vec<u8>>, after: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let is_new =
        |key: &String, bytes: &Vec<u8>| !key.contains(" listener/") && before.get(key) != Some(bytes);
    after.into_iter().filter(|(key, bytes)| is_new(key, bytes)).collect()
}

/// The secret of a token.
fn secret_of(state: &State, token: &str) -> Digest {
    match &state.get(&key(&format!("Token {token}"))).expect("the token").spec {
        Spec::Token(spec) => spec.digest,
        other => panic!("{other:?}"),
    }
}

/// Of a proposal, when it was made.
struct Proposed {
    owner: &'static str,
    token: &'static str,
    digest: Digest,
    /// What it routes another way.
    served: BTreeMap<String, Vec<u8>>,
}

fn is_guarded(world: &World) -> bool {
    world.state.environment(&name("production")).is_some_and(|spec| spec.approval.is_some())
}

fn owner(token: &'static str) -> &'static str {
    if token == "ann-2" { "ann" } else { token }
}

proptest! {
    #![proptest_config(crate::fixture::proptest_config())]

    #[test]
    fn nothing_guarded_changes_without_two_owners(
        steps in prop::collection::vec((0..TOKENS.len(), step()), 1..40),
    ) {
        let (mut world, menu) = (super::plans::planned(), menu());
        let mut proposed = BTreeMap::new();
        for (token, step) in steps {
            let token = TOKENS[token];
            let before_state = world.state.clone();
            let (before, was_guarded) = (routed(&world.state), is_guarded(&world));
            let (was_decided, was_plan_guarded) = (decided(&world.state), is_plan_guarded(&world));
            let outcome = match &step {
                Step::Apply(at) => world.by(token, CommandBody::Apply(menu[*at].clone())),
                Step::Propose(at) => world.try_propose(token, menu[*at].clone()),
                Step::Approve(number) => world.approve(token, *number),
                Step::Reject(number) => world.reject(token, *number),
                Step::Wait => {
                    world.now_ms += super::HOUR_MS / 2;
                    world.state = State::from_records(world.state.to_records()).unwrap();
                    continue;
                }
                Step::Forget => world.run(CommandBody::ForgetResults),
                Step::Node(at) => world.run(CommandBody::Apply(menu[*at].clone())),
            };
            if let (Step::Propose(_), Ok(accepted)) = (&step, &outcome) {
                let number = accepted.proposal.unwrap();
                let proposal = world.state.proposal(number).unwrap();
                let shown = world.state.try_proposal(proposal, world.now_ms, None).unwrap();
                let digest = secret_of(&world.state, token);
                let served = new_in(&before, routed(&shown));
                proposed.insert(number, Proposed { owner: owner(token), token, digest, served });
            }
            if let (Step::Node(_), true) = (&step, was_plan_guarded && was_decided != decided(&world.state)) {
                prop_assert!(goes_on(&before_state, &world.state), "{step:?} began something");
            } else if was_plan_guarded && was_decided != decided(&world.state) {
                let Step::Approve(number) = &step else { panic!("{step:?} of {token} changed the plan") };
                prop_assert_ne!(proposed[number].owner, owner(token));
            }
            let changed = before != routed(&world.state) || was_guarded && !is_guarded(&world);
            if !was_guarded || !changed {
                continue;
            }
            let Step::Approve(number) = step else { panic!("{step:?} of {token} changed production") };
            let Proposed { owner: proposer, token: with, digest, served } = &proposed[&number];
            prop_assert_ne!(*proposer, owner(token));
            prop_assert_eq!(*digest, secret_of(&before_state, with), "the token is another one by now");
            // What is routed another way is what was shown.
            let after = routed(&world.state);
            for (key, bytes) in served {
                prop_assert!(after.get(key) == Some(bytes), "{} of {} is not as it was shown", key, number);
            }
        }
        prop_assert!(State::from_records(world.state.to_records()).unwrap() == world.state);
        prop_assert!(crate::audit::holds(&world.state));
    }
}
