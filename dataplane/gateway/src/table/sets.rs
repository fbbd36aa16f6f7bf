//! What local scopes carry for Upstreams of the same Environment: sets of endpoints.
//!
//! A reference never makes the Upstream unusable: without the set it has its own endpoints. So scopes may come and go in any order. An
//! Upstream takes the set when it is compiled, and is compiled again when the set changes: only those that refer to it are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_runtime::EndpointsFrom;
use hanse_topology::{Name, ScopeId};

use super::UpstreamId;

/// Which set: the local scope that carries it, and its key there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    scope: ScopeId,
    key: Arc<str>,
}

impl SetId {
    /// The one of that key.
    pub fn new(scope: &ScopeId, key: &Arc<str>) -> Self {
        Self { scope: scope.clone(), key: key.clone() }
    }

    /// The one that an Upstream refers to: of its Environment, of its Region and of its Organization. `None`: no scope can carry it.
    pub fn referred(upstream: &UpstreamId, from: &EndpointsFrom) -> Option<Self> {
        let environment = upstream.scope.environment()?.clone();
        let scope = ScopeId::local(upstream.scope.region().clone(), environment, from.origin.clone());
        let key = format!("endpoints/{}/{}", upstream.organization, from.name).into();
        Some(Self { scope, key })
    }

    /// The Origin that publishes it.
    pub fn origin(&self) -> Option<&Name> {
        self.scope.origin()
    }

    /// Its key in the local scope.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Every set that local scopes carry and that can be used.
#[derive(Debug, Default)]
pub struct EndpointSets {
    known: BTreeMap<ScopeId, BTreeMap<Arc<str>, Arc<hanse_runtime::Endpoints>>>,
    changed: BTreeSet<SetId>,
}

impl EndpointSets {
    /// A set, if it is there.
    pub fn get(&self, id: &SetId) -> Option<&Arc<hanse_runtime::Endpoints>> {
        self.known.get(&id.scope)?.get(&id.key)
    }

    /// A set is there, or another version of it.
    pub fn insert(&mut self, id: SetId, set: hanse_runtime::Endpoints) {
        self.known.entry(id.scope.clone()).or_default().insert(id.key.clone(), Arc::new(set));
        self.changed.insert(id);
    }

    /// A set is gone.
    pub fn remove(&mut self, id: SetId) {
        let Some(sets) = self.known.get_mut(&id.scope) else { return };
        if sets.remove(&id.key).is_some() {
            self.changed.insert(id);
        }
    }

    /// A local scope is gone, with its sets.
    pub fn remove_scope(&mut self, scope: &ScopeId) {
        let gone = self.known.remove(scope).unwrap_or_default();
        self.changed.extend(gone.into_keys().map(|key| SetId { scope: scope.clone(), key }));
    }

    /// What came, changed or went since this was asked last.
    pub fn take_changed(&mut self) -> BTreeSet<SetId> {
        std::mem::take(&mut self.changed)
    }
}
