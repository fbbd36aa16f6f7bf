//! The publisher's side of one stream.

mod cursor;
mod transfer;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use hanse_proto::{
    InvalidMessage,
    places::PLACES,
    sync::{self, HeadSignature, PublisherMessage, SubscriberMessage, publisher_message, subscriber_message},
};
use hanse_topology::{Position, ScopeId};

use crate::{
    BootId, ContentRoot, FEATURES, Freshness, LAST_GOOD_IN_DELTAS, ReplicaMap, Revoked, ScopeAck,
    TrustedRoots,
};

use cursor::Cursor;
pub use cursor::SnapshotReason;

/// How often a subscriber hears of each of its scopes.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two bookmarks of a scope: a thousand writes a second to other scopes are twenty bookmarks.
const BOOKMARK_SPACING: Duration = Duration::from_millis(50);
/// Largest chunk of a transfer. Subscribers see whole messages only and take 5 s without one for a dead link: a chunk of
/// this size arrives in that time at 105 kbit/s. Framing still costs less than a thousandth.
const CHUNK_BYTES: usize = 64 << 10;
/// Refusals not yet sent. A sound subscriber asks for what was offered, so there are hardly ever any.
const MAX_REFUSALS: usize = 64;

/// What a message of a subscriber meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// It said what it is.
    Introduced {
        /// Its software; for logs.
        software: String,
        /// Which process it is; `None`: it did not say.
        boot: Option<BootId>,
    },
    /// It subscribed to a scope it may have, at a position.
    Subscribed {
        /// The scope.
        scope: ScopeId,
        /// Where it stands; `None`: it holds nothing.
        position: Option<Position>,
        /// Of a local scope: what it holds, as a holder is said to have signed it. Not judged yet.
        head: Option<HeldHead>,
        /// Of a local scope: a head beyond what the subscriber knows this publisher to have. Not judged yet.
        met: Option<HeldHead>,
    },
    /// It asked for what it may not have.
    Refused {
        /// What it asked for.
        scope: String,
    },
    /// It acknowledged a scope.
    Acked {
        /// The scope.
        scope: ScopeId,
        /// What it says of it.
        ack: ScopeAck,
    },
    /// It reported on itself and its own subscribers.
    Reported(sync::Report),
    /// It no longer wants a scope.
    Left(ScopeId),
}

/// A head of a local scope, as a subscriber says that it holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldHead {
    /// Where it stands.
    pub position: Position,
    /// The root of the content there.
    pub root: ContentRoot,
    /// What a holder says of both.
    pub signature: HeadSignature,
}

impl From<HeldHead> for sync::HeldHead {
    fn from(HeldHead { position, root, signature }: HeldHead) -> Self {
        Self { position: Some(position.into()), root: root.0.to_vec().into(), signature: Some(signature) }
    }
}

impl TryFrom<sync::HeldHead> for HeldHead {
    type Error = InvalidMessage;

    fn try_from(head: sync::HeldHead) -> Result<Self, InvalidMessage> {
        let absent = |field| InvalidMessage::new(field, "it is absent");
        let position = head.position.ok_or_else(|| absent("hello.met.position"))?;
        Ok(Self {
            position: (&position).try_into()?,
            root: ContentRoot::try_from(&*head.root)?,
            signature: head.signature.ok_or_else(|| absent("hello.met.signature"))?,
        })
    }
}

/// A subscriber does not keep to the protocol: its stream ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Something else came before the introduction, or a second one.
    #[error("the introduction comes first and once")]
    Introduction,
    /// A message that cannot be read.
    #[error(transparent)]
    Malformed(#[from] InvalidMessage),
    /// It keeps asking for what it may not have.
    #[error("more than {MAX_REFUSALS} refused scopes outstanding")]
    TooManyRefusals,
}

