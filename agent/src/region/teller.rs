//! Puts together what this agent hears of its region, and tells other agents.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_link::{REGION_PROOF, RegionSource, SubscriberRecord, Subscribers, TRAFFIC_SPAN};
use hanse_local::Directory;
use hanse_process::Shutdown;
use hanse_proto::sync::{AgentLive, RegionPart};
use hanse_topology::{Identity, Name};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{heard::Reading, hearing::RegionView, ledger::Ledger, limit::Limit, report};

/// Least time between two looks at what was heard. A thousand agents report every second.
const LOOK_SPACING: Duration = Duration::from_millis(250);

/// An agent that has just started knows too little to tell. Other agents link to it again within 5 s, and a handshake later.
const TELLS_AFTER: Duration = Duration::from_secs(7);

/// Looks at what the agent's gateways and the agents that follow it said. A clone goes on where one that ended stopped.
#[derive(Clone)]
pub(crate) struct Teller {
    own: Identity,
    gateways: Subscribers,
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
    began: Instant,
}

impl Teller {
    /// Nothing was looked at yet.
    pub(crate) fn new(
        own: Identity,
        gateways: Subscribers,
        neighbours: Subscribers,
        directory: watch::Receiver<Arc<Directory>>,
    ) -> (Self, Told) {
        let (ledger, changed, began) = (Arc::default(), watch::Sender::default(), Instant::now());
        let told = Told { ledger, changed, directory, began };
        (Self { own, gateways, neighbours, reading: Reading::default(), told: told.clone() }, told)
    }

    /// Looks until the shutdown, at what is new and every second.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let (mut gateways, mut neighbours) = (self.gateways.changed(), self.neighbours.changed());
        let mut traffic_at = Instant::now();
        loop {
            let now = Instant::now();
            let agents = self.look(now);
            if now >= traffic_at {
                traffic_at = now + TRAFFIC_SPAN;
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
            identity: self.own.clone(),
            boot: None,
            connected: true,
            last_heard: now,
            scopes: BTreeMap::new(),
            report: Some((report(&self.gateways.snapshot(), now), now)),
        };
        let mut records = self.neighbours.snapshot();
        records.retain(|record| record.identity != self.own);
        records.push(own);
        self.reading.agents(&records, now)
    }
}

impl Told {
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

    /// What is known of one agent.
    pub(super) fn agent(&self, name: &Name) -> Option<Arc<AgentLive>> {
        self.ledger.lock().agent(name)
    }
}

impl RegionSource for Told {
    fn ready(&self) -> Result<(), String> {
        match self.began.elapsed() < TELLS_AFTER {
            true => Err(format!("this agent has just started: ask again in {TELLS_AFTER:?}")),
            false => Ok(()),
        }
    }

    fn since(&self, peer: &Identity, seen: Option<u64>) -> (Vec<RegionPart>, u64) {
        let directory = self.directory.borrow().clone();
        let ledger = self.ledger.lock();
        let parts = directory.get(&peer.name).map(|peer| ledger.since(seen, &Limit(&peer.environments)));
        (parts.unwrap_or_default(), ledger.version())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
