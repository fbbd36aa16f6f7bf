//! Active checks: one task per endpoint that is to be asked, for as long as a table names it.
//!
//! They run on the control runtime, never on a serving thread, and start from what the registry holds: a swapped table
//! that names the same endpoint changes nothing here.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hanse_process::{Shutdown, telemetry::causes};
use http::{HeaderValue, Request, StatusCode, header};
use tokio::task::JoinSet;
use tower::Service as _;
use tracing::{info, warn};

use super::{
    CheckSettings, Endpoints,
    permits::{Permit, Permits},
    registry::CheckTarget,
};
use crate::{
    egress::EgressDenied,
    metrics::GatewayMetrics,
    proxy::{self, Connector, Slots},
};

/// Each wait is longer or shorter by up to this share, so that gateways that started together do not ask together. A check
/// that waits longer for its place is late.
const JITTER_PERCENT: u32 = 10;
/// A first check comes within this time, however long the interval: people wait to see what it finds.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// Who asks, as access logs of upstreams show it.
const USER_AGENT: HeaderValue = HeaderValue::from_static("hanse-health-check");

/// The task that starts checks.
pub(crate) struct HealthChecks {
    endpoints: Endpoints,
    metrics: Arc<GatewayMetrics>,
    slots: Arc<Slots>,
    permits: Permits,
    /// One task per endpoint.
    running: JoinSet<Option<()>>,
}

/// What a check found that does not pass.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("egress-denied: {0}")]
    EgressDenied(EgressDenied),
    #[error("the egress changed while the connection was made")]
    EgressChanged,
    #[error("no answer")]
    Exchange(#[from] hyper::Error),
    #[error("the head of the answer is too large for the gateway")]
    HeadTooLarge(#[source] hyper::Error),
    #[error("no request can be made")]
    Request(#[from] http::Error),
    #[error("answered {0}")]
    Status(u16),
}

/// Results in a row, and what follows from them.
#[derive(Debug, Default)]
struct InARow {
    passed: u32,
    failed: u32,
}

impl HealthChecks {
    /// Each check's connection has one of these slots.
    pub(crate) fn new(endpoints: Endpoints, metrics: Arc<GatewayMetrics>, slots: Arc<Slots>) -> Self {
        Self { endpoints, metrics, slots, permits: Permits::default(), running: JoinSet::new() }
    }

    /// Asks every endpoint that is to be asked, until the shutdown. What a call that ended has begun goes on.
    pub(crate) async fn run(&mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                Some(ended) = self.running.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a health check panicked; its endpoint keeps its last health");
                    }
                }
                targets = self.endpoints.unchecked() => {
                    for target in targets {
                        let gone = target.gone.clone();
                        let asking = ask(target, self.metrics.clone(), self.slots.clone(), self.permits.clone());
                        // A check ends at once when its endpoint goes, also while it waits: checks of what changes often would pile up.
                        self.running.spawn(gone.run_until_cancelled_owned(asking));
                    }
                }
            }
        }
    }
}

