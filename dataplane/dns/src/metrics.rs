//! What a responder counts. Serving threads count on their own; sums are made when the metrics are read.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use hanse_dns_wire::Transport;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::respond::{Outcome, Response};

/// Upper bounds in microseconds: from an answer out of memory to a thread that had no turn. The last bucket has no bound.
const BOUNDS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 25_000];

/// Every counter of the process.
#[derive(Debug)]
pub(crate) struct DnsMetrics {
    /// Of each serving thread.
    pub(crate) threads: Vec<Arc<ThreadMetrics>>,
    /// TCP connections open. Those of all threads count against one bound.
    pub(crate) connections: AtomicI64,
    /// Zones that are on their way to secondaries. Those of all threads count against one bound.
    pub(crate) transfers: AtomicI64,
    /// NOTIFYs that secondaries took, and those that they did not after the last attempt.
    pub(crate) notified: AtomicU64,
    pub(crate) unnotified: AtomicU64,
    /// 1: what is answered follows the configuration.
    pub(crate) following: AtomicI64,
    /// TSIG keys that zones name and the configuration lacks.
    pub(crate) missing_keys: AtomicI64,
}

/// What one serving thread counts.
#[derive(Debug, Default)]
pub(crate) struct ThreadMetrics {
    queries: [[AtomicU64; Outcome::ALL.len()]; 2],
    fallbacks: AtomicU64,
    refused_connections: AtomicU64,
    broken_transfers: AtomicU64,
    durations: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl DnsMetrics {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| Arc::default()).collect(),
            connections: AtomicI64::new(0),
            transfers: AtomicI64::new(0),
            notified: AtomicU64::new(0),
            unnotified: AtomicU64::new(0),
            following: AtomicI64::new(1),
            missing_keys: AtomicI64::new(0),
        }
    }

    fn sum(&self, counter: impl Fn(&ThreadMetrics) -> &AtomicU64) -> u64 {
        self.threads.iter().map(|thread| counter(thread).load(Ordering::Relaxed)).sum()
    }
}

impl ThreadMetrics {
    /// Counts a query that was answered, or not.
    pub(crate) fn count(&self, transport: Transport, response: &Response, took: Duration) {
        self.queries[place(transport)][response.outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.fallbacks.fetch_add(response.fell_back.into(), Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        self.durations[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Counts a connection that was closed because too many were open.
    pub(crate) fn refuse_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transfer that did not come to its end.
    pub(crate) fn break_transfer(&self) {
        self.broken_transfers.fetch_add(1, Ordering::Relaxed);
    }
}

fn place(transport: Transport) -> usize {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
    }
}

/// Shows a responder's metrics in a registry.
#[derive(Debug)]
pub(crate) struct Collected(pub(crate) Arc<DnsMetrics>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = &*self.0;
        let (name, help) = ("hanse_dns_queries", "Queries, by how they came and what became of them");
        let mut queries = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (transport, name) in [(Transport::Udp, "udp"), (Transport::Tcp, "tcp")] {
            for outcome in Outcome::ALL {
                let count = metrics.sum(|thread| &thread.queries[place(transport)][outcome as usize]);
                let labels = [("transport", name), ("outcome", outcome.as_str())];
                ConstCounter::new(count).encode(queries.encode_family(&labels)?)?;
            }
        }
        let buckets: Vec<(f64, u64)> = BOUNDS
            .iter()
            .map(|&micros| micros as f64 / 1e6)
            .chain([f64::INFINITY])
            .enumerate()
            .map(|(at, bound)| (bound, metrics.sum(|thread| &thread.durations[at])))
            .collect();
        let sum = metrics.sum(|thread| &thread.nanoseconds) as f64 / 1e9;
        let count = buckets.iter().map(|(_, count)| count).sum();
        let (name, help) =
            ("hanse_dns_answer_duration_seconds", "From a query to its answer, without the network");
        encoder
            .encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        for (name, help, total) in [
            (
                "hanse_dns_fallback_answers",
                "Answers that the rule never-empty gave because a policy failed or gave none",
                metrics.sum(|thread| &thread.fallbacks),
            ),
            (
                "hanse_dns_refused_connections",
                "TCP connections closed at once because too many were open",
                metrics.sum(|thread| &thread.refused_connections),
            ),
            (
                "hanse_dns_notified",
                "Serials that secondaries were told of and took note of",
                metrics.notified.load(Ordering::Relaxed),
            ),
            (
                "hanse_dns_unnotified",
                "Serials that secondaries did not take note of after the last attempt",
                metrics.unnotified.load(Ordering::Relaxed),
            ),
            (
                "hanse_dns_broken_transfers",
                "Transfers of zones that did not come to their end, or were put off because too many ran",
                metrics.sum(|thread| &thread.broken_transfers),
            ),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(total).encode(counter)?;
        }
        for (name, help, value) in [
            ("hanse_dns_connections", "TCP connections open", &metrics.connections),
            ("hanse_dns_transfers", "Zones on their way to secondaries", &metrics.transfers),
            (
                "hanse_dns_missing_keys",
                "TSIG keys that DnsZones name and the configuration lacks",
                &metrics.missing_keys,
            ),
            (
                "hanse_dns_following",
                "1: what is answered follows the configuration; 0: the configuration cannot be compiled",
                &metrics.following,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hanse_process::Metrics;

    use super::*;

    #[test]
    fn what_threads_count_is_one_sum() {
        let metrics = Arc::new(DnsMetrics::new(2));
        let response = |outcome| Response { fell_back: true, ..Response::of(None, outcome) };
        for thread in &metrics.threads {
            thread.count(Transport::Tcp, &response(Outcome::NoData), Duration::from_micros(7));
        }
        metrics.threads[1].count(Transport::Udp, &response(Outcome::Records), Duration::from_secs(1));
        let shown = Metrics::new();
        shown.register(|registry| registry.register_collector(Box::new(Collected(metrics))));
        let text = shown.encode();
        for line in [
            "hanse_dns_queries_total{transport=\"tcp\",outcome=\"no-data\"} 2",
            "hanse_dns_queries_total{transport=\"udp\",outcome=\"records\"} 1",
            "hanse_dns_queries_total{transport=\"udp\",outcome=\"failed\"} 0",
            "hanse_dns_answer_duration_seconds_bucket{le=\"0.00001\"} 2",
            "hanse_dns_answer_duration_seconds_count 3",
            "hanse_dns_fallback_answers_total 3",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
