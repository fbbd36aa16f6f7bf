//! When a process's certificates end, for its metrics.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use crate::{LiveAuthority, LiveCredentials};

/// Shows `hanse_pki_certificate_expiry_timestamp_seconds{certificate="leaf"|"authority"}`.
#[derive(Debug)]
pub struct ExpiryMetrics {
    leaf: LiveCredentials,
    authority: Option<LiveAuthority>,
}

impl ExpiryMetrics {
    /// Registers the expiry of a process's own certificate and of its authority, if it has one.
    pub fn register(registry: &mut Registry, leaf: LiveCredentials, authority: Option<LiveAuthority>) {
        registry.register_collector(Box::new(Self { leaf, authority }));
    }
}

impl Collector for ExpiryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "hanse_pki_certificate_expiry_timestamp_seconds",
            "When the certificate ends, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        let authority = self.authority.as_ref().map(|live| live.current().validity().not_after);
        let leaf = self.leaf.current().validity().not_after;
        for (certificate, end) in [("leaf", Some(leaf)), ("authority", authority)] {
            let Some(end) = end else { continue };
            ConstGauge::new(seconds(end)).encode(family.encode_family(&[("certificate", certificate)])?)?;
        }
        Ok(())
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
