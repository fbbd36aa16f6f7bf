//! A control plane of one node: the ports over a bare state.

use std::{
    collections::BTreeMap,
    iter,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hanse_api::{ApiMetrics, Clock, OperatorApi};
use hanse_management::{
    Digest, Kind, Problem, ProblemName, ResourceKey, Revision, Spec,
    kinds::{JoinRole, JoinTokenSpec, SealedValue, TokenRole, TokenSpec},
};
use hanse_state::{
    Action, Change, Command, CommandBody, FederationKeys, Lineage, Outcome, RecoveryKey, RootCertificate,
    State,
    admission::Admitted,
    port::{
        AgentStatus, BoxFuture, Consistency, Duplicate, Facts, Fleet, FleetReport, GroupStatus, NodeStatus,
        PartialReport, Projected, RecoveryWrapping, Replicated, RootCertificates, RootFacts, ScopeEffect,
        Sealing, Standby, ToSeal,
    },
    projection,
};
use hanse_topology::{Labels, Name};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub(crate) const TOKEN: &str = "operator-secret";
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A writer that comes in between.
pub(crate) type Rival = Box<dyn FnMut(&SingleNode) + Send>;

/// A replicated state without replication.
pub(crate) struct SingleNode {
    state: watch::Sender<State>,
    /// What it has applied, where that is less than was committed.
    pub(crate) applied: Mutex<Option<State>>,
    effects: Mutex<BTreeMap<Revision, Vec<ScopeEffect>>>,
    pub(crate) agents: Mutex<Vec<AgentStatus>>,
    /// Control nodes that do not answer.
    pub(crate) silent: Mutex<Vec<String>>,
    pub(crate) heard_ms_ago: Mutex<BTreeMap<u64, u64>>,
    /// What is known of the regions of failover plans.
    pub(crate) standbys: Mutex<Vec<Standby>>,
    /// Members that do not answer.
    pub(crate) mute: Mutex<Vec<u64>>,
    pub(crate) partial: Mutex<Vec<PartialReport>>,
    pub(crate) duplicates: Mutex<Vec<Duplicate>>,
    /// What control nodes say of themselves, by Raft id: this one has 1. Each of them is a member.
    pub(crate) nodes: Mutex<BTreeMap<u64, Facts>>,
    pub(crate) quorum: AtomicBool,
    /// Whether it says that it was restarted and has not caught up.
    pub(crate) restarted: AtomicBool,
    pub(crate) projecting: AtomicBool,
    pub(crate) now_ms: AtomicU64,
    pub(crate) proposed: Mutex<Vec<Command>>,
    /// Runs before each proposal: a writer that is faster.
    pub(crate) rival: Mutex<Option<Rival>>,
}

impl SingleNode {
    /// Before the first command.
    pub(crate) fn empty() -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(State::default()),
            applied: Mutex::default(),
            effects: Mutex::default(),
            agents: Mutex::default(),
            silent: Mutex::default(),
            heard_ms_ago: Mutex::default(),
            standbys: Mutex::default(),
            mute: Mutex::default(),
            partial: Mutex::default(),
            duplicates: Mutex::default(),
            nodes: Mutex::default(),
            quorum: AtomicBool::new(true),
            restarted: AtomicBool::new(false),
            projecting: AtomicBool::new(true),
            now_ms: AtomicU64::new(START_MS),
            proposed: Mutex::default(),
            rival: Mutex::default(),
        })
    }

    /// With a lineage and one operator token: revision 2.
    pub(crate) fn new() -> Arc<Self> {
        let node = Self::empty();
        node.run(CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
        node.add_token("root", TOKEN, None);
        node
    }

    pub(crate) fn add_token(&self, name: &str, token: &str, expires_at: Option<u64>) {
        self.put_token(name, TokenSpec::admin(Digest::of(token.as_bytes()), expires_at));
    }

    /// A token `NAME-secret` with a role.
    pub(crate) fn add_token_of(&self, name: &str, role: TokenRole, organization: Option<&str>) {
        let digest = Digest::of(format!("{name}-secret").as_bytes());
        let organization = organization.map(|name| Name::new(name).unwrap());
        self.put_token(
            name,
            TokenSpec { role, organization, owner: Some(name.to_owned()), ..TokenSpec::admin(digest, None) },
        );
    }

    pub(crate) fn delete_token(&self, name: &str) {
        let key = ResourceKey::global(Kind::Token, Name::new(name).unwrap());
        let change = Change { key, action: Action::Delete { cascade: false }, if_revision: None };
        let outcome = self.run(CommandBody::Apply(vec![change]));
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    fn put_token(&self, name: &str, spec: TokenSpec) {
        let outcome = self.run(CommandBody::Apply(vec![Change {
            key: ResourceKey::global(Kind::Token, Name::new(name).unwrap()),
            action: Action::put(Labels::default(), Spec::Token(spec)),
            if_revision: None,
        }]));
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    /// An agent joins.
    pub(crate) fn add_agent(&self, name: &str, region: &str) {
        let joiner = format!("{name}.agent.{region}.hanse.internal");
        self.join(JoinRole::Agent, Some(Name::new(region).unwrap()), joiner);
    }

    /// A control node that joined and was never started.
    pub(crate) fn add_server(&self, name: &str) {
        self.join(JoinRole::Server, None, format!("{name}.server.control.hanse.internal"));
    }

    fn join(&self, role: JoinRole, region: Option<Name>, joiner: String) {
        let (token, digest) = (Name::new("join").unwrap(), Digest::of(b"join"));
        let spec = JoinTokenSpec {
            role,
            region,
            environments: Vec::new(),
            uses: 1,
            replace: false,
            force: false,
            expires_at: START_MS / 1000 + 3600,
            digest,
        };
        self.run(CommandBody::Apply(vec![Change {
            key: ResourceKey::global(Kind::JoinToken, token.clone()),
            action: Action::put(Labels::default(), Spec::JoinToken(spec)),
            if_revision: None,
        }]));
        let joined = self.run(CommandBody::UseJoinToken {
            token,
            secret_digest: digest.0,
            key_digest: Digest::of(joiner.as_bytes()).0,
            joiner,
            seat: None,
        });
        assert!(matches!(joined, Outcome::Accepted(_)), "{joined:?}");
    }

    /// Makes the next version of the federation key, and has it used.
    pub(crate) fn make_key(&self) {
        let recovery = RecoveryKey { sign: vec![1], wrap: vec![2] };
        let keys = |state: &State| state.federation_keys().next_number().unwrap();
        let version = keys(&self.state());
        let mut bodies = vec![match version {
            1 => CommandBody::SetRecoveryKey { recovery, wrapped: Vec::new(), replace: false },
            _ => CommandBody::RotateKey,
        }];
        bodies.push(CommandBody::AddKey {
            version,
            digest: Digest::of(&version.to_be_bytes()).0,
            recipient: Digest::of(&[2]).0,
            wrapped: vec![3],
            maker: "cp-1.server.control.hanse.internal".into(),
            rotate_after: if version == 1 { 0 } else { self.state().revision() + 1 },
        });
        bodies.push(CommandBody::UseKey { version });
        for body in bodies {
            let outcome = self.run(body);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        }
    }

    pub(crate) fn run(&self, body: CommandBody) -> Outcome {
        let time_ms = self.now_ms.load(Ordering::SeqCst);
        self.apply(&Command {
            actor: "test".into(),
            request_id: "test".into(),
            time_ms,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: hanse_state::Origin::default(),
            body,
        })
    }

    pub(crate) fn apply(&self, command: &Command) -> Outcome {
        let mut outcome = None;
        self.state.send_modify(|state| {
            let before = state.clone();
            outcome = Some(state.apply(command));
            if state.revision() > before.revision() {
                self.effects.lock().unwrap().insert(state.revision(), projection::preview(&before, state));
            }
        });
        outcome.unwrap()
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn revision(&self) -> Revision {
        self.state().revision()
    }

    /// The API over this node, by its clock.
    pub(crate) fn api(self: &Arc<Self>) -> OperatorApi {
        let mut registry = Registry::default();
        let metrics = ApiMetrics::register(&mut registry);
        let scrape = Arc::new(move || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        });
        let node = self.clone();
        let clock = Clock::from_fn(move || node.now_ms.load(Ordering::SeqCst));
        let mut api = OperatorApi::new(
            self.clone(),
            self.clone(),
            self.clone(),
            self.clone(),
            self.clone(),
            metrics,
            scrape,
        );
        api.clock = clock;
        api.sealing = self.clone();
        api
    }

    fn check_quorum(&self) -> Result<(), Problem> {
        let lost = Problem::new(ProblemName::NoQuorum, "there is no quorum").remedy("try again");
        if self.quorum.load(Ordering::SeqCst) { Ok(()) } else { Err(lost) }
    }
}

impl Replicated for SingleNode {
    fn replicate(&self, admitted: Admitted) -> BoxFuture<'_, Result<Outcome, Problem>> {
        let command = admitted.into_command();
        Box::pin(async move {
            self.check_quorum()?;
            if let Some(rival) = &mut *self.rival.lock().unwrap() {
                rival(self);
            }
            self.proposed.lock().unwrap().push(command.clone());
            Ok(self.apply(&command))
        })
    }

    fn read(&self, consistency: Consistency) -> BoxFuture<'_, Result<State, Problem>> {
        Box::pin(async move {
            match consistency {
                Consistency::Linearizable => self.check_quorum().map(|()| self.state()),
                Consistency::Stale => Ok(self.state()),
                Consistency::AtLeast(revision) => Ok(self.changed_since(revision.saturating_sub(1)).await),
            }
        })
    }

    fn restarted(&self) -> bool {
        self.restarted.load(Ordering::SeqCst)
    }

    fn current(&self) -> State {
        self.applied.lock().unwrap().clone().unwrap_or_else(|| self.state())
    }

    fn changed_since(&self, revision: Revision) -> BoxFuture<'_, State> {
        let mut state = self.state.subscribe();
        Box::pin(async move {
            let changed = state.wait_for(|state| state.revision() > revision).await;
            changed.expect("the sender is in self").clone()
        })
    }

    fn group(&self) -> GroupStatus {
        // Without a quorum no leader is known.
        let quorum = self.quorum.load(Ordering::SeqCst);
        let node = |id: u64| NodeStatus {
            id,
            name: format!("cp-{id}"),
            role: if id == 1 && quorum { "leader" } else { "voter" },
            api_url: "https://127.0.0.1:7443".into(),
            matched: Some(9),
        };
        let others: Vec<u64> = self.nodes.lock().unwrap().keys().copied().filter(|id| *id != 1).collect();
        GroupStatus {
            this: "cp-1".into(),
            leader: quorum.then(|| "cp-1".into()),
            term: 3,
            as_of_age_ms: 12,
            up_to_date: quorum,
            quorum,
            nodes: iter::once(1).chain(others).map(node).collect(),
        }
    }
}

