//! How long it takes until every agent shows that a gateway has come, or has gone.
//!
//! An agent in this process is seen through its [`RegionWatcher`]: the page that `GET /region` answers is made of nothing else. A relay is a
//! process of its own, and is asked for the page.

mod gateway;
mod ledger;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hanse_agent::{RegionPage, RegionWatcher};
use tokio::{sync::watch, task::JoinSet, time::sleep_until};

use super::agents::InProcess;
use crate::Client;
use gateway::Gateway;
use ledger::Ledger;
pub(super) use ledger::Took;

/// From one change to the next; the one before may be on its way still. It is no multiple of the 250 ms at which agents look at what is new, so
/// that changes come at all times between two looks.
const EVERY: Duration = Duration::from_millis(1_070);
/// How often a relay is asked while it does not show a change: the error of its figure.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// For agents to show all changes after the last one was made. A change that is not shown by then is a fault, not a figure.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// A gateway comes, or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    /// The gateway, by its number.
    gateway: usize,
    comes: bool,
}

/// The gateways of a run, each at an agent: their names, by number.
type Names = Arc<[(String, String)]>;

/// Through what an agent is seen.
enum Sight {
    InProcess(Box<RegionWatcher>),
    Asked { client: Client, url: String },
}

/// Has so many gateways come and go at agents in this process, from the `first` one on, each at an agent of its own. Waits until these agents
/// and the relays, each with its URL, show it.
pub(super) async fn measure(
    agents: &[InProcess],
    relays: Vec<(String, String)>,
    client: &Client,
    ca_file: &Path,
    (gateways, first): (usize, usize),
) -> Result<Took> {
    let mut joined = Vec::new();
    for number in 0..gateways {
        let agent = &agents[first + number].config;
        joined.push(Gateway::join(agent, &format!("live-{number:02}"), ca_file).await?);
    }
    let names: Names = joined.iter().map(|gateway| (gateway.agent.clone(), gateway.name.clone())).collect();
    // Each name comes once, and all come before the first goes: what is shown of one change cannot be that of another.
    let changes = |comes| (0..gateways).map(move |gateway| Change { gateway, comes });
    let changes: Arc<[Change]> = changes(true).chain(changes(false)).collect();

    let mut sights: Vec<(String, Sight)> =
        relays.into_iter().map(|(name, url)| (name, Sight::Asked { client: client.clone(), url })).collect();
    for agent in agents {
        let watcher = agent.region().with_context(|| format!("{} does not run", agent.config.name))?;
        sights.push((agent.config.name.to_string(), Sight::InProcess(Box::new(watcher))));
    }
    let ledger = Ledger::new(sights.iter().map(|(name, _)| name.clone()));
    let ledger = Arc::new(Mutex::new(ledger));
    let (made, when) = watch::channel(0);
    let mut watching: JoinSet<_> = sights
        .into_iter()
        .map(|(name, sight)| look(name, sight, names.clone(), changes.clone(), when.clone(), ledger.clone()))
        .collect();

    let began = tokio::time::Instant::now();
    let mut due = began;
    for change in &*changes {
        due += EVERY;
        sleep_until(due).await;
        noting(&ledger, |ledger| ledger.made(due.into_std(), Instant::now()));
        made.send_modify(|made| *made += 1);
        joined[change.gateway].set(change.comes)?;
    }
    let all_looked = async {
        while let Some(looked) = watching.join_next().await {
            looked??;
        }
        anyhow::Ok(())
    };
    // Without an answer in time the ledger says which agents lack what.
    if let Ok(looked) = tokio::time::timeout(SHOWN_WITHIN, all_looked).await {
        looked?;
    }
    noting(&ledger, |ledger| ledger.verdict(|change| changes[change].describe(&names)))
}

fn noting<T>(ledger: &Mutex<Ledger>, note: impl FnOnce(&mut Ledger) -> T) -> T {
    note(&mut ledger.lock().expect("no task panics while it notes"))
}

/// Notes when this agent shows each change, until it shows all.
async fn look(
    agent: String,
    mut sight: Sight,
    names: Names,
    changes: Arc<[Change]>,
    mut made: watch::Receiver<usize>,
    ledger: Arc<Mutex<Ledger>>,
) -> Result<()> {
    let mut pending = Vec::new();
    let mut taken = 0;
    while taken < changes.len() || !pending.is_empty() {
        if pending.is_empty() {
            made.changed().await?;
        }
        let now_made = *made.borrow_and_update();
        pending.extend(taken..now_made);
        taken = now_made;
        let page = sight.page().await?;
        let at = Instant::now();
        pending.retain(|change| {
            let is_shown = changes[*change].is_shown(&names, &page);
            if is_shown {
                noting(&ledger, |ledger| ledger.shown(&agent, *change, at));
            }
            !is_shown
        });
        if !pending.is_empty() {
            tokio::select! {
                () = sight.changed() => {}
                changed = made.changed(), if taken < changes.len() => changed?,
            }
        }
    }
    Ok(())
}

impl Change {
    /// Whether a page shows that it was made. One that goes must be shown as gone: a page that does not have it yet proves nothing.
    fn is_shown(&self, names: &Names, page: &RegionPage) -> bool {
        let (agent, gateway) = &names[self.gateway];
        let at = page.agents.iter().filter(|shown| shown.name == *agent);
        at.flat_map(|shown| &shown.gateways).any(|shown| shown.name == *gateway && shown.live == self.comes)
    }

    fn describe(&self, names: &Names) -> String {
        let (agent, gateway) = &names[self.gateway];
        format!("{gateway} {} {agent}", if self.comes { "has come to" } else { "has left" })
    }
}

impl Sight {
    async fn page(&mut self) -> Result<RegionPage> {
        match self {
            Self::InProcess(watcher) => Ok(watcher.page()),
            Self::Asked { client, url } => Ok(serde_json::from_value(client.get(url, &[]).await?.json()?)?),
        }
    }

    /// Waits until the page may be another one.
    async fn changed(&mut self) {
        match self {
            Self::InProcess(watcher) => watcher.changed().await,
            Self::Asked { .. } => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_agent::{AgentShown, GatewayShown};

    use super::*;

    #[test]
    fn a_change_is_shown_at_its_agent_and_a_gateway_that_is_unknown_has_not_gone() {
        let names: Names = [("a".to_owned(), "g".to_owned())].into();
        let page = |agent: &str, gateway: Option<bool>| RegionPage {
            region: "eu-west".into(),
            agent: "b".into(),
            relays: Vec::new(),
            agents: vec![AgentShown {
                name: agent.into(),
                live: true,
                gateways: gateway.into_iter().map(shown).collect(),
                left_out: 0,
            }],
            traffic: Vec::new(),
        };
        fn shown(live: bool) -> GatewayShown {
            let name = "g".into();
            let (ready, not_ready, scopes, scopes_total, urls) = (None, None, Vec::new(), None, Vec::new());
            GatewayShown {
                name,
                live,
                ready,
                not_ready,
                scopes,
                scopes_total,
                urls,
                internal_urls: Vec::new(),
            }
        }
        for (page, came, gone) in [
            (page("a", None), false, false),
            (page("a", Some(true)), true, false),
            (page("a", Some(false)), false, true),
            (page("c", Some(true)), false, false),
        ] {
            let is_shown = |comes| Change { gateway: 0, comes }.is_shown(&names, &page);
            assert_eq!((is_shown(true), is_shown(false)), (came, gone), "{page:?}");
        }
    }
}
