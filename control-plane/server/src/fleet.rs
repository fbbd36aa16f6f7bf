//! What agents and gateways last said, gathered from every control node: soft state, merged on demand.
//!
//! A gateway must not be forgotten because the node, or the agent, that knew it went away a moment ago: then a change
//! would count as served by all while one of them never heard of it. So each node remembers what it heard.

mod facts;
mod loads;
mod memory;
mod readiness;
mod silence;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::KeyDigest;
use hanse_link::{KeptPlaces, Replica, ReplicaMap, Replicas, SubscriberRecord, Subscribers};
use hanse_process::{Shutdown, telemetry};
use hanse_proto::{
    places::is_internal_listener,
    raft::{ControlNode, ReportsResponse},
    sync::Heard,
};
use hanse_raft::{PeerAnswer, PeerReports, RaftGroup};
use hanse_state::{
    CommandBody, MintedToken, State,
    port::{AgentStatus, BoxFuture, Facts, Fleet, FleetReport, Replicated, Standby},
    server_identity,
};
use hanse_topology::{Identity, LEASE, Name, Role, ScopeId};
use parking_lot::Mutex;
use tracing::error;

use crate::{
    places,
    projector::lineage_of,
    reconcile::{HeardAgents, Holder, Observed},
    secrets::{Keys, Resealing},
};
use memory::{Memory, ago, key_of};
use readiness::Known;
use silence::{AgentKey, LastAnswers, Word};

/// How often the other nodes are asked when no request asks them: a node that dies takes no more than this with it.
const GATHER_INTERVAL: Duration = Duration::from_secs(1);

/// The fleet as this node and the others know it, and knew it.
pub(crate) struct GatheredFleet {
    name: String,
    started: Instant,
    subscribers: Subscribers,
    replicas: Replicas,
    group: Arc<RaftGroup>,
    /// What this node says of itself.
    facts: Arc<dyn Fn() -> Facts + Send + Sync>,
    memory: Mutex<Memory>,
    /// What each node answered last.
    answers: Mutex<LastAnswers>,
    /// When each node answered last, by Raft id.
    heard: Mutex<BTreeMap<u64, Instant>>,
    /// What each node that answered the last gathering said of the federation key, by Raft id. An answer counts no longer: a node that
    /// was stopped may come back without its files.
    newest_keys: Mutex<BTreeMap<u64, u32>>,
    /// The versions that are here.
    keys: Keys,
    resealing: Resealing,
    /// Where regions are reached.
    places: KeptPlaces,
}

impl GatheredFleet {
    pub(crate) fn new(
        name: String,
        facts: Arc<dyn Fn() -> Facts + Send + Sync>,
        subscribers: Subscribers,
        replicas: Replicas,
        group: Arc<RaftGroup>,
        keys: Keys,
        places: KeptPlaces,
    ) -> Self {
        Self {
            name,
            started: Instant::now(),
            subscribers,
            replicas,
            group,
            facts,
            memory: Mutex::default(),
            answers: Mutex::default(),
            heard: Mutex::default(),
            newest_keys: Mutex::default(),
            resealing: Resealing::by(keys.clone()),
            keys,
            places,
        }
    }

