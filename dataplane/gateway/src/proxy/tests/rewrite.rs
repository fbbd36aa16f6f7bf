//! Addresses in answers, as clients know them.

use hanse_proto::runtime::{self, upstream::Host};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{
    harness::*,
    tls::{certificate, connect},
};
use crate::testbed::*;

/// An upstream whose answer has these lines, `AUTHORITY` replaced by its own.
async fn answering(lines: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let lines = lines.replace("AUTHORITY", &authority);
    let answer = format!("HTTP/1.1 302 Found\r\n{lines}content-length: 0\r\n\r\n");
    serve_script(listener, answer.leak().as_bytes(), false);
    format!("http://{authority}")
}

fn api(upstream: runtime::Upstream) -> Resources {
    let rewrite = runtime::Policy {
        rewrite: Some(runtime::Rewrite { location: true, cookies: true }),
        ..Default::default()
    };
    let mut rewritten = route("a", "/shop", &["GET /{p}", "GET /as-it-is/{p}"]);
    rewritten.operations[0].policies = vec![rewrite];
    vec![listener("production", &[]), route_entry(rewritten), upstream_entry("a", upstream)]
}

const LINES: &str = "location: http://AUTHORITY/base/orders?a=1\r\ncontent-location: /base/orders/7\r\n\
                     set-cookie: a=1; Path=/base\r\nset-cookie: b=2; HttpOnly\r\nset-cookie: c=3; Path=/base/x\r\n";

fn check(answer: &Answer, prefix: &str) {
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), format!("{prefix}/orders?a=1"));
    assert_eq!(answer.header("content-location"), format!("{prefix}/orders/7"));
    let cookies: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|one| one.to_str().unwrap()).collect();
    assert_eq!(cookies, [&*format!("a=1; Path={prefix}"), "b=2; HttpOnly", &format!("c=3; Path={prefix}/x")]);
}

#[tokio::test]
async fn answers_are_rewritten_behind_a_context_in_every_protocol() {
    let url = answering(LINES).await;
    let own = certificate("gateway.example", &[b"h2"]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    let gateway = Gateway::with(setup, api(upstream(&[&format!("{url}/base")])));
    check(&gateway.get("GET /shop/x").await, "/shop");
    check(&gateway.get("GET /%73hop;v=1/x").await, "/shop"); // not as the client spelled it
    let text = raw(gateway.http, b"GET /shop/x HTTP/1.0\r\n\r\n").await;
    assert!(text.contains("\r\nlocation: /shop/orders?a=1\r\n"), "{text}");
    let stream = TokioIo::new(connect(&gateway, &own.roots, b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://shop.example/shop/x").body(String::new()).unwrap();
    check(&collect(sender.send_request(request).await.unwrap()).await.unwrap(), "/shop");

    let as_it_is = gateway.get("GET /shop/as-it-is/x").await;
    assert_eq!(as_it_is.header("location"), format!("{url}/base/orders?a=1"));
    assert_eq!(as_it_is.header("set-cookie"), "a=1; Path=/base");
}

#[tokio::test]
async fn behind_a_trusted_proxy_its_prefix_goes_before_the_context() {
    let url = answering(LINES).await;
    let said =
        [("x-forwarded-prefix", "/eu"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "eu.example")];
    for (trusted, prefix) in [("127.0.0.0/8", "/eu/shop"), ("10.0.0.0/8", "/shop")] {
        let trusted_proxies = vec![trusted.to_owned().try_into().unwrap()];
        let setup = Setup { trusted_proxies, ..Default::default() };
        let gateway = Gateway::with(setup, api(upstream(&[&format!("{url}/base")])));
        check(&gateway.call(request("GET /shop/x", &said, "")).await, prefix);
    }
    // An upstream that goes by the proxy's word of scheme and host.
    let theirs = "https://eu.example/x";
    let url = answering(&format!("location: {theirs}\r\n")).await;
    for (trusted, wanted) in [("127.0.0.0/8", "/eu/shop/x"), ("10.0.0.0/8", theirs)] {
        let trusted_proxies = vec![trusted.to_owned().try_into().unwrap()];
        let setup = Setup { trusted_proxies, ..Default::default() };
        let gateway = Gateway::with(setup, api(upstream(&[&url])));
        let answer = gateway.call(request("GET /shop/x", &said, "")).await;
        assert_eq!(answer.header("location"), wanted, "{trusted}");
    }
}

#[tokio::test]
async fn an_upstream_that_writes_the_host_that_it_got_is_understood() {
    for (host, own, stays) in [
        (Some(Host::ClientHost(runtime::ClientHost {})), "gateway.example:8080", "shop.internal"),
        (Some(Host::HostName("shop.internal".to_owned())), "shop.internal", "other.example"),
    ] {
        for (authority, wanted) in [(own, "/shop/x".to_owned()), (stays, format!("http://{stays}/x"))] {
            let url = answering(&format!("location: http://{authority}/x\r\n")).await;
            let gateway =
                Gateway::serving(api(runtime::Upstream { host: host.clone(), ..upstream(&[&url]) }));
            assert_eq!(gateway.get("GET /shop/x").await.header("location"), wanted, "{host:?}");
        }
    }
}
