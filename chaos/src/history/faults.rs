//! What happens to control nodes while clients work.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tokio::time::sleep;

use super::{clients::Recorder, random::Random};
use crate::{
    netns::Cut,
    world::{Placement, Role, World},
};

/// A node is away so long where the others are to replace it: more than a lease and an election (2 s).
const AWAY: Duration = Duration::from_millis(2_500);

/// Between two faults: so long that writes resume, else most of a history would be refusals.
const BETWEEN: Duration = Duration::from_millis(1_500);

/// One fault, and its repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// The leader is killed and started again at once: before the others elect another one.
    RestartLeader,
    /// The leader is killed and started again when another one leads.
    KillLeader,
    /// Any node is killed and started again at once.
    RestartAny,
    /// Two of three are killed and started again together.
    KillTwo,
    /// All are killed and started again together.
    KillAll,
    /// The leader is frozen, and goes on when another one leads.
    FreezeLeader,
    /// Any node is frozen for a while.
    FreezeAny,
    /// No other node hears the leader, and the leader hears no other node.
    CutLeader,
    /// One node does not hear the leader, who hears it.
    CutOneWay,
    /// Any node is alone.
    CutAny,
    /// A node's wall clock jumps, often the leader's. It jumps back, or stays where it is until the next time.
    JumpClock,
}

/// What needs no network of its own.
const ON_LOOPBACK: [Fault; 7] = [
    Fault::RestartLeader,
    Fault::KillLeader,
    Fault::RestartAny,
    Fault::KillTwo,
    Fault::KillAll,
    Fault::FreezeLeader,
    Fault::FreezeAny,
];

/// What is there only where links can be cut.
const IN_NAMESPACES: [Fault; 3] = [Fault::CutLeader, Fault::CutOneWay, Fault::CutAny];

/// Where a node's clock may be, in seconds from the machine's; so a jump has 1 s to 12 min.
const CLOCKS: [i64; 9] = [-120, -60, -5, -1, 0, 1, 5, 60, 600];
/// A clock that is farther off always comes back. Certificates are valid from 5 min before they were issued, so a node that starts
/// while its clock is 10 min ahead is refused by all others for 5 min; nor may two clocks that stay be so far from each other.
const STAYS: i64 = 120;

/// Faults from a seed: each kind comes once before any comes again; the leader's restart, which has found most, twice.
#[derive(Debug)]
pub(super) struct Faults {
    random: Random,
    kinds: Vec<Fault>,
    deck: Vec<Fault>,
    /// Where the clocks are that do not show the machine's time.
    clocks: BTreeMap<String, i64>,
}

impl Faults {
    pub(super) fn new(seed: u64, placement: Placement, clocks: bool, only: Option<Fault>) -> Self {
        let mut kinds = ON_LOOPBACK.to_vec();
        kinds.push(Fault::RestartLeader);
        if placement == Placement::Namespaces {
            kinds.extend(IN_NAMESPACES);
        }
        if clocks {
            kinds.push(Fault::JumpClock);
        }
        if let Some(only) = only {
            kinds = vec![only];
        }
        Self { random: Random::new(seed, 0), kinds, deck: Vec::new(), clocks: BTreeMap::new() }
    }

