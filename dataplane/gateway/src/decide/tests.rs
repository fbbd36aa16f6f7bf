mod choice;
mod exposure;
mod guard;
mod owner;
mod preflight;
mod tunnel;

use std::time::Duration;

use bytes::Bytes;
use hanse_proto::runtime;
use http::Request;

use super::*;
use crate::{table::FACES, testbed::*};

/// Requests against a table, judged at chosen times.
struct Judge {
    table: RoutingTable,
    now: Duration,
    peers: Option<Peers>,
    sent_by: Option<TunnelPeer>,
}

impl Judge {
    fn new(resources: Vec<(Arc<str>, Bytes)>) -> Self {
        Self {
            table: table(resources),
            now: Duration::from_secs(1),
            peers: Some(Peers::default()),
            sent_by: None,
        }
    }

    /// Judges `"METHOD TARGET"` with headers; the verdict in words.
    fn judge(&self, request: &str, headers: &[(&str, &str)]) -> String {
        self.judge_over(Protocol::Http, request, headers).1
    }

    fn judge_over(&self, protocol: Protocol, request: &str, headers: &[(&str, &str)]) -> (Matched, String) {
        self.judge_at((protocol, Exposure::External), request, headers)
    }

    fn judge_at(
        &self,
        (protocol, exposure): (Protocol, Exposure),
        request: &str,
        headers: &[(&str, &str)],
    ) -> (Matched, String) {
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
            exposure,
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            content_length: length.map(|value| value.to_str().unwrap().parse().unwrap()),
            max_body: 1_000,
            now: Clock::at(self.now),
            unix_now: || 1_700_000_000,
            peers: self.peers.as_ref(),
            sent_by: self.sent_by.as_ref(),
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
                let to = forward.departure.as_ref().map(|own| format!(" to {}", own.region));
                let to = to.unwrap_or_default();
                format!("{} -> {}{query}{to}", forward.operation.id, &request.uri().path()[forward.rest_at..])
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
    let mut judge = Judge {
        table: RoutingTable::new(vec![resources.table()], &FACES),
        now: Duration::from_secs(9),
        ..Judge::new(Vec::new())
    };
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
    judge.table = RoutingTable::new(vec![resources.table()], &FACES);
    assert_eq!(call(&judge), over);
    judge.now += Duration::from_secs(1);
    assert_eq!([call(&judge), call(&judge)], [good, over]);

    // Another rate is another budget.
    resources.apply(vec![plan("gratis", 600, 3)], Vec::new(), &mut Default::default());
    judge.table = RoutingTable::new(vec![resources.table()], &FACES);
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
