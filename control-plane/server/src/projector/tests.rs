use hanse_state::{
    Command, CommandBody, Outcome, Problem,
    manifest::{self, Manifest},
    port::{Consistency, GroupStatus},
};
use hanse_topology::{Name, ScopeId};
use hanse_transport::ShutdownTrigger;

use super::*;

/// A state that is "replicated" in this process only.
#[derive(Default)]
pub(crate) struct Alone(watch::Sender<State>);

impl Alone {
    pub(crate) fn apply(&self, body: CommandBody) {
        self.0.send_modify(|state| {
            let command = Command {
                actor: "test".into(),
                request_id: "test".into(),
                time_ms: 1_900_000_000_000,
                idempotency_key: None,
                body,
            };
            let outcome = state.apply(&command);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        });
    }

    pub(crate) fn put(&self, yaml: &str) {
        let default = Name::new("default").unwrap();
        let manifests = manifest::parse_yaml(yaml, &default).unwrap();
        self.apply(CommandBody::Apply(manifests.into_iter().map(Manifest::into_change).collect()));
    }
}

impl Replicated for Alone {
    fn propose(&self, _command: Command) -> BoxFuture<'_, Result<Outcome, Problem>> {
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
    let (projector, handle) = Projector::new(alone.clone(), replicas.clone());
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
