//! One subscriber's stream.

use std::{
    collections::{BTreeSet, VecDeque},
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_identity::PeerKeys;
use hanse_process::sleep_until;
use hanse_proto::sync::{
    Begin, Behind, Bookmark, Chunk, End, PublisherMessage, Report, SubscriberMessage, Superseded,
    begin::Kind, publisher_message::Body,
};
use hanse_sync::{BootId, PublisherSession, Received};
use hanse_topology::{Identity, Role, ScopeId};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Code, Status, Streaming};
use tracing::{debug, error, info};

use super::{PublisherService, fires};
use crate::places::{Learns, PlacesTeller};
use crate::{
    Offer, Reason, SubscriberRecord,
    bounds::ReportSize,
    subscribers::{Arrival, Successor},
};

/// How long a subscriber may take to introduce itself: it does so with its first packet.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(10);
/// How long a stream that is superseded waits for room to say so. A connection that is stuck for longer is most likely dead, and
/// the subscriber at its other end too.
const SAY_SUPERSEDED_WITHIN: Duration = Duration::from_secs(1);

/// One subscriber's stream.
pub(super) struct Stream {
    service: PublisherService,
    identity: Identity,
    keys: Arc<PeerKeys>,
    /// Among the streams of this process, once the subscriber introduced itself: before that the stream counts for nothing.
    number: Option<u64>,
    /// Says that another stream took this one's place.
    successor: Option<oneshot::Receiver<Successor>>,
    session: PublisherSession,
    /// What the subscriber is told of places.
    places: Option<PlacesTeller>,
    /// Worked out and not yet accepted by the connection. Nothing is worked out while something is here: that is what
    /// makes a slow subscriber coalesce.
    pending: VecDeque<PublisherMessage>,
}

impl Stream {
    pub(super) fn new(service: PublisherService, identity: Identity, keys: Arc<PeerKeys>) -> Self {
        let session = PublisherSession::new(service.name.clone());
        let places = service.places.clone().map(PlacesTeller::new);
        let (number, successor, pending) = (None, None, VecDeque::new());
        Self { service, identity, keys, number, successor, session, places, pending }
    }

    pub(super) async fn run(
        mut self,
        inbound: Streaming<SubscriberMessage>,
        outbound: mpsc::Sender<Result<PublisherMessage, Status>>,
    ) {
        match self.serve(inbound, &outbound).await {
            Ok(()) => debug!("the subscriber ended its stream"),
            Err(status) => {
                debug!(code = ?status.code(), message = status.message(), "the stream ends");
                // Where there is no room the connection is gone or stuck, and no subscriber would read it.
                let _ = outbound.try_send(Err(status));
            }
        }
        if let Some(number) = self.number {
            self.service.subscribers.left(&self.identity, number);
        }
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
        let mut places = self.places.as_ref().map(PlacesTeller::changed);
        let introduced_by = Instant::now() + INTRODUCED_WITHIN;
        self.admit()?;
        loop {
            if self.pending.is_empty() {
                self.work_out();
            }
            let idle = self.pending.is_empty();
            let due = [self.session.next_due(), self.places_due()].into_iter().flatten().min();
            tokio::select! {
                () = &mut shutdown => return Err(Status::unavailable("this publisher stops")),
                successor = superseded(&mut self.successor) => return Err(self.give_way(successor, outbound).await),
                message = inbound.message() => match message {
                    Ok(Some(message)) => self.take_in(message)?,
                    Ok(None) => return Ok(()),
                    Err(status) => return Err(self.unreadable(status)),
                },
                () = sleep_until(Some(introduced_by)), if self.number.is_none() => {
                    return Err(Status::deadline_exceeded("the subscriber has not introduced itself within 10 s"));
                }
                permit = outbound.reserve(), if !idle => match (permit, self.pending.pop_front()) {
                    (Ok(permit), Some(message)) => permit.send(Ok(message)),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Ok(()),
                },
                () = outbound.closed(), if idle => return Ok(()),
                () = fires(&mut replicas), if idle => {}
                () = sleep_until(due), if idle => {}
                () = fires_if_any(&mut places), if idle => {}
                () = fires(&mut admission) => self.admit()?,
            }
        }
    }

