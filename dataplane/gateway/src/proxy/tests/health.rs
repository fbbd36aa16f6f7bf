//! Endpoints that die, come back and fail checks; what is sent again, and what is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_proto::runtime;
use hanse_runtime::EndpointUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{backend::*, harness::*};
use crate::{
    health::{Standing, millis},
    metrics::Retry,
    testbed::*,
};

/// Until an ejected endpoint is tried again: long enough to be seen, short enough to wait for.
const BASE_MS: u64 = 300;

pub(super) fn to(backends: &[&Backend]) -> runtime::Upstream {
    let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    runtime::Upstream {
        ejection: Some(runtime::Ejection {
            consecutive_failures: 5,
            base_time_ms: BASE_MS,
            max_ejected_percent: 50,
        }),
        ..upstream(&urls)
    }
}

/// Never ejects: what a test says of tries must not rest on it.
pub(super) fn patient(backends: &[&Backend]) -> runtime::Upstream {
    runtime::Upstream { ejection: Some(runtime::Ejection::default()), ..to(backends) }
}

fn checked(backends: &[&Backend]) -> runtime::Upstream {
    let health_check = runtime::HealthCheck {
        path: HEALTH.to_owned(),
        interval_ms: 20,
        timeout_ms: 5_000,
        unhealthy_after: 2,
        healthy_after: 2,
        expect_status: 0,
    };
    runtime::Upstream { health_check: Some(health_check), ..patient(backends) }
}

pub(super) fn api(upstream: runtime::Upstream) -> Resources {
    let operations = ["GET /{p}", "POST /{p}", "PUT /{p}", "DELETE /{p}"];
    vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &operations)),
        upstream_entry("a", upstream),
    ]
}

pub(super) async fn gets(gateway: &Gateway, count: usize) {
    let mut client = Client::connect(gateway.http).await;
    for turn in 0..count {
        assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200, "{turn}");
    }
}

pub(super) fn post() -> http::Request<http_body_util::Full<bytes::Bytes>> {
    request("POST /a/x", &[], "pay")
}

pub(super) fn retries(gateway: &Gateway, reason: Retry) -> u64 {
    gateway.metrics.workers.iter().map(|own| own.retries[reason as usize].load(Ordering::Relaxed)).sum()
}

pub(super) fn ejections(gateway: &Gateway) -> u64 {
    gateway.metrics.workers.iter().map(|own| own.ejections.load(Ordering::Relaxed)).sum()
}

fn standing(gateway: &Gateway, standing: Standing) -> u64 {
    let standings = gateway.endpoints.standings(millis(std::time::Instant::now()));
    standings.into_iter().find(|(own, _)| *own == standing).unwrap().1
}

#[tokio::test]
async fn an_endpoint_that_dies_costs_no_idempotent_request_and_is_used_again_when_it_is_back() {
    let (a, mut b) = (Backend::start().await, Backend::start().await);
    let gateway = Gateway::serving(api(to(&[&a, &b])));
    gets(&gateway, 10).await;
    assert_eq!((a.arrived(), b.arrived()), (5, 5));
    b.die().await;
    gets(&gateway, 100).await;
    assert!(ejections(&gateway) >= 1);
    assert!(retries(&gateway, Retry::ConnectFailure) >= 4, "{}", retries(&gateway, Retry::ConnectFailure));
    b.come_back().await;
    let begun = std::time::Instant::now();
    while b.arrived() == 5 {
        gets(&gateway, 2).await;
        assert!(begun.elapsed() < SOON, "never used again");
    }
    assert_eq!(standing(&gateway, Standing::Healthy), 2);
}

