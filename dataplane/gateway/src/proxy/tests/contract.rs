//! The data-plane contract, seen from outside.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hanse_proto::runtime;
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::{
    harness::*,
    tls::{certificate, connect},
};
use crate::{problem::Reason, testbed::*};

fn orders(upstream_url: &str) -> Resources {
    let operations = ["GET /orders/{id}", "POST /orders", "GET /compare/{base}...{head}", "GET /"];
    let route = with_key_or_query(route("orders", "/orders/v1", &operations), "api_key");
    vec![
        listener("production", &[]),
        route_entry(route),
        upstream_entry("orders", upstream(&[&format!("{upstream_url}/base/")])),
        plan("gold", 0, 0),
        plan("tiny", 1, 2),
        credential("shop", "shop", "key-shop", 0),
        credential("slow", "slow-shop", "key-slow", 0),
        credential("other", "other", "key-other", 0),
        subscription("shop", "shop", "orders", "gold"),
        subscription("slow", "slow-shop", "orders", "tiny"),
    ]
}

const KEY: (&str, &str) = ("x-api-key", "key-shop");

#[tokio::test]
async fn a_request_reaches_its_upstream_as_promised() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(orders(&upstream.url()));
    let headers = [
        KEY,
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("connection", "keep-alive, x-secret"),
        ("x-secret", "one hop only"),
        ("te", "trailers, deflate"),
        ("proxy-authorization", "Basic eA=="),
        ("accept", "application/json"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    let answer =
        gateway.call(request("GET /orders/v1/orders/a%2Fb%20c?x=1&api_key=k&y=%7E", &headers, "")).await;
    let seen = answer.seen();
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.target, "/base/orders/a%2Fb%20c?x=1&y=%7E");
    let check = |name: &str, value: &str| assert_eq!(seen.header(name), value, "{name}");
    check("host", &upstream.address.to_string());
    check("x-forwarded-for", "203.0.113.7, 127.0.0.1");
    check("x-forwarded-host", "gateway.example:8080");
    check("x-forwarded-proto", "http");
    check("accept", "application/json");
    check("te", "trailers");
    check("cookie", "a=1; b=2");
    for gone in
        ["x-api-key", "x-secret", "connection", "proxy-authorization", "transfer-encoding", "content-length"]
    {
        check(gone, "");
    }
    assert_eq!(answer.header("x-upstream"), "yes");
    assert_eq!((answer.header("x-hop"), answer.header("connection")), ("", ""));
}

/// The headers that docs/gateway.md calls set, replaced or removed, one of each kind of name.
fn documented() -> Vec<String> {
    const GATEWAY_MD: &str = include_str!("../../../../../docs/gateway.md");
    let (_, table) = GATEWAY_MD.split_once("\n| Header | What the gateway does |\n").expect("the table");
    let mut names = Vec::new();
    for row in table.lines().skip(1).take_while(|row| row.starts_with('|')) {
        let (name, action) = row.trim_matches('|').split_once(" | ").expect("two columns");
        if !["sets", "replaces", "removes"].iter().any(|verb| action.trim_start().starts_with(verb)) {
            continue;
        }
        let quoted = name.split('`').skip(1).step_by(2);
        names.extend(quoted.map(|name| match name {
            "_" => "x_forwarded_for".to_owned(),
            name => name.to_ascii_lowercase().replace('*', "x"),
        }));
    }
    names
}

