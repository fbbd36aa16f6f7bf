//! A host that responders answer for.

mod step;

use std::{net::IpAddr, time::Duration};

use hanse_proto::runtime;
use hanse_topology::Name;

use crate::{DomainName, Spot, Unusable, address, field, regions::MAX_REGIONS, zone};

pub use step::{MAX_MULTIVALUE, MAX_ORIGIN_RULES, OriginRule, RegionWeight, Step};

/// The most steps of a host: each kind of step, and some of them twice.
pub const MAX_STEPS: usize = 8;
/// The percent of a candidate that no plan divides.
pub const WHOLE: u8 = 100;
/// The longest text of a decision, in bytes: a line for people.
pub const MAX_WHY_BYTES: usize = 256;

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
    /// Of the clients that may be led here, up to [`WHOLE`]: that is where no plan divides them. 0: it does not serve the host.
    pub percent: u8,
    /// Its addresses that operators wrote, up to [`MAX_ADDRESSES`](crate::MAX_ADDRESSES); none: those that responders hear of count.
    pub addresses: Vec<IpAddr>,
    /// Where it lies, if that is known.
    pub spot: Option<Spot>,
    /// The decision that gives it less than [`WHOLE`], for people.
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
        if why.len() > MAX_WHY_BYTES {
            return Err(Unusable::new("why", format!("{} bytes are more than {MAX_WHY_BYTES}", why.len())));
        }
        Ok(Self {
            region: field::name("region", &region)?,
            percent: percent_of(percent)?,
            addresses: address::addresses(&addresses)?,
            spot: spot.map(Spot::new).transpose().map_err(|bad| bad.within("spot"))?,
            why: why.into(),
        })
    }
}

fn percent_of(given: u32) -> Result<u8, Unusable> {
    let percent = u8::try_from(given).ok().filter(|percent| *percent <= WHOLE);
    percent.ok_or_else(|| Unusable::new("percent", format!("{given} is more than {WHOLE}")))
}

#[cfg(test)]
mod tests;
