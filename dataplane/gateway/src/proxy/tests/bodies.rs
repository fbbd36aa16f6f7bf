//! Bodies both ways: lengths, chunks, trailers, none at all, too much.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::harness::*;
use crate::testbed::*;

fn api(upstream_url: &str) -> Resources {
    let mut route = route(
        "a",
        "/a",
        &["GET /{p}", "POST /{p}", "HEAD /own-head", "GET /{p}/{q}", "PUT /{p}", "DELETE /{p}"],
    );
    route.max_body_bytes = 1_000;
    vec![listener("production", &[]), route_entry(route), upstream_entry("a", upstream(&[upstream_url]))]
}

#[tokio::test]
async fn a_body_of_known_length_stays_one() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let seen = gateway.call(request("POST /a/x", &[], "hello")).await.seen();
    assert_eq!(
        (seen.header("content-length").as_str(), seen.header("transfer-encoding").as_str()),
        ("5", "")
    );
    assert_eq!(seen.body, "hello");
    let seen = gateway.call(request("POST /a/x", &[("content-length", "0")], "")).await.seen();
    assert_eq!(
        (seen.header("content-length").as_str(), seen.header("transfer-encoding").as_str()),
        ("0", "")
    );
    let seen = gateway.call(request("DELETE /a/x", &[], "")).await.seen();
    assert_eq!((seen.header("content-length").as_str(), seen.header("transfer-encoding").as_str()), ("", ""));
}

#[tokio::test]
async fn chunks_and_trailers_pass_both_ways() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let answer = gateway.get("GET /a/chunks").await;
    assert_eq!((answer.body.as_str(), answer.header("transfer-encoding")), ("one two three", "chunked"));

    let answer = gateway.call(request("GET /a/trailers", &[("te", "trailers")], "")).await;
    assert_eq!(answer.body, "data");
    assert_eq!(answer.trailers.unwrap()["x-sum"], "42");

    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", "7".parse().unwrap());
    let frames = [
        Frame::data(Bytes::from_static(b"ab")),
        Frame::data(Bytes::from_static(b"cd")),
        Frame::trailers(trailers),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
    let stream = TcpStream::connect(gateway.http).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::post("/a/x").header("host", "a").header("trailer", "x-check").body(body.boxed()).unwrap();
    let seen = collect(sender.send_request(request).await.unwrap()).await.unwrap().seen();
    assert_eq!((seen.body.as_str(), seen.header("transfer-encoding").as_str()), ("abcd", "chunked"));
    assert_eq!(seen.trailers, [("x-check".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn bodies_without_a_length_pass_whatever_the_method() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let octets = format!(
            "{method} /a/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let text = raw(gateway.http, octets.as_bytes()).await;
        assert!(text.contains("x-received: 5\r\n"), "{method} {text}");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let mut client = Client::connect(gateway.http).await;
    let answer = client.call(request("GET /a/no-content", &[], "")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-length"), answer.header("transfer-encoding")),
        (204, "", "")
    );
    let answer = client.call(request("GET /a/not-modified", &[], "")).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag"), answer.body.as_str()), (304, "\"7\"", ""));
    let answer = client.call(request("HEAD /a/x", &[], "")).await; // by way of GET
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-length"), answer.body.as_str()),
        (200, "1234", "")
    );
    let answer = client.call(request("HEAD /a/own-head", &[], "")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, "1234"));
    let answer = client.call(request("HEAD /a/unknown/path/here", &[], "")).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (404, ""));
    assert_eq!(client.call(request("GET /a/x", &[], "")).await.seen().method, "GET");
}

#[tokio::test]
async fn a_body_announced_too_large_never_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let body: &'static str = Box::leak("x".repeat(1_001).into_boxed_str());
    let answer = gateway.call(request("POST /a/x", &[], body)).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (413, "body-too-large"));
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 0);
    gateway.call(request("POST /a/x", &[], &body[1..])).await.seen();
}

#[tokio::test]
async fn a_chunked_body_is_cut_where_it_gets_too_large() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let mut octets = b"POST /a/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..11 {
        octets.extend_from_slice(b"64\r\n");
        octets.extend_from_slice(&[b'x'; 100]);
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend_from_slice(b"0\r\n\r\n");
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(&octets).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = tokio::time::timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer[..read]);
    assert!(text.starts_with("HTTP/1.1 413 ") && text.contains("urn:hanse:problem:body-too-large"), "{text}");
}

#[tokio::test]
async fn a_client_that_goes_on_sending_still_reads_413() {
    let gateway = Gateway::serving(api("http://127.0.0.1:9"));
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n").await.unwrap();
    // Far more than socket buffers hold: were it reset, writing or reading would fail.
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        for _ in 0..40 {
            writer.write_all(&[b'x'; 100_000]).await.unwrap();
        }
        writer
    });
    let mut text = Vec::new();
    tokio::time::timeout(SOON, reader.read_to_end(&mut text)).await.unwrap().unwrap();
    writing.await.unwrap();
    assert!(text.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn expect_continue_is_answered_by_the_gateway() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(b"POST /a/x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 25];
    tokio::time::timeout(SOON, stream.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("hello") && !answer.contains("expect"),
        "{answer}"
    );
}
