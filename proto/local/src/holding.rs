//! The task around [`Holder`]: publishes what sources wish for, into the hub of an agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_identity::{KeyDigest, LiveAuthority, PkiError};
use hanse_link::{HeldHead, Replicas};
use hanse_process::{Shutdown, telemetry};
use hanse_sync::{AdvanceError, Changes, Heads as _, MAX_LOCAL_BYTES, MAX_LOCAL_KEYS, Replica, Size};
use hanse_topology::{LineageOrder, Position, ScopeId};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{
    Origins, head,
    holder::{Draw, Holder, Publication, Reason, Seen, Step},
};

/// The greatest part of a pause that is drawn.
const MAX_PAUSE: Duration = Duration::from_secs(5);
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

/// The wishes of all sources, by local scope. No wish: this agent publishes nothing new of the scope, and keeps what it holds.
pub type Wishes = BTreeMap<ScopeId, Arc<Wish>>;

/// Publishes what sources wish for in the local scopes whose Origin names this agent. Nothing else writes local scopes into the hub.
#[derive(Debug)]
pub struct Holding {
    replicas: Replicas,
    origins: Origins,
    authority: LiveAuthority,
    wishes: watch::Receiver<Wishes>,
    met: watch::Sender<BTreeMap<ScopeId, Position>>,
    held: BTreeMap<ScopeId, Held>,
}

/// Tells a [`Holding`] what other nodes hold.
#[derive(Debug, Clone)]
pub struct HoldingHandle {
    replicas: Replicas,
    origins: Origins,
    met: watch::Sender<BTreeMap<ScopeId, Position>>,
}

/// One scope of which this agent is a holder.
#[derive(Debug)]
struct Held {
    holder: Holder,
    compared: Option<Compared>,
    /// The wish that cannot be published: it is said once.
    impossible: Option<Arc<Wish>>,
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
    /// counter there is.
    pub fn meet(&self, scope: &ScopeId, HeldHead { position, root, signature }: &HeldHead) {
        let is_new = |known: Option<&Position>| known.is_none_or(|known| is_rival(position, known));
        let held = self.replicas.read(|map| map.get(scope).and_then(|replica| replica.position().copied()));
        if !is_new(held.as_ref()) || !is_new(self.met.borrow().get(scope)) {
            return; // no signature is verified for what changes nothing
        }
        if let Err(why) = self.origins.judge(scope, position, root, signature) {
            warn!(%scope, %position, why, "a subscriber says that it holds a head that is not believed");
            return;
        }
        self.met.send_modify(|met| {
            if is_new(met.get(scope)) {
                met.insert(scope.clone(), *position);
            }
        });
    }
}

/// Whether a node that stands at `position` does not follow one that stands at `known`.
fn is_rival(position: &Position, known: &Position) -> bool {
    matches!(position.lineage.order(&known.lineage), LineageOrder::Greater | LineageOrder::Conflict)
}

impl Holding {
    /// A task that writes into `replicas` what `wishes` say, signed by the agent's authority.
    pub fn new(
        replicas: Replicas,
        origins: Origins,
        authority: LiveAuthority,
        wishes: watch::Receiver<Wishes>,
    ) -> (Self, HoldingHandle) {
        let met = watch::Sender::default();
        let handle = HoldingHandle { replicas: replicas.clone(), origins: origins.clone(), met: met.clone() };
        (Self { replicas, origins, authority, wishes, met, held: BTreeMap::new() }, handle)
    }

    /// Publishes until the shutdown. A call after one that ended goes on where that stopped.
    pub async fn run(&mut self, shutdown: Shutdown) {
        let (mut replicas, mut origins) = (self.replicas.subscribe(), self.origins.changed());
        let (mut met, mut wishes) = (self.met.subscribe(), self.wishes.clone());
        let mut has_sources = true;
        loop {
            // What comes while a step is under way is seen by the next.
            replicas.mark_unchanged();
            origins.mark_unchanged();
            met.mark_unchanged();
            wishes.mark_unchanged();
            let due = self.step(Instant::now());
            tokio::select! {
                () = shutdown.wait() => return,
                changed = wishes.changed(), if has_sources => has_sources = changed.is_ok(),
                changed = replicas.changed() => if changed.is_err() { return },
                changed = origins.changed() => if changed.is_err() { return },
                changed = met.changed() => if changed.is_err() { return },
                () = until(due) => {}
            }
        }
    }

