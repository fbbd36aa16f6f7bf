use std::time::Duration;

use bytes::Bytes;
use hanse_proto::runtime;
use hanse_runtime::Compared;
use http::Request;
use proptest::prelude::*;

use super::*;
use crate::{table::naive, testbed::*};

/// Requests against a table, judged at chosen times.
struct Judge {
    table: RoutingTable,
    now: Duration,
}

impl Judge {
    fn new(resources: Vec<(Arc<str>, Bytes)>) -> Self {
        Self { table: table(resources), now: Duration::from_secs(1) }
    }

    /// Judges `"METHOD TARGET"` with headers; the verdict in words.
    fn judge(&self, request: &str, headers: &[(&str, &str)]) -> String {
        self.judge_over(Protocol::Http, request, headers).1
    }

    fn judge_over(&self, protocol: Protocol, request: &str, headers: &[(&str, &str)]) -> (Matched, String) {
        let (method, target) = request.split_once(' ').unwrap();
        let mut builder = Request::builder().method(method).uri(target);
        if !headers.iter().any(|(name, _)| *name == "host") {
            builder = builder.header("host", "gateway.example:8080");
        }
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let request = builder.body(()).unwrap();
        let length = request.headers().get("content-length");
        let head = Head {
            protocol,
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            content_length: length.map(|value| value.to_str().unwrap().parse().unwrap()),
            max_body: 1_000,
            now: Clock::at(self.now),
            unix_now: || 1_700_000_000,
        };
        let (matched, verdict) = decide(&self.table, &head);
        let words = match verdict {
            Verdict::Refuse(refusal) => {
                format!("{} {}", refusal.reason().status().as_u16(), refusal.reason().name())
            }
            Verdict::Preflight(headers) => format!(
                "preflight {}",
                headers
                    .get("access-control-allow-methods")
                    .map_or("refused", |value| value.to_str().unwrap())
            ),
            Verdict::Forward(forward) => {
                let query = forward.query.as_deref().or(request.uri().query());
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                format!("{} -> {}{query}", forward.operation.id, &request.uri().path()[forward.rest_at..])
            }
        };
        (matched, words)
    }
}

fn orders() -> Vec<(Arc<str>, Bytes)> {
    let mut route =
        with_key(route("orders", "/orders/v1", &["GET /orders/{id}", "POST /orders", "GET /health"]));
    route.operations[2].security = open();
    route.max_body_bytes = 100;
    vec![
        listener("production", &[]),
        route_entry(route),
        upstream_entry("orders", upstream(&["http://127.0.0.1:9"])),
        plan("free", 60, 2),
        credential("one", "shop", "key-one", 0),
        credential("old", "shop", "key-old", 1_600_000_000),
        credential("young", "shop", "key-young", 1_800_000_000),
        credential("other", "other-shop", "key-other", 0),
        subscription("shop-orders", "shop", "orders", "free"),
    ]
}

#[test]
fn the_order_of_refusals_is_the_contract() {
    let judge = Judge { table: RoutingTable::default(), ..Judge::new(Vec::new()) };
    assert_eq!(judge.judge("GET /%zz", &[]), "503 not-ready");

    let judge = Judge::new(orders());
    let key = ("x-api-key", "key-one");
    let check = |request: &str, headers: &[(&str, &str)], wanted: &str| {
        assert_eq!(judge.judge(request, headers), wanted, "{request} {headers:?}");
    };
    check("GET /orders/v1/../x", &[], "400 bad-path");
    check("GET /orders/v1/%2e%2E/x", &[], "400 bad-path");
    check("GET /orders/v1/orders/7", &[("host", "a b")], "400 bad-host");
    check("GET /unknown", &[], "404 no-route");
    check("GET /orders/v1/unknown", &[], "404 no-route"); // without a key: the route comes first
    check("DELETE /orders/v1/orders/7", &[], "405 method-not-allowed");
    check("GET /orders/v1/orders/7", &[], "401 key-missing");
    check("GET /orders/v1/orders/7", &[("x-api-key", "")], "401 key-missing");
    check("GET /orders/v1/orders/7", &[("x-api-key", "wrong")], "401 key-unknown");
    check("GET /orders/v1/orders/7", &[("x-api-key", "key-old")], "401 key-expired");
    check("GET /orders/v1/orders/7", &[("x-api-key", "key-other")], "403 not-subscribed");
    check("POST /orders/v1/orders", &[key, ("content-length", "101")], "413 body-too-large");
    check("POST /orders/v1/orders", &[("content-length", "101")], "401 key-missing");
    check("POST /orders/v1/orders", &[key, ("content-length", "100")], "POST /orders -> /orders");
    check("GET /orders/v1/orders/7?a=b", &[("x-api-key", "key-young")], "GET /orders/{id} -> /orders/7?a=b");
    check("POST /orders/v1/orders", &[key, ("content-length", "101")], "413 body-too-large"); // before the limit
    check("GET /orders/v1/orders/7", &[key], "429 over-plan");
    check("GET /orders/v1/health", &[], "GET /health -> /health"); // open, and not counted
}

