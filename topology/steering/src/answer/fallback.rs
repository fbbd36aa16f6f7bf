//! The answer when no rule could make one.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Family, candidates};
use crate::{Candidate, Host, Places};

/// A host for which an address is known always has an answer. When [`answer`] panicked or left no address, [`fallback`] takes its
/// place, and applies no rule and no step.
///
/// Azure Front Door, October 2025: a configuration that crashed data planes had passed its checks, and had become the last
/// known good one, so going back to it did not help.
///
/// [`answer`]: crate::answer()
pub const NEVER_EMPTY: &str = "never-empty";

/// The first of these that has an address of the family that was asked for, or else an address at all: the last good answer, the
/// committed addresses of the regions that serve (percent above 0), every address that is known. Empty only if no address is known.
///
/// Nothing here is shared with [`answer`] but the list of a candidate's addresses, so a bug in a rule cannot reach it. The policy
/// and the regions' health do not count: a client may be led to a far region, or to one that is down.
///
/// [`answer`]: crate::answer()
pub fn fallback(
    host: &Host,
    places: &Places,
    family: Option<Family>,
    last_good: &BTreeSet<IpAddr>,
) -> BTreeSet<IpAddr> {
    let serves = |candidate: &&Candidate| candidate.percent > 0;
    let committed = host.candidates().iter().filter(serves).flat_map(|candidate| &candidate.addresses);
    let known = host.candidates().iter().flat_map(|candidate| candidates::addresses(candidate, places));
    let all = [last_good.clone(), committed.copied().collect(), known.collect()];
    let of_family = |addresses: &&BTreeSet<IpAddr>| {
        addresses.iter().any(|address| family.is_none_or(|family| family.has(address)))
    };
    let found = all.iter().find(of_family).or_else(|| all.iter().find(|addresses| !addresses.is_empty()));
    found.cloned().unwrap_or_default()
}
