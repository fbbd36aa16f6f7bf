//! Upstreams that are slow, absent, or say odd things.

use std::{net::SocketAddr, sync::atomic::Ordering};

use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    backend::*,
    harness::*,
    health::ejections,
    tls::{certificate, connect},
};
use crate::{
    health::{Standing, millis},
    problem::Reason,
    proxy::MAX_ANSWER_HEADERS,
    testbed::*,
};

/// With the default times, which no test comes near on a busy machine: only what is to take too long has a time of its own.
fn api(urls: &[&str]) -> Resources {
    let mut route = route("a", "/a", &["GET /{p}", "POST /{p}", "GET /{p}/slow"]);
    route.operations[2].timeout_ms = 50;
    vec![listener("production", &[]), route_entry(route), upstream_entry("a", upstream(urls))]
}

#[tokio::test]
async fn what_an_upstream_fails_to_do_has_its_status() {
    let upstream = Upstream::start().await;
    let closed = {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", socket.local_addr().unwrap())
    };
    let check = async |resources: Resources, line: &str, status: u16, problem: &str| {
        let answer = Gateway::serving(resources).get(line).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, problem), "{line}");
    };
    check(api(&[&closed]), "GET /a/x", 502, "upstream-unreachable").await;
    check(api(&["http://name.invalid"]), "GET /a/x", 502, "upstream-unreachable").await;
    check(api(&[]), "GET /a/x", 503, "no-endpoint").await;
    let mut hasty = api(&[]);
    let never =
        hanse_proto::runtime::Upstream { timeout_ms: 50, ..crate::testbed::upstream(&[&upstream.url()]) };
    hasty.push(upstream_entry("a", never));
    check(hasty, "GET /a/never", 504, "upstream-timeout").await;
}

#[tokio::test]
async fn connecting_has_a_time_of_its_own() {
    // A listener whose queue is full answers no SYN.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        match tokio::time::timeout(std::time::Duration::from_millis(100), TcpStream::connect(address)).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_elapsed) => break,
        }
    }
    let mut resources = api(&[&format!("http://{address}")]);
    let mut patient = upstream(&[&format!("http://{address}")]);
    patient.connect_timeout_ms = 100; // and 30 s for the answer
    resources.push(upstream_entry("a", patient));
    let begun = std::time::Instant::now();
    let answer = Gateway::serving(resources).get("GET /a/x").await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (504, "upstream-timeout"));
    assert!(begun.elapsed() < SOON);
}

#[tokio::test]
async fn an_operations_timeout_goes_before_its_upstreams() {
    let (silent, _) = script(b"", false).await;
    let mut resources = api(&[]);
    let mut patient = upstream(&[&format!("http://{silent}")]);
    patient.timeout_ms = 600_000;
    resources.push(upstream_entry("a", patient));
    let gateway = Gateway::serving(resources);
    assert_eq!(gateway.get("GET /a/x/slow").await.problem(), "upstream-timeout");
}

#[tokio::test]
async fn endpoints_take_turns() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::serving(api(&[&one.url(), &two.url()]));
    let mut client = Client::connect(gateway.http).await;
    for _ in 0..10 {
        client.call(request("GET /a/x", &[], "")).await.seen();
    }
    assert_eq!((one.requests.load(Ordering::SeqCst), two.requests.load(Ordering::SeqCst)), (5, 5));
    // Each connection was kept and used again.
    assert_eq!((one.connections.load(Ordering::SeqCst), two.connections.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn nothing_is_sent_twice() {
    // The upstream reads a request and closes without an answer: it may have acted on it. On a kept connection that is no
    // different (`kept`).
    let (address, requests) = script(b"", true).await;
    let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
    let answer = gateway.call(request("POST /a/x", &[], "pay")).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (502, "upstream-unreachable"));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_kept_connection_that_closed_meanwhile_costs_nobody_an_error() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (address, requests) = script(answer, true).await;
    let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
    let mut client = Client::connect(gateway.http).await;
    for turn in 1..=20 {
        assert_eq!(client.call(request("GET /a/x", &[], "")).await.body, "ok", "{turn}");
        assert_eq!(requests.load(Ordering::SeqCst), turn);
        // The close is on its way; let it arrive.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn informational_answers_are_passed_over() {
    let (address, _) = script(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        false,
    )
    .await;
    let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
    let mut client = Client::connect(gateway.http).await;
    for _ in 0..3 {
        let answer = client.call(request("GET /a/x", &[], "")).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "ok"));
    }
}