    /// Asks every node, and adds the answers to what is remembered. Says which nodes did not answer and may hide agents, and what
    /// those that did say of themselves.
    async fn gather(&self) -> (Vec<String>, BTreeMap<u64, Facts>) {
        let PeerReports { answers, silent } = self.group.peer_reports().await;
        let now = Instant::now();
        let mut heard = self.heard.lock();
        let mut last = self.answers.lock();
        let mut memory = self.memory.lock();
        let reports = reports_of(self.subscribers.snapshot(), (self.facts)(), now);
        let own = PeerAnswer { id: self.group.id(), node: self.name.clone(), reports, at: now };
        let (mut nodes, mut answered, mut newest_keys) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for PeerAnswer { id, node, reports, at } in answers.into_iter().chain([own]) {
            last.note(&node, at, words_of(&reports.agents, at));
            // Gatherings may overlap.
            heard.entry(id).and_modify(|heard| *heard = at.max(*heard)).or_insert(at);
            let facts = facts::bounded(reports.facts.unwrap_or_default());
            newest_keys.insert(id, facts.newest_key);
            nodes.insert(id, facts);
            memory.learn(reports.agents, at);
            answered.insert(node);
        }
        *self.newest_keys.lock() = newest_keys;
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
            self.note_places(Instant::now());
        }
    }

    /// Puts where regions are reached in step with what is remembered.
    fn note_places(&self, now: Instant) {
        let settled = self.started.elapsed() > LEASE;
        let heard = self.memory.lock().heard_regions(now, settled);
        let is_internal = |scope: &ScopeId, key: &str| {
            let is_internal = |replicas: &ReplicaMap| {
                replicas.get(scope)?.get(key).map(|listener| is_internal_listener(listener))
            };
            self.replicas.read(is_internal).unwrap_or_default()
        };
        places::note(&self.places, &heard, is_internal, now);
    }
}

impl Observed for GatheredFleet {
    fn gateway_keys(&self, gateway: &Identity) -> Vec<KeyDigest> {
        let keys_of = |region| self.memory.lock().keys_of(region, gateway.name.as_str());
        gateway.region.as_ref().map_or_else(Vec::new, keys_of)
    }

    fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
        self.memory.lock().minted_tokens()
    }

    fn holders(&self) -> Vec<Holder> {
        let (own, state) = (self.group.id(), self.group.current());
        let said = self.newest_keys.lock();
        let holder = |member: ControlNode| {
            let newest = match member.id == own {
                true => Some(self.keys.newest(&state)),
                false => said.get(&member.id).copied(),
            };
            Holder { identity: server_identity(&member.name), newest }
        };
        self.group.members().into_iter().map(holder).collect()
    }

    fn next_key(&self, state: &State) -> Option<CommandBody> {
        let made = self.keys.addition(state, &server_identity(&self.name))?;
        made.inspect_err(
            |error| error!(error = %telemetry::causes(error), "the next federation key cannot be wrapped"),
        )
        .ok()
    }

    fn reseal(&self, state: &State) -> Option<CommandBody> {
        self.resealing.next(state)
    }

    fn agents(&self) -> HeardAgents {
        let agents = self.memory.lock().heard_agents(Instant::now());
        HeardAgents { watched_for: self.started.elapsed(), agents }
    }

    fn heard_standbys(&self, plan: &Name) -> Vec<Standby> {
        let state = self.group.current();
        let lineage = state.lineage().map(lineage_of);
        let now = Instant::now();
        let newest =
            |scope: &ScopeId| self.replicas.read(|replicas| replicas.get(scope).map(Replica::last_change));
        let memory = self.memory.lock();
        let agents = memory.recall(now, lineage.as_ref());
        let known = Known { agents: &agents, loads: memory.loads(), newest: &newest };
        readiness::standbys(&state, &known, plan, now)
    }
}

