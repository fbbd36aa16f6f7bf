//! Where a message ends: every pairing of framings, from an upstream and from clients of every protocol.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    harness::*,
    tls::{Certificate, certificate, connect},
};

/// A gateway that speaks every protocol.
fn gateway(url: &str) -> (Gateway, Certificate) {
    let own = certificate("gateway.example", &[b"h2", b"http/1.1"]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    (Gateway::with(setup, one_api(url)), own)
}

/// What one client makes of an answer: status, `content-length`, body. `None`: it is cut off.
type Read = Option<(u16, String, String)>;

async fn over_http_1_0(gateway: &Gateway, method: &str) -> Read {
    let text = raw(gateway.http, format!("{method} /a/x HTTP/1.0\r\nhost: a\r\n\r\n").as_bytes()).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let lines: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("content-length: ")).collect();
    assert!(!head.contains("transfer-encoding"), "{text}");
    Some((status, lines.join("|"), body.to_owned()))
}

async fn over_http_1_1(gateway: &Gateway, method: &str) -> Read {
    let mut client = Client::connect(gateway.http).await;
    read(client.try_call(request(&format!("{method} /a/x"), &[], "")).await)
}

async fn over_http_2(gateway: &Gateway, own: &Certificate, method: &str) -> Read {
    let stream = TokioIo::new(connect(gateway, &own.roots, b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let builder = http::Request::builder().method(method).uri("https://gateway.example/a/x");
    let answer = sender.send_request(builder.body(String::new()).unwrap()).await.unwrap();
    read(collect(answer).await)
}

fn read(answer: Result<Answer, hyper::Error>) -> Read {
    let answer = answer.ok()?;
    let lengths: Vec<&str> =
        answer.headers.get_all("content-length").iter().map(|value| value.to_str().unwrap()).collect();
    Some((answer.status.as_u16(), lengths.join("|"), answer.body.clone()))
}

/// `answer` comes to a client of each protocol as this status, these `content-length`s and this body.
async fn check(method: &str, answer: &'static str, wanted: (u16, &str, &str)) {
    let (address, _) = script(answer.as_bytes(), true).await;
    let (gateway, own) = gateway(&format!("http://{address}"));
    for (protocol, read) in [
        ("HTTP/1.0", over_http_1_0(&gateway, method).await),
        ("HTTP/1.1", over_http_1_1(&gateway, method).await),
        ("HTTP/2", over_http_2(&gateway, &own, method).await),
    ] {
        let (status, lengths, body) = read.unwrap_or_else(|| panic!("cut off: {protocol} {answer:?}"));
        assert_eq!((status, &*lengths, &*body), wanted, "{protocol} {method} {answer:?}");
    }
}

/// `answer` is one that no client gets a part of.
async fn refused(method: &str, answer: &'static str) {
    let (address, requests) = script(answer.as_bytes(), true).await;
    let (gateway, own) = gateway(&format!("http://{address}"));
    for (protocol, read) in [
        ("HTTP/1.0", over_http_1_0(&gateway, method).await),
        ("HTTP/1.1", over_http_1_1(&gateway, method).await),
        ("HTTP/2", over_http_2(&gateway, &own, method).await),
    ] {
        let (status, _, body) = read.unwrap_or_else(|| panic!("cut off: {protocol} {answer:?}"));
        assert_eq!(status, 502, "{protocol} {method} {answer:?}");
        assert!(method == "HEAD" || body.contains("upstream-unreachable"), "{protocol} {answer:?} {body}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 3, "none is sent again: {answer:?}");
}

#[tokio::test]
async fn chunks_go_before_a_length() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n6\r\n + six\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nfour\r\n6\r\n + six\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 400\r\n\r\n4\r\nfour\r\n6\r\n + six\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\ncontent-length: x\r\n\r\n4\r\nfour\r\n6\r\n + six\r\n0\r\n\r\n",
    ] {
        check("GET", answer, (200, "", "four + six")).await;
    }
}

#[tokio::test]
async fn a_length_that_is_said_twice_is_said_once() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        check("GET", answer, (200, "2", "ok")).await;
    }
    check("GET", "HTTP/1.0 200 OK\r\n\r\nok", (200, "", "ok")).await;
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_framing_of_one() {
    for framing in ["content-length: 2", "content-length: 2, 2", "transfer-encoding: chunked", "x: y"] {
        for status in ["204 No Content", "304 Not Modified"] {
            let answer = format!("HTTP/1.1 {status}\r\n{framing}\r\n\r\n");
            check("GET", answer.leak(), (status[..3].parse().unwrap(), "", "")).await;
        }
    }
    check("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", (200, "2", "")).await;
    check("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n", (200, "2", "")).await;
    check(
        "HEAD",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        (200, "", ""),
    )
    .await;
}

#[tokio::test]
async fn a_connection_is_not_kept_after_204_with_octets() {
    for (answer, connections) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 1),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 1),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", 2),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", 2),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (gateway, _) = gateway(&format!("http://{}", listener.local_addr().unwrap()));
        let accepted = Arc::new(AtomicUsize::new(0));
        tokio::spawn({
            let accepted = accepted.clone();
            async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(async move {
                        let mut came = Vec::new();
                        while stream.read_buf(&mut came).await.is_ok_and(|read| read > 0) {
                            if came.ends_with(b"\r\n\r\n") {
                                came.clear();
                                stream.write_all(answer.as_bytes()).await.unwrap();
                            }
                        }
                    });
                }
            }
        });
        let mut client = Client::connect(gateway.http).await;
        for _ in 0..2 {
            let answered = client.call(request("GET /a/x", &[], "")).await;
            assert_eq!((answered.status.as_u16(), &*answered.body), (204, ""), "{answer:?}");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), connections, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_with_an_uncertain_end_is_none() {
    for method in ["GET", "HEAD"] {
        for framing in [
            "content-length: 2\r\ncontent-length: 3",
            "content-length: 2, 3",
            "content-length: +2",
            "transfer-encoding: gzip",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\ncontent-length: 2",
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
            refused(method, answer.leak()).await;
        }
    }
    refused("GET", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn an_answer_that_ends_before_its_length_is_cut_off() {
    let (address, _) = script(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok", true).await;
    let (gateway, own) = gateway(&format!("http://{address}"));
    assert_eq!(over_http_1_1(&gateway, "GET").await, None);
    assert_eq!(over_http_2(&gateway, &own, "GET").await, None);
}

#[tokio::test]
async fn a_length_that_an_http_2_request_repeats_reaches_the_upstream_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (gateway, own) = gateway(&format!("http://{}", listener.local_addr().unwrap()));
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut came = Vec::new();
        while !came.ends_with(b"four") {
            assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(came).unwrap()
    });
    let stream = TokioIo::new(connect(&gateway, &own.roots, b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("https://gateway.example/a/x")
        .header("content-length", "4")
        .header("content-length", "4")
        .body("four".to_owned())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    let came = upstream.await.unwrap();
    assert_eq!(came.matches("content-length").count(), 1, "{came}");
}
