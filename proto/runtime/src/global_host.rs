//! A host that responders answer for.

mod step;

use std::{net::IpAddr, time::Duration};

use hanse_proto::runtime;
use hanse_topology::{MAX_REGIONS, Name, WHOLE_PERCENT};

use crate::{DomainName, Spot, Unusable, address, field, zone};

pub use step::{MAX_MULTIVALUE, MAX_ORIGIN_RULES, OriginRule, RegionWeight, Step};

/// The most steps of a host: each kind of step, and some of them twice.
pub const MAX_STEPS: usize = 8;
/// How much is kept of the text of a decision, in bytes: the reason that an operator gave has 256 at most, and stands after a few words.
const MAX_WHY_BYTES: usize = 512;

/// A host, and the regions that a chain of steps chooses its addresses from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalHost {
    /// Its name among hosts.
    pub name: Name,
    /// The name of its Zone, in the same scope.
    pub zone: Name,
    /// The name that clients ask for.
    pub host: DomainName,
    /// The Environment that its regions serve.
    pub environment: Name,
    /// How long resolvers may keep an answer.
    pub ttl: Duration,
    /// What narrows the candidates, in order; none: every candidate is an answer.
    pub steps: Vec<Step>,
    /// The regions of the answers: at least one, and each once.
    pub candidates: Vec<Candidate>,
}

/// A region that may answer for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The region.
    pub region: Name,
    /// The part of the clients that may be led here: [`WHOLE_PERCENT`] where the region serves and no failover plan divides its clients, 0
    /// where it does not serve the host. Numbers between are weights of one draw among the candidates that have such numbers.
    ///
    /// Example: a plan moves from eu (90) to us (10), and ap (100) is no region of the plan. Each query draws eu or us, and ap stays a
    /// candidate beside the region that was drawn.
    pub percent: u8,
    /// Its addresses that operators wrote, up to [`MAX_ADDRESSES`](crate::MAX_ADDRESSES); none: those that responders hear of count.
    pub addresses: Vec<IpAddr>,
    /// Where it lies, if that is known.
    pub spot: Option<Spot>,
    /// The decision that gives it less than [`WHOLE_PERCENT`], for people. A longer text is cut: no text voids a host.
    pub why: Box<str>,
}

impl GlobalHost {
    pub(crate) fn new(host: runtime::GlobalHost) -> Result<Self, Unusable> {
        let runtime::GlobalHost { name, zone, host, environment, ttl_s, steps, candidates } = host;
        Ok(Self {
            name: field::name("name", &name)?,
            zone: field::name("zone", &zone)?,
            host: field::domain_name("host", &host)?,
            environment: field::name("environment", &environment)?,
            ttl: zone::ttl("ttl_s", ttl_s)?,
            steps: steps_of(steps)?,
            candidates: candidates_of(candidates)?,
        })
    }
}

fn steps_of(given: Vec<runtime::Step>) -> Result<Vec<Step>, Unusable> {
    const FIELD: &str = "steps";
    field::within("steps", FIELD, given.len(), MAX_STEPS)?;
    let one = |(at, step)| Step::new(step).map_err(|bad| bad.within(format!("{FIELD}[{at}]")));
    given.into_iter().enumerate().map(one).collect()
}

fn candidates_of(given: Vec<runtime::Candidate>) -> Result<Vec<Candidate>, Unusable> {
    const FIELD: &str = "candidates";
    if given.is_empty() {
        return Err(Unusable::new(FIELD, "no region could answer: name at least one"));
    }
    field::within("candidates", FIELD, given.len(), MAX_REGIONS)?;
    let one = |(at, candidate)| {
        Candidate::new(candidate).map_err(|bad: Unusable| bad.within(format!("{FIELD}[{at}]")))
    };
    let candidates = given.into_iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    let regions: Vec<&Name> = candidates.iter().map(|candidate| &candidate.region).collect();
    field::distinct(FIELD, &regions)?;
    Ok(candidates)
}

impl Candidate {
    fn new(candidate: runtime::Candidate) -> Result<Self, Unusable> {
        let runtime::Candidate { region, percent, addresses, spot, why } = candidate;
        Ok(Self {
            region: field::name("region", &region)?,
            percent: percent_of(percent)?,
            addresses: address::addresses(&addresses)?,
            spot: spot.map(Spot::new).transpose().map_err(|bad| bad.within("spot"))?,
            why: why[..why.floor_char_boundary(MAX_WHY_BYTES)].into(),
        })
    }
}

fn percent_of(given: u32) -> Result<u8, Unusable> {
    let percent = u8::try_from(given).ok().filter(|percent| *percent <= WHOLE_PERCENT);
    percent.ok_or_else(|| Unusable::new("percent", format!("{given} is more than {WHOLE_PERCENT}")))
}

#[cfg(test)]
mod tests;
