//! Which connections are kept, used again and closed.

use hanse_runtime::{Cidr, Egress};
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
};

use super::*;
use crate::{
    table::{ConnectProfiles, Tried, Upstream, UpstreamId},
    testbed::{checked, scope, upstream},
};

/// Runs on a runtime like a serving thread's, with a clock of its own.
fn on_a_thread(work: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build_local(LocalOptions::default()).unwrap();
    runtime.block_on(work);
}

/// The upstream with this endpoint, of a scope whose egress denies what is denied by default.
fn reaching(url: &str) -> Upstream {
    let id = UpstreamId::new(&scope("production"), "upstream/default/a");
    let mut profiles = ConnectProfiles::default();
    let compiled = Upstream::new(&id, checked(upstream(&[url])), &mut profiles);
    profiles.endpoints.egress(id.scope.environment()).set(Some(&Egress::default()));
    compiled
}

async fn connect(client: &UpstreamClient, endpoint: &Endpoint) -> Sender {
    client.connect(endpoint, client.slot().await.unwrap()).await.unwrap()
}

#[test]
fn kept_connections_are_used_latest_first_and_not_for_ever() {
    on_a_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = reaching(&url);
        let endpoint = upstream.pick(&Tried::default()).unwrap();
        let client = UpstreamClient::new(Slots::new(usize::MAX));
        let kept = || client.kept(endpoint, Reuse::Any, Instant::now());
        assert!(kept().is_none());
        let mut theirs = Vec::new();
        for _ in 0..3 {
            let mut sender = connect(&client, endpoint).await;
            theirs.push(listener.accept().await.unwrap().0);
            sender.ready().await.unwrap();
            client.keep(endpoint, sender);
            tokio::time::advance(IDLE / 10).await;
        }
        let last = kept().unwrap();
        client.keep(endpoint, last);
        // One that the other side closed is passed over.
        drop(theirs.pop());
        let waiting = || client.0.idle.borrow().values().map(|idle| idle.waiting.len()).sum::<usize>();
        while waiting() == 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            client.sweep();
        }
        let second = kept().unwrap();
        client.keep(endpoint, second);
        tokio::time::advance(IDLE).await;
        client.sweep();
        assert_eq!(waiting(), 0);
        assert!(kept().is_none());
    });
}

#[test]
fn kept_connections_give_way_to_requests_of_other_threads() {
    on_a_thread(async {
        tokio::time::resume(); // what is waited for here is not time
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = reaching(&url);
        let endpoint = upstream.pick(&Tried::default()).unwrap();
        let slots = Slots::new(3);
        let (client, other) = (UpstreamClient::new(slots.clone()), UpstreamClient::new(slots.clone()));
        let waiting = || client.0.idle.borrow().values().map(|idle| idle.waiting.len()).sum::<usize>();
        let mut theirs = Vec::new();
        for _ in 0..3 {
            let mut sender = connect(&client, endpoint).await;
            theirs.push(listener.accept().await.unwrap().0);
            sender.ready().await.unwrap();
            client.keep(endpoint, sender);
        }
        assert_eq!((slots.taken(), waiting()), (3, 3));
        let served = async {
            tokio::select! {
                biased;
                () = client.give_way(|| false) => unreachable!(),
                slots = async { tokio::join!(other.slot(), other.slot()) } => slots,
            }
        };
        let (one, two) = served.await;
        assert!(one.is_ok() && two.is_ok());
        assert_eq!((slots.taken(), waiting()), (3, 1));
    });
}

