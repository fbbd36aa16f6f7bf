//! What proxies before the gateway say of clients, and who is believed.

use std::sync::atomic::Ordering;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    harness::*,
    tls::{certificate, connect_over},
};
use crate::{config::Network, testbed::*};

fn api(url: &str) -> Resources {
    vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}"])),
        route_entry(route("root", "/", &["GET /{p}"])),
        upstream_entry("a", upstream(&[url])),
        upstream_entry("root", upstream(&[url])),
    ]
}

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|&text| text.to_owned().try_into().unwrap()).collect()
}

const SAID: [(&str, &str); 9] = [
    ("x-forwarded-for", "1.1.1.1, 203.0.113.7"),
    ("x-forwarded-host", "the-clients.example"),
    ("x-forwarded-host", "shop.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "444"),
    ("x-forwarded-prefix", "/shop/"),
    ("x-remote-user", "alice"),
    ("x-consumer-id", "7"),
    ("x-original-url", "/admin"),
];

/// What an upstream sees of [`SAID`], and the client in the access log.
async fn seen(trusted: &[&str]) -> (Seen, String) {
    let upstream = Upstream::start().await;
    let log = Log::default();
    let setup = Setup { trusted_proxies: networks(trusted), ..log.setup() };
    let gateway = Gateway::with(setup, api(&upstream.url()));
    let seen = gateway.call(request("GET /a/x", &SAID, "")).await.seen();
    eventually("it is logged", async || log.lines().len() == 1).await;
    let client = log.lines()[0]["client"].as_str().unwrap().to_owned();
    (seen, client)
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let (seen, client) = seen(&["127.0.0.0/8"]).await;
    let check = |name: &str, value: &str| assert_eq!(seen.header(name), value, "{name}");
    check("x-forwarded-for", "1.1.1.1, 203.0.113.7, 127.0.0.1");
    check("x-real-ip", "203.0.113.7");
    check("x-forwarded-host", "shop.example");
    check("x-forwarded-proto", "https");
    check("x-forwarded-port", "444");
    check("x-forwarded-prefix", "/shop/a");
    check("x-remote-user", "alice");
    check("x-consumer-id", "7");
    check("x-original-url", ""); // what would change the path that was decided on is never passed
    assert_eq!(client, "203.0.113.7");
}

#[tokio::test]
async fn a_stranger_says_nothing_of_others() {
    let (seen, client) = seen(&["10.0.0.0/8"]).await;
    let check = |name: &str, value: &str| assert_eq!(seen.header(name), value, "{name}");
    check("x-forwarded-for", "127.0.0.1");
    check("x-real-ip", "127.0.0.1");
    check("x-forwarded-host", "gateway.example:8080");
    check("x-forwarded-proto", "http");
    check("x-forwarded-prefix", "/a");
    for gone in ["x-forwarded-port", "x-remote-user", "x-consumer-id", "x-original-url"] {
        check(gone, "");
    }
    assert_eq!(client, "127.0.0.1");
}

#[tokio::test]
async fn without_proxies_named_the_list_goes_on_and_nothing_else_is_believed() {
    let (seen, client) = seen(&[]).await;
    let check = |name: &str, value: &str| assert_eq!(seen.header(name), value, "{name}");
    check("x-forwarded-for", "1.1.1.1, 203.0.113.7, 127.0.0.1");
    check("x-real-ip", "127.0.0.1");
    check("x-forwarded-host", "gateway.example:8080");
    check("x-forwarded-prefix", "/a");
    check("x-remote-user", "");
    assert_eq!(client, "127.0.0.1");
}

#[tokio::test]
async fn the_prefix_is_what_was_taken_off_the_path_as_it_was_written() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    for (target, wanted, prefix) in [("/a/x", "/x", "/a"), ("/%61/x", "/x", "/%61"), ("/x", "/x", "")] {
        let seen = gateway.get(&format!("GET {target}")).await.seen();
        assert_eq!((&*seen.target, &*seen.header("x-forwarded-prefix")), (wanted, prefix), "{target}");
    }
}

const FOUR: &str = "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";
const SIX: &str = "PROXY TCP6 2001:db8::7 ::1 56324 443\r\n";

