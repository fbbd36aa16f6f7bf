use bytes::Bytes;
use hanse_management::manifest;
use hanse_proto::sync::Traffic;
use hanse_state::{Change, Command, CommandBody, Outcome, port::Quarantined};
use hanse_steering::{Verdict, readiness};

use super::*;

const END: u64 = 1_900_000_000;

const WORLD: &str = "
{kind: Organization, name: acme}
---
{kind: Region, name: eu, spec: {capacity: 1000}}
---
{kind: Region, name: us, spec: {capacity: 500}}
---
{kind: Region, name: ap}
---
{kind: Environment, name: production, spec: {regions: [eu, us], hostnames: [orders.gslb.example, other.example]}}
---
{kind: Environment, name: sandbox, spec: {regions: [eu, us]}}
---
{kind: Upstream, organization: acme, name: backend, spec: {endpoints: [{url: 'http://backend:80'}]}}
---
{kind: Upstream, organization: acme, name: own, spec: {endpoints: [{url: 'http://own:80'}]}}
---
{kind: Api, organization: acme, name: orders, spec: {context: /orders, hosts: [orders.gslb.example], upstream: backend}}
---
{kind: Api, organization: acme, name: other, spec: {context: /other, hosts: [other.example], upstream: backend}}
---
{kind: Binding, organization: acme, name: orders, spec: {api: orders, environment: production, upstream: own}}
---
{kind: Binding, organization: acme, name: other, spec: {api: other, environment: production}}
---
{kind: DnsZone, name: gslb, spec: {origin: gslb.example, nameServers: [{name: ns.example}], contact: dns@example.com}}
---
{kind: GlobalHost, name: orders, spec: {host: orders.gslb.example, zone: gslb, environment: production}}
---
{kind: FailoverPlan, name: plan, spec: {hosts: [orders], active: eu, standby: [us]}}
";

