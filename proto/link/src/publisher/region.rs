//! Telling other agents what this one knows of its region.

use std::{sync::Arc, time::Duration};

use hanse_identity::PeerKeys;
use hanse_proto::sync::RegionPart;
use hanse_topology::Identity;
use tokio::{sync::mpsc, time::Instant};
use tonic::Status;
use tracing::debug;

use super::{PublisherService, fires};

/// A part comes so often at least: it proves that the agent lives.
pub const REGION_PROOF: Duration = Duration::from_secs(1);
/// Parts that wait for the connection. Few: what waits here is no longer put together with what comes later.
pub(super) const OUTBOUND: usize = 2;

/// What an agent knows of its region.
pub trait RegionSource: Send + Sync {
    /// Whether it knows enough to tell it; why not.
    fn ready(&self) -> Result<(), String>;

    /// What `peer` has not heard yet, if it heard all up to `seen`, and up to where it has heard all then. Without `seen`: all.
    fn since(&self, peer: &Identity, seen: Option<u64>) -> (Vec<RegionPart>, u64);

    /// Fires when there is more to say; not more often than a part is worth sending.
    fn changed(&self) -> tokio::sync::watch::Receiver<u64>;
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
    let mut seen = None;
    loop {
        changed.mark_unchanged(); // before the look: what comes after it fires
        if let Err(unknown) = service.admission.may_call(peer, keys) {
            return service.unknown(peer, unknown);
        }
        let (mut parts, upto) = region.since(peer, seen);
        seen = Some(upto);
        if parts.is_empty() {
            parts.push(RegionPart::default());
        }
        for part in parts {
            if outbound.send(Ok(part)).await.is_err() {
                return Status::cancelled("the caller has gone");
            }
        }
        let proof = tokio::time::sleep_until(Instant::now() + REGION_PROOF);
        tokio::select! {
            () = fires(&mut changed) => {}
            () = fires(&mut admission) => {}
            () = proof => {}
            () = outbound.closed() => return Status::cancelled("the caller has gone"),
        }
    }
}
