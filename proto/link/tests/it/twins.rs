//! The newest stream of an identity is the one that counts.

use hanse_link::{Reason, Replicas};
use hanse_proto::sync::{Introduction, PublisherMessage, publisher_message, subscriber_message::Body};
use tonic::{Code, Status, Streaming};

use crate::{
    federation::{Federation, Publisher, agent, eventually, revision, server},
    streams::{open, say},
};

fn introduction(boot: u8) -> Body {
    Body::Introduction(Introduction { boot_id: vec![boot; 16].into(), ..Default::default() })
}

/// Reads to the end: whether it was said that another process came, and how the stream ended.
async fn ends(mut stream: Streaming<PublisherMessage>) -> (bool, Status) {
    let mut superseded = false;
    loop {
        match stream.message().await {
            Ok(Some(message)) => {
                superseded |= matches!(message.body, Some(publisher_message::Body::Superseded(_)));
            }
            Ok(None) => panic!("it ends without a word"),
            Err(status) => return (superseded, status),
        }
    }
}

#[tokio::test]
async fn the_newest_stream_ends_the_older_which_touches_nothing_any_more() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let serving = federation.serve(&control, None).await;
    let record = || control.subscribers.snapshot().remove(0);
    let (one, first) = open(&federation, &serving, &agent("agent-1")).await;
    say(&one, introduction(1)).await;
    eventually("the first counts", || control.subscribers.snapshot().len() == 1).await;

    let (again, second) = open(&federation, &serving, &agent("agent-1")).await;
    say(&again, introduction(1)).await;
    let (superseded, status) = ends(first).await;
    assert_eq!((superseded, status.code()), (false, Code::Aborted), "the same process came again: {status}");

    let (other, third) = open(&federation, &serving, &agent("agent-1")).await;
    say(&other, introduction(2)).await;
    let (superseded, status) = ends(second).await;
    assert_eq!((superseded, status.code()), (true, Code::Aborted), "another process came: {status}");
    drop((one, again));
    assert!(record().connected, "the ends of the older ones touch nothing");
    drop((other, third));
    eventually("the newest went", || !record().connected).await;

    let (back, _stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&back, introduction(1)).await;
    eventually("the first process is heard again", || record().connected).await;
}

#[tokio::test]
async fn a_subscriber_that_is_superseded_goes_elsewhere_and_leaves_the_publisher_alone() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    let elsewhere = Publisher::new(server("cp-2"));
    for publisher in [&control, &elsewhere] {
        publisher.put(1, "a", "1");
    }
    let serving = federation.serve(&control, None).await;
    let other_serving = federation.serve(&elsewhere, None).await;
    let held = Replicas::new();
    let following = federation.follow(agent("agent-1"), &[&serving], &held);
    eventually("it follows", || revision(&held) == Some(1)).await;

    let (twin, _stream) = open(&federation, &serving, &agent("agent-1")).await;
    say(&twin, introduction(9)).await;
    let status = || following.handle.status.borrow().clone();
    eventually("it is told", || status().connected_to.is_none() && status().last_alarm.is_some()).await;
    let alarm = status().last_alarm.unwrap();
    assert!(alarm.contains("another process has this node's identity"), "{alarm}");
    assert_eq!(held.metrics().alarms.get_or_create(&Reason::new("superseded")).get(), 1);
    assert_eq!(revision(&held), Some(1), "it serves what it holds");

    let both = [&serving, &other_serving].map(|serving| serving.address.to_string());
    following.publishers.send_replace(both.to_vec());
    eventually("it follows another publisher", || following.connected_to(&other_serving)).await;
    assert_eq!(held.metrics().connections.get(), 2, "and did not try the first again");
    assert!(control.subscribers.snapshot()[0].connected, "the twin stays");
}