fn version_2(command: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, 0x11], &length, rest].concat()
}

const ADDRESSES: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 0x04, 1, 0xbb];

fn behind_a_balancer(url: &str, trusted: &[&str]) -> Gateway {
    let setup = Setup { trusted_proxies: networks(trusted), proxy_protocol: true, ..Default::default() };
    Gateway::with(setup, api(url))
}

#[tokio::test]
async fn a_proxy_header_says_whose_the_connection_is() {
    let upstream = Upstream::start().await;
    let gateway = behind_a_balancer(&upstream.url(), &["127.0.0.1"]);
    let longest = [ADDRESSES.as_slice(), &[4; 536 - 16 - 12]].concat();
    for (header, wanted) in [
        (FOUR.as_bytes().to_vec(), "203.0.113.7"),
        (SIX.as_bytes().to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "0.0.0.0"),
        (version_2(0x21, &ADDRESSES), "203.0.113.9"),
        (version_2(0x21, &longest), "203.0.113.9"),
        (version_2(0x20, &[]), "127.0.0.1"),
    ] {
        for part in [1, 7, usize::MAX] {
            let mut octets = header.clone();
            octets.extend(
                b"GET /a/x HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 9.9.9.9\r\nconnection: close\r\n\r\n",
            );
            let mut stream = TcpStream::connect(gateway.http).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for part in octets.chunks(part) {
                stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut text = String::new();
            tokio::time::timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
            let seen = format!("[\"x-real-ip\",\"{wanted}\"]");
            // A client that a balancer announces is a stranger itself; a connection of the balancer's own is not.
            let seen = if wanted == "127.0.0.1" { "[\"x-real-ip\",\"9.9.9.9\"]".to_owned() } else { seen };
            assert!(
                text.starts_with("HTTP/1.1 200 ") && text.contains(&seen),
                "{header:?} by {part}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_proxy_header_comes_before_tls() {
    let upstream = Upstream::start().await;
    let own = certificate("gateway.example", &[b"http/1.1"]);
    let setup = Setup {
        tls: Some(own.server.clone()),
        trusted_proxies: networks(&["127.0.0.1"]),
        proxy_protocol: true,
        ..Default::default()
    };
    let gateway = Gateway::with(setup, api(&upstream.url()));
    let mut stream = TcpStream::connect(gateway.https.unwrap()).await.unwrap();
    stream.write_all(FOUR.as_bytes()).await.unwrap();
    let mut client = Client::over(connect_over(stream, &own.roots, b"http/1.1").await).await;
    let seen = client.call(request("GET /a/x", &[], "")).await.seen();
    assert_eq!(seen.header("x-real-ip"), "203.0.113.7");
}

#[tokio::test]
async fn without_a_header_of_a_trusted_proxy_there_is_no_connection() {
    let upstream = Upstream::start().await;
    let refused = |gateway: &Gateway| -> u64 {
        gateway.metrics.workers.iter().map(|own| own.refused_connections.load(Ordering::Relaxed)).sum()
    };
    let get = b"GET /a/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".as_slice();
    let gateway = behind_a_balancer(&upstream.url(), &["127.0.0.1"]);
    let too_long = version_2(0x21, &[ADDRESSES.as_slice(), &[4; 537 - 16 - 12]].concat());
    let endless = format!("PROXY TCP4 {}", "1".repeat(200)).into_bytes();
    for (turn, header) in
        [b"".to_vec(), too_long, endless, b"PROXY TCP4 a b c d\r\n".to_vec()].into_iter().enumerate()
    {
        let octets = [&header[..], get].concat();
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(&octets).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed"); // or reset
        assert!(answer.is_empty(), "{header:?}: {answer:?}");
        eventually("it is counted", async || refused(&gateway) == turn as u64 + 1).await;
    }
    // A stranger's header is not read.
    let gateway = behind_a_balancer(&upstream.url(), &["10.0.0.0/8"]);
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    let _ = stream.write_all(&[FOUR.as_bytes(), get].concat()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(answer.is_empty(), "{answer:?}");
    assert_eq!((refused(&gateway), upstream.requests.load(Ordering::SeqCst)), (1, 0));
}
