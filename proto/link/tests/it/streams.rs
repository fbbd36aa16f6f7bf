//! Subscribers of other makes: silent, slow, without a name.

use std::time::{Duration, Instant};

use hanse_identity::{Clients, connect};
use hanse_proto::sync::{
    Begin, Hello, Introduction, PublisherMessage, Report, SubscriberMessage, publisher_message,
    subscriber_message::Body, sync_client::SyncClient,
};
use hanse_topology::{Identity, LEASE, Role, ScopeId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::federation::{Federation, Publisher, Serving, agent, at, eventually, name, scope, server};

/// A stream that says what it is told to say and nothing else.
pub(crate) async fn open(
    federation: &Federation,
    serving: &Serving,
    identity: &Identity,
) -> (mpsc::Sender<SubscriberMessage>, Streaming<PublisherMessage>) {
    let channel = connect(&serving.address.to_string(), federation.client(identity)).await.unwrap();
    let (sender, messages) = mpsc::channel(16);
    let stream = SyncClient::new(channel).subscribe(ReceiverStream::new(messages)).await.unwrap();
    (sender, stream.into_inner())
}

pub(crate) async fn say(sender: &mpsc::Sender<SubscriberMessage>, body: Body) {
    sender.send(SubscriberMessage { body: Some(body) }).await.unwrap();
}

fn hello() -> Body {
    Body::Hello(Hello { scope: scope().to_string(), ..Default::default() })
}

#[tokio::test]
async fn a_silent_subscriber_shows_as_not_heard() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "a", "1");
    let serving = federation.serve(&control, None).await;
    let (sender, mut stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&sender, Body::Introduction(Introduction::default())).await;
    say(&sender, hello()).await;
    let record =
        || control.subscribers.snapshot().into_iter().find(|record| record.identity == agent("agent-1"));
    eventually("it subscribed", || record().is_some_and(|record| record.scopes.contains_key(&scope()))).await;
    // It takes what comes and says nothing.
    let mut bookmarks = 0;
    while bookmarks < 2 {
        let message = stream.message().await.unwrap().unwrap();
        bookmarks += u32::from(matches!(message.body, Some(publisher_message::Body::Bookmark(_))));
    }
    let record = record().unwrap();
    assert!(record.connected, "connected, but");
    assert!(
        Instant::now() - record.last_heard >= Duration::from_millis(900),
        "not heard since it subscribed"
    );
    assert!(record.is_live(Instant::now()));
    assert!(!record.is_live(record.last_heard + LEASE));
    assert_eq!(record.scopes[&scope()].effective, None, "it never said that it uses anything");
    drop((sender, stream));
    eventually("it is seen to leave", || !control.subscribers.snapshot()[0].connected).await;
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_latest_in_few_steps() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let serving = federation.serve(&control, None).await;
    let (sender, mut stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&sender, Body::Introduction(Introduction::default())).await;
    control.put(1, "big", vec![0; 200_000]);
    say(&sender, hello()).await;
    // Nothing is read while 30 MB of changes to one key pile up.
    const LAST: u64 = 150;
    for revision in 2..=LAST {
        control.put(revision, "big", vec![u8::try_from(revision).unwrap(); 200_000]);
        tokio::task::yield_now().await;
    }
    let (mut transfers, mut position) = (0, 0);
    while position < LAST {
        match stream.message().await.unwrap().unwrap().body {
            Some(publisher_message::Body::Begin(Begin { .. })) => transfers += 1,
            Some(publisher_message::Body::End(end)) => position = end.to.unwrap().revision,
            _ => {}
        }
    }
    assert!(transfers < 40, "{transfers} transfers for {LAST} revisions");
}

