//! Serving replicas: one task per stream around a [`PublisherSession`](hanse_sync::PublisherSession).

mod region;
mod stream;

use std::{collections::BTreeMap, fmt, future, net::SocketAddr, sync::Arc};

use hanse_identity::{Peer, PeerKeys};
use hanse_process::Shutdown;
use hanse_proto::sync::{
    self, PublisherMessage, RegionPart, SubscriberMessage, WatchRegionRequest, WatchRevokedRequest,
    neighbours_server::{Neighbours, NeighboursServer},
    sync_server::{Sync as SyncService, SyncServer},
};
use hanse_sync::Freshness;
use hanse_topology::Identity;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    service::{Interceptor, interceptor::InterceptedService},
};
use tracing::{Instrument as _, debug, info_span};

use crate::{Admission, KeptPlaces, MAX_AGENT_MESSAGE_BYTES, Offer, Reason, Replicas, Subscribers, Unknown};
pub use region::{REGION_PROOF, RegionNews, RegionSource, ToldTo};
use stream::Stream;

/// Messages that wait for the connection, at most a chunk each. Few: what waits here is no longer coalesced, and more
/// than the connection's own window gains nothing.
const OUTBOUND: usize = 4;

/// The Sync service of a control-plane node or an agent.
#[derive(Clone)]
pub struct PublisherService {
    replicas: Replicas,
    admission: Arc<dyn Admission>,
    freshness: watch::Receiver<Freshness>,
    subscribers: Subscribers,
    name: String,
    /// What is told of the region, to other agents.
    region: Option<Arc<dyn RegionSource>>,
    /// Where regions are reached, as far as a subscriber may learn the environment; `None`: nothing is told of it.
    places: Option<KeptPlaces>,
    watches: Watches,
    shutdown: Shutdown,
}

/// What tells each agent of the region. Of one agent, the newest watch counts: it cannot hold many large answers.
type Watches = Arc<Mutex<BTreeMap<Identity, AbortHandle>>>;

impl fmt::Debug for PublisherService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherService").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a node tells its subscribers.
#[derive(Debug)]
pub struct Published {
    /// The content of scopes.
    pub replicas: Replicas,
    /// How fresh that is.
    pub freshness: watch::Receiver<Freshness>,
    /// Where regions are reached. A subscriber that takes it is told of the environments that it may learn.
    pub places: KeptPlaces,
}

/// Serves what is `published` to those whom `admission` knows, and notes in `subscribers` what they say; nothing is read of a peer that is
/// not known. Streams end at `shutdown`. The caller is who its client certificate says: serve this behind
/// [`Listener`](hanse_identity::Listener) with mutual TLS. No message of a subscriber may be larger than `max_message_bytes`.
pub fn publisher_service(
    published: Published,
    admission: Arc<dyn Admission>,
    subscribers: Subscribers,
    name: String,
    max_message_bytes: usize,
    shutdown: Shutdown,
) -> InterceptedService<SyncServer<PublisherService>, Doorkeeper> {
    let Published { replicas, freshness, places } = published;
    let (region, places, watches) = (None, Some(places), Watches::default());
    let service = PublisherService {
        replicas,
        admission,
        freshness,
        subscribers,
        name,
        region,
        places,
        watches,
        shutdown,
    };
    let doorkeeper = Doorkeeper(service.clone());
    let server = SyncServer::new(service).max_decoding_message_size(max_message_bytes);
    InterceptedService::new(server, doorkeeper)
}

/// The same for other agents of an agent's region, which are told of that, too.
pub fn neighbour_service(
    replicas: Replicas,
    admission: Arc<dyn Admission>,
    freshness: watch::Receiver<Freshness>,
    subscribers: Subscribers,
    name: String,
    region: Arc<dyn RegionSource>,
    shutdown: Shutdown,
) -> NeighbourService {
    let (region, places, watches) = (Some(region), None, Watches::default());
    let service = PublisherService {
        replicas,
        admission,
        freshness,
        subscribers,
        name,
        region,
        places,
        watches,
        shutdown,
    };
    let doorkeeper = Doorkeeper(service.clone());
    let server = NeighboursServer::new(service).max_decoding_message_size(MAX_AGENT_MESSAGE_BYTES);
    InterceptedService::new(server, doorkeeper)
}

/// The Neighbours service of an agent, behind its admission.
pub type NeighbourService = InterceptedService<NeighboursServer<PublisherService>, Doorkeeper>;

/// Asks admission before anything of a call is read.
#[derive(Debug, Clone)]
pub struct Doorkeeper(PublisherService);