#[tokio::test]
async fn what_is_replaced_or_removed_never_arrives_from_a_client_of_any_protocol() {
    /// What a client cannot forge without breaking its own message; the value would be no protocol.
    const FRAMES: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "te", "expect"];
    /// What HTTP/2 does not have.
    const OF_HTTP_1: [&str; 3] = ["keep-alive", "proxy-connection", "upgrade"];
    let upstream = Upstream::start().await;
    let own = certificate("gateway.example", &[b"h2"]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    let mut resources = orders(&upstream.url());
    resources.push(route_entry(route("open", "/open", &["GET /{id}"])));
    resources.push(upstream_entry("open", crate::testbed::upstream(&[&upstream.url()])));
    let gateway = Gateway::with(setup, resources);
    let names = documented();
    assert!(names.len() > 40, "{names:?}");
    let is_name =
        |name: &String| name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
    assert!(names.iter().all(is_name), "{names:?}");
    for wanted in ["x-forwarded-host", "x-real-ip", "x-forwarded-user", "x-consumer-x", "client-certx"] {
        assert!(names.iter().any(|name| name == wanted), "{wanted} of {names:?}");
    }
    let forged: Vec<&String> = names.iter().filter(|name| !FRAMES.contains(&name.as_str())).collect();
    let lines: String = forged.iter().map(|name| format!("{name}: forged\r\n")).collect();
    for head in [
        "GET /open/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
        "GET http://a/open/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
        "GET /open/x HTTP/1.0\r\nhost: a\r\n",
        "GET /open/x HTTP/1.0\r\n",
    ] {
        let text = raw(gateway.http, format!("{head}{lines}\r\n").as_bytes()).await;
        let (head_of_answer, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head_of_answer.contains(" 200 "), "{head}: {text}");
        assert!(!body.contains("forged"), "{head}: {body}");
    }
    let stream = hyper_util::rt::TokioIo::new(connect(&gateway, &own.roots, b"h2").await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::get("https://a/open/x");
    for name in forged.iter().filter(|name| !OF_HTTP_1.contains(&name.as_str())) {
        request = request.header(name.as_str(), "forged");
    }
    let answer = sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
    let answer = collect(answer).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains("forged"), "{}", answer.body);
    assert_eq!(answer.seen().header("x-forwarded-host"), "a");
}

#[tokio::test]
async fn trailers_pass_where_headers_do() {
    let upstream = Upstream::start().await;
    let own = certificate("gateway.example", &[b"h2"]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    let gateway = Gateway::with(setup, orders(&upstream.url()));
    let forged = ["x-forwarded-user", "x_real_ip", "x-forwarded-for", "x-api-key", "host", "x-check"];
    let trailers = forged.map(|name| format!("{name}: forged\r\n")).concat();
    let head = format!(
        "POST /orders/v1/orders HTTP/1.1\r\nhost: a\r\nx-api-key: key-shop\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\ntrailer: {}\r\n\r\n4\r\nfour\r\n0\r\n",
        forged.join(", ")
    );
    let text = raw(gateway.http, format!("{head}{trailers}\r\n").as_bytes()).await;
    let seen: Seen = serde_json::from_str(&text[text.find('{').unwrap()..=text.rfind('}').unwrap()]).unwrap();
    let wanted = [("x-check".to_owned(), "forged".to_owned())];
    assert_eq!((seen.body.as_str(), &seen.trailers[..]), ("four", &wanted[..]));

    let stream = hyper_util::rt::TokioIo::new(connect(&gateway, &own.roots, b"h2").await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    // A known length leaves no room for trailers in HTTP/1.1.
    for (length, wanted) in [(None, &wanted[..]), (Some("4"), &[])] {
        let mut trailers = HeaderMap::new();
        for name in forged {
            trailers.append(name, HeaderValue::from_static("forged"));
        }
        let frames = [Frame::data(Bytes::from_static(b"four")), Frame::trailers(trailers)];
        let frames = futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>));
        let mut request = http::Request::post("https://a/orders/v1/orders")
            .header("x-api-key", "key-shop")
            .header("trailer", forged.join(", "));
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let answer = sender.send_request(request.body(StreamBody::new(frames)).unwrap()).await.unwrap();
        let seen = collect(answer).await.unwrap().seen();
        assert_eq!((seen.body.as_str(), &seen.trailers[..]), ("four", wanted));
    }
}

#[tokio::test]
async fn what_is_replaced_has_the_gateways_value() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(orders(&upstream.url()));
    let headers = [KEY, ("x-real-ip", "203.0.113.7"), ("x-forwarded-host", "evil"), ("x-request-id", "7")];
    let seen = gateway.call(request("GET /orders/v1/orders/7", &headers, "")).await.seen();
    let check = |name: &str, value: &str| assert_eq!(seen.header(name), value, "{name}");
    check("x-real-ip", "127.0.0.1");
    check("x-forwarded-host", "gateway.example:8080");
    check("x-request-id", "7");
}

