use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hanse_link::SubscriberRecord;
use hanse_proto::{
    nested,
    sync::{AgentLive, Facts, GatewayLive, Heard, Report, Serving, Traffic, TrafficRow},
};
use hanse_topology::{Identity, LEASE, Name};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::{
    heard::{MAX_AGENT_BYTES, Reading},
    hearing::{Hearing, RegionView},
    ledger::{Ledger, MAX_FORGOTTEN},
    own::{limited, report, traffic},
};

/// All environments may be learnt.
const ALL: Vec<String> = Vec::new();

/// What is told to an agent that heard all up to this version.
fn since(ledger: &Ledger, seen: Option<u64>) -> Vec<hanse_proto::sync::RegionPart> {
    ledger.since(seen, ALL).collect()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn row(environment: &str, host: &str, requests: u64) -> TrafficRow {
    TrafficRow { environment: environment.into(), host: host.into(), requests }
}

fn serving(scopes: &[&str]) -> Serving {
    let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    Serving {
        scopes_total: scopes.len() as u64,
        scopes,
        urls: vec!["https://g.example".into()],
        internal_urls: vec!["https://10.0.0.7".into()],
        ready: true,
        tunnels: vec!["g.example:7447".into()],
        ..Default::default()
    }
}

fn record(identity: Identity, heard: Instant, report: Report) -> SubscriberRecord {
    SubscriberRecord {
        identity,
        boot: None,
        connected: true,
        last_heard: heard,
        scopes: BTreeMap::new(),
        report: Some((report, heard)),
    }
}

/// A gateway that serves a scope and answered so many requests.
fn gateway(text: &str, heard: Instant, requests: u64) -> SubscriberRecord {
    let facts =
        Facts { serving: nested::to_bytes(&serving(&["runtime/eu-west/production"])), ..Facts::default() };
    let traffic = nested::to_bytes(&Traffic { rows: vec![row("production", "*", requests)] });
    let report = Report { facts: nested::to_bytes(&facts), traffic: Some(traffic), ..Report::default() };
    record(Identity::gateway(name(text), name("eu-west")), heard, report)
}

fn agent(text: &str, gateways: &[SubscriberRecord], now: Instant) -> SubscriberRecord {
    record(Identity::agent(name(text), name("eu-west")), now, report_of(gateways, now))
}

fn report_of(gateways: &[SubscriberRecord], now: Instant) -> Report {
    report(gateways, now, traffic(gateways, now))
}

/// An agent and whether it is live, with the same of its gateways.
type Shown = (String, bool, Vec<(String, bool)>);

fn live(agents: &BTreeMap<Name, AgentLive>) -> Vec<Shown> {
    let gateways = |agent: &AgentLive| {
        agent.gateways.iter().map(|gateway| (gateway.name.clone(), gateway.live)).collect()
    };
    agents.values().map(|agent| (agent.name.clone(), agent.live, gateways(agent))).collect()
}

#[test]
fn gateways_are_told_of_as_their_agents_heard_them() {
    let start = Instant::now();
    let now = start + Duration::from_secs(2 * 3600);
    let mut gone = gateway("gone", now - LEASE, 3);
    gone.connected = false;
    let mut long_gone = gateway("long-gone", start, 3);
    long_gone.connected = false;
    let silent = gateway("silent", now - LEASE, 4);
    let mut just_gone = gateway("just-gone", now, 6);
    just_gone.connected = false;
    let records = [gateway("here", now, 5), gone, just_gone, long_gone, silent];
    let mut reading = Reading::default();
    let agents = reading.agents(&[agent("a", &records, now), agent("b", &[], now)], now);
    let of_a = vec![
        ("gone".into(), false),
        ("here".into(), true),
        ("just-gone".into(), false),
        ("silent".into(), false),
    ];
    assert_eq!(live(&agents), [("a".into(), true, of_a), ("b".into(), true, vec![])]);
    let told = &agents[&name("a")].gateways[1].serving;
    assert_eq!(nested::read::<Serving>("serving", told).unwrap(), serving(&["runtime/eu-west/production"]));
    assert_eq!(
        reading.traffic(&agents).to_message().rows,
        [row("production", "*", 5)],
        "of live gateways only"
    );

    // The agent has gone: nothing is known of its gateways.
    let mut a = agent("a", &records, now);
    a.connected = false;
    let agents = reading.agents(&[a.clone()], now);
    let none = vec![
        ("gone".into(), false),
        ("here".into(), false),
        ("just-gone".into(), false),
        ("silent".into(), false),
    ];
    assert_eq!(live(&agents), [("a".into(), false, none)]);
    assert!(reading.traffic(&agents).to_message().rows.is_empty());
    assert!(
        reading.agents(&[a], now + Duration::from_secs(3600)).is_empty(),
        "after an hour it is forgotten"
    );
}

#[test]
fn facts_pass_as_received_and_nothing_else_of_a_gateway_does() {
    let now = Instant::now();
    let mut later = gateway("g", now, 1);
    // A field of a later release.
    let facts =
        [nested::to_bytes(&serving(&["runtime/eu-west/production"])), vec![0xf8, 7, 1].into()].concat();
    let said = Facts { serving: facts.clone().into(), ..Facts::default() };
    later.report = Some((Report { facts: nested::to_bytes(&said), ..Report::default() }, now));
    let agents = Reading::default().agents(&[agent("a", &[later], now)], now);
    assert_eq!(agents[&name("a")].gateways[0].serving, facts);

    // Traffic is said once, in the sum. Acks and keys are for control nodes.
    let mut busy = gateway("g", now, 1);
    busy.scopes.insert("runtime/eu-west/production".parse().unwrap(), Default::default());
    let said = report_of(&[busy], now);
    let heard = nested::of_row("below", &said.below).next().unwrap().unwrap();
    let heard: Heard = nested::read("heard", heard).unwrap();
    assert!(heard.report.unwrap().traffic.is_none() && heard.acks.is_empty() && heard.key.is_empty());

    let foreign = Identity::gateway(name("g"), name("us-east"));
    let no_gateway = Identity::agent(name("b"), name("eu-west"));
    for identity in [foreign, no_gateway] {
        let below = [record(identity, now, Report::default())];
        assert!(Reading::default().agents(&[agent("a", &below, now)], now)[&name("a")].gateways.is_empty());
    }
}

#[test]
fn of_many_gateways_those_that_are_gone_are_left_out_first_and_all_are_counted() {
    let now = Instant::now() + LEASE;
    let long = "x".repeat(1_900);
    let many: Vec<_> = (0..800)
        .map(|n| {
            let mut record = gateway(&format!("g-{n:04}"), now, 0);
            let serving = nested::to_bytes(&serving(&[&long]));
            let facts = nested::to_bytes(&Facts { serving, ..Facts::default() });
            record.report = Some((Report { facts, ..Report::default() }, now));
            record.connected = n % 2 == 1;
            record
        })
        .collect();
    let agents = Reading::default().agents(&[agent("a", &many, now)], now);
    let told = &agents[&name("a")];
    assert!(prost::Message::encoded_len(told) <= MAX_AGENT_BYTES + 100);
    assert_eq!(told.gateways.len() as u64 + told.left_out, 800);
    assert_eq!(told.gateways.iter().filter(|gateway| gateway.live).count(), 400);
    assert!(told.gateways.is_sorted_by_key(|gateway| gateway.name.clone()));
}

/// A region that changes at random: agents come, change, go and come back.
fn steps(rng: &mut StdRng) -> Vec<BTreeMap<Name, AgentLive>> {
    let mut agents = BTreeMap::new();
    let mut steps = Vec::new();
    for _ in 0..rng.random_range(1..40) {
        for _ in 0..rng.random_range(0..4) {
            let own = name(&format!("agent-{}", rng.random_range(0..8)));
            // Some are so large that a part holds one of them.
            let size = if rng.random_bool(0.1) { 200_000 } else { rng.random_range(0..2_000) };
            let gateway = GatewayLive {
                name: format!("g-{}", rng.random_range(0..3)),
                live: rng.random(),
                serving: vec![0; size].into(),
            };
            let agent = AgentLive {
                name: own.to_string(),
                live: rng.random(),
                gateways: vec![gateway],
                left_out: rng.random_range(0..2),
            };
            match rng.random_bool(0.3) {
                true => drop(agents.remove(&own)),
                false => drop(agents.insert(own, agent)),
            }
        }
        steps.push(agents.clone());
    }
    steps
}

#[test]
fn whoever_hears_all_parts_has_the_view_of_the_relay_whenever_it_asked() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut ledger, mut watchers) = (Ledger::default(), Vec::<(Hearing, Option<u64>)>::new());
        for agents in steps(&mut rng) {
            let before = (ledger.version(), ledger.view());
            let is_news = ledger.set_agents(agents.clone());
            assert_eq!(is_news, ledger.version() != before.0, "seed {seed}");
            assert_eq!(is_news, ledger.view() != before.1, "seed {seed}");
            if rng.random_bool(0.3) {
                ledger.set_traffic(Traffic { rows: vec![row("e", "*", rng.random_range(0..3))] });
            }
            if rng.random_bool(0.3) {
                watchers.push((Hearing::default(), None));
            }
            for (hearing, seen) in &mut watchers {
                if rng.random_bool(0.3) {
                    continue; // it is slow
                }
                let parts = since(&ledger, *seen);
                *seen = Some(ledger.version());
                let count = parts.len();
                for (at, part) in parts.into_iter().enumerate() {
                    let view = hearing.take(part).unwrap().cloned();
                    let wanted = (at + 1 == count).then(|| ledger.view());
                    assert_eq!(view, wanted, "seed {seed}: the view changes with the last part only");
                }
            }
        }
    }
}

