//! From a change to the first request of it at every gateway.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{ms, publish::Publisher};
use crate::{Client, Role, World, percentile};

/// Between two questions to a gateway: the error of a single figure.
const POLL: Duration = Duration::from_millis(1);
/// A change that takes longer is a fault, not a figure.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// How long changes took with that many Apis present.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Propagation {
    /// Apis present.
    pub(super) apis: usize,
    /// Changes measured.
    pub(super) changes: usize,
    /// From the write's acknowledgement until a request to every gateway was answered by it; zero where gateways were faster.
    pub(super) commit_to_served_p50_ms: f64,
    /// 99 of 100 took no longer.
    pub(super) commit_to_served_p99_ms: f64,
    /// From sending the write.
    pub(super) request_to_served_p50_ms: f64,
    /// 99 of 100 took no longer.
    pub(super) request_to_served_p99_ms: f64,
}

/// Makes so many changes, one after the other, the first of them numbered `first`.
pub(super) async fn measure(
    world: &World,
    publisher: &Publisher,
    apis: usize,
    changes: usize,
    first: usize,
) -> Result<Propagation> {
    let gateways = world.of_role(Role::Gateway);
    let urls = gateways.iter().map(|gateway| world.url(gateway)).collect::<Result<Vec<_>>>()?;
    let (mut from_commit, mut from_request) = (Vec::new(), Vec::new());
    for number in first..first + changes {
        let etag = publisher.probe_etag().await?;
        let began = Instant::now();
        let mut waiting = JoinSet::new();
        for url in &urls {
            let url = format!("{url}{}", Publisher::probe_path(number));
            waiting.spawn(served(world.client().clone(), url));
        }
        publisher.change_probe(&etag, number).await?;
        let committed = Instant::now();
        let mut last = began;
        while let Some(at) = waiting.join_next().await {
            last = last.max(at??);
        }
        from_commit.push(last.saturating_duration_since(committed));
        from_request.push(last.duration_since(began));
    }
    from_commit.sort_unstable();
    from_request.sort_unstable();
    Ok(Propagation {
        apis,
        changes,
        commit_to_served_p50_ms: ms(percentile(&from_commit, 50)),
        commit_to_served_p99_ms: ms(percentile(&from_commit, 99)),
        request_to_served_p50_ms: ms(percentile(&from_request, 50)),
        request_to_served_p99_ms: ms(percentile(&from_request, 99)),
    })
}

/// When this URL was first answered with success.
async fn served(client: Client, url: String) -> Result<Instant> {
    let deadline = Instant::now() + SERVED_WITHIN;
    loop {
        let answer = client.get(&url, &[]).await.context("asking a gateway")?;
        let now = Instant::now();
        if answer.status == 200 {
            return Ok(now);
        }
        ensure!(now < deadline, "{url} is not served after {SERVED_WITHIN:?}: {answer:?}");
        tokio::time::sleep(POLL).await;
    }
}
