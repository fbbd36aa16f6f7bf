//! Where a gateway connects, and where it does not.

use std::sync::atomic::Ordering;

use hanse_proto::runtime;

use super::{backend::*, harness::*, health};
use crate::{
    health::{Standing, millis},
    metrics::Retry,
    problem::Reason,
    testbed::*,
};

fn rejected(gateway: &Gateway) -> u64 {
    let of = Reason::EgressDenied as usize;
    gateway.metrics.workers.iter().map(|own| own.rejected[of].load(Ordering::Relaxed)).sum()
}

fn denying(networks: &[&str]) -> Resources {
    vec![closed_listener("production", networks)]
}

async fn denied(gateway: &Gateway) {
    let answer = gateway.get("GET /a/x").await;
    assert_eq!((answer.status.as_u16(), &*answer.problem()), (502, "egress-denied"));
    assert!(!answer.body.contains("127."), "clients learn no address: {}", answer.body);
}

#[tokio::test]
async fn a_denied_endpoint_is_answered_by_the_gateway_counted_and_not_ejected() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    let gateway = Gateway::serving(health::api(health::to(&[&a, &b])));
    gateway.change(denying(&["127.0.0.0/8"]));
    for _ in 0..10 {
        denied(&gateway).await;
    }
    assert_eq!((a.arrived() + b.arrived(), rejected(&gateway)), (0, 10));
    assert_eq!(health::ejections(&gateway), 0);
    let healthy = gateway.endpoints.standings(millis(std::time::Instant::now()))[0];
    assert_eq!(healthy, (Standing::Healthy, 2));
}

#[tokio::test]
async fn another_endpoint_takes_the_place_of_a_denied_one_and_that_is_no_retry() {
    let (own, other) = (Backend::start().await, "http://127.0.0.2:9");
    let given = runtime::Upstream {
        retry: Some(runtime::Retry::default()), // nothing is sent again
        ..upstream(&[other, &own.url()])
    };
    let gateway = Gateway::serving(health::api(given));
    gateway.change(denying(&["127.0.0.2/32"]));
    health::gets(&gateway, 10).await;
    for _ in 0..10 {
        assert_eq!(gateway.call(health::post()).await.status, 200);
    }
    assert_eq!((own.arrived(), rejected(&gateway)), (20, 0));
    assert_eq!(health::retries(&gateway, Retry::ConnectFailure), 0);
}

#[tokio::test]
async fn a_denied_endpoint_takes_none_of_the_attempts() {
    let (own, mut dead) = (Backend::start().await, Backend::start().await);
    dead.die().await;
    let given = runtime::Upstream {
        retry: Some(runtime::Retry { attempts: 1, connect_failure: true, ..Default::default() }),
        ..upstream(&["http://127.0.0.2:9", &dead.url(), &own.url()])
    };
    let gateway = Gateway::serving(health::api(given));
    gateway.change(denying(&["127.0.0.2/32"]));
    health::gets(&gateway, 6).await;
    assert!(health::retries(&gateway, Retry::ConnectFailure) > 0, "it met the one that is dead");
}

/// Two endpoints at this machine, and one that is denied.
fn beside_a_denied_one(endpoints: &[&Backend], retry: runtime::Retry) -> runtime::Upstream {
    let mut given = health::patient(endpoints);
    given.endpoints.extend(upstream(&["http://127.0.0.2:9"]).endpoints);
    runtime::Upstream { retry: Some(retry), ..given }
}

#[tokio::test]
async fn a_denied_endpoint_takes_no_retry_away_and_replaces_no_answer() {
    let retry =
        runtime::Retry { attempts: 1, statuses: vec![503], connect_failure: true, ..Default::default() };
    let mut own = Backend::start().await;
    own.answers(503);
    let gateway = Gateway::serving(health::api(beside_a_denied_one(&[&own], retry)));
    gateway.change(denying(&["127.0.0.2/32"]));
    for turn in 1..=4 {
        let answer = gateway.get("GET /a/x").await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert_eq!(own.arrived(), 2 * turn, "it is asked once more, as if it were alone");
    }
    own.die().await;
    for _ in 0..4 {
        assert_eq!(gateway.get("GET /a/x").await.problem(), "upstream-unreachable");
    }
    assert_eq!(rejected(&gateway), 0);
}

#[tokio::test]
async fn denied_endpoints_take_no_part_in_the_bound_of_attempts() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(503);
    b.answers(503);
    let retry = runtime::Retry { attempts: 2, statuses: vec![503], ..Default::default() };
    let mut given = beside_a_denied_one(&[], retry);
    let denied = ["http://127.0.0.2:1", "http://127.0.0.2:2", "http://127.0.0.2:3", "http://127.0.0.2:4"];
    given.endpoints.extend(upstream(&denied).endpoints);
    given.endpoints.extend(upstream(&[&a.url(), &b.url()]).endpoints);
    let gateway = Gateway::serving(health::api(given));
    gateway.change(denying(&["127.0.0.2/32"]));
    assert_eq!(gateway.get("GET /a/x").await.status, 503);
    assert_eq!(a.arrived() + b.arrived(), 3);
}

#[tokio::test]
async fn a_denied_address_waits_for_no_connection_to_be_free() {
    let backend = Backend::start().await;
    let setup = Setup { upstream_connections: 1, ..Default::default() };
    let gateway = Gateway::with(setup, health::api(health::to(&[&backend])));
    gateway.change(denying(&["127.0.0.0/8"]));
    let _taken = gateway.slots.take().unwrap();
    denied(&gateway).await;
}