    /// Asks what the subscriber may have, and forgets what it acknowledged of anything else, and what waits to be sent of it.
    ///
    /// What is new goes before parts of transfers that wait already: a revocation must not wait for them. It goes after
    /// refusals: one that came after a Welcome would be taken for an answer to it.
    ///
    /// Fails when the subscriber is not known any more: then nothing counts that it says from now on.
    fn admit(&mut self) -> Result<(), Status> {
        let Offer { scopes, as_of } = self.service.offer_to(&self.identity, &self.keys)?;
        if let Some(number) = self.number {
            self.service.subscribers.heard_of(&self.identity, number, |record| {
                let before = record.scopes.len();
                record.scopes.retain(|scope, _| scopes.contains(scope));
                record.scopes.len() != before
            });
        }
        self.pending.retain(|message| {
            scope_of(message).is_none_or(|scope| scopes.iter().any(|offered| offered.to_string() == scope))
        });
        if let Some(places) = &mut self.places {
            places.limit(Learns::of(&scopes));
        }
        self.session.admit(scopes, as_of);
        self.session.revoke(self.service.admission.revoked_for(&self.identity));
        self.session.trust(self.service.admission.roots());
        if let Some(welcome) = self.session.welcome() {
            put_before_parts(&mut self.pending, welcome);
        }
        Ok(())
    }

    /// The stream counts from now on, and an earlier one of this identity ends.
    fn introduced(&mut self, boot: Option<BootId>) -> Result<(), Status> {
        let Arrival { number, successor, twins } =
            self.service.subscribers.arrived(&self.identity, boot, Instant::now());
        self.number = Some(number);
        self.successor = Some(successor);
        if twins {
            error!(
                "two processes with this identity take turns: its data directory was copied; stop one of them, remove its data \
                 directory, and let it join under a name of its own"
            );
            self.service.replicas.metrics().duplicates.inc();
        }
        self.admit()
    }

    /// Says that another stream took this one's place. A subscriber that is another process than the present one is told to stay
    /// away for a while, or the two would end each other's streams without end.
    async fn give_way(
        &mut self,
        successor: Successor,
        outbound: &mpsc::Sender<Result<PublisherMessage, Status>>,
    ) -> Status {
        match successor {
            Successor::SameProcess => Status::aborted("superseded by a newer stream of this subscriber"),
            Successor::AnotherProcess => {
                info!("superseded by another process with this identity");
                self.service.refused("superseded");
                let message = PublisherMessage { body: Some(Body::Superseded(Superseded {})) };
                // Where there is no room the connection is stuck, and no subscriber would read it.
                let _ = outbound.send_timeout(Ok(message), SAY_SUPERSEDED_WITHIN).await;
                Status::aborted("superseded by another process with this subscriber's identity")
            }
        }
    }

    /// Why nothing more is read: where a message is larger than it may be, in words that say so.
    fn unreadable(&self, status: Status) -> Status {
        if status.code() != Code::OutOfRange {
            return status;
        }
        self.service.refused("message too large");
        Status::resource_exhausted(format!("a message of this subscriber is too large: {}", status.message()))
    }

