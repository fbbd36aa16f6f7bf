//! One stream: the two sessions, and what is on its way between them.

use std::collections::VecDeque;

use hanse_proto::sync::{
    Hello, Introduction, PublisherMessage, SubscriberMessage, publisher_message, subscriber_message,
};
use hanse_sync::{BootId, Effect, Freshness, Patience, PublisherSession, SubscriberSession, Wanted};

use super::{
    control::Offer,
    truth::{Known, Truth},
    *,
};

/// How often a subscriber looks at the time, as processes do.
const TICK: Duration = Duration::from_millis(100);
/// Messages on their way before a publisher waits.
const WINDOW: usize = 6;
/// The subscriber follows the control plane's scopes that its publisher has had for so long: more than a second, after which a
/// publisher says each position again, and the longest way.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);

/// Subscriber and publisher.
pub(super) type Pair = (usize, usize);

pub(super) struct Stream {
    pub(super) publishing: PublisherSession,
    pub(super) subscribing: SubscriberSession,
    /// What the subscriber fills.
    pub(super) hub: Replicas,
    /// How long every message takes.
    pub(super) delay: Duration,
    /// Until then nothing arrives.
    pub(super) held_until: Instant,
    /// Something was held back for a while, so silence is no fault.
    pub(super) was_held: bool,
    /// What the publisher sent was forged, or what the subscriber said was a lie.
    pub(super) was_forged: bool,
    /// What was replayed to the subscriber.
    replayed: Vec<(ScopeId, Replica)>,
    /// What the subscriber knew of Origins when it judged what came last.
    pub(super) judged_by: Arc<Known>,
    down: VecDeque<(Instant, PublisherMessage)>,
    up: VecDeque<(Instant, SubscriberMessage)>,
    ticked: Instant,
    offered: Option<Offer>,
    published: Option<u64>,
    /// Where the publisher stood in the control plane's scopes, and when.
    expects: Option<(Instant, Option<u64>)>,
}

impl Stream {
    /// A stream that begins, and what the subscriber does first.
    pub(super) fn open(
        wanted: Wanted,
        heads: Arc<dyn Heads>,
        hub: Replicas,
        delay: Duration,
        now: Instant,
    ) -> (Self, Vec<Effect>) {
        let boot = BootId::new([1; 16]);
        let (subscribing, effects) =
            SubscriberSession::start(wanted, "world", boot, Patience::default(), now);
        let (down, up, was_held, was_forged, replayed, judged_by) = Default::default();
        let stream = Self {
            publishing: PublisherSession::new("world".to_owned()),
            subscribing: subscribing.judging(heads),
            hub,
            delay,
            held_until: now,
            was_held,
            was_forged,
            replayed,
            judged_by,
            down,
            up,
            ticked: now,
            offered: None,
            published: None,
            expects: None,
        };
        (stream, effects)
    }

    /// Says what the subscriber may have, at once, as the publisher's task does.
    pub(super) fn admit(&mut self, offer: Offer, now: Instant) {
        if self.offered.as_ref() != Some(&offer) {
            self.publishing.admit(offer.0.iter().cloned(), offer.1);
            self.down.extend(self.publishing.welcome().map(|welcome| (now + self.delay, welcome)));
            (self.offered, self.published) = (Some(offer), None);
        }
    }

    /// The publisher, whose hub has this version, works out what to send.
    pub(super) fn publish(&mut self, version: u64, map: &ReplicaMap, now: Instant) {
        let is_due = self.publishing.next_due().is_some_and(|due| due <= now);
        if self.published == Some(version) && !is_due {
            return;
        }
        let freshness = Freshness { confirmed_at: now, quorum: true };
        while self.down.len() < WINDOW {
            let messages = self.publishing.next(map, freshness, now);
            if messages.is_empty() {
                self.published = Some(version);
                return;
            }
            let arrives = now + self.delay;
            self.down.extend(messages.into_iter().map(|message| (arrives, message)));
        }
        self.published = None;
    }

    /// The publisher sends a transfer that it caught before. What the subscriber holds does not count.
    pub(super) fn replay(&mut self, scope: &ScopeId, caught: &Replica, now: Instant) {
        self.was_forged = true;
        let arrives = now + self.delay;
        self.down.extend(transfer(scope, caught, now).into_iter().map(|message| (arrives, message)));
        self.replayed.push((scope.clone(), caught.clone()));
    }

