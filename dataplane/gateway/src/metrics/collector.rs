//! The counters as Prometheus reads them.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{ApiStats, GatewayMetrics, Histogram, Retry, WorkerMetrics};
use crate::{
    health::{Endpoints, millis},
    problem::Reason,
    proxy::{Connector, Slots},
    tunnel::Outcome,
};

/// Shows a gateway's metrics in a registry.
#[derive(Debug)]
pub struct Collected(pub Arc<GatewayMetrics>, pub Endpoints, pub Arc<Slots>);

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = &*self.0;
        requests(metrics, &mut encoder)?;
        rejected(metrics, &mut encoder)?;
        tunnelled(metrics, &mut encoder)?;
        for (name, help, pick) in [
            (
                "hanse_gateway_request_duration_seconds",
                "From the head of a request to the end of its answer",
                (|worker| &worker.request_seconds) as fn(&WorkerMetrics) -> &Histogram,
            ),
            (
                "hanse_gateway_upstream_duration_seconds",
                "From the choice of an endpoint to the head of its answer",
                |worker| &worker.upstream_seconds,
            ),
        ] {
            let totals = Histogram::totals(metrics.workers.iter().map(|worker| pick(worker)));
            encoder
                .encode_descriptor(name, help, None, MetricType::Histogram)?
                .encode_histogram::<NoLabelSet>(totals.sum, totals.count, &totals.buckets, None)?;
        }
        encoder
            .encode_descriptor(
                "hanse_gateway_active_connections",
                "Client connections open",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&metrics.open_connections())?;
        encoder
            .encode_descriptor(
                "hanse_gateway_upstream_connections",
                "Connections to upstreams open or being opened, those of health checks included",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&(self.2.taken() as i64))?;
        encoder
            .encode_descriptor(
                "hanse_gateway_following",
                "1: what is served follows the configuration; 0: the configuration cannot be compiled",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&i64::from(metrics.following.load(Ordering::Relaxed)))?;
        for (name, help, total) in [
            (
                "hanse_gateway_connections",
                "Client connections accepted",
                metrics.workers.iter().map(|worker| worker.accepted.load(Ordering::Relaxed)).sum(),
            ),
            (
                "hanse_gateway_refused_connections",
                "Client connections refused because too many were open, all with a request in flight",
                metrics.workers.iter().map(|worker| worker.refused_connections.load(Ordering::Relaxed)).sum(),
            ),
            (
                "hanse_gateway_evicted_connections",
                "Client connections without a request in flight closed in favour of newer ones",
                metrics.workers.iter().map(|worker| worker.evicted_connections.load(Ordering::Relaxed)).sum(),
            ),
            (
                "hanse_gateway_failed_handshakes",
                "TLS handshakes that failed or took too long",
                metrics.workers.iter().map(|worker| worker.failed_handshakes.load(Ordering::Relaxed)).sum(),
            ),
            (
                "hanse_gateway_cut_connections",
                "Client connections cut at the end of the drain",
                metrics.workers.iter().map(|worker| worker.cut_connections.load(Ordering::Relaxed)).sum(),
            ),
            (
                "hanse_gateway_upstream_ejections",
                "Endpoints ejected because requests to them failed",
                metrics.workers.iter().map(|worker| worker.ejections.load(Ordering::Relaxed)).sum(),
            ),
            (
                "hanse_gateway_upstream_retry_budget_exhausted",
                "Requests not sent again because too many were",
                metrics
                    .workers
                    .iter()
                    .map(|worker| worker.retry_budget_exhausted.load(Ordering::Relaxed))
                    .sum(),
            ),
            (
                "hanse_gateway_upstream_checks_late",
                "Health checks that had to wait for others by more than a tenth of their interval",
                metrics.checks_late.load(Ordering::Relaxed),
            ),
            (
                "hanse_gateway_upstream_lookups_failed",
                "Lookups of upstreams' names that found no address",
                Connector::failed_lookups(),
            ),
            (
                "hanse_gateway_lost_access_log_lines",
                "Access log lines dropped because the writer was behind or could not write",
                metrics.lost_log_lines.load(Ordering::Relaxed),
            ),
        ] {
            let total: u64 = total;
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, f64>(&total, None)?;
        }
        upstreams(metrics, &self.1, &mut encoder)?;
        scopes(metrics, &mut encoder)
    }
}

