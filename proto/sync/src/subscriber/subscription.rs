//! One scope of a subscriber's stream.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use hanse_proto::{
    InvalidMessage,
    sync::{self, begin::Kind, subscriber_message::Body},
};
use hanse_topology::{LineageOrder, Position, ScopeId};

use super::{Alarm, Effect, MAX_RESYNCS, send};
use crate::{
    ContentRoot, Disbelief, HeadSignature, Heads, HeldHead, MAX_LOCAL_BYTES, MAX_LOCAL_KEYS, Prepared,
    Replica, Size,
};

/// Bytes staged for one transfer before it is given up: ten times the largest scope we know how to make.
const MAX_STAGED_BYTES: usize = 1 << 30;

/// Where one scope's exchange stands.
#[derive(Debug)]
enum Phase {
    /// Hello is sent: the first, or one after a failed transfer. What was on its way before means nothing: it is skipped
    /// until something fits.
    Asked,
    /// A transfer is coming in.
    Receiving(Staging),
    /// In step with the publisher.
    Following,
    /// The publisher is behind since then.
    Behind(Instant),
}

/// A transfer so far. Nothing of it is in force.
#[derive(Debug)]
struct Staging {
    kind: Transfer,
    to: Position,
    upserts: Vec<(Arc<str>, Bytes)>,
    removals: Vec<Arc<str>>,
    last_good: Vec<(Arc<str>, Bytes)>,
    /// Of all of it.
    bytes: usize,
    /// Of the upserts: content, as far as it came.
    content_bytes: usize,
}

#[derive(Debug)]
enum Transfer {
    Delta,
    Snapshot { reason: String },
}

#[derive(Debug)]
pub(super) struct Subscription {
    phase: Phase,
    /// Whether it goes on from what is held. Otherwise the Hello named no position, and the publisher sends the whole content.
    rests_on_held: bool,
    /// Since when the publisher was behind before the last Hello, until something is taken in.
    was_behind: Option<Instant>,
    /// What the last Hello said, where the publisher had one before and a delta may answer it. What answers the earlier one may come first
    /// and be taken in, and then the answer to this one starts where the subscriber stands no more. That excuses one delta.
    said: Option<Position>,
    /// When something of the scope came that fitted.
    heard: Instant,
    resyncs: u32,
}

/// Why a message is not taken in.
pub(super) enum Fault {
    /// It cannot be read.
    Malformed(InvalidMessage),
    /// Asking this publisher for the scope again would not help.
    Hopeless(Alarm),
    /// A head of a local scope that no holder signed, as far as this node knows now.
    NoHolder(Head),
}

impl From<InvalidMessage> for Fault {
    fn from(error: InvalidMessage) -> Self {
        Self::Malformed(error)
    }
}

/// A head of a local scope that a publisher sent, and why it is not believed.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) at: Position,
    pub(super) signature: HeadSignature,
    pub(super) why: String,
}

/// Subscribes to a scope at what is held of it and counts, and tells of a greater head.
fn hello(scope: &ScopeId, replica: Option<&Replica>, met: Option<HeldHead>, ask_snapshot: bool) -> Effect {
    let held = replica.and_then(|replica| Some((*replica.position()?, replica.root())));
    let said = held.filter(|_| !ask_snapshot);
    let signature = said.and(replica).and_then(Replica::signature);
    send(Body::Hello(sync::Hello {
        scope: scope.to_string(),
        position: held.map(|(position, _)| position.into()),
        root: said.map_or_else(Bytes::new, |(_, root)| root.0.to_vec().into()),
        signature: signature.cloned(),
        met: met.map(Into::into),
    }))
}

/// Leaves a scope.
pub(super) fn leave(scope: &ScopeId) -> Effect {
    send(Body::Leave(sync::Leave { scope: scope.to_string() }))
}

impl Subscription {
    /// Subscribes to a scope at what is held of it and counts, and tells of a greater head. `is_again`: the publisher had
    /// a Hello of this scope before, and what answers that may be on its way. `was_behind`: since then the publisher is behind.
    pub(super) fn ask(
        scope: &ScopeId,
        replica: Option<&Replica>,
        met: Option<HeldHead>,
        is_again: bool,
        was_behind: Option<Instant>,
        now: Instant,
    ) -> (Self, Effect) {
        let held = replica.and_then(Replica::position).copied();
        let (rests_on_held, said) = (held.is_some(), held.filter(|_| is_again));
        let asked = Self { phase: Phase::Asked, rests_on_held, was_behind, said, heard: now, resyncs: 0 };
        (asked, hello(scope, replica, met, false))
    }