/// Asks one endpoint, for as long as there is one.
async fn ask(target: CheckTarget, metrics: Arc<GatewayMetrics>, slots: Arc<Slots>, permits: Permits) {
    let interval = target.settings.interval;
    let mut in_a_row = InARow::default();
    let id = target.endpoint.upgrade().map_or(0, |endpoint| endpoint.id);
    tokio::time::sleep(interval.min(FIRST_WITHIN).mul_f64(fraction(id, 0))).await;
    for round in 1.. {
        let found = {
            let _permit = permit(&target, &metrics, &permits).await;
            check(&target, &slots).await
        };
        let Some(endpoint) = target.endpoint.upgrade() else { return };
        if let Err(error) = &found
            && error.is_ours()
        {
            endpoint.checked(causes(error).to_string());
            drop(endpoint);
            tokio::time::sleep(jittered(interval, id, round)).await;
            continue;
        }
        let counter = if found.is_ok() { &metrics.checks_passed } else { &metrics.checks_failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let verdict = in_a_row.count(found.is_ok(), &target.settings);
        if let Some(healthy) = verdict
            && endpoint.set_healthy(healthy)
        {
            match &found {
                Ok(status) => info!(endpoint = %endpoint.url, %status, "endpoint is healthy again"),
                Err(error) => {
                    warn!(endpoint = %endpoint.url, error = %causes(error), "endpoint is unhealthy")
                }
            }
        }
        endpoint.checked(
            found.map_or_else(|error| causes(&error).to_string(), |status| format!("answered {status}")),
        );
        drop(endpoint);
        tokio::time::sleep(jittered(interval, id, round)).await;
    }
}

/// A place for the next check. Counts it as late while it still waits: it may wait for long.
async fn permit(target: &CheckTarget, metrics: &GatewayMetrics, permits: &Permits) -> Permit {
    let mut acquiring = pin!(permits.acquire(&target.upstream.organization));
    let in_time = target.settings.interval * JITTER_PERCENT / 100;
    if let Ok(permit) = tokio::time::timeout(in_time, acquiring.as_mut()).await {
        return permit;
    }
    metrics.checks_late.fetch_add(1, Ordering::Relaxed);
    acquiring.await
}

async fn check(target: &CheckTarget, slots: &Arc<Slots>) -> Result<u16, CheckError> {
    let timeout = target.settings.timeout;
    let status = tokio::time::timeout(timeout, exchange(target, slots))
        .await
        .map_err(|_elapsed| CheckError::Timeout(timeout))??
        .as_u16();
    let passes = match target.settings.expect_status {
        Some(expected) => status == expected,
        None => (200..400).contains(&status),
    };
    if passes { Ok(status) } else { Err(CheckError::Status(status)) }
}

/// One GET on a connection of its own, over the upstream's TLS settings: a kept one would say nothing of new ones.
async fn exchange(target: &CheckTarget, slots: &Arc<Slots>) -> Result<StatusCode, CheckError> {
    let request = Request::get(target.settings.path.as_str())
        .header(header::HOST, target.asked.host.clone())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(String::new())?;
    let egress = &target.asked.profile.egress;
    let allowed_by = egress.generation(); // before any address is judged
    proxy::judge_literal(egress, &target.asked.origin).map_err(CheckError::EgressDenied)?;
    let _slot = slots.wait().await.map_err(|full| CheckError::Connect(full.into()))?;
    let connecting = Connector::new(&target.asked.profile).call(target.asked.origin.clone());
    let stream = connecting.await.map_err(|error| match EgressDenied::of(&*error) {
        Some(denied) => CheckError::EgressDenied(*denied),
        None => CheckError::Connect(error),
    })?;
    if egress.generation() != allowed_by {
        return Err(CheckError::EgressChanged);
    }
    let (mut sender, connection) = proxy::http1().handshake(stream).await?;
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = answer.as_mut() => answer,
        ended = connection.as_mut() => {
            ended?;
            answer.await
        }
    };
    match answer {
        Ok(answer) => Ok(answer.status()),
        Err(error) if error.is_parse_too_large() => Err(CheckError::HeadTooLarge(error)),
        Err(error) => Err(error.into()),
    }
}

impl CheckError {
    /// Whether it is for want of something of ours that there is no result: it counts neither way.
    fn is_ours(&self) -> bool {
        match self {
            Self::Connect(error) => proxy::is_ours(&**error),
            Self::HeadTooLarge(_) | Self::EgressChanged | Self::EgressDenied(EgressDenied::NoListener) => {
                true
            }
            Self::EgressDenied(_)
            | Self::Timeout(_)
            | Self::Exchange(_)
            | Self::Request(_)
            | Self::Status(_) => false,
        }
    }
}

