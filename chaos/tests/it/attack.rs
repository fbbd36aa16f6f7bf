//! Attacks at CI's size against the built binary: honest clients notice nothing, and the memory comes back.

use std::time::Duration;

use anyhow::{Result, bail};
use hanse_chaos::attack;

use crate::say;

/// Of the quiet phase and of the attack: some hundred honest requests each.
const SECONDS: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_clients_notice_no_attack() -> Result<()> {
    let mut world = attack::world().await?;
    let mut broken = Vec::new();
    for attack in attack::ALL {
        let outcome = attack::measure(&mut world, attack, 1, SECONDS, false).await?;
        say(format!("{outcome:?}"));
        if let Err(error) = outcome.verdict() {
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
