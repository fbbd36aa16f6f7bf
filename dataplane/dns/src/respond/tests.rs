use std::collections::BTreeMap;

use hanse_dns_wire::{Ecs, Edns, Question, RData, Reply, Request, absolute, tsig::Key};
use hanse_process::bring_back;
use hanse_proto::runtime;

use super::*;
use crate::{
    geo::writer::{DUBLIN, FRANKFURT, VIRGINIA, sample},
    testbed::{host, host_entry, zone, zone_entry},
    zones::{self, ScopeIndex},
};

const ORIGIN: &str = "gslb.example.com";
const ORDERS: &str = "orders.gslb.example.com";
const NOW: u64 = 1_800_000_000;
const CLIENT: &str = "198.51.100.7";

/// Zone `gslb` with `orders` in two regions, `apex`, `shop` in IPv6 alone, `lost` without an address, and `office` by network.
fn zones() -> Zones {
    let mut office =
        host("office.gslb.example.com", &[("eu-west", &["192.0.2.1"]), ("us-east", &["192.0.2.2"])]);
    let rule = |cidr: &str, region: &str| runtime::OriginRule {
        network: Some(hanse_runtime::Cidr::parse(cidr).unwrap().to_wire()),
        regions: vec![region.to_owned()],
    };
    let rules = vec![rule("10.0.0.0/8", "us-east"), rule("198.51.100.0/24", "eu-west")];
    office.steps =
        vec![runtime::Step { step: Some(runtime::step::Step::Origin(runtime::OriginRules { rules })) }];
    let content = vec![
        zone_entry(zone(ORIGIN)),
        host_entry(host(ORDERS, &[("eu-west", &["192.0.2.1", "2001:db8::1"]), ("us-east", &["192.0.2.2"])])),
        host_entry(host("shop.gslb.example.com", &[("eu-west", &["2001:db8::1"])])),
        host_entry(host("lost.gslb.example.com", &[("eu-west", &[])])),
        host_entry(host("a.b.gslb.example.com", &[("eu-west", &["192.0.2.1"])])),
        host_entry(office),
        host_entry(runtime::GlobalHost {
            name: "apex".to_owned(),
            ..host(ORIGIN, &[("eu-west", &["192.0.2.1"])])
        }),
    ];
    let mut index = ScopeIndex::default();
    let zones = index.hold(content, Vec::new(), &BTreeMap::new());
    assert!(index.quarantined().is_empty());
    zones
}

fn moment(zones: Option<&Zones>) -> Moment<'_> {
    static PLACES: BTreeMap<Name, Places> = BTreeMap::new();
    Moment { zones, places: &PLACES, geo: None, now: Duration::ZERO, unix: NOW, draw: 7 }
}

fn responder(rate: Option<u32>) -> Responder {
    Responder::new(rate.and_then(NonZeroU32::new), Secret::new([9; 16]), Arc::default())
}

fn sender(transport: Transport) -> Sender {
    Sender { address: CLIENT.parse().unwrap(), transport }
}

fn request(name: &str, record_type: RecordType) -> Request {
    Question::new(absolute(name).unwrap(), record_type).request(None, NOW)
}

fn edns(ecs: Option<Ecs>, cookie: Option<Cookie>) -> Edns {
    Edns { size: 4_096, dnssec_ok: false, ecs, cookie }
}

fn request_with(name: &str, edns: Edns) -> Request {
    Question { edns: Some(edns), ..Question::new(absolute(name).unwrap(), RecordType::A) }.request(None, NOW)
}

fn ask(zones: Option<&Zones>, request: &Request) -> (Reply, Outcome) {
    let response = responder(None).respond(request.message(), &moment(zones), sender(Transport::Udp));
    (request.read(&response.message.unwrap(), NOW).unwrap(), response.outcome)
}

/// A reply in one line: its code and AA, and what it has in each section.
fn line(reply: &Reply) -> String {
    let record = |record: &Record| {
        let data = match &record.data {
            RData::SOA(soa) => format!("{} {} {}", soa.mname, soa.rname, soa.serial),
            RData::HINFO(_) => "RFC8482".to_owned(),
            other => other.to_string(),
        };
        format!("{} {} {} {data}", record.name, record.ttl, record.record_type())
    };
    let section = |records: &[Record]| records.iter().map(record).collect::<Vec<_>>().join(", ");
    let authority = if reply.authoritative { " aa" } else { "" };
    let mut line = format!("{:?}{authority}", reply.code);
    for records in [&reply.answers, &reply.authorities, &reply.additionals] {
        line += &format!(" | {}", section(records));
    }
    line
}

