//! The Origins that a node knows, and the heads of local scopes that it believes by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use hanse_identity::{KeyDigest, LiveTrust, Refused};
use hanse_link::Replicas;
use hanse_process::seeded;
use hanse_runtime::Origin;
use hanse_sync::{ContentRoot, Disbelief, HeadSignature, Heads, HeldHead, Replica, ReplicaMap};
use hanse_topology::{Identity, Lineage, LineageOrder, Name, Position, ScopeId};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::head;

/// The Origins that a node knows, by the local scope of each. Cloning shares them.
#[derive(Clone)]
pub struct Origins {
    shared: Arc<Shared>,
    /// Only scopes of this holder are wanted; none: all.
    holder: Option<Name>,
    /// What the agent holds, on a link that has a hub of its own.
    own: Option<Replicas>,
}

struct Shared {
    known: RwLock<BTreeMap<ScopeId, Arc<Origin>>>,
    /// Whom the node refuses: a revoked holder is not believed any more.
    trust: LiveTrust,
    changed: watch::Sender<u64>,
    held: watch::Sender<BTreeSet<ScopeId>>,
    /// The greatest head of each local scope that another node was shown to hold.
    met: watch::Sender<BTreeMap<ScopeId, HeldHead>>,
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.shared.known.read().keys().map(ScopeId::to_string)).finish()
    }
}

impl Origins {
    /// None yet.
    pub(crate) fn new(trust: LiveTrust) -> Self {
        let (known, changed, held, met) = Default::default();
        let shared = Arc::new(Shared { known, trust, changed, held, met });
        Self { shared, holder: None, own: None }
    }

    /// The same for a link of an agent that holds `own`. One to a `holder` that is no relay wants the local scopes whose Origin names that
    /// holder. Everything else comes from relays: a relay that took the same scopes from fifty holders would have fifty copies of them.
    pub fn of_link(&self, own: Replicas, holder: Option<Name>) -> Self {
        Self { shared: self.shared.clone(), holder, own: Some(own) }
    }

    /// The Origin of a local scope.
    pub fn get(&self, scope: &ScopeId) -> Option<Arc<Origin>> {
        self.shared.known.read().get(scope).cloned()
    }

    /// The Origin of a local scope, if the agent with this key is a holder now; else why it is none.
    pub(crate) fn held_by(&self, scope: &ScopeId, key: &KeyDigest) -> Result<Arc<Origin>, String> {
        let origin = self.get(scope).ok_or("this node knows no Origin that places it")?;
        let named = origin.holders.iter().find(|holder| holder.key == *key);
        let holder =
            named.ok_or_else(|| format!("its Origin names no holder with the key {}", hex::encode(key)))?;
        let name = Name::new(&holder.name).map_err(|_| format!("{:?} names no agent", holder.name))?;
        let agent = Identity::agent(name, scope.region().clone());
        match self.shared.trust.refuses_peer(&agent, &[*key]) {
            true => Err(format!("{agent} is revoked")),
            false => Ok(origin),
        }
    }

    /// Whether a lineage counts that this key is said to have started; else why not.
    pub(crate) fn counts(&self, scope: &ScopeId, lineage: &Lineage, key: &KeyDigest) -> Result<(), String> {
        let origin = self.held_by(scope, key)?;
        match head::may_have_started(lineage, key, origin.made_at_ms) || seeded("believe-deleted") {
            true => Ok(()),
            false => Err("its lineage is of another holder, or of an Origin that was deleted".to_owned()),
        }
    }

    /// Fires when others are revoked than before: other heads are believed then.
    pub fn refused(&self) -> watch::Receiver<Arc<Refused>> {
        self.shared.trust.refused()
    }

    /// The names of all agents that hold an Origin.
    pub fn holders(&self) -> BTreeSet<Name> {
        let known = self.shared.known.read();
        let holders = known.values().flat_map(|origin| &origin.holders);
        holders.filter_map(|holder| Name::new(&holder.name).ok()).collect()
    }

    /// Fires when an Origin comes, changes or goes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// The local scopes of which the node holds a head that it believes: it may pass these on.
    pub fn held(&self) -> watch::Receiver<BTreeSet<ScopeId>> {
        self.shared.held.subscribe()
    }

    pub(crate) fn set_held(&self, held: BTreeSet<ScopeId>) {
        self.shared.held.send_if_modified(|before| {
            let is_news = *before != held;
            *before = held;
            is_news
        });
    }

