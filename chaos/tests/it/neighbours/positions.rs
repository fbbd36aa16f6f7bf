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

/// Where a gateway stands in the local scope, and what it has in force of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InForce {
    /// The part of the lineage that orders it.
    generation: u64,
    revision: u64,
    /// As agents write it.
    pub(super) position: String,
    /// The content root of what it received.
    root: String,
    /// The rest of what the page says of the scope: how much it made of that.
    counts: Value,
}

/// Holds every gateway to it, as long as it runs: no position goes back, and each position is one content.
pub(super) struct Positions {
    gateways: usize,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By gateway, what it had in force last.
    last: BTreeMap<String, InForce>,
    /// By position, what the first gateway had in force there.
    contents: BTreeMap<String, (String, InForce)>,
    /// How often a gateway stood at a position at which another one had been seen.
    compared: usize,
}

/// What a gateway has in force of the local scope.
pub(super) async fn in_force(client: &Client, config: &str) -> Result<Option<InForce>> {
    read(client.get(config, &[]).await?.json()?)
}

/// The same of its page.
pub(super) fn read(mut page: Value) -> Result<Option<InForce>> {
    let scopes = page["scopes"].as_array_mut().context("scopes")?;
    let Some(scope) = scopes.iter_mut().find(|scope| scope["scope"] == SCOPE) else { return Ok(None) };
    let lineage = scope["lineage"].take();
    let lineage = lineage.as_str().context("a lineage")?;
    let revision = scope["revision"].take().as_u64().context("a revision")?;
    let root = scope["root"].take().as_str().context("a content root")?.to_owned();
    let (generation, _) = lineage.split_once('-').context("GENERATION-ID")?;
    Ok(Some(InForce {
        generation: generation.parse()?,
        revision,
        position: format!("{lineage}/{revision}"),
        root,
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
        Ok(Self { gateways: gateways.len(), stop, task })
    }

    /// Waits for something that is wrong.
    pub(super) async fn wrong(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Err(wrong)) => wrong,
            Ok(Ok(seen)) => anyhow::anyhow!("the watch ended by itself: {seen:?}"),
            Err(error) => error.into(),
        }
    }

    /// How many positions were seen, or what was wrong.
    pub(super) async fn stop(self) -> Result<usize> {
        self.stop.send_replace(true);
        let seen = self.task.await??;
        ensure!(seen.last.len() == self.gateways && seen.compared > 0, "too little was seen: {seen:?}");
        Ok(seen.contents.len())
    }
}

async fn look(client: Client, pages: Vec<String>, stopped: watch::Receiver<bool>) -> Result<Seen> {
    let mut seen = Seen::default();
    while !*stopped.borrow() {
        for page in &pages {
            // A gateway that is killed does not answer, and one that starts has no such page yet: its next answer counts.
            let Ok(answer) = client.get(page, &[]).await else { continue };
            if answer.status == 404 {
                continue;
            }
            if let Some(now) = read(answer.json()?)? {
                seen.note(page, now)?;
            }
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(seen)
}

impl Seen {
    fn note(&mut self, gateway: &str, now: InForce) -> Result<()> {
        if let Some(before) = self.last.insert(gateway.to_owned(), now.clone()) {
            let went_back = (now.generation, now.revision) < (before.generation, before.revision);
            ensure!(!went_back, "{gateway} went back from {before:?} to {now:?}");
        }
        match self.contents.entry(now.position.clone()) {
            Entry::Vacant(content) => drop(content.insert((gateway.to_owned(), now))),
            Entry::Occupied(content) => {
                let (first, content) = content.get();
                ensure!(*content == now, "{first} has {content:?}, and {gateway} has {now:?}");
                self.compared += usize::from(first != gateway);
            }
        }
        Ok(())
    }
}

#[test]
fn a_position_has_one_content_and_none_goes_back() {
    let at = |generation: u64, revision: u64, root: &str, routes: u64| {
        let scope = serde_json::json!({
            "scope": SCOPE, "lineage": format!("{generation}-0a"), "revision": revision, "root": root, "routes": routes,
        });
        read(serde_json::json!({"scopes": [scope]})).unwrap().unwrap()
    };
    let seen = || {
        let mut seen = Seen::default();
        seen.note("one", at(1, 7, "aa", 2)).unwrap();
        seen.note("other", at(1, 7, "aa", 2)).unwrap();
        assert_eq!(seen.compared, 1);
        seen
    };
    for (wrong, why) in [
        (at(1, 7, "bb", 2), "the same counts, of another content"),
        (at(1, 7, "aa", 3), "the same content, and not all of it in force"),
        (at(1, 6, "cc", 2), "an earlier revision"),
        (at(0, 9, "cc", 2), "an earlier lineage"),
    ] {
        assert!(seen().note("other", wrong).is_err(), "{why}");
    }
    seen().note("other", at(2, 1, "bb", 2)).unwrap();
    assert!(
        read(serde_json::json!({"scopes": [{"scope": SCOPE, "lineage": "1-0a", "revision": 1}]})).is_err()
    );
}
