//! What agents and gateways last said, gathered from every control node: soft state, merged on demand.
//!
//! A gateway must not be forgotten because the node, or the agent, that knew it went away a moment ago: then a change
//! would count as served by all while one of them never heard of it. So each node remembers what it heard.

mod memory;
mod silence;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::KeyDigest;
use hanse_link::{BootId, ReplicaMap, Replicas, SubscriberRecord, Subscribers};
use hanse_process::Shutdown;
use hanse_proto::{
    raft::{AgentReport, ReportsResponse},
    sync::{self, TrustStatus},
};
use hanse_raft::{PeerAnswer, PeerReports, RaftGroup};
use hanse_state::{
    State,
    port::{self, AgentStatus, BoxFuture, Fleet, FleetReport, Replicated},
};
use hanse_topology::{Identity, LEASE, Name, Role};
use parking_lot::Mutex;

use crate::{projector::lineage_of, reconcile::Observed};
use memory::{Memory, ago};
use silence::{AgentKey, LastAnswers, Word};

/// How often the other nodes are asked when nobody else asks: a node that dies takes no more than this with it.
const GATHER_INTERVAL: Duration = Duration::from_secs(1);

/// The fleet as this node and the others know it, and knew it.
pub(crate) struct GatheredFleet {
    name: String,
    started: Instant,
    subscribers: Subscribers,
    replicas: Replicas,
    group: Arc<RaftGroup>,
    /// Which roots this node believes.
    trust: Arc<dyn Fn() -> TrustStatus + Send + Sync>,
    memory: Mutex<Memory>,
    /// What each node answered last.
    answers: Mutex<LastAnswers>,
}

impl GatheredFleet {
    pub(crate) fn new(
        name: String,
        trust: Arc<dyn Fn() -> TrustStatus + Send + Sync>,
        subscribers: Subscribers,
        replicas: Replicas,
        group: Arc<RaftGroup>,
    ) -> Self {
        Self {
            name,
            started: Instant::now(),
            subscribers,
            replicas,
            group,
            trust,
            memory: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// Asks every node, and adds the answers to what is remembered. Says which nodes did not answer and may hide agents, and which
    /// roots those that did believe.
    async fn gather(&self) -> (Vec<String>, BTreeMap<String, port::TrustStatus>) {
        let PeerReports { answers, silent } = self.group.peer_reports().await;
        let now = Instant::now();
        let mut last = self.answers.lock();
        let mut memory = self.memory.lock();
        let reports = reports_of(&self.subscribers, (self.trust)(), now);
        let own = PeerAnswer { node: self.name.clone(), reports, at: now };
        let (mut nodes, mut answered) = (BTreeMap::new(), BTreeSet::new());
        for PeerAnswer { node, reports, at } in answers.into_iter().chain([own]) {
            last.note(&node, at, words_of(&reports.agents, at));
            nodes.insert(node.clone(), memory::trust_of(reports.trust.as_ref()));
            memory.learn(reports.agents, at);
            answered.insert(node);
        }
        (last.hiding(&silent, &answered, now), nodes)
    }

    /// Keeps the memory fresh until the shutdown.
    pub(crate) async fn remember(self: Arc<Self>, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(GATHER_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                _ = ticks.tick() => {}
            }
            self.gather().await;
        }
    }
}

impl Observed for GatheredFleet {
    fn gateway_keys(&self, gateway: &Identity) -> Vec<KeyDigest> {
        let keys_of = |region| self.memory.lock().keys_of(region, gateway.name.as_str());
        gateway.region.as_ref().map_or_else(Vec::new, keys_of)
    }
}

impl Fleet for GatheredFleet {
    fn fleet(&self) -> BoxFuture<'_, FleetReport> {
        Box::pin(async move {
            let (mut silent, nodes) = self.gather().await;
            let state = self.group.current();
            let lineage = state.lineage().map(lineage_of);
            let now = Instant::now();
            let (mut agents, partial, duplicates) = {
                let memory = self.memory.lock();
                (memory.recall(now, lineage.as_ref()), memory.partial(now), memory.duplicates(now))
            };
            self.replicas.read(|replicas| mark_current(&mut agents, replicas));
            // A node that has just started knows nobody yet, and the agents it had may not have found another.
            if self.started.elapsed() < LEASE && !all_reported(&state, &agents) {
                silent.push(self.name.clone());
            }
            FleetReport { agents, silent, partial, duplicates, nodes }
        })
    }
}

/// Says of what gateways cannot use whether it is what is published now: a gateway may be behind, or there is a newer one.
fn mark_current(agents: &mut [AgentStatus], replicas: &ReplicaMap) {
    let gateways = agents.iter_mut().flat_map(|agent| &mut agent.gateways);
    for scope in gateways.flat_map(|gateway| &mut gateway.scopes) {
        let Some(replica) = replicas.get(&scope.scope) else { continue };
        for quarantined in &mut scope.quarantined {
            let published = replica.value_hash(&quarantined.key).map_or(&[][..], |hash| hash);
            quarantined.current = quarantined.received == published;
        }
    }
}

/// What a node says of each agent, apart from its gateways.
fn words_of(agents: &[AgentReport], at: Instant) -> BTreeMap<AgentKey, Word> {
    let word = |report: &AgentReport| {
        let key = (Name::new(&report.region).ok()?, report.name.clone());
        let (heard, reported) = (ago(at, report.heard_ms_ago), ago(at, report.reported_ms_ago));
        Some((key, Word { connected: report.connected, heard, reported }))
    };
    agents.iter().filter_map(word).collect()
}

