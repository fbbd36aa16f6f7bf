//! The subscriber's side of one stream.

mod alarm;
mod patience;
mod subscription;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_proto::{
    InvalidMessage,
    places::{self, PLACES, Place},
    sync::{self, HeadSignature, PublisherMessage, SubscriberMessage, publisher_message, subscriber_message},
};
use hanse_topology::{Name, Position, ScopeId};

use crate::{
    BootId, FEATURES, Freshness, Heads, NoHeads, Prepared, Replica, ReplicaMap, Revoked, TrustedRoots,
};

pub use alarm::Alarm;
pub use patience::Patience;
use patience::STALL;
use subscription::{Fault, Subscription};
use telling::Telling;

/// A publisher whose confirmation of the leader is older than this is left for a better one.
const AS_OF_LIMIT: Duration = Duration::from_secs(5);
/// How long a publisher may be behind before a better one is sought: a node that just started catches up in that time.
const BEHIND_LIMIT: Duration = Duration::from_secs(5);
/// How long a publisher may offer nothing before another is asked.
const NOTHING_OFFERED_LIMIT: Duration = Duration::from_secs(30);
/// Failed transfers of one scope on one connection before the publisher is left: it would send the same again.
const MAX_RESYNCS: u32 = 3;
/// Between a refusal and the next Hello for a scope that is offered: the offer and the Hello crossed, so the next one
/// should do; if it does not, this is how often a confused publisher is asked.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// How long a publisher is not asked for a local scope after it sent one that is not believed: it would send the same again. The
/// scope is asked for earlier when the Origin that names the holder has arrived. A head that no holder signed is an alarm only
/// after as long.
const DISBELIEF_PAUSE: Duration = Duration::from_secs(30);

/// The scopes a subscriber asks for among those it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    All,
    /// Those of these environments, and those that have none.
    Environments(Vec<Name>),
    /// The local ones alone, from a neighbour. Nothing that the control plane says is learnt from one.
    Local,
}

impl Wanted {
    /// Whether it asks for `scope`.
    pub fn covers(&self, scope: &ScopeId) -> bool {
        match self {
            Self::All => true,
            Self::Environments(wanted) => {
                scope.environment().is_none_or(|environment| wanted.contains(environment))
            }
            Self::Local => scope.is_local(),
        }
    }
}

/// What a subscriber's session asks of its shell, to be done in order and before the next message is taken in.
#[derive(Debug)]
pub enum Effect {
    /// Send this.
    Send(SubscriberMessage),
    /// Put a delta, or with an empty one a mere position, in force: [`Replica::commit`](crate::Replica::commit).
    Advance {
        /// Of this scope.
        scope: ScopeId,
        /// The change; its root was compared with the publisher's.
        change: Prepared,
    },
    /// Put a snapshot in force, likewise.
    Replace {
        /// Of this scope.
        scope: ScopeId,
        /// The change; its root was compared with the publisher's.
        change: Prepared,
        /// Why the publisher sent no delta.
        reason: String,
    },
    /// The scope exists no more: drop its replica.
    Withdraw {
        /// The scope.
        scope: ScopeId,
    },
    /// The publisher does not serve the scope. Keep its replica. If it is among those offered, it is asked for again.
    Refused {
        /// The scope, as it was asked for.
        scope: String,
        /// What the publisher says.
        reason: String,
    },
    /// Count this: the scope is asked for again, and no node did wrong. The Hello is an effect of its own.
    AskedAgain {
        /// The scope.
        scope: ScopeId,
    },
    /// Take in where regions are reached.
    Places {
        /// The rows that could be read.
        rows: Vec<Place>,
        /// Why the first of the others could not.
        unread: Option<InvalidMessage>,
    },
    /// Something is wrong that an operator should know of.
    Alarm {
        /// With this scope; `None`: with the publisher as such.
        scope: Option<ScopeId>,
        /// What.
        alarm: Alarm,
        /// Whether the scope is asked for again because of it.
        resync: bool,
    },
    /// End the stream: another process that has this node's identity took its place. Stay away from this publisher for a while.
    Superseded,
    /// End the stream and try again, elsewhere if possible.
    Disconnect {
        /// Why.
        reason: String,
    },
}

/// What to think of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not said enough yet.
    Waiting,
    /// It is fresh and has a quorum.
    Good,
    /// It last confirmed contact with the leader more than 5 s ago.
    Stale,
    /// Its leader has no quorum.
    NoQuorum,
    /// It has been behind this subscriber for 5 s.
    Behind,
    /// It has offered nothing this subscriber wants for 30 s.
    OffersNothing,
}