#[test]
fn the_order_of_what_is_heard_makes_no_difference() {
    let now = Instant::now();
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut records: Vec<_> = (0..6)
            .map(|n| {
                let gateways: Vec<_> = (0..rng.random_range(0..4))
                    .map(|g| gateway(&format!("g-{n}-{g}"), now, rng.random_range(0..9)))
                    .collect();
                agent(&format!("agent-{n}"), &gateways, now)
            })
            .collect();
        let of = |records: &[SubscriberRecord]| {
            let mut reading = Reading::default();
            let agents = reading.agents(records, now);
            let traffic = reading.traffic(&agents).to_message();
            let mut ledger = Ledger::default();
            ledger.set_agents(agents);
            ledger.set_traffic(traffic);
            ledger.view()
        };
        let first = of(&records);
        records.shuffle(&mut rng);
        assert_eq!(of(&records), first, "seed {seed}");
    }
}

#[test]
fn parts_are_bounded() {
    let gateways = |bytes: usize| vec![GatewayLive { serving: vec![0; bytes].into(), ..Default::default() }];
    let agent = |n: usize| {
        let own = name(&format!("agent-{n:03}"));
        (own.clone(), AgentLive { name: own.to_string(), gateways: gateways(10_000), ..Default::default() })
    };
    let mut ledger = Ledger::default();
    ledger.set_agents((0..100).map(agent).collect());
    let parts = since(&ledger, None);
    assert!(parts.len() > 3 && parts.iter().all(|part| prost::Message::encoded_len(part) < 300_000));
    let flags: Vec<_> = parts.iter().map(|part| (part.whole, part.more)).collect();
    assert_eq!(flags[0], (true, true));
    assert!(flags[1..flags.len() - 1].iter().all(|flags| *flags == (false, true)));
    assert_eq!(flags[flags.len() - 1], (false, false));
}

