//! Plans that need a second owner, and what nodes decide by themselves.

use hanse_management::{Problem, ProblemName};

use super::guarded;
use crate::{
    Accepted, CommandBody, State,
    fixture::{World, changes, delete, name},
};

const PLAN: &str = "{kind: FailoverPlan, name: orders, spec: {hosts: [orders], active: eu-west, standby: [us-east], approval: true}}";

/// A guarded Environment, and a guarded plan of another one.
pub(super) fn planned() -> World {
    guarded()
        .with("{kind: DnsZone, name: gslb, spec: {origin: gslb.example, nameServers: [{name: ns.example}], contact: dns@example.com}}")
        .with("{kind: GlobalHost, name: orders, spec: {host: orders.gslb.example, zone: gslb, environment: sandbox}}")
        .with(PLAN)
}

fn failover(percents: &str, more: &str) -> String {
    format!(
        "{{kind: Failover, name: orders, spec: {{serving: [{percents}], to: us-east, steps: [10, 100], stepEvery: 1s, {more}}}}}"
    )
}

const TEN: &str = "{region: eu-west, percent: 90}, {region: us-east, percent: 10}";
const ALL: &str = "{region: us-east, percent: 100}";

/// What the node does by itself.
fn by_node(world: &mut World, yaml: &str) -> Result<Accepted, Problem> {
    world.run(CommandBody::Apply(changes(yaml)))
}

#[track_caller]
fn needs_approval(done: Result<Accepted, Problem>) {
    let problem = done.unwrap_err();
    assert_eq!(problem.name, ProblemName::ApprovalNeeded);
    assert_eq!(problem.detail, "a change of FailoverPlan orders needs the approval of a second owner");
}

#[test]
fn a_guarded_plan_its_failover_and_its_drills_need_a_second_owner() {
    let mut world = planned();
    for change in [
        PLAN.replace("approval: true", "approval: false"),
        failover(TEN, "step: 0, reason: r"),
        "{kind: Drill, name: orders-1, spec: {plan: orders, phase: preflight, reason: r}}".to_owned(),
    ] {
        needs_approval(world.by("ann", CommandBody::Apply(changes(&change))));
        needs_approval(by_node(&mut world, &change));
    }
    let gone = vec![delete("FailoverPlan orders", false), delete("GlobalHost orders", false)];
    needs_approval(world.by("ann", CommandBody::Apply(gone)));
    let number = world.propose("ann", changes(&failover(TEN, "step: 0, reason: r")));
    let proposal = world.state.proposal(number).unwrap();
    assert_eq!((&proposal.environments, &proposal.plans), (&vec![], &vec![name("orders")]));
    assert_eq!(proposal.expires_ms - proposal.time_ms, 24 * super::HOUR_MS);
    assert!(State::from_records(world.state.to_records()).unwrap() == world.state);
    world.approve("ann-2", number).unwrap_err();
    world.approve("bob", number).unwrap();
    assert!(world.has("Failover orders"));
}

#[test]
fn what_is_proposed_for_a_plan_is_approved_for_it_alone() {
    // The host of the plan comes into the guarded Environment meanwhile, so the same delete concerns both.
    let mut world = planned();
    let gone = || vec![delete("FailoverPlan orders", false), delete("GlobalHost orders", false)];
    let number = world.propose("ann", gone());
    assert_eq!(world.state.proposal(number).unwrap().environments.len(), 0);
    let moved = "{kind: GlobalHost, name: orders, spec: {host: orders.gslb.example, zone: gslb, environment: production}}";
    let second = world.propose("ann", changes(moved));
    assert_eq!(
        world.state.proposal(second).unwrap().environments,
        [name("production")],
        "a host concerns its Environment"
    );
    world.approve("bob", second).unwrap();
    assert_eq!(world.approve("bob", number).unwrap_err().name, ProblemName::Stale);
}

#[test]
fn a_node_goes_on_with_what_two_owners_decided_and_begins_nothing() {
    let mut world = planned();
    let number = world.propose("ann", changes(&failover(TEN, "step: 0, reason: r")));
    world.approve("bob", number).unwrap();
    let next = failover(ALL, "step: 1, reason: r");
    needs_approval(world.by("ann", CommandBody::Apply(changes(&next))));
    needs_approval(by_node(&mut world, &failover(ALL, "step: 1, reason: another")));
    needs_approval(by_node(&mut world, &failover(ALL, "step: 1, reason: r, frozen: why")));
    by_node(&mut world, &next).unwrap();
    needs_approval(by_node(&mut world, &failover(TEN, "step: 0, reason: r")));

    let drill = |phase: &str| {
        format!("{{kind: Drill, name: orders-1, spec: {{plan: orders, phase: {phase}, reason: r}}}}")
    };
    let of_drill = |percents: &str, step: u32| {
        failover(percents, &format!("step: {step}, reason: drill, drill: orders-1"))
    };
    by_node(&mut world, &of_drill(TEN, 0)).unwrap_err();
    let number = world.propose("ann", changes(&drill("preflight")));
    world.approve("bob", number).unwrap();
    by_node(&mut world, &of_drill(TEN, 0)).unwrap();
    needs_approval(world.by("ann", CommandBody::Apply(changes(&of_drill(ALL, 1)))));
    by_node(&mut world, &drill("done")).unwrap();
    needs_approval(world.by("ann", CommandBody::Apply(changes(&drill("preflight")))));
    // What is over begins only with two owners.
    needs_approval(by_node(&mut world, &drill("preflight")));
    needs_approval(world.run(CommandBody::Apply(vec![delete("Drill orders-1", false)])));
    needs_approval(by_node(&mut world, &of_drill(TEN, 0).replace("reason: drill", "reason: other")));
    by_node(&mut world, &of_drill(ALL, 1)).unwrap();
}

