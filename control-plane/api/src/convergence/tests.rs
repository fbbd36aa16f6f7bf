use hanse_management::Spec;
use hanse_state::{
    Action, Change, Command, CommandBody, Lineage, Outcome,
    port::{AgentStatus, GatewayStatus, PartialReport, ScopeStatus},
};
use hanse_topology::Labels;
use serde_json::json;

use super::*;

/// As a caller who sees everything is answered.
fn convergence(state: &State, fleet: &FleetReport, revision: Revision, now_ms: u64) -> Convergence {
    super::convergence(state, fleet, revision, now_ms, &|_| true)
}

/// When the last revision of `world` is made. Its Environments are long known by then.
const MADE_MS: u64 = 1_000_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run(state: &mut State, time_ms: u64, body: CommandBody) {
    let (actor, request_id) = (String::new(), String::new());
    let outcome = state.apply(&Command {
        actor,
        request_id,
        time_ms,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body,
    });
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

fn put(state: &mut State, time_ms: u64, kind: Kind, resource: &str, spec: &serde_json::Value) {
    let action = Action::put(Labels::default(), Spec::from_json(kind, spec).unwrap());
    let key = ResourceKey::global(kind, name(resource));
    run(state, time_ms, CommandBody::Apply(vec![Change { key, action, if_revision: None }]));
}

/// Regions `eu` and `us`, environments `prod` in both and `test` in `us`, and a last revision of no consequence: 6.
fn world() -> State {
    let mut state = State::default();
    run(&mut state, 1, CommandBody::StartLineage(Lineage { generation: 1, id: [1; 16], parent: None }));
    for region in ["eu", "us"] {
        put(&mut state, 2, Kind::Region, region, &json!({"provider": "cloud"}));
    }
    put(&mut state, 3, Kind::Environment, "prod", &json!({"regions": ["eu", "us"]}));
    put(&mut state, 4, Kind::Environment, "test", &json!({"regions": ["us"]}));
    put(&mut state, MADE_MS, Kind::Organization, "shop", &json!({}));
    assert_eq!(state.revision(), 6);
    state
}

fn gateway(gateway: &str, region: &str, heard_ms_ago: u64, scopes: &[(&str, Option<u64>)]) -> GatewayStatus {
    let scope = |(environment, effective): &(&str, Option<u64>)| {
        ScopeStatus::at(ScopeId::runtime(name(region), name(environment)), *effective)
    };
    GatewayStatus {
        key: None,
        facts: Default::default(),
        name: gateway.into(),
        region: name(region),
        connected: true,
        heard_ms_ago,
        scopes: scopes.iter().map(scope).collect(),
    }
}

fn agent(region: &str, gateways: Vec<GatewayStatus>) -> AgentStatus {
    AgentStatus {
        facts: Default::default(),
        name: format!("agent-{region}"),
        region: name(region),
        connected: true,
        heard_ms_ago: 10,
        scopes: Vec::new(),
        gateways,
    }
}

fn fleet(agents: &[AgentStatus]) -> FleetReport {
    FleetReport { agents: agents.to_vec(), ..FleetReport::default() }
}

/// Judges revision 6, `after_ms` after it was made; one line per row.
#[track_caller]
fn check(agents: &[AgentStatus], after_ms: u64, converged: bool, expected: &[&str]) {
    let found = convergence(&world(), &fleet(agents), 6, MADE_MS + after_ms);
    let line = |row: &GatewayConvergence| {
        let state = format!("{:?}", row.state).to_lowercase();
        let revision = row.revision.map_or("-".to_owned(), |revision| revision.to_string());
        let reason = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{}/{} {} {state} {revision}{reason}", row.region, row.name, row.environment)
    };
    assert_eq!(found.gateways.iter().map(line).collect::<Vec<_>>(), expected);
    assert_eq!(found.converged, converged, "{found:?}");
}

#[test]
fn nobody_in_scope_is_converged() {
    check(&[], 0, true, &[]);
    check(&[agent("eu", vec![])], 0, true, &[]);
    check(&[agent("eu", vec![gateway("g", "eu", 0, &[])])], 0, true, &[]);
}

#[test]
fn a_gateway_counts_in_each_scope_it_subscribes_to() {
    let both = |test| agent("us", vec![gateway("g", "us", 100, &[("prod", Some(6)), ("test", test)])]);
    check(&[both(Some(7))], 500, true, &["us/g prod effective 6", "us/g test effective 7"]);
    check(&[both(Some(5))], 500, false, &["us/g prod effective 6", "us/g test behind 5: serves revision 5"]);
    check(
        &[both(None)],
        500,
        false,
        &["us/g prod effective 6", "us/g test behind -: serves nothing of this environment yet"],
    );
}

#[test]
fn scopes_that_do_not_exist_are_not_waited_for() {
    let gone = [("prod", Some(6)), ("test", Some(2)), ("dropped", Some(2))];
    check(&[agent("eu", vec![gateway("g", "eu", 100, &gone)])], 500, true, &["eu/g prod effective 6"]);
    let nowhere = agent("mars", vec![gateway("g", "mars", 100, &[("prod", Some(2))])]);
    check(&[nowhere], 500, true, &[]);
}

#[test]
fn who_held_no_lease_when_the_change_was_made_is_absent() {
    let silent = |heard_ms_ago| agent("eu", vec![gateway("g", "eu", heard_ms_ago, &[("prod", Some(5))])]);
    // 2 s after the change: last heard 15 s before it, or earlier still.
    check(
        &[silent(17_000)],
        2_000,
        false,
        &["eu/g prod behind 5: not heard from for 17.0 s; serves revision 5"],
    );
    check(
        &[silent(17_001)],
        2_000,
        true,
        &["eu/g prod absent 5: was not there when the change was made: last heard from 17.0 s ago"],
    );
    // Who is silent since the change stays in scope however long it takes.
    check(
        &[silent(600_250)],
        600_000,
        false,
        &["eu/g prod behind 5: not heard from for 600.2 s; serves revision 5"],
    );
}

#[test]
fn reasons_name_the_nearest_cause() {
    let mut cut = agent("eu", vec![gateway("g", "eu", 7_240, &[("prod", Some(4))])]);
    cut.connected = false;
    check(
        &[cut],
        500,
        false,
        &[
            "eu/g prod behind 4: its agent agent-eu is not connected; not heard from for 7.2 s; serves revision 4",
        ],
    );
    let mut gone = gateway("g", "eu", 2_000, &[("prod", Some(4))]);
    gone.connected = false;
    check(
        &[agent("eu", vec![gone])],
        500,
        false,
        &["eu/g prod behind 4: not connected to its agent agent-eu; serves revision 4"],
    );
}

#[test]
fn the_freshest_report_counts() {
    let old = agent("eu", vec![gateway("g", "eu", 9_000, &[("prod", Some(5))])]);
    let new = agent("eu", vec![gateway("g", "eu", 100, &[("prod", Some(6))])]);
    for agents in [[old.clone(), new.clone()], [new, old]] {
        check(&agents, 500, true, &["eu/g prod effective 6"]);
    }
}

#[test]
fn a_new_environment_is_waited_for_even_before_gateways_know_it() {
    let mut state = world();
    put(&mut state, MADE_MS + 1_000, Kind::Environment, "beta", &json!({"regions": ["eu"]}));
    let agents = [agent("eu", vec![gateway("g", "eu", 100, &[("prod", Some(7))])])];
    let at = |revision, after_ms| convergence(&state, &fleet(&agents), revision, MADE_MS + after_ms);
    assert!(!at(7, 2_000).converged);
    let beta = at(7, 2_000).gateways.into_iter().find(|row| row.environment.as_str() == "beta").unwrap();
    assert_eq!(beta.reason.as_deref(), Some("serves nothing of this environment yet"));
    assert!(at(6, 2_000).converged, "an earlier revision does not need it");
    assert!(at(7, 7_000).converged, "a gateway that does not want it is not waited for for ever");
}

#[test]
fn a_gateway_that_went_silent_has_not_declined_a_new_environment() {
    let mut state = world();
    put(&mut state, MADE_MS + 1_000, Kind::Environment, "beta", &json!({"regions": ["eu"]}));
    // The Environment is made at 1 s; the gateway was heard `heard_ms` after 0 and is asked about at `asked_ms`.
    let beta = |heard_ms: u64, asked_ms: u64| {
        let gateway = gateway("g", "eu", asked_ms - heard_ms, &[("prod", Some(7))]);
        let convergence = convergence(&state, &fleet(&[agent("eu", vec![gateway])]), 7, MADE_MS + asked_ms);
        let row = convergence.gateways.into_iter().find(|row| row.environment.as_str() == "beta");
        (convergence.converged, row.map(|row| row.state))
    };
    let behind = (false, Some(ConvergenceState::Behind));
    assert_eq!(beta(500, 7_000), behind, "silent since before it was made");
    assert_eq!(beta(5_999, 20_000), behind, "silent before it had time to take it up");
    assert_eq!(beta(5_999, 3_600_000), behind, "and for however long");
    assert_eq!(beta(6_000, 6_000), (true, None), "it had time, and did not take it up");
    assert_eq!(beta(6_000, 20_000), (true, None));
}

#[test]
fn a_silent_control_node_leaves_it_open() {
    let agents = [agent("eu", vec![gateway("g", "eu", 100, &[("prod", Some(6))])])];
    let part = FleetReport { silent: vec!["cp-2".into()], ..fleet(&agents) };
    let found = convergence(&world(), &part, 6, MADE_MS + 500);
    assert!(found.gateways.iter().all(|row| row.state == ConvergenceState::Effective));
    assert!(!found.converged);
    assert_eq!(found.silent, ["cp-2"]);
    assert!(!convergence(&world(), &FleetReport { agents: vec![], ..part }, 6, MADE_MS).converged);
}

#[test]
fn an_agent_that_cannot_name_all_of_its_gateways_leaves_it_open() {
    let agents = [agent("eu", vec![gateway("g", "eu", 100, &[("prod", Some(6))])])];
    let check = |heard_ms_ago, after_ms, converged: bool| {
        let partial =
            PartialReport { agent: "agent-eu".into(), region: name("eu"), left_out: 7, heard_ms_ago };
        let part = FleetReport { partial: vec![partial], ..fleet(&agents) };
        let found = convergence(&world(), &part, 6, MADE_MS + after_ms);
        assert_eq!(found.converged, converged, "heard {heard_ms_ago} ms ago");
        assert_eq!(found.partial.is_empty(), converged);
    };
    check(100, 500, false);
    check(17_000, 2_000, false);
    check(17_001, 2_000, true); // it had no lease when the change was made
}

/// A control node fell silent with its agents, and they were not heard since: for what was made while their lease lived they are
/// behind however long it takes, for what came later they are absent.
#[test]
fn gateways_that_fell_silent_are_behind_for_what_was_made_in_their_lease_and_absent_for_later() {
    let mut state = world();
    put(&mut state, MADE_MS + 14_000, Kind::Organization, "in-time", &json!({}));
    put(&mut state, MADE_MS + 16_000, Kind::Organization, "later", &json!({}));
    // Heard last when revision 6 was made; asked at several times after.
    for asked_ms in [16_500, 40_000, 3_000_000] {
        let gateway = gateway("g", "eu", asked_ms, &[("prod", Some(5))]);
        let fleet = fleet(&[agent("eu", vec![gateway])]);
        let at = |revision| {
            let found = convergence(&state, &fleet, revision, MADE_MS + asked_ms);
            (found.converged, found.gateways[0].state.clone())
        };
        assert_eq!(at(6), (false, ConvergenceState::Behind), "asked after {asked_ms} ms");
        assert_eq!(at(7), (false, ConvergenceState::Behind), "asked after {asked_ms} ms");
        assert_eq!(at(8), (true, ConvergenceState::Absent), "asked after {asked_ms} ms");
    }
}

#[test]
fn a_revision_older_than_memory_is_judged_by_who_is_there_now() {
    let agents = [agent("eu", vec![gateway("g", "eu", 100, &[("prod", Some(5))])])];
    let state = State::default();
    assert_eq!(state.time_of(5), None);
    assert!(convergence(&world(), &fleet(&agents), 0, MADE_MS).converged);
    assert!(convergence(&state, &fleet(&agents), 5, MADE_MS).converged, "no scope exists");
}

#[test]
fn a_revision_is_not_served_where_what_it_changed_cannot_be_used() {
    let state = world();
    // The Environment `prod` was last changed by revision 4.
    let bad = |current| Quarantined {
        key: "listener/prod".into(),
        received: vec![1; 32],
        last_good: true,
        field: "hostnames".into(),
        reason: "cannot be read".into(),
        current,
    };
    let check = |current: bool, revision: Revision, served: bool| {
        let mut gateway = gateway("g1", "eu", 100, &[("prod", Some(6))]);
        gateway.scopes[0].quarantined = vec![bad(current)];
        let fleet = fleet(&[agent("eu", vec![gateway])]);
        let found = convergence(&state, &fleet, revision, MADE_MS + 1_000);
        assert_eq!(found.converged, served, "current {current}, asked of {revision}");
        found.gateways[0].reason.clone()
    };
    let reason = check(true, 4, false).unwrap();
    assert_eq!(
        reason,
        "cannot use Environment prod: hostnames cannot be read; goes on with the version before"
    );
    // Others' changes are not held up by it, nor is this one once there is a later version.
    assert_eq!(check(true, 6, true), None);
    assert_eq!(check(false, 4, true), None);
}

/// That a gateway cannot use something is told to everybody, what it is and why only to those who see it.
#[test]
fn what_a_caller_does_not_see_is_not_named() {
    let state = world();
    let bad = |key: &str, field: &str| Quarantined {
        key: key.into(),
        received: vec![1; 32],
        last_good: true,
        field: field.into(),
        reason: "cannot be read".into(),
        current: true,
    };
    let mut gateway = gateway("g1", "eu", 100, &[("prod", Some(6))]);
    // Both were last changed by revision 4. A gateway may report any field.
    gateway.scopes[0].quarantined = vec![bad("listener/prod", "-"), bad("listener/prod", "second")];
    let fleet = fleet(&[agent("eu", vec![gateway])]);
    let reason = |sees: Sees<'_>| {
        let found = super::convergence(&state, &fleet, 4, MADE_MS + 1_000, sees);
        assert!(!found.converged);
        found.gateways[0].reason.clone().unwrap()
    };
    assert!(reason(&|_| true).starts_with("cannot use Environment prod: - cannot be read"));
    assert_eq!(reason(&|_| false), "cannot use a resource of another organization");
    let asked = std::cell::Cell::new(0);
    let second_only = |_: Option<&Source>| {
        asked.set(asked.get() + 1);
        asked.get() > 1
    };
    assert!(
        reason(&second_only).starts_with("cannot use Environment prod: second"),
        "one that is seen goes first"
    );
}
