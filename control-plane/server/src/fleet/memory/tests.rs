use bytes::Bytes;
use hanse_link::Quarantine;
use hanse_proto::sync::Report;

use super::*;

/// The history of most of these tests.
const LINEAGE: Lineage = Lineage { generation: 1, id: [1; 16], parent: None };

fn gateway(name: &str, heard_ms_ago: u64, revision: u64) -> Heard {
    gateway_at(name, heard_ms_ago, Position { lineage: LINEAGE, revision })
}

fn gateway_at(name: &str, heard_ms_ago: u64, position: Position) -> Heard {
    let scope = "runtime/eu-west/production".parse().unwrap();
    let ack = ScopeAck { effective: Some(position), ..ScopeAck::default() }.to_message(&scope);
    Heard {
        identity: format!("{name}.gateway.eu-west.hanse.internal"),
        acks: nested::in_a_row(&[ack]),
        heard_ms_ago,
        connected: true,
        ..Heard::default()
    }
}

fn agent(heard_ms_ago: u64, connected: bool, below: Vec<Heard>) -> Heard {
    agent_that_says(&Facts::default(), heard_ms_ago, connected, below)
}

fn agent_that_says(facts: &Facts, heard_ms_ago: u64, connected: bool, below: Vec<Heard>) -> Heard {
    let report = hanse_link::report_of(facts, nested::in_a_row(&below));
    Heard {
        identity: identity("agent-1", "eu-west"),
        connected,
        heard_ms_ago,
        report: Some(report),
        ..Heard::default()
    }
}

fn identity(agent: &str, region: &str) -> String {
    format!("{agent}.agent.{region}.hanse.internal")
}

/// name, age, connected, revision of each gateway.
fn rows(memory: &Memory, now: Instant) -> Vec<(String, u64, bool, Option<u64>)> {
    let agents = memory.recall(now, Some(&LINEAGE));
    assert_eq!(agents.len(), 1, "{agents:?}");
    let row = |gateway: &GatewayStatus| {
        (gateway.name.clone(), gateway.heard_ms_ago, gateway.connected, gateway.scopes[0].effective)
    };
    agents[0].gateways.iter().map(row).collect()
}

#[test]
fn the_latest_word_on_each_counts_whichever_node_has_it() {
    let now = Instant::now() + KEEP;
    let old = agent(9_000, false, vec![gateway("g1", 9_500, 4), gateway("g2", 9_500, 4)]);
    let new = agent(100, true, vec![gateway("g1", 200, 7)]);
    for reports in [vec![old.clone(), new.clone()], vec![new, old]] {
        let mut memory = Memory::default();
        memory.learn(reports, now);
        assert_eq!(
            rows(&memory, now),
            [("g1".into(), 200, true, Some(7)), ("g2".into(), 9_500, false, Some(4))]
        );
    }
}

#[test]
fn an_agent_that_returned_to_a_node_does_not_bring_back_what_that_node_knew() {
    // The agent is heard here again, but has not reported here since it was elsewhere.
    let now = Instant::now() + KEEP;
    let mut memory = Memory::default();
    memory.learn(
        [agent(50, true, vec![gateway("g1", 8_000, 4)]), agent(900, false, vec![gateway("g1", 1_000, 7)])],
        now,
    );
    assert_eq!(rows(&memory, now)[0].3, Some(7));
}

#[test]
fn nobody_is_forgotten_because_a_node_or_an_agent_went_away() {
    let now = Instant::now() + KEEP;
    let mut memory = Memory::default();
    memory.learn([agent(100, true, vec![gateway("g1", 200, 7)])], now);
    // The node that knew them is silent: they age.
    let later = now + Duration::from_secs(6);
    memory.learn([], later);
    assert_eq!(rows(&memory, later), [("g1".into(), 6_200, false, Some(7))]);
    // The agent is back, restarted, and knows no gateway yet.
    memory.learn([agent(10, true, Vec::new())], later);
    assert_eq!(rows(&memory, later), [("g1".into(), 6_200, false, Some(7))]);
    // After an hour they are history.
    memory.learn([], later + KEEP);
    assert!(memory.recall(later + KEEP, Some(&LINEAGE)).is_empty());
}

