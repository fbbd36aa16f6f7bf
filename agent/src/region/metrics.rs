//! What the agent knows of its region, as Prometheus reads it.

use std::{fmt, time::Instant};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use super::{Shown, page::GatewayShown};

/// Shows how many agents and gateways the region has.
#[derive(Clone)]
pub(crate) struct RegionMetrics(pub(crate) Shown);

impl fmt::Debug for RegionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegionMetrics").field(&self.0.own).finish()
    }
}

impl Collector for RegionMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let page = self.0.page(Instant::now());
        let mut family = encoder.encode_descriptor(
            "hanse_agent_region_agents",
            "Agents of the region, as the relay hears them; /region names them",
            None,
            MetricType::Gauge,
        )?;
        for (state, live) in [("live", true), ("gone", false)] {
            let count = page.agents.iter().filter(|agent| agent.live == live).count() as i64;
            family.encode_family(&[("state", state)])?.encode_gauge(&count)?;
        }
        let mut family = encoder.encode_descriptor(
            "hanse_agent_region_gateways",
            "Gateways of the region, as their agents hear them; /region names them",
            None,
            MetricType::Gauge,
        )?;
        for state in ["ready", "not-ready", "gone"] {
            let gateways = page.agents.iter().flat_map(|agent| &agent.gateways);
            let count = gateways.filter(|gateway| state_of(gateway) == state).count() as i64;
            family.encode_family(&[("state", state)])?.encode_gauge(&count)?;
        }
        if let Some(age) = page.age_seconds {
            encoder
                .encode_descriptor(
                    "hanse_agent_region_age_seconds",
                    "Since the relay that tells of the region was heard last",
                    None,
                    MetricType::Gauge,
                )?
                .encode_gauge(&i64::try_from(age).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}

fn state_of(gateway: &GatewayShown) -> &'static str {
    match (gateway.live, gateway.ready) {
        (false, _) => "gone",
        (true, false) => "not-ready",
        (true, true) => "ready",
    }
}