#[tokio::test]
async fn an_upgrade_nobody_asked_for_is_refused() {
    let (address, _) =
        script(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", false).await;
    let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
    let headers = [("upgrade", "x"), ("connection", "upgrade")];
    let answer = gateway.call(request("GET /a/x", &headers, "")).await;
    assert_eq!(answer.problem(), "upstream-unreachable");
}

#[tokio::test]
async fn an_answer_without_length_ends_with_its_connection() {
    let (address, _) = script(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", true).await;
    let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
    let mut client = Client::connect(gateway.http).await;
    for _ in 0..2 {
        assert_eq!(client.call(request("GET /a/x", &[], "")).await.body, "until the end");
    }
}

#[tokio::test]
async fn a_truncated_answer_never_looks_complete() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (address, _) = script(answer, true).await;
        let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
        let result = Client::connect(gateway.http).await.try_call(request("GET /a/x", &[], "")).await;
        assert!(result.is_err(), "{result:?}");
    }
}

#[tokio::test]
async fn octets_after_an_answer_never_become_the_next_one() {
    let (address, _) = script(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        false,
    )
    .await;
    let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
    let mut client = Client::connect(gateway.http).await;
    for _ in 0..20 {
        let answer = client.call(request("GET /a/x", &[], "")).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "ok"));
    }
}

#[tokio::test]
async fn an_early_answer_ends_an_upload() {
    let (address, _) =
        script(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno", false).await;
    let gateway = Gateway::serving(api(&[&format!("http://{address}")]));
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nsome").await.unwrap();
    let mut room = [0; 1_024];
    let read = tokio::time::timeout(SOON, stream.read(&mut room)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&room[..read]);
    assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
}

#[tokio::test]
async fn what_needs_one_connection_too_many_is_told_so_and_no_endpoint_is_blamed() {
    const MOST: usize = 4;
    let (hanging, quick) = (Upstream::start().await, Backend::start().await);
    let ejection = hanse_proto::runtime::Ejection {
        consecutive_failures: 1,
        base_time_ms: 60_000,
        max_ejected_percent: 100,
    };
    let mut resources = api(&[&hanging.url()]);
    resources.push(route_entry(route("b", "/b", &["GET /{p}"])));
    let quick_one = hanse_proto::runtime::Upstream { ejection: Some(ejection), ..upstream(&[&quick.url()]) };
    resources.push(upstream_entry("b", quick_one));
    let setup = Setup { upstream_connections: MOST, workers: 1, ..Default::default() };
    let gateway = Gateway::with(setup, resources);
    // What is kept and not used gives way.
    gateway.get("GET /b/x").await;
    assert_eq!(gateway.slots.taken(), 1);
    let mut busy = Vec::new();
    for _ in 0..MOST {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(b"GET /a/never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        busy.push(stream);
    }
    let arrived = || hanging.requests.load(Ordering::SeqCst);
    eventually("all are under way", async || arrived() == MOST).await;
    assert_eq!(gateway.slots.taken(), MOST);
    for _ in 0..3 {
        let answer = gateway.get("GET /b/x").await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (503, "upstreams-full"));
        assert_eq!(answer.header("retry-after"), "1");
    }
    let rejected = &gateway.metrics.workers[0].rejected[Reason::UpstreamsFull as usize];
    assert_eq!((rejected.load(Ordering::Relaxed), ejections(&gateway), quick.arrived()), (3, 0, 1));
    busy.clear();
    eventually("there is room again", async || gateway.get("GET /b/x").await.status == 200).await;
}

#[tokio::test]
async fn clients_that_take_no_answer_give_their_connections_to_upstreams_away() {
    const MOST: usize = 4;
    let upstream = Upstream::start().await;
    let setup = Setup { upstream_connections: MOST, workers: 1, ..Default::default() };
    let gateway = Gateway::with(setup, api(&[&upstream.url()]));
    let mut untaken = Vec::new();
    for _ in 0..MOST {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(b"GET /a/large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        untaken.push(stream);
    }
    eventually("all are answered", async || upstream.requests.load(Ordering::SeqCst) == MOST).await;
    eventually("another is served", async || gateway.get("GET /a/x").await.status == 200).await;
    let evicted = gateway.metrics.workers[0].evicted_connections.load(Ordering::Relaxed);
    assert!((1..=2).contains(&evicted), "{evicted} lost their connection for one request");
}

#[tokio::test]
async fn checks_have_slots_too_and_an_endpoint_that_cannot_be_asked_stays_as_it_was() {
    let backend = Backend::start().await;
    let health_check = hanse_proto::runtime::HealthCheck {
        path: HEALTH.to_owned(),
        interval_ms: 20,
        timeout_ms: 5_000,
        unhealthy_after: 1,
        healthy_after: 1,
        expect_status: 0,
    };
    let checked =
        hanse_proto::runtime::Upstream { health_check: Some(health_check), ..upstream(&[&backend.url()]) };
    let resources = vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}"])),
        upstream_entry("a", checked),
    ];
    let gateway = Gateway::with(Setup { upstream_connections: 1, ..Default::default() }, resources);
    eventually("it is asked", async || backend.checks() > 0).await;
    let taken = async {
        loop {
            if let Ok(slot) = gateway.slots.take() {
                return slot;
            }
            tokio::task::yield_now().await;
        }
    };
    let slot = tokio::time::timeout(SOON, taken).await.expect("free between two checks");
    let asked = backend.checks();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await; // ten intervals
    assert_eq!(backend.checks(), asked);
    drop(slot);
    eventually("it is asked again", async || backend.checks() > asked).await;
    assert_eq!(gateway.metrics.checks_failed.load(Ordering::Relaxed), 0);
    assert_eq!(gateway.get("GET /a/x").await.status, 200);
}