#[test]
fn keys_of_a_gateway_are_those_that_all_agents_of_its_region_say() {
    let now = Instant::now() + KEEP;
    let region = Name::new("eu-west").unwrap();
    let mut memory = Memory::default();
    let known = Heard { key: vec![1; 32].into(), ..gateway("g1", 0, 9) };
    let revoked = |name: &str, key: &[u8]| sync::GatewayKey { name: name.into(), key: key.to_vec().into() };
    let facts = Facts {
        revoked_gateways: vec![revoked("g1", &[2; 32]), revoked("g2", &[3; 32]), revoked("g1", b"no key")],
        ..Facts::default()
    };
    let elsewhere = Heard {
        identity: identity("agent-2", "eu-west"),
        ..agent_that_says(&facts, 0, true, vec![gateway("g3", 0, 9)])
    };
    let foreign = Heard { identity: identity("agent-2", "us-east"), ..elsewhere.clone() };
    memory.learn([agent(0, true, vec![known]), elsewhere, foreign], now);
    assert_eq!(memory.keys_of(&region, "g1"), [[1; 32], [2; 32]]);
    assert_eq!(memory.keys_of(&region, "g2"), [[3; 32]]);
    assert!(memory.keys_of(&region, "g3").is_empty());
    assert_eq!(memory.recall(now, None)[0].gateways[0].key, Some([1; 32]));
}

#[test]
fn an_agent_speaks_for_its_own_region_only() {
    let now = Instant::now() + KEEP;
    let foreign = Heard { identity: "g1.gateway.us-east.hanse.internal".into(), ..gateway("g1", 0, 9) };
    let no_gateway = Heard { identity: identity("g1", "eu-west"), ..gateway("g1", 0, 9) };
    let mut memory = Memory::default();
    memory.learn([agent(0, true, vec![foreign, no_gateway])], now);
    assert!(rows(&memory, now).is_empty());
}

/// The control plane was restored: what was said of another history says nothing of this one, however great its number.
#[test]
fn revisions_of_another_history_do_not_count() {
    let now = Instant::now() + KEEP;
    let restored = Lineage { generation: 2, id: [2; 16], parent: Some((LINEAGE.id, 40)) };
    let stranger = Lineage { id: [3; 16], ..LINEAGE };
    let table = [
        ("of this history", restored, 45, Some(45)),
        ("of the history before, where this one left it", LINEAGE, 40, Some(40)),
        ("of the history before, further on", LINEAGE, 60, None),
        ("of a history that is none of this one's", stranger, 30, None),
        ("of a history that supersedes this one", Lineage { generation: 3, ..restored }, 60, None),
        ("of another history of the same generation", Lineage { id: [9; 16], ..restored }, 60, None),
    ];
    for (name, lineage, revision, expected) in table {
        let mut memory = Memory::default();
        memory.learn([agent(0, true, vec![gateway_at("g1", 0, Position { lineage, revision })])], now);
        let effective = |agents: Vec<AgentStatus>| agents[0].gateways[0].scopes[0].effective;
        assert_eq!(effective(memory.recall(now, Some(&restored))), expected, "{name}");
        assert_eq!(effective(memory.recall(now, None)), None, "{name}, and there is no history here yet");
    }
}

#[test]
fn an_agent_says_which_gateways_it_misses() {
    let now = Instant::now() + KEEP;
    let mut memory = Memory::default();
    let said = |heard_ms_ago, unheard: &[&str]| {
        let unheard = unheard.iter().map(|name| (*name).to_owned()).collect();
        let facts = Facts { unheard, unheard_total: 1_001, ..Facts::default() };
        agent_that_says(&facts, heard_ms_ago, true, vec![gateway("g1", 0, 9)])
    };
    memory.learn([said(0, &["g2", "g3.gateway.us-east"]), said(900, &["g4"])], now);
    let agents = memory.recall(now, Some(&LINEAGE));
    let facts = &agents[0].facts;
    assert_eq!((facts.unheard.as_slice(), facts.unheard_total), (&["g2".to_owned()][..], 1_001));
    assert_eq!(agents[0].gateways.len(), 1, "they are not among those heard");
}