impl Fleet for SingleNode {
    fn fleet(&self) -> BoxFuture<'_, FleetReport> {
        Box::pin(async {
            let agents = self.agents.lock().unwrap().clone();
            let mut nodes = self.nodes.lock().unwrap().clone();
            nodes.entry(1).or_default();
            nodes.retain(|id, _| !self.mute.lock().unwrap().contains(id));
            FleetReport {
                agents,
                silent: self.silent.lock().unwrap().clone(),
                partial: self.partial.lock().unwrap().clone(),
                duplicates: self.duplicates.lock().unwrap().clone(),
                nodes,
                heard_ms_ago: self.heard_ms_ago.lock().unwrap().clone(),
            }
        })
    }

    fn standbys(&self, plan: &Name) -> BoxFuture<'_, Vec<Standby>> {
        let known = self.standbys.lock().unwrap();
        let rows = known.iter().filter(|standby| standby.plan == *plan).cloned().collect();
        Box::pin(std::future::ready(rows))
    }
}

/// Data is masked here, and what seals it is the server's.
impl Sealing for SingleNode {
    fn seal(&self, _: &FederationKeys, value: ToSeal<'_>, data: &str) -> Result<SealedValue, Problem> {
        let masked: Vec<u8> = data.bytes().map(|byte| byte ^ 0x55).collect();
        let sealed = [&value.version.to_be_bytes()[..], &masked].concat();
        let same = value.present.filter(|present| present.sealed[4..] == masked);
        let same_as = same.filter(|present| present.version != value.version);
        let same_as = same_as.map(|present| Digest::of(&present.sealed).0);
        Ok(SealedValue { version: value.version, sealed, same_as })
    }
}