#[test]
fn a_node_moves_nothing_that_is_frozen_and_nothing_backwards() {
    let mut world = planned();
    let number = world.propose("ann", changes(&failover(TEN, "step: 0, reason: r")));
    world.approve("bob", number).unwrap();
    // Step 1 leads all to us-east, not back to eu-west.
    by_node(&mut world, &failover("{region: eu-west, percent: 100}", "step: 1, reason: r")).unwrap_err();
    let number = world.propose("ann", changes(&failover(TEN, "step: 0, reason: r, frozen: stop")));
    world.approve("bob", number).unwrap();
    needs_approval(by_node(&mut world, &failover(ALL, "step: 1, reason: r, frozen: stop")));
    needs_approval(by_node(&mut world, &failover(ALL, "step: 1, reason: r")));
    let number = world.propose(
        "ann",
        changes("{kind: Drill, name: orders-1, spec: {plan: orders, phase: preflight, reason: r}}"),
    );
    world.approve("bob", number).unwrap();
    needs_approval(by_node(&mut world, &failover(ALL, "step: 1, reason: r, drill: orders-1")));
}

#[test]
fn a_drill_of_the_schedule_needs_no_second_owner() {
    let scheduled = |name: &str, more: &str| {
        format!("{{kind: Drill, name: {name}, spec: {{plan: orders, reason: r, {more}}}}}")
    };
    let first = scheduled("orders-1", "phase: preflight, scheduled: true");
    let mut world = planned();
    needs_approval(by_node(&mut world, &first));
    let planned = PLAN.replace(
        "approval: true",
        "approval: true, probe: {url: 'http://orders.gslb.example/'}, drill: {every: 30d}",
    );
    needs_approval(world.by("ann", CommandBody::Apply(changes(&planned))));
    let number = world.propose("ann", changes(&planned));
    world.approve("bob", number).unwrap();
    needs_approval(world.by("ann", CommandBody::Apply(changes(&first))));
    needs_approval(by_node(&mut world, &scheduled("orders-1", "phase: shift, scheduled: true")));
    needs_approval(by_node(&mut world, &scheduled("orders-1", "phase: preflight")));
    by_node(&mut world, &first).unwrap();
    let second = scheduled("orders-2", "phase: preflight, scheduled: true");
    needs_approval(by_node(&mut world, &second));
    by_node(&mut world, &scheduled("orders-1", "phase: done, scheduled: true")).unwrap();
    by_node(&mut world, &second).unwrap();
}

#[test]
fn a_drain_concerns_the_plans_whose_clients_it_moves() {
    let mut world = planned();
    let number = world.propose("ann", changes(&failover(TEN, "step: 0, reason: r")));
    world.approve("bob", number).unwrap();
    let drain = "{kind: Drain, name: eu-west, spec: {reason: r, forced: f}}";
    needs_approval(world.by("ann", CommandBody::Apply(changes(drain))));
    let number = world.propose("ann", changes(drain));
    world.approve("bob", number).unwrap();
    world.by("ann", CommandBody::Apply(changes(&drain.replace("reason: r", "reason: other")))).unwrap();
    needs_approval(world.by("ann", CommandBody::Apply(vec![delete("Drain eu-west", false)])));
    // No client of the plan is sent to us-east before.
    let mut other = planned();
    other.by("ann", CommandBody::Apply(changes(&drain.replace("eu-west", "us-east")))).unwrap();
}

#[test]
fn a_plan_concerns_the_environment_of_its_hosts() {
    let mut world = planned();
    let host =
        "{kind: GlobalHost, name: pay, spec: {host: pay.gslb.example, zone: gslb, environment: production}}";
    let number = world.propose("ann", changes(host));
    world.approve("bob", number).unwrap();
    let plan = "{kind: FailoverPlan, name: pay, spec: {hosts: [pay], active: eu-west, standby: [us-east]}}";
    let refused = world.by("ann", CommandBody::Apply(changes(plan))).unwrap_err();
    assert_eq!(refused.detail, "a change of Environment production needs the approval of a second owner");
}

#[test]
fn a_failover_is_approved_while_its_readiness_counts() {
    let world = planned();
    let proposed = |change: &str, waited_ms: u64| {
        let mut world = world.clone();
        let number = world.propose("ann", changes(change));
        world.now_ms += waited_ms;
        world.approve("bob", number)
    };
    let over = failover(TEN, "step: 0, reason: r");
    proposed(&over, 59_000).unwrap();
    let refused = proposed(&over, 61_000).unwrap_err();
    assert_eq!(refused.name, ProblemName::Stale);
    assert!(
        refused
            .detail
            .starts_with("old-readiness: the readiness that Failover orders rests on was judged 1m 1s"),
        "{refused}"
    );
    // The approval says when the region was judged anew.
    let judged = |ago_ms: u64| {
        let mut world = world.clone();
        let number = world.propose("ann", changes(&over));
        world.now_ms += 600_000;
        let judged_ms = world.now_ms - ago_ms;
        world.by("bob", CommandBody::Approve { number, judged_ms })
    };
    judged(59_000).unwrap();
    assert_eq!(judged(61_000).unwrap_err().name, ProblemName::Stale);
    // A freeze moves no clients.
    let freeze = failover("{region: eu-west, percent: 100}", "step: 0, reason: r, frozen: stop")
        .replace("to: us-east, steps: [10, 100]", "to: eu-west, steps: [100]");
    proposed(&freeze, 61_000).unwrap();
}