    /// Whether the last Hello was answered.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Following | Phase::Behind(_))
    }

    /// Since when the publisher is behind, also where a Hello was said again since.
    pub(super) fn was_behind(&self) -> Option<Instant> {
        self.behind_since().or(self.was_behind)
    }

    /// Whether it goes on from what is held.
    pub(super) fn rests_on_held(&self) -> bool {
        self.rests_on_held
    }

    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    pub(super) fn behind_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Behind(since) => Some(since),
            Phase::Asked | Phase::Receiving(_) | Phase::Following => None,
        }
    }

    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Receiving(_))
    }

    /// Whether it has what the publisher has.
    pub(super) fn is_in_step(&self) -> bool {
        matches!(self.phase, Phase::Following)
    }

    pub(super) fn begin(
        &mut self,
        scope: &ScopeId,
        begin: sync::Begin,
        replica: Option<&Replica>,
        now: Instant,
    ) -> Result<Vec<Effect>, Fault> {
        let to = position("begin.to", begin.to.as_ref())?;
        let held = replica.and_then(Replica::position);
        let kind = match Kind::try_from(begin.kind) {
            Ok(Kind::Delta) => {
                let starts_here = |held: &Position| {
                    let same = to.lineage.order(&held.lineage) == LineageOrder::Same;
                    same && begin.from == held.revision && to.revision > begin.from
                };
                match (held.is_some_and(starts_here), &self.phase) {
                    (true, _) => Transfer::Delta,
                    (false, Phase::Asked) => return Ok(Vec::new()), // sent before the hello came
                    (false, Phase::Receiving(_) | Phase::Following | Phase::Behind(_)) => {
                        return self.misfit(scope, begin.from, to, replica, now);
                    }
                }
            }
            Ok(Kind::Snapshot) => match held.and_then(|held| contradiction(held, &to)) {
                None => Transfer::Snapshot { reason: begin.reason },
                // It was sent before the Hello came: until then, what is held did not count.
                Some(_) if scope.is_local() && matches!(self.phase, Phase::Asked) => return Ok(Vec::new()),
                Some(alarm) => return Err(Fault::Hopeless(alarm)),
            },
            Ok(Kind::Unspecified) | Err(_) => {
                let unknown = format!("unknown kind {}", begin.kind);
                return Err(InvalidMessage::new("begin.kind", unknown).into());
            }
        };
        let (upserts, removals, last_good) = (Vec::new(), Vec::new(), Vec::new());
        let staging = Staging { kind, to, upserts, removals, last_good, bytes: 0, content_bytes: 0 };
        self.phase = Phase::Receiving(staging);
        self.heard = now;
        Ok(Vec::new())
    }

    pub(super) fn chunk(
        &mut self,
        scope: &ScopeId,
        chunk: sync::Chunk,
        replica: Option<&Replica>,
        now: Instant,
    ) -> Result<Vec<Effect>, Fault> {
        match &mut self.phase {
            Phase::Receiving(staging) => {
                staging.add(chunk, !scope.is_local());
                self.heard = now;
                let size = Size { keys: staging.upserts.len(), bytes: staging.content_bytes };
                check_size(scope, staging.to, size)?;
                match staging.bytes {
                    0..=MAX_STAGED_BYTES => Ok(Vec::new()),
                    _ => Err(Fault::Hopeless(Alarm::Unexpected { message: "amount of data" })),
                }
            }
            Phase::Asked => Ok(Vec::new()),
            Phase::Following | Phase::Behind(_) => {
                self.resync(scope, Alarm::Unexpected { message: "chunk" }, false, replica, now)
            }
        }
    }

    pub(super) fn end(
        &mut self,
        scope: &ScopeId,
        end: sync::End,
        held: Option<&Replica>,
        heads: &dyn Heads,
        now: Instant,
    ) -> Result<Vec<Effect>, Fault> {
        let to = position("end.to", end.to.as_ref())?;
        let root = ContentRoot::try_from(&*end.root)?;
        let replica = held.filter(|_| self.rests_on_held);
        let staging = match std::mem::replace(&mut self.phase, Phase::Asked) {
            Phase::Receiving(staging) if staging.to.is(&to) => staging,
            Phase::Asked => return Ok(Vec::new()),
            Phase::Receiving(_) | Phase::Following | Phase::Behind(_) => {
                let alarm = Alarm::Unexpected { message: "end" };
                return self.resync(scope, alarm, false, replica, now);
            }
        };
        let nothing = Replica::new();
        let held = held.unwrap_or(&nothing);
        let prepared = match &staging.kind {
            Transfer::Delta => held.prepare_delta(to, staging.upserts, staging.removals),
            Transfer::Snapshot { .. } if self.rests_on_held => held.prepare_snapshot(to, staging.upserts),
            Transfer::Snapshot { .. } => Ok(held.prepare_afresh(to, staging.upserts)),
        };
        let mismatch = Alarm::RootMismatch { to };
        let Some(change) = prepared.ok().filter(|change| change.root() == root) else {
            return match staging.kind {
                Transfer::Delta => self.resync(scope, mismatch, true, replica, now),
                // It would send the same again.
                Transfer::Snapshot { .. } => Err(Fault::Hopeless(mismatch)),
            };
        };
        check_size(scope, to, change.size())?;
        // No signature covers last good versions.
        let last_good = if scope.is_local() { Vec::new() } else { staging.last_good };
        let change = judged(scope, change, end.signature, heads)?.with_last_good(last_good);
        (self.phase, self.was_behind) = (Phase::Following, None);
        self.rests_on_held = true;
        self.heard = now;
        let scope = scope.clone();
        Ok(vec![match staging.kind {
            Transfer::Delta => Effect::Advance { scope, change },
            Transfer::Snapshot { reason } => Effect::Replace { scope, change, reason },
        }])
    }

    pub(super) fn bookmark(
        &mut self,
        scope: &ScopeId,
        bookmark: sync::Bookmark,
        replica: Option<&Replica>,
        heads: &dyn Heads,
        now: Instant,
    ) -> Result<Vec<Effect>, Fault> {
        let to = position("bookmark.position", bookmark.position.as_ref())?;
        let root = ContentRoot::try_from(&*bookmark.root)?;
        let held = replica.and_then(|replica| Some((replica, *replica.position()?)));
        let asked = matches!(self.phase, Phase::Asked);
        let Some((replica, at)) = held else {
            return match asked {
                true => Ok(Vec::new()),
                false => self.resync(scope, Alarm::Unexpected { message: "bookmark" }, false, replica, now),
            };
        };
        if let Some(alarm) = contradiction(&at, &to) {
            return if asked { Ok(Vec::new()) } else { Err(Fault::Hopeless(alarm)) };
        }
        // Of another lineage nothing can be said without its content.
        let same = to.lineage.order(&at.lineage) == LineageOrder::Same;
        match (same && root == replica.root(), asked) {
            (true, _) => {}
            (false, true) => return Ok(Vec::new()),
            (false, false) => {
                return self.resync(scope, Alarm::RootDiffers { at: to }, true, Some(replica), now);
            }
        }
        // It was sent before the Hello came, to a subscriber that had just taken in the change and its signature.
        if asked && scope.is_local() && !to.is(&at) && bookmark.signature.is_none() {
            return Ok(Vec::new());
        }
        self.heard = now;
        (self.phase, self.was_behind) = (Phase::Following, None);
        if to.is(&at) {
            return Ok(Vec::new());
        }
        let change = match asked {
            // Equal content says nothing of what came and went on the way.
            true => replica.prepare_jump(to, Vec::new(), Vec::new()),
            false => replica.prepare_delta(to, Vec::new(), Vec::new()),
        };
        let change = change.expect("the position follows in the same lineage, and nothing changes");
        let change = judged(scope, change, bookmark.signature, heads)?;
        Ok(vec![Effect::Advance { scope: scope.clone(), change }])
    }

    pub(super) fn behind(
        &mut self,
        scope: &ScopeId,
        behind: sync::Behind,
        replica: Option<&Replica>,
        now: Instant,
    ) -> Result<Vec<Effect>, Fault> {
        let theirs = behind.position.as_ref().map(Position::try_from).transpose()?;
        let (since, first) = (self.was_behind().unwrap_or(now), self.was_behind().is_none());
        self.phase = Phase::Behind(since);
        self.heard = now;
        let conflict = replica.and_then(Replica::position).zip(theirs).and_then(|(held, offered)| {
            let conflict = offered.lineage.order(&held.lineage) == LineageOrder::Conflict;
            (conflict && first).then_some(Alarm::LineageConflict { held: *held, offered })
        });
        Ok(conflict
            .map(|alarm| Effect::Alarm { scope: Some(scope.clone()), alarm, resync: false })
            .into_iter()
            .collect())
    }

    /// A delta does not start at what is held. That is no fault where it answers the last Hello, and what answers an earlier one was taken
    /// in since. Example: Hello(1) is said again and crosses the delta (1, 2]. The publisher answers with (1, 2] too, or with (1, 3].
    fn misfit(
        &mut self,
        scope: &ScopeId,
        from: u64,
        to: Position,
        replica: Option<&Replica>,
        now: Instant,
    ) -> Result<Vec<Effect>, Fault> {
        let held = replica.and_then(Replica::position);
        let is_of = |one: &Position| to.lineage.order(&one.lineage) == LineageOrder::Same;
        let answers = |said: &Position| is_of(said) && said.revision == from;
        let since = |held: &&Position| is_of(held) && held.revision > from && held.revision <= to.revision;
        let Some(held) = held.filter(since).filter(|_| self.said.as_ref().is_some_and(answers)) else {
            return self.resync(scope, Alarm::WrongFrom { from, to }, false, replica, now);
        };
        self.said = None;
        if held.revision == to.revision {
            // It came twice. The publisher goes on from where the subscriber stands, so the next delta or Bookmark fits.
            self.phase = Phase::Asked;
            self.heard = now;
            return Ok(Vec::new());
        }
        // What the publisher sends until it has the next Hello starts beyond what is held, so nothing crosses that one.
        let hello = self.ask_again(scope, Alarm::WrongFrom { from, to }, false, replica, now)?;
        Ok(vec![Effect::AskedAgain { scope: scope.clone() }, hello])
    }

    /// Something does not fit: says so, keeps what is in force, and subscribes again.
    fn resync(
        &mut self,
        scope: &ScopeId,
        alarm: Alarm,
        ask_snapshot: bool,
        replica: Option<&Replica>,
        now: Instant,
    ) -> Result<Vec<Effect>, Fault> {
        let hello = self.ask_again(scope, alarm.clone(), ask_snapshot, replica, now)?;
        Ok(vec![Effect::Alarm { scope: Some(scope.clone()), alarm, resync: true }, hello])
    }

    /// Subscribes again, unless that was done too often: then the alarm is why.
    fn ask_again(
        &mut self,
        scope: &ScopeId,
        alarm: Alarm,
        ask_snapshot: bool,
        replica: Option<&Replica>,
        now: Instant,
    ) -> Result<Effect, Fault> {
        self.resyncs += 1;
        if self.resyncs > MAX_RESYNCS {
            return Err(Fault::Hopeless(alarm));
        }
        self.phase = Phase::Asked;
        self.heard = now;
        // No delta answers where a snapshot is asked for.
        self.said = replica.and_then(Replica::position).copied().filter(|_| !ask_snapshot);
        Ok(hello(scope, replica, None, ask_snapshot))
    }
}