impl Standing {
    /// Whether another publisher may be better.
    pub fn is_poor(self) -> bool {
        match self {
            Self::Waiting | Self::Good => false,
            Self::Stale | Self::NoQuorum | Self::Behind | Self::OffersNothing => true,
        }
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Good => "good",
            Self::Stale => "stale",
            Self::NoQuorum => "no quorum",
            Self::Behind => "behind",
            Self::OffersNothing => "offers nothing",
        }
    }
}

/// The subscriber's side of one stream. Replicas stay with the shell, which lends them for reading and alone changes them,
/// as the effects say.
#[derive(Debug)]
pub struct SubscriberSession {
    wanted: Wanted,
    welcome: Option<Welcomed>,
    subscriptions: BTreeMap<ScopeId, Subscription>,
    /// Scopes that were asked for on this stream. Another Hello may cross what answers the one before, also where the publisher withdrew
    /// the scope in between. A publisher that answers the first Hello twice has no such excuse.
    asked: BTreeSet<ScopeId>,
    /// What this publisher is told of local scopes.
    telling: BTreeMap<ScopeId, Telling>,
    freshness: Option<Freshness>,
    started: Instant,
    /// When the last part of any transfer came: transfers of other scopes excuse silence, they share the stream.
    last_chunk: Option<Instant>,
    /// Scopes that were refused though they are offered, and when to ask again.
    refused: BTreeMap<ScopeId, Instant>,
    /// Judges heads of local scopes.
    heads: Arc<dyn Heads>,
    /// Local scopes of which this publisher sent what is not taken in, until it sends something that is.
    doubts: BTreeMap<ScopeId, Doubt>,
    patience: Patience,
}

/// A local scope of which a publisher sent what is not taken in.
#[derive(Debug)]
struct Doubt {
    /// Since when: this was the first of several.
    since: Instant,
    /// The head that no holder signed, as far as this node knew.
    head: Option<(Position, HeadSignature)>,
    /// When to ask again; `None`: it is asked.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Welcomed {
    publisher: String,
    offered: BTreeSet<ScopeId>,
    as_of: Option<Position>,
    revoked: Option<Revoked>,
    roots: Option<TrustedRoots>,
    /// Whether both sides know the feature.
    tells_places: bool,
    /// Since when nothing wanted is offered.
    idle_since: Option<Instant>,
}

impl SubscriberSession {
    /// A session that begins at `now`, and what to do first. `software` is for the publisher's logs; `boot` says which process
    /// this is; `patience` is what the session before had in the end.
    pub fn start(
        wanted: Wanted,
        software: &str,
        boot: BootId,
        patience: Patience,
        now: Instant,
    ) -> (Self, Vec<Effect>) {
        let session = Self {
            wanted,
            welcome: None,
            subscriptions: BTreeMap::new(),
            asked: BTreeSet::new(),
            telling: BTreeMap::new(),
            freshness: None,
            started: now,
            last_chunk: None,
            refused: BTreeMap::new(),
            heads: Arc::new(NoHeads),
            doubts: BTreeMap::new(),
            patience,
        };
        let introduction = sync::Introduction {
            features: features(&session.wanted).map(str::to_owned).collect(),
            software: software.to_owned(),
            boot_id: BootId::to_message(Some(boot)),
        };
        (session, vec![send(subscriber_message::Body::Introduction(introduction))])
    }

    /// Asks for the local scopes too that these heads want, and takes in those that they judge to be a holder's.
    pub fn judging(self, heads: Arc<dyn Heads>) -> Self {
        Self { heads, ..self }
    }

    /// Takes a message in.
    pub fn handle(&mut self, message: PublisherMessage, replicas: &ReplicaMap, now: Instant) -> Vec<Effect> {
        self.try_handle(message, replicas, now).unwrap_or_else(|error| {
            let alarm = Alarm::Malformed(error.clone());
            vec![
                Effect::Alarm { scope: None, alarm, resync: false },
                Effect::Disconnect { reason: error.to_string() },
            ]
        })
    }

