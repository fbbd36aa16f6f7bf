//! Health checks among many: whose turn it is.

use std::sync::atomic::Ordering;

use hanse_proto::runtime::{self, resource::Kind};

use super::{backend::*, harness::*};
use crate::testbed::*;

fn checked(urls: &[String], interval_ms: u64, timeout_ms: u64) -> runtime::Upstream {
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let health_check = runtime::HealthCheck {
        path: HEALTH.to_owned(),
        interval_ms,
        timeout_ms,
        unhealthy_after: 2,
        healthy_after: 2,
        expect_status: 0,
    };
    runtime::Upstream { health_check: Some(health_check), ..upstream(&urls) }
}

#[tokio::test]
async fn endpoints_that_hang_keep_nobody_elses_from_being_asked() {
    const EACH: usize = 100;
    let slow = Backend::start().await;
    slow.health(HANGS);
    let own = Backend::start().await;
    let late = |gateway: &Gateway| gateway.metrics.checks_late.load(Ordering::Relaxed);
    // Many upstreams of one organization, whose checks last for longer than this test.
    let hanging = |number: usize| {
        let urls: Vec<String> = (0..EACH).map(|each| format!("{}/{number}/{each}", slow.url())).collect();
        upstream_entry(&format!("slow-{number}"), checked(&urls, 20, 30_000))
    };
    let gateway = Gateway::serving(vec![listener("production", &[]), hanging(0)]);
    eventually("it is asked", async || slow.checks() > 0).await;
    eventually("some wait for the others", async || late(&gateway) > 0).await;
    gateway.change((1..5).map(hanging).collect());
    eventually("it has all it may have", async || slow.checks() >= 96).await;
    // The endpoints of another organization are asked all the same.
    let toys = entry("upstream/toys/own", Kind::Upstream(checked(&[own.url()], 20, 5_000)));
    gateway.change(vec![toys]);
    eventually("another's is asked", async || own.checks() > 2).await;
    assert!(slow.checks() <= 96, "{}", slow.checks());
}