#[tokio::test]
async fn an_endpoint_that_dies_and_returns_under_load_costs_no_idempotent_request() {
    const CLIENTS: usize = 8;
    let (a, mut b) = (Backend::start().await, Backend::start().await);
    let gateway = Arc::new(Gateway::serving(api(to(&[&a, &b]))));
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (gateway, stop, answered) = (gateway.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(gateway.http).await;
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let on = async |count: usize| {
        let wanted = answered.load(Ordering::SeqCst) + count;
        eventually("requests go on", async || answered.load(Ordering::SeqCst) >= wanted).await;
    };
    for _ in 0..3 {
        on(200).await;
        b.die().await;
        on(200).await;
        let before = b.arrived();
        b.come_back().await;
        eventually("it is used again", async || b.arrived() > before).await;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(ejections(&gateway) >= 3, "{}", ejections(&gateway));
}

#[tokio::test]
async fn failed_checks_take_an_endpoint_out_and_passed_ones_bring_it_back() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    let gateway = Gateway::serving(api(checked(&[&a, &b])));
    eventually("both are asked", async || a.checks() > 0 && b.checks() > 0).await;
    b.health(500);
    eventually("one is out", async || standing(&gateway, Standing::Unhealthy) == 1).await;
    gets(&gateway, 20).await;
    assert_eq!((a.arrived(), b.arrived()), (20, 0));
    let summary = serde_json::to_value(gateway.endpoints.summary(1)).unwrap();
    let of_b = summary.as_array().unwrap().iter().find(|one| one["url"] == b.url()).unwrap();
    assert_eq!((&of_b["health"], &of_b["lastCheck"]), (&"unhealthy".into(), &"answered 500".into()));
    b.health(204);
    eventually("both are in", async || standing(&gateway, Standing::Healthy) == 2).await;
    gets(&gateway, 20).await;
    assert_eq!((a.arrived(), b.arrived()), (30, 10));
    assert!(gateway.metrics.checks_failed.load(Ordering::Relaxed) >= 2);
    assert!(gateway.metrics.checks_passed.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn a_check_may_expect_one_status_and_a_dead_endpoint_fails_it() {
    let (a, mut b) = (Backend::start().await, Backend::start().await);
    let mut upstream = checked(&[&a, &b]);
    upstream.health_check.as_mut().unwrap().expect_status = 204;
    let gateway = Gateway::serving(api(upstream));
    a.health(204);
    eventually("200 is not 204", async || standing(&gateway, Standing::Unhealthy) == 1).await;
    b.health(204);
    eventually("both pass", async || standing(&gateway, Standing::Healthy) == 2).await;
    b.die().await;
    eventually("the dead one is out", async || standing(&gateway, Standing::Unhealthy) == 1).await;
    let summary = serde_json::to_string(&gateway.endpoints.summary(1)).unwrap();
    assert!(summary.contains("no connection: ") && summary.contains("refused"), "{summary}");
    gets(&gateway, 10).await;
    assert_eq!(a.arrived(), 10);
}

#[tokio::test]
async fn a_hot_swap_keeps_what_is_known_and_checks_end_with_the_last_table() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    let gateway = Gateway::serving(api(checked(&[&a, &b])));
    b.health(500);
    eventually("one is out", async || standing(&gateway, Standing::Unhealthy) == 1).await;
    for timeout_ms in 1_000..1_020 {
        let mut changed = checked(&[&a, &b]);
        changed.timeout_ms = timeout_ms;
        changed.endpoints[0].weight = 2;
        gateway.change(vec![upstream_entry("a", changed)]);
        assert_eq!(standing(&gateway, Standing::Unhealthy), 1);
        gets(&gateway, 3).await;
    }
    assert_eq!((a.arrived(), b.arrived()), (60, 0));
    b.health(200);
    eventually("checks go on", async || standing(&gateway, Standing::Healthy) == 2).await;

    gateway.change(vec![upstream_entry("a", patient(&[&a]))]);
    eventually("b is forgotten", async || standing(&gateway, Standing::Healthy) == 1).await;
    // The checks under way end. Then there are no more.
    let mut before = b.checks();
    let begun = std::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await; // five intervals
        if b.checks() == before {
            break;
        }
        before = b.checks();
        assert!(begun.elapsed() < SOON, "checks never end");
    }
}

#[tokio::test]
async fn when_all_endpoints_look_bad_all_are_used() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    let gateway = Gateway::serving(api(checked(&[&a, &b])));
    a.health(500);
    b.health(500);
    eventually("both are out", async || standing(&gateway, Standing::Unhealthy) == 2).await;
    gets(&gateway, 10).await;
    assert_eq!((a.arrived(), b.arrived()), (5, 5));
}

#[tokio::test]
async fn a_post_whose_connection_dies_after_its_body_is_not_sent_again() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(CLOSES);
    b.answers(CLOSES);
    let mut upstream = patient(&[&a, &b]);
    upstream.retry = Some(runtime::Retry {
        attempts: 5,
        connect_failure: true,
        reset_before_response: true,
        statuses: vec![502, 503, 504],
        ..Default::default()
    });
    let gateway = Gateway::serving(api(upstream));
    let answer = gateway.call(post()).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (502, "upstream-unreachable"));
    assert_eq!([a.arrivals(), b.arrivals()].concat(), ["POST /x HTTP/1.1 pay"]);
    // Nor is one without a body.
    assert_eq!(gateway.call(request("POST /a/x", &[], "")).await.status, 502);
    assert_eq!(a.arrived() + b.arrived(), 2);
    // Statuses change nothing of that.
    a.answers(503);
    b.answers(503);
    assert_eq!(gateway.call(post()).await.status, 503);
    assert_eq!(a.arrived() + b.arrived(), 3);
    // While an idempotent one goes as often as the policy says.
    assert_eq!(gateway.get("DELETE /a/x").await.status, 503);
    assert_eq!(a.arrived() + b.arrived(), 3 + 6);
}

