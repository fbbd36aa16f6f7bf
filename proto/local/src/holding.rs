//! The task around [`Holder`]: publishes what sources wish for, into the hub of an agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_identity::{KeyDigest, LiveAuthority, PkiError};
use hanse_link::{HeldHead, Replicas};
use hanse_process::{Shutdown, seeded, sleep_until, telemetry};
use hanse_sync::{AdvanceError, Changes, Heads as _, MAX_LOCAL_BYTES, MAX_LOCAL_KEYS, Replica, Size};
use hanse_topology::{Position, ScopeId};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{
    Origins, head,
    holder::{Draw, Holder, Publication, Reason, Seen, Step, outranks},
};

/// The greatest part of a pause that is drawn.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How long a holder waits after it could not sign: longer than a step takes, and well below the time that a change may take when an
/// operator is there to see it.
const SIGN_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A counter beyond this was not reached by takeovers: one each second would take 68 years. A holder jumped there.
const SUSPICIOUS_COUNTER: u32 = 1 << 31;

/// What a local scope should have, as a source says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The source's term: greater whenever the source is another process, or another one of several that decide.
    pub term: u64,
    /// The content.
    pub content: BTreeMap<Arc<str>, Bytes>,
}

impl Wish {
    fn size(&self) -> Size {
        let bytes = self.content.iter().map(|(key, value)| key.len() + value.len()).sum();
        Size { keys: self.content.len(), bytes }
    }
}

/// The wishes of all sources, by local scope. No wish: this agent publishes nothing new of the scope, and keeps what it holds.
pub type Wishes = BTreeMap<ScopeId, Arc<Wish>>;

/// Publishes what sources wish for in the local scopes whose Origin names this agent. Beside it only links to other agents
/// write local scopes into the hub.
#[derive(Debug)]
pub struct Holding {
    replicas: Replicas,
    origins: Origins,
    authority: LiveAuthority,
    wishes: watch::Receiver<Wishes>,
    held: BTreeMap<ScopeId, Held>,
}

/// Tells a [`Holding`] what other nodes hold.
#[derive(Debug, Clone)]
pub struct HoldingHandle {
    replicas: Replicas,
    origins: Origins,
}

/// One scope of which this agent is a holder.
#[derive(Debug)]
struct Held {
    holder: Holder,
    /// When the Origin was made that the holder is of.
    made_at_ms: u64,
    compared: Option<Compared>,
    /// The wish that cannot be published: it is said once.
    impossible: Option<Arc<Wish>>,
    /// Every counter is taken: it is said once.
    is_exhausted: bool,
    /// Not to be published before, because it could not be signed.
    not_before: Option<Instant>,
}

/// Whether a replica is as wished, and as of when.
#[derive(Debug)]
struct Compared {
    seen: Option<hanse_sync::Seen>,
    wish: Arc<Wish>,
    is_as_wished: bool,
}

impl HoldingHandle {
    /// Notes that a node was shown to hold a head. One that no holder signed counts for nothing: any gateway could claim the last
    /// counter there is. An agent that is no holder tells those of it that it follows: the sessions of its links ask [`Origins`].
    pub fn meet(&self, scope: &ScopeId, head: &HeldHead) {
        let HeldHead { position, root, signature } = head;
        let is_new = |known: Option<Position>| known.is_none_or(|known| outranks(position, &known));
        let held = self.replicas.read(|map| believed(&self.origins, scope, map.get(scope)));
        let met = || self.origins.met(scope).map(|met| met.position);
        if !is_new(held) || !is_new(met()) {
            return; // no signature is verified for what changes nothing
        }
        if let Err(why) = self.origins.judge(scope, position, root, signature)
            && !seeded("believe-unsigned-hello")
        {
            // Any gateway may say it, as often as it likes, and an honest one does while an Origin is on its way: it is counted, and not
            // logged as a warning.
            self.replicas.metrics().heads_disbelieved.inc();
            debug!(%scope, %position, %why, "a subscriber says that it holds or was shown a head that is not believed");
            return;
        }
        self.origins.meet(scope, head, |known| is_new(known.map(|known| known.position)));
    }
}

/// Where a replica stands, if that counts now.
fn believed(origins: &Origins, scope: &ScopeId, replica: Option<&Replica>) -> Option<Position> {
    origins.believed(scope, replica)?.position().copied()
}

impl Holding {
    /// A task that writes into `replicas` what `wishes` say, signed by the agent's authority.
    pub fn new(
        replicas: Replicas,
        origins: Origins,
        authority: LiveAuthority,
        wishes: watch::Receiver<Wishes>,
    ) -> (Self, HoldingHandle) {
        let handle = HoldingHandle { replicas: replicas.clone(), origins: origins.clone() };
        (Self { replicas, origins, authority, wishes, held: BTreeMap::new() }, handle)
    }