    fn next(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = self.kinds.clone();
            self.random.shuffle(&mut self.deck);
        }
        self.deck.pop().unwrap_or(Fault::RestartLeader)
    }

    /// One fault from its beginning to a pause after its repair; what it was.
    pub(super) async fn one(&mut self, world: &mut World, recorder: &Recorder) -> Result<Fault> {
        let fault = self.next();
        let nodes = world.of_role(Role::Server);
        ensure!(nodes.len() == 3, "histories are made with three control nodes");
        let leader = leader_of(world, &nodes).await.unwrap_or_else(|| nodes[self.random.below(3)].clone());
        let any = nodes[self.random.below(3)].clone();
        let others: Vec<_> = nodes.iter().filter(|node| **node != leader).cloned().collect();
        // What was acknowledged a moment ago is what is lost or forgotten, if anything is.
        recorder.next_acknowledged().await;
        self.do_it(world, fault, &nodes, &leader, &any, &others).await.with_context(|| fault.to_string())?;
        sleep(BETWEEN).await;
        Ok(fault)
    }

    async fn do_it(
        &mut self,
        world: &mut World,
        fault: Fault,
        nodes: &[String],
        leader: &str,
        any: &str,
        others: &[String],
    ) -> Result<()> {
        match fault {
            Fault::RestartLeader => restart(world, &[leader.to_owned()], Duration::ZERO).await,
            Fault::KillLeader => restart(world, &[leader.to_owned()], AWAY).await,
            Fault::RestartAny => restart(world, &[any.to_owned()], Duration::ZERO).await,
            Fault::KillTwo => {
                let two: Vec<_> = nodes.iter().filter(|node| *node != any).cloned().collect();
                restart(world, &two, Duration::from_millis(500)).await
            }
            Fault::KillAll => restart(world, nodes, Duration::ZERO).await,
            Fault::FreezeLeader => freeze(world, leader).await,
            Fault::FreezeAny => freeze(world, any).await,
            Fault::CutLeader => cut(world, leader, others).await,
            Fault::CutAny => {
                let rest: Vec<_> = nodes.iter().filter(|node| *node != any).cloned().collect();
                cut(world, any, &rest).await
            }
            Fault::CutOneWay => {
                let deaf = &others[self.random.below(others.len())];
                world.network()?.cut(leader, deaf, Cut::OneWay)?;
                sleep(AWAY).await;
                world.network()?.heal(leader, deaf, Cut::OneWay)
            }
            Fault::JumpClock => {
                let node = if self.random.below(2) == 0 { leader } else { any };
                self.jump_clock(world, node).await
            }
        }
    }

    async fn jump_clock(&mut self, world: &World, node: &str) -> Result<()> {
        let was = self.clocks.get(node).copied().unwrap_or_default();
        let elsewhere: Vec<_> = CLOCKS.into_iter().filter(|clock| *clock != was).collect();
        let clock = elsewhere[self.random.below(elsewhere.len())];
        world.set_clock(node, clock).await?;
        self.clocks.insert(node.to_owned(), clock);
        sleep(AWAY).await;
        if clock.abs() > STAYS || self.random.below(2) == 0 {
            world.set_clock(node, was).await?;
            self.clocks.insert(node.to_owned(), was);
        }
        Ok(())
    }
}

/// The node that leads, as far as any node knows now. Faults do not wait for one.
async fn leader_of(world: &World, nodes: &[String]) -> Option<String> {
    for node in nodes {
        if let Ok(status) = world.status_of(node).await
            && status["quorum"] == true
        {
            return status["leader"].as_str().map(str::to_owned);
        }
    }
    None
}

async fn restart(world: &mut World, nodes: &[String], away: Duration) -> Result<()> {
    for node in nodes {
        world.kill(node)?;
    }
    sleep(away).await;
    world.start_together(nodes).await
}

async fn freeze(world: &mut World, node: &str) -> Result<()> {
    world.freeze(node)?;
    sleep(AWAY).await;
    world.thaw(node).await
}

async fn cut(world: &World, node: &str, from: &[String]) -> Result<()> {
    for other in from {
        world.network()?.cut(node, other, Cut::Both)?;
    }
    sleep(AWAY).await;
    for other in from {
        world.network()?.heal(node, other, Cut::Both)?;
    }
    Ok(())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RestartLeader => "leader restarted",
            Self::KillLeader => "leader killed",
            Self::RestartAny => "node restarted",
            Self::KillTwo => "two killed",
            Self::KillAll => "all killed",
            Self::FreezeLeader => "leader frozen",
            Self::FreezeAny => "node frozen",
            Self::CutLeader => "leader cut off",
            Self::CutOneWay => "leader not heard",
            Self::CutAny => "node cut off",
            Self::JumpClock => "clock jumped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        let mut faults = Faults::new(7, Placement::Namespaces, true, None);
        let first: Vec<_> = (0..12).map(|_| faults.next()).collect();
        for kind in ON_LOOPBACK.iter().chain(&IN_NAMESPACES).chain(&[Fault::JumpClock]) {
            assert!(first.contains(kind), "{kind} is not in {first:?}");
        }
        assert_eq!(first.iter().filter(|fault| **fault == Fault::RestartLeader).count(), 2);
        let mut loopback = Faults::new(7, Placement::Loopback, false, None);
        assert!(
            (0..30).map(|_| loopback.next()).all(|kind| ON_LOOPBACK.contains(&kind)),
            "links on loopback cannot be cut, and clocks that are the machine's cannot be set"
        );
    }
}