#[test]
fn a_gateway_limit_bounds_an_apis_own() {
    let mut generous = route("generous", "/", &["POST /"]);
    generous.max_body_bytes = 1_000_000;
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(generous),
        upstream_entry("generous", upstream(&["http://127.0.0.1:9"])),
    ]);
    assert_eq!(judge.judge("POST /", &[("content-length", "1001")]), "413 body-too-large");
    assert_eq!(judge.judge("POST /", &[("content-length", "1000")]), "POST / -> /");
}

#[test]
fn budgets_refill_and_survive_a_new_table() {
    let mut resources = index("production", orders());
    let mut judge = Judge { table: RoutingTable::new(vec![resources.table()]), now: Duration::from_secs(9) };
    let call = |judge: &Judge| judge.judge("GET /orders/v1/orders/7", &[("x-api-key", "key-one")]);
    let (good, over) = ("GET /orders/{id} -> /orders/7", "429 over-plan");
    assert_eq!([call(&judge), call(&judge), call(&judge)], [good, good, over]);

    // Everything else changes; the plan's name too, its rate not.
    let changes = vec![
        route_entry(with_key(route("orders", "/orders/v1", &["GET /orders/{id}", "PUT /orders"]))),
        plan("gratis", 60, 2),
        subscription("shop-orders", "shop", "orders", "gratis"),
        credential("two", "shop", "key-two", 0),
    ];
    resources.apply(changes, vec!["plan/default/free".into()], &mut Default::default());
    judge.table = RoutingTable::new(vec![resources.table()]);
    assert_eq!(call(&judge), over);
    judge.now += Duration::from_secs(1);
    assert_eq!([call(&judge), call(&judge)], [good, over]);

    // Another rate is another budget.
    resources.apply(vec![plan("gratis", 600, 3)], Vec::new(), &mut Default::default());
    judge.table = RoutingTable::new(vec![resources.table()]);
    assert_eq!([call(&judge), call(&judge), call(&judge), call(&judge)], [good, good, good, over]);
}

#[test]
fn keys_in_the_query_are_found_and_removed() {
    let api = with_key_or_query(route("search", "/search", &["GET /"]), "key");
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("search", upstream(&["http://127.0.0.1:9"])),
        credential("one", "shop", "key one", 0),
        credential("two", "shop", "s3;cr3t", 0),
        subscription("s", "shop", "search", "none"),
    ]);
    let check = |request: &str, headers: &[(&str, &str)], wanted: &str| {
        assert_eq!(judge.judge(request, headers), wanted, "{request} {headers:?}");
    };
    check("GET /search?q=a&key=key+one&r=%20", &[], "GET / -> ?q=a&r=%20");
    check("GET /search?key=key%20one", &[], "GET / -> ?");
    check("GET /search/?q=a", &[("x-api-key", "key one")], "GET / -> /?q=a");
    check("GET /search?key=other", &[("x-api-key", "key one")], "GET / -> ?"); // the header goes first
    check("GET /search?a=1;key=K", &[("x-api-key", "key one")], "GET / -> ?a=1"); // some upstreams split at ';' too
    check("GET /search?a=1;key=key+one", &[], "401 key-missing");
    check("GET /search?key=s3;cr3t&x=1", &[], "GET / -> ?x=1"); // a key may have a ';'
    check("GET /search?key=", &[], "401 key-missing");
    check("GET /search", &[], "401 key-missing");
}

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
    let table = RoutingTable::new(vec![
        environment("production", &[], &["GET /any"]),
        environment("sandbox", &["sandbox.localhost"], &["GET /sandbox"]),
        environment("partner", &["*.partner.example", "partner.example"], &["GET /partner"]),
        plain.table(),
    ]);
    let judge = Judge { table, now: Duration::ZERO };
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
fn spellings_of_a_path_do_not_escape_its_guard() {
    let mut api = with_key(route("files", "/files", &["GET /admin", "GET /{name}", "GET /{name}/raw"]));
    api.operations[1].security = open();
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("files", upstream(&["http://127.0.0.1:9"])),
    ]);
    assert_eq!(judge.judge("GET /files/readme", &[]), "GET /{name} -> /readme");
    assert_eq!(judge.judge("GET /files/admin", &[]), "401 key-missing");
    assert_eq!(judge.judge("GET /files/%61dmin", &[]), "401 key-missing");
    assert_eq!(judge.judge("GET /%66iles/%61%64min", &[]), "401 key-missing");
    assert_eq!(judge.judge("GET /files/a%2Fb", &[]), "GET /{name} -> /a%2Fb"); // data, not structure
    assert_eq!(judge.judge("GET /files/a%2Fraw", &[]), "401 key-missing"); // structure, where an upstream decodes it
    assert_eq!(judge.judge("GET /files/a%2F..%2Fadmin", &[]), "400 bad-path");
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

