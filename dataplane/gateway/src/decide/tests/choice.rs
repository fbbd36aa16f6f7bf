//! Which environment, Api and operation a request is for.

use super::*;

#[test]
fn environments_are_chosen_by_host_and_protocol() {
    let environment = |name: &str, hosts: &[&str], operations: &[&str]| {
        index(
            name,
            vec![
                listener(name, hosts),
                route_entry(route(name, "/", operations)),
                upstream_entry(name, upstream(&["http://127.0.0.1:9"])),
            ],
        )
        .table()
    };
    let mut plain = index(
        "plain",
        vec![
            route_entry(route("plain", "/", &["GET /plain"])),
            upstream_entry("plain", upstream(&["http://127.0.0.1:9"])),
        ],
    );
    let only_http = hanse_proto::runtime::Listener {
        http: true,
        hostnames: vec!["plain.example".to_owned()],
        ..Default::default()
    };
    plain.apply(
        vec![entry("listener/plain", hanse_proto::runtime::resource::Kind::Listener(only_http))],
        Vec::new(),
        &mut Default::default(),
    );
    let table = RoutingTable::new(
        vec![
            environment("production", &[], &["GET /any"]),
            environment("sandbox", &["sandbox.localhost"], &["GET /sandbox"]),
            environment("partner", &["*.partner.example", "partner.example"], &["GET /partner"]),
            plain.table(),
        ],
        &FACES,
    );
    let judge = Judge { table, now: Duration::ZERO, ..Judge::new(Vec::new()) };
    let check = |host: &str, path: &str, served: bool| {
        for protocol in PROTOCOLS {
            let (_, words) = judge.judge_over(protocol, &format!("GET {path}"), &[("host", host)]);
            assert_eq!(words != "404 no-route", served, "{host}{path} {words}");
        }
    };
    check("localhost:8080", "/any", true);
    check("SANDBOX.localhost:8080", "/sandbox", true);
    check("sandbox.localhost", "/any", false); // never falls through to another environment
    check("x.sandbox.localhost", "/any", true);
    check("a.partner.example", "/partner", true);
    check("partner.example.", "/partner", true);
    check("a.partner.example", "/any", false);
    let over = |protocol| judge.judge_over(protocol, "GET /plain", &[("host", "plain.example")]).1;
    assert_eq!(over(Protocol::Http), "GET /plain -> /plain");
    assert_eq!(over(Protocol::Https), "404 no-route");
}

#[test]
fn apis_are_chosen_by_host_and_then_by_the_longest_context() {
    let named = |api: &str, context: &str, hosts: &[&str]| {
        let mut route = route(api, context, &["GET /", "GET /x", "GET /v1/x"]);
        route.hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        [route_entry(route), upstream_entry(api, upstream(&["http://127.0.0.1:9"]))]
    };
    let mut resources = vec![listener("production", &[])];
    resources.extend(named("root", "/", &[]));
    resources.extend(named("a", "/a", &[]));
    resources.extend(named("a-v1", "/a/v1", &[]));
    resources.extend(named("hosted", "/a", &["api.example", "*.apis.example"]));
    let judge = Judge::new(resources);
    let check = |host: &str, path: &str, api: &str, rest: &str| {
        let (matched, words) = judge.judge_over(Protocol::Http, &format!("GET {path}"), &[("host", host)]);
        assert_eq!(
            matched.served.map(|served| served.routes.api.to_string()).as_deref(),
            Some(api),
            "{host}{path}"
        );
        assert!(words.ends_with(&format!(" -> {rest}")), "{host}{path} {words}");
    };
    check("x.example", "/a/x", "a", "/x");
    check("x.example", "/a/v1/x", "a-v1", "/x");
    check("x.example", "/x", "root", "/x");
    check("api.example", "/a/x", "hosted", "/x");
    check("api.example", "/a/v1/x", "hosted", "/v1/x"); // the special host goes before the longer context
    check("eu.apis.example", "/a", "hosted", "");
    check("api.example", "/x", "root", "/x"); // an Api without hosts answers to every host
    assert_eq!(judge.judge("GET /ab/x", &[]), "404 no-route");
}

#[test]
fn literals_are_matched_as_they_come() {
    let api = route("k", "/k", &["GET /größe", "GET /a%20b/{id}", "GET //x", "GET /<\"|>", "GET /{a}/{a}"]);
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("k", upstream(&["http://127.0.0.1:9"])),
    ]);
    for (path, wanted) in [
        ("/gr%C3%B6%c3%9fe", "GET /größe"),
        ("/a%20b/1", "GET /a%20b/{id}"),
        ("//x", "GET //x"),
        ("/%3C%22%7C%3E", "GET /<\"|>"),
        ("/1/2", "GET /{a}/{a}"),
    ] {
        assert_eq!(judge.judge(&format!("GET /k{path}"), &[]), format!("{wanted} -> {path}"));
    }
    assert_eq!(judge.judge("GET /k/x", &[]), "404 no-route", "nothing is folded");
}
