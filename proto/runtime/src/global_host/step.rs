//! One step of a host's chain.

use hanse_proto::runtime;
use hanse_topology::{MAX_REGIONS, Name};

use crate::{Cidr, Unusable, field, regions};

/// The most rules of one `origin` step: the networks of a large company. A responder looks the client up among them.
pub const MAX_ORIGIN_RULES: usize = 1_024;
/// The most regions that a `multivalue` step leaves. Eight with an address each still fit into an answer of 512 octets.
pub const MAX_MULTIVALUE: u32 = 8;

/// What narrows the candidates of a host. The names of regions are those of candidates, where they are candidates at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The first of these regions that is left.
    Failover(Vec<Name>),
    /// One region, by draw. At least one weight is greater than 0.
    Weighted(Vec<RegionWeight>),
    /// The nearest to the client; where it is not known, these.
    Geo(Vec<Name>),
    /// Those of the longest network that has the client. Clients in no network keep all candidates. No network is there twice.
    Origin(Vec<OriginRule>),
    /// At most so many of them, by chance: 1 to [`MAX_MULTIVALUE`].
    Multivalue(u32),
}

/// The share of one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionWeight {
    /// The region.
    pub region: Name,
    /// Up to [`MAX_REGION_WEIGHT`](crate::MAX_REGION_WEIGHT); 0: it is never drawn.
    pub weight: u32,
}

/// The regions for the clients of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    /// The network.
    pub network: Cidr,
    /// The regions: at least one.
    pub regions: Vec<Name>,
}

impl Step {
    /// A step that is not known cannot be left out: what it narrows to is what operators asked for.
    pub(super) fn new(step: runtime::Step) -> Result<Self, Unusable> {
        use runtime::step::Step as Wire;
        match step.step {
            Some(Wire::Failover(order)) => Ok(Self::Failover(regions::regions("failover", &order.names)?)),
            Some(Wire::Geo(default)) => Ok(Self::Geo(regions::regions("geo", &default.names)?)),
            Some(Wire::Weighted(weights)) => weighted(&weights.weights).map(Self::Weighted),
            Some(Wire::Origin(origin)) => origin_rules(&origin.rules).map(Self::Origin),
            Some(Wire::Multivalue(count @ 1..=MAX_MULTIVALUE)) => Ok(Self::Multivalue(count)),
            Some(Wire::Multivalue(count)) => {
                Err(Unusable::new("multivalue", format!("{count} is none from 1 to {MAX_MULTIVALUE}")))
            }
            None => Err(Unusable::new("", "a step of this kind is not known to this release: upgrade it")),
        }
    }
}

fn weighted(given: &[runtime::RegionWeight]) -> Result<Vec<RegionWeight>, Unusable> {
    const FIELD: &str = "weighted";
    if given.iter().all(|region| region.weight == 0) {
        return Err(Unusable::new(FIELD, "no region could be drawn: give one a weight of 1 or more"));
    }
    field::within("regions", FIELD, given.len(), MAX_REGIONS)?;
    let one = |(at, given): (usize, &runtime::RegionWeight)| {
        let region = field::name(&format!("{FIELD}[{at}].region"), &given.region)?;
        let weight = regions::weight(&format!("{FIELD}[{at}].weight"), given.weight)?;
        Ok(RegionWeight { region, weight })
    };
    let weights = given.iter().enumerate().map(one).collect::<Result<Vec<_>, Unusable>>()?;
    let named: Vec<&Name> = weights.iter().map(|region| &region.region).collect();
    field::distinct(FIELD, &named)?;
    Ok(weights)
}

fn origin_rules(given: &[runtime::OriginRule]) -> Result<Vec<OriginRule>, Unusable> {
    const FIELD: &str = "origin";
    if given.is_empty() {
        return Err(Unusable::new(FIELD, "has no rule: give at least one"));
    }
    field::within("rules", FIELD, given.len(), MAX_ORIGIN_RULES)?;
    let one = |(at, rule): (usize, &runtime::OriginRule)| {
        let refused = || Unusable::new(format!("{FIELD}[{at}].network"), "is no network in its one form");
        let network = rule.network.as_ref().and_then(Cidr::from_wire).ok_or_else(refused)?;
        let regions = regions::regions(&format!("{FIELD}[{at}].regions"), &rule.regions)?;
        Ok(OriginRule { network, regions })
    };
    let rules = given.iter().enumerate().map(one).collect::<Result<Vec<_>, Unusable>>()?;
    let networks: Vec<Cidr> = rules.iter().map(|rule| rule.network).collect();
    field::distinct(FIELD, &networks)?;
    Ok(rules)
}
