//! Which regions can answer, and may.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Chain, Rule, each};
use hanse_topology::is_brought_back;

use crate::{Candidate, Host, Places, Remaining, Trace, set::Set};

/// A region without an address is no candidate.
///
/// AWS, October 2025: the record of a regional endpoint was left without an address, and clients were answered with nothing.
pub const NO_ADDRESS: &str = "no-address";

/// A region that does not serve is no candidate: its failover plan leads no client there, or the region is drained.
///
/// AWS, October 2025: a clean-up deleted the plan that was in force, and nothing was left. Here the last region stays, as with
/// every rule.
pub const NOT_SERVING: &str = "not-serving";

/// A region without an address of the family that was asked for is no candidate while another one has it. Example: eu has IPv4 and
/// us has IPv6, so each A query leads to eu and each AAAA query to us.
///
/// The rule comes after `not-serving` and `down`: no client is led to a drained region because it alone has the family. What is missing
/// then is a record of the type, and clients use the other one.
pub const FAMILY: &str = "family";

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, records of type A.
    V4,
    /// IPv6, records of type AAAA.
    V6,
}

impl Family {
    /// Whether the address is of it.
    pub fn has(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A candidate's addresses: those that operators gave, or else those that its gateways advertise.
pub(super) fn addresses<'a>(
    candidate: &'a Candidate,
    places: &'a Places,
) -> impl Iterator<Item = IpAddr> + use<'a> {
    known(candidate, places).into_iter().flat_map(BTreeSet::iter).copied()
}

fn known<'a>(candidate: &'a Candidate, places: &'a Places) -> Option<&'a BTreeSet<IpAddr>> {
    let given = Some(&candidate.addresses);
    let advertised = || places.get(&candidate.region).map(|place| &place.addresses);
    given.filter(|given| !given.is_empty()).or_else(advertised)
}

/// The candidates that the chain starts with. Without any address there is nothing to answer with.
pub(super) fn with_address(host: &Host, places: &Places, trace: &mut impl Trace) -> Set {
    let all: Set = (0..host.candidates().len()).collect();
    let remaining = all.filter(|at| addresses(&host.candidates()[at], places).next().is_some());
    let looked_at = || {
        each(host, all, |_, candidate| match addresses(candidate, places).count() {
            0 => "has no address".to_owned(),
            count if candidate.addresses.is_empty() => format!("advertises {count}"),
            count => format!("was given {count}"),
        })
    };
    trace.rule(NO_ADDRESS, None, looked_at, Remaining { host, set: remaining });
    remaining
}

pub(super) fn serving<T: Trace>(chain: &mut Chain<'_, T>) {
    let (host, before) = (chain.host, chain.remaining);
    let serving = before.filter(|at| host.candidates()[at].percent > 0);
    chain.narrow(Rule::named(NOT_SERVING), serving, || {
        each(host, before, |_, Candidate { percent, why, .. }| match why.as_str() {
            "" => format!("{percent}%"),
            why => format!("{percent}% ({why})"),
        })
    });
}

pub(super) fn of_family<T: Trace>(chain: &mut Chain<'_, T>, places: &Places, family: Option<Family>) {
    let Some(family) = family.filter(|_| !is_brought_back("any-family")) else { return };
    let (host, before) = (chain.host, chain.remaining);
    let count =
        |candidate: &Candidate| addresses(candidate, places).filter(|address| family.has(address)).count();
    let having = before.filter(|at| count(&host.candidates()[at]) > 0);
    chain.narrow(Rule::named(FAMILY), having, || {
        each(host, before, |_, candidate| format!("has {} of {}", count(candidate), family.name()))
    });
}
