//! Which regions can answer, and may.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Chain, Rule, each};
use crate::{Candidate, Host, Places, Remaining, Trace, set::Set};
use hanse_topology::is_brought_back;

/// A region without an address is no candidate. Nor is one without an address of the family that was asked for, while another one
/// has it: a client that speaks IPv4 alone is led to a region that has an IPv4 address.
///
/// AWS, October 2025: the record of a regional endpoint was left without an address, and clients were answered with nothing.
pub const NO_ADDRESS: &str = "no-address";

/// A region that does not serve is no candidate: its failover plan leads no client there, or the region is drained.
///
/// AWS, October 2025: a clean-up deleted the plan that was in force, and nothing was left. Here the last region stays, as with
/// every rule.
pub const NOT_SERVING: &str = "not-serving";

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
pub(super) fn with_address(
    host: &Host,
    places: &Places,
    family: Option<Family>,
    trace: &mut impl Trace,
) -> Set {
    let all: Set = (0..host.candidates().len()).collect();
    let known = |at: usize| addresses(&host.candidates()[at], places);
    let of_family =
        all.filter(|at| known(at).any(|address| family.is_none_or(|family| family.has(&address))));
    let remaining = match of_family.is_empty() || is_brought_back("any-family") {
        true => all.filter(|at| known(at).next().is_some()),
        false => of_family,
    };
    let asked = family.filter(|_| remaining == of_family);
    let looked_at = || {
        each(host, all, |_, candidate| match addresses(candidate, places).count() {
            0 => "has no address".to_owned(),
            _ if asked.is_some_and(|family| !addresses(candidate, places).any(|of| family.has(&of))) => {
                format!("has no {} address", asked.map_or("", Family::name))
            }
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
