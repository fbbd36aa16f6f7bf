//! Local scopes on a link that has scopes of the control plane too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use hanse_link::{
    ContentRoot, EffectiveSource, Heads, HeldHead, Replica, Replicas, SubscriberOptions, SubscriberTask,
    Wanted,
};
use hanse_process::ShutdownTrigger;
use hanse_proto::sync::{Hello, Introduction, subscriber_message::Body};
use hanse_sync::{Disbelief, HeadSignature};
use hanse_topology::{Position, ScopeId};
use tokio::sync::watch;

use crate::{
    federation::{Federation, Publisher, agent, at, eventually, gateway, revision, scope},
    streams::{open, say},
};

/// While it judges, the hub is locked for reading. Another task waits to drop the local scope, and comes before the change is put in
/// force.
#[derive(Debug)]
struct Dropping {
    hub: Replicas,
    is_due: AtomicBool,
}

impl Heads for Dropping {
    fn wants(&self, scope: &ScopeId) -> bool {
        scope.is_local()
    }

    fn is_holders(&self, _: &ScopeId, _: &Position, _: &HeadSignature) -> Result<(), String> {
        Ok(())
    }

    fn judge(
        &self,
        scope: &ScopeId,
        _: &Position,
        _: &ContentRoot,
        _: &HeadSignature,
    ) -> Result<(), Disbelief> {
        if self.is_due.swap(false, Ordering::SeqCst) {
            let (hub, scope) = (self.hub.clone(), scope.clone());
            let (about_to, starts) = mpsc::channel();
            thread::spawn(move || {
                about_to.send(()).unwrap();
                hub.remove(&scope)
            });
            // The removal waits for the lock meanwhile, or comes after the commit: either way the scope has to come again.
            starts.recv().unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn local() -> ScopeId {
    "local/eu-west/production/pods".parse().unwrap()
}

fn publish(publisher: &Publisher, revision: u64) {
    publisher.replicas.update(&local(), |replica| {
        let value = revision.to_string().into();
        let change = replica.prepare_snapshot(at(revision), vec![("a".into(), value)]).unwrap();
        replica.commit(change.signed(HeadSignature::default())).unwrap();
    });
}

fn held(replicas: &Replicas) -> Option<u64> {
    replicas.read(|map| map.get(&local()).and_then(Replica::position).map(|position| position.revision))
}

/// The keeper of Origins drops local scopes of the hub that a link fills. The scopes of the control plane must not pay for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_scope_that_is_dropped_while_a_change_comes_in_does_not_end_the_stream() {
    let federation = Federation::new();
    let publisher = Publisher::new(agent("agent-1"));
    publisher.put(1, "a", "1");
    publish(&publisher, 1);
    publisher.admission.offer(vec![scope(), local()], None);
    let serving = federation.serve(&publisher, None).await;

    let hub = Replicas::new();
    let heads = Arc::new(Dropping { hub: hub.clone(), is_due: AtomicBool::new(false) });
    let (_publishers, known) = watch::channel(vec![serving.address.to_string()]);
    let identity = gateway("gateway-1");
    let options = SubscriberOptions {
        tls: federation.client(&identity),
        identity,
        publishers: known,
        wanted: Wanted::All,
        service: Default::default(),
    };
    let (task, _handle) = SubscriberTask::new(options, hub.clone(), EffectiveSource::Immediate, None);
    let (_trigger, shutdown) = ShutdownTrigger::new();
    tokio::spawn(task.with_heads(heads.clone()).run(shutdown));
    eventually("both arrive", || (revision(&hub), held(&hub)) == (Some(1), Some(1))).await;

    heads.is_due.store(true, Ordering::SeqCst);
    publish(&publisher, 2);
    eventually("it comes again", || held(&hub) == Some(2)).await;
    assert!(!heads.is_due.load(Ordering::SeqCst), "it was dropped meanwhile");
    publisher.put(2, "a", "2");
    eventually("the rest goes on", || revision(&hub) == Some(2)).await;
    let metrics = hub.metrics();
    assert_eq!(metrics.connections.get(), 1, "the stream stayed");
    let reason = hanse_link::Reason::new("nothing held");
    let came = || metrics.snapshots_applied.get_or_create(&reason).get() == 3;
    eventually("the local scope came a second time", came).await;
}

#[tokio::test]
async fn heads_that_a_subscriber_holds_and_was_shown_are_noted() {
    let federation = Federation::new();
    let publisher = Publisher::new(agent("agent-1"));
    publisher.admission.offer(vec![scope(), local()], None);
    let serving = federation.serve(&publisher, None).await;
    let (sender, _stream) = open(&federation, &serving, &gateway("gateway-1")).await;
    let head = |revision| {
        let (root, signature) = (ContentRoot([3; 32]), HeadSignature::default());
        HeldHead { position: at(revision), root, signature }
    };
    let (held, met) = (head(1), head(2));
    say(&sender, Body::Introduction(Introduction::default())).await;
    let hello = |scope: ScopeId| Hello {
        scope: scope.to_string(),
        position: Some(held.position.into()),
        root: held.root.0.to_vec().into(),
        signature: Some(held.signature.clone()),
        met: Some(met.clone().into()),
    };
    // Of a scope of the control plane no head counts.
    say(&sender, Body::Hello(hello(scope()))).await;
    say(&sender, Body::Hello(hello(local()))).await;
    let noted = || publisher.admission.heads.borrow().len() >= 2;
    eventually("the publisher hears of both", noted).await;
    assert_eq!(*publisher.admission.heads.borrow(), [held.clone(), met.clone()]);
}
