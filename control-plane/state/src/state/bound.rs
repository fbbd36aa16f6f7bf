//! Which ApiRevisions a Binding serves where.

use std::{collections::BTreeSet, sync::Arc};

use hanse_management::{
    ResourceKey, Spec,
    kinds::{ApiRevisionSpec, RevisionRef},
};
use hanse_topology::Name;

use super::{State, query::as_binding};
use crate::Resource;

/// The regions in which a Binding means another revision than it names, each with that revision. There are none: a rule by which
/// regions differ, such as a rollout, goes here.
///
/// A rule may read the Binding and its Api's revisions. What it reads beside them belongs into `touch` of `projection::runtime`
/// and into `affected` of `validate::consistency`.
#[cfg(not(test))]
pub(crate) fn exceptions(
    _state: &State,
    _binding: &Resource,
) -> std::collections::BTreeMap<Name, RevisionRef> {
    std::collections::BTreeMap::new()
}

#[cfg(test)]
pub(crate) use crate::fixture::exceptions;

impl State {
    /// The ApiRevision that a Binding serves in `region`; `None` for anything but a Binding.
    pub(crate) fn bound_revision(&self, binding: &Resource, region: &Name) -> Option<&Arc<Resource>> {
        match exceptions(self, binding).get(region) {
            Some(exception) => self.revision_of(binding, *exception),
            None => self.named_revision(binding),
        }
    }

    /// The ApiRevision that a Binding names; `None` for anything but a Binding.
    pub(crate) fn named_revision(&self, binding: &Resource) -> Option<&Arc<Resource>> {
        self.revision_of(binding, as_binding(binding)?.1.revision)
    }

    /// The ApiRevision that a Binding names, and those that it serves in some regions instead. One may be there twice. Empty for
    /// anything but a Binding.
    pub(crate) fn bound_revisions(&self, binding: &Resource) -> Vec<&Arc<Resource>> {
        let exceptions = exceptions(self, binding).into_values();
        let exceptions = exceptions.filter_map(|revision| self.revision_of(binding, revision));
        self.named_revision(binding).into_iter().chain(exceptions).collect()
    }

    /// The ApiRevisions that a Binding names, serves somewhere or served before. Empty for anything but a Binding.
    pub(crate) fn kept_for(&self, binding: &Resource) -> BTreeSet<ResourceKey> {
        let Some((organization, spec)) = as_binding(binding) else { return BTreeSet::new() };
        let served = binding.metadata.served.iter();
        let served = served.filter_map(|number| ApiRevisionSpec::key(organization, &spec.api, *number));
        let bound = self.bound_revisions(binding).into_iter().map(|revision| revision.key.clone());
        bound.chain(served).collect()
    }

    /// The number of the ApiRevision that a Binding names; `None` for anything but a Binding.
    pub(crate) fn served_number(&self, binding: &Resource) -> Option<u64> {
        let revision = self.named_revision(binding)?;
        if let Spec::ApiRevision(spec) = &revision.spec { Some(spec.number) } else { None }
    }

    fn revision_of(&self, binding: &Resource, revision: RevisionRef) -> Option<&Arc<Resource>> {
        let (organization, spec) = as_binding(binding)?;
        match revision {
            RevisionRef::Number(number) => self.api_revision(organization, &spec.api, number),
            // `new` is the latest until the command that says it is applied, and its number from then on.
            RevisionRef::Latest(_) | RevisionRef::New(_) => self.latest_api_revision(organization, &spec.api),
        }
    }
}
