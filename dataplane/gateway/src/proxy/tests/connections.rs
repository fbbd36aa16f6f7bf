//! Client connections: reuse, slowness, malformed requests, swaps under load, the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::harness::*;
use crate::{
    config::{Drain, Limits},
    metrics::WorkerMetrics,
    testbed::*,
};

fn api(upstream_url: &str) -> Resources {
    vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}", "POST /{p}"])),
        upstream_entry("a", upstream(&[upstream_url])),
    ]
}

fn connections(gateway: &Gateway) -> i64 {
    gateway.metrics.workers.iter().map(|own| own.connections.load(Ordering::Relaxed)).sum()
}

#[tokio::test]
async fn a_connection_is_used_again_and_counted() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let mut client = Client::connect(gateway.http).await;
    for _ in 0..5 {
        client.call(request("POST /a/x", &[], "body")).await.seen();
        client.call(request("GET /unknown", &[], "")).await;
    }
    assert_eq!(connections(&gateway), 1);
    drop(client);
    eventually("the connection is gone", async || connections(&gateway) == 0).await;
    let accepted: u64 = gateway.metrics.workers.iter().map(|own| own.accepted.load(Ordering::Relaxed)).sum();
    assert_eq!(accepted, 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let text = raw(
        gateway.http,
        b"GET /a/one HTTP/1.1\r\nhost: a\r\n\r\nGET /unknown HTTP/1.1\r\nhost: a\r\n\r\nGET /a/two HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    let places: Vec<usize> =
        ["\"/one\"", "no-route", "\"/two\""].iter().map(|part| text.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{text}");
}

#[tokio::test]
async fn http_1_0_works_with_and_without_a_host() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let text = raw(gateway.http, b"GET /a/x HTTP/1.0\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.0 200 "), "{text}");
    let text = raw(gateway.http, b"GET /a/chunks HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert!(text.ends_with("\r\n\r\none two three") && !text.contains("chunked"), "{text}");
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let limits = Limits { header_timeout_ms: 200, ..Default::default() };
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(Setup { limits, ..Default::default() }, api(&upstream.url()));
    let closes = async |mut stream: TcpStream| {
        let mut rest = Vec::new();
        tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("closed in time").unwrap();
        rest
    };
    // Never says anything.
    assert!(closes(TcpStream::connect(gateway.http).await.unwrap()).await.is_empty());
    // An octet now and then.
    let mut slow = TcpStream::connect(gateway.http).await.unwrap();
    let begun = std::time::Instant::now();
    for octet in b"GET /a/x HTTP/1.1\r\nhost: a\r\nx-slow: ".iter().cycle() {
        if slow.write_all(&[*octet]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(begun.elapsed() < SOON, "never closed");
    }
    // Served once, then idle.
    loop {
        let mut idle = TcpStream::connect(gateway.http).await.unwrap();
        let _ = idle.write_all(b"GET /a/x HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut said = Vec::new();
        let _ = tokio::time::timeout(SOON, idle.read_to_end(&mut said)).await.expect("closed in time");
        if said.starts_with(b"HTTP/1.1 200 ") {
            break;
        }
        // A machine that is busy makes a slow client of this one too.
        assert!(said.is_empty(), "{said:?}");
        assert!(begun.elapsed() < 2 * SOON, "never served");
    }
    eventually("no connection is left", async || connections(&gateway) == 0).await;
}

#[tokio::test]
async fn a_slow_exchange_is_not_a_slow_head() {
    let limits = Limits { header_timeout_ms: 100, ..Default::default() };
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(Setup { limits, ..Default::default() }, api(&upstream.url()));
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    for octet in b"slow" {
        tokio::time::sleep(Duration::from_millis(60)).await;
        stream.write_all(&[*octet]).await.unwrap();
    }
    let mut text = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("slow"), "{text}");
}

#[tokio::test]
async fn ambiguous_framing_reaches_the_upstream_as_one_request_or_not_at_all() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let refused = async |octets: &[u8]| {
        let text = raw(gateway.http, octets).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{} {text:?}", String::from_utf8_lossy(octets));
    };
    refused(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde").await;
    refused(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\nabcd").await;
    refused(b"POST /a/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, x\r\n\r\n0\r\n\r\n").await;
    refused(b"POST /a/x HTTP/1.1\r\nhost: a\r\nx-a: b\r\n folded\r\n\r\n").await;
    refused(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length : 4\r\n\r\nabcd").await;
    refused(b"GET /a/x HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    refused(b"GET /a/x HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    refused(b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 0);
    // Both framings: chunked holds, the length is gone, and the connection ends with the answer, so nothing that
    // follows is taken for a request.
    let text = raw(
        gateway.http,
        b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /a/smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    )
    .await;
    assert!(text.contains("hello") && !text.contains("smuggled"), "{text}");
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn swapping_the_table_drops_no_request() {
    const SWAPS: usize = 100;
    let upstream = Upstream::start().await;
    let gateway = Arc::new(Gateway::serving(api(&upstream.url())));
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (gateway, stop, answered) = (gateway.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(gateway.http).await;
                while !stop.load(Ordering::SeqCst) {
                    client.call(request("GET /a/x", &[], "")).await.seen();
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for swap in 0..SWAPS {
        let mut changed = route("a", "/a", &["GET /{p}", "POST /{p}"]);
        changed.api_revision = swap as u64;
        let other = format!("other-{swap}");
        gateway.change(vec![
            route_entry(changed),
            upstream_entry("a", crate::testbed::upstream(&[&upstream.url()])),
            route_entry(route(&other, &format!("/{other}"), &["GET /"])),
        ]);
        let before = answered.load(Ordering::SeqCst);
        eventually("requests go on", async || answered.load(Ordering::SeqCst) > before).await;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(answered.load(Ordering::SeqCst) >= SWAPS);
}

#[tokio::test]
async fn the_end_waits_for_requests_in_flight_and_for_nobody_else() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::serving(api(&upstream.url()));
    let mut idle = Client::connect(gateway.http).await;
    idle.call(request("GET /a/x", &[], "")).await.seen();
    let mut busy = TcpStream::connect(gateway.http).await.unwrap();
    busy.write_all(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab").await.unwrap();
    eventually("the request is under way", async || upstream.requests.load(Ordering::SeqCst) == 2).await;

    gateway.trigger.trigger();
    let ended = tokio::spawn(gateway.dataplane.take().unwrap().ended());
    eventually("the idle connection is closed", async || connections(&gateway) == 1).await;
    assert!(TcpStream::connect(gateway.http).await.is_err() || connections(&gateway) <= 1);
    busy.write_all(b"cd").await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(SOON, busy.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("abcd"), "{text}");
    tokio::time::timeout(SOON, ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_end_is_announced_before_it_comes() {
    let upstream = Upstream::start().await;
    let drain = Drain { announce_ms: 1_000, limit_ms: 60_000 };
    let mut gateway = Gateway::with(Setup { drain, ..Default::default() }, api(&upstream.url()));
    let mut kept = Client::connect(gateway.http).await;
    assert_eq!(kept.call(request("GET /a/x", &[], "")).await.header("connection"), "");
    let mut busy = TcpStream::connect(gateway.http).await.unwrap();
    busy.write_all(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab").await.unwrap();
    eventually("the request is under way", async || upstream.requests.load(Ordering::SeqCst) == 2).await;

    let begun = std::time::Instant::now();
    gateway.trigger.trigger();
    let ended = tokio::spawn(gateway.dataplane.take().unwrap().ended());
    // New connections are served, and told to go: threads hear of the order within moments.
    while gateway.get("GET /a/x").await.header("connection") != "close" {
        assert!(begun.elapsed() < SOON, "never told to go");
    }
    let answer = kept.call(request("GET /a/x", &[], "")).await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
    assert!(kept.try_call(request("GET /a/x", &[], "")).await.is_err(), "closed, as announced");
    eventually("new connections are refused", async || std::net::TcpStream::connect(gateway.http).is_err())
        .await;
    assert!(begun.elapsed() >= drain.announce(), "{:?}", begun.elapsed());

    busy.write_all(b"cd").await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(SOON, busy.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("abcd"), "{text}");
    assert!(text.contains("connection: close"), "{text}");
    tokio::time::timeout(SOON, ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_was_sent_before_the_order_to_stop_is_answered() {
    const EACH: usize = 16;
    let upstream = Upstream::start().await;
    let gateway = Gateway::serving(api(&upstream.url()));
    let mut streams = Vec::new();
    for _ in 0..EACH {
        let mut kept = TcpStream::connect(gateway.http).await.unwrap();
        kept.write_all(b"GET /unknown HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert!(kept.read_buf(&mut answer).await.unwrap() > 0);
        }
        streams.push(kept);
    }
    for _ in 0..EACH {
        streams.push(TcpStream::connect(gateway.http).await.unwrap());
    }
    for stream in &mut streams {
        stream.write_all(b"GET /a/x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    }
    gateway.trigger.trigger();
    for (number, mut stream) in streams.into_iter().enumerate() {
        let mut text = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{number}: {text:?}");
    }
}

#[tokio::test]
async fn above_the_limit_idle_connections_give_way_and_busy_ones_do_not() {
    let upstream = Upstream::start().await;
    let limits = Limits { max_connections: Some(1), ..Default::default() };
    // One thread: a connection gives way to others of its own thread.
    let gateway = Gateway::with(Setup { limits, workers: 1, ..Default::default() }, api(&upstream.url()));
    let counted = |pick: fn(&WorkerMetrics) -> &AtomicU64| {
        gateway.metrics.workers.iter().map(|own| pick(own).load(Ordering::Relaxed)).sum::<u64>()
    };
    let mut idle = Client::connect(gateway.http).await;
    idle.call(request("GET /a/x", &[], "")).await.seen();
    let mut second = TcpStream::connect(gateway.http).await.unwrap();
    second.write_all(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab").await.unwrap();
    eventually("the idle one is closed", async || idle.try_call(request("GET /a/x", &[], "")).await.is_err())
        .await;
    eventually("half a request arrived", async || upstream.requests.load(Ordering::SeqCst) == 2).await;
    // Half a request is no reason to stay.
    let mut busy = TcpStream::connect(gateway.http).await.unwrap();
    busy.write_all(b"GET /a/never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let gone = tokio::time::timeout(SOON, second.read(&mut [0; 8])).await.expect("closed in time");
    assert_eq!(gone.unwrap_or(0), 0);
    eventually("the busy one's request is under way", async || upstream.requests.load(Ordering::SeqCst) == 3)
        .await;
    assert_eq!((counted(|own| &own.evicted_connections), counted(|own| &own.refused_connections)), (2, 0));

    let mut refused = TcpStream::connect(gateway.http).await.unwrap();
    let read = tokio::time::timeout(SOON, refused.read(&mut [0; 8])).await.expect("closed in time");
    assert_eq!(read.unwrap_or(0), 0);
    assert_eq!((counted(|own| &own.evicted_connections), counted(|own| &own.refused_connections)), (2, 1));
    drop(busy);
    eventually("the busy one is gone", async || connections(&gateway) == 0).await;
    gateway.get("GET /a/x").await.seen();
}

#[tokio::test]
async fn silent_connections_keep_no_client_out() {
    let upstream = Upstream::start().await;
    let limits = Limits { max_connections: Some(40), ..Default::default() };
    let gateway = Gateway::with(Setup { limits, ..Default::default() }, api(&upstream.url()));
    let mut silent = Vec::new();
    for n in 0..400 {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET /a/x HTTP/1.1\r\nhos").await.unwrap();
        }
        silent.push(stream);
        if n % 20 == 0 {
            gateway.get("GET /a/x").await.seen();
        }
    }
    gateway.get("GET /a/x").await.seen();
    // One that gave way is counted until its task has ended.
    eventually("as many as there are places are left", async || (20..=45).contains(&connections(&gateway)))
        .await;
}

/// Few places, on one thread: a connection gives way to others of its own thread.
fn few_places(upstream: &Upstream) -> Gateway {
    let limits = Limits { max_connections: Some(PLACES), ..Default::default() };
    Gateway::with(Setup { limits, workers: 1, ..Default::default() }, api(&upstream.url()))
}

const PLACES: u32 = 8;

/// Connections that say nothing; returns when they have their places.
async fn newcomers(gateway: &Gateway, count: u64) -> Vec<TcpStream> {
    let accepted = || gateway.metrics.workers[0].accepted.load(Ordering::Relaxed);
    let before = accepted();
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(TcpStream::connect(gateway.http).await.unwrap());
    }
    eventually("they have places", async || accepted() >= before + count).await;
    silent
}

#[tokio::test]
async fn answers_that_are_not_taken_keep_no_client_out() {
    let upstream = Upstream::start().await;
    let gateway = few_places(&upstream);
    let mut untaken = Vec::new();
    for _ in 0..PLACES {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(b"GET /a/large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        untaken.push(stream);
    }
    eventually("all are answered", async || upstream.requests.load(Ordering::SeqCst) == PLACES as usize)
        .await;
    for number in 0..2 * PLACES {
        // Until the first of them is full, it is in flight.
        eventually(&format!("client {number} is served"), async || {
            let mut client = Client::connect(gateway.http).await;
            client.try_call(request("GET /a/x", &[], "")).await.is_ok()
        })
        .await;
    }
    assert!(gateway.metrics.workers[0].evicted_connections.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_slow_download_gives_way_after_connections_that_stand_still() {
    const OCTETS: usize = 4 << 20; // more than what the road swallows
    const WINDOW: u32 = 64 << 10;
    let upstream = Upstream::start().await;
    let gateway = few_places(&upstream);
    let mut silent = Vec::new();
    // A small window: the gateway gets on with each read of it, not only when megabytes were read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(WINDOW).unwrap();
    let mut slow = socket.connect(gateway.http).await.unwrap();
    slow.write_all(b"GET /a/large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let (mut got, mut room) = (0, vec![0; 64 << 10]);
    while got < OCTETS {
        let read = tokio::time::timeout(SOON, slow.read(&mut room)).await.expect("more in time").unwrap();
        assert!(read > 0, "cut after {got}");
        got += read;
        silent.extend(newcomers(&gateway, 1).await);
    }
}

#[tokio::test]
async fn a_slow_upload_gives_way_after_connections_that_stand_still() {
    const PARTS: usize = 16;
    let upstream = Upstream::start().await;
    let gateway = few_places(&upstream);
    let mut silent = newcomers(&gateway, PLACES.into()).await;
    let mut slow = TcpStream::connect(gateway.http).await.unwrap();
    let head =
        format!("POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: {PARTS}\r\nconnection: close\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..PARTS {
        silent.extend(newcomers(&gateway, u64::from(PLACES) / 4).await);
        slow.write_all(b"x").await.unwrap();
    }
    let mut text = String::new();
    tokio::time::timeout(SOON, slow.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains(&"x".repeat(PARTS)), "{text}");
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let upstream = Upstream::start().await;
    let drain = Drain { announce_ms: 0, limit_ms: 100 };
    let mut gateway = Gateway::with(Setup { drain, ..Default::default() }, api(&upstream.url()));
    let mut busy = TcpStream::connect(gateway.http).await.unwrap();
    busy.write_all(b"GET /a/never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("the request is under way", async || upstream.requests.load(Ordering::SeqCst) == 1).await;
    gateway.trigger.trigger();
    tokio::time::timeout(SOON, gateway.dataplane.take().unwrap().ended()).await.unwrap().unwrap();
    let cut: u64 =
        gateway.metrics.workers.iter().map(|own| own.cut_connections.load(Ordering::Relaxed)).sum();
    assert_eq!(cut, 1);
}

#[test]
fn a_port_that_somebody_has_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for count in [1, 2] {
        assert!(crate::proxy::bind(taken.local_addr().unwrap(), count).is_err());
    }
    let ours = crate::proxy::bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
    let address = ours[0].local_addr().unwrap();
    assert!(ours.iter().all(|socket| socket.local_addr().unwrap() == address));
    assert!(crate::proxy::bind(address, 3).is_err());
}