impl InARow {
    /// One more result. Says how the endpoint is where the results in a row settle it.
    fn count(&mut self, passed: bool, settings: &CheckSettings) -> Option<bool> {
        match passed {
            true => (self.passed, self.failed) = (self.passed.saturating_add(1), 0),
            false => (self.passed, self.failed) = (0, self.failed.saturating_add(1)),
        }
        if self.failed >= settings.unhealthy_after {
            return Some(false);
        }
        (self.passed >= settings.healthy_after).then_some(true)
    }
}

fn jittered(interval: Duration, id: u64, round: u64) -> Duration {
    let share = f64::from(JITTER_PERCENT) / 100.0;
    interval.mul_f64(1.0 - share + 2.0 * share * fraction(id, round))
}

/// From 0 to 1, evenly spread over endpoints, rounds and processes.
fn fraction(id: u64, round: u64) -> f64 {
    let mut bits =
        (id << 32 ^ round ^ u64::from(std::process::id()) << 16).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9); // the finalizer of SplitMix64
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits >> 40) as f64 / (1_u64 << 24) as f64
}

#[cfg(test)]
mod tests {
    use hanse_process::ShutdownTrigger;
    use hanse_proto::runtime;
    use tokio::{runtime::Handle, time::Instant};

    use super::*;
    use crate::{
        table::{ConnectProfiles, Upstream, UpstreamId},
        testbed::{checked, scope, upstream},
    };

    fn hourly() -> runtime::HealthCheck {
        runtime::HealthCheck {
            path: "/".to_owned(),
            interval_ms: 3_600_000,
            timeout_ms: 1_000,
            unhealthy_after: 3,
            healthy_after: 2,
            expect_status: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_of_an_endpoint_end_with_it_and_not_after_their_wait() {
        const ENDPOINTS: usize = 1_000;
        let begun = Instant::now();
        let settles = async |tasks: usize| {
            let alive = || Handle::current().metrics().num_alive_tasks();
            for _ in 0..10 * ENDPOINTS {
                if alive() == tasks {
                    return;
                }
                tokio::task::yield_now().await; // which lets no time pass
            }
            panic!("{} tasks, not {tasks}", alive());
        };
        let (_trigger, shutdown) = ShutdownTrigger::new();
        let endpoints = Endpoints::default();
        let mut checks = HealthChecks::new(endpoints.clone(), GatewayMetrics::new(1), Slots::new(usize::MAX));
        tokio::spawn(async move { checks.run(shutdown).await });
        let mut profiles = ConnectProfiles::over(endpoints);
        let id = UpstreamId::new(&scope("production"), "upstream/default/a");
        let mut one = |url: &str| {
            let given = runtime::Upstream { health_check: Some(hourly()), ..upstream(&[url]) };
            Upstream::new(&id, checked(given), &mut profiles)
        };
        let stays = one("http://127.0.0.1:1");
        let changes: Vec<Upstream> =
            (0..ENDPOINTS).map(|change| one(&format!("http://127.0.0.1:1/{change}"))).collect();
        settles(1 + 1 + ENDPOINTS).await;
        drop(changes);
        settles(1 + 1).await;
        drop(stays);
        settles(1).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[test]
    fn results_in_a_row_settle_it() {
        let given = runtime::Upstream { health_check: Some(hourly()), ..upstream(&[]) };
        let settings = checked(given).check.unwrap();
        let mut in_a_row = InARow::default();
        let mut verdicts = |results: &str| -> Vec<Option<bool>> {
            results.chars().map(|result| in_a_row.count(result == '+', &settings)).collect()
        };
        assert_eq!(verdicts("--+--"), [None; 5]);
        assert_eq!(verdicts("-+-"), [Some(false), None, None]);
        assert_eq!(verdicts("++-"), [None, Some(true), None]);
    }

    #[test]
    fn waits_differ_and_stay_near_the_interval() {
        let waits: Vec<Duration> =
            (0..100).map(|round| jittered(Duration::from_secs(10), 7, round)).collect();
        let bounds = Duration::from_secs(9)..=Duration::from_secs(11);
        assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
        let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
        assert!(distinct.len() > 90);
        assert!(waits.iter().min().unwrap() < &Duration::from_millis(9_300));
    }
}