impl Staging {
    /// Values are copied: each would otherwise keep the whole message it came in alive. The last good versions of a local scope are
    /// left out: they are in no root and have no signature, so any neighbour could have made them.
    fn add(&mut self, chunk: sync::Chunk, takes_last_good: bool) {
        for upsert in chunk.upserts {
            self.bytes += upsert.key.len() + upsert.value.len();
            self.content_bytes += upsert.key.len() + upsert.value.len();
            self.upserts.push((upsert.key.into(), Bytes::copy_from_slice(&upsert.value)));
        }
        for upsert in chunk.last_good.into_iter().filter(|_| takes_last_good) {
            self.bytes += upsert.key.len() + upsert.value.len();
            self.last_good.push((upsert.key.into(), Bytes::copy_from_slice(&upsert.value)));
        }
        for key in chunk.removals {
            self.bytes += key.len();
            self.removals.push(key.into());
        }
    }
}

/// What speaks against going from `held` to `offered`.
fn contradiction(held: &Position, offered: &Position) -> Option<Alarm> {
    let (held, offered) = (*held, *offered);
    match offered.lineage.order(&held.lineage) {
        LineageOrder::Conflict => Some(Alarm::LineageConflict { held, offered }),
        LineageOrder::Same | LineageOrder::Greater | LineageOrder::Lesser => {
            (!offered.may_follow(&held)).then_some(Alarm::Backwards { held, offered })
        }
    }
}

