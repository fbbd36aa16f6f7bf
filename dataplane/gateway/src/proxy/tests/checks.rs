//! Health checks among many: whose turn it is.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hanse_proto::runtime::{self, resource::Kind};
use tokio::net::TcpListener;

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

/// Takes connections and never says anything. Counts them.
async fn silent() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let taken = taken.clone();
        async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::SeqCst);
                held.push(stream);
            }
        }
    });
    (address, taken)
}

#[tokio::test]
async fn endpoints_that_hang_keep_nobody_elses_from_being_asked() {
    const EACH: usize = 100;
    let (silent, taken) = silent().await;
    let own = Backend::start().await;
    let late = |gateway: &Gateway| gateway.metrics.checks_late.load(Ordering::Relaxed);
    // Many upstreams of one organization, whose checks last for longer than this test.
    let hanging = |number: usize| {
        let urls: Vec<String> = (0..EACH).map(|each| format!("http://{silent}/{number}/{each}")).collect();
        upstream_entry(&format!("slow-{number}"), checked(&urls, 20, 30_000))
    };
    let gateway = Gateway::serving(vec![hanging(0)]);
    eventually("it is asked", || taken.load(Ordering::SeqCst) > 0).await;
    eventually("some wait for the others", || late(&gateway) > 0).await;
    // Within the organization another upstream is asked,
    let mut asked = Backend::start().await;
    gateway.change(vec![upstream_entry("quick", checked(&[asked.url()], 20, 5_000))]);
    eventually("the same organization's other is asked", || asked.checks() > 2).await;
    asked.die().await;
    gateway.change((1..5).map(hanging).collect());
    eventually("it has all it may have", || taken.load(Ordering::SeqCst) >= 96).await;
    // and other organizations' are asked whatever it does.
    let toys = entry("upstream/toys/own", Kind::Upstream(checked(&[own.url()], 20, 5_000)));
    gateway.change(vec![toys]);
    eventually("another's is asked", || own.checks() > 2).await;
    assert!(taken.load(Ordering::SeqCst) <= 112, "{}", taken.load(Ordering::SeqCst));
}