#[test]
fn answers_of_a_zone() {
    let zones = zones();
    let check = |name: &str, record_type: RecordType, expected: &str, outcome: Outcome| {
        let (reply, found) = ask(Some(&zones), &request(name, record_type));
        assert_eq!((line(&reply).as_str(), found), (expected, outcome), "{name} {record_type}");
    };
    const SOA: &str = "gslb.example.com. 60 SOA ns1.gslb.example.com. hostmaster.example.com. 41";
    let negative = |code: &str| format!("{code} aa |  | {SOA} | ");
    let (no_data, no_name) = (negative("NoError"), negative("NXDomain"));
    check(
        ORDERS,
        RecordType::A,
        "NoError aa | orders.gslb.example.com. 30 A 192.0.2.1, orders.gslb.example.com. 30 A 192.0.2.2 |  | ",
        Outcome::Records,
    );
    check(
        ORDERS,
        RecordType::AAAA,
        "NoError aa | orders.gslb.example.com. 30 AAAA 2001:db8::1 |  | ",
        Outcome::Records,
    );
    // The case is the client's.
    check(
        "OrDeRs.GSLB.example.com",
        RecordType::AAAA,
        "NoError aa | OrDeRs.GSLB.example.com. 30 AAAA 2001:db8::1 |  | ",
        Outcome::Records,
    );
    check("shop.gslb.example.com", RecordType::A, &no_data, Outcome::NoData);
    check(ORDERS, RecordType::TXT, &no_data, Outcome::NoData);
    check(ORDERS, RecordType::SOA, &no_data, Outcome::NoData);
    check(ORDERS, RecordType::NS, &no_data, Outcome::NoData);
    // A name between others exists (RFC 8020).
    check("b.gslb.example.com", RecordType::A, &no_data, Outcome::NoData);
    check("b.gslb.example.com", RecordType::ANY, &no_data, Outcome::NoData);
    check("nothing.gslb.example.com", RecordType::A, &no_name, Outcome::NoSuchName);
    check("x.orders.gslb.example.com", RecordType::ANY, &no_name, Outcome::NoSuchName);
    check(
        ORDERS,
        RecordType::ANY,
        "NoError aa | orders.gslb.example.com. 60 HINFO RFC8482 |  | ",
        Outcome::Records,
    );
    check(
        ORIGIN,
        RecordType::SOA,
        "NoError aa | gslb.example.com. 3600 SOA ns1.gslb.example.com. hostmaster.example.com. 41 |  | ",
        Outcome::Records,
    );
    check(
        ORIGIN,
        RecordType::NS,
        "NoError aa | gslb.example.com. 3600 NS ns1.gslb.example.com., gslb.example.com. 3600 NS ns.other.example. |  | \
         ns1.gslb.example.com. 3600 A 192.0.2.53, ns1.gslb.example.com. 3600 AAAA 2001:db8::53",
        Outcome::Records,
    );
    // The apex may be a host.
    check(ORIGIN, RecordType::A, "NoError aa | gslb.example.com. 30 A 192.0.2.1 |  | ", Outcome::Records);
    check(
        "ns1.gslb.example.com",
        RecordType::A,
        "NoError aa | ns1.gslb.example.com. 3600 A 192.0.2.53 |  | ",
        Outcome::Records,
    );
    for name in ["example.com", "orders.example.org", "xgslb.example.com", "."] {
        check(name, RecordType::A, "Refused |  |  | ", Outcome::Refused);
    }
    for record_type in [RecordType::AXFR, RecordType::IXFR] {
        check(ORIGIN, record_type, "Refused |  |  | ", Outcome::Refused);
    }
}

