//! What clients are told of an internal environment: nothing, but at internal entries.

use super::*;

/// `inner`, internal, and `ours`, external. Each has one Api.
fn two_environments() -> RoutingTable {
    let environment = |name: &str, listener: (Arc<str>, Bytes)| {
        let mut route = route(name, "/", &["GET /x", "POST /x"]);
        let cors = runtime::Cors { origins: vec!["*".to_owned()], ..Default::default() };
        route.policies = vec![runtime::Policy { cors: Some(cors), ..Default::default() }];
        let upstream = upstream_entry(name, upstream(&["http://127.0.0.1:9"]));
        index(name, vec![listener, route_entry(route), upstream]).table()
    };
    RoutingTable::new(vec![
        environment("inner", internal_listener("inner", &["inner.example", "*.inner.example"])),
        environment("ours", listener("ours", &["api.example"])),
    ])
}

#[test]
fn an_internal_host_is_an_unknown_host_at_external_entries() {
    let judge = Judge { table: two_environments(), now: Duration::ZERO };
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
