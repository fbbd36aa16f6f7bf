//! One stream to one publisher, around a [`SubscriberSession`].

use std::{
    collections::VecDeque,
    fmt,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_proto::sync::{
    PublisherMessage, SubscriberMessage, neighbours_client::NeighboursClient, subscriber_message::Body,
    sync_client::SyncClient,
};
use hanse_sync::{Effect, Freshness, Prepared, Standing, SubscriberSession};
use hanse_topology::{Position, ScopeId};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use tracing::{debug, error, info, warn};

use super::{
    EffectiveSource, Service, SubscriberTask,
    acks::{Acks, PROOF_OF_LIFE},
    rota::Rota,
};
use crate::{MAX_MESSAGE_BYTES, Reason, ScopeAck, publisher::fires, traffic::if_news};

/// How long a publisher may take to accept a stream, once connected.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often time is looked at: stalls, acknowledgements and reports are exact to this.
const TICK: Duration = Duration::from_millis(100);
/// Messages that wait for the connection; they are small.
const OUTBOUND: usize = 16;
/// Least time between two reports: four a second.
const REPORT_SPACING: Duration = Duration::from_millis(250);

const SOFTWARE: &str = concat!("hanse ", env!("CARGO_PKG_VERSION"));

/// Why a link ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// No stream came about.
    Unreachable(String),
    /// The stream broke.
    Lost(String),
    /// What the publisher sent, or did not send, makes it useless.
    Refused(String),
    /// Another process with this node's identity took its place.
    Superseded,
    /// Another publisher may be better than one of which this is to be thought.
    Better { standing: Standing, freshness: Option<Freshness>, next: String },
    /// The publisher is no longer among those configured.
    NotListed,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) | Self::Lost(reason) | Self::Refused(reason) => f.write_str(reason),
            Self::Better { standing, .. } => write!(f, "left for another: {}", standing.as_str()),
            Self::Superseded => f.write_str("another process with this node's identity took its place"),
            Self::NotListed => f.write_str("no longer configured"),
        }
    }
}

pub(super) struct Link<'a> {
    task: &'a mut SubscriberTask,
    address: &'a str,
    session: SubscriberSession,
    inbound: Streaming<PublisherMessage>,
    outbound: mpsc::Sender<SubscriberMessage>,
    /// To be sent when there is room. Acknowledgements and reports are made only when this is empty.
    pending: VecDeque<SubscriberMessage>,
    acks: Acks,
    reported: Option<Instant>,
    report_asked: bool,
    /// The traffic that was said last. It is said again when it changes: every 10 s, while reports go every second.
    traffic_said: Option<Bytes>,
}

impl<'a> Link<'a> {
    pub(super) async fn open(
        task: &'a mut SubscriberTask,
        address: &'a str,
        channel: Channel,
    ) -> Result<Self, Status> {
        let (outbound, requests) = mpsc::channel(OUTBOUND);
        let requests = ReceiverStream::new(requests);
        let service = task.options.service;
        let opening = async {
            match service {
                Service::Sync => {
                    let client = SyncClient::new(channel);
                    client.max_decoding_message_size(MAX_MESSAGE_BYTES).subscribe(requests).await
                }
                Service::Neighbours => {
                    let client = NeighboursClient::new(channel);
                    client.max_decoding_message_size(MAX_MESSAGE_BYTES).subscribe(requests).await
                }
            }
        };
        let opened = timeout(OPEN_TIMEOUT, opening).await;
        let inbound = opened.map_err(|_| Status::deadline_exceeded("no stream within 5 s"))??.into_inner();
        task.replicas.metrics().connections.inc();
        let wanted = task.options.wanted.clone();
        let (session, effects) =
            SubscriberSession::start(wanted, SOFTWARE, task.boot, task.patience, Instant::now());
        let session = session.judging(task.heads.clone());
        let mut link = Self {
            task,
            address,
            session,
            inbound,
            outbound,
            pending: VecDeque::new(),
            acks: Acks::default(),
            reported: None,
            report_asked: true,
            traffic_said: None,
        };
        debug!(publisher = address, identity = %link.task.options.identity, "connected");
        for effect in effects {
            // A session starts by introducing itself, which cannot end it.
            let _ = link.carry_out(effect);
        }
        Ok(link)
    }

