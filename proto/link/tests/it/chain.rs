//! Control plane → agent → gateway: the same code on both hops.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hanse_link::{EffectiveSource, InUse, Quarantine, Replicas, ScopeAck};
use hanse_proto::{
    nested,
    sync::{Heard, Quarantined},
};
use hanse_topology::ScopeId;
use tokio::sync::watch;

use crate::federation::{
    Federation, Publisher, agent, always, at, eventually, gateway, revision, same, scope, server, value,
};

/// What an agent reported of its gateway.
pub(crate) fn below(control: &Publisher) -> Option<Heard> {
    let (report, _) = control.subscribers.snapshot().into_iter().find_map(|record| record.report)?;
    let first = nested::of_row("below", &report.below).next()?;
    Some(nested::read("heard", first.unwrap()).unwrap())
}

fn acks(heard: &Heard) -> Vec<(ScopeId, ScopeAck)> {
    let read = |ack: &[u8]| ScopeAck::of_message(nested::read("ack", ack).unwrap()).unwrap();
    nested::of_row("acks", &heard.acks).map(|ack| read(ack.unwrap())).collect()
}

#[tokio::test]
async fn changes_pass_down_and_acknowledgements_up() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "route/default/a", "1");
    let control_serving = federation.serve(&control, None).await;

    let relayed = Replicas::new();
    // The agent publishes what it is about to receive, with the freshness it is told.
    let subscribers = hanse_link::Subscribers::new();
    let up = federation.follow_as(
        agent("agent-1"),
        &[&control_serving],
        &relayed,
        EffectiveSource::Immediate,
        Some(&subscribers),
    );
    let mut relay = Publisher::relaying(agent("agent-1"), relayed.clone(), up.handle.freshness.clone());
    relay.subscribers = subscribers.clone();
    let relay_serving = federation.serve(&relay, None).await;

    let held = Replicas::new();
    let (serve, served) = watch::channel(BTreeMap::<_, InUse>::new());
    let down = federation.follow_as(
        gateway("gateway-1"),
        &[&relay_serving],
        &held,
        EffectiveSource::Served(served),
        None,
    );

    eventually("the first content arrives", || value(&held, "route/default/a").is_some()).await;
    control.put(2, "route/default/b", "1");
    eventually("a put arrives", || value(&held, "route/default/b").is_some()).await;
    control.delete(3, "route/default/a");
    eventually("a delete arrives", || revision(&held) == Some(3)).await;
    assert_eq!(value(&held, "route/default/a"), None);
    assert!(same(&control.replicas, &relayed) && same(&relayed, &held), "one root on both hops");
    eventually("freshness is relayed", || {
        down.handle.status.borrow().freshness.is_some_and(|freshness| freshness.quorum)
    })
    .await;

    // The agent acknowledges what it holds, the gateway what it says it serves.
    let effective_at_control = || {
        let records = control.subscribers.snapshot();
        let record = records.iter().find(|record| record.identity == agent("agent-1"))?;
        record.scopes.get(&scope())?.effective
    };
    eventually("the agent acknowledges", || effective_at_control() == Some(at(3))).await;
    let reported = || {
        let heard = below(&control)?;
        assert!(heard.connected && heard.identity == gateway("gateway-1").to_string());
        let (_, ack) = acks(&heard).into_iter().find(|(of, _)| *of == scope())?;
        Some((ack.effective?, ack.quarantine))
    };
    assert!(reported().is_none(), "it has not said that it serves anything");
    let bad = Quarantined { key: "route/default/b".into(), reason: "unusable".into(), ..Default::default() };
    let quarantine = Quarantine::of([bad]);
    serve
        .send_replace(BTreeMap::from([(scope(), InUse { position: at(3), quarantine: quarantine.clone() })]));
    eventually("the control plane hears what the gateway serves", || {
        reported().is_some_and(|(position, but)| position.revision == 3 && but == quarantine)
    })
    .await;

    let metrics = control.replicas.metrics();
    assert_eq!(metrics.deltas_sent.get(), 2);
    assert_eq!(held.metrics().alarms.get_or_create(&hanse_link::Reason::new("root mismatch")).get(), 0);
    assert_eq!(held.metrics().resyncs.get(), 0);
}

/// Whether a subscriber said that it uses this revision.
fn acknowledged(publisher: &Publisher, revision: u64) -> bool {
    let uses = |ack: &hanse_link::ScopeAck| ack.effective == Some(at(revision));
    publisher.subscribers.snapshot().iter().any(|record| record.scopes.get(&scope()).is_some_and(uses))
}