#[tokio::test]
async fn the_context_alone_is_the_root_of_the_api() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(orders(&upstream.url()));
    for (target, wanted) in [
        ("/orders/v1", "/base"),
        ("/orders/v1/", "/base/"),
        ("/orders/v1?q", "/base?q"),
        ("/orders/v1?", "/base?"),
        ("/orders/v1?api_key=k", "/base"),
        ("/orders/v1?api_key=k&", "/base"),
        ("/orders/v1/compare/a...b", "/base/compare/a...b"),
    ] {
        let answer = gateway.call(request(&format!("GET {target}"), &[KEY], "")).await;
        assert_eq!(answer.seen().target, wanted, "{target}");
    }
}

#[tokio::test]
async fn refusals_come_in_order_and_as_problems() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(Setup::default(), Vec::new());
    let answer = gateway.get("GET /anything").await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (503, "not-ready"));

    gateway.change(orders(&upstream.url()));
    let check = async |line: &str, headers: &[(&str, &str)], status: u16, problem: &str| {
        let answer = gateway.call(request(line, headers, "")).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, problem), "{line}");
        answer
    };
    check("GET /unknown", &[], 404, "no-route").await;
    check("GET /orders/v1/unknown", &[], 404, "no-route").await;
    check("GET /orders/v1/orders/..", &[KEY], 400, "bad-path").await;
    let answer = check("DELETE /orders/v1/orders/7", &[], 405, "method-not-allowed").await;
    assert_eq!(answer.header("allow"), "GET, HEAD");
    let answer = check("GET /orders/v1/orders/7", &[], 401, "key-missing").await;
    assert_eq!(answer.header("www-authenticate"), "ApiKey header=\"x-api-key\"");
    let places = "the header x-api-key, and then in the query parameter api_key.";
    assert!(answer.body.contains(places), "{answer:?}");
    let answer = check("GET /orders/v1/orders/7", &[("x-api-key", "nonsense")], 401, "key-unknown").await;
    assert!(answer.body.contains(places), "{answer:?}");
    check("GET /orders/v1/orders/7", &[("x-api-key", "key-other")], 403, "not-subscribed").await;

    let slow = [("x-api-key", "key-slow")];
    for _ in 0..2 {
        gateway.call(request("GET /orders/v1/orders/7", &slow, "")).await.seen();
    }
    let answer = check("GET /orders/v1/orders/7", &slow, 429, "over-plan").await;
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 2);

    let rejected = |reason: Reason| -> u64 {
        gateway.metrics.workers.iter().map(|own| own.rejected[reason as usize].load(Ordering::Relaxed)).sum()
    };
    assert_eq!(
        (rejected(Reason::OverPlan), rejected(Reason::NoRoute), rejected(Reason::NotReady)),
        (1, 2, 1)
    );
}

#[tokio::test]
async fn the_same_key_works_from_the_query() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(orders(&upstream.url()));
    let seen = gateway.get("GET /orders/v1/orders/7?api_key=key-shop").await.seen();
    assert_eq!(seen.target, "/base/orders/7");
}

