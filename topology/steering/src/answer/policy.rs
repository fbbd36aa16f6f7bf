//! The steps of a host's policy.

use ipnet::IpNet;

use super::{Chain, Rule, each, names, plan::in_proportion};
use crate::{Spot, Trace, draw::Draw, host::Compiled, set::Set};

/// By the client's network. A client that is in no rule's network keeps all candidates.
pub const ORIGIN: &str = "origin";
/// The nearest to the client by the great circle.
pub const GEO: &str = "geo";
/// By chance, in proportion to weights.
pub const WEIGHTED: &str = "weighted";
/// The first in order.
pub const FAILOVER: &str = "failover";
/// A number of them.
pub const MULTIVALUE: &str = "multivalue";

pub(super) fn steps<T: Trace>(
    chain: &mut Chain<'_, T>,
    prefix: Option<IpNet>,
    spot: Option<Spot>,
    mut draw: Draw,
) {
    for (at, step) in chain.host.steps().iter().enumerate() {
        match step {
            Compiled::Origin(networks) => {
                chain.reads_client();
                let found = prefix.and_then(|prefix| networks.longest(prefix));
                let kept = found.map_or(chain.remaining, |(_, regions)| regions);
                let host = chain.host;
                chain.narrow(Rule::step(ORIGIN, at), kept, || match (prefix, found) {
                    (None, _) => "the client's network is not known".to_owned(),
                    (Some(prefix), None) => format!("no rule has {prefix}"),
                    (Some(prefix), Some((network, regions))) => {
                        format!("{network} has {prefix}: {}", names(host, regions))
                    }
                });
            }
            Compiled::Geo { default } => geo(chain, at, *default, spot),
            Compiled::Weighted(weights) => {
                let (host, before) = (chain.host, chain.remaining);
                let kept;
                (kept, draw) = in_proportion(before, |at| weights[at], draw);
                chain.narrow_by_chance(Rule::step(WEIGHTED, at), kept, || {
                    each(host, before, |at, _| weights[at].to_string())
                });
            }
            Compiled::Failover(order) => {
                let first = order.iter().copied().find(|&at| chain.remaining.has(at));
                let host = chain.host;
                chain.narrow(Rule::step(FAILOVER, at), first.map(Set::only).unwrap_or_default(), || {
                    let order = order.iter().map(|&at| host.candidates()[at].region.as_str());
                    format!("in this order: {}", order.collect::<Vec<_>>().join(", "))
                });
            }
            Compiled::Multivalue(count) => {
                let kept;
                (kept, draw) = some(chain.remaining, *count, draw);
                chain.narrow_by_chance(Rule::step(MULTIVALUE, at), kept, || format!("at most {count}"));
            }
        }
    }
}

/// The nearest of the regions whose place is known. `default` counts where the client's place is not known, or that of no
/// region left.
fn geo<T: Trace>(chain: &mut Chain<'_, T>, at: usize, default: Set, spot: Option<Spot>) {
    chain.reads_client();
    let (host, before) = (chain.host, chain.remaining);
    let apart = |at: usize| Some(host.candidates()[at].spot?.apart(&spot?));
    let least = before.iter().filter_map(apart).min();
    let kept = match least {
        Some(least) => before.filter(|at| apart(at) == Some(least)),
        None => default,
    };
    chain.narrow(Rule::step(GEO, at), kept, || {
        let is_at =
            |spot: Option<Spot>| spot.map_or("at no known place".to_owned(), |spot| format!("at {spot}"));
        let regions = each(host, before, |_, candidate| is_at(candidate.spot));
        match least {
            Some(_) => format!("the client {}; {regions}", is_at(spot)),
            None => format!("the client {}; {regions}; by default {}", is_at(spot), names(host, default)),
        }
    });
}

/// `count` of them, in the order of their names from the one on that is drawn. Without a draw the first.
fn some(from: Set, count: usize, draw: Draw) -> (Set, Draw) {
    let all = from.len();
    if count >= all {
        return (from, draw);
    }
    let (start, draw) = draw.below(all as u64).unwrap_or((0, draw));
    let turned = from.iter().chain(from.iter()).skip(start as usize);
    (turned.take(count).collect(), draw)
}
