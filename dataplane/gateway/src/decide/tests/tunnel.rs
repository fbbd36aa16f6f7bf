//! What other regions serve, and what this one serves for them.

use hanse_identity::Environments;
use hanse_topology::bring_back;

use super::*;
use crate::health::Endpoints;

const HOST: &str = "gateway.example";

/// A region that a decision of `revision` sends this host to `us-east` in, if any does; with its Plan of two requests.
fn shifted(revision: Option<u64>) -> Vec<(Arc<str>, Bytes)> {
    let mut resources = orders();
    resources[0] = peered_listener("production", &["eu-west"]);
    resources.extend(revision.map(|revision| shift(HOST, &["us-east"], revision)));
    resources
}

/// An entry that knows a gateway of `us-east`.
fn entry_of(resources: Vec<(Arc<str>, Bytes)>) -> Judge {
    let judge = Judge::new(resources);
    let ends = TwoRegions::new().ends("eu-west", &["production"]);
    let peers = judge.peers.as_ref().unwrap();
    peers.set(&in_us_east(&["10.0.0.7:7447".to_owned()]), &ends, &Endpoints::default()).unwrap();
    judge
}

/// An exit, asked by a gateway of `eu-west` that serves these environments.
fn exit_of(resources: Vec<(Arc<str>, Bytes)>, environments: &[&str]) -> Judge {
    let environments = environments.iter().map(|name| Name::new(name).unwrap()).collect();
    let identity = "g-1.gateway.eu-west.hanse.internal".parse().unwrap();
    let sent_by = Some(TunnelPeer { identity, environments: Environments::Named(environments) });
    Judge { sent_by, ..entry_of(resources) }
}

const KEY: (&str, &str) = ("x-api-key", "key-one");
const GET: &str = "GET /orders/v1/orders/7";
const SENT: &str = "environment=production;route=route/default/orders;epoch=1.5;application=shop";
const REFUSED: &str = "503 tunnel-refused";
const GOES: &str = "GET /orders/{id} -> /orders/v1/orders/7 to us-east";
const SERVED: &str = "GET /orders/{id} -> /orders/7";

#[test]
fn an_entry_decides_whole_and_sends_on_what_other_regions_serve() {
    let judge = entry_of(shifted(Some(5)));
    assert_eq!(judge.judge(GET, &[]), "401 key-missing");
    assert_eq!(judge.judge(GET, &[("x-api-key", "key-other")]), "403 not-subscribed");
    assert_eq!(
        judge.judge("POST /orders/v1/orders", &[KEY, ("content-length", "101")]),
        "413 body-too-large"
    );
    assert_eq!([judge.judge(GET, &[KEY]), judge.judge(GET, &[KEY])], [GOES, GOES]);
    assert_eq!(judge.judge(GET, &[KEY]), "429 over-plan");
    // A header of a client is nothing.
    assert_eq!(judge.judge(GET, &[("hanse-tunnel", SENT)]), "401 key-missing");
    bring_back("believe-tunnel-header", || {
        assert_ne!(judge.judge(GET, &[("hanse-tunnel", SENT)]), "401 key-missing");
    });
}

#[test]
fn a_gateway_without_tunnels_serves_what_it_can() {
    let mut judge = entry_of(shifted(Some(5)));
    judge.peers = None;
    assert_eq!(judge.judge(GET, &[KEY]), SERVED);
    let mut route = route("orders", "/orders/v1", &["GET /orders/{id}"]);
    (route.upstream, route.served_in) = (String::new(), vec!["us-east".to_owned()]);
    let mut judge = entry_of([shifted(None), vec![route_entry(route)]].concat());
    judge.peers = None;
    assert_eq!(judge.judge(GET, &[KEY]), "503 tunnel-unreachable");
}

#[test]
fn the_shift_of_a_host_counts_before_that_of_every_host_and_none_is_of_local_routes() {
    let check = |more: Vec<(Arc<str>, Bytes)>, wanted: &str| {
        let judge = entry_of([shifted(None), more].concat());
        assert_eq!(judge.judge(GET, &[KEY]), wanted);
    };
    check(vec![], SERVED);
    check(vec![shift("other.example", &["us-east"], 1)], SERVED);
    check(vec![shift("", &["us-east"], 1)], GOES);
    check(vec![shift("", &["ap-south"], 1), shift(HOST, &["us-east"], 1)], GOES);
    check(vec![shift("", &["us-east"], 1), shift(HOST, &["ap-south"], 1)], "503 tunnel-unreachable");
    check(vec![shift("", &["ap-south", "us-east"], 1)], GOES);
    let mut route = route("orders", "/orders/v1", &["GET /orders/{id}"]);
    (route.upstream, route.served_in) = (String::new(), vec!["us-east".to_owned()]);
    check(vec![route_entry(route)], GOES);

    let local = local_index(
        "pods",
        vec![
            route_entry(route_with_upstream("pods")),
            upstream_entry("pods", upstream(&["http://127.0.0.1:9"])),
        ],
    );
    let mut control = index("production", shifted(Some(5)));
    let tables = vec![control.table(), local.table()];
    control.apply(Vec::new(), vec!["route/default/orders".into()], &mut Default::default());
    let judge = Judge { table: RoutingTable::new(tables, &FACES), ..entry_of(Vec::new()) };
    assert_eq!(judge.judge("GET /pods/x", &[]), "GET /x -> /x");
}

fn route_with_upstream(api: &str) -> runtime::Route {
    route(api, &format!("/{api}"), &["GET /x"])
}

