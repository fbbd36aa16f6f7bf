//! The percents of a failover plan that moves in steps.

use hanse_topology::WHOLE_PERCENT;

use super::{Chain, Rule, each};
use crate::{Trace, draw::Draw, set::Set};

/// While a failover plan moves in steps, chance leads its percents of the clients to each of its regions. Regions that no plan
/// divides stay.
///
/// Cloudflare, November and December 2025, and Google Cloud, June 2025: a change reached everything within seconds, and with it
/// its fault.
pub const PLAN: &str = "plan";

pub(super) fn share<T: Trace>(chain: &mut Chain<'_, T>, draw: Draw) -> Draw {
    let (host, before) = (chain.host, chain.remaining);
    let percent = |at: usize| u32::from(host.candidates()[at].percent);
    // All are 0 where `not-serving` was skipped: then no percent divides anything.
    let divided = before.filter(|at| (1..u32::from(WHOLE_PERCENT)).contains(&percent(at)));
    if divided.is_empty() {
        return draw;
    }
    let (chosen, draw) = in_proportion(divided, percent, draw);
    let kept = before.filter(|at| chosen.has(at) || !divided.has(at));
    chain.narrow_by_chance(Rule::named(PLAN), kept, || {
        each(host, before, |_, candidate| format!("{}%", candidate.percent))
    });
    draw
}

/// One candidate, each as often as its weight says. Without a draw, those with the greatest weight. None if all weights are 0.
pub(super) fn in_proportion(from: Set, weight: impl Fn(usize) -> u32, draw: Draw) -> (Set, Draw) {
    let total = from.iter().map(|at| u64::from(weight(at))).sum();
    if total == 0 {
        return (Set::default(), draw);
    }
    let Some((mut point, rest)) = draw.below(total) else {
        let greatest = from.iter().map(&weight).max();
        return (from.filter(|at| Some(weight(at)) == greatest), draw);
    };
    let chosen = from.iter().find(|&at| {
        let share = u64::from(weight(at));
        let within = point < share;
        point = point.saturating_sub(share);
        within
    });
    (chosen.map(Set::only).unwrap_or_default(), rest)
}