impl Fleet for GatheredFleet {
    fn fleet(&self) -> BoxFuture<'_, FleetReport> {
        Box::pin(async move {
            let (mut silent, nodes) = self.gather().await;
            let state = self.group.current();
            let lineage = state.lineage().map(lineage_of);
            let now = Instant::now();
            let (mut agents, responders, partial, duplicates) = {
                let memory = self.memory.lock();
                let agents = memory.recall(now, lineage.as_ref());
                (agents, memory.responders(now), memory.partial(now), memory.duplicates(now))
            };
            self.replicas.read(|replicas| mark_current(&mut agents, replicas));
            // A node that has just started has heard no agent yet, and the agents it had may not have found another node.
            if self.started.elapsed() < LEASE && !all_reported(&state, &agents) {
                silent.push(self.name.clone());
            }
            let ago = |at: &Instant| u64::try_from(now.duration_since(*at).as_millis()).unwrap_or(u64::MAX);
            let heard_ms_ago = self.heard.lock().iter().map(|(id, at)| (*id, ago(at))).collect();
            FleetReport { agents, responders, silent, partial, duplicates, nodes, heard_ms_ago }
        })
    }

    fn standbys(&self, plan: &Name) -> BoxFuture<'_, Vec<Standby>> {
        let plan = plan.clone();
        Box::pin(async move {
            self.gather().await;
            self.heard_standbys(&plan)
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
fn words_of(agents: &[Heard], at: Instant) -> BTreeMap<AgentKey, Word> {
    let word = |agent: &Heard| {
        let (heard, reported) = (ago(at, agent.heard_ms_ago), ago(at, agent.reported_ms_ago));
        Some((key_of(agent, Role::Agent)?, Word { connected: agent.connected, heard, reported }))
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
/// nothing is known of its gateways. An agent uses everything as received: what it would name of its own scopes all the same is left
/// out, since its report may be as large as one message takes beside its positions.
pub(crate) fn reports_of(
    subscribers: impl IntoIterator<Item = SubscriberRecord>,
    facts: Facts,
    now: Instant,
) -> ReportsResponse {
    let reporting = subscribers.into_iter().filter(|record| record.report.is_some());
    let agents = reporting.map(|record| {
        let mut heard = record.to_heard(now, None, &mut 0);
        // Every control node judges whether a region can carry more.
        if let (Some(told), Some((said, _))) = (&mut heard.report, record.report) {
            told.traffic = said.traffic;
        }
        heard
    });
    let agents = agents.collect();
    ReportsResponse { agents, facts: Some(facts) }
}

#[cfg(test)]
mod tests {
    use hanse_identity::digest_secret;
    use hanse_link::{BootId, Quarantine, ScopeAck};
    use hanse_proto::{
        nested,
        sync::{self, Report},
    };
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
                facts: Facts::default(),
                key: None,
            };
            let mut agents = [AgentStatus {
                name: "a".into(),
                region: name("eu-west"),
                connected: true,
                heard_ms_ago: 0,
                scopes: Vec::new(),
                gateways: vec![gateway],
                facts: Facts::default(),
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

    /// Two nodes: one whom the agent reports to, and one that asks it.
    #[test]
    fn what_an_agent_says_is_passed_on_as_received() {
        let now = Instant::now();
        let name = |text| Name::new(text).unwrap();
        let said = Facts { unheard: vec!["g2".into()], unheard_total: 300, left_out: 12, ..Facts::default() };
        let unknown = [&nested::to_bytes(&said)[..], b"\xfa\x07\x03new"].concat();
        let traffic = Some(vec![8, 1].into());
        let report = Report { facts: unknown.into(), below: vec![0].into(), traffic };
        let scope = "runtime/eu-west/production".parse().unwrap();
        let quarantine = Quarantine::of([sync::Quarantined { key: "plan/o/a".into(), ..Default::default() }]);
        let record = SubscriberRecord {
            identity: Identity::agent(name("a"), name("eu-west")),
            boot: Some(BootId::new([4; 16])),
            connected: true,
            last_heard: now + Duration::from_millis(50),
            scopes: BTreeMap::from([(scope, ScopeAck { quarantine, ..ScopeAck::default() })]),
            report: Some((report.clone(), now)),
        };
        let silent = SubscriberRecord {
            identity: Identity::agent(name("b"), name("eu-west")),
            report: None,
            ..record.clone()
        };
        let reports = reports_of([record, silent], Facts::default(), now + Duration::from_millis(70));
        let [heard] = &reports.agents[..] else { panic!("{reports:?}") };
        assert_eq!(heard.report, Some(report));
        assert_eq!((heard.heard_ms_ago, heard.reported_ms_ago), (20, 70));
        assert_eq!(heard.boot_id, vec![4; 16]);
        let mut memory = Memory::default();
        memory.learn(reports.agents, now);
        let agents = memory.recall(now, None);
        assert_eq!(agents[0].facts, said);
        let scope = &agents[0].scopes[0];
        assert_eq!((scope.quarantined.len(), scope.quarantined_total), (0, 1));
    }
}
