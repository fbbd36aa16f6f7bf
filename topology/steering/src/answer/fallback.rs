//! What is answered when no answer could be made.

use std::{collections::BTreeSet, net::IpAddr};

use super::{candidates, default_answer};
use crate::{Host, Places};

/// A host for which an address is known is never answered with none: when an answer panicked, or has no address, an older or a
/// plainer one takes its place.
///
/// Azure Front Door, October 2025: a configuration that crashed data planes had passed its checks, and had become the last
/// known good one, so going back to it did not help. Here the last resort asks neither policy nor health.
pub const NEVER_EMPTY: &str = "never-empty";

/// The first of these that has an address: the last good answer, the [`default_answer`], every address that is known. It is
/// empty only if none is known.
pub fn fallback(host: &Host, places: &Places, last_good: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let known = || host.candidates().iter().flat_map(|candidate| candidates::addresses(candidate, places));
    let tries: [&dyn Fn() -> BTreeSet<IpAddr>; 3] =
        [&|| last_good.clone(), &|| default_answer(host).addresses().collect(), &|| known().collect()];
    tries.iter().map(|addresses| addresses()).find(|addresses| !addresses.is_empty()).unwrap_or_default()
}
