//! Attacks: what a peer may try at a node's ports, and what honest clients beside it notice.
//!
//! One run of an attack ([`measure()`]) has three phases. *Quiet*: honest clients alone. *Attack*: the same honest clients
//! beside the attacker. *After*: the attacker has gone, and the node's memory is watched until it is back. Honest clients are
//! open-loop load with a ledger: default reads of the operator API over kept connections, the same over a new connection for
//! each, and calls of an API through a gateway. [`Outcome::verdict`] holds the four bounds that the product promises.
//!
//! # Adding an attack
//!
//! 1. A file in `attack/` with one `pub(super) const NAME: Attack`. `run` attacks until `strength.until` and returns then; what it
//!    holds open goes with it. `strength.scale` is 1 in CI and 10 by command: multiply counts by it. `run` fails when it
//!    *succeeded* at something that must be refused ("cp-1 was removed"), not when a connection is closed on it, and when it
//!    did not attack: it counts what reached the port (`count`) and asks for as much as it is named for.
//! 2. `beside`, where something other than the three honest clients must go on working: it runs once, during the attack.
//! 3. A line in [`ALL`].
//!
//! `tests/it/attack.rs` runs every attack of the list at scale 1, `hanse-chaos attack [NAME…]` at scale 10.

mod arena;
mod body;
mod count;
mod halves;
mod honest;
mod idle;
pub(crate) mod memory;
mod names;
mod peers;
pub(crate) mod pin;
mod report;
mod untaken;

use std::{
    pin::Pin,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
pub use arena::Arena;
use serde::Serialize;

use crate::{World, WorldOptions, process::resident_bytes};
use count::NotAttacked;
use honest::Honest;
use memory::Peak;
pub use report::{AttackArgs, run};

/// Every attack, in the order in which they run.
pub const ALL: &[Attack] = &[
    idle::CONNECTIONS,
    idle::HALF_HEADS,
    idle::HANDSHAKES,
    idle::AT_AGENT,
    idle::GATEWAY,
    untaken::ANSWERS,
    halves::ENROL,
    names::ONE_KEY,
    names::SEAT,
    peers::GHOST,
    peers::TWIN,
    peers::FOREIGN,
    body::NODES,
];

/// Descriptors that each attacked node has: the soft limit of most systems, so that an attack of CI's size can reach it.
pub const DESCRIPTORS: u32 = 1_024;

/// A node has so long to give memory back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Its memory counts as back below this share of what it was when quiet.
const BACK_PERCENT: u64 = 120;
/// A node may hold so much more while it is attacked.
const MOST_MEMORY: u64 = 100 << 20;
/// Honest requests may take so many times as long beside an attacker.
const MOST_SLOWDOWN: u32 = 2;
/// As much of a slowdown is put down to the machine, on which the attacker works too: where calls of the upstream itself, which
/// is not attacked, become slower, so does everything.
const MOST_BUSIER: f64 = 3.0;
/// The 99th percentile of some hundred requests on two busy cores varies by this much without any attack. A shorter answer than
/// that is not judged by its ratio.
const NOISE: Duration = Duration::from_millis(25);

/// A future that is run on the attacker's own thread.
pub type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
/// A future that uses the federation.
pub type Using<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// How hard to attack.
#[derive(Debug, Clone, Copy)]
pub struct Strength {
    /// 1 in CI, 10 by command: counts are multiplied by it.
    pub scale: usize,
    /// When to stop.
    pub until: Instant,
}

impl Strength {
    /// Returns when it is time to stop.
    pub async fn over(&self) {
        tokio::time::sleep_until(self.until.into()).await;
    }
}

/// One attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its name, as the command takes it.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The node that is attacked: its memory is watched.
    pub node: &'static str,
    /// Attacks.
    pub run: fn(Arena, Strength) -> Running,
    /// What else must work meanwhile.
    pub beside: Option<for<'a> fn(&'a mut World) -> Using<'a>>,
}

/// What one run of an attack showed.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The attack.
    pub attack: &'static str,
    /// The node that was attacked.
    pub node: &'static str,
    /// Honest requests sent beside the attacker, and how many of them failed.
    pub requests: usize,
    /// See `requests`.
    pub failed: usize,
    /// The honest client that came nearest to its bound.
    pub slowest: String,
    /// Its 99th percentile when quiet, in milliseconds.
    pub quiet_p99_ms: f64,
    /// The same beside the attacker.
    pub attacked_p99_ms: f64,
    /// How many times as long calls took beside the attacker that meet no node at all: the 99th percentile, 1 to 3.
    pub busier: f64,
    /// Resident bytes of the node when quiet.
    pub quiet_bytes: u64,
    /// The most it had while attacked.
    pub peak_bytes: u64,
    /// What it had when it was back within 20% of quiet, or after a minute.
    pub after_bytes: u64,
    /// How long after the attack that was, in seconds.
    pub after_seconds: f64,
    /// What the attacker did less of than the attack stands for: the machine was too slow for it.
    pub too_weak: Option<String>,
    /// What failed, for people; empty when nothing did.
    pub failures: Vec<String>,
}