    /// Publishes until the shutdown. A call after one that ended goes on where that stopped.
    pub async fn run(&mut self, shutdown: Shutdown) {
        let (mut replicas, mut origins) = (self.replicas.subscribe(), self.origins.changed());
        let (mut met, mut wishes) = (self.origins.met_changed(), self.wishes.clone());
        let mut refused = self.origins.refused();
        let mut has_sources = true;
        loop {
            // What comes while a step is under way is seen by the next.
            replicas.mark_unchanged();
            origins.mark_unchanged();
            met.mark_unchanged();
            wishes.mark_unchanged();
            refused.mark_unchanged();
            let due = self.step(Instant::now(), &mut draw);
            tokio::select! {
                () = shutdown.wait() => return,
                changed = wishes.changed(), if has_sources => has_sources = changed.is_ok(),
                changed = replicas.changed() => if changed.is_err() { return },
                changed = origins.changed() => if changed.is_err() { return },
                changed = met.changed() => if changed.is_err() { return },
                changed = refused.changed() => if changed.is_err() { return },
                () = sleep_until(due) => {}
            }
        }
    }

    /// Looks at every wish. When to look again, though nothing changes.
    pub(crate) fn step(&mut self, now: Instant, draw: &mut dyn FnMut() -> Draw) -> Option<Instant> {
        let key = head::digest_of(&self.authority.current().key().public_key_der());
        let wishes = self.wishes.borrow().clone();
        let origins = &self.origins;
        // What a holder knew of a scope ends with its being one, and with the Origin.
        self.held.retain(|scope, held| {
            origins.held_by(scope, &key).is_ok_and(|origin| origin.made_at_ms == held.made_at_ms)
        });
        origins.forget_met(&self.replicas);
        let scopes: BTreeSet<ScopeId> = self.held.keys().chain(wishes.keys()).cloned().collect();
        for scope in scopes {
            if let Ok(origin) = self.origins.held_by(&scope, &key) {
                self.step_one(&scope, wishes.get(&scope), key, origin.made_at_ms, now, draw());
            }
        }
        self.held.values().filter_map(Held::due).min()
    }

    fn step_one(
        &mut self,
        scope: &ScopeId,
        wish: Option<&Arc<Wish>>,
        key: KeyDigest,
        made_at_ms: u64,
        now: Instant,
        draw: Draw,
    ) {
        let held = self
            .held
            .entry(scope.clone())
            .or_insert_with(|| Held::new(Holder::new(key, made_at_ms), made_at_ms));
        held.not_before = held.not_before.filter(|at| now < *at);
        // What costs a look at every key is done with a copy, which shares keys and values: while the hub is locked, streams wait.
        let (position, seen, mut copy) = self.replicas.read(|map| {
            let replica = map.get(scope);
            let seen = replica.and_then(Replica::seen);
            let is_compared = wish.is_none_or(|wish| held.compared_with(seen, wish).is_some());
            let copy = (!is_compared).then(|| replica.cloned().unwrap_or_default());
            (believed(&self.origins, scope, replica), seen, copy)
        });
        let is_as_wished = wish.is_some_and(|wish| held.is_as_wished(seen, copy.as_ref(), wish));
        let seen = Seen {
            term: wish.map(|wish| wish.term),
            held: position,
            is_as_wished,
            met: self.origins.met(scope).map(|met| met.position),
        };
        let (publication, wish) = match (held.holder.step(seen, now, draw), wish) {
            (Step::Publish(publication), Some(wish)) => (publication, wish),
            (Step::Exhausted, _) => {
                if !std::mem::replace(&mut held.is_exhausted, true) {
                    error!(%scope, "the last counter of this local scope is taken: revoke the holder that took it, or delete the Origin and make it anew");
                }
                held.holder.failed();
                return;
            }
            (Step::Rest, _) | (Step::Publish(_), None) => return,
        };
        let is_impossible = held.impossible.as_ref().is_some_and(|impossible| Arc::ptr_eq(impossible, wish));
        if is_impossible || held.not_before.is_some() {
            held.holder.failed();
            return;
        }
        let copy = copy
            .take()
            .unwrap_or_else(|| self.replicas.read(|map| map.get(scope).cloned()).unwrap_or_default());
        let is_believed = position.is_some();
        match publish(&self.replicas, &self.authority, scope, publication, wish, &copy, is_believed) {
            Ok(Size { keys, bytes }) => {
                held.holder.published(publication, wish.term);
                (held.impossible, held.is_exhausted, held.not_before) = (None, false, None);
                tell(scope, publication, keys, bytes);
            }
            // The next step sees where it stands now.
            Err(CannotPublish::Moved(error)) => debug!(%scope, %error, "not published"),
            Err(error) => {
                error!(%scope, error = %telemetry::causes(&error), "a local scope cannot be published");
                held.holder.failed();
                match error {
                    CannotPublish::TooLarge { .. } => held.impossible = Some(wish.clone()),
                    CannotPublish::Sign(_) | CannotPublish::Moved(_) => {
                        held.not_before = Some(now + SIGN_AGAIN_AFTER);
                    }
                }
            }
        }
    }
}

