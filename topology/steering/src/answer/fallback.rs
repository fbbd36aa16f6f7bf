//! The answer when no rule could make one.

use std::{collections::BTreeSet, net::IpAddr};

use super::candidates;
use crate::{Candidate, Host, Places};

/// A host for which an address is known always has an answer. When [`answer`] panicked or left no address, [`fallback`] takes its
/// place, and applies no rule and no step.
///
/// Azure Front Door, October 2025: a configuration that crashed data planes had passed its checks, and had become the last
/// known good one, so going back to it did not help.
///
/// [`answer`]: crate::answer()
pub const NEVER_EMPTY: &str = "never-empty";

/// The first of these that has an address: the last good answer, the committed addresses of the regions that serve (percent above
/// 0), every address that is known. Empty only if no address is known.
///
/// Nothing here is shared with [`answer`] but the list of a candidate's addresses, so a bug in a rule cannot reach it. The policy
/// and the regions' health do not count: a client may be led to a far region, or to one that is down.
///
/// [`answer`]: crate::answer()
pub fn fallback(host: &Host, places: &Places, last_good: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    if !last_good.is_empty() {
        return last_good.clone();
    }
    let serves = |candidate: &&Candidate| candidate.percent > 0;
    let committed = host.candidates().iter().filter(serves).flat_map(|candidate| &candidate.addresses);
    let committed: BTreeSet<IpAddr> = committed.copied().collect();
    if !committed.is_empty() {
        return committed;
    }
    host.candidates().iter().flat_map(|candidate| candidates::addresses(candidate, places)).collect()
}