    /// Works out what to send next.
    fn work_out(&mut self) {
        let now = Instant::now();
        if let Some(places) = self.places.as_mut().filter(|_| self.session.takes_places()) {
            // First: their ages are as of now.
            self.pending.extend(
                places
                    .next(now)
                    .into_iter()
                    .map(|places| PublisherMessage { body: Some(Body::Places(places)) }),
            );
        }
        let freshness = *self.service.freshness.borrow();
        let messages = self.service.replicas.read(|replicas| self.session.next(replicas, freshness, now));
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
                    Body::Welcome(_)
                    | Body::Chunk(_)
                    | Body::End(_)
                    | Body::Behind(_)
                    | Body::Refused(_)
                    | Body::Superseded(_)
                    | Body::Places(_),
                )
                | None => {}
            }
        }
        self.pending.extend(messages);
    }

    /// When places are to be repeated.
    fn places_due(&self) -> Option<Instant> {
        self.places.as_ref().filter(|_| self.session.takes_places()).and_then(PlacesTeller::due)
    }

    fn take_in(&mut self, message: SubscriberMessage) -> Result<(), Status> {
        let received =
            self.session.handle(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
        match &received {
            Received::Introduced { software, boot } => {
                debug!(software, ?boot, "introduced");
                self.introduced(*boot)?;
            }
            Received::Subscribed { scope, position, head, met } => {
                let position = position.map(|position| position.to_string());
                debug!(%scope, position, "subscribed");
                for head in head.iter().chain(met) {
                    self.service.admission.note_head(scope, head);
                }
            }
            Received::Refused { scope } => info!(scope, "asked for a scope it may not have"),
            Received::Reported(report) => self.check_size(report)?,
            Received::Acked { .. } | Received::Left(_) => {}
        }
        // Another agent acknowledges what it holds, whether or not a gateway can use it.
        if let Received::Acked { scope, ack } = &received
            && self.identity.role.admitted_by() == Role::Agent
            && let Some(position) = &ack.effective
            && self.session.scopes().any(|subscribed| subscribed == scope)
            && let Some(but) = ack.quarantine.exceptions()
        {
            // One consumer that uses a version is enough. Until then the replica holds the version before for consumers that join.
            self.service.replicas.confirm(scope, position, &but);
        }
        let subscribed: BTreeSet<_> = self.session.scopes().cloned().collect();
        let now = Instant::now();
        if let Some(number) = self.number {
            self.service
                .subscribers
                .heard(&self.identity, number, now, |record| note(record, received, &subscribed, now));
        }
        Ok(())
    }

    /// A report is kept and passed on as received, so it is taken whole or not at all.
    fn check_size(&self, report: &Report) -> Result<(), Status> {
        let size = ReportSize::of(report).map_err(|error| Status::invalid_argument(error.to_string()))?;
        size.check(self.identity.role).map_err(|error| {
            self.service.refused("report too large");
            Status::resource_exhausted(error.to_string())
        })
    }
}

/// Puts a Welcome before parts of transfers, in place of one that was not sent yet and offers the same: where the subscriber
/// does not read, they must not pile up. One that offers something else stays, for what is withdrawn and offered again must be seen to go.
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

/// The scope that a message carries content of or speaks for; a Welcome and a refusal, for example, do neither.
fn scope_of(message: &PublisherMessage) -> Option<&str> {
    match message.body.as_ref()? {
        Body::Begin(Begin { scope, .. })
        | Body::Chunk(Chunk { scope, .. })
        | Body::End(End { scope, .. })
        | Body::Bookmark(Bookmark { scope, .. })
        | Body::Behind(Behind { scope, .. }) => Some(scope),
        Body::Welcome(_) | Body::Refused(_) | Body::Superseded(_) | Body::Places(_) => None,
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
        Received::Acked { scope, ack } => {
            let news = subscribed.contains(&scope) && record.scopes.insert(scope, ack.clone()) != Some(ack);
            forget_others(record) || news
        }
        Received::Reported(report) => {
            // Copied: what is kept must not keep the buffer it came in. Only agents speak of others.
            let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
            let speaks_of_others = record.identity.role == Role::Agent;
            let below = if speaks_of_others { copied(&report.below) } else { Bytes::new() };
            let facts = copied(&report.facts);
            let traffic = match &report.traffic {
                Some(traffic) => Some(copied(traffic)),
                None => record.report.as_ref().and_then(|(last, _)| last.traffic.clone()),
            };
            let report = Report { facts, below, traffic };
            // Ages are part of it: a report about others differs each time. Traffic is none: it is summed now and then.
            let is_same = |last: &Report| (&last.facts, &last.below) == (&report.facts, &report.below);
            let news = record.report.as_ref().is_none_or(|(last, _)| !is_same(last));
            record.report = Some((report, now));
            forget_others(record) || news
        }
        Received::Subscribed { scope, .. } => {
            record.scopes.entry(scope).or_default();
            true
        }
        Received::Left(scope) => record.scopes.remove(&scope).is_some(),
        Received::Introduced { .. } | Received::Refused { .. } => false,
    }
}

/// Returns when another stream took this one's place; never, while there is none to wait for.
async fn superseded(successor: &mut Option<oneshot::Receiver<Successor>>) -> Successor {
    if let Some(receiver) = successor {
        let came = receiver.await;
        *successor = None;
        if let Ok(came) = came {
            return came;
        }
    }
    future::pending().await
}

/// Returns when the watched value changes; never, while there is none.
async fn fires_if_any<T>(watched: &mut Option<watch::Receiver<T>>) {
    match watched {
        Some(watched) => fires(watched).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::sync::{self, Refused, Welcome};

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