#[tokio::test]
async fn a_change_holds_for_kept_connections_at_once_and_a_request_under_way_ends() {
    let there = Upstream::start().await;
    let gateway = Gateway::serving(one_api(&there.url()));
    let mut client = Client::connect(gateway.http).await;
    for _ in 0..2 {
        assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
    }
    assert_eq!(there.connections.load(Ordering::SeqCst), 1, "it is kept");
    gateway.change(denying(&["127.0.0.0/8"]));
    let answer = client.call(request("GET /a/x", &[], "")).await;
    assert_eq!(answer.problem(), "egress-denied");
    assert_eq!(there.requests.load(Ordering::SeqCst), 2);
    gateway.change(vec![listener("production", &[])]);
    assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);

    let slow = Backend::start().await;
    slow.answers(HANGS);
    gateway.change(vec![upstream_entry("a", upstream(&[&slow.url()]))]);
    let under_way = tokio::spawn({
        let address = gateway.http;
        async move { Client::connect(address).await.call(request("GET /a/x", &[], "")).await }
    });
    eventually("it is under way", async || slow.arrived() == 1).await;
    gateway.change(denying(&["127.0.0.0/8"]));
    denied(&gateway).await;
    assert!(!under_way.is_finished(), "its connection was not cut");
    under_way.abort();
}

fn asked(upstream: runtime::Upstream) -> runtime::Upstream {
    let health_check = runtime::HealthCheck {
        path: HEALTH.to_owned(),
        interval_ms: 20,
        timeout_ms: 5_000,
        unhealthy_after: 2,
        healthy_after: 2,
        expect_status: 0,
    };
    runtime::Upstream { health_check: Some(health_check), ..upstream }
}

/// The control plane never sees the addresses of a set: the gateway alone judges them.
#[tokio::test]
async fn an_address_that_an_origin_publishes_is_denied_as_any_other() {
    let backend = Backend::start().await;
    let from = runtime::EndpointsFrom { origin: "east".to_owned(), name: "pods".to_owned() };
    let given = runtime::Upstream { endpoints_from: Some(from), ..asked(upstream(&[])) };
    let gateway = Gateway::serving(health::api(given));
    gateway.change(denying(&["127.0.0.0/8"]));
    assert_eq!(gateway.get("GET /a/x").await.problem(), "no-endpoint");
    gateway.publish_set(&[&backend.url()]);
    denied(&gateway).await;
    let summary = || {
        let summary = gateway.endpoints.summary(millis(std::time::Instant::now()));
        serde_json::to_value(&summary[0]).unwrap()
    };
    eventually("its checks are denied, too", async || summary()["health"] == "unhealthy").await;
    assert_eq!((backend.arrived(), backend.checks()), (0, 0));
    gateway.change(vec![listener("production", &[])]);
    health::gets(&gateway, 3).await;
    assert_eq!(backend.arrived(), 3);
}

#[tokio::test]
async fn checks_of_a_denied_address_fail_with_that_reason() {
    let backend = Backend::start().await;
    let given = asked(upstream(&[&backend.url()]));
    let mut resources = health::api(given);
    resources[0] = closed_listener("production", &["127.0.0.0/8"]);
    let gateway = Gateway::serving(resources);
    let summary = || {
        let summary = gateway.endpoints.summary(millis(std::time::Instant::now()));
        serde_json::to_value(&summary[0]).unwrap()
    };
    eventually("it is unhealthy", async || summary()["health"] == "unhealthy").await;
    assert_eq!(summary()["lastCheck"], "egress-denied: egress denies 127.0.0.1: it is in 127.0.0.0/8");
    assert_eq!(backend.checks(), 0);
    gateway.change(vec![listener("production", &[])]);
    eventually("it is healthy", async || summary()["health"] == "healthy").await;
    gateway.change(denying(&["127.0.0.0/8"]));
    eventually("it is unhealthy again", async || summary()["health"] == "unhealthy").await;
}

#[tokio::test]
async fn a_gateway_never_calls_itself() {
    let backend = Backend::start().await;
    let gateway = Gateway::serving(one_api(&backend.url()));
    gateway.endpoints.own_listeners().set(vec![gateway.http, "0.0.0.0:9".parse().unwrap()]);
    for url in [
        format!("http://{}", gateway.http),
        format!("http://0.0.0.0:{}", gateway.http.port()),
        format!("http://localhost:{}", gateway.http.port()),
        "http://127.9.9.9:9".to_owned(),
    ] {
        gateway.change(vec![upstream_entry("a", upstream(&[&url]))]);
        // `localhost` has an address of IPv6, too, where nothing listens.
        gateway.change(denying(&["::1/128"]));
        denied(&gateway).await;
    }
    gateway.change(vec![upstream_entry("a", upstream(&[&backend.url()]))]);
    assert_eq!(gateway.get("GET /a/x").await.status, 200);
}

#[tokio::test]
async fn the_egress_goes_with_its_listener() {
    let backend = Backend::start().await;
    let gateway = Gateway::serving(one_api(&backend.url()));
    assert_eq!(gateway.get("GET /a/x").await.status, 200);
    let egress = gateway.endpoints.egress(scope("production").environment());
    gateway.remove("listener/production");
    let address = backend.address;
    assert!(egress.judge(address).is_err());
}