impl Interceptor for Doorkeeper {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Caller { identity, keys, .. } = caller(&request)?;
        self.0.admission.may_call(&identity, &keys).map_err(|unknown| self.0.unknown(&identity, unknown))?;
        Ok(request)
    }
}

#[tonic::async_trait]
impl SyncService for PublisherService {
    type SubscribeStream = ReceiverStream<Result<PublisherMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscriberMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.publish(request)
    }

    type WatchRevokedStream = ReceiverStream<Result<sync::Revoked, Status>>;

    async fn watch_revoked(
        &self,
        request: Request<WatchRevokedRequest>,
    ) -> Result<Response<Self::WatchRevokedStream>, Status> {
        let Caller { identity, .. } = caller(&request)?;
        let (outbound, messages) = mpsc::channel(1); // a later list says all that an earlier one did
        tokio::spawn(tell_who_is_revoked(self.clone(), identity, outbound));
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[tonic::async_trait]
impl Neighbours for PublisherService {
    type SubscribeStream = ReceiverStream<Result<PublisherMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscriberMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.publish(request)
    }

    type WatchRegionStream = ReceiverStream<Result<RegionPart, Status>>;

    async fn watch_region(
        &self,
        request: Request<WatchRegionRequest>,
    ) -> Result<Response<Self::WatchRegionStream>, Status> {
        let Caller { identity, keys, .. } = caller(&request)?;
        let region = self.region.clone().ok_or_else(|| Status::unimplemented("this node knows no region"))?;
        let (outbound, parts) = mpsc::channel(region::OUTBOUND);
        let watch = tokio::spawn(region::tell(self.clone(), region, (identity.clone(), keys), outbound));
        if let Some(before) = self.watches.lock().insert(identity, watch.abort_handle()) {
            before.abort();
        }
        Ok(Response::new(ReceiverStream::new(parts)))
    }
}

impl PublisherService {
    /// Serves one stream.
    fn publish(
        &self,
        request: Request<Streaming<SubscriberMessage>>,
    ) -> Result<Response<ReceiverStream<Result<PublisherMessage, Status>>>, Status> {
        let Caller { identity, keys, address } = caller(&request)?;
        self.offer_to(&identity, &keys)?;
        let (outbound, messages) = mpsc::channel(OUTBOUND);
        let span = info_span!("publish", subscriber = %identity, %address);
        let stream = Stream::new(self.clone(), identity, keys);
        tokio::spawn(stream.run(request.into_inner(), outbound).instrument(span));
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    /// What the peer is offered: what admission says, of the kinds that its role may learn. One that is not known is told to try again:
    /// this node may not have heard yet that it joined.
    fn offer_to(&self, peer: &Identity, keys: &PeerKeys) -> Result<Offer, Status> {
        let mut offer = self.admission.offer_to(peer, keys).map_err(|unknown| self.unknown(peer, unknown))?;
        offer.scopes.retain(|scope| peer.role.may_learn(scope));
        Ok(offer)
    }

    fn unknown(&self, peer: &Identity, Unknown { why }: Unknown) -> Status {
        debug!(%peer, why, "refused");
        self.refused("unknown");
        Status::unavailable(why)
    }

    /// Counts a stream that was refused or ended.
    fn refused(&self, reason: &str) {
        self.replicas.metrics().streams_refused.get_or_create(&Reason::new(reason)).inc();
    }
}

/// Who called, by the connection.
struct Caller {
    identity: Identity,
    keys: Arc<PeerKeys>,
    address: SocketAddr,
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.and_then(|Peer { identity, keys, address }| {
        Some(Caller { identity: identity?, keys: keys?, address })
    })
    .ok_or_else(|| Status::unauthenticated("a client certificate with a Hanse identity is needed"))
}

/// Says who is revoked whenever that changes, until the caller has gone.
async fn tell_who_is_revoked(
    service: PublisherService,
    peer: Identity,
    outbound: mpsc::Sender<Result<sync::Revoked, Status>>,
) {
    let mut changed = service.admission.changed();
    let mut said = None;
    let telling = async {
        loop {
            let told = service.admission.revoked_for(&peer);
            if let Some(revoked) = told.filter(|told| said.as_ref() != Some(told)) {
                said = Some(revoked.clone());
                if outbound.send(Ok(revoked.into())).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = fires(&mut changed) => {}
                () = outbound.closed() => return,
            }
        }
    };
    tokio::select! {
        () = service.shutdown.wait() => {}
        () = telling => {}
    }
}

/// Returns when the watched value changes; never, once its sender is gone.
pub(crate) async fn fires<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        future::pending::<()>().await;
    }
}
