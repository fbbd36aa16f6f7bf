use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_dns_wire::absolute;
use hanse_proto::runtime;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::testbed::{entry, host, host_entry, zone, zone_entry};

const ORIGIN: &str = "gslb.example.com";
const EU: (&str, &[&str]) = ("eu-west", &["192.0.2.1"]);
const US: (&str, &[&str]) = ("us-east", &["192.0.2.2"]);

fn orders(regions: &[(&str, &[&str])]) -> (Key, Bytes) {
    host_entry(host("orders.gslb.example.com", regions))
}

/// The addresses of a host in force, or why there is none.
fn found(zones: &Zones, name: &str) -> String {
    match zones.find(&absolute(name).unwrap()) {
        Found::Elsewhere => "elsewhere".to_owned(),
        Found::Nowhere(zone) => format!("nowhere in {}", zone.zone.origin),
        Found::Here(zone, node) => match &node.host {
            Some(host) => {
                let addresses = host.model.candidates.iter().flat_map(|candidate| &candidate.addresses);
                addresses.map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
            None if node.is_apex => format!("apex of {}", zone.zone.origin),
            None if node.has_records() => "name server".to_owned(),
            None => "between".to_owned(),
        },
    }
}

fn hold(index: &mut ScopeIndex, content: &[(Key, Bytes)]) -> Zones {
    index.hold(content.to_vec(), Vec::new(), &BTreeMap::new())
}

fn refused(index: &ScopeIndex) -> Vec<(String, String)> {
    index.quarantined().into_iter().map(|quarantined| (quarantined.key, quarantined.field)).collect()
}

#[test]
fn a_name_is_in_the_zone_with_the_longest_origin() {
    let below = runtime::Zone { name: "eu".to_owned(), ..zone("eu.gslb.example.com") };
    let shop = runtime::GlobalHost { zone: "eu".to_owned(), ..host("shop.eu.gslb.example.com", &[US]) };
    // Its own zone ends where another one begins.
    let shadowed = host("lost.eu.gslb.example.com", &[EU]);
    let deep = host("a.b.gslb.example.com", &[EU]);
    let apex = runtime::GlobalHost { name: "apex".to_owned(), ..host("gslb.example.com", &[EU, US]) };
    let content = [
        zone_entry(zone(ORIGIN)),
        zone_entry(below),
        host_entry(shop),
        host_entry(shadowed),
        host_entry(deep),
        host_entry(apex),
        orders(&[EU]),
    ];
    let mut index = ScopeIndex::default();
    let zones = hold(&mut index, &content);
    for (name, expected) in [
        ("orders.gslb.example.com", "192.0.2.1"),
        ("ORDERS.gslb.Example.com", "192.0.2.1"),
        ("x.orders.gslb.example.com", "nowhere in gslb.example.com"),
        ("gslb.example.com", "192.0.2.1,192.0.2.2"),
        ("eu.gslb.example.com", "apex of eu.gslb.example.com"),
        ("shop.eu.gslb.example.com", "192.0.2.2"),
        ("lost.eu.gslb.example.com", "nowhere in eu.gslb.example.com"),
        ("b.gslb.example.com", "between"),
        ("ns1.gslb.example.com", "name server"),
        ("example.com", "elsewhere"),
        ("xgslb.example.com", "elsewhere"),
        (".", "elsewhere"),
    ] {
        assert_eq!(found(&zones, name), expected, "{name}");
    }
    assert_eq!(refused(&index), []);
    assert_eq!(index.counts(), Counts { resources: 7, zones: 2, hosts: 5 });
}

#[test]
fn a_host_that_cannot_be_used_keeps_its_last_good_version_and_takes_no_other_down() {
    let mut index = ScopeIndex::default();
    let content = [zone_entry(zone(ORIGIN)), orders(&[EU]), host_entry(host("shop.gslb.example.com", &[EU]))];
    hold(&mut index, &content);
    for (bad, field) in [
        (host_entry(runtime::GlobalHost { ttl_s: 0, ..host("orders.gslb.example.com", &[US]) }), "ttl_s"),
        (
            host_entry(runtime::GlobalHost {
                zone: "other".to_owned(),
                ..host("orders.gslb.example.com", &[US])
            }),
            "zone",
        ),
        (
            host_entry(runtime::GlobalHost {
                host: "orders.example.org".to_owned(),
                ..host("orders.gslb.example.com", &[US])
            }),
            "host",
        ),
        (
            host_entry(runtime::GlobalHost {
                host: "cart.gslb.example.com".to_owned(),
                ..host("orders.gslb.example.com", &[US])
            }),
            "host",
        ),
        (("host/orders".into(), Bytes::from_static(b"\xff")), "resource"),
        (entry("host/orders", runtime::resource::Kind::Zone(zone(ORIGIN))), "kind"),
    ] {
        let others = [
            zone_entry(zone(ORIGIN)),
            host_entry(host("cart.gslb.example.com", &[US])),
            host_entry(host("shop.gslb.example.com", &[US])),
        ];
        let zones = hold(&mut index, &[&others[..], std::slice::from_ref(&bad)].concat());
        assert_eq!(found(&zones, "orders.gslb.example.com"), "192.0.2.1", "{field}");
        assert_eq!(found(&zones, "shop.gslb.example.com"), "192.0.2.2", "the others follow");
        assert_eq!(refused(&index), [("host/orders".to_owned(), field.to_owned())]);
        let quarantined = &index.quarantined()[0];
        assert_eq!(quarantined.received, Sha256::digest(&bad.1)[..]);
        assert_eq!(quarantined.effective, Sha256::digest(&content[1].1)[..]);
        assert_eq!(index.exceptions(), [(bad.0.clone(), Some(content[1].1.clone()))].into());
        assert_eq!(index.in_force("host/orders"), Some(&content[1].1));
    }
    let zones = hold(&mut index, &content[..1]);
    assert_eq!(found(&zones, "orders.gslb.example.com"), "nowhere in gslb.example.com", "removed is removed");
    assert_eq!(refused(&index), []);
}

#[test]
fn a_zone_that_cannot_be_used_keeps_its_last_good_version_with_its_hosts() {
    let mut index = ScopeIndex::default();
    hold(&mut index, &[zone_entry(zone(ORIGIN)), orders(&[EU])]);
    let bad = runtime::Zone { contact: String::new(), serial: 42, ..zone(ORIGIN) };
    let zones = hold(&mut index, &[zone_entry(bad.clone()), orders(&[US])]);
    assert_eq!(found(&zones, "orders.gslb.example.com"), "192.0.2.2");
    assert_eq!(zones.iter().next().unwrap().zone.serial, 41);
    assert_eq!(refused(&index), [("zone/gslb".to_owned(), "contact".to_owned())]);

    // Without a last good version there is no zone, and none of its hosts.
    let mut index = ScopeIndex::default();
    let zones = hold(&mut index, &[zone_entry(bad), orders(&[US])]);
    assert_eq!(found(&zones, "orders.gslb.example.com"), "elsewhere");
    let expected = [("host/orders", "zone"), ("zone/gslb", "contact")];
    assert_eq!(refused(&index), expected.map(|(key, field)| (key.to_owned(), field.to_owned())));
    assert_eq!(index.exceptions().values().flatten().count(), 0);
}

#[test]
fn what_is_received_has_its_name_before_any_last_good_version() {
    // One change gives the name to another key, and what the first key has now cannot be read.
    let under = |key: &str, region| {
        host_entry(runtime::GlobalHost { name: key.to_owned(), ..host("orders.gslb.example.com", &[region]) })
    };
    for [from, to] in [["a", "b"], ["b", "a"]] {
        let mut index = ScopeIndex::default();
        hold(&mut index, &[zone_entry(zone(ORIGIN)), under(from, EU)]);
        let bad = (format!("host/{from}").into(), Bytes::from_static(b"\xff"));
        let zones = hold(&mut index, &[zone_entry(zone(ORIGIN)), bad, under(to, US)]);
        assert_eq!(found(&zones, "orders.gslb.example.com"), "192.0.2.2", "from {from} to {to}");
        assert_eq!(refused(&index), [(format!("host/{from}"), "resource".to_owned())]);

        let named = |key: &str| runtime::Zone { name: key.to_owned(), ..zone(ORIGIN) };
        let mut index = ScopeIndex::default();
        hold(&mut index, &[zone_entry(named(from))]);
        let bad = runtime::Zone { contact: String::new(), ..named(from) };
        let zones = hold(&mut index, &[zone_entry(bad), zone_entry(named(to))]);
        assert_eq!(zones.iter().next().unwrap().zone.name.as_str(), to);
        assert_eq!(refused(&index), [(format!("zone/{from}"), "contact".to_owned())]);
    }
}

#[test]
fn of_two_that_claim_one_name_the_first_by_key_has_it() {
    let twin = runtime::GlobalHost { name: "a-twin".to_owned(), ..host("orders.gslb.example.com", &[US]) };
    let zone_twin = runtime::Zone { name: "twin".to_owned(), ..zone(ORIGIN) };
    let mut index = ScopeIndex::default();
    let content = [zone_entry(zone(ORIGIN)), zone_entry(zone_twin), orders(&[EU]), host_entry(twin)];
    let zones = hold(&mut index, &content);
    assert_eq!(found(&zones, "orders.gslb.example.com"), "192.0.2.2");
    let expected = [("host/orders", "host"), ("zone/twin", "origin")];
    assert_eq!(refused(&index), expected.map(|(key, field)| (key.to_owned(), field.to_owned())));
}

#[test]
fn a_version_that_others_use_or_that_is_proven_takes_the_place_of_a_bad_one() {
    let (good, bad) = (orders(&[EU]), orders(&[US]));
    let hash: [u8; 32] = Sha256::digest(&bad.1).into();
    let mut index = ScopeIndex::default();
    let poisoned = [(bad.0.clone(), hash)].into();
    let zones = index.hold(vec![zone_entry(zone(ORIGIN)), bad.clone()], vec![good.clone()], &poisoned);
    assert_eq!(found(&zones, "orders.gslb.example.com"), "192.0.2.1");
    assert_eq!(index.exceptions(), [(bad.0.clone(), Some(good.1.clone()))].into());
    // Good versions of what is gone, or of what can be used, change nothing.
    let mut index = ScopeIndex::default();
    let gone = host_entry(host("gone.gslb.example.com", &[EU]));
    let zones = index.hold(vec![zone_entry(zone(ORIGIN)), bad], vec![good, gone], &BTreeMap::new());
    assert_eq!(found(&zones, "orders.gslb.example.com"), "192.0.2.2");
    assert_eq!(found(&zones, "gone.gslb.example.com"), "nowhere in gslb.example.com");
}

#[test]
fn what_a_later_release_adds_is_left_alone() {
    let mut index = ScopeIndex::default();
    let later = ("view/internal".into(), Bytes::from_static(b"\xff"));
    let foreign = entry("plan/default/gold", runtime::resource::Kind::Plan(runtime::Plan::default()));
    hold(&mut index, &[later, foreign]);
    assert_eq!(refused(&index), [("plan/default/gold".to_owned(), String::new())]);
}
