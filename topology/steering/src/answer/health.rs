//! Which regions are down, as they say themselves.

use std::time::Duration;

use super::{Chain, Rule, each};
use crate::{Health, Seen, Trace, seeded::seeded, set::Set};

/// A region that says that it is down is no candidate. Only its own word takes it out, and only while the word counts.
///
/// AWS, October 2025: health checkers on machines that were not ready themselves took good nodes out, and put them back, again
/// and again. So nobody else's view of a region counts here.
pub const DOWN: &str = "down";

/// When all regions are down, health says nothing, and all of them stay.
///
/// AWS, October 2025: checks that failed for reasons of their own took capacity out of service, and the rest could not carry
/// the load.
pub const ALL_BAD: &str = "all-bad";

/// A region of which no word counts stays, and the age of its last word is said.
///
/// Cloudflare, November 2025: the status page failed by chance at the same time, and misled those who looked for the cause. A
/// view that is lost says nothing of what it showed.
pub const UNKNOWN_STAYS: &str = "unknown-stays";

pub(super) fn not_down<T: Trace>(chain: &mut Chain<'_, T>, seen: Seen<'_>) {
    let (host, before) = (chain.host, chain.left);
    let health = |at: usize| seen.health(&host.candidates()[at].region);
    let (mut down, mut unknown) = (Set::default(), Set::default());
    for at in before.iter() {
        match health(at) {
            Health::Up(_) => {}
            Health::Down(_) => down = down.or(Set::only(at)),
            Health::Unknown(_) => unknown = unknown.or(Set::only(at)),
        }
    }
    if seeded("down-stays-first") {
        down = down.iter().skip(1).collect();
    }
    let rule = Rule { otherwise: ALL_BAD, ..Rule::named(DOWN) };
    let looked_at = || each(host, before, |at, _| describe(health(at)));
    chain.narrow(rule, before.filter(|at| !down.has(at)), looked_at);
    if !unknown.is_empty() {
        chain.tell(UNKNOWN_STAYS, None, || each(host, unknown, |at, _| describe(health(at))));
    }
}

fn describe(health: Health) -> String {
    let ago = |age: Duration| format!("{} ms ago", age.as_millis());
    match health {
        Health::Up(age) => format!("said up {}", ago(age)),
        Health::Down(age) => format!("said down {}", ago(age)),
        Health::Unknown(Some(age)) => format!("last said anything {}", ago(age)),
        Health::Unknown(None) => "said nothing".to_owned(),
    }
}
