//! Which regions answer for a host. Each rule of a chain narrows the candidates that the rule before left.

mod candidates;
mod fallback;
mod health;
mod plan;
mod policy;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hanse_topology::{Name, is_brought_back};
use ipnet::IpNet;

pub use self::{
    candidates::{FAMILY, Family, NO_ADDRESS, NOT_SERVING},
    fallback::{NEVER_EMPTY, fallback},
    health::{ALL_BAD, DOWN, UNKNOWN_STAYS},
    plan::PLAN,
    policy::{FAILOVER, GEO, MULTIVALUE, ORIGIN, WEIGHTED},
};
use crate::{Candidate, Host, Places, Remaining, Seen, Spot, Trace, draw::Draw, seen::NO_PLACES, set::Set};

/// A rule that would leave no candidate is skipped, and this says so.
///
/// Cloudflare, February 2026: an empty filter was read as "everything", and prefixes of customers were withdrawn. Here a rule
/// that matches nothing changes nothing.
pub const WOULD_EMPTY: &str = "would-empty";

/// The client of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its network, or that of its resolver, as far as it is known. An IPv4 address is an IPv4 network here, never a mapped one.
    pub prefix: Option<IpNet>,
    /// The addresses that it asks for; `None`: of both families.
    pub family: Option<Family>,
    /// Where it is.
    pub spot: Option<Spot>,
    /// A random number, another one for each query. So the weights also hold where all clients are behind one resolver.
    pub draw: u64,
}

/// Which regions answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    host: &'a Host,
    places: &'a Places,
    remaining: Set,
    by_client: bool,
}

impl<'a> Answer<'a> {
    /// The regions, by name. There is none only if no address of any candidate is known.
    pub fn regions(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        Remaining { host: self.host, set: self.remaining }.regions()
    }

    /// The addresses of the regions, region by region.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let (host, places) = (self.host, self.places);
        self.remaining.iter().flat_map(move |at| candidates::addresses(&host.candidates()[at], places))
    }

    /// Whether the answer belongs to the client's network. Where it is false, a resolver may give the answers for this host to
    /// all of its clients (RFC 7871, section 7.2.1: scope 0): with the same draw, every client gets the same regions.
    ///
    /// It holds for the family that was asked for. It is true exactly if a step `origin` or `geo` met more than one candidate, or
    /// follows a choice by chance that left more than one of several. So it is the same for every client and every draw, as long as the regions' health and addresses stay.
    /// It may be true although all clients get one answer: `origin: 10.0.0.0/8 → eu, us` and then `failover: eu, us` leads
    /// all clients to eu. That costs entries in a resolver's cache, and leads no client elsewhere.
    pub fn by_client(&self) -> bool {
        self.by_client
    }
}

/// Which regions answer to a client: `no-address`, `not-serving`, `down`, `unknown-stays`, `family`, `plan`, and then the steps of
/// the policy.
pub fn answer<'a>(host: &'a Host, seen: Seen<'a>, client: &Client, trace: &mut impl Trace) -> Answer<'a> {
    resolve(host, seen, client, Draw::new(client.draw), trace)
}

/// The regions for any client. Only what is committed decides, and no region's health. Secondaries and name servers of other
/// vendors get these addresses, so the answer holds for every client and until the next commit.
///
/// Chance decides nothing. Where `plan` and `weighted` would draw, the candidates with the greatest share stay.
pub fn default_answer(host: &Host) -> Answer<'_> {
    let nothing = Seen { places: &NO_PLACES, now: std::time::Duration::ZERO };
    let anybody = Client { prefix: None, family: None, spot: None, draw: 0 };
    Answer { by_client: false, ..resolve(host, nothing, &anybody, Draw::NONE, &mut ()) }
}

fn resolve<'a>(
    host: &'a Host,
    seen: Seen<'a>,
    client: &Client,
    draw: Draw,
    trace: &mut impl Trace,
) -> Answer<'a> {
    assert!(!is_brought_back("panic-in-a-rule"), "a test brings this bug back");
    let remaining = candidates::with_address(host, seen.places, trace);
    let mut chain = Chain { host, remaining, several_by_chance: false, by_client: false, trace };
    if !remaining.is_empty() {
        candidates::serving(&mut chain);
        health::not_down(&mut chain, seen);
        candidates::of_family(&mut chain, seen.places, client.family);
        let draw = plan::share(&mut chain, draw);
        policy::steps(&mut chain, client.prefix, client.spot, draw);
    }
    Answer { host, places: seen.places, remaining: chain.remaining, by_client: chain.by_client }
}

/// The candidates on their way through the rules.
struct Chain<'a, T> {
    host: &'a Host,
    /// By place in `host.candidates()`. There is one at least, and only `narrow` takes candidates away.
    remaining: Set,
    /// Whether chance chose some candidates and left more than one. How many a later rule leaves of them depends on the draw.
    several_by_chance: bool,
    /// See [`Answer::by_client`].
    by_client: bool,
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
        let kept = self.remaining.and(kept);
        if kept.is_empty() && !is_brought_back("empty-answer") {
            let looked_at = || format!("{} would leave none: {}", rule.name, looked_at());
            return self.report(rule.otherwise, rule.step, looked_at);
        }
        self.remaining = kept;
        self.report(rule.name, rule.step, looked_at);
    }

    /// Narrows to candidates that the draw chose. How many these are does not depend on the draw.
    fn narrow_by_chance(&mut self, rule: Rule, chosen: Set, looked_at: impl FnOnce() -> String) {
        let before = self.remaining;
        self.narrow(rule, chosen, looked_at);
        if self.remaining != before && self.remaining.len() > 1 && !is_brought_back("by-one-draw") {
            self.several_by_chance = true;
        }
    }

    /// A step is about to read the client's prefix or spot.
    fn reads_client(&mut self) {
        let several = self.remaining.len() > 1 || self.several_by_chance;
        self.by_client |= several && !is_brought_back("one-for-all");
    }

    fn report(&mut self, rule: &'static str, step: Option<usize>, looked_at: impl FnOnce() -> String) {
        self.trace.rule(rule, step, looked_at, Remaining { host: self.host, set: self.remaining });
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
    let names: Vec<&str> = Remaining { host, set }.regions().map(Name::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
