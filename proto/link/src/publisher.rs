//! Serving replicas: one task per stream around a [`PublisherSession`].

use std::{
    collections::{BTreeSet, VecDeque},
    fmt, future,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use hanse_proto::sync::{
    self, Begin, Behind, Bookmark, Chunk, End, PublisherMessage, Report, SubscriberMessage,
    WatchRevokedRequest,
    begin::Kind,
    publisher_message::Body,
    sync_server::{Sync as SyncService, SyncServer},
};
use hanse_sync::{Freshness, PublisherSession, Received};
use hanse_topology::ScopeId;
use hanse_transport::{Identity, Peer, PeerKeys, Shutdown};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, debug, info, info_span};

use crate::{Admission, MAX_MESSAGE_BYTES, Offer, Reason, Replicas, ScopeAck, SubscriberRecord, Subscribers};

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
    shutdown: Shutdown,
}

impl fmt::Debug for PublisherService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherService").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Serves `replicas` to those whom `admission` lets in, and notes in `subscribers` what they say. Streams end at
/// `shutdown`. The caller is who its client certificate says: serve this behind
/// [`Listener`](hanse_transport::Listener) with mutual TLS.
pub fn publisher_service(
    replicas: Replicas,
    admission: Arc<dyn Admission>,
    freshness: watch::Receiver<Freshness>,
    subscribers: Subscribers,
    name: String,
    shutdown: Shutdown,
) -> SyncServer<PublisherService> {
    let service = PublisherService { replicas, admission, freshness, subscribers, name, shutdown };
    SyncServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

#[tonic::async_trait]
impl SyncService for PublisherService {
    type SubscribeStream = ReceiverStream<Result<PublisherMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscriberMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let Caller { identity, keys, address } = caller(&request)?;
        let (outbound, messages) = mpsc::channel(OUTBOUND);
        let span = info_span!("publish", subscriber = %identity, %address);
        let stream = Stream {
            service: self.clone(),
            identity,
            keys,
            number: 0,
            session: PublisherSession::new(self.name.clone()),
            pending: VecDeque::new(),
        };
        tokio::spawn(stream.run(request.into_inner(), outbound).instrument(span));
        Ok(Response::new(ReceiverStream::new(messages)))
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

/// One subscriber's stream.
struct Stream {
    service: PublisherService,
    identity: Identity,
    keys: Arc<PeerKeys>,
    /// Among the streams of this process.
    number: u64,
    session: PublisherSession,
    /// Worked out and not yet accepted by the connection. Nothing is worked out while something is here: that is what
    /// makes a slow subscriber coalesce.
    pending: VecDeque<PublisherMessage>,
}

impl Stream {
    async fn run(
        mut self,
        inbound: Streaming<SubscriberMessage>,
        outbound: mpsc::Sender<Result<PublisherMessage, Status>>,
    ) {
        self.number = self.service.subscribers.arrived(&self.identity, Instant::now());
        match self.serve(inbound, &outbound).await {
            Ok(()) => debug!("the subscriber ended its stream"),
            Err(status) => {
                debug!(code = ?status.code(), message = status.message(), "the stream ends");
                // Where there is no room the connection is gone or stuck, and nobody would read it.
                let _ = outbound.try_send(Err(status));
            }
        }
        self.service.subscribers.left(&self.identity, self.number);
    }

    async fn serve(
        &mut self,
        mut inbound: Streaming<SubscriberMessage>,
        outbound: &mpsc::Sender<Result<PublisherMessage, Status>>,
    ) -> Result<(), Status> {
        let shutdown = self.service.shutdown.clone();
        let shutdown = shutdown.wait();
        tokio::pin!(shutdown);
        let mut replicas = self.service.replicas.subscribe();
        let mut admission = self.service.admission.changed();
        self.admit();
        loop {
            if self.pending.is_empty() {
                self.work_out();
            }
            let idle = self.pending.is_empty();
            let due = self.session.next_due();
            tokio::select! {
                () = &mut shutdown => return Err(Status::unavailable("this publisher stops")),
                message = inbound.message() => match message? {
                    Some(message) => self.take_in(message)?,
                    None => return Ok(()),
                },
                permit = outbound.reserve(), if !idle => match (permit, self.pending.pop_front()) {
                    (Ok(permit), Some(message)) => permit.send(Ok(message)),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Ok(()),
                },
                () = outbound.closed(), if idle => return Ok(()),
                () = fires(&mut replicas), if idle => {}
                () = at(due), if idle => {}
                () = fires(&mut admission) => self.admit(),
            }
        }
    }

    /// Asks what the subscriber may have, and forgets what it acknowledged of anything else, and what waits to be sent of it.
    ///
    /// What is new goes before parts of transfers that wait already: a revocation must not wait for them. It goes after
    /// refusals: one that came after a Welcome would be taken for an answer to it.
    fn admit(&mut self) {
        let Offer { scopes, as_of } = self.service.admission.offer_to(&self.identity, &self.keys);
        self.service.subscribers.heard_of(&self.identity, self.number, |record| {
            let before = record.scopes.len();
            record.scopes.retain(|scope, _| scopes.contains(scope));
            record.scopes.len() != before
        });
        self.pending.retain(|message| {
            scope_of(message).is_none_or(|scope| scopes.iter().any(|offered| offered.to_string() == scope))
        });
        self.session.admit(scopes, as_of);
        self.session.revoke(self.service.admission.revoked_for(&self.identity));
        self.session.trust(self.service.admission.roots());
        if let Some(welcome) = self.session.welcome() {
            put_before_parts(&mut self.pending, welcome);
        }
    }

    /// Works out what to send next.
    fn work_out(&mut self) {
        let freshness = *self.service.freshness.borrow();
        let messages =
            self.service.replicas.read(|replicas| self.session.next(replicas, freshness, Instant::now()));
        let metrics = self.service.replicas.metrics();
        for message in &messages {
            match &message.body {
                Some(Body::Begin(begin)) if begin.kind() == Kind::Snapshot => {
                    info!(scope = begin.scope, reason = begin.reason, "sending a snapshot");
                    metrics.snapshots_sent.get_or_create(&Reason::new(&begin.reason)).inc();
                }
                Some(Body::Begin(_)) => {
                    metrics.deltas_sent.inc();
                }
                Some(Body::Bookmark(_)) => {
                    metrics.bookmarks_sent.inc();
                }
                Some(
                    Body::Welcome(_) | Body::Chunk(_) | Body::End(_) | Body::Behind(_) | Body::Refused(_),
                )
                | None => {}
            }
        }
        self.pending.extend(messages);
    }

    fn take_in(&mut self, message: SubscriberMessage) -> Result<(), Status> {
        let received =
            self.session.handle(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
        match &received {
            Received::Introduced { software } => debug!(software, "introduced"),
            Received::Subscribed { scope, position } => {
                let position = position.map(|position| position.to_string());
                debug!(%scope, position, "subscribed");
            }
            Received::Refused { scope } => info!(scope, "asked for a scope it may not have"),
            Received::Acked { .. } | Received::Reported(_) | Received::Left(_) => {}
        }
        if let Received::Acked { scope, effective: Some(position), quarantine, .. } = &received
            && self.session.scopes().any(|subscribed| subscribed == scope)
        {
            // What a gateway uses, another can: until then the version before is kept for those that come anew.
            self.service.replicas.confirm(scope, position, quarantine);
        }
        let subscribed: BTreeSet<_> = self.session.scopes().cloned().collect();
        let now = Instant::now();
        self.service
            .subscribers
            .heard(&self.identity, self.number, now, |record| note(record, received, &subscribed, now));
        Ok(())
    }
}

/// Puts a Welcome before parts of transfers, in place of one that was not sent yet and offers the same: where nobody reads, they must
/// not pile up. One that offers something else stays, for what is withdrawn and offered again must be seen to go.
fn put_before_parts(pending: &mut VecDeque<PublisherMessage>, welcome: PublisherMessage) {
    let offers = |message: &PublisherMessage| match &message.body {
        Some(Body::Welcome(welcome)) => Some(welcome.scopes.clone()),
        _ => None,
    };
    let unsent = pending.iter().rposition(|message| offers(message).is_some());
    if let Some(unsent) = unsent.filter(|unsent| offers(&pending[*unsent]) == offers(&welcome)) {
        pending.remove(unsent);
    }
    let first_part = pending.iter().position(|message| scope_of(message).is_some());
    pending.insert(first_part.unwrap_or(pending.len()), welcome);
}

/// The scope that a message carries content of or speaks for; a Welcome and a refusal do neither.
fn scope_of(message: &PublisherMessage) -> Option<&str> {
    match message.body.as_ref()? {
        Body::Begin(Begin { scope, .. })
        | Body::Chunk(Chunk { scope, .. })
        | Body::End(End { scope, .. })
        | Body::Bookmark(Bookmark { scope, .. })
        | Body::Behind(Behind { scope, .. }) => Some(scope),
        Body::Welcome(_) | Body::Refused(_) => None,
    }
}

/// Notes what a subscriber said. Whether that is news.
fn note(
    record: &mut SubscriberRecord,
    received: Received,
    subscribed: &BTreeSet<ScopeId>,
    now: Instant,
) -> bool {
    // Acknowledgements and reports come after the subscriptions: what an earlier process had subscribed to and this one
    // has not is not missing.
    let forget_others = |record: &mut SubscriberRecord| {
        let before = record.scopes.len();
        record.scopes.retain(|scope, _| subscribed.contains(scope));
        record.scopes.len() != before
    };
    match received {
        Received::Acked { scope, effective, durable, quarantine } => {
            let ack = ScopeAck { effective, durable, quarantine };
            let news = subscribed.contains(&scope) && record.scopes.insert(scope, ack.clone()) != Some(ack);
            forget_others(record) || news
        }
        Received::Reported(report) => {
            let same = record.report.as_ref().is_some_and(|(last, _)| same_but_age(last, &report));
            record.report = Some((report, now));
            forget_others(record) || !same
        }
        Received::Subscribed { scope, .. } => {
            record.scopes.entry(scope).or_default();
            true
        }
        Received::Left(scope) => record.scopes.remove(&scope).is_some(),
        Received::Introduced { .. } | Received::Refused { .. } => false,
    }
}

/// Whether two reports differ at most in when each subscriber was heard.
fn same_but_age(one: &Report, other: &Report) -> bool {
    let facts = |report: &Report| {
        let mut report = report.clone();
        report.subscribers.iter_mut().for_each(|subscriber| subscriber.heard_ms_ago = 0);
        report
    };
    facts(one) == facts(other)
}

/// Returns when the watched value changes; never, once nobody can change it.
pub(crate) async fn fires<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        future::pending::<()>().await;
    }
}

/// Returns at `due`; never, if that is `None`.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::sync::{Refused, Welcome};

    use super::*;

    fn message(body: Body) -> PublisherMessage {
        PublisherMessage { body: Some(body) }
    }

    fn welcome(scope: &str, revoked: &str) -> PublisherMessage {
        let revoked = sync::Revoked { identities: vec![revoked.to_owned()], ..Default::default() };
        message(Body::Welcome(Welcome {
            scopes: vec![scope.to_owned()],
            revoked: Some(revoked),
            ..Default::default()
        }))
    }

    #[test]
    fn a_welcome_that_nobody_reads_gives_way_to_the_next_that_offers_the_same() {
        let refusal = message(Body::Refused(Refused { scope: "b".to_owned(), ..Default::default() }));
        let part = message(Body::Chunk(Chunk { scope: "a".to_owned(), ..Default::default() }));
        let mut pending = VecDeque::from([refusal.clone(), part.clone()]);
        for revoked in ["1", "2", "3"] {
            put_before_parts(&mut pending, welcome("a", revoked));
        }
        assert_eq!(pending, [refusal.clone(), welcome("a", "3"), part.clone()]);
        put_before_parts(&mut pending, welcome("b", "3"));
        put_before_parts(&mut pending, welcome("a", "3"));
        assert_eq!(pending, [refusal, welcome("a", "3"), welcome("b", "3"), welcome("a", "3"), part]);
    }
}
