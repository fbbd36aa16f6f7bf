//! What agents publish for their region by themselves: all gateways serve it with the control plane dead, through takeovers, cuts
//! and restarts, and beside a relay that forges.

mod canary;
mod changes;
mod positions;
mod source;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Client, Placement, World, WorldOptions,
    load::{Load, LoadOptions},
    netns::{self, Cut},
    process::{next_binary, until},
};
use serde_json::Value;

use crate::{eventually, open_api, say};
use positions::{InForce, Positions};
use source::{STEADY, Source};

/// For something to come about on a machine that other tests make busy.
const SOON: Duration = Duration::from_secs(20);
/// For a gateway that was sent a forged head: it asks its agent for the scope again after 30 s.
const ASKED_AGAIN: Duration = Duration::from_secs(60);
/// For a second wish in one term, less than the 10 s after which another holder takes over because nothing changes: the one that publishes
/// must go on by itself.
const GOES_ON_WITHIN: Duration = Duration::from_secs(8);
/// For what must not come about: longer than a change takes.
const LONG_ENOUGH: Duration = Duration::from_secs(1);
/// Requests a second for the steady Route, over all gateways. Each must be answered by the upstream.
const PER_SECOND: u32 = 60;
/// What a caller waits.
const TIMEOUT: Duration = Duration::from_secs(3);

const SCOPE: &str = "local/eu-west/production/pods";
const ORIGIN: &str = "kind: Origin\nname: pods\nspec: {region: eu-west, environments: [production], organizations: [default], \
                      kinds: [Route, Upstream], holders: [agent-eu-west, agent-eu-west-2]}\n";

const AGENTS: [&str; 2] = ["agent-eu-west", "agent-eu-west-2"];
const GATEWAYS: [&str; 3] = ["gateway-eu-west", "gateway-eu-west-2", "gateway-eu-west-3"];
const BEHIND_FIRST: &[&str] = GATEWAYS.split_at(2).0;
const BEHIND_SECOND: &[&str] = GATEWAYS.split_at(2).1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_agents_publish_needs_no_control_plane() -> Result<()> {
    if let Some(missing) = netns::missing() {
        anyhow::bail!("{missing}");
    }
    let dir = tempfile::tempdir()?;
    let mut world = World::set_up(WorldOptions {
        placement: Placement::Namespaces,
        control_nodes: 1,
        regions: vec!["eu-west".into()],
        agents: vec![2, 1],
        test_origin: Some(dir.path().to_owned()),
        // The test release is a dev build, whatever the binary under test is.
        binary: Some(next_binary()?),
        ..WorldOptions::default()
    })
    .await?;
    let upstream = world.url("upstream")?;
    let source = |agent| Source::of(dir.path(), agent, &upstream);
    let region = Region {
        first: source(AGENTS[0])?,
        second: source(AGENTS[1])?,
        world: &mut world,
        gone: Mutex::default(),
    };
    let outcome = story(region).await;
    outcome.inspect_err(|_| say(world.logs()))
}

/// The federation, and the sources of its two agents.
struct Region<'a> {
    world: &'a mut World,
    first: Source,
    second: Source,
    /// The contexts that were taken back for good.
    gone: Mutex<Vec<String>>,
}

/// Whether a gateway has a Route there: 200 or 404. It is asked again where it answers anything else, or nothing: for a 502 a busy machine
/// is enough, and it says nothing of the Route.
async fn status(client: &Client, url: &str) -> Result<u16> {
    let answer = eventually(client, url, &[], SOON, |answer| [200, 404].contains(&answer.status.as_u16()));
    Ok(answer.await?.status.as_u16())
}

async fn story(mut region: Region<'_>) -> Result<()> {
    region.is_nothing_without_an_origin().await?;
    region.loses_an_equal_place().await?;
    region.linked().await?;

    let target = |gateway: &&str| region.world.target(gateway, &format!("{STEADY}/now"), None);
    let targets = GATEWAYS.iter().map(target).collect::<Result<_>>()?;
    let load = Load::start(targets, LoadOptions { per_second: PER_SECOND, timeout: TIMEOUT })?;
    let mut positions = Positions::watch(region.world, &GATEWAYS)?;
    region.world.kill("cp-1")?;
    tokio::select! {
        wrong = positions.wrong() => return Err(wrong),
        outcome = region.lives_alone() => outcome?,
    }
    let seen = positions.stop(region.world.windows()).await?;
    let ledger = load.stop()?;
    let summary = ledger.verdict(region.world.windows())?;
    say(format!("{seen}; {summary}; {} failed on connections to the killed", ledger.failures().count()));

    region.goes_with_its_origin().await
}

