use std::time::Duration;

use prometheus_client::{encoding::text, registry::Registry};

use super::*;

#[test]
fn counters_of_all_threads_are_shown_as_one() {
    let metrics = GatewayMetrics::new(2);
    let production = Name::new("production").unwrap();
    let orders = Arc::new(ApiStats::new(Some(&production), "default", "orders"));
    orders.count(0, StatusCode::OK);
    orders.count(1, StatusCode::NO_CONTENT);
    orders.count(1, StatusCode::TOO_MANY_REQUESTS);
    metrics.unmatched.count(0, StatusCode::NOT_FOUND);
    metrics.serve(
        Arc::new(vec![orders]),
        vec![ScopeGauge {
            scope: "runtime/eu-west/production".to_owned(),
            revision: 42,
            routes: 1,
            unusable: 0,
            waiting: 2,
        }],
    );
    metrics.workers[0].request_seconds.observe(Duration::from_millis(3));
    metrics.workers[1].request_seconds.observe(Duration::from_secs(60));
    metrics.workers[1].rejected[Reason::OverPlan as usize].fetch_add(1, Ordering::Relaxed);
    metrics.checks_late.fetch_add(3, Ordering::Relaxed);

    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(
        metrics,
        crate::health::Endpoints::default(),
        crate::proxy::Slots::new(1),
    )));
    let mut shown = String::new();
    text::encode(&mut shown, &registry).unwrap();
    for line in [
        r#"hanse_gateway_requests_total{environment="production",organization="default",api="orders",class="2xx"} 2"#,
        r#"hanse_gateway_requests_total{environment="production",organization="default",api="orders",class="4xx"} 1"#,
        r#"hanse_gateway_requests_total{environment="",organization="",api="",class="4xx"} 1"#,
        r#"hanse_gateway_rejected_total{reason="over-plan"} 1"#,
        r#"hanse_gateway_request_duration_seconds_count 2"#,
        r#"hanse_gateway_request_duration_seconds_bucket{le="0.005"} 1"#,
        r#"hanse_gateway_request_duration_seconds_bucket{le="+Inf"} 2"#,
        r#"hanse_gateway_upstream_checks_late_total 3"#,
        r#"hanse_gateway_upstream_lookups_failed_total "#,
        r#"hanse_gateway_active_connections 0"#,
        r#"hanse_gateway_config_revision{scope="runtime/eu-west/production"} 42"#,
        r#"hanse_gateway_waiting_upstreams{scope="runtime/eu-west/production"} 2"#,
    ] {
        assert!(shown.contains(line), "{line}\nnot in\n{shown}");
    }
    assert_eq!(shown.matches(r#"api="orders",class="2xx""#).count(), 1, "a series is shown once");
}

#[test]
fn a_thread_that_hangs_is_noticed() {
    let metrics = GatewayMetrics::new(2);
    assert!(metrics.turns(99_999), "neither has begun");
    metrics.workers[0].pulse.store(1_000, Ordering::Relaxed);
    metrics.workers[1].pulse.store(9_000, Ordering::Relaxed);
    assert!(metrics.turns(10_999));
    assert!(!metrics.turns(11_000), "the first has not turned for ten seconds");
}