#[tokio::test]
async fn an_idempotent_request_with_a_small_body_is_sent_again_whole_and_one_with_a_large_body_is_not() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(CLOSES);
    let gateway = Gateway::serving(api(patient(&[&a, &b])));
    assert_eq!(gateway.call(request("PUT /a/x", &[], "put")).await.status, 200);
    assert_eq!((a.arrivals(), b.arrivals()), (vec!["PUT /x HTTP/1.1 put".to_owned()], a.arrivals()));
    // In two pieces, of which the second comes late.
    let mut stream = tokio::net::TcpStream::connect(gateway.http).await.unwrap();
    let head = b"PUT /a/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 6\r\n\r\nlat";
    stream.write_all(head).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream.write_all(b"est").await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert_eq!(b.arrivals()[1], "PUT /x HTTP/1.1 latest");
    // What streams goes once. Its turn is the endpoint's that closes.
    while a.arrived() == b.arrived() {
        gateway.call(post()).await;
    }
    let large: &'static str = Box::leak("x".repeat((64 << 10) + 1).into_boxed_str());
    let before = a.arrived() + b.arrived();
    let statuses = [
        gateway.call(request("PUT /a/x", &[], large)).await,
        gateway.call(request("PUT /a/x", &[], large)).await,
    ]
    .map(|answer| answer.status.as_u16());
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
    assert_eq!(a.arrived() + b.arrived(), before + 2);
}

#[tokio::test]
async fn a_post_that_was_refused_a_connection_goes_to_the_other() {
    let (a, mut b) = (Backend::start().await, Backend::start().await);
    b.die().await;
    let gateway = Gateway::serving(api(patient(&[&a, &b])));
    for count in 1..=6 {
        assert_eq!(gateway.call(post()).await.status, 200);
        assert_eq!((a.arrived(), b.arrived()), (count, 0));
    }
    assert_eq!(a.arrivals()[0], "POST /x HTTP/1.1 pay");
    assert_eq!(retries(&gateway, Retry::ConnectFailure), 3);
    // To where the other endpoint has it.
    let mut based = patient(&[&a, &b]);
    based.endpoints[0].base_path += "/one";
    based.endpoints[1].base_path += "/other/";
    gateway.change(vec![upstream_entry("a", based)]);
    for _ in 0..2 {
        assert_eq!(gateway.call(request("POST /a/x?q=1", &[], "pay")).await.status, 200);
    }
    assert_eq!(a.arrivals()[6..], ["POST /one/x?q=1 HTTP/1.1 pay", "POST /one/x?q=1 HTTP/1.1 pay"]);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_the_same_request() {
    let (a, b) = (Upstream::start().await, Backend::start().await);
    b.answers(CLOSES);
    let mut upstream = patient(&[&b]);
    upstream.endpoints.insert(0, EndpointUrl::parse(&format!("{}/base", a.url())).unwrap().to_wire(1));
    let gateway = Gateway::serving(api(upstream));
    let headers = [("x-own", "1"), ("x-own", "2"), ("x-forwarded-for", "9.9.9.9"), ("accept", "x")];
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(gateway.call(request("GET /a/x?q=1", &headers, "")).await.seen());
    }
    assert_eq!((a.requests.load(Ordering::SeqCst), b.arrived()), (2, 1));
    let (second, first) = (seen.pop().unwrap(), seen.pop().unwrap());
    assert_eq!((second.target.as_str(), second.header("host")), ("/base/x?q=1", a.address.to_string()));
    assert_eq!((second.target, second.headers), (first.target, first.headers));
}

#[tokio::test]
async fn an_upstream_may_want_nothing_sent_again() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(CLOSES);
    b.answers(CLOSES);
    let gateway = Gateway::serving(api(runtime::Upstream {
        retry: Some(runtime::Retry::default()),
        ..patient(&[&a, &b])
    }));
    assert_eq!(gateway.get("GET /a/x").await.status, 502);
    assert_eq!(a.arrived() + b.arrived(), 1);
}

#[tokio::test]
async fn statuses_are_tried_again_elsewhere_where_the_policy_says_so() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(503);
    let gateway = Gateway::serving(api(patient(&[&a, &b])));
    assert_eq!(gateway.get("GET /a/x").await.status, 503, "not by default");
    let retry = runtime::Retry { attempts: 1, statuses: vec![503], ..Default::default() };
    gateway.change(api(runtime::Upstream { retry: Some(retry), ..patient(&[&a, &b]) }));
    gets(&gateway, 10).await;
    assert_eq!(retries(&gateway, Retry::ServiceUnavailable), 5);
    // The last answer goes to the client, also if it is a failure.
    b.answers(503);
    assert_eq!(gateway.get("GET /a/x").await.status, 503);
}

