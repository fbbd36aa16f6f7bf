//! A dump: what another federation needs to serve the same.
//!
//! It has every resource but JoinTokens, which let nodes join this federation only. Of Secrets it has all but the data. Of ApiRevisions it has those that Bindings
//! serve or served: the latest one of each Api is made anew, under its old number, when the Api is restored.

use std::{collections::BTreeSet, ops::Bound};

use hanse_management::{
    Kind, ResourceKey, Spec,
    manifest::{Manifest, Restored},
};

use crate::{Resource, State};

/// The name of the Token that a federation is founded with: another one has a Token of that name, and another digest.
pub const FIRST_TOKEN: &str = "bootstrap";

/// A dump of one state.
#[derive(Debug)]
pub struct Dump {
    state: State,
    /// Whether operators' tokens are in it.
    tokens: bool,
    /// The ApiRevisions that are in it.
    revisions: BTreeSet<ResourceKey>,
}

impl Dump {
    /// The dump of `state`; with `tokens`, operators' tokens are in it, but for the [first](FIRST_TOKEN).
    pub fn of(state: State, tokens: bool) -> Self {
        let bindings = state.list(Kind::Binding, None);
        let revisions = bindings.flat_map(|binding| state.kept_for(binding)).collect();
        Self { state, tokens, revisions }
    }

    /// The state that it is of.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its resources behind `after`, or all of them, each after those that it refers to.
    pub fn resources_after(&self, after: Option<&ResourceKey>) -> impl Iterator<Item = Manifest> + '_ {
        let first = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        let resources = self.state.resources.range((first, Bound::Unbounded));
        resources.filter(|(_, resource)| self.has(resource)).map(|(_, resource)| manifest(resource))
    }

    fn has(&self, resource: &Resource) -> bool {
        match &resource.spec {
            Spec::JoinToken(_) => false,
            Spec::Token(_) => self.tokens && resource.key.name.as_str() != FIRST_TOKEN,
            Spec::ApiRevision(revision) => {
                let api = self.state.get(&resource.key.sibling(Kind::Api, revision.api.clone()));
                let is_latest = api.is_some_and(|api| api.metadata.api_revision == revision.number);
                self.revisions.contains(&resource.key) && !is_latest
            }
            // Decisions, too: another federation serves from the same regions.
            _other => true,
        }
    }
}

/// A resource as it is restored.
fn manifest(resource: &Resource) -> Manifest {
    let Resource { key, metadata, spec } = resource;
    let api_revision = (key.kind == Kind::Api).then_some(metadata.api_revision);
    let restored = Restored { api_revision, served: metadata.served.clone() };
    Manifest {
        key: key.clone(),
        labels: metadata.labels.clone(),
        protected: metadata.protected.then_some(true),
        spec: without_data(spec),
        revision: None,
        restored: Some(Box::new(restored)),
    }
}

/// No dump has data of Secrets: another federation has another key, and a dump is a file like any other.
fn without_data(spec: &Spec) -> Spec {
    match spec {
        Spec::Secret(secret) => secret.without_data().into(),
        spec => spec.clone(),
    }
}

#[cfg(test)]
mod tests;