impl Region<'_> {
    /// All that happens without a control plane.
    async fn lives_alone(&mut self) -> Result<()> {
        let began = Instant::now();
        let part = |what: &str| say(format!("{:>4.1} s: {what}", began.elapsed().as_secs_f64()));
        let contexts = changes::are_served(self.world, &self.first, 1, &GATEWAYS).await?;
        part("changes");
        self.is_taken_over(contexts.last().context("changes")?).await?;
        self.gone.lock().expect("no task panics with it").extend(contexts);
        part("taken over");
        self.is_claimed_by_both_at_once(2).await?;
        part("both at once");
        self.is_claimed_by_one_that_never_met_the_other().await?;
        part("never met");
        self.is_claimed_by_both_at_once(4).await?;
        part("both at once again");
        self.is_forged_by_a_relay().await?;
        part("forged");
        self.nothing_came_back().await?;
        part("nothing came back");
        Ok(())
    }

    async fn is_nothing_without_an_origin(&self) -> Result<()> {
        self.first.wish_one(1, "/before")?;
        tokio::time::sleep(LONG_ENOUGH).await;
        for gateway in GATEWAYS {
            ensure!(self.in_force(gateway).await?.is_none(), "no Origin names the agent");
        }
        self.world.operator().apply(ORIGIN)?;
        self.served("/before", &GATEWAYS).await
    }

    /// The control plane's Route has the place that the source wishes for: it answers, and the status names the one that does not.
    async fn loses_an_equal_place(&self) -> Result<()> {
        let upstream = self.world.url("upstream")?;
        self.world.operator().apply(&open_api("tick", &upstream, 0))?;
        self.first.wish_one(1, "/tick")?;
        let wanted =
            "Origin pods: route/default/pods-0 context any host/tick is served by route/default/tick";
        until("the status names the Route that lost its place", SOON, || async {
            let status = self.world.operator().ok(&["status"])?;
            ensure!(status.contains(wanted), "{status}");
            Ok(())
        })
        .await?;
        // `now-0` is an operation of the control plane's Api, and `now` one of the source's.
        for gateway in GATEWAYS {
            let answers =
                (self.status(gateway, "/tick/now-0").await?, self.status(gateway, "/tick/now").await?);
            ensure!(answers == (200, 404), "{gateway}: the control plane's Route answers, not {answers:?}");
        }
        Ok(())
    }

    /// The agent that publishes is gone, and so is what its gateway had in memory. The other agent takes over.
    async fn is_taken_over(&mut self, last: &str) -> Result<()> {
        let [gateway, ..] = GATEWAYS;
        let stored = self.is_on_disk(gateway).await?;
        self.world.kill(AGENTS[0])?;
        self.first.rest()?;
        self.world.kill(gateway)?;
        self.world.start(gateway).await?;
        self.served(last, &[gateway]).await?;
        let page = self.page(&positions::page(self.world, gateway)?).await?;
        ensure!(page["agent"]["connectedTo"].is_null(), "its agent is dead: {page}");
        let served = self.in_force(gateway).await?;
        ensure!(served.as_ref() == Some(&stored), "{stored:?} was on the disk, and {served:?} came from it");
        self.second.wish_one(1, "/taken")?;
        self.served("/taken", BEHIND_SECOND).await?;
        // It goes on with what it took over.
        self.second.wish_one(1, "/taken-still")?;
        self.answered("/taken-still", BEHIND_SECOND, 200, GOES_ON_WITHIN).await?;
        self.served(last, BEHIND_FIRST).await?;
        self.world.start(AGENTS[0]).await?;
        self.served("/taken-still", &GATEWAYS).await?;
        for context in [last, "/taken"] {
            self.gone(context, &GATEWAYS).await?;
        }
        self.settled().await.map(drop)
    }

    /// Waits until a gateway has on its disk all that it serves. What that is of the local scope.
    async fn is_on_disk(&self, gateway: &str) -> Result<InForce> {
        let config = positions::page(self.world, gateway)?;
        let found = std::cell::RefCell::new(None);
        until("the gateway has on its disk what it serves", SOON, || async {
            let page = self.page(&config).await?;
            let scopes = page["scopes"].as_array().context("scopes")?;
            for scope in scopes {
                let name = scope["scope"].as_str().context("a name")?;
                ensure!(page["stored"][name] == scope["revision"], "{name}: {page}");
            }
            found.replace(positions::read(page)?);
            Ok(())
        })
        .await?;
        found.into_inner().context("the gateway has the local scope")
    }

    /// Waits until an agent has this head of the local scope on its disk.
    async fn has_on_disk(&self, agent: &str, head: &str) -> Result<()> {
        until("the agent has the head on its disk", SOON, || async {
            let page = self.neighbours(agent).await?;
            ensure!(page["stored"][SCOPE] == head, "{head}: {page}");
            Ok(())
        })
        .await
    }

    /// Both sources say at once, in a new term, that theirs is to publish, and what they wish for is the same; then they wish for something
    /// else, in the same term. One of the agents publishes it.
    async fn is_claimed_by_both_at_once(&self, term: u64) -> Result<()> {
        let (context, next) = (format!("/both-{term}"), format!("/both-{term}-still"));
        for (context, within) in [(&context, SOON), (&next, GOES_ON_WITHIN)] {
            self.first.wish_one(term, context)?;
            self.second.wish_one(term, context)?;
            self.answered(context, &GATEWAYS, 200, within).await?;
        }
        self.gone(&context, &GATEWAYS).await?;
        let settled = self.settled().await?;
        tokio::time::sleep(LONG_ENOUGH).await;
        ensure!(self.settled().await? == settled, "they take over from each other for ever");
        Ok(())
    }

    /// Two agents that do not hear each other take over, each with content of its own. Each serves its gateways, and says since when
    /// it does not hear the other. Healed, the one content that is wished for is served everywhere.
    async fn is_claimed_by_one_that_never_met_the_other(&self) -> Result<()> {
        let [first, second] = AGENTS;
        self.world.network()?.cut(first, second, Cut::Both)?;
        let cut = Instant::now();
        self.first.wish_one(3, "/left")?;
        // Of another size, so that a mixture of the two is noticed.
        self.second.wish(3, &[(0, "/right".to_owned()), (1, "/right-too".to_owned())])?;
        self.served("/left", BEHIND_FIRST).await?;
        self.served("/right", BEHIND_SECOND).await?;
        // Each goes on with what it took over.
        self.first.wish_one(3, "/left-still")?;
        self.second.wish(3, &[(0, "/right-still".to_owned()), (1, "/right-too".to_owned())])?;
        for (context, before, gateways) in
            [("/left-still", "/left", BEHIND_FIRST), ("/right-still", "/right", BEHIND_SECOND)]
        {
            self.answered(context, gateways, 200, GOES_ON_WITHIN).await?;
            self.gone(before, gateways).await?;
        }
        for agent in AGENTS {
            until("the agent says since when it does not hear the other", SOON, || async {
                let link = self.link(agent).await?;
                let since = link["sinceSeconds"].as_u64().context("sinceSeconds")?;
                ensure!(link["connected"] == false && since >= 1, "{link}");
                ensure!(since <= cut.elapsed().as_secs() && link["lastFailure"].is_string(), "{link}");
                Ok(())
            })
            .await?;
        }
        for (absent, gateways) in [("/right-still/now", BEHIND_FIRST), ("/left-still/now", BEHIND_SECOND)] {
            for gateway in gateways {
                ensure!(self.status(gateway, absent).await? == 404, "{absent} is served by {gateway}");
            }
        }
        self.second.rest()?;
        self.world.network()?.heal(first, second, Cut::Both)?;
        self.linked().await?;
        self.served("/left-still", &GATEWAYS).await?;
        for context in ["/left", "/right", "/right-still", "/right-too"] {
            self.gone(context, &GATEWAYS).await?;
        }
        self.settled().await.map(drop)
    }

    /// A relay withholds a resource under the signature of the holder. Its neighbour and its gateway believe nothing of that, and
    /// serve on.
    async fn is_forged_by_a_relay(&mut self) -> Result<()> {
        let [first, second] = AGENTS;
        self.second.rest()?;
        self.first.wish_one(5, "/before-forging")?;
        self.served("/before-forging", &GATEWAYS).await?;
        self.has_on_disk(second, &self.settled().await?).await?;
        self.world.kill(second)?;
        self.world.seed_bug(second, Some("forge-local-head"))?;
        self.world.start(second).await?;
        self.linked().await?;
        let is_alarm = |alarm: &Value| alarm.as_str().is_some_and(|alarm| alarm.contains("is forged"));
        let before = self.link(first).await?;
        ensure!(!is_alarm(&before["lastAlarm"]), "{before}");
        self.first.wish_one(5, "/true")?;
        self.served("/true", BEHIND_FIRST).await?;
        until("the neighbour says that the head is forged", SOON, || async {
            let link = self.link(first).await?;
            ensure!(is_alarm(&link["lastAlarm"]) && link["connected"] == true, "{link}");
            ensure!(link["lastFailure"] == before["lastFailure"], "the stream ended: {link}");
            Ok(())
        })
        .await?;
        for gateway in BEHIND_SECOND {
            until("the gateway says that the head is forged", SOON, || async {
                let page = self.page(&positions::page(self.world, gateway)?).await?;
                ensure!(is_alarm(&page["agent"]["lastAlarm"]), "{page}");
                Ok(())
            })
            .await?;
            ensure!(self.status(gateway, "/before-forging/now").await? == 200, "{gateway} does not serve on");
        }
        self.world.kill(second)?;
        self.world.seed_bug(second, None)?;
        self.world.start(second).await?;
        self.first.wish_one(5, "/honest")?;
        self.served("/honest", BEHIND_FIRST).await?;
        // The agent may have what it forged on its disk, and send it once more.
        self.answered("/honest", BEHIND_SECOND, 200, ASKED_AGAIN).await?;
        for context in ["/before-forging", "/true"] {
            self.gone(context, &GATEWAYS).await?;
        }
        self.settled().await.map(drop)
    }

    /// No gateway answers by anything that was taken back, now or earlier in the test.
    async fn nothing_came_back(&self) -> Result<()> {
        let gone = self.gone.lock().expect("no task panics with it").clone();
        for gateway in GATEWAYS {
            for context in &gone {
                let status = self.status(gateway, &format!("{context}/now")).await?;
                ensure!(status == 404, "{context} came back at {gateway}: {status}");
            }
        }
        say(format!("{} contexts did not come back", gone.len()));
        Ok(())
    }

    async fn goes_with_its_origin(&mut self) -> Result<()> {
        self.world.start("cp-1").await?;
        self.world.operator().ok(&["delete", "origin", "pods"])?;
        self.gone(STEADY, &GATEWAYS).await?;
        for gateway in GATEWAYS {
            ensure!(self.in_force(gateway).await?.is_none(), "{gateway} has the scope");
        }
        Ok(())
    }

    /// Waits until these gateways answer below this context.
    async fn served(&self, context: &str, gateways: &[&str]) -> Result<()> {
        self.answered(context, gateways, 200, SOON).await
    }

    /// Waits until none of them does. It must stay so: see [`Region::nothing_came_back`].
    async fn gone(&self, context: &str, gateways: &[&str]) -> Result<()> {
        self.answered(context, gateways, 404, SOON).await?;
        self.gone.lock().expect("no task panics with it").push(context.to_owned());
        Ok(())
    }

    async fn answered(&self, context: &str, gateways: &[&str], status: u16, within: Duration) -> Result<()> {
        for gateway in gateways {
            let url = format!("{}{context}/now", self.world.url(gateway)?);
            eventually(self.world.client(), &url, &[], within, |answer| answer.status == status).await?;
        }
        Ok(())
    }

    async fn status(&self, gateway: &str, path: &str) -> Result<u16> {
        status(self.world.client(), &format!("{}{path}", self.world.url(gateway)?)).await
    }

    /// Waits until the two agents follow each other.
    async fn linked(&self) -> Result<()> {
        for agent in AGENTS {
            until("the agents follow each other", SOON, || async {
                let link = self.link(agent).await?;
                ensure!(link["connected"] == true, "{agent}: {link}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until all have the same head, and all gateways the same of it in force; which head.
    async fn settled(&self) -> Result<String> {
        let found = std::cell::RefCell::new(String::new());
        until("all have the same head", SOON, || async {
            let mut all = Vec::new();
            for gateway in GATEWAYS {
                all.push(self.in_force(gateway).await?.context("the gateway has it")?);
            }
            let at = all.swap_remove(0);
            ensure!(all.iter().all(|other| *other == at), "{at:?} and {all:?}");
            for agent in AGENTS {
                let page = self.neighbours(agent).await?;
                let head = &page["localScopes"][SCOPE];
                ensure!(*head == at.position, "{agent} has {head}, and gateways {}", at.position);
            }
            found.replace(at.position);
            Ok(())
        })
        .await?;
        Ok(found.into_inner())
    }

    async fn in_force(&self, gateway: &str) -> Result<Option<InForce>> {
        positions::in_force(self.world.client(), &positions::page(self.world, gateway)?).await
    }

    /// The agent's link to the other one.
    async fn link(&self, agent: &str) -> Result<Value> {
        let mut page = self.neighbours(agent).await?;
        let links = page["links"].as_array_mut().context("links")?;
        ensure!(links.len() == 1, "{agent} follows {links:?}");
        Ok(links.remove(0))
    }

    async fn neighbours(&self, agent: &str) -> Result<Value> {
        self.page(&format!("{}/neighbours", self.world.url(agent)?)).await
    }

    async fn page(&self, url: &str) -> Result<Value> {
        self.world.client().get(url, &[]).await?.json()
    }
}
