use std::{collections::BTreeMap, time::Duration};

use hanse_dns_wire::{Question, absolute, tsig, tsig::Key};
use hanse_process::bring_back;
use hanse_proto::runtime;
use hanse_steering::{Place, ReportedHealth};

use super::*;
use crate::{
    testbed::{host, host_entry, zone, zone_entry},
    zones::ScopeIndex,
};

const ORIGIN: &str = "gslb.example.com";
const NOW: u64 = 1_800_000_000;

fn key(name: &str) -> Key {
    Key::new(absolute(name).unwrap(), &[7; 32]).unwrap()
}

/// The zone with a secondary that has the key `to-bind`, and these hosts.
fn zones(hosts: Vec<runtime::GlobalHost>) -> Zones {
    let secondary = runtime::Secondary { address: "192.0.2.9:53".to_owned(), key: "to-bind".to_owned() };
    let zone = runtime::Zone { secondaries: vec![secondary], ..zone(ORIGIN) };
    let content = [vec![zone_entry(zone)], hosts.into_iter().map(host_entry).collect()].concat();
    ScopeIndex::default().hold(content, Vec::new(), &BTreeMap::new())
}

fn served(zones: &Zones) -> Arc<ServedZone> {
    match zones.find(&absolute(ORIGIN).unwrap()) {
        Found::Here(zone, _) => Arc::clone(zone),
        other => panic!("{other:?}"),
    }
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {} {}", record.name, record.ttl, record.data)).collect()
}

fn content(zones: &Zones, places: &Places) -> Vec<String> {
    lines(&records(&served(zones), Seen { places, now: Duration::ZERO }))
}

#[test]
fn a_zone_has_name_servers_hosts_in_order_and_glue() {
    let both = host("b.gslb.example.com", &[("eu-west", &["192.0.2.2", "2001:db8::2"])]);
    let zones = zones(vec![
        both,
        host("a.gslb.example.com", &[("eu-west", &["192.0.2.1"]), ("us-east", &["192.0.2.1", "192.0.2.3"])]),
        runtime::GlobalHost { name: "apex".to_owned(), ..host(ORIGIN, &[("eu-west", &["192.0.2.4"])]) },
        host("lost.gslb.example.com", &[("eu-west", &[])]),
    ]);
    let expected = [
        "gslb.example.com. 3600 ns1.gslb.example.com.",
        "gslb.example.com. 3600 ns.other.example.",
        "a.gslb.example.com. 30 192.0.2.1",
        "a.gslb.example.com. 30 192.0.2.3",
        "b.gslb.example.com. 30 192.0.2.2",
        "b.gslb.example.com. 30 2001:db8::2",
        "gslb.example.com. 30 192.0.2.4",
        "ns1.gslb.example.com. 3600 192.0.2.53",
        "ns1.gslb.example.com. 3600 2001:db8::53",
    ];
    assert_eq!(content(&zones, &Places::new()), expected);
}

#[test]
fn a_host_with_the_name_of_a_name_server_is_answered_alone() {
    let zones = zones(vec![host("ns1.gslb.example.com", &[("eu-west", &["192.0.2.1"])])]);
    assert_eq!(content(&zones, &Places::new())[2..], ["ns1.gslb.example.com. 30 192.0.2.1"]);
}

/// The rule: what regions report changes no record of a transfer.
fn knows_no_health() -> bool {
    let zones =
        zones(vec![host("a.gslb.example.com", &[("eu-west", &["192.0.2.1"]), ("us-east", &["192.0.2.2"])])]);
    let down = Place { reported: Some((ReportedHealth::Down, Duration::ZERO)), ..Place::default() };
    let new = Place { addresses: ["198.51.100.1".parse().unwrap()].into(), ..Place::default() };
    let places = Places::from([("eu-west".parse().unwrap(), down), ("us-east".parse().unwrap(), new)]);
    content(&zones, &places) == content(&zones, &Places::new())
}

#[test]
fn health_changes_no_record() {
    assert!(knows_no_health());
    assert!(bring_back("axfr-with-health", || !knows_no_health()), "the check notices health");
}

#[test]
fn a_policy_that_panics_gives_committed_addresses() {
    let zones = zones(vec![host("a.gslb.example.com", &[("eu-west", &["192.0.2.1"])])]);
    let failed = bring_back("panic-in-a-rule", || content(&zones, &Places::new()));
    assert_eq!(failed[2], "a.gslb.example.com. 30 192.0.2.1");
}