#[test]
fn without_an_address_or_a_configuration_clients_ask_another_server() {
    let zones = zones();
    // NODATA would be kept for the negative TTL.
    let (reply, outcome) = ask(Some(&zones), &request("lost.gslb.example.com", RecordType::A));
    assert_eq!((line(&reply).as_str(), outcome), ("ServFail |  |  | ", Outcome::Unready));
    let (reply, outcome) = ask(None, &request(ORDERS, RecordType::A));
    assert_eq!((line(&reply).as_str(), outcome), ("ServFail |  |  | ", Outcome::Unready));
    let (reply, outcome) = ask(Some(&Zones::default()), &request(ORDERS, RecordType::A));
    assert_eq!((line(&reply).as_str(), outcome), ("Refused |  |  | ", Outcome::Refused));
}

#[test]
fn what_is_no_query_for_this_server_is_refused() {
    let zones = zones();
    let check = |change: fn(&mut Vec<u8>), expected: Option<&str>, outcome: Outcome| {
        let request = request(ORDERS, RecordType::A);
        let mut message = request.message().to_vec();
        change(&mut message);
        let response = responder(None).respond(&message, &moment(Some(&zones)), sender(Transport::Udp));
        let code = response.message.map(|reply| {
            ["NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused"][usize::from(reply[3] & 15)]
        });
        assert_eq!((code, response.outcome), (expected, outcome));
    };
    check(|_| {}, Some("NoError"), Outcome::Records);
    check(|message| *message.last_mut().unwrap() = 3, Some("Refused"), Outcome::Refused); // class CH
    check(|message| message[2] |= 4 << 3, Some("Refused"), Outcome::Refused); // NOTIFY
    check(|message| message[2] |= 5 << 3, Some("NotImp"), Outcome::Malformed); // UPDATE
    check(|message| message.truncate(20), Some("FormErr"), Outcome::Malformed);
    check(|message| message.truncate(5), None, Outcome::Malformed);
    check(|message| message[2] |= 128, None, Outcome::Malformed); // an answer
}

#[test]
fn a_signed_query_learns_that_its_key_is_unknown() {
    let key = Key::new(absolute("to-bind.example").unwrap(), &[7; 32]).unwrap();
    let request = Question::new(absolute(ORDERS).unwrap(), RecordType::A).request(Some(&key), NOW);
    let response =
        responder(None).respond(request.message(), &moment(Some(&zones())), sender(Transport::Tcp));
    assert_eq!(response.message.unwrap()[3] & 15, 9, "NOTAUTH");
    assert_eq!(response.outcome, Outcome::Refused);
}

#[test]
fn a_step_geo_leads_to_the_nearest_region() {
    let mut content = vec![zone_entry(zone(ORIGIN))];
    let mut orders = host(
        ORDERS,
        &[("eu-central", &["192.0.2.3"]), ("eu-west", &["192.0.2.1"]), ("us-east", &["192.0.2.2"])],
    );
    let step = runtime::step::Step::Geo(runtime::Regions { names: vec!["us-east".to_owned()] });
    orders.steps = vec![runtime::Step { step: Some(step) }];
    for (candidate, (latitude, longitude)) in orders.candidates.iter_mut().zip([FRANKFURT, DUBLIN, VIRGINIA])
    {
        let e6 = |degrees: f64| (degrees * 1e6).round() as i32;
        let (country, continent) = Default::default();
        let spot =
            runtime::Spot { latitude_e6: e6(latitude), longitude_e6: e6(longitude), country, continent };
        candidate.spot = Some(spot);
    }
    content.push(host_entry(orders));
    let zones = ScopeIndex::default().hold(content, Vec::new(), &BTreeMap::new());
    let database = GeoDatabase::new(sample()).unwrap();
    let check = |geo: Option<&GeoDatabase>, network: (&str, u8), address: &str, scope: u8| {
        let ecs = Ecs::new(network.0.parse().unwrap(), network.1);
        let request = request_with(ORDERS, edns(Some(ecs), None));
        let moment = Moment { geo, ..moment(Some(&zones)) };
        let response = responder(None).respond(request.message(), &moment, sender(Transport::Udp));
        let reply = request.read(&response.message.unwrap(), NOW).unwrap();
        let answers: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!((&*answers, reply.scope), (&[address.to_owned()][..], scope), "{network:?}");
    };
    check(Some(&database), ("198.51.100.0", 25), "192.0.2.3", 25);
    check(Some(&database), ("198.51.100.128", 25), "192.0.2.1", 25);
    check(Some(&database), ("203.0.113.0", 24), "192.0.2.2", 24);
    check(Some(&database), ("2001:db8:5::", 48), "192.0.2.1", 48);
    // No entry says where the client is: the default of the step. Other clients get other regions all the same.
    check(Some(&database), ("10.0.0.0", 8), "192.0.2.2", 8);
    check(None, ("198.51.100.128", 25), "192.0.2.2", 25);
}