    /// Keeps a head that was judged, if it `is_new` beside what is kept. Key and signature are copied: they would keep the whole message
    /// alive that they came in, and a stranger may make that as large as a message may be.
    pub(crate) fn meet(
        &self,
        scope: &ScopeId,
        head: &HeldHead,
        is_new: impl FnOnce(Option<&HeldHead>) -> bool,
    ) {
        self.shared.met.send_if_modified(|met| {
            let is_new = is_new(met.get(scope).filter(|met| self.counts_met(scope, met)));
            if is_new {
                let HeadSignature { spki, signature } = &head.signature;
                let copied = |octets: &Bytes| Bytes::copy_from_slice(octets);
                let signature = HeadSignature { spki: copied(spki), signature: copied(signature) };
                met.insert(scope.clone(), HeldHead { signature, ..head.clone() });
            }
            is_new
        });
    }

    /// Fires when another node was shown to hold a greater head.
    pub(crate) fn met_changed(&self) -> watch::Receiver<BTreeMap<ScopeId, HeldHead>> {
        self.shared.met.subscribe()
    }

    /// Drops the heads that were met and do not count any more, or that what is held in `own` follows: links tell of that themselves.
    pub(crate) fn forget_met(&self, own: &Replicas) {
        let known: Vec<(ScopeId, Position)> =
            self.shared.met.borrow().iter().map(|(scope, met)| (scope.clone(), met.position)).collect();
        let is_followed = |(scope, position): &(ScopeId, Position)| {
            let held =
                |map: &ReplicaMap| self.believed(scope, map.get(scope)).and_then(Replica::position).copied();
            own.read(held).is_some_and(|held| held.may_follow(position))
        };
        // The hub is read before the heads are locked: sessions lock the two the other way round.
        let followed: Vec<_> = known.into_iter().filter(is_followed).collect();
        self.shared.met.send_if_modified(|met| {
            met.retain(|scope, met| {
                let is_followed =
                    followed.iter().any(|(of, position)| of == scope && *position == met.position);
                !is_followed && self.counts_met(scope, met)
            });
            false // nobody waits for what goes
        });
    }

    fn counts_met(&self, scope: &ScopeId, HeldHead { position, signature, .. }: &HeldHead) -> bool {
        self.is_holders(scope, position, signature).is_ok()
    }

    /// Changes what is known. `change` says whether it did.
    pub(crate) fn update(&self, change: impl FnOnce(&mut BTreeMap<ScopeId, Arc<Origin>>) -> bool) {
        let changed = change(&mut self.shared.known.write());
        if changed {
            self.shared.changed.send_modify(|version| *version += 1);
        }
    }
}

impl Heads for Origins {
    fn wants(&self, scope: &ScopeId) -> bool {
        let known = self.shared.known.read();
        let names = |origin: &Arc<Origin>, holder: &Name| {
            origin.holders.iter().any(|own| own.name == holder.as_str())
        };
        known.get(scope).is_some_and(|origin| self.holder.as_ref().is_none_or(|holder| names(origin, holder)))
    }

    fn met(&self, scope: &ScopeId) -> Option<HeldHead> {
        self.shared.met.borrow().get(scope).filter(|met| self.counts_met(scope, met)).cloned()
    }

    fn own(&self, scope: &ScopeId, link: Option<&Position>) -> Option<HeldHead> {
        let is_beside = |own: &Position| {
            link.is_none_or(|link| match own.lineage.order(&link.lineage) {
                LineageOrder::Greater | LineageOrder::Conflict => true,
                LineageOrder::Same | LineageOrder::Lesser => false,
            })
        };
        self.own.as_ref()?.read(|map| {
            // First what costs little: it is asked for on each link several times a second.
            let held = map.get(scope).filter(|held| held.position().is_some_and(is_beside));
            let own = self.believed(scope, held)?;
            let (position, signature) = (*own.position()?, own.signature()?.clone());
            Some(HeldHead { position, root: own.root(), signature })
        })
    }

    fn is_holders(
        &self,
        scope: &ScopeId,
        position: &Position,
        signature: &HeadSignature,
    ) -> Result<(), String> {
        let key = head::key_of(signature).ok_or("its key is no P-256 key")?;
        self.counts(scope, &position.lineage, &key)
    }

    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), Disbelief> {
        // First what costs little: any node may send any signature.
        self.is_holders(scope, position, signature).map_err(Disbelief::Unknown)?;
        let is_of = |scope: &ScopeId| head::verify(scope, position, root, signature);
        let is_of_any = || self.shared.known.read().keys().any(is_of);
        match is_of(scope) || seeded("judge-nothing") || (seeded("mix-origins") && is_of_any()) {
            true => Ok(()),
            false => Err(Disbelief::Forged("its signature does not fit it".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