    fn try_handle(
        &mut self,
        message: PublisherMessage,
        replicas: &ReplicaMap,
        now: Instant,
    ) -> Result<Vec<Effect>, InvalidMessage> {
        use publisher_message::Body;
        let body = message.body.ok_or_else(|| InvalidMessage::new("publisher message", "it is empty"))?;
        let (scope, body) = match body {
            Body::Welcome(welcome) => return self.welcome(welcome, replicas, now),
            Body::Refused(refused) => return Ok(self.refused(refused, now)),
            Body::Places(places) => return self.places(places),
            Body::Superseded(_) => {
                let alarm = Effect::Alarm { scope: None, alarm: Alarm::Superseded, resync: false };
                return Ok(vec![alarm, Effect::Superseded]);
            }
            Body::Begin(body) => (body.scope.clone(), Body::Begin(body)),
            Body::Chunk(body) => (body.scope.clone(), Body::Chunk(body)),
            Body::End(body) => (body.scope.clone(), Body::End(body)),
            Body::Bookmark(body) => (body.scope.clone(), Body::Bookmark(body)),
            Body::Behind(body) => (body.scope.clone(), Body::Behind(body)),
        };
        let scope: ScopeId = scope.parse()?;
        // What is on its way of a scope that was just given up means nothing any more.
        let Some(subscription) = self.subscriptions.get_mut(&scope) else { return Ok(Vec::new()) };
        let held = replicas.get(&scope);
        let replica = self.heads.believed(&scope, held);
        if scope.is_local() {
            if !self.heads.wants(&scope) {
                return Ok(Vec::new()); // its Origin has gone, and the next tick leaves it
            }
            if subscription.rests_on_held() != replica.is_some() {
                return Ok(self.ask_anew(&scope, replicas, now));
            }
        }
        let effects = match body {
            Body::Begin(begin) => subscription.begin(&scope, begin, replica, now),
            Body::Chunk(chunk) => {
                self.last_chunk = Some(now);
                subscription.chunk(&scope, chunk, replica, now)
            }
            Body::End(end) => subscription.end(&scope, end, held, &*self.heads, now),
            Body::Bookmark(bookmark) => {
                let age = Duration::from_millis(bookmark.as_of_age_ms);
                // A clock that started after the leader was last heard cannot say when that was: then it is long ago.
                let told = |confirmed_at| Freshness { confirmed_at, quorum: bookmark.quorum };
                let freshness = now.checked_sub(age).map_or(Freshness::unconfirmed(now), told);
                self.freshness = Some(freshness);
                subscription.bookmark(&scope, bookmark, replica, &*self.heads, now)
            }
            Body::Behind(behind) => subscription.behind(&scope, behind, replica, now),
            Body::Welcome(_) | Body::Refused(_) | Body::Superseded(_) | Body::Places(_) => Ok(Vec::new()), // returned above
        };
        match effects {
            Ok(effects) => {
                let is_taken_in =
                    |effect: &Effect| matches!(effect, Effect::Advance { .. } | Effect::Replace { .. });
                if effects.iter().any(is_taken_in) {
                    self.doubts.remove(&scope);
                }
                Ok(effects)
            }
            Err(Fault::Malformed(error)) => Err(error),
            Err(Fault::Hopeless(alarm)) => Ok(self.give_up(scope, alarm, now)),
            Err(Fault::NoHolder(head)) => Ok(self.doubt(scope, head, now)),
        }
    }