fn requests(metrics: &GatewayMetrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "hanse_gateway_requests",
        "Requests answered, by Api and class of status; without an Api where none fitted",
        None,
        MetricType::Counter,
    )?;
    let apis = metrics.apis.load();
    for stats in apis.iter().map(|stats| &**stats).chain([&metrics.unmatched]) {
        let ApiStats { environment, organization, api, .. } = stats;
        for (class, count) in CLASSES.iter().zip(stats.totals()).filter(|(_, count)| *count > 0) {
            let labels = [
                ("environment", &**environment),
                ("organization", &**organization),
                ("api", &**api),
                ("class", *class),
            ];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
    }
    Ok(())
}

fn rejected(metrics: &GatewayMetrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "hanse_gateway_rejected",
        "Answers the gateway gave by itself, by reason",
        None,
        MetricType::Counter,
    )?;
    for reason in Reason::ALL {
        let total: u64 = metrics
            .workers
            .iter()
            .map(|worker| worker.rejected[reason as usize].load(Ordering::Relaxed))
            .sum();
        family
            .encode_family(&[("reason", reason.name())])?
            .encode_counter::<NoLabelSet, _, f64>(&total, None)?;
    }
    Ok(())
}

fn tunnelled(metrics: &GatewayMetrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "hanse_gateway_tunnel_requests",
        "Requests between regions, by direction, the region at the other end, and outcome",
        None,
        MetricType::Counter,
    )?;
    for ((direction, region), counts) in metrics.tunnelled_so_far() {
        for outcome in Outcome::ALL {
            let labels = [
                ("direction", direction.as_str()),
                ("region", region.as_str()),
                ("outcome", outcome.as_str()),
            ];
            let total = counts[outcome as usize];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&total, None)?;
        }
    }
    Ok(())
}

fn upstreams(
    metrics: &GatewayMetrics,
    endpoints: &Endpoints,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "hanse_gateway_upstream_endpoints",
        "Endpoints of upstreams, by how they stand; /upstreams names them",
        None,
        MetricType::Gauge,
    )?;
    for (standing, count) in endpoints.standings(millis(Instant::now())) {
        family.encode_family(&[("health", standing.as_str())])?.encode_gauge(&count)?;
    }
    let mut family = encoder.encode_descriptor(
        "hanse_gateway_upstream_checks",
        "Health checks, by result",
        None,
        MetricType::Counter,
    )?;
    for (result, counter) in [("passed", &metrics.checks_passed), ("failed", &metrics.checks_failed)] {
        let total = counter.load(Ordering::Relaxed);
        family.encode_family(&[("result", result)])?.encode_counter::<NoLabelSet, _, f64>(&total, None)?;
    }
    let mut family = encoder.encode_descriptor(
        "hanse_gateway_upstream_retries",
        "Requests sent again, by reason",
        None,
        MetricType::Counter,
    )?;
    for reason in Retry::ALL {
        let total: u64 = metrics
            .workers
            .iter()
            .map(|worker| worker.retries[reason as usize].load(Ordering::Relaxed))
            .sum();
        family
            .encode_family(&[("reason", reason.as_str())])?
            .encode_counter::<NoLabelSet, _, f64>(&total, None)?;
    }
    Ok(())
}

fn scopes(metrics: &GatewayMetrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let scopes = metrics.scopes.load();
    for (name, help, pick) in [
        (
            "hanse_gateway_config_revision",
            "Revision of the configuration in force",
            (|gauge| gauge.revision) as fn(&super::ScopeGauge) -> u64,
        ),
        ("hanse_gateway_routes", "Routes in force", |gauge| gauge.routes as u64),
        (
            "hanse_gateway_unusable_resources",
            "Resources not in use as received: at their last good version, or at none; and local Routes that do not answer at all their places",
            |gauge| gauge.unusable,
        ),
        (
            "hanse_gateway_waiting_upstreams",
            "Upstreams in use that use no endpoint of the set that they refer to",
            |gauge| gauge.waiting as u64,
        ),
    ] {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for gauge in scopes.iter() {
            family.encode_family(&[("scope", gauge.scope.as_str())])?.encode_gauge(&pick(gauge))?;
        }
    }
    Ok(())
}
