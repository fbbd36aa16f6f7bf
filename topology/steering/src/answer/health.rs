//! Which regions are down, by their own reports.

use std::time::Duration;

use super::{Chain, Rule, each};
use hanse_topology::is_brought_back;

use crate::{Health, Seen, Trace, set::Set};

/// A region that reports that it is down is no candidate. Only its own report takes it out, and only for [`MAX_HEALTH_AGE`].
///
/// AWS, October 2025: health checkers on machines that were not ready themselves took good nodes out, and put them back, again
/// and again. So only the region's own agents count here.
///
/// [`MAX_HEALTH_AGE`]: crate::MAX_HEALTH_AGE
pub const DOWN: &str = "down";

/// When all regions are down, health says nothing, and all of them stay.
///
/// AWS, October 2025: checks that failed for reasons of their own took capacity out of service, and the rest could not carry
/// the load.
pub const ALL_BAD: &str = "all-bad";

/// A region without a recent report stays, and the trace has the age of its last report.
///
/// Cloudflare, November 2025: the status page failed by chance at the same time, and misled the search for the cause. A lost view
/// says nothing of the region that it showed.
pub const UNKNOWN_STAYS: &str = "unknown-stays";

pub(super) fn not_down<T: Trace>(chain: &mut Chain<'_, T>, seen: Seen<'_>) {
    let (host, before) = (chain.host, chain.remaining);
    let health = |at: usize| seen.health(&host.candidates()[at].region);
    let (mut down, mut unknown) = (Set::default(), Set::default());
    for at in before.iter() {
        match health(at) {
            Health::Up(_) => {}
            Health::Down(_) => down = down.or(Set::only(at)),
            Health::Unknown(_) => unknown = unknown.or(Set::only(at)),
        }
    }
    if is_brought_back("down-stays-first") {
        down = down.iter().skip(1).collect();
    }
    let rule = Rule { otherwise: ALL_BAD, ..Rule::named(DOWN) };
    let looked_at = || each(host, before, |at, _| describe(health(at)));
    chain.narrow(rule, before.filter(|at| !down.has(at)), looked_at);
    if !unknown.is_empty() {
        chain.report(UNKNOWN_STAYS, None, || each(host, unknown, |at, _| describe(health(at))));
    }
}

fn describe(health: Health) -> String {
    let ago = |age: Duration| format!("{} ms ago", age.as_millis());
    match health {
        Health::Up(age) => format!("reported up {}", ago(age)),
        Health::Down(age) => format!("reported down {}", ago(age)),
        Health::Unknown(Some(age)) => format!("last reported {}", ago(age)),
        Health::Unknown(None) => "never reported".to_owned(),
    }
}