#[tokio::test]
async fn cors_preflights_and_decorations() {
    let upstream = Upstream::start().await;
    let mut resources = orders(&upstream.url());
    let mut web = with_key(route("orders", "/orders/v1", &["GET /orders/{id}", "PUT /orders/{id}"]));
    web.policies = vec![runtime::Policy {
        cors: Some(runtime::Cors {
            origins: vec!["https://app.example".to_owned()],
            headers: vec!["X-API-Key".to_owned()],
            expose_headers: vec!["X-Upstream".to_owned()],
            max_age_seconds: Some(60),
            ..Default::default()
        }),
        ..Default::default()
    }];
    resources.push(route_entry(web));
    let gateway = Gateway::serving(resources);
    let origin = ("origin", "https://app.example");

    let asks =
        [origin, ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-api-key")];
    let answer = gateway.call(request("OPTIONS /orders/v1/orders/7", &asks, "")).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, PUT");
    assert_eq!(answer.header("access-control-allow-headers"), "X-API-Key");
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 0);

    let answer = gateway.call(request("GET /orders/v1/orders/7", &[origin, KEY], "")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("access-control-expose-headers"), "X-Upstream");
    assert_eq!(answer.seen().header("origin"), "https://app.example");

    // Browsers may read why the gateway refuses; other origins may read nothing.
    let answer = gateway.call(request("GET /orders/v1/orders/7", &[origin], "")).await;
    assert_eq!(
        (answer.problem().as_str(), answer.header("access-control-allow-origin")),
        ("key-missing", "https://app.example")
    );
    let evil = ("origin", "https://evil.example");
    let answer = gateway.call(request("GET /orders/v1/orders/7", &[evil, KEY], "")).await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("", "Origin"));
}

#[tokio::test]
async fn header_policies_work_both_ways() {
    let upstream = Upstream::start().await;
    let mut resources = orders(&upstream.url());
    let header = |name: &str, value: &str| runtime::Header { name: name.to_owned(), value: value.to_owned() };
    let mut api = route("orders", "/orders/v1", &["GET /orders/{id}"]);
    api.deprecated = true;
    api.policies = vec![runtime::Policy {
        request_headers: Some(runtime::HeaderRules {
            set: vec![header("X-Tenant", "blue")],
            add: vec![header("X-List", "added")],
            remove: vec!["Cookie".to_owned()],
        }),
        response_headers: Some(runtime::HeaderRules {
            set: vec![header("Strict-Transport-Security", "max-age=1")],
            remove: vec!["X-Upstream".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    }];
    api.operations[0].policies = vec![runtime::Policy {
        request_headers: Some(runtime::HeaderRules {
            set: vec![header("X-Tenant", "green")],
            ..Default::default()
        }),
        ..Default::default()
    }];
    resources.push(route_entry(api));
    let gateway = Gateway::serving(resources);
    let headers = [("x-tenant", "mine"), ("x-list", "own"), ("cookie", "a=b")];
    let answer = gateway.call(request("GET /orders/v1/orders/7", &headers, "")).await;
    assert_eq!((answer.header("strict-transport-security"), answer.header("x-upstream")), ("max-age=1", ""));
    assert_eq!(answer.header("deprecation"), "@0");
    let seen = answer.seen();
    assert_eq!((seen.header("x-tenant").as_str(), seen.header("x-list").as_str()), ("green", "own|added"));
    assert_eq!((seen.header("cookie").as_str(), seen.header("content-length").as_str()), ("", ""));
    assert_eq!(seen.header("host"), upstream.address.to_string());
}

#[tokio::test]
async fn the_access_log_tells_who_called_what_and_keeps_keys_to_itself() {
    let upstream = Upstream::start().await;
    let log = Log::default();
    let gateway = Gateway::with(log.setup(), orders(&upstream.url()));
    gateway.get("GET /orders/v1/orders/7?api_key=key-shop").await.seen();
    gateway.get("GET /unknown?api_key=key-shop").await;
    eventually("two lines", async || log.lines().len() == 2).await;
    let lines = log.lines();
    let text = format!("{lines:?}");
    assert!(!text.contains("key-shop"), "{text}");
    let first = lines.iter().find(|line| line["status"] == 200).unwrap();
    assert_eq!(first["path"], "/orders/v1/orders/7");
    assert_eq!(first["host"], "gateway.example");
    assert_eq!(
        (&first["api"], &first["operation"], &first["application"]),
        (&"orders".into(), &"GET /orders/{id}".into(), &"shop".into())
    );
    assert_eq!(first["upstream"], upstream.address.to_string());
    assert!(first["bytes"].as_u64().unwrap() > 0 && first["duration_ms"].as_f64().unwrap() > 0.0, "{first}");
    let second = lines.iter().find(|line| line["status"] == 404).unwrap();
    assert_eq!(second["reason"], "no-route");
}
