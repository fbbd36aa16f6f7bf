//! What a gateway says of itself goes up as it said it.

use bytes::Bytes;
use hanse_link::{EffectiveSource, Replicas};
use hanse_proto::{
    nested,
    sync::{
        Ack, Facts, Hello, InQuarantine, Introduction, Quarantined, Report, ScopeFacts, TrustStatus,
        subscriber_message::Body,
    },
};

use crate::{
    chain::below,
    federation::{Federation, Publisher, agent, eventually, gateway, scope, server},
    streams::{open, say},
};

/// A message with one more field than is known here: number 127, of three bytes.
fn newer(message: Bytes) -> Bytes {
    [&message[..], b"\xfa\x07\x03new"].concat().into()
}

/// Gateway → agent → control node, and neither of the two knows the field.
#[tokio::test]
async fn a_fact_that_relays_do_not_know_reaches_the_far_end() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let control_serving = federation.serve(&control, None).await;
    let relayed = Replicas::new();
    let subscribers = hanse_link::Subscribers::new();
    let up = federation.follow_as(
        agent("agent-1"),
        &[&control_serving],
        &relayed,
        EffectiveSource::Immediate,
        Some(&subscribers),
    );
    let mut relay = Publisher::relaying(agent("agent-1"), relayed, up.handle.freshness.clone());
    relay.subscribers = subscribers;
    let relay_serving = federation.serve(&relay, None).await;

    let (sender, _stream) = open(&federation, &relay_serving, &gateway("gateway-1")).await;
    let scope = scope().to_string();
    say(&sender, Body::Introduction(Introduction::default())).await;
    say(&sender, Body::Hello(Hello { scope: scope.clone(), ..Default::default() })).await;
    let shown = TrustStatus { shown: vec![1; 32].into(), ..Default::default() };
    let facts = newer(nested::to_bytes(&Facts { trust: Some(shown), ..Default::default() }));
    let named = Quarantined { key: "plan/default/gold".into(), ..Default::default() };
    let ack = Ack {
        facts: newer(nested::to_bytes(&ScopeFacts { scope, quarantined_total: 1, ..Default::default() })),
        in_quarantine: newer(nested::to_bytes(&InQuarantine { named: vec![named] })),
        quarantined_keys: Vec::new(),
    };
    say(&sender, Body::Ack(ack.clone())).await;
    say(&sender, Body::Report(Report { facts: facts.clone(), ..Report::default() })).await;
    let as_said = || {
        let Some(heard) = below(&control) else { return false };
        heard.acks == nested::in_a_row([&ack])
            && heard.report.is_some_and(|report| report.facts == facts && report.below.is_empty())
    };
    eventually("what the gateway said arrives as it said it", as_said).await;

    // And from there to another control node.
    let record = control.subscribers.snapshot().remove(0);
    let passed_on = record.to_heard(std::time::Instant::now(), None, &mut 0);
    assert_eq!(passed_on.report, record.report.map(|(report, _)| report));
}

/// Traffic is said once for each span, and reports come every second.
#[tokio::test]
async fn traffic_counts_until_it_is_said_anew() {
    let federation = Federation::new();
    let control = Publisher::new(agent("agent-1"));
    control.put(1, "a", "1");
    let serving = federation.serve(&control, None).await;
    let (sender, _stream) = open(&federation, &serving, &gateway("g")).await;
    say(&sender, Body::Introduction(Introduction::default())).await;
    let report = |facts: &'static [u8], traffic: Option<&'static [u8]>| {
        Body::Report(Report { facts: facts.into(), traffic: traffic.map(Into::into), ..Report::default() })
    };
    let held = |facts: &'static [u8], traffic: &'static [u8]| {
        move |control: &Publisher| {
            let record = control.subscribers.snapshot().pop();
            let report = record.and_then(|record| record.report);
            report.is_some_and(|(report, _)| {
                report.facts == facts && report.traffic.as_deref() == Some(traffic)
            })
        }
    };
    say(&sender, report(b"", Some(b"one"))).await;
    eventually("it is held", || held(b"", b"one")(&control)).await;
    say(&sender, report(&[0xf8, 7, 1], None)).await;
    eventually("a report without it leaves it", || held(&[0xf8, 7, 1], b"one")(&control)).await;
    say(&sender, report(b"", Some(b""))).await;
    eventually("an empty one takes its place", || held(b"", b"")(&control)).await;
}