#[test]
fn the_network_that_a_resolver_names_decides_and_is_the_scope() {
    let zones = zones();
    let check = |name: &str, network: Option<(&str, u8)>, address: &str, scope: u8| {
        let ecs = network.map(|(address, prefix)| Ecs::new(address.parse().unwrap(), prefix));
        let request = request_with(name, edns(ecs, None));
        let (reply, _) = ask(Some(&zones), &request);
        assert_eq!(reply.answers.first().unwrap().data.to_string(), address, "{network:?}");
        assert_eq!((reply.scope, reply.edns.unwrap().ecs), (scope, ecs), "{network:?}");
    };
    let office = "office.gslb.example.com";
    check(office, Some(("10.1.2.0", 24)), "192.0.2.2", 24);
    check(office, Some(("198.51.100.0", 24)), "192.0.2.1", 24);
    // Without a network, and where the client wants none told, the resolver's own counts.
    check(office, None, "192.0.2.1", 0);
    check(office, Some(("0.0.0.0", 0)), "192.0.2.1", 0);
    // No step of this one looks at clients.
    check(ORDERS, Some(("10.1.2.0", 24)), "192.0.2.1", 0);
}

#[test]
fn a_good_cookie_lifts_the_limit_and_so_does_tcp() {
    let zones = zones();
    let mut responder = responder(Some(2));
    let mut ask = |request: &Request, transport| {
        let response = responder.respond(request.message(), &moment(Some(&zones)), sender(transport));
        let reply = response.message.map(|message| request.read(&message, NOW).unwrap());
        (response.outcome, reply)
    };
    let plain = request(ORDERS, RecordType::A);
    let outcomes: Vec<_> = (0..4).map(|_| ask(&plain, Transport::Udp)).collect();
    let seen = |(outcome, reply): &(Outcome, Option<Reply>)| {
        (*outcome, reply.as_ref().map(|reply| (reply.truncated, reply.answers.len())))
    };
    assert_eq!(
        outcomes.iter().map(seen).collect::<Vec<_>>(),
        [
            (Outcome::Records, Some((false, 2))),
            (Outcome::Records, Some((false, 2))),
            (Outcome::Limited, None),
            (Outcome::Limited, Some((true, 0))),
        ]
    );
    assert_eq!(ask(&plain, Transport::Tcp).0, Outcome::Records);
    // Another kind has a budget of its own.
    assert_eq!(ask(&request("x.gslb.example.com", RecordType::A), Transport::Udp).0, Outcome::NoSuchName);

    let cookie = |server| Some(Cookie { client: [1; 8], server });
    let hello = request_with(ORDERS, edns(None, cookie(Vec::new())));
    assert_eq!(ask(&hello, Transport::Udp).0, Outcome::Limited);
    let (_, reply) = ask(&hello, Transport::Udp);
    let given = reply.unwrap().edns.unwrap().cookie.unwrap();
    let known = request_with(ORDERS, edns(None, cookie(given.server)));
    assert_eq!(ask(&known, Transport::Udp).0, Outcome::Records);
    let forged = request_with(ORDERS, edns(None, cookie(vec![1; 16])));
    assert_eq!(ask(&forged, Transport::Udp).0, Outcome::Limited);
    // A reply that is made already is not cut, but left out.
    let broken = [&plain.message()[..20], &[][..]].concat();
    let outcomes: Vec<_> = (0..4)
        .map(|_| responder.respond(&broken, &moment(Some(&zones)), sender(Transport::Udp)).message.is_some())
        .collect();
    assert_eq!(outcomes, [true, true, false, false]);
}

