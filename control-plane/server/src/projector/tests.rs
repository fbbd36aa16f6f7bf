mod secrets;

use hanse_management::{Kind, Problem, manifest};
use hanse_process::{Metrics, ShutdownTrigger, Supervisor};
use hanse_state::{
    Action, Change, Command, CommandBody, Outcome,
    admission::Admitted,
    port::{Consistency, GroupStatus},
};
use hanse_topology::{Name, ScopeId};

use super::*;
use crate::secrets::{Key, fixture::Federation};

/// A state that is "replicated" in this process only.
#[derive(Default)]
pub(crate) struct Alone(watch::Sender<State>);

impl Alone {
    pub(crate) fn of(state: State) -> Self {
        Self(watch::Sender::new(state))
    }

    pub(crate) fn apply(&self, body: CommandBody) {
        self.0.send_modify(|state| {
            let command = Command {
                actor: "test".into(),
                request_id: "test".into(),
                time_ms: 1_900_000_000_000,
                idempotency_key: None,
                only_in_term: None,
                force_grants: false,
                origin: hanse_state::Origin::default(),
                body,
            };
            let outcome = state.apply(&command);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        });
    }

    pub(crate) fn put(&self, yaml: &str) {
        let default = Name::new("default").unwrap();
        let manifests = manifest::parse_yaml(yaml, &default).unwrap();
        self.apply(CommandBody::Apply(manifests.into_iter().map(Change::from).collect()));
    }
}

impl Alone {
    fn delete(&self, kind: Kind, name: &str) {
        let key = hanse_management::ResourceKey::owned(
            kind,
            Name::new("default").unwrap(),
            Name::new(name).unwrap(),
        );
        self.apply(CommandBody::Apply(vec![Change {
            key,
            action: Action::Delete { cascade: false },
            if_revision: None,
        }]));
    }
}

impl Replicated for Alone {
    fn replicate(&self, _admitted: Admitted) -> BoxFuture<'_, Result<Outcome, Problem>> {
        unreachable!("the projector only reads")
    }

    fn read(&self, _consistency: Consistency) -> BoxFuture<'_, Result<State, Problem>> {
        unreachable!("the projector follows what is applied")
    }

    fn current(&self) -> State {
        self.0.borrow().clone()
    }

    fn changed_since(&self, revision: Revision) -> BoxFuture<'_, State> {
        let mut watch = self.0.subscribe();
        Box::pin(async move {
            watch.wait_for(|state| state.revision() > revision).await.expect("the sender is held").clone()
        })
    }

    fn group(&self) -> GroupStatus {
        GroupStatus::default()
    }
}

const PLACES: &str = "{kind: Organization, name: default}
---
{kind: Region, name: eu-west}
---
{kind: Region, name: us-east}
---
{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}
";