/// `200 OK` with so many header lines, `content-length` included, in so many octets at least.
fn answer_of(lines: usize, octets: usize) -> &'static [u8] {
    let mut head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n".to_owned();
    let value = "v".repeat(octets / (lines - 1));
    (1..lines).for_each(|number| head.push_str(&format!("x-{number}: {value}\r\n")));
    format!("{head}\r\nok").leak().as_bytes()
}

#[tokio::test]
async fn answers_with_many_headers_pass_on_every_protocol() {
    for (lines, octets) in
        [(100, 0), (101, 0), (200, 0), (MAX_ANSWER_HEADERS, 0), (100, 128 << 10), (2, 200 << 10)]
    {
        let answer = answer_of(lines, octets);
        let (address, _) = script(answer, false).await;
        let own = certificate("gateway.example", &[b"h2"]);
        let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
        let gateway = Gateway::with(setup, api(&[&format!("http://{address}")]));
        let text = raw(gateway.http, b"GET /a/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\nok"), "{lines} {octets}");
        assert!(text.len() >= answer.len(), "{lines} {octets}: {} of {}", text.len(), answer.len());
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(1 << 20)
            .handshake(TokioIo::new(connect(&gateway, &own.roots, b"h2").await))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("https://gateway.example/a/x").body(String::new()).unwrap();
        let answer = collect(sender.send_request(request).await.unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "ok"), "{lines} {octets}");
        assert!(answer.headers.len() >= lines, "{} of {lines}", answer.headers.len());
    }
}

#[tokio::test]
async fn an_answer_over_the_limits_speaks_not_against_its_endpoint() {
    for answer in [answer_of(1_000, 0), answer_of(2, 300 << 10)] {
        let (address, requests) = script(answer, false).await;
        let (other, _) = script(answer, false).await;
        let health_check = hanse_proto::runtime::HealthCheck {
            path: "/up".to_owned(),
            interval_ms: 20,
            timeout_ms: 5_000,
            unhealthy_after: 1,
            healthy_after: 1,
            expect_status: 0,
        };
        let ejection = hanse_proto::runtime::Ejection {
            consecutive_failures: 1,
            base_time_ms: 60_000,
            max_ejected_percent: 100,
        };
        let upstream = hanse_proto::runtime::Upstream {
            health_check: Some(health_check),
            ejection: Some(ejection),
            ..upstream(&[&format!("http://{address}"), &format!("http://{other}")])
        };
        let mut resources = api(&[]);
        resources.push(upstream_entry("a", upstream));
        let gateway = Gateway::serving(resources);
        eventually("checks were answered", async || requests.load(Ordering::SeqCst) > 5).await;
        let mut client = Client::connect(gateway.http).await;
        for _ in 0..10 {
            let answer = client.call(request("GET /a/x", &[], "")).await;
            assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (502, "answer-head-too-large"));
        }
        assert_eq!(ejections(&gateway), 0);
        assert_eq!(gateway.metrics.checks_failed.load(Ordering::Relaxed), 0);
        let endpoints = gateway.endpoints.summary(millis(std::time::Instant::now()));
        assert!(endpoints.iter().all(|one| one.health == Standing::Healthy));
    }
}

#[tokio::test]
async fn a_check_reads_heads_as_requests_do() {
    let (address, requests) = script(answer_of(150, 0), false).await;
    let health_check = hanse_proto::runtime::HealthCheck {
        path: "/up".to_owned(),
        interval_ms: 20,
        timeout_ms: 5_000,
        unhealthy_after: 1,
        healthy_after: 1,
        expect_status: 0,
    };
    let mut resources = api(&[]);
    let checked = hanse_proto::runtime::Upstream {
        health_check: Some(health_check),
        ..upstream(&[&format!("http://{address}")])
    };
    resources.push(upstream_entry("a", checked));
    let gateway = Gateway::serving(resources);
    eventually("checks were answered", async || requests.load(Ordering::SeqCst) > 5).await;
    eventually("they pass", async || gateway.metrics.checks_passed.load(Ordering::Relaxed) > 3).await;
    assert_eq!(gateway.metrics.checks_failed.load(Ordering::Relaxed), 0);
}
