//! A name that clients ask for, its candidates, and its policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hanse_topology::Name;
use ipnet::IpNet;

use crate::{MAX_CANDIDATES, Spot, networks::Networks, seeded::seeded, set::Set};

/// The share of a candidate that no plan divides, and the sum of the shares of those between which a plan moves.
pub const WHOLE: u8 = 100;

/// A region that may answer for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The region. It has one candidate of the host.
    pub region: Name,
    /// The part of the clients that may be led here, in percent: [`WHOLE`] where no plan divides them, 0 where the region does
    /// not serve, another number while a plan moves in steps.
    pub percent: u8,
    /// As operators gave them. Without any, those count that the region's gateways advertise ([`Place::addresses`]).
    ///
    /// [`Place::addresses`]: crate::Place::addresses
    pub addresses: BTreeSet<IpAddr>,
    /// Where it is.
    pub spot: Option<Spot>,
    /// Why its percent is not [`WHOLE`], for people.
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
    /// Prefixes of clients such that the steps `origin` treat every client as they treat one of them.
    prefixes: Vec<Option<IpNet>>,
    /// Places of clients such that the steps `geo` lead every client as they lead one of them, or to several regions.
    spots: Vec<Option<Spot>>,
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
    /// More candidates than [`MAX_CANDIDATES`].
    #[error("host {host}: {count} candidates; at most {MAX_CANDIDATES} are answered: name fewer regions")]
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
    /// A percent above [`WHOLE`].
    #[error("host {host}: {percent} percent for region {region}; give 0 to {WHOLE}")]
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
        if candidates.len() > MAX_CANDIDATES {
            return Err(InvalidHost::Candidates { host: name, count: candidates.len() });
        }
        if !seeded("weights-by-order") {
            candidates.sort_by(|one, other| one.region.cmp(&other.region));
        }
        if let Some(pair) = candidates.windows(2).find(|pair| pair[0].region == pair[1].region) {
            return Err(InvalidHost::Twice { host: name, region: pair[0].region.clone() });
        }
        if let Some(Candidate { region, percent, .. }) =
            candidates.iter().find(|candidate| candidate.percent > WHOLE)
        {
            return Err(InvalidHost::Percent { host: name, region: region.clone(), percent: *percent });
        }
        let steps: Vec<Compiled> = steps.iter().map(|step| step.compile(&candidates)).collect();
        let prefixes = prefixes(&steps);
        let spots = spots(&steps, &candidates);
        Ok(Self { name, candidates, steps, prefixes, spots })
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

    /// Whether a step looks at the client.
    pub(crate) fn asks_for_client(&self) -> bool {
        self.prefixes.len() > 1 || self.spots.len() > 1
    }

    /// Clients of every kind that the steps tell apart.
    pub(crate) fn kinds_of_client(&self) -> impl Iterator<Item = (Option<IpNet>, Option<Spot>)> {
        self.prefixes.iter().flat_map(|prefix| self.spots.iter().map(|spot| (*prefix, *spot)))
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

/// A client's prefix is in the longest network of each step `origin`. The longest of these is treated as the prefix is: a
/// longer network that has it would have the prefix, too. So the networks themselves stand for every prefix, and one of each
/// treatment does.
fn prefixes(steps: &[Compiled]) -> Vec<Option<IpNet>> {
    let origins: Vec<&Networks> = steps
        .iter()
        .filter_map(|step| match step {
            Compiled::Origin(networks) => Some(networks),
            Compiled::Geo { .. }
            | Compiled::Weighted(_)
            | Compiled::Failover(_)
            | Compiled::Multivalue(_) => None,
        })
        .collect();
    let treatment = |prefix: IpNet| -> Vec<Option<Set>> {
        let longest = origins.iter().map(|networks| networks.longest(prefix));
        longest.map(|found| found.map(|(_, regions)| regions)).collect()
    };
    let networks: BTreeSet<IpNet> = origins.iter().flat_map(|networks| networks.iter()).collect();
    let of_each: BTreeMap<_, _> = networks.into_iter().map(|network| (treatment(network), network)).collect();
    std::iter::once(None).chain(of_each.into_values().map(Some)).collect()
}

/// Candidates in two places differ for a client at one and at the other. Candidates in one place are alike for every client of
/// whom a place is known. So the candidates' own places stand for every place.
fn spots(steps: &[Compiled], candidates: &[Candidate]) -> Vec<Option<Spot>> {
    let mut spots = vec![None];
    if steps.iter().any(|step| matches!(step, Compiled::Geo { .. })) {
        for spot in candidates.iter().filter_map(|candidate| candidate.spot) {
            if !spots.contains(&Some(spot)) {
                spots.push(Some(spot));
            }
        }
    }
    spots
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

    #[test]
    fn one_prefix_stands_for_each_treatment() {
        let net = |text: &str| -> IpNet { text.parse().unwrap() };
        let to = |region: &str| vec![Name::new(region).unwrap()];
        let steps = [
            Step::Origin(vec![
                (net("10.0.0.0/8"), to("eu")),
                (net("10.1.0.0/16"), to("us")),
                (net("10.2.0.0/16"), to("us")),
                (net("192.0.2.0/24"), to("nowhere")),
            ]),
            Step::Origin(vec![(net("10.1.1.0/24"), to("eu"))]),
        ];
        let host =
            Host::new("h".to_owned(), vec![candidate("us", 100), candidate("eu", 100)], &steps).unwrap();
        // No network; eu; us; us, then eu; and the network that leads nowhere.
        assert_eq!(host.prefixes.len(), 5);
        assert_eq!(host.spots, [None]);
        assert!(host.asks_for_client());
    }
}