#[tokio::test]
async fn scopes_follow_the_state_and_each_step_is_remembered() {
    let alone = Arc::new(Alone::default());
    let replicas = Replicas::new();
    let (projector, handle) = Projector::new(alone.clone(), replicas.clone(), Keys::none());
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task = tokio::spawn(projector.run(shutdown));

    alone.apply(CommandBody::StartLineage(Lineage { generation: 1, id: [1; 16], parent: None }));
    alone.put(PLACES);
    let made = handle.effects(2).await;
    assert_eq!(made.len(), 2, "{made:?}");

    let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
    let at =
        || replicas.read(|map| map.get(&scope).and_then(|replica| replica.position().map(|at| at.revision)));
    assert_eq!(at(), Some(2));

    // A revision that touches no scope moves every position all the same.
    alone.put("{kind: Plan, name: gold}");
    assert!(handle.effects(3).await.is_empty());
    assert_eq!(at(), Some(3));
    assert_eq!(handle.position().map(|at| at.revision), Some(3));

    // A region leaves the environment: its scope is gone.
    alone.put("{kind: Environment, name: production, spec: {regions: [us-east]}}");
    handle.effects(4).await;
    assert_eq!(at(), None);

    trigger.trigger();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_news_proves_its_life() {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let supervisor = Supervisor::new(&Metrics::new(), shutdown.clone());
    let (projector, _handle) = Projector::new(Arc::new(Alone::default()), Replicas::new(), Keys::none());
    let projector = projector.beating(supervisor.pulse("the projector", HANGS_AFTER));
    let task = tokio::spawn(projector.run(shutdown));
    tokio::time::sleep(10 * HANGS_AFTER).await;
    assert_eq!(supervisor.proof(), Ok(()));
    task.abort();
    tokio::time::sleep(2 * HANGS_AFTER).await;
    assert_eq!(supervisor.proof().unwrap_err().to_string(), "the projector hangs");
}

/// Another node took the same revisions one by one, and an agent that comes from there stands between.
#[tokio::test]
async fn a_step_over_several_revisions_leads_on_from_each_of_them() {
    let alone = Arc::new(Alone::default());
    let replicas = Replicas::new();
    let (projector, handle) = Projector::new(alone.clone(), replicas.clone(), Keys::none());
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task = tokio::spawn(projector.run(shutdown));
    let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
    alone.apply(CommandBody::StartLineage(Lineage { generation: 1, id: [1; 16], parent: None }));
    for yaml in [PLACES, SERVED, "{kind: Plan, name: gold, spec: {rate: {requests: 1, per: minute}}}"] {
        alone.put(yaml);
    }
    let from = alone.current().revision();
    handle.effects(from).await;

    // Nothing yields between these: to this node they are one step.
    let plan = |name: &str, requests: u32| {
        alone.put(&format!(
            "{{kind: Plan, name: {name}, spec: {{rate: {{requests: {requests}, per: minute}}}}}}"
        ));
        let mut content =
            hanse_state::projection::from_scratch(&alone.current(), &hanse_state::projection::AsSealed);
        (alone.current().revision(), content.remove(&scope).unwrap())
    };
    let between = [plan("gold", 2), plan("gold", 1)];
    alone.put("{kind: Plan, name: new}");
    let to = alone.current().revision();
    let effects = handle.effects(to).await;
    assert!(effects.iter().all(|effect| (effect.upserts, effect.removals) == (1, 0)), "{effects:?}");
    replicas.read(|map| {
        let replica = &map[&scope];
        for (revision, content) in between {
            let changes = replica.changes_since(revision).expect("it is within the window");
            let mut content: std::collections::BTreeMap<Arc<str>, bytes::Bytes> =
                content.into_iter().map(|(key, value)| (key.as_str().into(), value)).collect();
            content.extend(changes.upserts);
            changes.removals.iter().for_each(|key| drop(content.remove(key)));
            assert!(content.into_iter().eq(replica.content()), "from {revision}");
        }
    });

    // A Plan that came and went leaves its name in no scope: a subscriber between the two revisions gets the whole scope.
    plan("passing", 1);
    alone.delete(Kind::Plan, "passing");
    handle.effects(to + 2).await;
    replicas.read(|map| {
        let changes = |revision| map[&scope].changes_since(revision);
        assert!(changes(to + 1).is_none());
        assert!(changes(to).unwrap().removals.is_empty());
    });
    trigger.trigger();
    task.await.unwrap();
}

#[test]
fn a_step_of_which_the_journal_does_not_tell_leads_on_from_its_start_only() {
    let at = |revision| Position {
        lineage: hanse_topology::Lineage { generation: 1, id: [1; 16], parent: None },
        revision,
    };
    let mut replica = Replica::new();
    for revision in [5, 9] {
        advance(&mut replica, at(revision), Vec::new(), Vec::new(), &Between::Unknown);
    }
    assert!(replica.changes_since(5).is_some() && replica.changes_since(9).is_some());
    assert!((6..9).all(|between| replica.changes_since(between).is_none()));
}

const SERVED: &str = "{kind: Api, name: orders, spec: {context: /orders, version: \"1\", operations: [{method: GET, path: /x}]}}
---
{kind: Upstream, name: orders, spec: {endpoints: [{url: \"http://10.0.0.1\"}]}}
---
{kind: Binding, name: orders, spec: {api: orders, environment: production, upstream: orders}}
";

/// One life of a control node, as far as publishing goes.
struct Life {
    replicas: Replicas,
    projected: ProjectorHandle,
    durable: watch::Receiver<std::collections::BTreeMap<ScopeId, Position>>,
    trigger: ShutdownTrigger,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Life {
    async fn start(alone: &Arc<Alone>, dir: &std::path::Path) -> Self {
        let options = hanse_link::StoreOptions {
            dir: dir.join("store"),
            node: "cp-1".to_owned(),
            key: hanse_link::StoreKey::File(dir.join("store-key")),
            makes_key: true,
        };
        let kept = hanse_link::Persistence::open_origin(options).await.unwrap();
        let (projector, projected) = Projector::new(alone.clone(), kept.replicas.clone(), Keys::none());
        let (trigger, shutdown) = ShutdownTrigger::new();
        let tasks =
            vec![tokio::spawn(projector.run(shutdown.clone())), tokio::spawn(kept.persister.run(shutdown))];
        Self { replicas: kept.replicas, projected, durable: kept.durable, trigger, tasks }
    }

    async fn stop(self) {
        self.trigger.trigger();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// A subscriber that stands anywhere in what was kept gets a delta, and no deletion is missing from it.
#[tokio::test]
async fn a_restarted_node_leads_on_from_what_it_published_before() {
    let dir = tempfile::tempdir().unwrap();
    let alone = Arc::new(Alone(watch::Sender::new(State::default())));
    let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
    let content = |life: &Life| life.replicas.read(|map| map[&scope].content());
    let mut held = Vec::new();
    let mut life = Life::start(&alone, dir.path()).await;
    alone.apply(CommandBody::StartLineage(Lineage { generation: 1, id: [1; 16], parent: None }));
    alone.put(PLACES);
    alone.put(SERVED);
    let plan = |name: &str| format!("{{kind: Plan, name: {name}}}");
    for step in 0..6 {
        match step % 3 {
            2 => alone.delete(Kind::Plan, &format!("plan-{}", step - 1)),
            _ => alone.put(&plan(&format!("plan-{step}"))),
        }
        let revision = alone.current().revision();
        life.projected.effects(revision).await;
        held.push((revision, content(&life)));
    }
    let last = alone.current().revision();
    let is_kept = |kept: &std::collections::BTreeMap<ScopeId, Position>| {
        kept.get(&scope).is_some_and(|position| position.revision == last)
    };
    tokio::time::timeout(Duration::from_secs(30), life.durable.wait_for(is_kept)).await.unwrap().unwrap();
    life.stop().await;

    // It goes on without this node.
    alone.delete(Kind::Plan, "plan-0");
    let unseen = alone.current().revision();
    alone.put(&plan("plan-new"));
    let life = Life::start(&alone, dir.path()).await;
    let now = alone.current().revision();
    life.projected.effects(now).await;
    let present = content(&life);
    assert!(held.len() == 6 && held.windows(2).all(|pair| pair[0].1 != pair[1].1));
    life.replicas.read(|map| {
        let replica = &map[&scope];
        assert_eq!(replica.position().map(|at| at.revision), Some(now));
        for (revision, content) in held {
            let changes = replica.changes_since(revision).expect("it is within the window");
            let mut content: std::collections::BTreeMap<_, _> = content.into_iter().collect();
            content.extend(changes.upserts);
            changes.removals.iter().for_each(|key| drop(content.remove(key)));
            assert!(content.into_iter().eq(present.iter().cloned()), "from {revision}");
        }
        assert_eq!(replica.changes_since(unseen), None, "nobody saw what came and went there");
    });
    life.stop().await;
}

#[tokio::test]
async fn nothing_is_published_while_a_key_is_lacking() {
    /// For what must not happen.
    const NEVER: Duration = Duration::from_millis(200);
    let key = |byte: u8| Key::from([byte; 32]);
    let mut federation = Federation::new();
    federation.add(&key(1)).used(1);
    let alone = Arc::new(Alone::of(federation.state.clone()));
    alone.put(PLACES);
    let (add, keys) = Keys::growing();
    let (projector, handle) = Projector::new(alone.clone(), Replicas::new(), keys);
    let (_trigger, shutdown) = ShutdownTrigger::new();
    tokio::spawn(projector.run(shutdown));
    let mut stepped = handle.clone();
    add(key(9));
    assert!(
        tokio::time::timeout(NEVER, stepped.stepped()).await.is_err(),
        "it lacks version 1, and has another key"
    );
    add(key(1));
    stepped.stepped().await.unwrap();
    assert_eq!(handle.position().unwrap().revision, alone.current().revision());

    // A version may come into use here before this node has it: it was away.
    alone.apply(CommandBody::RotateKey);
    federation.state = alone.current();
    alone.apply(federation.addition(&key(2)));
    alone.apply(CommandBody::UseKey { version: 2 });
    let lacking = alone.current().revision();
    let reached =
        async { while stepped.stepped().await.is_ok() && stepped.position().unwrap().revision < lacking {} };
    assert!(tokio::time::timeout(NEVER, reached).await.is_err(), "it lacks version 2");
    assert!(handle.position().unwrap().revision < lacking);
    add(key(2));
    while handle.position().unwrap().revision < lacking {
        stepped.stepped().await.unwrap();
    }
}
