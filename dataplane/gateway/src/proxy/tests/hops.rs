//! Requests that may not go on, and those that go round and round.

use std::sync::atomic::Ordering;

use super::harness::*;
use crate::{problem::Reason, testbed::*};

#[tokio::test]
async fn a_loop_ends_at_the_sixth_pass() {
    let log = Log::default();
    let gateway = Gateway::with(log.setup(), Vec::new());
    gateway.change(vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}"])),
        upstream_entry("a", upstream(&[&format!("http://{}/a", gateway.http)])),
    ]);
    let answer = gateway.get("GET /a/x").await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (508, "loop"));
    eventually("all passes are logged", async || log.lines().len() == 6).await;
    assert!(log.lines().iter().all(|line| line["status"] == 508), "{:?}", log.lines());
    let refused = |reason: Reason| -> u64 {
        gateway.metrics.workers.iter().map(|own| own.rejected[reason as usize].load(Ordering::Relaxed)).sum()
    };
    assert_eq!(refused(Reason::Loop), 1);
}

#[tokio::test]
async fn upstreams_see_each_pass() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}"])),
        upstream_entry("a", crate::testbed::upstream(&[&upstream.url()])),
    ]);
    let seen = gateway.get("GET /a/x").await.seen();
    assert_eq!(seen.header("cdn-loop"), LOOP_ID);
    let others = [
        ("cdn-loop", "cdn.example; v=1, other"),
        ("cdn-loop", "a, b, c, d, e, f"),
        ("connection", "cdn-loop"),
    ];
    let seen = gateway.call(request("GET /a/x", &others, "")).await.seen();
    assert_eq!(seen.header("cdn-loop"), format!("cdn.example; v=1, other, a, b, c, d, e, f, {LOOP_ID}"));
}

#[tokio::test]
async fn max_forwards_is_counted_down_and_ends_here() {
    let upstream = Upstream::start().await;
    let api = with_key_or_query(route("a", "/a", &["OPTIONS /{p}", "TRACE /{p}", "GET /{p}"]), "key");
    let gateway = Gateway::serving(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("a", crate::testbed::upstream(&[&upstream.url()])),
        plan("gold", 0, 0),
        credential("shop", "shop", "key-shop", 0),
        subscription("shop", "shop", "a", "gold"),
    ]);
    for method in ["OPTIONS", "TRACE"] {
        for (value, wanted) in [("1", "0"), ("007", "6"), ("x", "x"), ("-1", "-1")] {
            let headers = [("x-api-key", "key-shop"), ("max-forwards", value)];
            let seen = gateway.call(request(&format!("{method} /a/x"), &headers, "")).await.seen();
            assert_eq!((&*seen.method, &*seen.header("max-forwards")), (method, wanted), "{method} {value}");
        }
    }
    let headers = [("x-api-key", "key-shop"), ("max-forwards", "0")];
    let seen = gateway.call(request("GET /a/x", &headers, "")).await.seen();
    assert_eq!(seen.header("max-forwards"), "0", "it is of OPTIONS and TRACE alone");

    let before = upstream.requests.load(Ordering::SeqCst);
    let answer = gateway.call(request("OPTIONS /a/x", &headers, "")).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (204, ""));
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS, TRACE");
    let headers = [
        ("max-forwards", "0"),
        ("x-one", "1"),
        ("authorization", "Bearer secret"),
        ("cookie", "secret"),
        ("proxy-authorization", "secret"),
        ("x-api-key", "secret"),
    ];
    let answer = gateway.call(request("TRACE /a/x?a=1&key=key-shop", &headers[..5], "")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "message/http"));
    assert_eq!(answer.body, "TRACE /a/x?a=1 HTTP/1.1\r\nmax-forwards: 0\r\nx-one: 1\r\n\r\n");
    let answer = gateway.call(request("TRACE /a/x", &headers, "")).await;
    assert_eq!(answer.problem(), "key-unknown", "an answer of the gateway asks for a key too");
    assert!(!answer.body.contains("secret"), "{answer:?}");
    assert_eq!(upstream.requests.load(Ordering::SeqCst), before);
}