fn state() -> State {
    let mut state = State::default();
    let manifests = manifest::parse_yaml(WORLD, &name("acme")).unwrap();
    let outcome = state.apply(&Command {
        actor: "test".into(),
        request_id: "test".into(),
        time_ms: 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body: CommandBody::Apply(manifests.into_iter().map(Change::from).collect()),
    });
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    state
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn scope(environment: &str) -> ScopeId {
    ScopeId::runtime(name("us"), name(environment))
}

/// One that serves `production` at this revision.
fn gateway(own: &str, heard_ms_ago: u64, effective: Option<Revision>) -> GatewayStatus {
    let serving = Serving { ready: true, ..Serving::default() };
    GatewayStatus {
        name: own.into(),
        region: name("us"),
        connected: true,
        heard_ms_ago,
        scopes: vec![ScopeStatus::at(scope("production"), effective)],
        facts: Facts { certificate_expires: END, serving: nested::to_bytes(&serving), ..Facts::default() },
        key: None,
    }
}

fn agent(own: &str, heard_ms_ago: u64, gateways: Vec<GatewayStatus>) -> AgentStatus {
    AgentStatus {
        name: own.into(),
        region: name("us"),
        connected: true,
        heard_ms_ago,
        scopes: Vec::new(),
        gateways,
        facts: Facts { certificate_expires: END + 1, authority_expires: END + 2, ..Facts::default() },
    }
}

/// What is known of region us, whose scope changed last at revision 7.
fn of_us(agents: &[AgentStatus], loads: &Loads, now: Instant) -> Standby {
    let known = Known { agents, loads, newest: &|_| Some(7) };
    let rows = standbys(&state(), &known, &name("plan"), now);
    let [eu, us] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((eu.region.as_str(), us.region.as_str()), ("eu", "us"));
    us.clone()
}

fn inputs(agents: &[AgentStatus]) -> Standby {
    of_us(agents, &Loads::default(), Instant::now())
}

fn heard<T>(value: T, ms: u64) -> Option<Heard<T>> {
    Some(Heard { value, age: Duration::from_millis(ms) })
}

#[test]
fn a_region_of_which_nothing_was_heard_has_no_inputs() {
    let unheard = inputs(&[]);
    let capacity = Capacity { declared: Some(500), plan: None, other: None };
    let expected = Standby {
        plan: name("plan"),
        region: name("us"),
        sync: None,
        certificates: None,
        quarantined: None,
        ready_gateways: None,
        capacity,
    };
    assert_eq!(unheard, expected);
    let known = Known { agents: &[], loads: &Loads::default(), newest: &|_| None };
    assert_eq!(standbys(&state(), &known, &name("none"), Instant::now()), []);
    assert_eq!(readiness(&unheard, Duration::from_secs(1)).verdict(), Verdict::NotReady);
}

#[test]
fn the_gateways_of_the_environment_that_have_a_lease_count() {
    let check = |agents: &[AgentStatus], gateways: u32, behind: u32, ms: u64| {
        let found = inputs(agents);
        assert_eq!(found.sync, heard(Sync { gateways, behind }, ms), "{agents:?}");
        assert_eq!(found.ready_gateways, heard(gateways, ms));
    };
    check(&[agent("a", 100, vec![gateway("g1", 200, Some(7)), gateway("g2", 300, Some(9))])], 2, 0, 300);
    check(&[agent("a", 100, vec![gateway("g1", 200, Some(7)), gateway("g2", 300, Some(6))])], 2, 1, 300);
    // A revision of another history is none of this one.
    check(&[agent("a", 100, vec![gateway("g1", 200, None)])], 1, 1, 200);
    // One that went away, and one of another Environment.
    let elsewhere = GatewayStatus {
        scopes: vec![ScopeStatus::at(scope("sandbox"), Some(3))],
        ..gateway("g3", 100, None)
    };
    let gateways = vec![gateway("g1", 200, Some(7)), gateway("g2", 15_100, Some(6)), elsewhere];
    check(&[agent("a", 100, gateways)], 1, 0, 200);
    // A silent agent whose gateways went to another one.
    let silent = agent("b", 40_000, vec![gateway("g9", 40_000, Some(1))]);
    check(&[agent("a", 100, vec![gateway("g1", 200, Some(7))]), silent.clone()], 1, 0, 200);
    // All are silent: as they last said, and the age says that it is long ago.
    let found = inputs(std::slice::from_ref(&silent));
    assert_eq!(found.sync, heard(Sync { gateways: 1, behind: 1 }, 40_000));
    check(&[agent("a", 100, Vec::new())], 0, 0, 100);
}

#[test]
fn what_is_not_known_whole_is_not_known() {
    let mut full = agent("a", 100, vec![gateway("g1", 200, Some(7))]);
    full.facts.left_out = 1;
    assert_eq!(inputs(&[full]).sync, None, "it may have gateways that are behind");
    let agents = [agent("a", 100, vec![gateway("g1", 200, Some(7))])];
    let known = Known { agents: &agents, loads: &Loads::default(), newest: &|_| None };
    let rows = standbys(&state(), &known, &name("plan"), Instant::now());
    assert_eq!(rows[1].sync, None, "this node has no such scope yet");
}

#[test]
fn a_gateway_that_takes_no_traffic_is_not_ready() {
    let mut closed = gateway("g1", 200, Some(7));
    closed.facts.serving = nested::to_bytes(&Serving { not_ready: "drains".into(), ..Serving::default() });
    let mut strange = gateway("g2", 200, Some(7));
    strange.facts.serving = Bytes::from_static(b"\xff");
    let found = inputs(&[agent("a", 100, vec![closed, strange, gateway("g3", 200, Some(7))])]);
    assert_eq!((found.ready_gateways, found.sync.unwrap().value.gateways), (heard(1, 200), 3));
}

#[test]
fn the_first_certificate_that_ends_counts() {
    let check = |change: &dyn Fn(&mut Facts, &mut Facts), expected: Option<u64>| {
        let mut agent = agent("a", 100, vec![gateway("g1", 200, Some(7)), gateway("g2", 300, Some(7))]);
        let (of_gateway, rest) = agent.gateways.split_first_mut().unwrap();
        change(&mut agent.facts, &mut of_gateway.facts);
        assert_eq!(rest.len(), 1);
        let found = inputs(&[agent]).certificates;
        assert_eq!(found, expected.and_then(|end| heard(Duration::from_secs(end), 300)));
    };
    check(&|_, _| {}, Some(END));
    check(&|_, gateway| gateway.certificate_expires = END - 9, Some(END - 9));
    check(&|agent, _| agent.certificate_expires = END - 8, Some(END - 8));
    check(&|agent, _| agent.authority_expires = END - 7, Some(END - 7));
    // One of an earlier release says nothing of it.
    check(&|_, gateway| gateway.certificate_expires = 0, None);
    check(&|agent, _| agent.authority_expires = 0, None);
}

#[test]
fn keys_that_the_bindings_of_the_plan_make_count() {
    let check = |named: &[&str], total: u64, expected: &[&str]| {
        let mut gateway = gateway("g1", 200, Some(7));
        let quarantined = |key: &&str| Quarantined {
            key: (*key).to_owned(),
            received: Vec::new(),
            last_good: false,
            field: String::new(),
            reason: String::new(),
            current: true,
        };
        gateway.scopes[0].quarantined = named.iter().map(quarantined).collect();
        gateway.scopes[0].quarantined_total = total;
        let found = inputs(&[agent("a", 100, vec![gateway])]).quarantined.unwrap().value;
        assert_eq!(found, expected);
    };
    check(&[], 0, &[]);
    check(&["route/acme/orders"], 1, &["route/acme/orders"]);
    check(&["upstream/acme/own"], 1, &["upstream/acme/own"]);
    // Of another host, and an Upstream that the Binding replaces by its own.
    check(&["route/acme/other", "upstream/acme/other-r1/backend", "upstream/acme/orders-r1/backend"], 3, &[]);
    check(&["route/acme/other"], 5, &["4 that g1 does not name"]);
}

fn row(environment: &str, host: &str, per_second: u64) -> TrafficRow {
    TrafficRow { environment: environment.into(), host: host.into(), requests: per_second * 10 }
}

#[test]
fn requests_that_may_be_for_the_plans_hosts_count_as_the_plans() {
    let now = Instant::now() + Duration::from_secs(100);
    let at = now.checked_sub(Duration::from_secs(2)).unwrap();
    let check = |of_us_rows: Vec<TrafficRow>, plan: u64, other: u64| {
        let mut loads = Loads::default();
        let mut say = |region: &str, rows| {
            loads.learn(&(name(region), "a".into()), &nested::to_bytes(&Traffic { rows }), at);
        };
        say(
            "eu",
            vec![row("production", "orders.gslb.example", 600), row("production", "other.example", 80)],
        );
        say("us", of_us_rows);
        let found = of_us(&[], &loads, now).capacity;
        let expected = Capacity { declared: Some(500), plan: heard(plan, 2_000), other: heard(other, 2_000) };
        assert_eq!(found, expected);
    };
    check(vec![], 600, 0);
    check(vec![row("production", "orders.gslb.example", 50)], 650, 0);
    check(vec![row("production", "other.example", 50)], 600, 50);
    check(vec![row("sandbox", "orders.gslb.example", 50)], 600, 50);
    // Patterns count whole.
    check(vec![row("production", "*.gslb.example", 50)], 650, 0);
    check(vec![row("production", "*", 50)], 650, 0);
    check(vec![row("sandbox", "*", 50)], 600, 50);
    // The rest that a Traffic does not name.
    check(vec![row("production", "", 50)], 650, 0);
    check(vec![row("", "", 50)], 650, 0);
    check(vec![row("sandbox", "", 50)], 600, 50);
}
