//! The delta protocol over gRPC: the tasks and services around the state machines of [`hanse_sync`].
//!
//! A node keeps its replicas in one [`Replicas`] hub. An agent fills and serves the same hub, which is all that relaying is.
//!
//! - [`publisher_service`]: serves the hub to subscribers. [`Subscribers`]: what is known of them.
//! - [`SubscriberTask`]: fills the hub from a publisher.
//! - [`watch_region`]: hears what another agent knows of the region. [`TrafficSum`]: requests by environment and host.
//! - [`Persister`]: keeps what the hub holds in the node's store. [`Persistence::open`] fills the hub from there at the next start.
//! - [`ProvenVersions`]: which versions a consumer has long served with, and which are not to be used.
//! - [`sealed_keys`]: a directory with the node's own private key, sealed with the key of its store.
//! - [`KeptRevocations`], [`KeptRoots`]: the revocations and the roots of trust that the node was told.
//! - [`KeptPlaces`]: where regions are reached and whether they serve, as the node was told.
//!
//! Nothing here decides what the protocol says next: [`hanse_sync`] does. Nothing here reads a runtime resource.

mod admission;
mod beside;
mod bounds;
mod facts;
mod kept_revocations;
mod kept_roots;
mod metrics;
mod persistence;
mod places;
mod proven;
mod publisher;
mod region_watch;
mod replicas;
mod revoked_watch;
mod sealed_keys;
mod subscriber;
mod subscribers;
mod traffic;

pub use admission::{Admission, Offer, Unknown};
pub use bounds::{
    MAX_AGENT_MESSAGE_BYTES, MAX_CONSUMER_REPORT_BYTES, MAX_FACTS_BYTES, MAX_GATEWAY_MESSAGE_BYTES,
    MAX_REPORT_BYTES, MAX_REPORTED,
};
pub use facts::{
    MAX_RESPONDER_BYTES, MAX_SERVING_BYTES, own_facts, report_of, responder, serving, trust_status,
};
pub use hanse_store::{KeyError, Store, StoreInUse, StoreKey, StoreOptions};
pub use hanse_sync::{
    BootId, Boots, ContentRoot, Freshness, Heads, HeldHead, NoHeads, Quarantine, Replica, ReplicaMap,
    Revoked, ScopeAck, Standing, TrustedRoot, TrustedRoots, Wanted,
};
pub use kept_revocations::KeptRevocations;
pub use kept_roots::KeptRoots;
pub use metrics::{LinkMetrics, Reason};
pub use persistence::{Persistence, Persister, keep_offer, kept_offer};
pub use places::{
    HeardGateway, HeardRegion, KeptPlaces, PlacesByEnvironment, SeenPlace, keep_places, kept_places,
    rows_of_region,
};
pub use proven::{Durable, HeldBack, PROVEN_AFTER, ProvenVersions, UNCLEAN_ENDS, ValueHash};
pub use publisher::{
    Doorkeeper, NeighbourService, Published, PublisherService, REGION_PROOF, RegionNews, RegionSource,
    ToldTo, neighbour_service, publisher_service,
};
pub use region_watch::watch_region;
pub use replicas::{Replicas, ReplicasMut};
pub use revoked_watch::watch_revoked;
pub use sealed_keys::{freshly_sealed_keys, sealed_keys};
pub use subscriber::{
    EffectiveSource, InUse, LinkStatus, ReportSource, Service, SubscriberHandle, SubscriberOptions,
    SubscriberTask,
};
pub use subscribers::{Below, SubscriberRecord, Subscribers};
pub use traffic::{MAX_TRAFFIC_BYTES, TRAFFIC_SPAN, TrafficSum};

/// Largest gRPC message that a subscriber takes: a chunk of one value of the largest size the control plane accepts, with room to
/// spare.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
