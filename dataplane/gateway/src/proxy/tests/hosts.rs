//! The `Host` that endpoints get: their own, the client's or a name.

use std::sync::atomic::Ordering;

use hanse_proto::runtime::{self, upstream::Host};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    harness::*,
    tls::{certificate, connect},
};
use crate::testbed::*;

fn api(upstream: runtime::Upstream) -> Resources {
    vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}"])),
        upstream_entry("a", upstream),
    ]
}

fn preserved(urls: &[&str]) -> runtime::Upstream {
    runtime::Upstream { host: Some(Host::ClientHost(runtime::ClientHost {})), ..upstream(urls) }
}

fn named(urls: &[&str]) -> runtime::Upstream {
    runtime::Upstream { host: Some(Host::HostName("shop.internal:8443".to_owned())), ..upstream(urls) }
}

/// The `Host` of what the echoing upstream saw, out of the text of an answer.
fn host_in(text: &str) -> String {
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<Seen>(body).unwrap_or_else(|_| panic!("{text}")).header("host")
}

#[tokio::test]
async fn the_clients_host_is_preserved_by_choice() {
    let backend = Upstream::start().await;
    let own = certificate("gateway.example", &[b"h2"]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    let gateway = Gateway::with(setup, api(preserved(&[&backend.url()])));
    let authority = backend.address.to_string();
    for (head, wanted) in [
        ("GET /a/x HTTP/1.1\r\nhost: Shop.example:8080\r\nconnection: close\r\n", "Shop.example:8080"),
        ("GET http://b.example/a/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n", "b.example"),
        ("GET /a/x HTTP/1.0\r\nhost: shop.example\r\n", "shop.example"),
        ("GET /a/x HTTP/1.0\r\n", &*authority), // it names none
        // No proxy is trusted.
        ("GET /a/x HTTP/1.1\r\nhost: a\r\nx-forwarded-host: evil\r\nconnection: close\r\n", "a"),
    ] {
        let text = raw(gateway.http, format!("{head}\r\n").as_bytes()).await;
        assert_eq!(host_in(&text), wanted, "{head}");
    }
    let stream = TokioIo::new(connect(&gateway, &own.roots, b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://shop.example/a/x").body(String::new()).unwrap();
    let answer = collect(sender.send_request(request).await.unwrap()).await.unwrap();
    assert_eq!(answer.seen().header("host"), "shop.example");
}

#[tokio::test]
async fn a_proxys_word_of_the_host_chooses_no_virtual_host() {
    let backend = Upstream::start().await;
    let trusted_proxies = vec!["127.0.0.0/8".to_owned().try_into().unwrap()];
    let setup = Setup { trusted_proxies, ..Default::default() };
    let gateway = Gateway::with(setup, api(preserved(&[&backend.url()])));
    let seen = gateway.call(request("GET /a/x", &[("x-forwarded-host", "admin.internal")], "")).await.seen();
    assert_eq!(seen.header("host"), "gateway.example:8080");
    assert_eq!(seen.header("x-forwarded-host"), "admin.internal");
}

#[tokio::test]
async fn a_named_host_replaces_that_of_clients_and_endpoints() {
    let backend = Upstream::start().await;
    // The first endpoint refuses, so that the request goes to the second.
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = Gateway::serving(api(named(&[&format!("http://{refusing}"), &backend.url()])));
    for _ in 0..4 {
        let seen = gateway.get("GET /a/x").await.seen();
        assert_eq!(seen.header("host"), "shop.internal:8443");
        assert_eq!(seen.header("x-forwarded-host"), "gateway.example:8080");
    }
    gateway.change(api(upstream(&[&backend.url()])));
    let seen = gateway.get("GET /a/x").await.seen();
    assert_eq!(seen.header("host"), backend.address.to_string());
    assert_eq!(backend.requests.load(Ordering::SeqCst), 5);
}

/// The `Host` of the first check of an upstream at `listener`.
async fn host_of_check(listener: &TcpListener) -> String {
    let (mut stream, _) = tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut head).await.unwrap() > 0);
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

#[tokio::test]
async fn checks_ask_with_the_named_host_also_after_a_change() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    let checked = |given: runtime::Upstream| {
        let health_check = runtime::HealthCheck {
            path: "/up".to_owned(),
            interval_ms: 20,
            timeout_ms: 5_000,
            unhealthy_after: 2,
            healthy_after: 1,
            expect_status: 0,
        };
        api(runtime::Upstream { health_check: Some(health_check), ..given })
    };
    let gateway = Gateway::serving(checked(named(&[&url])));
    assert_eq!(host_of_check(&listener).await, "shop.internal:8443");
    for other in [upstream(&[&url]), preserved(&[&url])] {
        gateway.change(checked(other));
        // A check of the Upstream as it was may still be on its way.
        eventually("its own authority", async || host_of_check(&listener).await == address.to_string()).await;
    }
}