/// Hosts that are new and cannot be used: another name server may have their addresses.
#[test]
fn a_host_that_cannot_be_used_is_never_told_to_be_none() {
    let later = runtime::GlobalHost {
        steps: vec![runtime::Step { step: None }], // as a step of a later release is read
        ..host("a.new.gslb.example.com", &[("eu-west", &["192.0.2.1"])])
    };
    let unreadable = ("host/x".into(), bytes::Bytes::from_static(b"\xff"));
    let codes = |bad: (zones::Key, bytes::Bytes)| {
        let content =
            vec![zone_entry(zone(ORIGIN)), host_entry(host(ORDERS, &[("eu-west", &["192.0.2.1"])])), bad];
        let mut index = ScopeIndex::default();
        let zones = index.hold(content, Vec::new(), &BTreeMap::new());
        assert_eq!(index.quarantined().len(), 1);
        move |name: &str, record_type| {
            let (reply, _) = ask(Some(&zones), &request(name, record_type));
            format!("{:?} {}", reply.code, reply.answers.len())
        }
    };
    let check = |codes: &dyn Fn(&str, RecordType) -> String, expected: [&str; 6]| {
        let names = ["a.new.", "new.", "nothing.", "", "orders.", "ns1."];
        for (name, expected) in names.into_iter().zip(expected) {
            assert_eq!(codes(&format!("{name}{ORIGIN}"), RecordType::A), expected, "{name}");
        }
    };
    // Its name is known: the names around it are as they are.
    let named = codes(host_entry(later));
    check(&named, ["ServFail 0", "NoError 0", "NXDomain 0", "NoError 0", "NoError 1", "NoError 1"]);
    assert_eq!(named("a.new.gslb.example.com", RecordType::TXT), "NoError 0");
    // It is not: each name that is not there may be its name.
    let unnamed = codes(unreadable);
    check(&unnamed, ["ServFail 0", "ServFail 0", "ServFail 0", "ServFail 0", "NoError 1", "NoError 1"]);
    assert_eq!(unnamed(ORIGIN, RecordType::SOA), "NoError 1");
}

#[test]
fn each_type_is_answered_by_a_region_that_has_it() {
    let mut mixed =
        host("mixed.gslb.example.com", &[("eu-west", &["192.0.2.1"]), ("us-east", &["2001:db8::2"])]);
    let weight = |region: &str| runtime::RegionWeight { region: region.to_owned(), weight: 1 };
    let weights = runtime::Weights { weights: vec![weight("eu-west"), weight("us-east")] };
    mixed.steps = vec![runtime::Step { step: Some(runtime::step::Step::Weighted(weights)) }];
    let content = vec![zone_entry(zone(ORIGIN)), host_entry(mixed)];
    let mut index = ScopeIndex::default();
    let zones = index.hold(content, Vec::new(), &BTreeMap::new());
    assert!(index.quarantined().is_empty(), "{:?}", index.quarantined());
    for bug in ["none", "policy-panics", "policy-answers-nothing"] {
        let mut responder = responder(None);
        for draw in (0..16).map(|nth| nth << 60) {
            for (record_type, address) in [(RecordType::A, "192.0.2.1"), (RecordType::AAAA, "2001:db8::2")] {
                let request = request("mixed.gslb.example.com", record_type);
                let moment = Moment { draw, ..moment(Some(&zones)) };
                let mut answer = || responder.respond(request.message(), &moment, sender(Transport::Udp));
                let reply = request.read(&bring_back(bug, &mut answer).message.unwrap(), NOW).unwrap();
                let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
                assert_eq!(data, [address], "{record_type} with draw {draw} and {bug}");
            }
        }
    }
}

#[test]
fn a_policy_that_fails_is_answered_for() {
    let zones = zones();
    for bug in ["policy-panics", "policy-answers-nothing"] {
        let request = request(ORDERS, RecordType::A);
        let mut responder = responder(None);
        let mut answer =
            || responder.respond(request.message(), &moment(Some(&zones)), sender(Transport::Udp));
        let response = bring_back(bug, &mut answer);
        let reply = request.read(&response.message.unwrap(), NOW).unwrap();
        assert_eq!((reply.answers.len(), response.fell_back), (2, true), "{bug}");
        assert!(!answer().fell_back);
    }
}