/// What cannot be used leaves the last good version; without one the region serves, as it did before.
#[test]
fn a_shift_in_quarantine_leaves_the_one_before_it() {
    let broken = |key: &str| (Arc::<str>::from(key), Bytes::from_static(b"\xff"));
    let serves = |index: &crate::table::index::ScopeIndex| {
        let table = RoutingTable::new(vec![index.table()], &FACES);
        Judge { table, ..entry_of(Vec::new()) }.judge("GET /orders/v1/health", &[])
    };
    let mut index = index("production", shifted(None));
    let key = format!("shift/{HOST}");
    index.apply(vec![broken(&key)], Vec::new(), &mut Default::default());
    assert_eq!(serves(&index), "GET /health -> /health");
    index.apply(vec![shift(HOST, &["us-east"], 5)], Vec::new(), &mut Default::default());
    assert_eq!(serves(&index), "GET /health -> /orders/v1/health to us-east");
    index.apply(vec![broken(&key)], Vec::new(), &mut Default::default());
    assert_eq!(serves(&index), "GET /health -> /orders/v1/health to us-east");
    index.apply(Vec::new(), vec![key.as_str().into()], &mut Default::default());
    assert_eq!(serves(&index), "GET /health -> /health");
}

#[test]
fn a_route_may_come_to_be_served_elsewhere_and_back() {
    let mut index = index("production", shifted(None));
    let serves = |index: &crate::table::index::ScopeIndex| {
        let table = RoutingTable::new(vec![index.table()], &FACES);
        Judge { table, ..entry_of(Vec::new()) }.judge("GET /a/x", &[])
    };
    let here = vec![
        route_entry(route("a", "/a", &["GET /x"])),
        upstream_entry("a", upstream(&["http://127.0.0.1:9"])),
    ];
    let mut away = route("a", "/a", &["GET /x"]);
    (away.upstream, away.served_in) = (String::new(), vec!["us-east".to_owned()]);
    index.apply(here.clone(), Vec::new(), &mut Default::default());
    assert_eq!(serves(&index), "GET /x -> /x");
    index.apply(vec![route_entry(away)], vec!["upstream/default/a".into()], &mut Default::default());
    assert_eq!(serves(&index), "GET /x -> /a/x to us-east");
    assert_eq!(index.held_over().len(), 0);
    index.apply(here, Vec::new(), &mut Default::default());
    assert_eq!(serves(&index), "GET /x -> /x");
}

#[test]
fn an_exit_asks_for_no_key_and_counts_against_no_plan() {
    let judge = exit_of(shifted(None), &["production"]);
    for _ in 0..5 {
        assert_eq!(judge.judge(GET, &[("hanse-tunnel", SENT)]), SERVED);
    }
    bring_back("limit-twice", || assert_ne!(judge.judge(GET, &[("hanse-tunnel", SENT)]), SERVED));
    assert_eq!(
        judge.judge("DELETE /orders/v1/orders/7", &[("hanse-tunnel", SENT)]),
        "405 method-not-allowed"
    );
}

#[test]
fn an_exit_serves_what_its_entry_may_send() {
    let check = |environments: &[&str], sent: &str, wanted: &str| {
        let judge = exit_of(shifted(None), environments);
        assert_eq!(judge.judge(GET, &[("hanse-tunnel", sent)]), wanted, "{environments:?} {sent}");
    };
    check(&["production"], SENT, SERVED);
    check(&["sandbox"], SENT, REFUSED);
    check(&[], SENT, REFUSED);
    bring_back("any-environment", || check(&["sandbox"], SENT, SERVED));
    check(&["production", "sandbox"], &SENT.replace("production", "sandbox"), REFUSED);
    check(&["production"], &SENT.replace("/orders", "/other"), REFUSED);
    check(&["production"], "nonsense", REFUSED);

    let elsewhere = exit_of(
        [shifted(None), vec![peered_listener("production", &["ap-south"])]].concat(),
        &["production"],
    );
    assert_eq!(elsewhere.judge(GET, &[("hanse-tunnel", SENT)]), REFUSED, "its region is no peer");
    let inner = vec![internal_listener("production", &[])];
    let inner = exit_of([shifted(None), inner].concat(), &["production"]);
    assert_eq!(inner.judge(GET, &[("hanse-tunnel", SENT)]), REFUSED, "it has no peers");
    let exit = exit_of(shifted(None), &["production"]);
    assert_eq!(exit.judge(GET, &[KEY]), REFUSED, "it says nothing of a Route");
}

/// The entry's decision has the revision 5.
#[test]
fn an_exit_that_does_not_serve_refuses_unless_it_does_not_know_the_decision_yet() {
    let check = |own: u64, wanted: &str| {
        let judge = exit_of(shifted(Some(own)), &["production"]);
        assert_eq!(judge.judge(GET, &[("hanse-tunnel", SENT)]), wanted, "{own}");
    };
    check(4, SERVED);
    check(5, REFUSED);
    check(6, REFUSED);
    bring_back("tunnel-again", || {
        let sent_on = exit_of(shifted(Some(6)), &["production"]).judge(GET, &[("hanse-tunnel", SENT)]);
        assert!(sent_on.ends_with(" to us-east"), "{sent_on}");
    });
    let unknown = exit_of(shifted(Some(1)), &["production"]);
    let sent = "environment=production;route=route/default/orders";
    assert_eq!(unknown.judge(GET, &[("hanse-tunnel", sent)]), REFUSED, "the entry rests on no decision");
    let mut route = route("orders", "/orders/v1", &["GET /orders/{id}"]);
    (route.upstream, route.served_in) = (String::new(), vec!["us-east".to_owned()]);
    let away = exit_of([shifted(None), vec![route_entry(route)]].concat(), &["production"]);
    assert_eq!(away.judge(GET, &[("hanse-tunnel", SENT)]), REFUSED);
}