#[tokio::test]
async fn one_try_may_have_a_time_of_its_own() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(HANGS);
    let trying = |per_try_timeout_ms: u64| {
        let retry =
            runtime::Retry { attempts: 1, per_try_timeout_ms, statuses: vec![504], ..Default::default() };
        api(runtime::Upstream { retry: Some(retry), ..patient(&[&a, &b]) })
    };
    // Long enough for the one that answers, however busy the machine is.
    let gateway = Gateway::serving(trying(1_000));
    gets(&gateway, 2).await;
    assert_eq!(retries(&gateway, Retry::GatewayTimeout), 1);
    b.answers(HANGS);
    gateway.change(trying(50));
    let answer = gateway.get("GET /a/x").await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (504, "upstream-timeout"));
}

#[tokio::test]
async fn times_beyond_all_clocks_are_none() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(504);
    let retry = runtime::Retry {
        attempts: 1,
        per_try_timeout_ms: u64::MAX,
        statuses: vec![504],
        ..Default::default()
    };
    let upstream = runtime::Upstream {
        retry: Some(retry),
        timeout_ms: u64::MAX,
        connect_timeout_ms: u64::MAX,
        ..to(&[&a, &b])
    };
    let gateway = Gateway::serving(api(upstream.clone()));
    gets(&gateway, 4).await;
    assert_eq!(retries(&gateway, Retry::GatewayTimeout), 2);
    let check = runtime::HealthCheck {
        path: HEALTH.to_owned(),
        interval_ms: 1,
        timeout_ms: 30_000,
        unhealthy_after: u32::MAX,
        healthy_after: u32::MAX,
        expect_status: u16::MAX.into(),
    };
    let ejection =
        runtime::Ejection { consecutive_failures: u32::MAX, base_time_ms: 300_000, max_ejected_percent: 100 };
    let beyond = |check: runtime::HealthCheck, ejection: runtime::Ejection| {
        api(runtime::Upstream { health_check: Some(check), ejection: Some(ejection), ..upstream.clone() })
    };
    // Bounded times are refused beyond their bounds, and the last good version stays.
    gateway.change(beyond(runtime::HealthCheck { timeout_ms: u64::MAX, ..check.clone() }, ejection));
    gateway.change(beyond(check.clone(), runtime::Ejection { base_time_ms: u64::MAX, ..ejection }));
    gateway.change(beyond(check.clone(), runtime::Ejection { max_ejected_percent: 101, ..ejection }));
    gets(&gateway, 4).await;
    assert_eq!(a.checks(), 0);
    gateway.change(beyond(check, ejection));
    eventually("it is asked", async || a.checks() > 1).await;
    gets(&gateway, 4).await;
}

#[tokio::test]
async fn under_total_failure_the_budget_holds() {
    const REQUESTS: usize = 600;
    let a = Backend::start().await;
    a.answers(503);
    let retry = runtime::Retry { attempts: 5, statuses: vec![503], ..Default::default() };
    let gateway = Gateway::serving(api(runtime::Upstream { retry: Some(retry), ..patient(&[&a]) }));
    let mut client = Client::connect(gateway.http).await;
    let begun = std::time::Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 503);
    }
    // A fifth, and ten a second of a window of ten seconds, which is a new one each ten seconds that this takes.
    let windows = 1 + begun.elapsed().as_secs().div_ceil(10) as usize;
    let again = a.arrived() - REQUESTS;
    assert!((100..=windows * 100 + REQUESTS / 5).contains(&again), "{again}");
    let exhausted: u64 =
        gateway.metrics.workers.iter().map(|own| own.retry_budget_exhausted.load(Ordering::Relaxed)).sum();
    assert!(exhausted > 0);
}

#[tokio::test]
async fn clients_faults_are_not_held_against_an_endpoint() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    let gateway = Gateway::serving(api(to(&[&a, &b])));
    for _ in 0..30 {
        let mut stream = tokio::net::TcpStream::connect(gateway.http).await.unwrap();
        let head = b"POST /a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nsome";
        stream.write_all(head).await.unwrap();
        drop(stream);
    }
    let open = || gateway.metrics.open_connections();
    eventually("the clients are gone", async || open() == 0).await;
    assert_eq!((ejections(&gateway), standing(&gateway, Standing::Healthy)), (0, 2));
}
