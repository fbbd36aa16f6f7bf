//! The Origins that a node knows, and the heads of local scopes that it believes by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use hanse_identity::{KeyDigest, LiveTrust};
use hanse_runtime::Origin;
use hanse_sync::{ContentRoot, HeadSignature, Heads};
use hanse_topology::{Identity, Name, Position, ScopeId};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::head;

/// The Origins that a node knows, by the local scope of each. Cloning shares them.
#[derive(Clone)]
pub struct Origins(Arc<Shared>);

struct Shared {
    known: RwLock<BTreeMap<ScopeId, Arc<Origin>>>,
    /// Whom the node refuses: a revoked holder is not believed any more.
    trust: LiveTrust,
    changed: watch::Sender<u64>,
    held: watch::Sender<BTreeSet<ScopeId>>,
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.known.read().keys().map(ScopeId::to_string)).finish()
    }
}

impl Origins {
    /// None yet.
    pub(crate) fn new(trust: LiveTrust) -> Self {
        let (changed, held) = Default::default();
        Self(Arc::new(Shared { known: RwLock::default(), trust, changed, held }))
    }

    /// The Origin of a local scope.
    pub fn get(&self, scope: &ScopeId) -> Option<Arc<Origin>> {
        self.0.known.read().get(scope).cloned()
    }

    /// Whether the agent with this key is a holder of a local scope.
    pub fn is_held_by(&self, scope: &ScopeId, key: &KeyDigest) -> bool {
        self.get(scope).is_some_and(|origin| origin.holders.iter().any(|holder| holder.key == *key))
    }

    /// The names of all agents that hold an Origin.
    pub fn holders(&self) -> BTreeSet<Name> {
        let known = self.0.known.read();
        let holders = known.values().flat_map(|origin| &origin.holders);
        holders.filter_map(|holder| Name::new(&holder.name).ok()).collect()
    }

    /// Fires when an Origin comes, changes or goes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The local scopes that the node holds and knows the Origin of: it may pass these on.
    pub fn held(&self) -> watch::Receiver<BTreeSet<ScopeId>> {
        self.0.held.subscribe()
    }

    pub(crate) fn set_held(&self, held: BTreeSet<ScopeId>) {
        self.0.held.send_if_modified(|before| {
            let is_news = *before != held;
            *before = held;
            is_news
        });
    }

    /// Changes what is known. `change` says whether it did.
    pub(crate) fn update(&self, change: impl FnOnce(&mut BTreeMap<ScopeId, Arc<Origin>>) -> bool) {
        let changed = change(&mut self.0.known.write());
        if changed {
            self.0.changed.send_modify(|version| *version += 1);
        }
    }
}

impl Heads for Origins {
    fn wants(&self, scope: &ScopeId) -> bool {
        self.0.known.read().contains_key(scope)
    }

    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), String> {
        let origin = self.get(scope).ok_or("this node knows no Origin that places it")?;
        let key = head::verify(scope, position, root, signature).map_err(|error| error.to_string())?;
        let named = origin.holders.iter().find(|holder| holder.key == key);
        let holder =
            named.ok_or_else(|| format!("its Origin names no holder with the key {}", hex::encode(key)))?;
        let name = Name::new(&holder.name).map_err(|error| format!("the holder's name is none: {error}"))?;
        let agent = Identity::agent(name, scope.region().clone());
        match self.0.trust.refuses_peer(&agent, &[key]) {
            true => Err(format!("{agent} is revoked")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
