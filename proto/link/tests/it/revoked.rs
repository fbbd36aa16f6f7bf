//! Who is revoked, heard from those who are not followed.

use std::time::{Duration, Instant};

use hanse_identity::connect;
use hanse_link::{KeptRevocations, watch_revoked};
use hanse_process::ShutdownTrigger;

use crate::federation::{Federation, Publisher, agent, eventually, gateway};

#[tokio::test]
async fn a_publisher_that_is_revoked_is_left_though_it_does_not_say_so() {
    let federation = Federation::new();
    let (thief, honest) = (agent("agent-1"), agent("agent-2"));
    let (quiet, telling) = (Publisher::new(thief.clone()), Publisher::new(honest));
    let (bad, good) = (federation.serve(&quiet, None).await, federation.serve(&telling, None).await);
    let dir = tempfile::tempdir().unwrap();
    let trust = federation.trust();
    let kept = KeptRevocations::restore(dir.path().to_owned(), trust.clone());
    let tls = federation.client_trusting(&gateway("gateway-1"), &trust);
    let (trigger, shutdown) = ShutdownTrigger::new();
    for serving in [&bad, &good] {
        tokio::spawn(watch_revoked(serving.address.to_string(), tls.clone(), kept.clone(), shutdown.clone()));
    }
    telling.admission.revoke(5, &[]);
    eventually("it is heard", || kept.in_force().borrow().is_some()).await;
    assert!(telling.subscribers.snapshot().is_empty(), "listening is not following");

    telling.admission.revoke(6, &[&thief]);
    let told_at = Instant::now();
    eventually("it is refused", || trust.refuses(&thief)).await;
    assert!(told_at.elapsed() < Duration::from_secs(1), "after {:?}", told_at.elapsed());
    connect(&bad.address.to_string(), tls.clone()).await.unwrap_err();
    // This publisher is refused, so the node does not hear what it says.
    quiet.admission.revoke(u64::MAX, &[]);
    telling.admission.revoke(7, &[&thief]);
    let revision = || kept.in_force().borrow().as_ref().map(|revoked| revoked.as_of.revision);
    eventually("the other is heard still", || revision() == Some(7)).await;
    assert!(trust.refuses(&thief));

    telling.admission.revoke(8, &[]);
    eventually("it is believed again", || !trust.refuses(&thief)).await;
    drop(trigger);
}
