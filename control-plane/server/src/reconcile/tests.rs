//! The driver, over a state that is not replicated.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hanse_management::{Digest, Kind, ResourceKey, Revision, Spec, kinds::JoinTokenSpec};
use hanse_process::ShutdownTrigger;
use hanse_state::{
    Action, Change, Lineage,
    admission::Admitted,
    port::{BoxFuture, Consistency, GroupStatus},
};
use hanse_topology::Name;
use parking_lot::Mutex;

use super::*;

/// For what must happen: far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A group of one, which leads in a term or does not lead.
struct Alone {
    state: Mutex<State>,
    term: AtomicU64,
    leads: AtomicBool,
    /// Whether the term has passed by the time a command is applied.
    loses_the_lead: AtomicBool,
    proposed: AtomicU64,
}

impl Replicated for Alone {
    fn replicate(&self, admitted: Admitted) -> BoxFuture<'_, Result<Outcome, Problem>> {
        let command = admitted.into_command();
        self.proposed.fetch_add(1, Ordering::Relaxed);
        if self.loses_the_lead.load(Ordering::Relaxed) {
            self.term.fetch_add(1, Ordering::Relaxed);
        }
        let outcome = match command.only_in_term == Some(self.term.load(Ordering::Relaxed)) {
            true => self.state.lock().apply(&command),
            false => Outcome::Rejected(Problem::new(ProblemName::Stale, "another term")),
        };
        Box::pin(async { Ok(outcome) })
    }

    fn read(&self, _: Consistency) -> BoxFuture<'_, Result<State, Problem>> {
        Box::pin(async { Ok(self.current()) })
    }

    fn current(&self) -> State {
        self.state.lock().clone()
    }

    fn changed_since(&self, _: Revision) -> BoxFuture<'_, State> {
        Box::pin(std::future::pending())
    }

    fn group(&self) -> GroupStatus {
        let leader = self.leads.load(Ordering::Relaxed).then(|| "cp-1".to_owned());
        let term = self.term.load(Ordering::Relaxed);
        GroupStatus { this: "cp-1".to_owned(), leader, term, ..GroupStatus::default() }
    }
}

struct Nothing;

impl Observed for Nothing {
    fn gateway_keys(&self, _: &Identity) -> Vec<KeyDigest> {
        Vec::new()
    }

    fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
        Vec::new()
    }

    fn holders(&self) -> Vec<Holder> {
        Vec::new()
    }

    fn next_key(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn reseal(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn agents(&self) -> HeardAgents {
        HeardAgents::default()
    }

    fn heard_standbys(&self, _: &Name) -> Vec<hanse_state::port::Standby> {
        Vec::new()
    }
}

fn run(state: &mut State, time_ms: u64, key: Option<&str>, body: CommandBody) {
    let idempotency_key = key.map(str::to_owned);
    let (actor, request_id) = ("alice".to_owned(), "r".to_owned());
    let outcome = state.apply(&Command {
        actor,
        request_id,
        time_ms,
        idempotency_key,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body,
    });
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

fn token(name: &str) -> ResourceKey {
    ResourceKey::global(Kind::JoinToken, Name::new(name).unwrap())
}

/// JoinTokens that expire after so many hours, and are for one use.
fn with_tokens(tokens: &[(&str, u64)]) -> State {
    let mut state = State::default();
    run(&mut state, 1, None, CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
    let put = |(name, hours): &(&str, u64)| {
        let json = serde_json::json!({"role": "server", "expiresAt": hours * 3_600, "digest": Digest::of(b"s").to_string()});
        let spec: JoinTokenSpec = serde_json::from_value(json).unwrap();
        let action = Action::put(Default::default(), spec);
        Change { key: token(name), action, if_revision: None }
    };
    run(&mut state, 1, None, CommandBody::Apply(tokens.iter().map(put).collect()));
    state
}

fn use_up(state: &mut State, name: &str, time_ms: u64) {
    let seat = hanse_state::SeatAsked { node_id: 7, incumbent: hanse_state::Incumbent::None };
    let body = CommandBody::UseJoinToken {
        token: Name::new(name).unwrap(),
        secret_digest: Digest::of(b"s").0,
        joiner: hanse_state::server_identity("cp-2"),
        key_digest: [3; 32],
        seat: Some(seat),
    };
    run(state, time_ms, None, body);
}

fn left(state: &State) -> Vec<String> {
    state.list(Kind::JoinToken, None).map(|token| token.key.name.to_string()).collect()
}

fn driver(replicated: &Arc<Alone>, now_ms: u64) -> Driver {
    Driver {
        reconcilers: vec![Arc::new(Panics), Arc::new(Sweep)],
        replicated: replicated.clone(),
        observed: Arc::new(Nothing),
        clock: Clock::from_fn(move || now_ms),
        metrics: ReconcilerMetrics::default(),
    }
}

fn alone(state: State) -> Arc<Alone> {
    Arc::new(Alone {
        state: Mutex::new(state),
        term: AtomicU64::new(4),
        leads: AtomicBool::new(true),
        loses_the_lead: AtomicBool::new(false),
        proposed: AtomicU64::new(0),
    })
}

/// One that fails holds up no other.
struct Panics;

impl Reconciler for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn plan(&self, _: &State, _: &dyn Observed, _: u64) -> Vec<CommandBody> {
        panic!("a mistake in a reconciler")
    }
}

fn counted(driver: &Driver, reconciler: &'static str, outcome: &'static str) -> u64 {
    driver.metrics.commands.get_or_create(&OutcomeLabels { reconciler, outcome }).get()
}

/// One look of every reconciler.
async fn look(driver: &Driver) {
    for reconciler in &driver.reconcilers {
        driver.look(reconciler).await;
    }
}

#[test]
fn tokens_stay_a_day_after_they_expired() {
    let mut state = with_tokens(&[("expired", 1), ("lasting", 100), ("spent", 100)]);
    use_up(&mut state, "spent", 10 * HOUR_MS);
    for (now_ms, swept) in [
        (HOUR_MS + DAY_MS - 1, vec![]),
        (HOUR_MS + DAY_MS, vec!["expired"]),
        (50 * HOUR_MS + DAY_MS, vec!["expired"]),
        (100 * HOUR_MS + DAY_MS, vec!["expired", "lasting", "spent"]),
    ] {
        let mut state = state.clone();
        run(&mut state, now_ms, None, CommandBody::Apply(Vec::new()));
        let mut after = state.clone();
        for body in Sweep.plan(&state, &Nothing, now_ms) {
            run(&mut after, now_ms, None, body);
        }
        let gone: Vec<_> = left(&state).into_iter().filter(|name| !left(&after).contains(name)).collect();
        assert_eq!(gone, swept, "{now_ms}");
        assert_eq!(Sweep.plan(&after, &Nothing, now_ms), [], "done once");
    }
}

#[test]
fn a_protected_token_stays() {
    let mut state = with_tokens(&[("kept", 1), ("other", 1)]);
    let spec = state.get(&token("kept")).unwrap().spec.clone();
    let action = Action::Put { labels: Default::default(), spec, protected: Some(true) };
    run(
        &mut state,
        1,
        None,
        CommandBody::Apply(vec![Change { key: token("kept"), action, if_revision: None }]),
    );
    run(&mut state, 2 * DAY_MS, None, CommandBody::Apply(Vec::new()));
    for body in Sweep.plan(&state, &Nothing, 2 * DAY_MS) {
        run(&mut state, 2 * DAY_MS, None, body);
    }
    assert_eq!(left(&state), ["kept"]);
}

#[test]
fn a_token_that_was_changed_meanwhile_stays() {
    let mut state = with_tokens(&[("t", 1)]);
    run(&mut state, 2 * DAY_MS, None, CommandBody::Apply(Vec::new()));
    let plan = Sweep.plan(&state, &Nothing, 2 * DAY_MS);
    let [CommandBody::Apply(changes)] = &plan[..] else { panic!("{plan:?}") };
    let Spec::JoinToken(spec) = state.get(&token("t")).unwrap().spec.clone() else { panic!("no token") };
    let spec = Spec::from(JoinTokenSpec { expires_at: 100 * 3_600, ..spec });
    let action = Action::put(Default::default(), spec);
    run(&mut state, 1, None, CommandBody::Apply(vec![Change { key: token("t"), action, if_revision: None }]));
    let (actor, request_id, time_ms) = ("sweep".to_owned(), String::new(), 2 * DAY_MS);
    let body = CommandBody::Apply(changes.clone());
    let command = Command {
        actor,
        request_id,
        time_ms,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body,
    };
    assert!(
        matches!(state.apply(&command), Outcome::Rejected(problem) if problem.name == ProblemName::Stale)
    );
    assert_eq!(left(&state), ["t"]);
}

#[tokio::test]
async fn the_leader_sweeps_tokens_and_results_once() {
    let mut state = with_tokens(&[("t", 1)]);
    run(&mut state, 1, Some("key"), CommandBody::Apply(Vec::new()));
    assert!(!state.has_stale(DAY_MS) && state.has_stale(1 + DAY_MS));
    let replicated = alone(state);
    let driver = driver(&replicated, 2 * DAY_MS);
    look(&driver).await;
    assert_eq!(
        left(&replicated.current()),
        ["t"],
        "a clock that is ahead of the state's time sweeps nothing"
    );
    run(&mut replicated.state.lock(), 2 * DAY_MS, None, CommandBody::Apply(Vec::new()));
    replicated.leads.store(false, Ordering::Relaxed);
    look(&driver).await;
    assert_eq!(replicated.proposed.load(Ordering::Relaxed), 0, "it does not lead");
    replicated.leads.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        look(&driver).await;
    }
    assert_eq!(left(&replicated.current()), [""; 0]);
    assert!(!replicated.current().has_stale(2 * DAY_MS));
    assert_eq!(counted(&driver, "sweep", "accepted"), 2);
    assert_eq!(counted(&driver, "panics", "panicked"), 4);
}

#[tokio::test]
async fn a_leader_that_was_replaced_does_nothing_more() {
    let mut state = with_tokens(&[("t", 1)]);
    run(&mut state, 2 * DAY_MS, None, CommandBody::Apply(Vec::new()));
    let replicated = alone(state);
    let driver = driver(&replicated, 2 * DAY_MS);
    replicated.loses_the_lead.store(true, Ordering::Relaxed);
    look(&driver).await;
    assert_eq!(left(&replicated.current()), ["t"]);
    assert_eq!((counted(&driver, "sweep", "accepted"), counted(&driver, "sweep", "overtaken")), (0, 1));
    replicated.loses_the_lead.store(false, Ordering::Relaxed);
    let (trigger, shutdown) = ShutdownTrigger::new();
    let running = tokio::spawn(driver.run(shutdown));
    let swept = async {
        while !left(&replicated.current()).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, swept).await.expect("it leads again, and sweeps");
    trigger.trigger();
    running.await.unwrap();
}

/// An agent that says it made these tokens.
struct Mints(Vec<&'static str>);

impl Observed for Mints {
    fn gateway_keys(&self, _: &Identity) -> Vec<KeyDigest> {
        Vec::new()
    }

    fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
        let agent = Identity::agent(Name::new("agent-1").unwrap(), Name::new("eu-west").unwrap());
        let token = |id: &&str| MintedToken {
            id: Name::new(*id).unwrap(),
            minted_at: 1,
            role: "gateway".to_owned(),
            environments: Vec::new(),
            environments_total: 0,
        };
        self.0.iter().map(|id| (agent.clone(), token(id))).collect()
    }

    fn holders(&self) -> Vec<Holder> {
        Vec::new()
    }

    fn next_key(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn reseal(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn agents(&self) -> HeardAgents {
        HeardAgents::default()
    }

    fn heard_standbys(&self, _: &Name) -> Vec<hanse_state::port::Standby> {
        Vec::new()
    }
}

/// A state of which the agent of [`Mints`] is a member.
fn with_agent() -> State {
    let mut state = State::default();
    run(&mut state, 1, None, CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
    assert_eq!(RecordMinted.plan(&state, &Mints(vec!["gw-1"]), 1), [], "it is no member");
    let put = |kind, name: &str, json| Change {
        key: ResourceKey::global(kind, Name::new(name).unwrap()),
        action: Action::put(Default::default(), Spec::from_json(kind, &json).unwrap()),
        if_revision: None,
    };
    let region = put(Kind::Region, "eu-west", serde_json::json!({}));
    let digest = Digest::of(b"s").to_string();
    let join =
        serde_json::json!({"role": "agent", "region": "eu-west", "expiresAt": 3_600, "digest": digest});
    run(&mut state, 1, None, CommandBody::Apply(vec![region, put(Kind::JoinToken, "t", join)]));
    let joins = CommandBody::UseJoinToken {
        token: Name::new("t").unwrap(),
        secret_digest: Digest::of(b"s").0,
        joiner: "agent-1.agent.eu-west.hanse.internal".to_owned(),
        key_digest: [1; 32],
        seat: None,
    };
    run(&mut state, 2, None, joins);
    state
}

#[test]
fn tokens_that_a_member_made_are_recorded_once() {
    let mut state = with_agent();
    let plan = RecordMinted.plan(&state, &Mints(vec!["gw-1", "gw-2"]), 1);
    assert_eq!(plan.len(), 2);
    run(&mut state, 3, None, plan[0].clone());
    let rest = RecordMinted.plan(&state, &Mints(vec!["gw-1", "gw-2"]), 1);
    assert_eq!(rest, [plan[1].clone()]);
}

#[tokio::test]
async fn what_agents_did_is_told_when_it_is_recorded_although_nobody_writes() {
    let state = with_agent();
    let replicated = alone(state);
    let weeks = 30 * DAY_MS;
    let driver = Driver {
        reconcilers: vec![Arc::new(RecordMinted)],
        observed: Arc::new(Mints(vec!["gw-1"])),
        ..driver(&replicated, weeks)
    };
    look(&driver).await;
    let (entry, _, _) = replicated.current().audit().from(0).last().unwrap();
    assert!(entry.what.contains("mint join token gw-1"), "{entry:?}");
    assert_eq!(entry.time_ms, weeks);
}