/// Whether every agent that ever joined is among those known.
fn all_reported(state: &State, agents: &[AgentStatus]) -> bool {
    let known = |identity: &Identity| {
        agents.iter().any(|agent| {
            agent.name == identity.name.as_str() && Some(&agent.region) == identity.region.as_ref()
        })
    };
    state
        .members()
        .filter_map(|(identity, _)| identity.parse::<Identity>().ok())
        .filter(|identity| identity.role == Role::Agent)
        .all(|identity| known(&identity))
}

/// What this node tells the others about the agents connected to it. An agent counts once it has reported: before that
/// nothing is known of its gateways.
pub(crate) fn reports_of(subscribers: &Subscribers, trust: TrustStatus, now: Instant) -> ReportsResponse {
    ReportsResponse {
        trust: Some(trust),
        agents: subscribers.snapshot().into_iter().filter_map(|record| report_of(record, now)).collect(),
    }
}

/// One agent's report. What it said of its gateways has aged since it said it.
fn report_of(record: SubscriberRecord, now: Instant) -> Option<AgentReport> {
    let ms = |at: Instant| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
    let (report, came) = record.report?;
    let aged = |mut status: sync::SubscriberStatus| {
        status.heard_ms_ago = status.heard_ms_ago.saturating_add(ms(came));
        status
    };
    Some(AgentReport {
        name: record.identity.name.to_string(),
        region: record.identity.region.map(String::from).unwrap_or_default(),
        connected: record.connected,
        heard_ms_ago: ms(record.last_heard),
        // An agent uses everything as received. What it would name all the same is left out: its report may be as large as one message
        // takes beside its positions.
        scopes: record.scopes.iter().map(|(scope, ack)| unnamed(ack.to_status(scope))).collect(),
        subscribers: report.subscribers.into_iter().map(aged).collect(),
        trust: report.trust,
        unheard: report.unheard,
        unheard_total: report.unheard_total,
        revoked_gateways: report.revoked_gateways,
        left_out: report.left_out,
        boot_id: BootId::to_message(record.boot),
        reported_ms_ago: ms(came),
    })
}

fn unnamed(status: sync::ScopeStatus) -> sync::ScopeStatus {
    sync::ScopeStatus { quarantined: Vec::new(), ..status }
}

#[cfg(test)]
mod tests {
    use hanse_identity::digest_secret;
    use hanse_state::port::{GatewayStatus, Quarantined, ScopeStatus};
    use hanse_topology::{Lineage, Position};

    use super::*;

    #[test]
    fn what_is_published_now_is_told_from_what_was() {
        let name = |text| Name::new(text).unwrap();
        let scope = hanse_topology::ScopeId::runtime(name("eu-west"), name("production"));
        let replicas = Replicas::new();
        let advance = |revision, value: &'static str| {
            let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
            let (to, upserts) = (Position { lineage, revision }, vec![("plan/o/a".into(), value.into())]);
            replicas.update(&scope, |replica| replica.advance(to, upserts, Vec::new())).unwrap();
        };
        let current = |received: &[u8]| {
            let quarantined = Quarantined {
                key: "plan/o/a".into(),
                received: received.to_vec(),
                last_good: false,
                field: String::new(),
                reason: String::new(),
                current: false,
            };
            let scopes = vec![ScopeStatus {
                quarantined: vec![quarantined],
                quarantined_total: 1,
                ..ScopeStatus::at(scope.clone(), Some(9))
            }];
            let gateway = GatewayStatus {
                name: "g".into(),
                region: name("eu-west"),
                connected: true,
                heard_ms_ago: 0,
                scopes,
                trust: port::TrustStatus::default(),
                key: None,
            };
            let mut agents = [AgentStatus {
                name: "a".into(),
                region: name("eu-west"),
                connected: true,
                heard_ms_ago: 0,
                scopes: Vec::new(),
                gateways: vec![gateway],
                unheard: Vec::new(),
                unheard_total: 0,
                trust: port::TrustStatus::default(),
            }];
            replicas.read(|replicas| mark_current(&mut agents, replicas));
            agents[0].gateways[0].scopes[0].quarantined[0].current
        };
        advance(7, "bad");
        let bad = digest_secret(b"bad");
        assert!(current(&bad));
        advance(8, "mended");
        assert!(!current(&bad), "there is another version by now");
    }

    #[test]
    fn what_an_agent_says_of_those_it_misses_is_passed_on() {
        let now = Instant::now();
        let name = |text| Name::new(text).unwrap();
        let said = sync::Report {
            unheard: vec!["g2".into()],
            unheard_total: 300,
            left_out: 12,
            ..Default::default()
        };
        let record = SubscriberRecord {
            identity: Identity::agent(name("a"), name("eu-west")),
            boot: Some(BootId::new([4; 16])),
            connected: true,
            last_heard: now,
            scopes: BTreeMap::new(),
            report: Some((said.clone(), now)),
        };
        let passed_on = report_of(record, now + Duration::from_millis(70)).unwrap();
        assert_eq!((passed_on.unheard, passed_on.unheard_total), (said.unheard, said.unheard_total));
        assert_eq!((passed_on.left_out, passed_on.reported_ms_ago), (12, 70));
        assert_eq!(passed_on.boot_id, vec![4; 16]);
    }
}
