//! Attacks at CI's size against the built binary: honest clients notice nothing, and the memory comes back.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hanse_chaos::attack::{self, Arena, Strength};
use tokio::task::JoinSet;

use crate::say;

/// Of the quiet phase and of the attack: some hundred honest requests each.
const SECONDS: Duration = Duration::from_secs(5);

/// A machine that stands still for 50 ms beside us slows four of three hundred requests, and with them the 99th percentile. That does
/// not happen in each of four runs; a node that an attack slows is slow in each. Failed requests and memory are judged in every run.
const RUNS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_clients_notice_no_attack() -> Result<()> {
    let mut world = attack::world().await?;
    let mut broken = Vec::new();
    for attack in attack::ALL {
        let mut verdict = Ok(());
        for run in 1..=RUNS {
            // An attacker that did too little has more time the next time.
            let outcome = attack::measure(&mut world, attack, 1, SECONDS * run, false).await?;
            say(format!("{outcome:?}"));
            verdict = outcome.verdict();
            if !outcome.is_unclear() {
                break;
            }
        }
        if let Err(error) = verdict {
            broken.push(format!("{error:#}"));
            // A node that was harmed is no other attack's quiet.
            world = attack::world().await?;
        }
    }
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    Ok(())
}

/// Long enough for every attack to give up a connection that does not come about, and to try again.
const MISSES: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_that_reach_no_port_fail() -> Result<()> {
    let world = attack::world().await?;
    let mut attacks = JoinSet::new();
    for attack in attack::ALL {
        let arena = Arena::of(&world)?.where_no_port_is_open();
        let strength = Strength { scale: 1, until: Instant::now() + MISSES };
        attacks.spawn(async move { (attack.name, (attack.run)(arena, strength).await) });
    }
    while let Some(ended) = attacks.join_next().await {
        let (name, outcome) = ended?;
        let Err(error) = outcome else { bail!("{name} says that it attacked") };
        say(format!("{name}: {error:#}"));
    }
    Ok(())
}