/// The publisher's side of one stream: what the subscriber may have, and one cursor for each scope it subscribed to.
///
/// Not a queue: what to send is worked out from the cursor when there is room to send, so a slow subscriber costs nothing
/// and gets the latest.
#[derive(Debug)]
pub struct PublisherSession {
    name: String,
    /// Those both sides know, once the subscriber introduced itself.
    features: Option<Vec<String>>,
    admitted: BTreeSet<ScopeId>,
    admitted_as_of: Option<Position>,
    revoked: Option<Revoked>,
    roots: Option<TrustedRoots>,
    welcome_due: bool,
    cursors: BTreeMap<ScopeId, Cursor>,
    /// What was asked for and not admitted, until the subscriber is told.
    refusals: BTreeMap<String, Refusal>,
    /// Largest chunk to send.
    chunk_bytes: usize,
}

/// A Hello that is not served.
#[derive(Debug)]
struct Refusal {
    reason: &'static str,
    /// What it gets if the scope is admitted before it is told.
    cursor: Option<(ScopeId, Cursor)>,
}

impl PublisherSession {
    /// A session of the publisher `name` with one who may have nothing yet.
    pub fn new(name: String) -> Self {
        Self {
            name,
            features: None,
            admitted: BTreeSet::new(),
            admitted_as_of: None,
            revoked: None,
            roots: None,
            welcome_due: true,
            cursors: BTreeMap::new(),
            refusals: BTreeMap::new(),
            chunk_bytes: CHUNK_BYTES,
        }
    }

    /// A session that cuts transfers into smaller chunks, so that tests need no large values.
    #[cfg(test)]
    pub(crate) fn with_chunks_of(name: &str, chunk_bytes: usize) -> Self {
        Self { chunk_bytes, ..Self::new(name.to_owned()) }
    }

    /// Says what the subscriber may have, by the state of position `as_of`. It is told when that changes.
    pub fn admit(&mut self, scopes: impl IntoIterator<Item = ScopeId>, as_of: Option<Position>) {
        let admitted: BTreeSet<ScopeId> = scopes.into_iter().collect();
        // An offer that rests on no state says nothing: that it rests on one now is news.
        self.welcome_due |= self.admitted != admitted || self.admitted_as_of.is_none() != as_of.is_none();
        self.cursors.retain(|scope, _| admitted.contains(scope));
        // Who asked a moment too early is served: a refusal would reach it after the Welcome and undo the offer.
        self.refusals.retain(|_, refusal| {
            let served = refusal.cursor.take_if(|(scope, _)| admitted.contains(scope));
            let outlived = served.is_some();
            self.cursors.extend(served);
            !outlived
        });
        self.admitted = admitted;
        self.admitted_as_of = as_of;
    }

    /// Says who is refused. The subscriber is told when that changes.
    pub fn revoke(&mut self, revoked: Option<Revoked>) {
        self.welcome_due |= self.revoked != revoked;
        self.revoked = revoked;
    }

    /// Says which roots are believed. The subscriber is told when that changes.
    pub fn trust(&mut self, roots: Option<TrustedRoots>) {
        self.welcome_due |= self.roots != roots;
        self.roots = roots;
    }

    /// Takes a message in.
    pub fn handle(&mut self, message: SubscriberMessage) -> Result<Received, ProtocolError> {
        use subscriber_message::Body;
        let body = message.body.ok_or_else(|| InvalidMessage::new("subscriber message", "it is empty"))?;
        match (body, self.features.is_some()) {
            (Body::Introduction(introduction), false) => {
                let known = |feature: &String| FEATURES.contains(&feature.as_str());
                let boot = BootId::of_message(&introduction.boot_id)?;
                self.features = Some(introduction.features.into_iter().filter(known).collect());
                Ok(Received::Introduced { software: introduction.software, boot })
            }
            (Body::Introduction(_), true) | (_, false) => Err(ProtocolError::Introduction),
            (Body::Hello(hello), true) => self.hello(hello),
            (Body::Ack(ack), true) => {
                let (scope, ack) = ScopeAck::of_message(ack)?;
                Ok(Received::Acked { scope, ack })
            }
            (Body::Report(report), true) => Ok(Received::Reported(report)),
            (Body::Leave(leave), true) => {
                let scope = scope_of(&leave.scope)?;
                self.cursors.remove(&scope);
                Ok(Received::Left(scope))
            }
        }
    }