    /// Rows of places. Those that cannot be read are left out: the others count.
    fn places(&self, message: sync::Places) -> Result<Vec<Effect>, InvalidMessage> {
        if !self.welcome.as_ref().is_some_and(|welcome| welcome.tells_places) {
            let why = format!("places came, and the feature {PLACES:?} was not agreed");
            return Err(InvalidMessage::new("publisher message", why));
        }
        let (mut rows, mut unread) = (Vec::new(), None);
        for row in places::read(message)? {
            match row {
                Ok(place) => rows.push(place),
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        Ok(vec![Effect::Places { rows, unread }])
    }

    /// Something of a scope does not fit, and asking again at once would not help. A local scope is left alone for a while: the
    /// scopes of the control plane share the stream. For any other the stream ends.
    fn give_up(&mut self, scope: ScopeId, alarm: Alarm, now: Instant) -> Vec<Effect> {
        let reason = alarm.to_string();
        let alarm = Effect::Alarm { scope: Some(scope.clone()), alarm, resync: false };
        if !scope.is_local() {
            return vec![alarm, Effect::Disconnect { reason }];
        }
        let (_, leave) = self.leave_alone(scope, None, now);
        vec![alarm, leave]
    }

    /// A head of a local scope is of no holder that this node knows. The Origin that names the holder may come a moment later, by
    /// another way, so it is no alarm at first.
    fn doubt(&mut self, scope: ScopeId, head: subscription::Head, now: Instant) -> Vec<Effect> {
        let subscription::Head { at, signature, why } = head;
        let (since, leave) = self.leave_alone(scope.clone(), Some((at, signature)), now);
        let had_time = now.saturating_duration_since(since) >= DISBELIEF_PAUSE;
        let alarm = Alarm::UnknownHolder { at, why };
        let alarm = had_time.then_some(Effect::Alarm { scope: Some(scope), alarm, resync: false });
        alarm.into_iter().chain([leave]).collect()
    }

    /// Leaves a local scope for a while. Since when the publisher is doubted in it.
    fn leave_alone(
        &mut self,
        scope: ScopeId,
        head: Option<(Position, HeadSignature)>,
        now: Instant,
    ) -> (Instant, Effect) {
        self.subscriptions.remove(&scope);
        let leave = subscription::leave(&scope);
        let since = self.doubts.get(&scope).map_or(now, |doubt| doubt.since);
        self.doubts.insert(scope, Doubt { since, head, until: Some(now + DISBELIEF_PAUSE) });
        (since, leave)
    }

    /// Asks for a scope at what is held of it now and counts.
    fn ask(&mut self, scope: &ScopeId, replicas: &ReplicaMap, now: Instant) -> Effect {
        let replica = self.heads.believed(scope, replicas.get(scope));
        let is_again = !self.asked.insert(scope.clone());
        let met =
            scope.is_local().then(|| self.telling.entry(scope.clone()).or_default()).and_then(|telling| {
                let head = telling.head(scope, replica.and_then(Replica::position), &*self.heads, now);
                head.inspect(|head| telling.tells(head, now))
            });
        let behind = self.subscriptions.get(scope).and_then(Subscription::was_behind);
        let (subscription, hello) = Subscription::ask(scope, replica, met, is_again, behind, now);
        self.subscriptions.insert(scope.clone(), subscription);
        hello
    }

    /// Asks again for a local scope that is subscribed to, because what is held of it is not what the session took it for: another
    /// task changed or removed it, or its holder is not believed any more.
    pub fn ask_anew(&mut self, scope: &ScopeId, replicas: &ReplicaMap, now: Instant) -> Vec<Effect> {
        let asks = self.subscriptions.contains_key(scope) && self.heads.wants(scope);
        asks.then(|| self.ask(scope, replicas, now)).into_iter().collect()
    }

    /// Whether to ask for a scope that is offered.
    fn wants(&self, scope: &ScopeId) -> bool {
        let is_left_alone = || self.doubts.get(scope).is_some_and(|doubt| doubt.until.is_some());
        let may = !scope.is_local() || (self.heads.wants(scope) && !is_left_alone());
        may && self.wanted.covers(scope)
    }

    fn welcome(
        &mut self,
        welcome: sync::Welcome,
        replicas: &ReplicaMap,
        now: Instant,
    ) -> Result<Vec<Effect>, InvalidMessage> {
        // A scope of a kind that this node cannot spell is one that it cannot want.
        let offered: BTreeSet<ScopeId> =
            welcome.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        let as_of = welcome.position.as_ref().map(Position::try_from).transpose()?;
        let revoked = welcome.revoked.map(Revoked::try_from).transpose()?;
        let roots = welcome.roots.map(TrustedRoots::try_from).transpose()?;
        // A publisher that offers a scope anew has something else.
        self.doubts.retain(|scope, _| offered.contains(scope));
        let wanted: BTreeSet<_> = offered.iter().filter(|scope| self.wants(scope)).cloned().collect();
        let mut effects = Vec::new();

        // The publisher goes on with what it offers, until it is told.
        let unwanted = self.subscriptions.keys().filter(|scope| offered.contains(*scope));
        effects.extend(unwanted.filter(|scope| !wanted.contains(*scope)).map(subscription::leave));
        self.subscriptions.retain(|scope, _| wanted.contains(scope));
        self.refused.clear(); // every scope that is wanted and not subscribed to is asked for below
        // A local scope ends with its Origin, also where a publisher still offers it.
        let gone = replicas
            .iter()
            .filter(|(scope, _)| !scope.is_local() && self.wanted.covers(scope) && !wanted.contains(*scope));
        for (scope, replica) in gone {
            if replica.position().zip(as_of).is_some_and(|(held, as_of)| as_of.may_follow(held)) {
                effects.push(Effect::Withdraw { scope: scope.clone() });
            }
        }
        for scope in &wanted {
            if !self.subscriptions.contains_key(scope) {
                effects.push(self.ask(scope, replicas, now));
            }
        }
        let idle_since = self.welcome.as_ref().and_then(|welcomed| welcomed.idle_since).unwrap_or(now);
        let tells_places = features(&self.wanted)
            .any(|feature| feature == PLACES && welcome.features.iter().any(|agreed| agreed == feature));
        let idle_since = wanted.iter().all(ScopeId::is_local).then_some(idle_since);
        self.welcome = Some(Welcomed {
            publisher: welcome.publisher,
            offered,
            as_of,
            revoked,
            roots,
            tells_places,
            idle_since,
        });
        Ok(effects)
    }

    fn refused(&mut self, refused: sync::Refused, now: Instant) -> Vec<Effect> {
        if let Ok(scope) = refused.scope.parse::<ScopeId>()
            && self.subscriptions.remove(&scope).is_some()
        {
            // Subscribed to, so it was offered and wanted by the last Welcome.
            self.refused.insert(scope, now + REFUSED_PAUSE);
        }
        vec![Effect::Refused { scope: refused.scope, reason: refused.reason }]
    }

    /// Looks for what should have come by now. To be called a few times a second.
    pub fn tick(&mut self, replicas: &ReplicaMap, now: Instant) -> Vec<Effect> {
        let receiving = self.subscriptions.values().any(Subscription::is_receiving);
        let limit = if receiving { self.patience.limit() } else { STALL };
        let silent = |since: Instant| now.saturating_duration_since(since) > limit;
        let stalled = |scope: Option<ScopeId>| {
            let reason = "connected, but nothing comes".to_owned();
            vec![Effect::Alarm { scope, alarm: Alarm::Stalled, resync: false }, Effect::Disconnect { reason }]
        };
        if self.welcome.is_none() {
            return if silent(self.started) { stalled(None) } else { Vec::new() };
        }
        let last_chunk = self.last_chunk.unwrap_or(self.started);
        let quiet = self.subscriptions.iter().filter(|(_, one)| silent(one.heard().max(last_chunk)));
        let quiet: Vec<ScopeId> = quiet.map(|(scope, _)| scope.clone()).collect();
        // The silence of a local scope costs that scope, unless nothing comes at all.
        let all = quiet.len() == self.subscriptions.len();
        if let Some(scope) = quiet.iter().find(|scope| all || !scope.is_local()) {
            if receiving {
                self.patience = self.patience.doubled();
            }
            return stalled(Some(scope.clone()));
        }
        // Neighbours may be behind in a local scope for as long as they like.
        let follows = self.of_control_plane().next().is_some();
        if follows && self.of_control_plane().all(Subscription::is_in_step) {
            self.patience = Patience::default(); // everything came through
        }
        let mut effects = Vec::new();
        for scope in quiet {
            effects.extend(self.give_up(scope, Alarm::Stalled, now));
        }
        effects.extend(self.ask_again(replicas, now));
        effects.extend(self.follow_origins(replicas, now));
        effects
    }

    /// Asks for local scopes whose Origin came after the offer, leaves those whose Origin has gone, and asks anew for those where what
    /// is held counts no longer, or where the publisher has to hear of a greater head.
    fn follow_origins(&mut self, replicas: &ReplicaMap, now: Instant) -> Vec<Effect> {
        for (scope, doubt) in &mut self.doubts {
            let is_holders = |(at, signature): &(Position, HeadSignature)| {
                self.heads.is_holders(scope, at, signature).is_ok()
            };
            let is_over = doubt.until.is_some_and(|until| now >= until);
            if is_over || doubt.head.as_ref().is_some_and(is_holders) {
                doubt.until = None;
            }
        }
        let Some(welcome) = &self.welcome else { return Vec::new() };
        let local = welcome.offered.iter().filter(|scope| scope.is_local());
        let is_news = |scope: &&ScopeId| {
            let is_asked = self.subscriptions.contains_key(*scope) || self.refused.contains_key(*scope);
            self.wants(scope) != is_asked
        };
        let news: Vec<ScopeId> = local.filter(is_news).cloned().collect();
        let mut effects = Vec::new();
        for scope in news {
            self.refused.remove(&scope);
            if self.subscriptions.remove(&scope).is_some() {
                effects.push(subscription::leave(&scope));
            } else if self.wants(&scope) {
                effects.push(self.ask(&scope, replicas, now));
            }
        }
        let local = self.subscriptions.iter().filter(|(scope, _)| scope.is_local());
        let differs = local.filter(|(scope, subscription)| {
            let replica = self.heads.believed(scope, replicas.get(*scope));
            let telling = self.telling.entry((*scope).clone()).or_default();
            let head = telling.head(scope, replica.and_then(Replica::position), &*self.heads, now);
            let has_to_tell = || head.is_some_and(|head| telling.is_due(&head, now));
            subscription.rests_on_held() != replica.is_some() || (subscription.is_settled() && has_to_tell())
        });
        let differs: Vec<ScopeId> = differs.map(|(scope, _)| scope.clone()).collect();
        effects.extend(differs.iter().map(|scope| self.ask(scope, replicas, now)));
        effects
    }

    /// The subscriptions to scopes that the control plane makes. Only these have an age, and say what to think of a publisher.
    fn of_control_plane(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter().filter(|(scope, _)| !scope.is_local()).map(|(_, subscription)| subscription)
    }

    /// Says Hello again for what was refused a while ago.
    fn ask_again(&mut self, replicas: &ReplicaMap, now: Instant) -> Vec<Effect> {
        let due: Vec<ScopeId> =
            self.refused.extract_if(.., |_, at| now >= *at).map(|(scope, _)| scope).collect();
        due.iter().map(|scope| self.ask(scope, replicas, now)).collect()
    }

    /// What the next session should start with.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// What to think of the publisher. Whether that is a reason to leave is the shell's to say: it knows the others.
    pub fn standing(&self, now: Instant) -> Standing {
        let longer = |since: Instant, limit| now.saturating_duration_since(since) > limit;
        let Some(welcome) = &self.welcome else { return Standing::Waiting };
        if self.wanted == Wanted::Local {
            return Standing::Good; // a neighbour may have nothing, and may be behind for as long as it likes
        }
        if let Some(since) = welcome.idle_since {
            return if longer(since, NOTHING_OFFERED_LIMIT) {
                Standing::OffersNothing
            } else {
                Standing::Waiting
            };
        }
        let behind = |subscription: &Subscription| {
            subscription.behind_since().is_some_and(|since| longer(since, BEHIND_LIMIT))
        };
        if self.of_control_plane().any(behind) {
            return Standing::Behind;
        }
        match self.freshness {
            None => Standing::Waiting,
            Some(_) if self.of_control_plane().any(Subscription::is_receiving) => Standing::Waiting,
            Some(freshness) if longer(freshness.confirmed_at, AS_OF_LIMIT) => Standing::Stale,
            Some(freshness) if !freshness.quorum => Standing::NoQuorum,
            Some(_) => Standing::Good,
        }
    }

    /// How fresh the publisher says it is, by its last bookmark.
    pub fn freshness(&self) -> Option<Freshness> {
        self.freshness
    }

    /// What the publisher calls itself, once it answered.
    pub fn publisher(&self) -> Option<&str> {
        self.welcome.as_ref().map(|welcome| welcome.publisher.as_str())
    }

    /// What the publisher offers, wanted or not, and the state by which it does.
    pub fn offered(&self) -> Option<(&BTreeSet<ScopeId>, Option<Position>)> {
        self.welcome.as_ref().map(|welcome| (&welcome.offered, welcome.as_of))
    }

    /// Whom the publisher says are refused, if it says anything of it.
    pub fn revoked(&self) -> Option<&Revoked> {
        self.welcome.as_ref()?.revoked.as_ref()
    }

    /// Which roots the publisher says are believed, if it says anything of it.
    pub fn roots(&self) -> Option<&TrustedRoots> {
        self.welcome.as_ref()?.roots.as_ref()
    }

    /// The scopes subscribed to.
    pub fn scopes(&self) -> impl Iterator<Item = &ScopeId> {
        self.subscriptions.keys()
    }
}

/// What a subscriber of this release knows. From a neighbour it takes local scopes alone, and no places.
fn features(wanted: &Wanted) -> impl Iterator<Item = &'static str> {
    let takes_places = match wanted {
        Wanted::All | Wanted::Environments(_) => true,
        Wanted::Local => false,
    };
    FEATURES.into_iter().filter(move |feature| takes_places || *feature != PLACES)
}

fn send(body: subscriber_message::Body) -> Effect {
    Effect::Send(SubscriberMessage { body: Some(body) })
}

#[cfg(test)]
mod tests;
