//! What gateways have in force of the local scope, looked at all the time.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, World, spec};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::SCOPE;

/// Between two looks: shorter than the time between two takeovers.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Where a gateway stands in the local scope, and how much it has in force of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InForce {
    /// The part of the lineage that orders it.
    generation: u64,
    revision: u64,
    /// As agents write it.
    pub(super) position: String,
    /// The rest of what the page says of the scope.
    counts: Value,
}

/// Holds every gateway to it, as long as it runs: no position goes back, and each position is one content.
pub(super) struct Positions {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<usize>>,
}

/// What a gateway has in force of the local scope.
pub(super) async fn in_force(client: &Client, config: &str) -> Result<Option<InForce>> {
    let mut page = client.get(config, &[]).await?.json()?;
    let scopes = page["scopes"].as_array_mut().context("scopes")?;
    let Some(scope) = scopes.iter_mut().find(|scope| scope["scope"] == SCOPE) else { return Ok(None) };
    let lineage = scope["lineage"].take();
    let lineage = lineage.as_str().context("a lineage")?;
    let revision = scope["revision"].take().as_u64().context("a revision")?;
    let (generation, _) = lineage.split_once('-').context("GENERATION-ID")?;
    Ok(Some(InForce {
        generation: generation.parse()?,
        revision,
        position: format!("{lineage}/{revision}"),
        counts: scope.take(),
    }))
}

/// The page of a gateway that has what is in force.
pub(super) fn page(world: &World, gateway: &str) -> Result<String> {
    Ok(format!("http://{}/config", spec::at(world.address(gateway)?, spec::GATEWAY_ADMIN)))
}

impl Positions {
    /// Watches these gateways.
    pub(super) fn watch(world: &World, gateways: &[&str]) -> Result<Self> {
        let pages = gateways.iter().map(|gateway| page(world, gateway)).collect::<Result<Vec<_>>>()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(look(world.client().clone(), pages, stopped));
        Ok(Self { stop, task })
    }

    /// How many positions were seen, or what was wrong.
    pub(super) async fn stop(self) -> Result<usize> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

async fn look(client: Client, pages: Vec<String>, stopped: watch::Receiver<bool>) -> Result<usize> {
    let mut last: BTreeMap<&str, InForce> = BTreeMap::new();
    let mut contents: BTreeMap<String, Value> = BTreeMap::new();
    while !*stopped.borrow() {
        for page in &pages {
            // A gateway that is killed is not asked in vain: its next answer counts.
            let Ok(Some(now)) = in_force(&client, page).await else { continue };
            let before = last.insert(page, now.clone());
            if let Some(before) = before {
                let went_back = (now.generation, now.revision) < (before.generation, before.revision);
                ensure!(!went_back, "{page} went back from {before:?} to {now:?}");
            }
            match contents.entry(now.position) {
                Entry::Vacant(content) => drop(content.insert(now.counts)),
                Entry::Occupied(content) => {
                    ensure!(*content.get() == now.counts, "{}: {content:?} and {}", page, now.counts);
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(contents.len())
}
