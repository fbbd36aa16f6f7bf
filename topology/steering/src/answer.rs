//! Which regions answer for a host: a chain of rules, of which each narrows the candidates that the one before left.

mod by_client;
mod candidates;
mod fallback;
mod health;
mod plan;
mod policy;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hanse_topology::Name;
use ipnet::IpNet;

pub use self::{
    candidates::{NO_ADDRESS, NOT_SERVING},
    fallback::{NEVER_EMPTY, fallback},
    health::{ALL_BAD, DOWN, UNKNOWN_STAYS},
    plan::PLAN,
    policy::{FAILOVER, GEO, MULTIVALUE, ORIGIN, WEIGHTED},
};
use crate::{
    Candidate, Host, Left, Places, Seen, Spot, Trace, draw::Draw, seeded::seeded, seen::NO_PLACES, set::Set,
};

/// A rule that would leave no candidate is skipped, and this says so.
///
/// Cloudflare, February 2026: an empty filter was read as "everything", and prefixes of customers were withdrawn. Here a rule
/// that matches nothing changes nothing.
pub const WOULD_EMPTY: &str = "would-empty";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its network, or that of its resolver, as far as it is known. An IPv4 address is an IPv4 network here, never a mapped one.
    pub prefix: Option<IpNet>,
    /// Where it is.
    pub spot: Option<Spot>,
    /// A random number, another one for each query. So the weights hold also where all clients are behind one resolver.
    pub draw: u64,
}

/// Which regions answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    host: &'a Host,
    places: &'a Places,
    left: Set,
    by_client: bool,
}

impl<'a> Answer<'a> {
    /// The regions, by name. There is none only if no address of any candidate is known.
    pub fn regions(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        Left { host: self.host, set: self.left }.regions()
    }

    /// The addresses of the regions, region by region.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let (host, places) = (self.host, self.places);
        self.left.iter().flat_map(move |at| candidates::addresses(&host.candidates()[at], places))
    }

    /// Whether a client with another prefix or place would get other regions: with the same draw, and of the same regions'
    /// health. A client without a prefix or a place counts as another one, too. A resolver may give an answer for which this is
    /// false to all of its clients (RFC 7871, section 7.2.1: scope 0).
    pub fn by_client(&self) -> bool {
        self.by_client
    }
}

/// Which regions answer to a client: `no-address`, `not-serving`, `down`, `unknown-stays`, `plan`, and then the steps of the
/// policy.
pub fn answer<'a>(host: &'a Host, seen: Seen<'a>, client: &Client, trace: &mut impl Trace) -> Answer<'a> {
    resolve(host, seen, client.prefix, client.spot, Draw::new(client.draw), trace)
}

/// Which regions answer to nobody in particular, whatever their health: what is committed alone decides. Secondaries and other
/// people's name servers get these addresses, so each of them holds for every client and until the next commit.
///
/// Chance decides nothing. Where `plan` and `weighted` would draw, those with the greatest share stay.
pub fn default_answer(host: &Host) -> Answer<'_> {
    let nothing = Seen { places: &NO_PLACES, now: std::time::Duration::ZERO };
    Answer { by_client: false, ..resolve(host, nothing, None, None, Draw::NONE, &mut ()) }
}

fn resolve<'a>(
    host: &'a Host,
    seen: Seen<'a>,
    prefix: Option<IpNet>,
    spot: Option<Spot>,
    draw: Draw,
    trace: &mut impl Trace,
) -> Answer<'a> {
    assert!(!seeded("panic-in-a-rule"), "a test brings this bug back");
    let mut chain = Chain { host, left: Set::default(), trace };
    candidates::with_address(&mut chain, seen.places);
    candidates::serving(&mut chain);
    health::not_down(&mut chain, seen);
    let draw = plan::share(&mut chain, draw);
    let before = chain.left;
    policy::steps(&mut chain, prefix, spot, draw);
    let left = chain.left;
    let by_client = by_client::differs(host, before, draw, left);
    Answer { host, places: seen.places, left, by_client }
}

/// The candidates on their way through the rules.
struct Chain<'a, T> {
    host: &'a Host,
    /// By place in `host.candidates()`. Only `narrow` takes candidates away.
    left: Set,
    trace: &'a mut T,
}

/// A rule where it applies.
#[derive(Clone, Copy)]
struct Rule {
    name: &'static str,
    /// The place of the policy's step, where it is one.
    step: Option<usize>,
    /// The name under which it is skipped where it would leave nothing.
    otherwise: &'static str,
}

impl Rule {
    const fn named(name: &'static str) -> Self {
        Self { name, step: None, otherwise: WOULD_EMPTY }
    }

    const fn step(name: &'static str, at: usize) -> Self {
        Self { name, step: Some(at), otherwise: WOULD_EMPTY }
    }
}

impl<T: Trace> Chain<'_, T> {
    /// Leaves those candidates that are in `kept`, unless none is.
    fn narrow(&mut self, rule: Rule, kept: Set, looked_at: impl FnOnce() -> String) {
        let kept = self.left.and(kept);
        if kept.is_empty() && !seeded("empty-answer") {
            let looked_at = || format!("{} would leave none: {}", rule.name, looked_at());
            return self.tell(rule.otherwise, rule.step, looked_at);
        }
        self.left = kept;
        self.tell(rule.name, rule.step, looked_at);
    }

    fn tell(&mut self, rule: &'static str, step: Option<usize>, looked_at: impl FnOnce() -> String) {
        self.trace.rule(rule, step, looked_at, Left { host: self.host, set: self.left });
    }
}

/// `describe` of each of these candidates after its region: `eu-west 3, us-east 1`.
fn each(host: &Host, set: Set, describe: impl Fn(usize, &Candidate) -> String) -> String {
    let one = |at: usize| {
        let candidate = &host.candidates()[at];
        format!("{} {}", candidate.region, describe(at, candidate))
    };
    set.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The regions of these candidates.
fn names(host: &Host, set: Set) -> String {
    let names: Vec<&str> = Left { host, set }.regions().map(Name::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