/// Roots are numbered here, and a certificate is its number: what is in them is the server's to read.
impl RootCertificates for SingleNode {
    fn present(&self) -> Option<RootFacts> {
        self.facts(&[1])
    }

    fn facts(&self, certificate: &[u8]) -> Option<RootFacts> {
        let number = *certificate.first()?;
        Some(RootFacts { key: [number; 32], pem: format!("root {number}"), not_after_ms: START_MS })
    }

    fn rotation(&self, pem: &str) -> Result<(RootCertificate, RootCertificate), Problem> {
        let refused =
            || Problem::new(ProblemName::Invalid, "no rotation").at("body: rotation").remedy("send one");
        let (present, fresh) = pem.split_once(" to ").ok_or_else(refused)?;
        let root = |number: &str| {
            let number: u8 = number.parse().map_err(|_| refused())?;
            Ok(RootCertificate { key: [number; 32], certificate: vec![number], endorsement: vec![] })
        };
        Ok((root(present)?, root(fresh)?))
    }
}

/// A key is its name here, and wrapped it says which version it is and to which key it is wrapped.
impl RecoveryWrapping for SingleNode {
    fn read(&self, sign: &str, wrap: &str) -> Result<RecoveryKey, Problem> {
        if sign == "bad" {
            let problem = Problem::new(ProblemName::Invalid, "no key").at("body: sign");
            return Err(problem.remedy("send one"));
        }
        Ok(RecoveryKey { sign: sign.into(), wrap: wrap.into() })
    }

    fn wrapped(&self, state: &State, recovery: &RecoveryKey) -> Result<Vec<Vec<u8>>, Problem> {
        let to = String::from_utf8_lossy(&recovery.wrap);
        Ok(state
            .federation_keys()
            .versions()
            .map(|(version, _)| format!("{version} to {to}").into())
            .collect())
    }
}

impl Projected for SingleNode {
    fn effects(&self, revision: Revision) -> BoxFuture<'_, Vec<ScopeEffect>> {
        Box::pin(async move {
            if !self.projecting.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            self.effects.lock().unwrap().get(&revision).cloned().unwrap_or_default()
        })
    }
}
