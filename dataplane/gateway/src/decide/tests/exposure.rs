//! What clients are told of an internal environment: nothing, but at internal entries.

use super::*;

#[test]
fn a_gateway_of_internal_environments_alone_has_nothing_for_external_entries() {
    let inner = index("inner", vec![internal_listener("inner", &[])]).table();
    let unheard =
        Judge { table: RoutingTable::new(Vec::new(), &FACES), now: Duration::ZERO, ..Judge::new(Vec::new()) };
    let judge = Judge {
        table: RoutingTable::new(vec![inner], &FACES),
        now: Duration::ZERO,
        ..Judge::new(Vec::new())
    };
    for (request, host, inside) in [
        ("GET /x", "inner.example", "404 no-route"),
        ("GET /%zz", "inner.example", "400 bad-path"),
        ("GET /x", "a host", "400 bad-host"),
    ] {
        let at = |judge: &Judge, exposure| {
            judge.judge_at((Protocol::Https, exposure), request, &[("host", host)]).1
        };
        let outside = at(&judge, Exposure::External);
        assert_eq!(outside, "503 not-ready", "{request} {host}");
        assert_eq!(outside, at(&unheard, Exposure::External), "as where it never came");
        assert_eq!(at(&judge, Exposure::Internal), inside, "{request} {host}");
    }
}

/// `inner`, internal, and `ours`, external. Each has one Api.
fn two_environments() -> RoutingTable {
    let environment = |name: &str, listener: (Arc<str>, Bytes)| {
        let mut route = route(name, "/", &["GET /x", "POST /x"]);
        let cors = runtime::Cors { origins: vec!["*".to_owned()], ..Default::default() };
        route.policies = vec![runtime::Policy { cors: Some(cors), ..Default::default() }];
        let upstream = upstream_entry(name, upstream(&["http://127.0.0.1:9"]));
        index(name, vec![listener, route_entry(route), upstream]).table()
    };
    RoutingTable::new(
        vec![
            environment("inner", internal_listener("inner", &["inner.example", "*.inner.example"])),
            environment("ours", listener("ours", &["api.example"])),
        ],
        &FACES,
    )
}

#[test]
fn an_internal_host_is_an_unknown_host_at_external_entries() {
    let judge = Judge { table: two_environments(), now: Duration::ZERO, ..Judge::new(Vec::new()) };
    let preflight = [("origin", "https://o.example"), ("access-control-request-method", "GET")];
    let requests: [(&str, &[(&str, &str)]); 7] = [
        ("GET /x", &[]),
        ("HEAD /x", &[]),
        ("OPTIONS /x", &[]),
        ("OPTIONS /x", &preflight),
        ("DELETE /x", &[]),
        ("TRACE /x", &[("max-forwards", "0")]),
        ("POST /x", &[("content-length", "100000")]),
    ];
    for (request, headers) in requests {
        for host in ["inner.example", "INNER.example:8080", "a.inner.example", "inner.example."] {
            let headers = [headers, &[("host", host)]].concat();
            let at = |protocol, exposure| judge.judge_at((protocol, exposure), request, &headers);
            for protocol in PROTOCOLS {
                let (matched, words) = at(protocol, Exposure::External);
                assert_eq!(words, "404 no-route", "{request} {host}");
                assert!(matched.served.is_none(), "its answer is decorated by no Api, and counted for none");
                assert_ne!(at(protocol, Exposure::Internal).1, "404 no-route", "{request} {host}");
            }
        }
    }
    let words = |request: &str, exposure| {
        let headers = [("host", "api.example")];
        judge.judge_at((Protocol::Http, exposure), request, &headers).1
    };
    for exposure in Exposure::ALL {
        assert_eq!(words("GET /x", exposure), "GET /x -> /x");
        // The authority of the request line goes before Host, also to an internal environment.
        let inner = words("GET http://inner.example/x", exposure);
        assert_eq!(inner == "404 no-route", exposure == Exposure::External, "{inner}");
    }
}
