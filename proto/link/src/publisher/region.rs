//! Telling other agents what this one knows of its region.

use std::{sync::Arc, time::Duration};

use hanse_identity::PeerKeys;
use hanse_proto::sync::RegionPart;
use hanse_topology::Identity;
use tokio::{sync::mpsc, time::Instant};
use tonic::Status;
use tracing::debug;

use super::{PublisherService, fires};
use crate::Unknown;

/// A part comes so often at least: it proves that the agent lives.
pub const REGION_PROOF: Duration = Duration::from_secs(1);
/// Parts that wait for the connection. Few: what waits here is no longer put together with what comes later.
pub(super) const OUTBOUND: usize = 2;

/// What an agent knows of its region.
pub trait RegionSource: Send + Sync {
    /// What `peer` has not heard yet, if it heard what `told` has; without `told`: all. `None`: the peer is no agent of the region.
    fn since(&self, peer: &Identity, told: Option<&ToldTo>) -> Option<RegionNews>;

    /// Fires when there is more to say; not more often than a part is worth sending.
    fn changed(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// Up to where a peer was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldTo {
    /// The version of the source.
    pub version: u64,
    /// The environments that the peer might learn then. With others it is told all anew.
    pub environments: Vec<String>,
}

/// What a peer has not heard yet.
pub struct RegionNews {
    /// The parts, each made when the one before was taken: a slow peer holds no large answer in memory.
    pub parts: Box<dyn Iterator<Item = RegionPart> + Send>,
    /// Up to where the peer has heard all after them.
    pub told: ToldTo,
}

impl std::fmt::Debug for RegionNews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegionNews").field("told", &self.told).finish_non_exhaustive()
    }
}

/// Says all and then what changes, until the caller has gone or is not known any more.
pub(super) async fn tell(
    service: PublisherService,
    region: Arc<dyn RegionSource>,
    (peer, keys): (Identity, Arc<PeerKeys>),
    outbound: mpsc::Sender<Result<RegionPart, Status>>,
) {
    let telling = tell_on(&service, &*region, (&peer, &keys), &outbound);
    let status = tokio::select! {
        () = service.shutdown.wait() => Status::unavailable("this agent stops"),
        status = telling => status,
    };
    debug!(%peer, reason = status.message(), "tells no more of the region");
    // Where there is no room the connection is gone or stuck, and no agent would read it.
    let _ = outbound.try_send(Err(status));
}

/// Why nothing more is said.
async fn tell_on(
    service: &PublisherService,
    region: &dyn RegionSource,
    (peer, keys): (&Identity, &PeerKeys),
    outbound: &mpsc::Sender<Result<RegionPart, Status>>,
) -> Status {
    let (mut changed, mut admission) = (region.changed(), service.admission.changed());
    let mut told: Option<ToldTo> = None;
    loop {
        changed.mark_unchanged(); // before the look: what comes after it fires
        let may_call =
            || service.admission.may_call(peer, keys).map_err(|unknown| service.unknown(peer, unknown));
        if let Err(refused) = may_call() {
            return refused;
        }
        let Some(news) = region.since(peer, told.as_ref()) else {
            return service.unknown(peer, Unknown { why: format!("this agent knows {peer} no more") });
        };
        let mut parts = news.parts;
        let mut next = parts.next().or_else(|| Some(RegionPart::default()));
        while let Some(part) = next.take() {
            // A large answer waits for the caller, and the caller may be refused meanwhile.
            let room = tokio::select! {
                room = outbound.reserve() => room,
                () = fires(&mut admission) => match may_call() {
                    Ok(()) => {
                        next = Some(part);
                        continue;
                    }
                    Err(refused) => return refused,
                },
            };
            let Ok(room) = room else { return Status::cancelled("the caller has gone") };
            room.send(Ok(part));
            next = parts.next();
        }
        told = Some(news.told);
        let proof = tokio::time::sleep_until(Instant::now() + REGION_PROOF);
        tokio::select! {
            () = fires(&mut changed) => {}
            () = fires(&mut admission) => {}
            () = proof => {}
            () = outbound.closed() => return Status::cancelled("the caller has gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        iter,
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use hanse_process::ShutdownTrigger;
    use hanse_topology::Name;
    use tokio::{sync::watch, time::timeout};

    use super::*;
    use crate::{Admission, Freshness, Offer, Replicas, Subscribers};

    /// Has always more to say.
    struct Endless(watch::Sender<u64>);

    impl RegionSource for Endless {
        fn since(&self, _peer: &Identity, _told: Option<&ToldTo>) -> Option<RegionNews> {
            let more = RegionPart { more: true, ..RegionPart::default() };
            let told = ToldTo { version: 1, environments: Vec::new() };
            Some(RegionNews { parts: Box::new(iter::repeat(more)), told })
        }

        fn changed(&self) -> watch::Receiver<u64> {
            self.0.subscribe()
        }
    }

    #[derive(Default)]
    struct Door {
        revoked: AtomicBool,
        changed: watch::Sender<u64>,
    }

    impl Admission for Door {
        fn offer_to(&self, _peer: &Identity, _keys: &PeerKeys) -> Result<Offer, Unknown> {
            Ok(Offer { scopes: Vec::new(), as_of: None })
        }

        fn may_call(&self, _peer: &Identity, _keys: &PeerKeys) -> Result<(), Unknown> {
            match self.revoked.load(Ordering::SeqCst) {
                true => Err(Unknown { why: "revoked".to_owned() }),
                false => Ok(()),
            }
        }

        fn changed(&self) -> watch::Receiver<u64> {
            self.changed.subscribe()
        }
    }

    #[tokio::test]
    async fn an_agent_that_is_refused_gets_no_rest_of_a_large_answer() {
        let (door, (_trigger, shutdown)) = (Arc::new(Door::default()), ShutdownTrigger::new());
        let now = std::time::Instant::now();
        let service = PublisherService {
            replicas: Replicas::new(),
            admission: door.clone(),
            freshness: watch::channel(Freshness::unconfirmed(now)).1,
            subscribers: Subscribers::new(),
            name: "a".to_owned(),
            places: None,
            region: None,
            watches: Default::default(),
            shutdown,
        };
        let name = |text| Name::new(text).unwrap();
        let peer = Identity::agent(name("b"), name("eu-west"));
        let keys = PeerKeys { own: Vec::new(), issuer: Vec::new() };
        let (outbound, mut parts) = mpsc::channel(OUTBOUND);
        let telling = tokio::spawn(async move {
            let region = Endless(watch::Sender::default());
            tell_on(&service, &region, (&peer, &keys), &outbound).await
        });
        parts.recv().await.unwrap().unwrap();
        // It takes nothing more, and an answer that changes nothing ends nothing.
        door.changed.send_replace(1);
        parts.recv().await.unwrap().unwrap();
        door.revoked.store(true, Ordering::SeqCst);
        door.changed.send_replace(2);
        let ended = timeout(Duration::from_secs(10), telling).await.expect("it waits for the agent");
        assert_eq!(ended.unwrap().message(), "revoked");
    }
}
