//! What the agent knows of its region, as Prometheus reads it.

use std::{fmt, time::Instant};

use hanse_proto::sync::GatewayLive;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use super::{Shown, page::ready};

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
        let now = Instant::now();
        let view = self.0.view(now);
        let mut family = encoder.encode_descriptor(
            "hanse_agent_region_agents",
            "Agents of the region, as its relays hear them; /region names them",
            None,
            MetricType::Gauge,
        )?;
        for (state, live) in [("live", true), ("gone", false)] {
            let count = view.agents.values().filter(|agent| agent.live == live).count() as i64;
            family.encode_family(&[("state", state)])?.encode_gauge(&count)?;
        }
        let mut family = encoder.encode_descriptor(
            "hanse_agent_region_gateways",
            "Gateways of the region, as their agents hear them; /region names them",
            None,
            MetricType::Gauge,
        )?;
        let gateways = view.agents.values().flat_map(|agent| &agent.gateways);
        let states: Vec<_> = gateways.map(state_of).collect();
        for state in ["ready", "not-ready", "unknown", "gone"] {
            let count = states.iter().filter(|found| **found == state).count() as i64;
            family.encode_family(&[("state", state)])?.encode_gauge(&count)?;
        }
        if let Some(age) = self.0.age(now) {
            encoder
                .encode_descriptor(
                    "hanse_agent_region_age_seconds",
                    "Since any relay was heard last",
                    None,
                    MetricType::Gauge,
                )?
                .encode_gauge(&i64::try_from(age.as_secs()).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}

fn state_of(gateway: &GatewayLive) -> &'static str {
    match (gateway.live, gateway.live.then(|| ready(gateway)).flatten()) {
        (false, _) => "gone",
        (true, None) => "unknown",
        (true, Some(false)) => "not-ready",
        (true, Some(true)) => "ready",
    }
}
