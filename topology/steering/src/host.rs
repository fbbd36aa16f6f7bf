//! A name that clients ask for, its candidates, and its policy.

use std::{collections::BTreeSet, net::IpAddr};

use hanse_topology::{MAX_REGIONS, Name, WHOLE_PERCENT, is_brought_back};
use ipnet::IpNet;

use crate::{Spot, networks::Networks, set::Set};

/// A region that may answer for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The region. It has one candidate of the host.
    pub region: Name,
    /// The part of the clients that may be led here, in percent: 0 where the region does not serve, [`WHOLE_PERCENT`] where it serves and
    /// no failover plan divides its clients, another number while a failover plan moves in steps.
    ///
    /// Example: a plan moves from eu (90) to us (10), and ap (100) is no region of the plan. Each query draws eu or us, and ap
    /// stays a candidate beside the region that was drawn.
    pub percent: u8,
    /// As operators gave them. Without any, those count that the region's gateways advertise ([`Place::addresses`]).
    ///
    /// [`Place::addresses`]: crate::Place::addresses
    pub addresses: BTreeSet<IpAddr>,
    /// Where it is.
    pub spot: Option<Spot>,
    /// Why its percent is not [`WHOLE_PERCENT`], for people.
    pub why: String,
}

/// One step of a host's policy. Steps follow each other, and each narrows the candidates that the one before left. A region
/// without a candidate means nothing in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// By the client's network: of the longest that has all of the client's prefix. Other clients keep all candidates.
    Origin(Vec<(IpNet, Vec<Name>)>),
    /// The nearest to the client; `default` for clients of whom no place is known.
    Geo {
        /// Without them those clients would be led anywhere.
        default: Vec<Name>,
    },
    /// By chance, in proportion to the weights. A region with weight 0, or without one, gets no client.
    Weighted(Vec<(Name, u32)>),
    /// The first in this order.
    Failover(Vec<Name>),
    /// At most so many. Chance decides which, and each is as likely as another.
    Multivalue(u32),
}

/// A name that clients ask for, in the form in which it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    /// By the names of the regions.
    candidates: Vec<Candidate>,
    steps: Vec<Compiled>,
}

/// A step, with candidates in place of regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compiled {
    Origin(Networks),
    Geo {
        default: Set,
    },
    /// By candidate.
    Weighted(Box<[u32]>),
    Failover(Box<[usize]>),
    Multivalue(usize),
}

/// Why a host cannot be answered as it is described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// More candidates than [`MAX_REGIONS`].
    #[error("host {host}: {count} candidates; at most {MAX_REGIONS} are answered: name fewer regions")]
    Candidates {
        /// The host.
        host: String,
        /// How many there are.
        count: usize,
    },
    /// Two candidates of one region: which of them counts would depend on their order.
    #[error("host {host}: two candidates of region {region}; give it one")]
    Twice {
        /// The host.
        host: String,
        /// The region.
        region: Name,
    },
    /// A percent above [`WHOLE_PERCENT`].
    #[error("host {host}: {percent} percent for region {region}; give 0 to {WHOLE_PERCENT}")]
    Percent {
        /// The host.
        host: String,
        /// The region.
        region: Name,
        /// The percent.
        percent: u8,
    },
}

impl Host {
    /// Brings a host to the form in which it is answered. The order of candidates means nothing.
    pub fn new(name: String, mut candidates: Vec<Candidate>, steps: &[Step]) -> Result<Self, InvalidHost> {
        if candidates.len() > MAX_REGIONS {
            return Err(InvalidHost::Candidates { host: name, count: candidates.len() });
        }
        if !is_brought_back("weights-by-order") {
            candidates.sort_by(|one, other| one.region.cmp(&other.region));
        }
        if let Some(pair) = candidates.windows(2).find(|pair| pair[0].region == pair[1].region) {
            return Err(InvalidHost::Twice { host: name, region: pair[0].region.clone() });
        }
        if let Some(Candidate { region, percent, .. }) =
            candidates.iter().find(|candidate| candidate.percent > WHOLE_PERCENT)
        {
            return Err(InvalidHost::Percent { host: name, region: region.clone(), percent: *percent });
        }
        let steps: Vec<Compiled> = steps.iter().map(|step| step.compile(&candidates)).collect();
        Ok(Self { name, candidates, steps })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The candidates, by the names of their regions.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub(crate) fn steps(&self) -> &[Compiled] {
        &self.steps
    }
}

impl Step {
    fn compile(&self, candidates: &[Candidate]) -> Compiled {
        let place = |region: &Name| candidates.iter().position(|candidate| candidate.region == *region);
        let set = |regions: &[Name]| regions.iter().filter_map(place).collect::<Set>();
        match self {
            Self::Origin(rules) => {
                Compiled::Origin(Networks::new(rules.iter().map(|(network, to)| (*network, set(to)))))
            }
            Self::Geo { default } => Compiled::Geo { default: set(default) },
            Self::Weighted(weights) => {
                let mut by_candidate = vec![0_u32; candidates.len()];
                for (region, weight) in weights {
                    let Some(at) = place(region) else { continue };
                    by_candidate[at] = by_candidate[at].saturating_add(*weight);
                }
                Compiled::Weighted(by_candidate.into())
            }
            Self::Failover(order) => Compiled::Failover(order.iter().filter_map(place).collect()),
            Self::Multivalue(count) => Compiled::Multivalue(usize::try_from(*count).unwrap_or(usize::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(region: &str, percent: u8) -> Candidate {
        Candidate {
            region: Name::new(region).unwrap(),
            percent,
            addresses: BTreeSet::new(),
            spot: None,
            why: String::new(),
        }
    }

    #[test]
    fn hosts_that_cannot_be_answered_are_refused() {
        let check = |candidates: Vec<Candidate>, expected: &str| {
            let refused = Host::new("orders.example.com".to_owned(), candidates, &[]).unwrap_err();
            assert_eq!(refused.to_string(), format!("host orders.example.com: {expected}"));
        };
        check(
            vec![candidate("eu", 100), candidate("us", 100), candidate("eu", 0)],
            "two candidates of region eu; give it one",
        );
        check(vec![candidate("eu", 101)], "101 percent for region eu; give 0 to 100");
        check(
            (0..65).map(|at| candidate(&format!("r{at}"), 100)).collect(),
            "65 candidates; at most 64 are answered: name fewer regions",
        );
    }
}