/// A change with the signature of its head, which counts in a local scope: there it must be one that is believed.
fn judged(
    scope: &ScopeId,
    change: Prepared,
    signature: Option<HeadSignature>,
    heads: &dyn Heads,
) -> Result<Prepared, Fault> {
    if !scope.is_local() {
        return Ok(change);
    }
    let at = *change.to();
    let forged = |why| Fault::Hopeless(Alarm::Forged { at, why });
    let signature = signature.ok_or_else(|| forged("it has no signature".to_owned()))?;
    match heads.judge(scope, &at, &change.root(), &signature) {
        Ok(()) => Ok(change.signed(signature)),
        Err(Disbelief::Forged(why)) => Err(forged(why)),
        Err(Disbelief::Unknown(why)) => Err(Fault::NoHolder(Head { at, signature, why })),
    }
}

/// Whether a local scope may have so much content. Other scopes come from the control plane, which bounds them itself.
fn check_size(scope: &ScopeId, at: Position, Size { keys, bytes }: Size) -> Result<(), Fault> {
    match !scope.is_local() || (keys <= MAX_LOCAL_KEYS && bytes <= MAX_LOCAL_BYTES) {
        true => Ok(()),
        false => Err(Fault::Hopeless(Alarm::TooLarge { at, keys, bytes })),
    }
}

fn position(field: &'static str, position: Option<&sync::Position>) -> Result<Position, InvalidMessage> {
    position.ok_or_else(|| InvalidMessage::new(field, "it is absent"))?.try_into()
}
