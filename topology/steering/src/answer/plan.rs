//! The shares of a plan that moves in steps.

use super::{Chain, Rule, each};
use crate::{Trace, WHOLE, draw::Draw, set::Set};

/// While a plan moves in steps, chance leads its percents of the clients to each region.
///
/// Cloudflare, November and December 2025, and Google Cloud, June 2025: a change reached everything within seconds, and with it
/// its fault.
pub const PLAN: &str = "plan";

pub(super) fn share<T: Trace>(chain: &mut Chain<'_, T>, draw: Draw) -> Draw {
    let (host, before) = (chain.host, chain.left);
    let percent = |at: usize| u32::from(host.candidates()[at].percent);
    if before.iter().all(|at| percent(at) == 0 || percent(at) == u32::from(WHOLE)) {
        return draw;
    }
    let (kept, draw) = in_proportion(before, percent, draw);
    chain.narrow(Rule::named(PLAN), kept, || each(host, before, |_, one| format!("{}%", one.percent)));
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
