//! Publishers that come, go, and differ.

use std::time::{Duration, Instant};

use hanse_link::{Freshness, Reason, Replicas, Standing};
use tokio::sync::watch;

use crate::federation::{
    Federation, Publisher, agent, always, at, eventually, revision, same, scope, server, value,
};

#[tokio::test]
async fn who_comes_back_gets_a_delta() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(1, "a", "1");
    control.put(2, "b", "1");
    let serving = federation.serve(&control, None).await;
    let address = serving.address;
    let held = Replicas::new();
    let following = federation.follow(agent("agent-1"), &[&serving], &held);
    eventually("the first content arrives", || revision(&held) == Some(2)).await;

    serving.stop().await;
    eventually("the link is lost", || following.handle.status.borrow().connected_to.is_none()).await;
    control.put(3, "c", "1");
    control.delete(4, "a");
    assert_eq!(revision(&held), Some(2), "what is held stays");
    let _serving = federation.serve(&control, Some(address)).await;
    eventually("it catches up", || revision(&held) == Some(4)).await;
    assert!(same(&control.replicas, &held));
    assert_eq!(value(&held, "a"), None);

    let metrics = held.metrics();
    assert_eq!(metrics.deltas_applied.get(), 1, "both changes in one delta");
    assert_eq!(metrics.snapshots_applied.get_or_create(&Reason::new("nothing held")).get(), 1);
    for reason in ["outside the window", "root differs", "asked for", "new lineage"] {
        assert_eq!(metrics.snapshots_applied.get_or_create(&Reason::new(reason)).get(), 0, "{reason}");
    }
    assert_eq!(metrics.connections.get(), 2);
}

#[tokio::test]
async fn a_publisher_with_a_quorum_is_preferred_and_one_without_better_than_none() {
    let federation = Federation::new();
    let good = Publisher::new(server("cp-1"));
    let cut_off = Publisher::relaying(server("cp-2"), Replicas::new(), always(false));
    for publisher in [&good, &cut_off] {
        publisher.put(1, "a", "1");
    }
    let good_serving = federation.serve(&good, None).await;
    let cut_off_serving = federation.serve(&cut_off, None).await;
    let held = Replicas::new();
    let following = federation.follow(agent("agent-1"), &[&cut_off_serving, &good_serving], &held);
    let standing = || following.handle.status.borrow().standing;
    eventually("it settles with the good one", || {
        following.connected_to(&good_serving) && standing() == Some(Standing::Good)
    })
    .await;

    good.put(2, "b", "1");
    eventually("it follows", || revision(&held) == Some(2)).await;
    good_serving.stop().await;
    eventually("it goes to the other and says so", || {
        following.connected_to(&cut_off_serving) && standing().is_some_and(Standing::is_poor)
    })
    .await;
    assert_eq!(revision(&held), Some(2), "the other is behind: positions never go back");
    cut_off.put(2, "b", "1");
    cut_off.put(3, "c", "1");
    eventually("the other caught up", || revision(&held) == Some(3)).await;
    assert!(same(&cut_off.replicas, &held));
    eventually("it stays, there being no better", || standing() == Some(Standing::NoQuorum)).await;
    assert!(following.connected_to(&cut_off_serving));
}

#[tokio::test]
async fn where_nobody_has_a_quorum_all_follow_the_freshest_and_stay() {
    /// They begin with either publisher, so some of them begin with the wrong one.
    const AGENTS: usize = 8;
    let federation = Federation::new();
    let out_of_contact_for = |seconds| {
        let confirmed_at = Instant::now() - Duration::from_secs(seconds);
        watch::channel(Freshness { confirmed_at, quorum: false }).1
    };
    let fresher = Publisher::relaying(server("cp-1"), Replicas::new(), out_of_contact_for(30));
    let staler = Publisher::relaying(server("cp-2"), Replicas::new(), out_of_contact_for(60));
    for publisher in [&fresher, &staler] {
        publisher.put(1, "a", "1");
    }
    let fresher_serving = federation.serve(&fresher, None).await;
    let staler_serving = federation.serve(&staler, None).await;
    let held: [_; AGENTS] = std::array::from_fn(|_| Replicas::new());
    let follow = |(index, held)| {
        let identity = agent(&format!("agent-{index}"));
        federation.follow(identity, &[&staler_serving, &fresher_serving], held)
    };
    let following: Vec<_> = held.iter().enumerate().map(follow).collect();
    eventually("all know both and follow the fresher, and say that it is stale", || {
        following.iter().zip(&held).all(|(following, held)| {
            let standing = following.handle.status.borrow().standing;
            let knows_both = held.metrics().connections.get() >= 2;
            knows_both && following.connected_to(&fresher_serving) && standing == Some(Standing::Stale)
        })
    })
    .await;
    // Until the other is looked at again, no subscriber moves.
    let connections: u64 = held.iter().map(|held| held.metrics().connections.get()).sum();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later: u64 = held.iter().map(|held| held.metrics().connections.get()).sum();
    assert!(later <= connections + 2 * AGENTS as u64, "{connections} connections, a second later {later}");
}

#[tokio::test]
async fn configured_publishers_may_change() {
    let federation = Federation::new();
    let (one, other) = (Publisher::new(server("cp-1")), Publisher::new(server("cp-2")));
    for publisher in [&one, &other] {
        publisher.put(1, "a", "1");
    }
    let one_serving = federation.serve(&one, None).await;
    let other_serving = federation.serve(&other, None).await;
    let held = Replicas::new();
    let following = federation.follow(agent("agent-1"), &[&one_serving], &held);
    eventually("it follows one", || following.connected_to(&one_serving)).await;
    following.publishers.send_replace(vec![]);
    eventually("it follows none", || {
        following.handle.status.borrow().last_failure.as_deref() == Some("no publisher is known")
    })
    .await;
    following.publishers.send_replace(vec![other_serving.address.to_string()]);
    eventually("it follows the other", || following.connected_to(&other_serving)).await;
}

#[tokio::test]
async fn a_scope_that_is_gone_is_dropped_and_one_merely_not_offered_is_kept() {
    let federation = Federation::new();
    let control = Publisher::new(server("cp-1"));
    control.put(5, "a", "1");
    let serving = federation.serve(&control, None).await;
    let held = Replicas::new();
    let following = federation.follow(agent("agent-1"), &[&serving], &held);
    eventually("it arrives", || revision(&held) == Some(5)).await;

    let offered = || {
        let status = following.handle.status.borrow();
        (status.offered_as_of, status.offered.len())
    };
    control.admission.offer(vec![], Some(at(4)));
    eventually("it hears of it", || offered() == (Some(at(4)), 0)).await;
    assert_eq!(revision(&held), Some(5), "a node that lags cannot know");
    control.admission.offer(vec![scope()], Some(at(5)));
    eventually("it is offered again", || offered() == (Some(at(5)), 1)).await;
    // What lags, or rests on nothing, takes nothing back of what is offered on.
    for as_of in [Some(at(4)), None] {
        control.admission.offer(vec![], as_of);
        control.put(if as_of.is_some() { 6 } else { 7 }, "b", "1");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await; // for what must not happen
        assert_eq!(offered(), (Some(at(5)), 1), "{as_of:?}");
        control.admission.offer(vec![scope()], Some(at(5)));
    }
    control.admission.offer(vec![], Some(at(8)));
    eventually("it is dropped", || revision(&held).is_none()).await;
    assert_eq!(offered(), (Some(at(8)), 0));
}
