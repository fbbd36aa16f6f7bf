//! A host as it is answered.

use std::sync::Arc;

use hanse_dns_wire::Name;
use hanse_runtime::{GlobalHost, Step, Unusable};
use hanse_steering as steering;
use ipnet::IpNet;

use super::{Key, seconds, wire};

/// A host, with its policy in the form that is evaluated.
#[derive(Debug)]
pub(crate) struct ServedHost {
    /// The key of its resource: the same for each of its versions.
    pub(crate) key: Key,
    pub(crate) model: GlobalHost,
    pub(crate) policy: steering::Host,
    /// Whether a step of the policy asks where on earth the client is.
    pub(crate) asks_where: bool,
}

impl ServedHost {
    pub(crate) fn new(key: Key, model: GlobalHost) -> Result<Arc<Self>, Unusable> {
        let candidates = model.candidates.iter().map(candidate).collect();
        let steps: Vec<steering::Step> = model.steps.iter().map(step).collect();
        let policy = steering::Host::new(model.host.to_string(), candidates, &steps)
            .map_err(|bad| Unusable::new("candidates", bad.to_string()))?;
        let asks_where = model.steps.iter().any(|step| matches!(step, Step::Geo(_)));
        Ok(Arc::new(Self { key, model, policy, asks_where }))
    }

    /// Its name in a message.
    pub(crate) fn name(&self) -> Name {
        wire(&self.model.host)
    }

    /// How long resolvers may keep an answer, in seconds.
    pub(crate) fn ttl(&self) -> u32 {
        seconds(self.model.ttl)
    }
}

fn candidate(candidate: &hanse_runtime::Candidate) -> steering::Candidate {
    let spot = candidate.spot.as_ref();
    steering::Candidate {
        region: candidate.region.clone(),
        percent: candidate.percent,
        addresses: candidate.addresses.iter().copied().collect(),
        spot: spot.and_then(|spot| steering::Spot::new(spot.latitude_e6, spot.longitude_e6)),
        why: candidate.why.to_string(),
    }
}

fn step(step: &Step) -> steering::Step {
    match step {
        Step::Failover(order) => steering::Step::Failover(order.clone()),
        Step::Weighted(weights) => {
            let weights = weights.iter().map(|region| (region.region.clone(), region.weight));
            steering::Step::Weighted(weights.collect())
        }
        Step::Geo(default) => steering::Step::Geo { default: default.clone() },
        Step::Origin(rules) => {
            let rules = rules.iter().map(|rule| {
                let (address, length) = rule.network.network();
                let network = IpNet::new(address, length).expect("a Cidr is no longer than its address");
                (network, rule.regions.clone())
            });
            steering::Step::Origin(rules.collect())
        }
        Step::Multivalue(count) => steering::Step::Multivalue(*count),
    }
}