impl Outcome {
    /// Whether nothing failed, but a busy machine may be why the bounds do not hold: honest clients were slower than allowed,
    /// or the attacker did too little.
    pub fn is_unclear(&self) -> bool {
        let clear = Self { attacked_p99_ms: 0.0, too_weak: None, ..self.clone() };
        (self.is_slow() || self.too_weak.is_some()) && clear.verdict().is_ok()
    }

    fn is_slow(&self) -> bool {
        self.attacked_p99_ms > ms(allowed(Duration::from_secs_f64(self.quiet_p99_ms / 1e3), self.busier))
    }

    /// Nothing, if the node kept what it promises; else what it did not.
    pub fn verdict(&self) -> Result<()> {
        let mut broken = self.failures.clone();
        broken.extend(self.too_weak.clone());
        if self.requests == 0 {
            broken.push("no honest request was sent: nothing was shown".to_owned());
        }
        if self.is_slow() {
            broken.push(format!(
                "{}: p99 {:.1} ms beside the attacker, {:.1} ms when quiet",
                self.slowest, self.attacked_p99_ms, self.quiet_p99_ms
            ));
        }
        if self.peak_bytes > self.quiet_bytes + MOST_MEMORY {
            broken.push(format!("memory grew from {} to {} bytes", self.quiet_bytes, self.peak_bytes));
        }
        if self.after_bytes > self.quiet_bytes * BACK_PERCENT / 100 {
            broken.push(format!(
                "after {:.0} s memory was {} bytes, {} when quiet",
                self.after_seconds, self.after_bytes, self.quiet_bytes
            ));
        }
        if !broken.is_empty() {
            bail!("{} at {}: {}", self.attack, self.node, broken.join("\n"));
        }
        Ok(())
    }
}

/// What the 99th percentile of an honest client may be, by what it is when quiet, on a machine that is so much busier.
fn allowed(quiet: Duration, busier: f64) -> Duration {
    (quiet * MOST_SLOWDOWN).mul_f64(busier).max(NOISE)
}

/// A federation to attack: as `hanse dev` makes it, with one published API, and few descriptors for each node.
pub async fn world() -> Result<World> {
    let options = WorldOptions { descriptors: Some(DESCRIPTORS), ..WorldOptions::default() };
    let world = World::set_up(options).await?;
    honest::publish(&world)?;
    Ok(world)
}

/// Runs one attack for `seconds`, with as long a quiet phase before it. `pinned`: the attacker gets one core, the node the other.
pub async fn measure(
    world: &mut World,
    attack: &Attack,
    scale: usize,
    seconds: Duration,
    pinned: bool,
) -> Result<Outcome> {
    if pinned {
        pin::to_core(pin::NODE, world.process(attack.node)?.pid().context("the node runs")?)?;
    }
    let honest = Honest::of(world, attack.node)?;
    let quiet = honest.for_some_time(seconds).await?;
    quiet.verdict(&[]).context("honest clients fail without any attack")?;
    let process = world.process(attack.node)?.pid().context("the node runs")?;
    let quiet_bytes = resident_bytes(process)?;

    let peak = Peak::of(process)?;
    let strength = Strength { scale, until: Instant::now() + seconds };
    let attacker = attacker(attack, Arena::of(world)?, strength, pinned)?;
    let load = honest.start()?;
    let mut failures = Vec::new();
    let beside = async {
        match attack.beside {
            Some(beside) => beside(world).await,
            None => Ok(()),
        }
    };
    if let Err(error) = beside.await {
        failures.push(format!("beside the attacker: {error:#}"));
    }
    strength.over().await;
    let attacked = tokio::task::spawn_blocking(|| load.stop()).await??;
    let ended = tokio::task::spawn_blocking(|| attacker.join()).await?;
    let mut too_weak = None;
    if let Err(error) = ended.map_err(|_| anyhow::anyhow!("the attacker panicked"))? {
        let told = format!("the attacker: {error:#}");
        if error.is::<NotAttacked>() { too_weak = Some(told) } else { failures.push(told) }
    }
    let peak_bytes = tokio::task::spawn_blocking(|| peak.stop()).await??;
    if let Err(error) = attacked.verdict(&[]) {
        failures.push(error.to_string());
    }
    if let Some(status) = world.process_mut(attack.node)?.ended()? {
        failures.push(format!("the node ended with {status}"));
    }
    let (after_bytes, after_seconds) =
        memory::back(process, quiet_bytes * BACK_PERCENT / 100, BACK_WITHIN).await;
    let busier = honest::slowdown_without_node(&quiet, &attacked).clamp(1.0, MOST_BUSIER);
    let (slowest, quiet_p99, attacked_p99) = honest::slowest(&quiet, &attacked);
    Ok(Outcome {
        attack: attack.name,
        node: attack.node,
        requests: attacked.entries().len(),
        failed: attacked.failures().count(),
        slowest,
        quiet_p99_ms: ms(quiet_p99),
        attacked_p99_ms: ms(attacked_p99),
        busier: (busier * 100.0).round() / 100.0,
        quiet_bytes,
        peak_bytes,
        after_bytes,
        after_seconds,
        too_weak,
        failures,
    })
}

