//! Puts together what this agent hears of its region, and tells other agents.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_link::{
    REGION_PROOF, RegionNews, RegionSource, SubscriberRecord, Subscribers, TRAFFIC_SPAN, ToldTo,
};
use hanse_local::Directory;
use hanse_process::Shutdown;
use hanse_proto::sync::AgentLive;
use hanse_topology::{Identity, Name};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Own, heard::Reading, hearing::RegionView, ledger::Ledger};

/// Least time between two looks at what was heard. A thousand agents report every second.
const LOOK_SPACING: Duration = Duration::from_millis(250);

/// Looks at what the agent's gateways and the agents that follow it said. A clone goes on where one that ended stopped.
#[derive(Clone)]
pub(crate) struct Teller {
    identity: Identity,
    own: Own,
    neighbours: Subscribers,
    reading: Reading,
    told: Told,
}

/// What this agent knows by itself. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Told {
    ledger: Arc<Mutex<Ledger>>,
    changed: watch::Sender<u64>,
    directory: watch::Receiver<Arc<Directory>>,
}

impl Teller {
    /// Nothing was looked at yet.
    pub(crate) fn new(
        identity: Identity,
        own: Own,
        neighbours: Subscribers,
        directory: watch::Receiver<Arc<Directory>>,
    ) -> (Self, Told) {
        let told = Told::new(directory);
        (Self { identity, own, neighbours, reading: Reading::default(), told: told.clone() }, told)
    }

    /// Looks until the shutdown, at what is new and every second.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let (mut gateways, mut neighbours) = (self.own.changed(), self.neighbours.changed());
        let mut traffic_at = Instant::now();
        loop {
            let now = Instant::now();
            let is_due = now >= traffic_at;
            if is_due {
                traffic_at = now + TRAFFIC_SPAN;
                self.own.sum_traffic(now);
            }
            let agents = self.look(now);
            if is_due {
                let traffic = self.reading.traffic(&agents).to_message();
                self.told.note(|ledger| ledger.set_traffic(traffic));
            }
            self.told.note(|ledger| ledger.set_agents(agents));
            tokio::select! {
                () = shutdown.wait() => return,
                Ok(()) = gateways.changed() => {}
                Ok(()) = neighbours.changed() => {}
                () = tokio::time::sleep(REGION_PROOF) => {}
            }
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(LOOK_SPACING) => {}
            }
        }
    }

    /// This agent is one of those that are told of: it says of itself what it says to relays.
    fn look(&mut self, now: Instant) -> BTreeMap<Name, AgentLive> {
        let own = SubscriberRecord {
            identity: self.identity.clone(),
            boot: None,
            connected: true,
            last_heard: now,
            scopes: BTreeMap::new(),
            report: Some((self.own.report(now), now)),
        };
        let mut records = self.neighbours.snapshot();
        records.retain(|record| record.identity != self.identity);
        records.push(own);
        self.reading.agents(&records, now)
    }
}

impl Told {
    fn new(directory: watch::Receiver<Arc<Directory>>) -> Self {
        Self { ledger: Arc::default(), changed: watch::Sender::default(), directory }
    }

    /// Knows these agents by itself.
    #[cfg(test)]
    pub(crate) fn knowing(agents: BTreeMap<Name, AgentLive>) -> Self {
        let told = Self::new(watch::channel(Arc::default()).1);
        told.note(|ledger| ledger.set_agents(agents));
        told
    }

    fn note(&self, change: impl FnOnce(&mut Ledger) -> bool) {
        let mut ledger = self.ledger.lock();
        if change(&mut ledger) {
            self.changed.send_replace(ledger.version());
        }
    }

    /// What this agent knows by itself.
    pub(super) fn view(&self) -> RegionView {
        self.ledger.lock().view()
    }
}

impl RegionSource for Told {
    fn since(&self, peer: &Identity, told: Option<&ToldTo>) -> Option<RegionNews> {
        let environments = self.directory.borrow().get(&peer.name)?.environments.clone();
        let seen = told.filter(|told| told.environments == environments).map(|told| told.version);
        let ledger = self.ledger.lock();
        let told = ToldTo { version: ledger.version(), environments: environments.clone() };
        Some(RegionNews { parts: Box::new(ledger.since(seen, environments)), told })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::{
        nested,
        sync::{GatewayLive, RegionPart, Serving},
    };
    use hanse_runtime::Neighbour;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn directory(environments: &[&str]) -> Arc<Directory> {
        let environments = environments.iter().map(ToString::to_string).collect();
        let known =
            Neighbour { name: "b".to_owned(), key: [0; 32], environments, address: None, relay: false };
        Arc::new([(name("b"), known)].into())
    }

    fn gateway(text: &str, environment: &str) -> GatewayLive {
        let scopes = vec![format!("runtime/eu-west/{environment}")];
        let serving = nested::to_bytes(&Serving { scopes, ..Serving::default() });
        GatewayLive { name: text.to_owned(), live: true, serving }
    }

    fn gateways(part: &RegionPart) -> Vec<&str> {
        part.agents.iter().flat_map(|agent| &agent.gateways).map(|gateway| &*gateway.name).collect()
    }

    #[test]
    fn an_agent_that_may_learn_other_environments_is_told_all_anew() {
        let (directories, known) = watch::channel(directory(&["sandbox"]));
        let told = Told::new(known);
        let gateways_of_a = vec![gateway("g", "production"), gateway("h", "sandbox")];
        let a = AgentLive { name: "a".into(), live: true, gateways: gateways_of_a, left_out: 0 };
        told.note(|ledger| ledger.set_agents([(name("a"), a)].into()));
        let peer = Identity::agent(name("b"), name("eu-west"));
        let since = |upto: Option<&ToldTo>| {
            told.since(&peer, upto).map(|news| (news.parts.collect::<Vec<_>>(), news.told))
        };
        let (parts, upto) = since(None).unwrap();
        assert_eq!((parts.len(), parts[0].whole, gateways(&parts[0])), (1, true, vec!["h"]));
        let (parts, upto) = since(Some(&upto)).unwrap();
        assert_eq!(parts, [], "nothing changed");

        // It joined again with a wider token.
        directories.send_replace(directory(&[]));
        let (parts, upto) = since(Some(&upto)).unwrap();
        assert_eq!((parts.len(), parts[0].whole, gateways(&parts[0])), (1, true, vec!["g", "h"]));
        directories.send_replace(directory(&["production"]));
        let (parts, upto) = since(Some(&upto)).unwrap();
        assert_eq!((parts[0].whole, gateways(&parts[0])), (true, vec!["g"]));
        directories.send_replace(Arc::default());
        assert!(since(Some(&upto)).is_none(), "it is no agent of the region any more");
    }
}
