//! Peers that fall silent in the middle of an exchange, and who is blamed.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::harness::*;
use crate::{config::Limits, testbed::*};

fn gateway(limits: Limits, upstream_url: &str, timeout_ms: u64) -> Gateway {
    let mut upstream = upstream(&[upstream_url]);
    upstream.timeout_ms = timeout_ms;
    let resources = vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}", "POST /{p}"])),
        upstream_entry("a", upstream),
    ];
    Gateway::with(Setup { limits, ..Default::default() }, resources)
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut text))
        .await
        .expect("the connection closes")
        .unwrap();
    text
}

const HEAD: &[u8] = b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_slow_upload_does_not_use_up_the_upstreams_time() {
    let upstream = Upstream::start().await;
    let gateway = gateway(Limits::default(), &upstream.url(), 150);
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(HEAD).await.unwrap();
    for octet in b"slow" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(&[*octet]).await.unwrap();
    }
    let text = rest(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("slow"), "{text}");
}

#[tokio::test]
async fn an_upload_that_stops_is_the_clients_fault() {
    let upstream = Upstream::start().await;
    // Longer than the upstream's time, and that long enough to connect on a busy machine.
    let limits = Limits { client_silence_ms: 1_500, ..Default::default() };
    let gateway = gateway(limits, &upstream.url(), 500);
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(HEAD).await.unwrap();
    stream.write_all(b"ab").await.unwrap();
    let text = rest(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("body-timeout"), "{text}");
}

#[tokio::test]
async fn after_the_upload_it_is_the_upstreams_time() {
    let upstream = Upstream::start().await;
    let gateway = gateway(Limits::default(), &upstream.url(), 100);
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(b"POST /a/never HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    eventually("it is under way", async || upstream.requests.load(Ordering::SeqCst) == 1).await;
    stream.write_all(b"abcd").await.unwrap();
    let text = rest(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 504 "), "{text}");
}

#[tokio::test]
async fn an_upstream_that_falls_silent_in_its_answer_is_given_up() {
    let upstream = Upstream::start().await;
    let limits = Limits { answer_silence_ms: 100, ..Default::default() };
    let gateway = gateway(limits, &upstream.url(), 0);
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(b"GET /a/silent HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let text = rest(&mut stream).await;
    assert!(text.contains("first") && !text.ends_with("0\r\n\r\n"), "{text}"); // never looks complete
}
