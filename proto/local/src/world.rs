//! A region in which anything may happen in any order: a control node, six agents (three relays, two holders of one Origin, and another
//! one; in every third run one of the holders is a relay) and three gateways, below a holder, a relay and another agent. They run what
//! processes run: sessions, merges, keepers of Origins and holders, on a clock of the test, with frames between them that are late, lost
//! and forged.
//!
//! A run comes from a seed. `HANSE_WORLD_SEEDS` asks for more of them than the few of CI, and `HANSE_WORLD_SEED` for one alone:
//! `HANSE_WORLD_SEED=17 cargo test -p hanse-local --lib world::runs`.

mod check;
mod control;
mod event;
mod exchange;
mod forging;
mod node;
mod random;
mod region;
mod stream;
mod truth;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_identity::{Authority, KeyDigest, KeyPair, LiveAuthority, LiveTrust};
use hanse_link::Replicas;
use hanse_process::{bring_back, seeded};
use hanse_sync::{HeadSignature, Heads, Replica, ReplicaMap};
use hanse_topology::{Lineage, Name, Position, ScopeId};
use tokio::sync::watch;

use crate::{
    Draw, Holding, HoldingHandle, Merge, OriginKeeper, Origins, Wish, Wishes, head,
    testbed::{at, name, runtime_scope},
};
use event::Event;
use region::Region;

/// The local scope.
fn local() -> ScopeId {
    crate::testbed::pods("production")
}

/// The key for which every source wishes.
const COMMON: &str = "common";
/// What the key begins with for which the source of one agent alone wishes.
const ONLY: &str = "only-";
/// How much happens in a run, before the region settles.
const EVENTS: usize = 70;
/// Runs in CI.
const DEFAULT_SEEDS: u64 = 12;

/// What happened in runs, to show that they are worth something.
#[derive(Debug, Default)]
struct Seen {
    published: u32,
    takeovers: u32,
    forged: u32,
    lies: u32,
    /// Heads of the local scope that subscribers took in.
    local: u32,
    alarms: BTreeMap<&'static str, u32>,
    /// The longest time until a region settled.
    slowest: Duration,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.published += other.published;
        self.takeovers += other.takeovers;
        self.forged += other.forged;
        self.lies += other.lies;
        self.local += other.local;
        for (kind, count) in other.alarms {
            *self.alarms.entry(kind).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// A run in which something did not hold.
struct Failure {
    seed: u64,
    what: String,
    steps: Vec<(Duration, Event)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in &self.steps {
            writeln!(f, "{:>8.3} s  {event:?}", at.as_secs_f64())?;
        }
        let Self { seed, what, .. } = self;
        write!(f, "{what}\nagain: HANSE_WORLD_SEED={seed} cargo test -p hanse-local --lib world::runs")
    }
}

/// One run, with so much that happens.
fn run(seed: u64, events: usize) -> Result<Seen, Failure> {
    let failed = |what: String, steps| Failure { seed, what, steps };
    let mut region = Region::new(seed).map_err(|what| failed(what, Vec::new()))?;
    let go = |region: &mut Region| {
        for _ in 0..events {
            let mut random = region.random.clone();
            let event = event::draw(&mut random, region);
            region.random = random;
            region.happens(event)?;
        }
        region.settle()
    };
    let gone = catch_unwind(AssertUnwindSafe(|| go(&mut region)));
    match gone.unwrap_or_else(|_| Err("it panicked".to_owned())) {
        Ok(()) => Ok(region.seen),
        Err(what) => Err(failed(what, region.steps)),
    }
}

/// The seeds that are asked for.
fn seeds() -> std::ops::Range<u64> {
    let number = |variable: &str| {
        let text = std::env::var(variable).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{variable} is a number, and not {text:?}")))
    };
    match number("HANSE_WORLD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HANSE_WORLD_SEEDS").unwrap_or(DEFAULT_SEEDS),
    }
}

#[test]
fn runs() {
    let (mut all, seeds) = (Seen::default(), seeds());
    for seed in seeds.clone() {
        match run(seed, EVENTS) {
            Ok(seen) => all.add(seen),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{all:?}");
    // Runs are worth something only if they get somewhere.
    if seeds.start == 0 && seeds.end >= DEFAULT_SEEDS {
        let forged = all.alarms.get("forged head").copied().unwrap_or_default();
        assert!(all.published >= 100 && all.takeovers >= 50 && all.local >= 1_000, "{all:?}");
        assert!(forged >= 30 && all.lies >= 15, "{all:?}");
    }
}

/// How many seeds may pass before a bug that is brought back is found.
const FOUND_WITHIN: u64 = 40;

/// A check counts only if it fails where something is wrong: each of these bugs is found, and by the check that is meant for it.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build brings no bug back")]
fn bugs_that_are_brought_back_are_found() {
    for (bug, words) in [
        ("judge-nothing", "it holds what was forged"),
        ("forge-local-head", "where its signer"),
        ("mix-holders", "it mixes"),
        ("keep-counter", "not settled"),
        ("merge-latest", "it went back"),
        ("believe-unsigned-hello", "not settled"),
        ("withdraw-local", "it lost a route"),
        ("hang-up", "the stream ends"),
        ("starve", "of a runtime scope"),
    ] {
        let failed = |seed| run(seed, EVENTS).err().filter(|failure| failure.what.contains(words));
        let failure = bring_back(bug, || (0..FOUND_WITHIN).find_map(failed));
        let Failure { seed, what, steps } = failure.unwrap_or_else(|| panic!("{bug} is not found"));
        println!("{bug}: seed {seed}, after {} steps: {what}", steps.len());
    }
}
