//! A peer that speaks is known, and says no more than it may.

use hanse_identity::connect;
use hanse_link::{MAX_REPORT_BYTES, Reason, Replicas};
use hanse_proto::{
    nested,
    sync::{
        Heard, Introduction, Report, WatchRevokedRequest, publisher_message, subscriber_message::Body,
        sync_client::SyncClient,
    },
};
use hanse_topology::{Identity, Role, ScopeId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::{
    federation::{Federation, Publisher, agent, eventually, name, revision, scope, server},
    streams::{open, say},
};

fn refused(control: &Publisher, reason: &str) -> u64 {
    control.replicas.metrics().streams_refused.get_or_create(&Reason::new(reason)).get()
}

/// How a stream ends.
async fn end<T>(mut stream: Streaming<T>) -> tonic::Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends without a word"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn one_that_is_not_known_is_told_to_try_again_and_counts_for_nothing() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "a", "1");
    let ghost = agent("ghost");
    control.admission.does_not_know(&[&ghost]);
    let serving = federation.serve(&control, None).await;

    let channel = connect(&serving.address.to_string(), federation.client(&ghost)).await.unwrap();
    let (sender, messages) = mpsc::channel(16);
    say(&sender, Body::Introduction(Introduction::default())).await;
    say(&sender, Body::Report(Report::default())).await;
    let status = SyncClient::new(channel).subscribe(ReceiverStream::new(messages)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "it may be tried again: {status}");
    assert!(status.message().ends_with("is not known here"), "{status}");
    assert!(control.subscribers.snapshot().is_empty());
    assert_eq!(refused(&control, "unknown"), 1);

    // An honest one keeps trying, and is served as soon as it is known.
    let held = Replicas::new();
    let following = federation.follow(ghost, &[&serving], &held);
    let failure = || following.handle.status.borrow().last_failure.clone();
    eventually("it knows why", || failure().is_some_and(|why| why.contains("is not known here"))).await;
    assert_eq!(revision(&held), None);
    control.admission.does_not_know(&[]);
    eventually("it is served", || revision(&held) == Some(1)).await;
}

/// What a control node says: there is nothing that one it does not know may ask.
#[tokio::test]
async fn one_that_may_not_call_is_refused_before_its_message_is_read() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.admission.may_not_call(&[&agent("ghost")]);
    let serving = federation.serve(&control, None).await;
    let watch = async |name: &str| {
        let channel = connect(&serving.address.to_string(), federation.client(&agent(name))).await.unwrap();
        SyncClient::new(channel).watch_revoked(WatchRevokedRequest {}).await.map(drop)
    };
    assert_eq!(watch("ghost").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(refused(&control, "unknown"), 1);
    watch("agent-1").await.unwrap();
}

#[tokio::test]
async fn one_that_is_not_known_any_more_loses_its_stream() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let serving = federation.serve(&control, None).await;
    let (sender, stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&sender, Body::Introduction(Introduction::default())).await;
    let connected = || control.subscribers.snapshot().first().is_some_and(|record| record.connected);
    eventually("it has come", connected).await;
    control.admission.does_not_know(&[&agent("agent-1")]);
    assert_eq!(end(stream).await.code(), Code::Unavailable);
    eventually("it is seen to go", || !connected()).await;
}

#[tokio::test]
async fn a_stream_counts_from_its_introduction_on() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let serving = federation.serve(&control, None).await;
    let (first, mut served) = open(&federation, &serving, &agent("agent-1")).await;
    say(&first, Body::Introduction(Introduction::default())).await;
    served.message().await.unwrap().expect("a welcome");
    let before = control.subscribers.snapshot()[0].last_heard;
    let (second, stream) = open(&federation, &serving, &agent("agent-1")).await;
    drop((second, stream));
    let (_third, _stream) = open(&federation, &serving, &agent("agent-1")).await;
    let record = control.subscribers.snapshot().remove(0);
    assert!(record.connected && record.last_heard == before, "nobody spoke");
    say(&first, Body::Report(Report::default())).await;
    eventually("the first is heard still", || control.subscribers.snapshot()[0].report.is_some()).await;
}

#[tokio::test]
async fn a_report_that_is_too_large_ends_its_stream_and_leaves_no_trace() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let serving = federation.serve(&control, None).await;
    let (honest, _welcomed) = open(&federation, &serving, &agent("agent-2")).await;
    say(&honest, Body::Introduction(Introduction::default())).await;
    say(&honest, Body::Report(Report::default())).await;
    let small = |count: usize| vec![Heard::default(); count];
    let large = |bytes: usize| vec![Heard { identity: "x".repeat(bytes), ..Default::default() }];
    for (reason, subscribers) in [
        ("message too large", large(8_800_000)),
        ("report too large", large(MAX_REPORT_BYTES)),
        ("report too large", small(10_001)),
    ] {
        let before = refused(&control, reason);
        let (sender, stream) = open(&federation, &serving, &agent("agent-1")).await;
        say(&sender, Body::Introduction(Introduction::default())).await;
        let below = nested::in_a_row(&subscribers);
        say(&sender, Body::Report(Report { below, ..Report::default() })).await;
        let status = end(stream).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("too large") || status.message().contains("at most"), "{status}");
        assert_eq!(refused(&control, reason), before + 1);
    }
    let records = control.subscribers.snapshot();
    let of = |name: &str| records.iter().find(|record| record.identity == agent(name)).unwrap();
    assert!(of("agent-1").report.is_none());
    assert!(of("agent-2").connected && of("agent-2").report.is_some(), "nobody else is touched");
}

/// Here admission offers it every scope.
#[tokio::test]
async fn no_peer_is_offered_what_its_role_may_not_learn() {
    let federation = Federation::new();
    let publisher = Publisher::new(agent("agent-1"));
    let all = [scope(), ScopeId::Dns { region: name("eu-west") }, ScopeId::Keys { region: name("eu-west") }];
    publisher.admission.offer(all.to_vec(), None);
    let serving = federation.serve(&publisher, None).await;
    let gateway = Identity::gateway(name("gateway-1"), name("eu-west"));
    let responder = Identity { role: Role::Dns, ..gateway.clone() };
    for (peer, offered) in [(agent("agent-2"), &all[..]), (gateway, &all[..1]), (responder, &all[1..2])] {
        let (sender, mut stream) = open(&federation, &serving, &peer).await;
        say(&sender, Body::Introduction(Introduction::default())).await;
        let scopes = loop {
            if let Some(publisher_message::Body::Welcome(welcome)) =
                stream.message().await.unwrap().unwrap().body
            {
                break welcome.scopes;
            }
        };
        let expected: Vec<_> = offered.iter().map(ScopeId::to_string).collect();
        assert_eq!(scopes, expected, "{peer}");
    }
}