#[test]
fn what_can_go_only_once_takes_a_young_connection_or_none() {
    on_a_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = reaching(&url);
        let endpoint = upstream.pick(&Tried::default()).unwrap();
        let client = UpstreamClient::new(Slots::new(usize::MAX));
        let kept = |reuse| client.kept(endpoint, reuse, Instant::now());
        let waiting = || client.0.idle.borrow().values().map(|idle| idle.waiting.len()).sum::<usize>();
        let mut theirs = Vec::new();
        let mut keeps = async || {
            let mut sender = connect(&client, endpoint).await;
            theirs.push(listener.accept().await.unwrap().0);
            sender.ready().await.unwrap();
            client.keep(endpoint, sender);
        };
        keeps().await;
        tokio::time::advance(YOUNG).await;
        keeps().await;
        tokio::time::advance(YOUNG - Duration::from_millis(1)).await;
        assert!(kept(Reuse::Never).is_none());
        assert!(kept(Reuse::Young).is_some());
        assert!(kept(Reuse::Never).is_none());
        assert_eq!(waiting(), 1);
        assert!(kept(Reuse::Young).is_none(), "the other one is too old");
        assert_eq!(waiting(), 0, "and gives way to the new one that is made now");
        keeps().await;
        tokio::time::advance(YOUNG).await;
        assert!(kept(Reuse::Any).is_some());
        assert!(kept(Reuse::Any).is_none());
    });
}

#[test]
fn a_kept_connection_is_used_only_under_the_rules_that_allowed_it() {
    on_a_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = reaching(&format!("http://{}", listener.local_addr().unwrap()));
        let endpoint = upstream.pick(&Tried::default()).unwrap();
        let client = UpstreamClient::new(Slots::new(usize::MAX));
        let kept = || client.kept(endpoint, Reuse::Any, Instant::now());
        let waiting = || client.0.idle.borrow().values().map(|idle| idle.waiting.len()).sum::<usize>();
        let mut theirs = Vec::new();
        let mut keeps = async || {
            let mut sender = connect(&client, endpoint).await;
            theirs.push(listener.accept().await.unwrap().0);
            sender.ready().await.unwrap();
            client.keep(endpoint, sender);
        };
        let egress = &endpoint.profile.egress;
        keeps().await;
        egress.set(Some(&Egress::default()));
        let same = kept().expect("nothing changed");
        egress.set(Some(&Egress::new([], [Cidr::parse("10.0.0.0/8").unwrap()])));
        client.keep(endpoint, same); // it was in use meanwhile
        assert!(kept().is_none());
        client.sweep();
        assert_eq!(waiting(), 0);
        keeps().await;
        assert!(kept().is_some());
        egress.set(Some(&Egress::new([], [Cidr::parse("127.0.0.0/8").unwrap()])));
        let slot = client.slot().await.unwrap();
        let denied = client.connect(endpoint, slot).await.err().unwrap();
        assert!(matches!(denied, UpstreamError::EgressDenied(EgressDenied::Network(_))), "{denied:?}");
        egress.set(None);
        let slot = client.slot().await.unwrap();
        let denied = client.connect(endpoint, slot).await.err().unwrap();
        assert!(matches!(denied, UpstreamError::EgressDenied(EgressDenied::NoListener)), "{denied:?}");
    });
}

#[test]
fn errors_say_whose_they_are_and_what_they_allow() {
    let refused = || UpstreamError::Unreachable("refused".into());
    for (error, side, resend, failure) in [
        (refused(), Side::Upstream, Resend::Always, Some(Failure::Connect)),
        // That we had no room for the lookup speaks not against the endpoint.
        (UpstreamError::Unreachable(names::LookupError::Busy.into()), Side::Upstream, Resend::Always, None),
        (UpstreamError::TryTimeout, Side::Upstream, Resend::IfIdempotent, Some(Failure::Timeout)),
        (UpstreamError::Timeout, Side::Upstream, Resend::Never, Some(Failure::Timeout)),
        (UpstreamError::UnaskedUpgrade, Side::Upstream, Resend::Never, Some(Failure::Reset)),
        (UpstreamError::NoEndpoint, Side::Internal, Resend::Never, None),
        (UpstreamError::EgressDenied(EgressDenied::NoListener), Side::Internal, Resend::Never, None),
        (UpstreamError::TooLarge, Side::Downstream, Resend::Never, None),
        (BadFraming::Length.into(), Side::Upstream, Resend::Never, Some(Failure::Reset)),
        (UpstreamError::BadBody, Side::Downstream, Resend::Never, None),
        (UpstreamError::ClientLeft, Side::Downstream, Resend::Never, None),
    ] {
        assert_eq!((error.side(), error.resend(), error.failure()), (side, resend, failure), "{error}");
    }
}