#[tokio::test]
async fn a_revocation_does_not_wait_for_what_is_being_sent() {
    /// What may be under way: the stream's window, and the few messages that wait for it.
    const UNDER_WAY: usize = (2 << 20) + 10 * (64 << 10);
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    // 200 scopes of three chunks each: what is worked out at once is 200 chunks, some 12 MB.
    let scopes: Vec<ScopeId> =
        (0..200).map(|n| ScopeId::runtime(name("eu-west"), name(&format!("e-{n}")))).collect();
    for scope in &scopes {
        let content = (0..3).map(|n| (format!("k{n}").into(), vec![n; 60_000].into())).collect();
        control.replicas.update(scope, |replica| replica.advance(at(1), content, vec![]).unwrap());
    }
    control.admission.offer(scopes.clone(), None);
    let serving = federation.serve(&control, None).await;
    let (sender, mut stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&sender, Body::Introduction(Introduction::default())).await;
    for scope in &scopes {
        say(&sender, Body::Hello(Hello { scope: scope.to_string(), ..Default::default() })).await;
    }
    let mut chunks = 0;
    let mut told_after = None;
    while told_after.is_none() {
        match stream.message().await.unwrap().unwrap().body {
            Some(publisher_message::Body::Chunk(_)) => chunks += 1,
            Some(publisher_message::Body::Welcome(welcome)) if welcome.revoked.is_some() => {
                told_after = Some(chunks - 250);
            }
            _ => {}
        }
        if chunks == 250 {
            control.admission.revoke(5, &[&agent("agent-2")]);
        }
    }
    let bytes = told_after.unwrap() * 60_000;
    assert!(bytes <= UNDER_WAY, "{bytes} bytes came before it");
}

#[tokio::test]
async fn who_has_no_identity_is_turned_away() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let serving = federation.serve_to(&control, None, Clients::Anyone).await;
    let channel = connect(&serving.address.to_string(), federation.anonymous_client()).await.unwrap();
    let (_sender, messages) = mpsc::channel(1);
    let status = SyncClient::new(channel).subscribe(ReceiverStream::new(messages)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(control.subscribers.snapshot().is_empty());
}

#[tokio::test]
async fn who_breaks_the_rules_is_cut_off() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let serving = federation.serve(&control, None).await;
    let (sender, mut stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&sender, hello()).await;
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "the introduction comes first and once");
}

#[tokio::test]
async fn what_an_earlier_process_subscribed_to_is_not_missing() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "a", "1");
    let serving = federation.serve(&control, None).await;
    let scopes = || control.subscribers.snapshot().first().map(|record| record.scopes.len());
    let (first, first_stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&first, Body::Introduction(Introduction::default())).await;
    say(&first, hello()).await;
    eventually("it subscribed", || scopes() == Some(1)).await;
    drop((first, first_stream));
    let (second, _second_stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&second, Body::Introduction(Introduction::default())).await;
    let connected = || control.subscribers.snapshot()[0].connected;
    eventually("it is back", connected).await;
    assert_eq!(scopes(), Some(1), "until it says what it wants, it counts as behind");
    say(&second, Body::Report(Report::default())).await;
    eventually("it wants nothing", || scopes() == Some(0)).await;
}

#[tokio::test]
async fn who_is_refused_loses_its_stream_within_a_second_and_does_not_come_back() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "a", "1");
    let trust = federation.trust();
    let clients = Clients::Mutual { trust: trust.clone(), roles: vec![Role::Agent], region: None };
    let serving = federation.serve_to(&control, None, clients).await;
    let (kept, mut other) = open(&federation, &serving, &agent("agent-2")).await;
    let (sender, mut stream) = open(&federation, &serving, &agent("agent-1")).await;
    for sender in [&sender, &kept] {
        say(sender, Body::Introduction(Introduction::default())).await;
    }
    stream.message().await.unwrap().expect("a welcome");
    other.message().await.unwrap().expect("a welcome");

    let refused_at = Instant::now();
    trust.refuse(std::collections::BTreeSet::from([agent("agent-1")]).into());
    while stream.message().await.is_ok_and(|message| message.is_some()) {}
    assert!(refused_at.elapsed() < Duration::from_secs(1), "cut after {:?}", refused_at.elapsed());
    let connected = |name: &str| {
        let records = control.subscribers.snapshot();
        records.iter().find(|record| record.identity == agent(name)).unwrap().connected
    };
    eventually("the publisher knows that it is gone", || !connected("agent-1")).await;
    assert!(connected("agent-2"), "nobody else is cut off");

    let client = federation.client(&agent("agent-1"));
    let channel = connect(&serving.address.to_string(), client).await.unwrap();
    let (_sender, messages) = mpsc::channel(1);
    SyncClient::new(channel).subscribe(ReceiverStream::new(messages)).await.unwrap_err();
    trust.refuse(Default::default());
    open(&federation, &serving, &agent("agent-1")).await;
}
