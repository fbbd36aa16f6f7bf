//! A relay that comes back from its disk, without a publisher above it.

use std::path::Path;

use hanse_link::{
    Persistence, Reason, Replicas, StoreKey, StoreOptions, SubscriberOptions, SubscriberTask, Wanted,
    keep_offer, kept_offer,
};
use hanse_process::ShutdownTrigger;
use tokio::{sync::watch, task::JoinHandle};

use crate::federation::{
    Federation, Publisher, agent, at, eventually, gateway, revision, same, scope, server, value,
};

async fn open(dir: &Path) -> Persistence {
    let options = StoreOptions {
        dir: dir.join("store"),
        node: agent("agent-1").to_string(),
        key: StoreKey::File(dir.join("store-key")),
        makes_key: true,
    };
    Persistence::open(options, &Wanted::All).await.unwrap()
}

/// An agent's process, as far as this is about it.
struct Agent {
    relay: Publisher,
    kept: watch::Receiver<std::collections::BTreeMap<hanse_topology::ScopeId, hanse_topology::Position>>,
    status: watch::Receiver<hanse_link::LinkStatus>,
    tasks: Vec<JoinHandle<()>>,
    _trigger: ShutdownTrigger,
}

impl Agent {
    /// Starts from what is in `dir`, following `publishers`.
    async fn start(federation: &Federation, dir: &Path, publishers: Vec<String>) -> Self {
        let Persistence { replicas, store, persister, durable, .. } = open(dir).await;
        let (trigger, shutdown) = ShutdownTrigger::new();
        let options = SubscriberOptions {
            service: Default::default(),
            tls: federation.client(&agent("agent-1")),
            identity: agent("agent-1"),
            publishers: watch::channel(publishers).1,
            wanted: Wanted::All,
        };
        let effective = hanse_link::EffectiveSource::Immediate;
        let (task, handle) = SubscriberTask::new(options, replicas.clone(), effective, None);
        let mut task = task.with_durable(durable.clone());
        if let Some((offered, as_of)) = kept_offer(&store) {
            task = task.with_offer(offered, as_of);
        }
        let tasks = vec![
            tokio::spawn(task.run(shutdown.clone())),
            tokio::spawn(keep_offer(store, handle.status.clone(), shutdown.clone())),
            tokio::spawn(persister.run(shutdown)),
        ];
        let relay = Publisher::relaying(agent("agent-1"), replicas, handle.freshness);
        Self { relay, kept: durable, status: handle.status, tasks, _trigger: trigger }
    }

    fn replicas(&self) -> &Replicas {
        &self.relay.replicas
    }

    /// Ends it without giving it time for anything.
    async fn kill(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

#[tokio::test]
async fn a_relay_restored_from_disk_serves_deltas_and_newcomers_alone() {
    let federation = Federation::new();
    let dir = tempfile::tempdir().unwrap();
    let control = Publisher::new(server("cp-1"));
    control.admission.offer(vec![scope()], Some(at(1)));
    control.put(1, "a", "1");
    let serving = federation.serve(&control, None).await;
    let publishers = vec![serving.address.to_string()];
    let first = Agent::start(&federation, dir.path(), publishers.clone()).await;
    let first_serving = federation.serve(&first.relay, None).await;
    let address = first_serving.address;

    // A gateway follows up to revision 1 and is cut off.
    let held = Replicas::new();
    let following = federation.follow(gateway("gateway-1"), &[&first_serving], &held);
    eventually("the gateway holds it", || revision(&held) == Some(1)).await;
    drop(following);
    control.put(2, "b", "1");
    control.delete(3, "a");
    let durable = first.kept.clone();
    eventually("it is durable", || durable.borrow().get(&scope()) == Some(&at(3))).await;
    let acked = || {
        let records = control.subscribers.snapshot();
        records.iter().find_map(|record| record.scopes.get(&scope())?.durable)
    };
    eventually("and acknowledged as that", || acked() == Some(at(3))).await;

    // The agent is killed, the control plane is gone, the agent comes back.
    first_serving.stop().await;
    first.kill().await;
    serving.stop().await;
    let second = Agent::start(&federation, dir.path(), publishers).await;
    assert!(same(&control.replicas, second.replicas()), "before anybody answers");
    {
        let status = second.status.borrow();
        assert_eq!(status.offered, [scope()].into());
        assert_eq!(status.offered_as_of, Some(at(1)));
    }
    let _second_serving = federation.serve(&second.relay, Some(address)).await;
    let _following = federation.follow(gateway("gateway-1"), &[&_second_serving], &held);
    eventually("the gateway catches up", || revision(&held) == Some(3)).await;
    assert_eq!((value(&held, "a"), value(&held, "b")), (None, Some("1".into())));
    let snapshots = |reason: &str| held.metrics().snapshots_applied.get_or_create(&Reason::new(reason)).get();
    assert_eq!((held.metrics().deltas_applied.get(), snapshots("nothing held")), (1, 1), "by a delta");
    assert_eq!(snapshots("outside the window"), 0);

    let newcomer = Replicas::new();
    let _newcomer = federation.follow(gateway("gateway-new"), &[&_second_serving], &newcomer);
    eventually("a newcomer is served", || same(&newcomer, second.replicas())).await;
    second.kill().await;
}

#[tokio::test]
async fn a_restored_relay_does_not_follow_a_publisher_back() {
    let federation = Federation::new();
    let dir = tempfile::tempdir().unwrap();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "a", "1");
    control.put(5, "a", "5");
    let serving = federation.serve(&control, None).await;
    let first = Agent::start(&federation, dir.path(), vec![serving.address.to_string()]).await;
    let durable = first.kept.clone();
    eventually("it is durable", || durable.borrow().get(&scope()) == Some(&at(5))).await;
    first.kill().await;
    serving.stop().await;

    let behind = Publisher::new(server("cp-2"));
    behind.put(1, "a", "1");
    behind.put(3, "a", "3");
    let serving = federation.serve(&behind, None).await;
    let second = Agent::start(&federation, dir.path(), vec![serving.address.to_string()]).await;
    let connected = || second.status.borrow().connected_to.is_some();
    eventually("it follows the one behind", || connected() && !behind.subscribers.snapshot().is_empty())
        .await;
    eventually("which knows it", || behind.subscribers.snapshot()[0].scopes.contains_key(&scope())).await;
    assert_eq!((revision(second.replicas()), value(second.replicas(), "a")), (Some(5), Some("5".into())));
    behind.put(6, "b", "6");
    eventually("the publisher caught up", || revision(second.replicas()) == Some(6)).await;
    second.kill().await;
}