    /// Looks at every wish. When to look again, though nothing changes.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Instant> {
        let key = head::digest_of(&self.authority.current().key().public_key_der());
        let wishes = self.wishes.borrow().clone();
        let mine: BTreeSet<&ScopeId> =
            wishes.keys().filter(|scope| self.origins.is_held_by(scope, &key)).collect();
        // What a holder knew of a scope ends with its being one.
        let lost =
            |scope: &ScopeId| self.origins.get(scope).is_none() || !self.origins.is_held_by(scope, &key);
        self.held.retain(|scope, _| !lost(scope));
        let without_wish: Vec<ScopeId> =
            self.held.keys().filter(|scope| !mine.contains(scope)).cloned().collect();
        for scope in without_wish {
            self.step_one(&scope, None, key, now);
        }
        for (scope, wish) in wishes.iter().filter(|(scope, _)| mine.contains(scope)) {
            self.step_one(scope, Some(wish), key, now);
        }
        self.held.values().filter_map(|held| held.holder.due()).min()
    }

    fn step_one(&mut self, scope: &ScopeId, wish: Option<&Arc<Wish>>, key: KeyDigest, now: Instant) {
        let held = self.held.entry(scope.clone()).or_insert_with(|| Held {
            holder: Holder::new(key),
            compared: None,
            impossible: None,
        });
        let replicas = self.replicas.clone();
        let (position, is_as_wished) = replicas.read(|map| {
            let replica = map.get(scope);
            let position = replica.and_then(Replica::position).copied();
            (position, wish.is_some_and(|wish| held.is_as_wished(replica, wish)))
        });
        let seen = Seen {
            term: wish.map(|wish| wish.term),
            held: position,
            is_as_wished,
            met: self.met.borrow().get(scope).copied(),
        };
        let (publication, wish) = match (held.holder.step(seen, now, draw()), wish) {
            (Step::Publish(publication), Some(wish)) => (publication, wish),
            (Step::Exhausted, _) => {
                error!(%scope, "every counter of this local scope is taken: delete its Origin, and make it anew under another name");
                return;
            }
            (Step::Rest, _) | (Step::Publish(_), None) => return,
        };
        if held.impossible.as_ref().is_some_and(|impossible| Arc::ptr_eq(impossible, wish)) {
            return;
        }
        match publish(&replicas, &self.authority, scope, publication, wish) {
            Ok(Size { keys, bytes }) => {
                held.holder.published(publication, wish.term);
                tell(scope, publication, keys, bytes);
            }
            // The next step sees where it stands now.
            Err(CannotPublish::Moved(error)) => debug!(%scope, %error, "not published"),
            Err(error) => {
                error!(%scope, error = %telemetry::causes(&error), "a local scope cannot be published");
                held.impossible = Some(wish.clone());
            }
        }
    }
}

impl Held {
    /// Compares what is held with the wish. That costs a look at every key, so it is done once for each state of the two.
    fn is_as_wished(&mut self, replica: Option<&Replica>, wish: &Arc<Wish>) -> bool {
        let seen = replica.and_then(Replica::seen);
        if let Some(compared) = &self.compared
            && compared.seen == seen
            && Arc::ptr_eq(&compared.wish, wish)
        {
            return compared.is_as_wished;
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

fn publish(
    replicas: &Replicas,
    authority: &LiveAuthority,
    scope: &ScopeId,
    publication: Publication,
    wish: &Wish,
) -> Result<Size, CannotPublish> {
    let nothing = Replica::new();
    let prepared = replicas.read(|map| {
        let replica = map.get(scope).unwrap_or(&nothing);
        match publication {
            Publication::Takeover { to, .. } => {
                let content = wish.content.iter().map(|(key, value)| (key.clone(), value.clone()));
                replica.prepare_snapshot(to, content.collect())
            }
            Publication::Changes { to } => {
                let Changes { upserts, removals } = changes_to(replica, wish);
                replica.prepare_delta(to, upserts, removals)
            }
        }
    });
    let change = prepared?;
    let size @ Size { keys, bytes } = change.size();
    if keys > MAX_LOCAL_KEYS || bytes > MAX_LOCAL_BYTES {
        return Err(CannotPublish::TooLarge { keys, bytes });
    }
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
    }
    if counter > SUSPICIOUS_COUNTER {
        error!(
            %scope, counter,
            "a holder jumped to this counter: revoke the holder, and make the Origin anew under another name before the counters end"
        );
    }
}

fn draw() -> Draw {
    Draw { generation: rand::random(), id: rand::random(), pause: MAX_PAUSE.mul_f32(rand::random()) }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