#[test]
fn an_open_tail_is_no_way_round_a_guard() {
    let mut api = with_key(route("k", "/k", &["POST /a", "GET /admin/{id}", "GET /", "* /*", "GET /own/*"]));
    api.operations[3].security = open();
    let mut single = route("public", "/public", &["* /*"]);
    single.operations[0].security = open();
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("k", upstream(&["http://127.0.0.1:9"])),
        route_entry(with_key(single)),
        upstream_entry("public", upstream(&["http://127.0.0.1:9"])),
    ]);
    let check = |request: &str, wanted: &str| assert_eq!(judge.judge(request, &[]), wanted, "{request}");
    check("POST /k/a", "401 key-missing");
    check("GET /k/a", "405 method-not-allowed");
    check("GET /k/b/c", "* /* -> /b/c");
    check("GET /k/b//c/", "* /* -> /b//c/");
    for respelled in ["POST /k/a/", "GET /k/a/", "POST /k//a", "POST /k/a;x/", "GET /k/admin//1", "GET /k//"]
    {
        check(respelled, "401 key-missing");
    }
    check("GET /k//own/x", "401 key-missing");
    check("GET /k/own/x", "401 key-missing");
    check("GET /k/A", "* /* -> /A"); // case is the upstream's matter: admission warns
    check("BREW /public//x/", "* /* -> //x/");
    check("BREW /public", "* /* -> ");
}

/// Apis with a key or without, each with the operations that are open in it.
fn judge_of(apis: &[(runtime::Route, &[usize])]) -> Judge {
    let mut resources = vec![listener("production", &[])];
    for (route, opened) in apis {
        let mut route = route.clone();
        opened.iter().for_each(|&at| route.operations[at].security = open());
        resources.push(upstream_entry(&route.api, upstream(&["http://127.0.0.1:9"])));
        resources.push(route_entry(route));
    }
    Judge::new(resources)
}

#[test]
fn parameters_of_segments_do_not_escape_a_guard() {
    let k = with_key(route(
        "k",
        "/k",
        &["GET /admin/b", "GET /{name}/b", "GET /a;v=1", "GET /a", "GET /{n}.json"],
    ));
    let admin = with_key(route("admin", "/k/admin2", &["GET /users"]));
    let judge = judge_of(&[(k, &[1, 2]), (admin, &[])]);
    let check = |path: &str, wanted: &str| {
        assert_eq!(judge.judge(&format!("GET {path}"), &[]), wanted, "{path}");
    };
    for guarded in [
        "/k;a/admin;x/b",
        "/k/admin%3Bx/b",
        "/k/admin;/b",
        "/%6B%3B/admin;x=1;y/b",
        "/k/a;v=2",
        "/k/a.json;v",
        "/k/admin2;x/users",
        "/k;y/admin2%3B/users;z",
    ] {
        check(guarded, "401 key-missing");
    }
    check("/k/admin/b;x/", "404 no-route");
    check("/k;a/c;x/b;y", "GET /{name}/b -> /c;x/b;y");
    check("/k/a;v=1", "GET /a;v=1 -> /a;v=1"); // written as open
    check("/k/caf%E9/b", "GET /{name}/b -> /caf%E9/b");
    check("/k/admin%253Bx/b", "GET /{name}/b -> /admin%253Bx/b"); // data: no upstream decodes twice
    for bad in ["/k/;x/b", "/k/%3Bx/b", "/k/a%c0%afb/b", "/k/%e0%80%af/b", "/;k/admin/b"] {
        check(bad, "400 bad-path");
    }
}

