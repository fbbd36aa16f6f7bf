//! Zones, and the hosts in them.

use std::net::IpAddr;

use bytes::Bytes;
use hanse_management::kinds::{DnsZoneSpec, DrainSpec, FailoverSpec, GlobalHostSpec, PolicyStepSpec, Step};
use hanse_proto::runtime::{self, resource::Kind as Runtime, step::Step as Wire};
use hanse_runtime::Cidr;
use hanse_topology::{Location, Name, WHOLE_PERCENT};

pub(in crate::projection) use hanse_proto::runtime::Candidate;

use super::bytes;
use crate::projection::serial::serial;

/// What was decided about a region for a host.
pub(in crate::projection) enum Share<'a> {
    /// Nothing: clients may be led there.
    Whole,
    /// It is drained.
    Drained(&'a DrainSpec),
    /// Nothing was decided about the host's plan, so its active region serves the host, and this one does not.
    Standby { plan: &'a Name, active: &'a Name },
    /// So many clients are led there by the Failover of the host's plan.
    Decided { plan: &'a Name, failover: &'a FailoverSpec, percent: u8 },
}

impl Share<'_> {
    /// How many of the clients are led there, of 100.
    pub(in crate::projection) fn percent(&self) -> u8 {
        match self {
            Self::Whole => WHOLE_PERCENT,
            Self::Drained(_) | Self::Standby { .. } => 0,
            Self::Decided { percent, .. } => *percent,
        }
    }

    /// The decision, for people; empty where it takes nothing away.
    fn why(&self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Drained(drain) => format!("drained: {}", drain.reason),
            Self::Standby { plan, active } => format!("FailoverPlan {plan} has its hosts in {active}"),
            Self::Decided { percent, .. } if *percent == WHOLE_PERCENT => String::new(),
            Self::Decided { plan, failover, .. } => {
                let (step, steps) = (failover.step + 1, failover.steps.len());
                format!("FailoverPlan {plan}, step {step} of {steps}: {}", failover.reason)
            }
        }
    }
}

/// A region that may answer for a host.
pub(in crate::projection) fn candidate(
    region: &Name,
    share: &Share<'_>,
    addresses: &[IpAddr],
    location: Option<&Location>,
) -> Candidate {
    Candidate {
        region: region.to_string(),
        percent: share.percent().into(),
        addresses: octets(addresses),
        spot: location.map(spot),
        why: share.why(),
    }
}

/// A host with its candidates, in the order of their regions.
pub(in crate::projection) fn global_host(
    name: &Name,
    spec: &GlobalHostSpec,
    candidates: Vec<Candidate>,
) -> Bytes {
    bytes(Runtime::GlobalHost(runtime::GlobalHost {
        name: name.to_string(),
        zone: spec.zone.to_string(),
        host: spec.host.clone(),
        environment: spec.environment.to_string(),
        ttl_s: seconds(spec.ttl),
        steps: spec.policy.iter().filter_map(PolicyStepSpec::step).map(step).collect(),
        candidates,
    }))
}

/// A zone at an epoch.
pub(in crate::projection) fn zone(name: &Name, spec: &DnsZoneSpec, epoch: runtime::Epoch) -> Bytes {
    let name_servers = spec.name_servers.iter().map(|server| runtime::NameServer {
        name: server.name.clone(),
        addresses: octets(&server.addresses),
    });
    let secondaries = spec.secondaries.iter().map(|secondary| runtime::Secondary {
        address: secondary.address.to_string(),
        key: secondary.key.clone(),
    });
    bytes(Runtime::Zone(runtime::Zone {
        name: name.to_string(),
        origin: spec.origin.clone(),
        serial: serial(&epoch),
        name_servers: name_servers.collect(),
        contact: spec.contact.clone(),
        negative_ttl_s: seconds(spec.negative_ttl),
        secondaries: secondaries.collect(),
        publish: spec.publish.as_ref().map(|publish| runtime::Publish {
            server: publish.server.to_string(),
            key: publish.key.clone(),
            from: names(&publish.from),
        }),
        epoch: Some(epoch),
    }))
}

fn step(step: Step<'_>) -> runtime::Step {
    let regions = |regions: &[Name]| runtime::Regions { names: names(regions) };
    let wire = match step {
        Step::Failover(step) => Wire::Failover(regions(&step.order)),
        Step::Geo(step) => Wire::Geo(regions(&step.default)),
        Step::Multivalue(step) => Wire::Multivalue(step.count),
        Step::Weighted(weights) => {
            let weights = weights.iter().map(|(region, weight)| runtime::RegionWeight {
                region: region.to_string(),
                weight: *weight,
            });
            Wire::Weighted(runtime::Weights { weights: weights.collect() })
        }
        Step::Origin(step) => {
            let rules = step.rules.iter().map(|rule| runtime::OriginRule {
                network: Cidr::read(&rule.cidr).as_ref().map(Cidr::to_wire),
                regions: names(&rule.regions),
            });
            Wire::Origin(runtime::OriginRules { rules: rules.collect() })
        }
    };
    runtime::Step { step: Some(wire) }
}

fn names(names: &[Name]) -> Vec<String> {
    names.iter().map(Name::to_string).collect()
}

fn octets(addresses: &[IpAddr]) -> Vec<Bytes> {
    let octets = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec().into(),
        IpAddr::V6(address) => address.octets().to_vec().into(),
    };
    addresses.iter().map(octets).collect()
}

/// Coordinates are kept to a millionth of a degree, so nothing is lost.
fn spot(location: &Location) -> runtime::Spot {
    const PER_DEGREE: f64 = 1e6;
    let e6 = |degrees: f64| (degrees * PER_DEGREE).round() as i32;
    runtime::Spot {
        latitude_e6: e6(location.latitude),
        longitude_e6: e6(location.longitude),
        country: location.country.clone().unwrap_or_default(),
        continent: location.continent.map(|continent| continent.code().to_owned()).unwrap_or_default(),
    }
}

/// A time to live: whole seconds, as admission judges.
fn seconds(ttl: hanse_management::Duration) -> u32 {
    u32::try_from(ttl.as_millis() / 1_000).unwrap_or(u32::MAX)
}
