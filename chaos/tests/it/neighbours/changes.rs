//! Many changes of local Routes at one agent, and when each gateway serves them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hanse_chaos::{Client, World, percentile};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{SOON, Source};
use crate::say;

/// Rounds of changes, of which one must keep to the bound: a machine that is busy with something else delays a change, too.
const ROUNDS: usize = 3;
/// Changes of a round, without a control plane.
const CHANGES: usize = 200;
/// Between two changes: longer than the test origin takes to look again, so that each is a revision of its own.
const CHANGE_EVERY: Duration = Duration::from_millis(65);
/// How soon 99 of 100 changes are served by each gateway.
const SERVED_WITHIN: Duration = Duration::from_secs(1);
/// Routes at a time. A change gives one of them another context, so a context is served for about four seconds.
const ROUTES: usize = 64;
/// Between two questions to a gateway: the error of a single figure.
const POLL: Duration = Duration::from_millis(8);

/// The context that a change brings.
fn context(change: usize) -> String {
    format!("/pods-{change}")
}

/// Makes the changes in this term, and holds every gateway to the bound. The context of the last one.
pub(super) async fn are_served(
    world: &World,
    source: &Source,
    term: u64,
    gateways: &[&str],
) -> Result<String> {
    let mut p99 = Duration::MAX;
    for round in 1..=ROUNDS {
        let first = (round - 1) * CHANGES;
        p99 = p99.min(one_round(world, source, term, gateways, first).await?);
        if p99 <= SERVED_WITHIN {
            return Ok(context(first + CHANGES - 1));
        }
    }
    bail!("99 of 100 changes are served after {p99:?} at best")
}

/// How soon each gateway serves 99 of 100 changes, the first of them with this number.
async fn one_round(
    world: &World,
    source: &Source,
    term: u64,
    gateways: &[&str],
    first: usize,
) -> Result<Duration> {
    let (written, when) = watch::channel(Vec::new());
    let mut waiting = JoinSet::new();
    for gateway in gateways {
        waiting.spawn(served(world.client().clone(), world.url(gateway)?, first, when.clone()));
    }
    for change in first..first + CHANGES {
        let present = (change + 1).saturating_sub(ROUTES).max(first)..=change;
        let routes: Vec<_> = present.map(|change| (change % ROUTES, context(change))).collect();
        let at = Instant::now();
        source.wish(term, &routes)?;
        written.send_modify(|times| times.push(at));
        sleep(CHANGE_EVERY).await;
    }
    let mut took = Vec::new();
    while let Some(of_one) = waiting.join_next().await {
        took.extend(of_one??);
    }
    took.sort_unstable();
    let p99 = percentile(&took, 99);
    say(format!(
        "{CHANGES} changes are served by {} gateways after {:?} (median), {p99:?} (99 of 100), {:?} at most",
        gateways.len(),
        percentile(&took, 50),
        took.last().context("changes")?
    ));
    Ok(p99)
}

/// How long each change took until this gateway answered by it.
async fn served(
    client: Client,
    gateway: String,
    first: usize,
    mut written: watch::Receiver<Vec<Instant>>,
) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    for change in 0..CHANGES {
        let at = written.wait_for(|times| times.len() > change).await?[change];
        let url = format!("{gateway}{}/now", context(first + change));
        while client.get(&url, &[]).await?.status != 200 {
            ensure!(at.elapsed() < SOON, "{url} is not served after {SOON:?}");
            sleep(POLL).await;
        }
        took.push(at.elapsed());
    }
    Ok(took)
}