#[test]
fn what_an_upstream_reads_otherwise_is_no_way_round_a_guard() {
    /// `operations` of `/k`: the first one is guarded, the others are open.
    fn check(operations: &[&str], refused: &[&str], served: &[&str]) {
        let open: Vec<usize> = (1..operations.len()).collect();
        let judge = judge_of(&[(with_key(route("k", "/k", operations)), &open)]);
        for request in refused {
            assert_eq!(judge.judge(request, &[]), "401 key-missing", "{operations:?} {request}");
        }
        for request in served {
            let told = judge.judge(request, &[]);
            assert!(told.contains(" -> "), "{operations:?} {request}: {told}");
        }
    }
    // Upstreams to which parameters are part of a segment.
    for open in ["POST /v1/{name}", "POST /v1/*", "POST /v1/{n+}"] {
        let guarded = ["POST /k/v1/m;x:predict", "POST /k;a/v1/m;x:predict", "POST /k/v1/m%3B:predict"];
        check(&["POST /v1/{name}:predict", open], &guarded, &["POST /k/v1/m;x", "POST /k/v1/m:y"]);
    }
    check(&["GET /{n}.json", "GET /{n}"], &["GET /k/42;.json"], &["GET /k/42;v=1"]);
    check(&["PUT /files/{name}", "PUT /files/inbox"], &["PUT /k/files/inbox;x"], &["PUT /k/files/inbox"]);
    // Upstreams that ignore them.
    check(&["GET /{n}.c", "GET /{n};v={v}"], &["GET /k/a.c;v=1"], &["GET /k/a;v=1"]);
    check(&["GET /a/b", "GET /a;v=1/{x}"], &["GET /k/a;v=1/b"], &["GET /k/a;v=1/c"]);
    // Upstreams that fold empty segments, or a final slash.
    check(&["GET /admin/{id}", "GET //{a}/{b}"], &["GET /k//admin/1"], &["GET /k//b/1"]);
    check(&["GET /orders", "GET /{any}/"], &["GET /k/orders/"], &["GET /k/other/"]);
    check(&["GET /orders/", "GET /*"], &["GET /k//orders/", "GET /k/orders//"], &["GET /k//other/"]);
    check(&["GET /orders", "GET /orders/", "GET //orders"], &[], &["GET /k/orders/", "GET /k//orders"]); // written as open
    // Upstreams that read other octets as a slash.
    for open in ["GET /{name}", "GET /*"] {
        let guarded =
            ["GET /k/admin%5Cb", "GET /k/admin%2Fb", "GET /k/admin%2fb;x", "GET /k/%5c%2Fadmin%5Cb"];
        check(
            &["GET /admin/b", open],
            &guarded,
            &["GET /k/admin%5Cc", "GET /k/admin%2Fc", "GET /k/admin%252Fb"],
        );
    }
    check(&["GET /a/{x}", "GET /*"], &["GET /k/a%5Cb%2Fc"], &["GET /k/b%5Cb%2Fc"]);
    // The path is chosen before the method, and an open method stays open.
    check(&["POST /a", "* /*"], &["GET /k//a"], &["GET /k//b"]);
    check(&["PUT /a/{id}", "GET /a/{id}"], &[], &["GET /k/a/1;v", "GET /k/a/1;v%2F"]);
}