#[test]
fn two_processes_that_are_there_at_once_are_duplicates_whichever_agents_they_follow() {
    let start = Instant::now() + KEEP;
    let at = |seconds| start + Duration::from_secs(seconds);
    let of = |boot: u8, name: &str| Heard { boot_id: vec![boot; 16].into(), ..gateway(name, 0, 9) };
    let by = |agent_name: &str, boot: u8, gateways| Heard {
        identity: identity(agent_name, "eu-west"),
        boot_id: vec![boot; 16].into(),
        ..agent(0, true, gateways)
    };
    let mut memory = Memory::default();
    for second in 0..20 {
        // g1 runs twice, each at an agent of its own; g2 and agent-1 restart at 10.
        let earlier = if second < 10 { 1 } else { 2 };
        let one = by("agent-1", earlier, vec![of(1, "g1"), of(earlier, "g2")]);
        let other = by("agent-2", 5, vec![of(2, "g1")]);
        memory.learn([one, other], at(second));
        let twins = memory.duplicates(at(second)).len();
        assert_eq!(twins, usize::from(second >= 10), "after {second} s");
    }
    let duplicate = memory.duplicates(at(21)).remove(0);
    assert_eq!(
        (duplicate.name.as_str(), duplicate.region.as_str(), duplicate.role),
        ("g1", "eu-west", "gateway")
    );
    assert_eq!(duplicate.seen_ms_ago, 2_000);
}

#[test]
fn an_agent_that_names_not_all_of_its_gateways_is_partial() {
    let now = Instant::now() + KEEP;
    let mut memory = Memory::default();
    let facts = Facts { left_out: 12, ..Facts::default() };
    memory.learn([agent_that_says(&facts, 300, true, vec![])], now);
    let partial = PartialReport {
        agent: "agent-1".into(),
        region: Name::new("eu-west").unwrap(),
        left_out: 12,
        heard_ms_ago: 300,
    };
    assert_eq!(memory.partial(now), [partial]);
    memory.learn([agent(0, true, vec![])], now);
    assert!(memory.partial(now).is_empty());
}

/// An agent whose region's key is in bad hands names ever more gateways, each report as large as it may be.
#[test]
fn however_many_gateways_an_agent_names_what_is_remembered_is_bounded() {
    const EACH: usize = 100 << 10;
    let start = Instant::now() + KEEP;
    let mut memory = Memory::default();
    let heavy = |name: String| {
        let trust = Some(sync::TrustStatus { shown: vec![0; EACH].into(), ..Default::default() });
        let report = hanse_link::report_of(&Facts { trust, ..Facts::default() }, Default::default());
        Heard { report: Some(report), ..gateway(&name, 0, 9) }
    };
    let kept = agent(0, true, vec![gateway("kept", 0, 9)]);
    memory.learn([Heard { identity: identity("other", "eu-west"), ..kept }], start);
    for round in 0..20u64 {
        let gateways = (0..40).map(|n| heavy(format!("g-{round}-{n}"))).chain([gateway("No Name", 0, 1)]);
        memory.learn([agent(0, true, gateways.collect())], start + Duration::from_secs(round));
    }
    let last = start + Duration::from_secs(19);
    let known: Vec<String> =
        memory.recall(last, None).remove(0).gateways.into_iter().map(|g| g.name).collect();
    assert!((BYTES_PER_AGENT / EACH - 10..=BYTES_PER_AGENT / EACH).contains(&known.len()), "{}", known.len());
    assert!((0..40).all(|n| known.contains(&format!("g-19-{n}"))), "those of the last report are there");
    assert!(!known.contains(&"No Name".to_owned()));
    assert_eq!(memory.recall(last, None)[1].gateways.len(), 1, "no other agent is touched");
}

#[test]
fn what_an_agent_said_ages_on_the_way() {
    let now = Instant::now() + KEEP;
    let mut memory = Memory::default();
    let said =
        |heard_ms_ago| Heard { reported_ms_ago: 70, ..agent(20, true, vec![gateway("g1", heard_ms_ago, 9)]) };
    memory.learn([said(200)], now);
    let later = now + Duration::from_millis(5);
    assert_eq!(rows(&memory, later)[0].1, 275);
    memory.learn([said(u64::MAX)], now);
    assert_eq!(rows(&memory, later)[0].1, 275, "so old a word replaces none");
}