    pub(super) async fn run(mut self, rota: &mut Rota) -> Ended {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = None;
        loop {
            let event = self.next_event(&mut ticks).await;
            self.task.pulse.beat();
            let now = Instant::now();
            let effects = match event {
                Event::Message(Ok(Some(message))) => {
                    self.task.replicas.read(|replicas| self.session.handle(message, replicas, now))
                }
                Event::Message(Ok(None)) => return Ended::Lost("the publisher ended the stream".to_owned()),
                Event::Message(Err(status)) => return Ended::Lost(status.message().to_owned()),
                Event::Closed => return Ended::Lost("the connection is closed".to_owned()),
                Event::Tick => self.task.replicas.read(|replicas| self.session.tick(replicas, now)),
                Event::Moved | Event::Sent => Vec::new(),
                Event::ReportChanged => {
                    self.report_asked = true;
                    Vec::new()
                }
            };
            self.task.patience = self.session.patience();
            for effect in effects {
                if let ControlFlow::Break(ended) = self.carry_out(effect) {
                    return ended;
                }
            }
            self.say_what_is_due(now);
            let standing = self.note_status(now);
            let publishers = self.task.options.publishers.borrow();
            if !publishers.iter().any(|address| address == self.address) {
                return Ended::NotListed;
            }
            let freshness = self.session.freshness();
            if let Some(next) = rota.better_than(self.address, standing, freshness, &publishers, now) {
                return Ended::Better { standing, freshness, next };
            }
            if standing.is_poor() && said != Some(standing) {
                warn!(
                    publisher = self.address,
                    standing = standing.as_str(),
                    "no publisher is known to be better; staying"
                );
            }
            said = Some(standing);
        }
    }

    async fn next_event(&mut self, ticks: &mut tokio::time::Interval) -> Event {
        let task = &mut *self.task;
        tokio::select! {
            message = self.inbound.message() => Event::Message(message),
            permit = self.outbound.reserve(), if !self.pending.is_empty() => {
                match (permit, self.pending.pop_front()) {
                    (Ok(permit), Some(message)) => permit.send(message),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Event::Closed,
                }
                Event::Sent
            }
            () = moved(&mut task.effective) => Event::Moved,
            () = fires_if_any(task.durable.as_mut()) => Event::Moved,
            () = fires_if_any(task.report_changed.as_mut()) => Event::ReportChanged,
            () = fires(&mut task.options.publishers) => Event::Moved,
            _ = ticks.tick() => Event::Tick,
        }
    }

    fn carry_out(&mut self, effect: Effect) -> ControlFlow<Ended> {
        let metrics = self.task.replicas.metrics().clone();
        match effect {
            Effect::Send(message) => self.pending.push_back(message),
            Effect::Advance { scope, change } => {
                if !change.is_empty() {
                    metrics.deltas_applied.inc();
                }
                return self.commit(&scope, change);
            }
            Effect::Replace { scope, change, reason } => {
                info!(%scope, to = %change.to(), reason, "replaced by a snapshot");
                metrics.snapshots_applied.get_or_create(&Reason::new(reason)).inc();
                return self.commit(&scope, change);
            }
            Effect::Places { rows, unread } => {
                if let Some(error) = unread {
                    debug!(publisher = self.address, %error, "a row of places cannot be read; the others count");
                }
                self.task.places.take(rows, Instant::now());
            }
            Effect::Withdraw { scope } => {
                info!(%scope, "the scope exists no more");
                self.task.replicas.remove(&scope);
            }
            Effect::Refused { scope, reason } => warn!(scope, reason, "the publisher refuses a scope"),
            Effect::AskedAgain { scope } => {
                debug!(%scope, "an answer crossed the last Hello; the scope is asked for again");
                metrics.resyncs.inc();
            }
            Effect::Alarm { scope, alarm, resync } => {
                metrics.resyncs.inc_by(u64::from(resync));
                let scope = scope.map(|scope| scope.to_string()).unwrap_or_default();
                error!(publisher = self.address, scope, %alarm, "sync alarm");
                metrics.alarms.get_or_create(&Reason::new(alarm.kind())).inc();
                let said = if scope.is_empty() { alarm.to_string() } else { format!("{scope}: {alarm}") };
                self.task.status.send_modify(|status| status.last_alarm = Some(said));
            }
            Effect::Superseded => return ControlFlow::Break(Ended::Superseded),
            Effect::Disconnect { reason } => return ControlFlow::Break(Ended::Refused(reason)),
        }
        ControlFlow::Continue(())
    }

    fn commit(&mut self, scope: &ScopeId, change: Prepared) -> ControlFlow<Ended> {
        match self.task.replicas.update(scope, |replica| replica.commit(change)) {
            Ok(()) => ControlFlow::Continue(()),
            // Local scopes have other writers too: an Origin that goes takes them away, and a holder publishes.
            Err(error) if scope.is_local() => {
                debug!(%scope, %error, "a local scope was changed meanwhile; it is asked for anew");
                let ask = |replicas: &_| self.session.ask_anew(scope, replicas, Instant::now());
                for effect in self.task.replicas.read(ask) {
                    if let Effect::Send(message) = effect {
                        self.pending.push_back(message);
                    }
                }
                ControlFlow::Continue(())
            }
            // Another writer changed a replica that is this task's.
            Err(error) => ControlFlow::Break(Ended::Refused(format!("{scope}: {error}"))),
        }
    }