fn last_good(hub: &Replicas) -> Option<BTreeMap<Arc<str>, Bytes>> {
    hub.read(|map| {
        let last_good = map.get(&scope())?.last_good();
        Some(last_good.map(|(key, value)| (key.clone(), value.clone())).collect())
    })
}

/// A gateway found a value unusable. One that comes anew gets the version before, too, which the first could use.
#[tokio::test]
async fn newcomers_get_the_last_version_that_somebody_could_use() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "route/default/a", "good");
    let control_serving = federation.serve(&control, None).await;
    let relayed = Replicas::remembering(Default::default());
    let up = federation.follow(agent("agent-1"), &[&control_serving], &relayed);
    let relay = Publisher::relaying(agent("agent-1"), relayed.clone(), up.handle.freshness.clone());
    let relay_serving = federation.serve(&relay, None).await;
    let (serve, served) = watch::channel(BTreeMap::<_, InUse>::new());
    let _first = federation.follow_as(
        gateway("gateway-1"),
        &[&relay_serving],
        &Replicas::new(),
        EffectiveSource::Served(served),
        None,
    );
    let uses = |revision, quarantined: &[&str]| {
        let named = quarantined.iter().map(|key| Quarantined { key: (*key).into(), ..Default::default() });
        let in_use = InUse { position: at(revision), quarantine: Quarantine::of(named) };
        serve.send_replace(BTreeMap::from([(scope(), in_use)]));
    };
    let held = |hub: &Replicas| last_good(hub);
    eventually("the relay has the first version", || revision(&relayed) == Some(1)).await;
    uses(1, &[]);
    eventually("the first version is confirmed", || acknowledged(&relay, 1)).await;
    // Both of these replace what is in use; only one of them can be used.
    control.put(2, "route/default/a", "bad");
    control.put(3, "route/default/b", "good");
    eventually("the relay has them", || revision(&relayed) == Some(3)).await;
    uses(3, &["route/default/a"]);
    control.put(4, "route/default/b", "better");
    eventually("what can be used is confirmed", || {
        uses(4, &["route/default/a"]);
        revision(&relayed) == Some(4)
            && held(&relayed).is_some_and(|held| held.keys().map(|key| &**key).eq(["route/default/a"]))
    })
    .await;

    let second = Replicas::remembering(Default::default());
    let _second = federation.follow(gateway("gateway-2"), &[&relay_serving], &second);
    eventually("the newcomer is in step", || revision(&second) == Some(4)).await;
    assert_eq!(value(&second, "route/default/a").as_deref(), Some(&b"bad"[..]));
    let wanted = BTreeMap::from([("route/default/a".into(), bytes::Bytes::from("good"))]);
    assert_eq!(held(&second), Some(wanted));
    assert!(same(&relayed, &second), "the root does not cover it");
}

/// Another agent holds every version, whether or not a gateway can use it.
#[tokio::test]
async fn an_agent_that_acknowledges_confirms_nothing() {
    let federation = Federation::new();
    let relay =
        Publisher::relaying(agent("agent-1"), Replicas::remembering(Default::default()), always(true));
    relay.put(1, "route/default/a", "good");
    relay.replicas.confirm(&scope(), &at(1), &BTreeMap::new());
    let serving = federation.serve(&relay, None).await;
    relay.put(2, "route/default/a", "bad");
    let follower = Replicas::new();
    let _follower = federation.follow(agent("agent-2"), &[&serving], &follower);
    eventually("the follower acknowledges", || acknowledged(&relay, 2)).await;
    let wanted = BTreeMap::from([("route/default/a".into(), Bytes::from("good"))]);
    assert_eq!(last_good(&relay.replicas), Some(wanted), "a gateway that joins gets it");
}