#[test]
fn what_an_upstream_reads_otherwise_is_no_way_round_another_api() {
    let judge = judge_of(&[
        (route("site", "/", &["* /*"]), &[]),
        (with_key(route("admin", "/admin", &["GET /users", "GET /health"])), &[1]),
        (route("k", "/k", &["GET //x", "GET /{a}"]), &[]),
    ]);
    let check = |path: &str, wanted: &str| {
        assert_eq!(judge.judge(&format!("GET {path}"), &[]), wanted, "{path}");
    };
    for guarded in
        ["//admin/users", "///admin//users/", "/admin%2Fusers", "/%5Cadmin/users", "//admin;x/users;y"]
    {
        check(guarded, "404 no-route");
    }
    check("/admin/users", "401 key-missing");
    check("//admin/health", "* /* -> //admin/health");
    check("//b/", "* /* -> //b/");
    check("/", "* /* -> /");
    check("/k//x", "GET //x -> //x");
    check("/k/a%2Fb", "GET /{a} -> /a%2Fb");

    // The upstream of the longer context is another one: its open operation opens none of the Api found.
    let judge = judge_of(&[
        (with_key(route("site", "/", &["GET /admin/x", "* /*"])), &[1]),
        (route("admin", "/admin", &["GET /x"]), &[]),
    ]);
    assert_eq!(judge.judge("GET /admin/x", &[]), "GET /x -> /x");
    assert_eq!(judge.judge("GET //admin/x", &[]), "401 key-missing");
    // Too long to be read in several ways.
    assert_eq!(judge.judge(&format!("GET //{}", "a".repeat(9 << 10)), &[]), "404 no-route");
    assert_eq!(judge.judge("GET //a", &[]), "* /* -> //a");
}

/// Callers of an Api may call what it guards: their requests are not refused for what an upstream may read.
#[test]
fn with_a_key_other_readings_are_served() {
    let mut orders = with_key(route("orders", "/k", &["* /*", "GET /login"]));
    orders.operations[1].security = open();
    let judge = Judge::new(vec![
        listener("production", &[]),
        upstream_entry("orders", upstream(&["http://127.0.0.1:9"])),
        route_entry(orders),
        plan("free", 60, 2),
        credential("one", "shop", "key-one", 0),
        subscription("shop-orders", "shop", "orders", "free"),
    ]);
    assert_eq!(judge.judge("GET /k/login", &[]), "GET /login -> /login");
    assert_eq!(judge.judge("GET /k/login;jsessionid=1", &[]), "401 key-missing");
    let with_key = judge.judge("GET /k/login;jsessionid=1", &[("x-api-key", "key-one")]);
    assert_eq!(with_key, "GET /login -> /login;jsessionid=1");
}

#[test]
fn blocked_and_endpointless_apis_say_so() {
    let mut blocked = with_key(route("blocked", "/blocked", &["GET /"]));
    blocked.blocked = true;
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(blocked),
        upstream_entry("blocked", upstream(&["http://127.0.0.1:9"])),
        route_entry(route("lost", "/lost", &["GET /"])),
    ]);
    assert_eq!(judge.judge("GET /blocked/anything", &[]), "503 api-blocked");
    assert_eq!(judge.judge("GET /lost", &[]), "503 no-endpoint");
}

#[test]
fn preflights_are_answered_before_method_and_key() {
    let cors = |origin: &str| hanse_proto::runtime::Policy {
        cors: Some(hanse_proto::runtime::Cors { origins: vec![origin.to_owned()], ..Default::default() }),
        ..Default::default()
    };
    let mut api = with_key(route("web", "/web", &["GET /a", "PUT /a", "OPTIONS /own"]));
    api.policies = vec![cors("https://app.example")];
    api.operations[1].policies = vec![cors("https://admin.example")];
    let mut apps = route("apps", "/apps", &["GET /a", "* /any"]);
    apps.policies = vec![cors("https://*.example.com")];
    apps.policies[0].cors.as_mut().unwrap().origins.extend(["capacitor://localhost".into(), "null".into()]);
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("web", upstream(&["http://127.0.0.1:9"])),
        route_entry(route("plain", "/plain", &["GET /a"])),
        upstream_entry("plain", upstream(&["http://127.0.0.1:9"])),
        route_entry(apps),
        upstream_entry("apps", upstream(&["http://127.0.0.1:9"])),
    ]);
    let ask = |path: &str, origin: &str, method: &str| {
        judge.judge(
            &format!("OPTIONS {path}"),
            &[("origin", origin), ("access-control-request-method", method)],
        )
    };
    assert_eq!(ask("/web/a", "https://app.example", "GET"), "preflight GET, HEAD, PUT");
    assert_eq!(ask("/web/a", "https://app.example", "DELETE"), "preflight GET, HEAD, PUT");
    assert_eq!(ask("/web/a", "https://app.example", "PUT"), "preflight refused"); // the operation's own policy
    assert_eq!(ask("/web/a", "https://admin.example", "PUT"), "preflight GET, HEAD, PUT");
    assert_eq!(ask("/web/unknown", "https://app.example", "GET"), "404 no-route");
    assert_eq!(ask("/plain/a", "https://app.example", "GET"), "405 method-not-allowed");
    for origin in ["https://a.example.com", "https://a.b.example.com", "capacitor://localhost", "null"] {
        assert_eq!(ask("/apps/a", origin, "GET"), "preflight GET, HEAD", "{origin}");
    }
    for origin in
        ["https://example.com", "https://example.com.evil", "https://evilexample.com", "ionic://localhost"]
    {
        assert_eq!(ask("/apps/a", origin, "GET"), "preflight refused", "{origin}");
    }
    assert_eq!(ask("/apps/any", "null", "BREW"), "preflight BREW");
    assert_eq!(judge.judge("OPTIONS /web/a", &[]), "405 method-not-allowed");
    assert_eq!(judge.judge("OPTIONS /web/own", &[]), "401 key-missing");
}