    /// Acknowledgements and reports. Nothing while earlier ones wait for the connection: later ones say more.
    fn say_what_is_due(&mut self, now: Instant) {
        if !self.pending.is_empty() || self.session.publisher().is_none() {
            return;
        }
        let acks = self.acks.due(self.positions().into_iter(), now);
        let idle = self.session.scopes().next().is_none();
        self.pending.extend(acks.into_iter().map(|ack| message(Body::Ack(ack))));

        let age = self.reported.map(|at| now.saturating_duration_since(at));
        let asked = self.report_asked && self.task.report.is_some();
        let due = age.is_none_or(|age| age >= PROOF_OF_LIFE || (asked && age >= REPORT_SPACING));
        let report = match &self.task.report {
            Some(make) if due => Some(make()),
            None if due && idle => Some(Default::default()),
            Some(_) | None => None,
        };
        if let Some(mut report) = report {
            report.traffic = if_news(report.traffic, &mut self.traffic_said);
            self.pending.push_back(message(Body::Report(report)));
            self.reported = Some(now);
            self.report_asked = false;
        }
    }

    /// What to acknowledge of each scope subscribed to.
    fn positions(&self) -> Vec<(ScopeId, ScopeAck)> {
        let scopes = self.session.scopes();
        let durable = self.task.durable.as_ref().map(|durable| durable.borrow());
        let durable = |scope: &_| durable.as_ref().and_then(|durable| durable.get(scope).copied());
        match &self.task.effective {
            EffectiveSource::Immediate => self.task.replicas.read(|replicas| {
                let held = |scope: &_| replicas.get(scope).and_then(|replica| replica.position().copied());
                scopes
                    .map(|scope| {
                        let (effective, durable) = (held(scope), durable(scope));
                        (scope.clone(), ScopeAck { effective, durable, ..Default::default() })
                    })
                    .collect()
            }),
            EffectiveSource::Served(served) => {
                let served = served.borrow();
                scopes
                    .map(|scope| {
                        let used = served.get(scope);
                        let effective = used.map(|used| used.position);
                        let quarantine = used.map(|used| used.quarantine.clone()).unwrap_or_default();
                        let ack = ScopeAck { effective, durable: durable(scope), quarantine, said: None };
                        (scope.clone(), ack)
                    })
                    .collect()
            }
        }
    }

    fn note_status(&self, now: Instant) -> Standing {
        let standing = self.session.standing(now);
        let freshness = self.session.freshness();
        if let Some(freshness) = freshness {
            self.task.freshness.send_if_modified(|held| std::mem::replace(held, freshness) != freshness);
        }
        note_news(&self.task.revoked, self.session.revoked());
        note_news(&self.task.roots, self.session.roots());
        self.task.status.send_if_modified(|status| {
            let mut next = status.clone();
            next.connected(self.address, now);
            next.publisher = self.session.publisher().map(str::to_owned);
            next.freshness = freshness.or(status.freshness);
            next.standing = Some(standing);
            if let Some((offered, as_of)) = self.session.offered()
                && supersedes(as_of, status.offered_as_of)
            {
                next.offered.clone_from(offered);
                next.offered_as_of = as_of;
            }
            let changed = next != *status;
            *status = next;
            changed
        });
        standing
    }
}

/// Passes on what a publisher says, where it says something new.
fn note_news<T: Clone + PartialEq>(known: &watch::Sender<Option<T>>, said: Option<&T>) {
    known.send_if_modified(|known| {
        let is_news = said.is_some() && known.as_ref() != said;
        if is_news {
            *known = said.cloned();
        }
        is_news
    });
}

/// Whether an offer made by the state `as_of` replaces the one held. One that does not know this node rests on no state, and
/// one that lags says what was: neither takes back what is offered on.
fn supersedes(as_of: Option<Position>, held: Option<Position>) -> bool {
    match (as_of, held) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(as_of), Some(held)) => as_of.may_follow(&held),
    }
}

/// What happens to a link.
enum Event {
    Message(Result<Option<PublisherMessage>, Status>),
    Closed,
    Sent,
    Tick,
    /// Something to acknowledge may have moved, or the list of publishers.
    Moved,
    ReportChanged,
}

fn message(body: Body) -> SubscriberMessage {
    SubscriberMessage { body: Some(body) }
}

async fn moved(effective: &mut EffectiveSource) {
    match effective {
        EffectiveSource::Immediate => std::future::pending().await,
        EffectiveSource::Served(served) => fires(served).await,
    }
}

async fn fires_if_any<T>(watched: Option<&mut tokio::sync::watch::Receiver<T>>) {
    match watched {
        Some(watched) => fires(watched).await,
        None => std::future::pending().await,
    }
}