/// It was away for two changes: the first was good, the second is not.
#[tokio::test]
async fn who_comes_back_gets_the_last_version_that_the_others_could_use() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let key = "route/default/a";
    control.put(1, key, "good");
    let control_serving = federation.serve(&control, None).await;
    let relayed = Replicas::remembering(Default::default());
    let up = federation.follow(agent("agent-1"), &[&control_serving], &relayed);
    let relay = Publisher::relaying(agent("agent-1"), relayed.clone(), up.handle.freshness.clone());
    let relay_serving = federation.serve(&relay, None).await;
    let (serve, served) = watch::channel(BTreeMap::<_, InUse>::new());
    let _stayed = federation.follow_as(
        gateway("gateway-1"),
        &[&relay_serving],
        &Replicas::new(),
        EffectiveSource::Served(served),
        None,
    );
    let uses = |revision, quarantined: &[&str]| {
        let named = quarantined.iter().map(|key| Quarantined { key: (*key).into(), ..Default::default() });
        let in_use = InUse { position: at(revision), quarantine: Quarantine::of(named) };
        serve.send_replace(BTreeMap::from([(scope(), in_use)]));
    };
    for (at, value, quarantined) in [(1, "good", &[][..]), (2, "better", &[]), (3, "bad", &[key])] {
        if at > 1 {
            control.put(at, key, value);
        }
        eventually("the relay has it", || revision(&relayed) == Some(at)).await;
        uses(at, quarantined);
        eventually("and knows what became of it", || acknowledged(&relay, at)).await;
    }

    let away = Replicas::remembering(Default::default());
    away.update(&scope(), |replica| replica.advance(at(1), vec![(key.into(), "good".into())], vec![]))
        .unwrap();
    away.confirm(&scope(), &at(1), &BTreeMap::new());
    let _away = federation.follow(gateway("gateway-2"), &[&relay_serving], &away);
    eventually("it is in step", || revision(&away) == Some(3)).await;
    assert_eq!(away.metrics().deltas_applied.get(), 1, "by a delta");
    assert_eq!(last_good(&away), Some(BTreeMap::from([(key.into(), Bytes::from("better"))])));
}

/// More than an Ack names with reasons, and more than it tells at all.
#[tokio::test]
async fn of_many_that_cannot_be_used_the_rest_is_confirmed_unless_they_are_too_many_to_tell() {
    let federation = Federation::new();
    let unusable: Vec<_> = (0..600).map(|index| format!("plan/default/{index}")).collect();
    let relay =
        Publisher::relaying(agent("agent-1"), Replicas::remembering(Default::default()), always(true));
    let put = |revision, value: &'static str| {
        let upserts = unusable.iter().map(|key| (key.as_str().into(), value.into()));
        let upserts = upserts.chain([("plan/default/good".into(), value.into())]).collect();
        relay.replicas.update(&scope(), |replica| replica.advance(at(revision), upserts, vec![])).unwrap();
    };
    put(1, "1");
    let relay_serving = federation.serve(&relay, None).await;
    let (serve, served) = watch::channel(BTreeMap::<_, InUse>::new());
    let _gateway = federation.follow_as(
        gateway("gateway-1"),
        &[&relay_serving],
        &Replicas::new(),
        EffectiveSource::Served(served),
        None,
    );
    let uses = |revision, unusable: &[String]| {
        let quarantined = unusable.iter().map(|key| Quarantined { key: key.clone(), ..Default::default() });
        let in_use = InUse { position: at(revision), quarantine: Quarantine::of(quarantined) };
        serve.send_replace(BTreeMap::from([(scope(), in_use)]));
    };
    uses(1, &[]);
    eventually("the first content is confirmed", || acknowledged(&relay, 1)).await;
    put(2, "2");
    uses(2, &unusable);
    eventually("it is heard", || acknowledged(&relay, 2)).await;
    assert_eq!(last_good(&relay.replicas).map(|held| held.len()), Some(601), "it may be any of them");
    uses(2, &unusable[..500]);
    eventually("what is in use is confirmed, and nothing else", || {
        last_good(&relay.replicas)
            .is_some_and(|held| held.len() == 500 && !held.contains_key("plan/default/good"))
    })
    .await;
}

#[tokio::test]
async fn a_relay_without_its_publisher_serves_newcomers() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "a", "1");
    let control_serving = federation.serve(&control, None).await;
    let relayed = Replicas::new();
    let up = federation.follow(agent("agent-1"), &[&control_serving], &relayed);
    let relay = Publisher::relaying(agent("agent-1"), relayed.clone(), up.handle.freshness.clone());
    let relay_serving = federation.serve(&relay, None).await;
    eventually("the relay holds it", || revision(&relayed) == Some(1)).await;
    control_serving.stop().await;
    eventually("the relay is alone", || up.handle.status.borrow().connected_to.is_none()).await;

    let held = Replicas::new();
    let _down = federation.follow(gateway("gateway-new"), &[&relay_serving], &held);
    eventually("a newcomer is served", || value(&held, "a").is_some()).await;
}