/// Starts the attacker on a thread and a runtime of its own, so that it takes no turn from honest clients.
fn attacker(
    attack: &Attack,
    arena: Arena,
    strength: Strength,
    pinned: bool,
) -> Result<thread::JoinHandle<Result<()>>> {
    let run = attack.run;
    let thread = thread::Builder::new().name("attacker".to_owned()).spawn(move || {
        if pinned {
            pin::this_thread(pin::ATTACKER)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(run(arena, strength));
        runtime.shutdown_background();
        outcome
    })?;
    Ok(thread)
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

/// The attacks of these names; all of them when there is none.
pub fn named(names: &[String]) -> Result<Vec<Attack>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| {
        let found = ALL.iter().find(|attack| attack.name == name).copied();
        found.with_context(|| {
            let known: Vec<_> = ALL.iter().map(|attack| attack.name).collect();
            format!("there is no attack {name:?}; there are {}", known.join(", "))
        })
    };
    let found: Vec<_> = names.iter().map(find).collect::<Result<_>>()?;
    ensure!(!found.is_empty(), "no attack is named");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sound() -> Outcome {
        Outcome {
            attack: "x",
            node: "cp-1",
            requests: 100,
            failed: 0,
            slowest: "api".into(),
            quiet_p99_ms: 20.0,
            attacked_p99_ms: 39.0,
            busier: 1.0,
            quiet_bytes: 100 << 20,
            peak_bytes: 200 << 20,
            after_bytes: 119 << 20,
            after_seconds: 3.0,
            too_weak: None,
            failures: Vec::new(),
        }
    }

    #[test]
    fn each_bound_is_held_by_the_verdict() {
        sound().verdict().unwrap();
        for (broken, word) in [
            (Outcome { requests: 0, ..sound() }, "no honest request"),
            (Outcome { attacked_p99_ms: 41.0, ..sound() }, "41.0 ms beside"),
            (Outcome { quiet_p99_ms: 1.0, attacked_p99_ms: 26.0, ..sound() }, "26.0 ms beside"),
            (Outcome { peak_bytes: 201 << 20, ..sound() }, "memory grew"),
            (Outcome { after_bytes: 121 << 20, ..sound() }, "after 3 s memory"),
            (Outcome { too_weak: Some("2 of 9 bodies".into()), ..sound() }, "2 of 9"),
            (Outcome { failures: vec!["3 of 100 requests failed".into()], ..sound() }, "3 of 100"),
        ] {
            let verdict = broken.verdict().unwrap_err().to_string();
            assert!(verdict.contains(word), "{verdict}");
        }
        // A machine that is busier slows everything, as far as it does.
        Outcome { attacked_p99_ms: 59.0, busier: 1.5, ..sound() }.verdict().unwrap();
        Outcome { attacked_p99_ms: 61.0, busier: 1.5, ..sound() }.verdict().unwrap_err();
        // Below what two busy cores do by themselves, a ratio says nothing.
        let slow = Outcome { quiet_p99_ms: 1.0, attacked_p99_ms: 26.0, ..sound() };
        assert!(slow.is_unclear() && Outcome { too_weak: Some(String::new()), ..slow.clone() }.is_unclear());
        assert!(!sound().is_unclear());
        assert!(!Outcome { failures: vec!["refused".to_owned()], ..slow }.is_unclear());
        Outcome { quiet_p99_ms: 1.0, attacked_p99_ms: 24.0, ..sound() }.verdict().unwrap();
    }

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<_> = ALL.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(named(&[]).unwrap().len(), ALL.len());
        assert_eq!(named(&[ALL[0].name.to_owned()]).unwrap()[0].name, ALL[0].name);
        let error = named(&["nonsense".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("nonsense") && error.contains(ALL[0].name), "{error}");
    }
}