impl Held {
    fn new(holder: Holder, made_at_ms: u64) -> Self {
        let (compared, impossible, is_exhausted, not_before) = Default::default();
        Self { holder, made_at_ms, compared, impossible, is_exhausted, not_before }
    }

    /// When to look again, though nothing changes.
    fn due(&self) -> Option<Instant> {
        self.holder.due().into_iter().chain(self.not_before).min()
    }

    /// Whether this state of the replica is as wished, if the two were compared.
    fn compared_with(&self, seen: Option<hanse_sync::Seen>, wish: &Arc<Wish>) -> Option<bool> {
        let compared = self.compared.as_ref()?;
        let is_this = compared.seen == seen && Arc::ptr_eq(&compared.wish, wish);
        is_this.then_some(compared.is_as_wished)
    }

    /// Compares what is held with the wish. That costs a look at every key, so it is done once for each state of the two.
    fn is_as_wished(
        &mut self,
        seen: Option<hanse_sync::Seen>,
        replica: Option<&Replica>,
        wish: &Arc<Wish>,
    ) -> bool {
        if let Some(is_as_wished) = self.compared_with(seen, wish) {
            return is_as_wished;
        }
        let is_as_wished =
            seen.is_some() && replica.is_some_and(|replica| changes_to(replica, wish).is_empty());
        self.compared = Some(Compared { seen, wish: wish.clone(), is_as_wished });
        is_as_wished
    }
}

/// Why a wish is not published.
#[derive(Debug, thiserror::Error)]
enum CannotPublish {
    #[error(
        "its source wishes for {keys} keys and {bytes} bytes, and a local scope has at most {MAX_LOCAL_KEYS} and {MAX_LOCAL_BYTES}: \
         split its Origin"
    )]
    TooLarge { keys: usize, bytes: usize },
    #[error("it cannot be signed")]
    Sign(#[from] PkiError),
    #[error(transparent)]
    Moved(#[from] AdvanceError),
}

/// What leads from the content of a replica to what is wished.
fn changes_to(replica: &Replica, wish: &Wish) -> Changes {
    let differing = wish.content.iter().filter(|(key, value)| replica.get(key) != Some(*value));
    let unwished = replica.iter().map(|(key, _)| key).filter(|key| !wish.content.contains_key(*key));
    Changes {
        upserts: differing.map(|(key, value)| (key.clone(), value.clone())).collect(),
        removals: unwished.map(Arc::from).collect(),
    }
}

/// Publishes a wish. `copy` is what the hub holds of the scope; `is_believed`: as a head that counts.
fn publish(
    replicas: &Replicas,
    authority: &LiveAuthority,
    scope: &ScopeId,
    publication: Publication,
    wish: &Wish,
    copy: &Replica,
    is_believed: bool,
) -> Result<Size, CannotPublish> {
    let size @ Size { keys, bytes } = wish.size();
    if keys > MAX_LOCAL_KEYS || bytes > MAX_LOCAL_BYTES {
        return Err(CannotPublish::TooLarge { keys, bytes });
    }
    let content = || wish.content.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let change = match publication {
        Publication::Takeover { to, .. } if is_believed => copy.prepare_snapshot(to, content())?,
        Publication::Takeover { to, .. } => copy.prepare_afresh(to, content()),
        Publication::Changes { to } => {
            let Changes { upserts, removals } = changes_to(copy, wish);
            copy.prepare_delta(to, upserts, removals)?
        }
    };
    let signature = head::sign(authority.current().key(), scope, change.to(), &change.root())?;
    replicas.update(scope, |replica| replica.commit(change.signed(signature)))?;
    Ok(size)
}

fn tell(scope: &ScopeId, publication: Publication, keys: usize, bytes: usize) {
    let Publication::Takeover { to, reason } = publication else { return };
    let counter = head::counter_of(&to.lineage);
    match reason {
        Reason::Term => info!(%scope, %to, keys, bytes, "this agent publishes a local scope"),
        Reason::Unheard => {
            warn!(%scope, %to, keys, bytes, "took a local scope over from a holder that had not heard of this one")
        }
        Reason::Differs => error!(
            %scope, %to, keys, bytes,
            "took a local scope over whose holder does not publish what the source here says; do the sources of its holders agree?"
        ),
        Reason::Unreached => {
            warn!(%scope, %to, keys, bytes, "took a local scope over whose last head does not reach this agent or counts no longer")
        }
    }
    if counter > SUSPICIOUS_COUNTER {
        error!(
            %scope, counter,
            "a holder jumped to this counter: revoke the holder, so that the counter counts no longer"
        );
    }
}

fn draw() -> Draw {
    Draw { generation: rand::random(), id: rand::random(), pause: MAX_PAUSE.mul_f32(rand::random()) }
}

#[cfg(test)]
mod tests;