#[test]
fn a_view_that_is_too_large_is_refused() {
    let mut hearing = Hearing::default();
    let part = |n: usize| hanse_proto::sync::RegionPart {
        whole: n == 0,
        more: true,
        agents: vec![AgentLive {
            name: format!("agent-{n}"),
            gateways: vec![GatewayLive {
                name: "g".into(),
                serving: vec![0; 1 << 20].into(),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let refused = (0..64).map(|n| hearing.take(part(n)).map(drop)).find_map(Result::err);
    assert!(refused.unwrap().contains("more than 67108864 bytes"));
    // What is replaced does not count.
    let mut hearing = Hearing::default();
    for _ in 0..100 {
        hearing.take(hanse_proto::sync::RegionPart { more: false, ..part(1) }).unwrap();
    }
}

#[test]
fn an_agent_with_some_environments_hears_of_those_only() {
    let gateway = |text: &str, scopes: &[&str]| {
        let serving = Serving {
            not_ready: "runtime/eu-west/secret is missing".into(),
            ready: false,
            ..serving(scopes)
        };
        GatewayLive { name: text.into(), live: true, serving: nested::to_bytes(&serving) }
    };
    let gateways = vec![
        gateway("both", &["local/eu-west/sandbox/pods", "runtime/eu-west/sandbox", "runtime/eu-west/secret"]),
        gateway("neither", &[]),
        gateway("other", &["runtime/eu-west/secret"]),
    ];
    let told = AgentLive { name: "a".into(), live: true, gateways, left_out: 3 };
    let mut ledger = Ledger::default();
    ledger.set_agents([(name("a"), told.clone())].into());
    let rows = vec![row("", "", 1), row("sandbox", "*", 2), row("secret", "*", 3)];
    ledger.set_traffic(Traffic { rows: rows.clone() });
    let all = since(&ledger, None);
    assert_eq!((&all[0].agents, &all[0].traffic), (&vec![told], &Some(Traffic { rows })));

    let some: Vec<_> = ledger.since(None, vec!["sandbox".to_owned()]).collect();
    let [agent] = &*some[0].agents else { panic!("{some:?}") };
    assert_eq!((&*agent.name, agent.live, agent.left_out, agent.gateways.len()), ("a", true, 0, 1));
    let of_it: Serving = nested::read("serving", &agent.gateways[0].serving).unwrap();
    let wanted = Serving {
        not_ready: "not ready".into(),
        ready: false,
        ..serving(&["local/eu-west/sandbox/pods", "runtime/eu-west/sandbox"])
    };
    assert_eq!(of_it, wanted);
    assert_eq!(some[0].traffic, Some(Traffic { rows: vec![row("sandbox", "*", 2)] }));
}

#[test]
fn a_view_that_is_forgotten_is_no_view() {
    let mut hearing = Hearing::default();
    let mut ledger = Ledger::default();
    assert_eq!(since(&ledger, Some(0)), []);
    let whole = since(&ledger, None);
    assert_eq!(hearing.take(whole[0].clone()).unwrap(), Some(&RegionView::default()));
    ledger.set_agents([(name("a"), AgentLive { name: "a".into(), ..Default::default() })].into());
    ledger.set_agents(BTreeMap::new());
    assert_eq!(since(&ledger, Some(1))[0].forgotten, ["a"]);
    assert!(since(&ledger, None)[0].forgotten.is_empty(), "who asks anew knows of none");
}

#[test]
fn names_of_agents_that_are_gone_are_dropped_and_who_may_hold_them_is_told_all() {
    let mut ledger = Ledger::default();
    let agents = |count: usize| -> BTreeMap<Name, AgentLive> {
        let own = |n: usize| name(&format!("agent-{n}"));
        (0..count).map(|n| (own(n), AgentLive { name: own(n).to_string(), ..Default::default() })).collect()
    };
    ledger.set_agents(agents(MAX_FORGOTTEN + 2));
    let seen = ledger.version();
    ledger.set_agents(agents(2));
    assert_eq!(since(&ledger, Some(seen))[0].forgotten.len(), MAX_FORGOTTEN);
    let between = ledger.version();
    ledger.set_agents(agents(1));
    let part = &since(&ledger, Some(between))[0];
    assert_eq!((part.whole, part.agents.len(), part.forgotten.len()), (true, 1, 0));
    assert_eq!(since(&ledger, Some(ledger.version())), []);
}

#[test]
fn agents_that_say_most_lose_their_gateways_first() {
    let agent = |own: &str, gateways: usize| {
        let gateway =
            |n: usize| GatewayLive { name: format!("g-{n}"), serving: vec![0; 1_000].into(), live: true };
        let gateways = (0..gateways).map(gateway).collect();
        (name(own), AgentLive { name: own.into(), live: true, gateways, left_out: 1 })
    };
    let mut agents: BTreeMap<_, _> = [agent("a", 5), agent("b", 20), agent("c", 4), agent("d", 10)].into();
    let untouched = agents.clone();
    super::heard::bound(&mut agents, 1 << 20);
    assert_eq!(agents, untouched);
    super::heard::bound(&mut agents, 12_000);
    let told: Vec<_> = agents.values().map(|agent| (agent.gateways.len(), agent.left_out)).collect();
    assert_eq!(told, [(5, 1), (0, 21), (4, 1), (0, 11)]);
}

#[test]
fn a_gateway_speaks_of_environments_that_it_may_learn_and_of_no_others() {
    let now = Instant::now();
    let mut liar = gateway("g", now, 7);
    let scopes = ["runtime/eu-west/production", "runtime/eu-west/sandbox", "no scope"];
    let facts = Facts { serving: nested::to_bytes(&serving(&scopes)), ..Facts::default() };
    let rows = vec![row("production", "*", u64::MAX), row("sandbox", "*", 2), row("", "", 9)];
    let report = Report {
        facts: nested::to_bytes(&facts),
        traffic: Some(nested::to_bytes(&Traffic { rows })),
        ..Report::default()
    };
    liar.report = Some((report.clone(), now));
    let all = limited(Some(Vec::new()), liar.clone());
    assert_eq!(all.report.unwrap().0, report);
    assert!(limited(None, liar.clone()).report.is_none(), "it is not admitted any more");

    let some = limited(Some(vec![name("sandbox")]), liar);
    let told = some.report.as_ref().unwrap();
    let facts: Facts = nested::read("facts", &told.0.facts).unwrap();
    let told: Serving = nested::read("serving", &facts.serving).unwrap();
    assert_eq!(told, serving(&["runtime/eu-west/sandbox"]));
    let sum: Traffic = nested::read("traffic", &traffic(&[some], now)).unwrap();
    assert_eq!(sum.rows, [row("sandbox", "*", 2)]);
}
