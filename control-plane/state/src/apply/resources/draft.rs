//! A state in the making.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{Problem, ProblemName, ResourceKey, Revision, Spec, check, manifest::Restored};
use hanse_topology::Labels;

use super::{Effects, sealed};
use crate::{ChangeResult, Metadata, Resource, State};

/// The state after a command, while it is made.
pub(super) struct Draft<'a> {
    pub(super) before: &'a State,
    pub(super) next: &'a mut State,
    /// The revision this command makes, if it changes anything.
    pub(super) revision: Revision,
    /// What was asked to be there: a cascade must not take it.
    pub(super) asked: BTreeSet<ResourceKey>,
    /// What differs from `before`.
    pub(super) touched: BTreeSet<ResourceKey>,
    /// What was deleted, and with which requested delete it went.
    pub(super) deleted: BTreeMap<ResourceKey, ResourceKey>,
    results: Vec<(usize, ChangeResult)>,
}

/// The order of results that the request did not ask for: after those that it did.
const UNASKED: usize = usize::MAX;

impl<'a> Draft<'a> {
    pub(super) fn new(before: &'a State, next: &'a mut State) -> Self {
        Self {
            revision: before.revision + 1,
            before,
            next,
            asked: BTreeSet::new(),
            touched: BTreeSet::new(),
            deleted: BTreeMap::new(),
            results: Vec::new(),
        }
    }

    /// Creates or replaces a resource; equal ones stay as they are. `restored` is what a dump knows of it.
    pub(super) fn put(
        &mut self,
        order: usize,
        key: &ResourceKey,
        labels: &Labels,
        spec: &Spec,
        protected: Option<bool>,
        restored: Option<&Restored>,
    ) -> Result<(), Problem> {
        check::check_kind(key, spec, restored.is_some())?;
        self.asked.insert(key.clone());
        let present = self.before.get(key);
        let mut spec = with_whole_digest(key, spec, present.map(|present| &present.spec))?;
        let active = self.before.federation_keys.active().map(|(version, _)| version);
        sealed::settle(key, &mut spec, present.map(|present| &present.spec), active)?;
        if let Some(present) = present
            && present.spec == spec
            && present.metadata.labels == *labels
            && protected.is_none_or(|protected| protected == present.metadata.protected)
        {
            self.tell(order, key, ChangeResult::UNCHANGED, present.metadata.revision);
            return Ok(());
        }
        check::check_time(key, &spec, self.next.time_ms)?;
        let now_ms = self.next.time_ms;
        let served = restored.map(|restored| restored.served.clone()).unwrap_or_default();
        let fresh = Metadata { created_at_ms: now_ms, served, ..Metadata::default() };
        let mut metadata = present.map_or(fresh, |present| present.metadata.clone());
        if present.is_some_and(|present| present.spec.secret() != spec.secret()) {
            // Another secret has not been used yet.
            metadata.uses = 0;
            metadata.used_by.clear();
        }
        metadata.labels = labels.clone();
        metadata.protected = protected.unwrap_or(metadata.protected);
        metadata.revision = self.revision;
        metadata.updated_at_ms = now_ms;
        let action = if present.is_some() { ChangeResult::UPDATED } else { ChangeResult::CREATED };
        self.next.store(Resource { key: key.clone(), metadata, spec });
        self.touched.insert(key.clone());
        self.tell(order, key, action, self.revision);
        Ok(())
    }

    /// Deletes a resource that goes with `root`. What was there.
    pub(super) fn delete(&mut self, key: &ResourceKey, root: &ResourceKey) {
        if self.next.remove(key).is_some() {
            self.deleted.insert(key.clone(), root.clone());
            self.touched.insert(key.clone());
        }
    }

    /// Stores a resource that the server makes.
    pub(super) fn make(&mut self, key: ResourceKey, spec: Spec) {
        let metadata = Metadata {
            revision: self.revision,
            created_at_ms: self.next.time_ms,
            updated_at_ms: self.next.time_ms,
            ..Metadata::default()
        };
        self.next.store(Resource { key: key.clone(), metadata, spec });
        self.tell(UNASKED, &key, ChangeResult::CREATED, self.revision);
        self.touched.insert(key);
    }

    /// Removes a resource that the server no longer keeps.
    pub(super) fn drop_made(&mut self, key: ResourceKey) {
        self.next.remove(&key);
        self.tell(UNASKED, &key, ChangeResult::DELETED, 0);
        self.touched.insert(key);
    }

    /// Says what became of the resource that change number `order` asked for.
    pub(super) fn tell(&mut self, order: usize, key: &ResourceKey, action: &'static str, revision: Revision) {
        self.results.push((order, ChangeResult { key: key.clone(), action, revision }));
    }

    /// Leaves resources that were put as they were before the command.
    pub(super) fn restore(&mut self, mut puts: BTreeMap<ResourceKey, Resource>) {
        for (_, result) in &mut self.results {
            let Some(before) = puts.remove(&result.key) else { continue };
            (result.action, result.revision) = (ChangeResult::UNCHANGED, before.metadata.revision);
            self.touched.remove(&before.key);
            self.next.store(before);
        }
    }

    /// Says of Bindings, themselves unchanged, that they serve other ApiRevisions.
    pub(super) fn tell_moved(&mut self, mut moved: BTreeSet<ResourceKey>) {
        for (_, result) in &mut self.results {
            if moved.remove(&result.key) {
                result.action = ChangeResult::MOVED;
            }
        }
        for key in moved {
            let Some(revision) = self.next.get(&key).map(|binding| binding.metadata.revision) else {
                continue;
            };
            self.tell(UNASKED, &key, ChangeResult::MOVED, revision);
        }
    }

    /// Says that a resource went with another.
    pub(super) fn tell_also_deleted(&mut self, key: &ResourceKey) {
        self.tell(UNASKED, key, ChangeResult::DELETED, 0);
    }

    pub(super) fn into_effects(mut self) -> Effects {
        self.results.sort_by_key(|(order, _)| *order);
        Effects {
            makes_revision: !self.touched.is_empty(),
            touched: self.touched.into_iter().collect(),
            results: self.results.into_iter().map(|(_, result)| result).collect(),
            ..Effects::none()
        }
    }
}

/// The spec with the digest it means: a shortened one means the one that is there.
fn with_whole_digest(key: &ResourceKey, spec: &Spec, present: Option<&Spec>) -> Result<Spec, Problem> {
    let mut spec = spec.clone();
    if let Some(digest) = spec.secret_mut()
        && digest.is_shortened()
    {
        *digest = *present.and_then(Spec::secret).filter(|present| digest.stands_for(present)).ok_or_else(
            || {
                Problem::new(
                    ProblemName::Invalid,
                    format!("{} is a shortened digest, and not of the one that is there", digest.shortened()),
                )
                .at(format!("{key}: spec.digest"))
                .remedy("write the whole digest: \"sha256:\" and 64 hexadecimal digits")
            },
        )?;
    }
    Ok(spec)
}