    fn hello(&mut self, hello: sync::Hello) -> Result<Received, ProtocolError> {
        let refusal = match hello.scope.parse::<ScopeId>() {
            Ok(scope) => {
                let position = hello.position.as_ref().map(Position::try_from).transpose()?;
                let root = match (position, hello.root.len()) {
                    (None, _) | (_, 0) => None,
                    (Some(_), _) => Some(ContentRoot::try_from(&*hello.root)?),
                };
                let takes_last_good = self.uses(LAST_GOOD_IN_DELTAS);
                let cursor = Cursor::new(position, root, self.chunk_bytes, takes_last_good);
                if self.admitted.contains(&scope) {
                    self.refusals.remove(&hello.scope);
                    self.cursors.insert(scope.clone(), cursor);
                    let head = position.zip(root).zip(hello.signature).filter(|_| scope.is_local());
                    let head =
                        head.map(|((position, root), signature)| HeldHead { position, root, signature });
                    // One that cannot be read counts for nothing, as a position without a signature does: the scopes of the
                    // control plane share the stream.
                    let met = hello.met.filter(|_| scope.is_local()).and_then(|met| met.try_into().ok());
                    return Ok(Received::Subscribed { scope, position, head, met });
                }
                Refusal { reason: "not among the scopes offered", cursor: Some((scope, cursor)) }
            }
            Err(_) => Refusal { reason: "not a scope", cursor: None },
        };
        self.refusals.insert(hello.scope.clone(), refusal);
        match self.refusals.len() {
            0..=MAX_REFUSALS => Ok(Received::Refused { scope: hello.scope }),
            _ => Err(ProtocolError::TooManyRefusals),
        }
    }

    /// What to send now, at most one chunk per scope. To be called when there is room to send it, and again as long as it
    /// gives something; then when replicas change, and at [`Self::next_due`].
    pub fn next(
        &mut self,
        replicas: &ReplicaMap,
        freshness: Freshness,
        now: Instant,
    ) -> Vec<PublisherMessage> {
        use publisher_message::Body;
        if self.features.is_none() {
            return Vec::new();
        }
        let welcome = self.welcome();
        let mut bodies = Vec::new();
        for (scope, refusal) in std::mem::take(&mut self.refusals) {
            bodies.push(Body::Refused(sync::Refused { scope, reason: refusal.reason.to_owned() }));
        }
        for (scope, cursor) in &mut self.cursors {
            cursor.next(scope, replicas.get(scope), freshness, now, &mut bodies);
        }
        let messages = bodies.into_iter().map(|body| PublisherMessage { body: Some(body) });
        welcome.into_iter().chain(messages).collect()
    }

    /// The Welcome, if one is due and the subscriber introduced itself. [`Self::next`] gives it first; asked for apart, it may go
    /// before parts of transfers that are not sent yet, though never before a refusal.
    pub fn welcome(&mut self) -> Option<PublisherMessage> {
        let features = self.features.as_ref()?;
        if !std::mem::take(&mut self.welcome_due) {
            return None;
        }
        let welcome = sync::Welcome {
            features: features.clone(),
            publisher: self.name.clone(),
            scopes: self.admitted.iter().map(ScopeId::to_string).collect(),
            position: self.admitted_as_of.map(Into::into),
            revoked: self.revoked.clone().map(Into::into),
            roots: self.roots.clone().map(Into::into),
        };
        Some(PublisherMessage { body: Some(publisher_message::Body::Welcome(welcome)) })
    }

    /// When there will be something to send though no replica changes; `None`: not before a message comes.
    pub fn next_due(&self) -> Option<Instant> {
        self.features.as_ref()?;
        self.cursors.values().filter_map(Cursor::due).min()
    }

    /// Whether the subscriber takes places: it was told that both sides know them.
    pub fn takes_places(&self) -> bool {
        self.uses(PLACES) && !self.welcome_due
    }

    /// Whether both sides know a feature.
    fn uses(&self, feature: &str) -> bool {
        self.features.iter().flatten().any(|known| known == feature)
    }

    /// The scopes subscribed to.
    pub fn scopes(&self) -> impl Iterator<Item = &ScopeId> {
        self.cursors.keys()
    }
}

fn scope_of(text: &str) -> Result<ScopeId, ProtocolError> {
    Ok(text.parse::<ScopeId>().map_err(InvalidMessage::from)?)
}

#[cfg(test)]
mod tests;