/// From a gateway, by an agent that reads none of it.
#[test]
fn facts_are_read_whatever_else_is_said_beside_them() {
    let newer = |message: Bytes| -> Bytes { [&message[..], b"\xfa\x07\x03new"].concat().into() };
    let now = Instant::now() + KEEP;
    let trust = Some(sync::TrustStatus { shown: vec![1; 32].into(), ..Default::default() });
    let facts = Facts { trust, ..Facts::default() };
    let scope = "runtime/eu-west/production".parse().unwrap();
    let quarantine = Quarantine::of([sync::Quarantined { key: "plan/o/a".into(), ..Default::default() }]);
    let ack = ScopeAck { quarantine, ..ScopeAck::default() }.to_message(&scope);
    let ack = sync::Ack { facts: newer(ack.facts), in_quarantine: newer(ack.in_quarantine), ..ack };
    let said = Report { facts: newer(nested::to_bytes(&facts)), ..Default::default() };
    let heard = Heard { acks: nested::in_a_row(&[ack]), report: Some(said.clone()), ..gateway("g1", 0, 9) };
    let by_agent = Report { facts: said.facts, below: nested::in_a_row(&[heard]), ..Default::default() };
    let mut memory = Memory::default();
    memory.learn([Heard { report: Some(by_agent), ..agent(0, true, vec![]) }], now);
    let agents = memory.recall(now, Some(&LINEAGE));
    let gateway = &agents[0].gateways[0];
    assert_eq!((&agents[0].facts, &gateway.facts), (&facts, &facts));
    assert_eq!(gateway.scopes[0].quarantined[0].key, "plan/o/a");
}

#[test]
fn of_a_damaged_report_what_can_be_read_counts() {
    let now = Instant::now() + KEEP;
    let mut memory = Memory::default();
    let damaged = Heard { acks: vec![9].into(), ..gateway("g1", 0, 9) };
    let row = nested::in_a_row(&[damaged, gateway("g2", 0, 9)]);
    let below = [&row[..], &[200, 1, 0]].concat().into();
    let report = Report { facts: vec![0xff].into(), below, ..Default::default() };
    memory.learn([Heard { report: Some(report), ..agent(0, true, vec![]) }], now);
    let agents = memory.recall(now, Some(&LINEAGE));
    let scopes: Vec<usize> = agents[0].gateways.iter().map(|gateway| gateway.scopes.len()).collect();
    assert_eq!((agents[0].facts.clone(), scopes), (Facts::default(), vec![0, 1]));
}

#[test]
fn an_address_counts_since_it_is_said_and_no_other() {
    let start = Instant::now() + KEEP;
    let at = |seconds| start + Duration::from_secs(seconds);
    let says = |address: &str, heard_ms_ago| {
        let facts = Facts { address: address.into(), ..Facts::default() };
        agent_that_says(&facts, heard_ms_ago, true, Vec::new())
    };
    let mut memory = Memory::default();
    let said = |memory: &Memory, now: Instant| {
        let heard: Vec<_> = memory.heard_agents(now).into_values().collect();
        let [HeardAgent { heard_ago, address, address_for }] = &heard[..] else { panic!("{heard:?}") };
        (address.clone(), heard_ago.as_secs(), address_for.as_secs())
    };
    memory.learn([says("a.example:1", 0)], at(0));
    memory.learn([says("a.example:1", 0)], at(30));
    assert_eq!(said(&memory, at(40)), ("a.example:1".into(), 10, 40));
    // A node that heard the agent earlier says what it said then.
    memory.learn([says("b.example:1", 1_000), says("a.example:1", 20_000)], at(50));
    assert_eq!(said(&memory, at(60)), ("b.example:1".into(), 11, 11));
    // Two processes with one name.
    memory.learn([says("a.example:1", 0)], at(70));
    memory.learn([says("b.example:1", 0)], at(80));
    assert_eq!(said(&memory, at(81)), ("b.example:1".into(), 1, 1));
}

