//! What gateways have in force of the local scope, looked at all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, World, load::Window, spec};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{BEHIND_FIRST, BEHIND_SECOND, SCOPE, SOON};

/// Between two looks: shorter than the time between two takeovers.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Where a gateway stands in the local scope, and what it has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InForce {
    /// The part of the lineage that orders it.
    generation: u64,
    revision: u64,
    /// As agents write it.
    pub(super) position: String,
    /// The content root of what it received. Of that all is in force which is in no quarantine, or an older version where it is: a lost Route
    /// is seen by its context alone, so contexts are asked for as well.
    root: String,
    /// The rest of what the page says of the scope: how much of it is in force.
    counts: Value,
}

/// Holds every gateway to it, as long as it runs: no position goes back, and each position is one content.
pub(super) struct Positions {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By gateway, what it had in force last.
    last: BTreeMap<String, InForce>,
    /// By position, what gateways had in force there, and which ones.
    contents: BTreeMap<String, (InForce, BTreeSet<String>)>,
    /// By gateway, when it answered last.
    answered: BTreeMap<String, Instant>,
    /// The times without an answer that were too long for a gateway that runs.
    gaps: Vec<Gap>,
}

/// A gateway did not say what it has.
#[derive(Debug)]
struct Gap {
    gateway: String,
    from: Instant,
    to: Instant,
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
        let page = |gateway: &&str| Ok(((*gateway).to_owned(), page(world, gateway)?));
        let pages = gateways.iter().map(page).collect::<Result<_>>()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(look(world.client().clone(), pages, stopped));
        Ok(Self { stop, task })
    }

    /// Waits for something that is wrong.
    pub(super) async fn wrong(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Err(wrong)) => wrong,
            Ok(Ok(seen)) => anyhow::anyhow!("the watch ended by itself: {seen:?}"),
            Err(error) => error.into(),
        }
    }

    /// What was seen, or what was wrong. Processes were away in these windows.
    pub(super) async fn stop(self, windows: &[Window]) -> Result<String> {
        self.stop.send_replace(true);
        self.task.await??.verdict(windows)
    }
}

async fn look(
    client: Client,
    pages: BTreeMap<String, String>,
    stopped: watch::Receiver<bool>,
) -> Result<Seen> {
    let began = Instant::now();
    let answered = pages.keys().map(|gateway| (gateway.clone(), began)).collect();
    let mut seen = Seen { answered, ..Seen::default() };
    while !*stopped.borrow() {
        for (gateway, page) in &pages {
            // A gateway that is killed does not answer, and one that starts has no such page yet: its next answer counts.
            let Ok(answer) = client.get(page, &[]).await else { continue };
            if answer.status == 404 {
                continue;
            }
            seen.answers(gateway, Instant::now());
            if let Some(now) = read(answer.json()?)? {
                seen.note(gateway, now)?;
            }
        }
        sleep(LOOK_EVERY).await;
    }
    for gateway in pages.keys() {
        seen.answers(gateway, Instant::now());
    }
    Ok(seen)
}

impl Seen {
    fn note(&mut self, gateway: &str, now: InForce) -> Result<()> {
        if let Some(before) = self.last.insert(gateway.to_owned(), now.clone()) {
            let went_back = (now.generation, now.revision) < (before.generation, before.revision);
            ensure!(!went_back, "{gateway} went back from {before:?} to {now:?}");
        }
        let new = || (now.clone(), BTreeSet::new());
        let (content, gateways) = self.contents.entry(now.position.clone()).or_insert_with(new);
        ensure!(*content == now, "{gateways:?} have {content:?}, and {gateway} has {now:?}");
        gateways.insert(gateway.to_owned());
        Ok(())
    }

    /// The gateway says what it has, or the watch ends.
    fn answers(&mut self, gateway: &str, to: Instant) {
        let from = self.answered.insert(gateway.to_owned(), to).unwrap_or(to);
        if to.duration_since(from) > SOON {
            self.gaps.push(Gap { gateway: gateway.to_owned(), from, to });
        }
    }

    /// Fails where too little was seen to judge: a gateway that was not away said nothing for too long, or two gateways that follow different
    /// agents were never seen at one position.
    fn verdict(&self, windows: &[Window]) -> Result<String> {
        for gap in &self.gaps {
            let silent = gap.outside(windows);
            ensure!(silent <= SOON, "{} did not say what it has for {silent:?}", gap.gateway);
        }
        let compared = |one: &str, other: &str| {
            let at_both = |(_, gateways): &&(InForce, BTreeSet<String>)| {
                gateways.contains(one) && gateways.contains(other)
            };
            self.contents.values().filter(at_both).count()
        };
        let mut said = format!("{} positions", self.contents.len());
        for one in BEHIND_FIRST {
            for other in BEHIND_SECOND {
                let at_both = compared(one, other);
                ensure!(at_both > 0, "{one} and {other} were never seen at one position: {self:?}");
                said += &format!(", {at_both} at both {one} and {other}");
            }
        }
        Ok(said)
    }
}

impl Gap {
    /// How long it was without the windows of the gateway.
    fn outside(&self, windows: &[Window]) -> Duration {
        let own = windows.iter().filter(|window| window.target == self.gateway);
        let away = own.map(|window| {
            let to = window.to.unwrap_or(self.to).min(self.to);
            to.saturating_duration_since(window.from.max(self.from))
        });
        self.to.duration_since(self.from).saturating_sub(away.sum())
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

#[test]
fn two_gateways_that_are_never_at_one_position_are_too_little() {
    let at = |revision: u64| InForce {
        generation: 1,
        revision,
        position: format!("1-0a/{revision}"),
        root: "aa".to_owned(),
        counts: Value::Null,
    };
    let mut seen = Seen::default();
    for gateway in BEHIND_FIRST {
        seen.note(gateway, at(1)).unwrap();
    }
    for gateway in BEHIND_SECOND {
        seen.note(gateway, at(2)).unwrap();
    }
    assert!(seen.verdict(&[]).is_err());
    for gateway in BEHIND_SECOND.iter().chain(BEHIND_FIRST) {
        seen.note(gateway, at(3)).unwrap();
    }
    seen.verdict(&[]).unwrap();
}

/// A gateway is killed a second after an answer, and serves again five seconds later.
#[test]
fn a_gateway_may_be_silent_while_it_is_away() {
    let began = Instant::now();
    let at = |seconds| began + Duration::from_secs(seconds);
    let window = |target: &str, to| Window { target: target.to_owned(), from: at(1), to, frozen: false };
    let back = Some(at(6));
    for (answers_again, window, is_known) in [
        (20, None, true),
        (21, None, false),
        (25, Some(window("one", back)), true),
        (26, Some(window("one", back)), false),
        (26, Some(window("one", None)), true),
        (26, Some(window("other", back)), false),
    ] {
        let mut seen = Seen { answered: [("one".to_owned(), at(0))].into(), ..Seen::default() };
        seen.answers("one", at(answers_again));
        let silent = seen.gaps.iter().map(|gap| gap.outside(window.as_slice())).max();
        assert_eq!(silent.is_none_or(|silent| silent <= SOON), is_known, "{answers_again} s, {window:?}");
    }
}