    /// A bug: the subscriber takes a head that was replayed and has come, though what it holds speaks against this. Whether it did.
    pub(super) fn take_replayed(&self, origin: usize, offered: &Position, truth: &Truth) -> bool {
        let scope = local(origin);
        let is_offered = |caught: &Replica| caught.position().is_some_and(|at| at.is(offered));
        let is_it = |(of, caught): &&(ScopeId, Replica)| {
            of == scope && is_offered(caught) && truth.check(origin, caught).is_ok()
        };
        let Some((_, caught)) = self.replayed.iter().find(is_it) else { return false };
        let signature = caught.signature().expect("a holder published it").clone();
        self.hub.update(scope, |replica| {
            let change = replica.prepare_afresh(*offered, caught.content());
            replica.commit(change.signed(signature)).expect("nothing moves it meanwhile");
        });
        true
    }

    /// Has the publisher look again.
    pub(super) fn wake(&mut self) {
        self.published = None;
    }

    pub(super) fn say(&mut self, message: SubscriberMessage, now: Instant) {
        self.up.push_back((now + self.delay, message));
    }

    pub(super) fn next_up(&mut self, now: Instant) -> Option<SubscriberMessage> {
        let is_held = now < self.held_until;
        self.up.pop_front_if(|(arrives, _)| !is_held && *arrives <= now).map(|(_, message)| message)
    }

    pub(super) fn next_down(&mut self, now: Instant) -> Option<PublisherMessage> {
        let is_held = now < self.held_until;
        self.down.pop_front_if(|(arrives, _)| !is_held && *arrives <= now).map(|(_, message)| message)
    }

    /// What the subscriber does because of the time.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        if now.saturating_duration_since(self.ticked) < TICK {
            return Vec::new();
        }
        self.ticked = now;
        self.hub.read(|map| self.subscribing.tick(map, now))
    }

    /// The subscriber keeps up in the control plane's scopes, whatever comes of a local one.
    pub(super) fn check_progress(&mut self, publisher: &Replicas, now: Instant) -> Result<(), String> {
        let revision = |hub: &Replicas| {
            let of = |map: &ReplicaMap, origin| Some(map.get(runtime_of(origin))?.position()?.revision);
            hub.read(|map| (0..ORIGINS).map(|origin| of(map, origin).unwrap_or_default()).min())
        };
        if now < self.held_until {
            self.expects = None;
            return Ok(());
        }
        match self.expects {
            Some((since, expected)) if now.saturating_duration_since(since) > FOLLOWS_WITHIN => {
                self.expects = None;
                match revision(&self.hub) {
                    follows if follows >= expected => Ok(()),
                    stalls => Err(format!(
                        "stays at revision {stalls:?} of a runtime scope, and its publisher has had {expected:?} \
                         for {FOLLOWS_WITHIN:?}"
                    )),
                }
            }
            Some(_) => Ok(()),
            None => {
                self.expects = Some((now, revision(publisher)));
                Ok(())
            }
        }
    }
}

/// What a subscriber got that held nothing of a scope.
fn transfer(scope: &ScopeId, replica: &Replica, now: Instant) -> Vec<PublisherMessage> {
    use subscriber_message::Body;
    let mut session = PublisherSession::new("world".to_owned());
    session.admit([scope.clone()], None);
    let introduction = Introduction { boot_id: vec![1; 16].into(), ..Introduction::default() };
    let hello = Hello { scope: scope.to_string(), ..Hello::default() };
    for body in [Body::Introduction(introduction), Body::Hello(hello)] {
        session.handle(SubscriberMessage { body: Some(body) }).unwrap();
    }
    let map = ReplicaMap::from([(scope.clone(), replica.clone())]);
    let freshness = Freshness { confirmed_at: now, quorum: true };
    let next = || Some(session.next(&map, freshness, now)).filter(|messages| !messages.is_empty());
    let is_of_transfer = |message: &PublisherMessage| match &message.body {
        Some(
            publisher_message::Body::Begin(_)
            | publisher_message::Body::Chunk(_)
            | publisher_message::Body::End(_),
        ) => true,
        Some(
            publisher_message::Body::Welcome(_)
            | publisher_message::Body::Refused(_)
            | publisher_message::Body::Superseded(_)
            | publisher_message::Body::Bookmark(_)
            | publisher_message::Body::Behind(_)
            | publisher_message::Body::Places(_),
        )
        | None => false,
    };
    std::iter::from_fn(next).flatten().filter(is_of_transfer).collect()
}