#[test]
fn responders_are_known_by_their_agents_and_are_no_gateways() {
    let now = Instant::now() + KEEP;
    let said = sync::Responder {
        address: "192.0.2.53:53".into(),
        zones: vec![sync::ZoneServed { zone: "gslb".into(), serial: 41 }],
        zones_total: 1,
        ..sync::Responder::default()
    };
    let facts = Facts { responder: Some(said.clone()), ..Facts::default() };
    let named = |identity: &str| Heard {
        identity: identity.to_owned(),
        heard_ms_ago: 200,
        connected: true,
        report: Some(hanse_link::report_of(&facts, Bytes::new())),
        ..Heard::default()
    };
    let below = vec![
        named("dns-1.dns.eu-west.hanse.internal"),
        named("dns-2.dns.us-east.hanse.internal"),
        named("g1.gateway.eu-west.hanse.internal"),
    ];
    let mut memory = Memory::default();
    memory.learn([agent(100, true, below)], now);
    let status = ResponderStatus {
        name: "dns-1".into(),
        region: Name::new("eu-west").unwrap(),
        agent: "agent-1".into(),
        connected: true,
        heard_ms_ago: 200,
        said,
    };
    assert_eq!(memory.responders(now), [status]);
    let gateways = &memory.recall(now, None)[0].gateways;
    assert_eq!((gateways.len(), &*gateways[0].name), (1, "g1"));
    assert_eq!(gateways[0].facts.responder, None, "a gateway is no responder");
    memory.learn([], now + KEEP);
    assert!(memory.responders(now + KEEP).is_empty());
}

#[test]
fn what_agents_say_of_their_traffic_is_kept_as_long_as_they_are() {
    let now = Instant::now() + KEEP;
    let row = sync::TrafficRow { environment: "production".into(), host: "*".into(), requests: 50 };
    let traffic = nested::to_bytes(&sync::Traffic { rows: vec![row] });
    let mut busy = agent(100, true, Vec::new());
    busy.report = busy.report.map(|report| Report { traffic: Some(traffic), ..report });
    let mut memory = Memory::default();
    memory.learn([busy], now);
    let load = |memory: &Memory, now| {
        let eu = [Name::new("eu-west").unwrap()];
        memory.loads().greatest(now, &eu, |_, _| true).map(|load| load.value)
    };
    assert_eq!(load(&memory, now), Some(5));
    memory.learn([], now + KEEP);
    assert_eq!(load(&memory, now + KEEP), None);
}

#[test]
fn a_lost_link_is_no_lost_region() {
    let now = Instant::now() + KEEP;
    let serving = sync::Serving { ready: true, ..sync::Serving::default() };
    let said = Facts { serving: nested::to_bytes(&serving), ..Facts::default() };
    let says = |connected| Heard {
        report: Some(hanse_link::report_of(&said, Default::default())),
        connected,
        ..gateway("g1", 0, 7)
    };
    let check = |agents: Vec<Heard>, expected: &[(u64, Option<bool>)]| {
        let mut memory = Memory::default();
        memory.learn(agents, now);
        let heard = memory.heard_regions(now, true);
        let mut gateways = Vec::new();
        for region in heard.values() {
            assert!(region.gateways.iter().all(|gateway| gateway.serving.as_ref() == Some(&serving)));
            let age = u64::try_from(region.age.as_millis()).unwrap();
            gateways.extend(region.gateways.iter().map(|gateway| (age, gateway.live)));
        }
        assert_eq!(gateways, expected);
    };
    check(vec![agent(100, true, vec![says(true)])], &[(100, Some(true))]);
    check(vec![agent(100, true, vec![says(false)])], &[(100, Some(false))]);
    check(vec![agent(6_000, false, vec![says(true)])], &[(6_000, Some(true))]);
    check(vec![agent(16_000, false, vec![says(true)])], &[]);
    let other = Heard { identity: identity("agent-2", "eu-west"), ..agent(50, true, Vec::new()) };
    check(vec![agent(16_000, false, vec![says(true)]), other], &[(50, None)]);
}