proptest! {
    /// Every request gets an answer, and only requests with the key get through.
    #[test]
    fn no_target_passes_without_a_key(path in "/[a-z0-9%./{}~-]{0,40}", host in "[a-zA-Z0-9.:\\[\\]-]{0,20}") {
        let judge = Judge::new(orders());
        if Request::builder().uri(path.as_str()).header("host", host.as_str()).body(()).is_ok() {
            let words = judge.judge(&format!("GET {path}"), &[("host", host.as_str())]);
            prop_assert!(words.starts_with('4') || words == "GET /health -> /health", "{}", words);
        }
    }

    /// In no reading of an upstream is an open operation a way to a guarded one.
    #[test]
    fn open_operations_are_open_to_every_upstream(
        templates in proptest::collection::btree_map(naive::path_template(0..3), any::<bool>(), 1..12),
        context in prop_oneof![Just("/k"), Just("/k;z")],
        paths in proptest::collection::vec(proptest::collection::vec(path_piece(), 1..4), 1..24),
    ) {
        let texts: Vec<&str> = templates.keys().map(String::as_str).collect();
        let opened: Vec<usize> = (0..texts.len()).filter(|&at| templates[texts[at]]).collect();
        let operations: Vec<String> = texts.iter().map(|text| format!("GET {text}")).collect();
        let operations: Vec<&str> = operations.iter().map(String::as_str).collect();
        let judge = judge_of(&[(with_key(route("k", "/k", &operations)), &opened)]);
        for path in paths {
            let path = path.concat();
            let path = format!("/{}", path.strip_prefix('/').unwrap_or(&path));
            let told = judge.judge(&format!("GET {context}{path}"), &[]);
            let canonical = path.replace("%5C", "\\");
            if told.contains(" -> ") && !templates.contains_key(&canonical) {
                for read in read_by_upstreams(&canonical) {
                    let run = naive::find(&texts, &read, Compared::Whole);
                    let is_open = run.is_none_or(|run| templates[run]);
                    prop_assert!(is_open, "{} {} is {} to an upstream: {:?}", path, told, read, run);
                }
            }
        }
    }
}

/// A segment of a path, and what an upstream may take for the slash before it.
fn path_piece() -> impl Strategy<Value = String> {
    let slash = prop_oneof![6 => Just("/"), 1 => Just("//"), 1 => Just("%2F"), 1 => Just("%5C")];
    (slash, naive::request_segment()).prop_map(|(slash, segment)| format!("{slash}{segment}"))
}

/// What upstreams that do some of it make of a path: cut segments, take other octets for a slash, cut them, fold.
fn read_by_upstreams(path: &str) -> Vec<String> {
    let doings: [fn(&str) -> String; 6] = [
        naive::plain,
        |path| path.replace("%2F", "/"),
        |path| path.replace('\\', "/"),
        naive::plain,
        |path| {
            let end = if path.ends_with('/') { "/" } else { "" };
            let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            if segments.is_empty() { "/".to_owned() } else { format!("/{}{end}", segments.join("/")) }
        },
        |path| path.strip_suffix('/').filter(|before| !before.is_empty()).unwrap_or(path).to_owned(),
    ];
    let chosen = |some: usize| doings.iter().enumerate().filter(move |(at, _)| some >> at & 1 == 1);
    (0..1 << doings.len())
        .map(|some| chosen(some).fold(path.to_owned(), |path, (_, doing)| doing(&path)))
        .collect()
}