#[test]
fn who_gets_what() {
    let whole = zones(vec![host("a.gslb.example.com", &[("eu-west", &["192.0.2.1"])])]);
    let lacking = zones(vec![runtime::GlobalHost {
        steps: vec![runtime::Step { step: None }], // as a step of a later release is read
        ..host("a.gslb.example.com", &[("eu-west", &["192.0.2.1"])])
    }]);
    let check = |zones: Option<&Zones>,
                 query: (&str, RecordType, Option<u32>),
                 key: Option<&str>,
                 transport,
                 expected: &str| {
        let (name, record_type, serial) = query;
        let request = Question::new(absolute(name).unwrap(), record_type).request(None, NOW);
        let mut query = Query::read(request.message()).unwrap();
        query.serial = serial;
        let key = key.map(|key| absolute(key).unwrap());
        let found = match grant(zones, &query, key.as_ref(), transport) {
            Granted::Zone(zone) => format!("zone {}", zone.zone.serial),
            Granted::Soa(zone) => format!("soa {}", zone.zone.serial),
            Granted::Refused(code) => format!("{code:?}"),
        };
        assert_eq!(found, expected, "{name} {record_type} {serial:?} {key:?} {transport:?}");
    };
    use RecordType::{AXFR, IXFR};
    use Transport::{Tcp, Udp};
    let bind = Some("To-Bind");
    check(Some(&whole), (ORIGIN, AXFR, None), bind, Tcp, "zone 41");
    check(Some(&whole), ("GSLB.example.com", AXFR, None), bind, Tcp, "zone 41");
    check(Some(&whole), (ORIGIN, AXFR, None), bind, Udp, "Refused");
    check(Some(&whole), (ORIGIN, AXFR, None), None, Tcp, "Refused");
    check(Some(&whole), (ORIGIN, AXFR, None), Some("to-knot"), Tcp, "Refused");
    check(Some(&whole), ("a.gslb.example.com", AXFR, None), bind, Tcp, "NotAuth");
    check(Some(&whole), ("nothing.gslb.example.com", AXFR, None), bind, Tcp, "NotAuth");
    check(Some(&whole), ("example.org", AXFR, None), bind, Tcp, "NotAuth");
    check(None, (ORIGIN, AXFR, None), bind, Tcp, "ServFail");
    check(Some(&lacking), (ORIGIN, AXFR, None), bind, Tcp, "ServFail");
    check(Some(&whole), (ORIGIN, IXFR, Some(40)), bind, Tcp, "zone 41");
    check(Some(&whole), (ORIGIN, IXFR, Some(41)), bind, Tcp, "soa 41");
    check(Some(&whole), (ORIGIN, IXFR, Some(42)), bind, Tcp, "soa 41");
    check(Some(&whole), (ORIGIN, IXFR, None), bind, Tcp, "zone 41");
    check(Some(&whole), (ORIGIN, IXFR, Some(40)), bind, Udp, "soa 41");
    check(Some(&whole), (ORIGIN, IXFR, Some(40)), None, Udp, "Refused");
}

#[test]
fn messages_are_short_and_each_is_signed_behind_the_one_before() {
    let hosts = (0..2_000u16).map(|n| {
        let address = format!("10.0.{}.{}", n >> 8, n & 255);
        host(&format!("host-{n}.gslb.example.com"), &[("eu-west", &[&address])])
    });
    let zones = zones(hosts.collect());
    let key = key("to-bind");
    let request = Question::new(absolute(ORIGIN).unwrap(), RecordType::AXFR).request(Some(&key), NOW);
    let query = Query::read(request.message()).unwrap();
    let signature = query.signature.clone().unwrap();
    let transaction = tsig::verify(request.message(), &signature, Some(&key), NOW).unwrap();
    let outgoing =
        || Outgoing { query: query.clone(), zone: served(&zones), transaction: transaction.clone() };
    let mut messages = Vec::new();
    outgoing().messages(
        || NOW,
        |message| {
            messages.push(message.unwrap());
            true
        },
    );
    assert!(messages.len() > 1);
    let mut expected = request.expected().unwrap();
    for message in &messages {
        assert!(message.len() <= hanse_dns_wire::MAX_TRANSFER_MESSAGE);
        expected.check(message, NOW).unwrap();
    }
    let mut without_one = request.expected().unwrap();
    assert!(messages[1..].iter().any(|message| without_one.check(message, NOW).is_err()));
    let mut sent = 0;
    outgoing().messages(
        || NOW,
        |_| {
            sent += 1;
            false
        },
    );
    assert_eq!(sent, 1, "nothing is made for a secondary that is gone");
    let busy = request.read(&outgoing().busy(NOW).unwrap(), NOW).unwrap();
    assert_eq!(busy.code, ResponseCode::ServFail);
}
