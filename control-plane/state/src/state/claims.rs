//! What resources claim, by the state.

use hanse_management::{
    Claim, Spec,
    kinds::{ApiRevisionSpec, Lifecycle},
};

use super::{State, query::as_binding};
use crate::Resource;

impl State {
    /// What a Binding serves: its ApiRevision, unless the Api is served nowhere. The Api's own lifecycle counts, not
    /// the one copied into a revision: blocking or retiring an Api reaches Bindings that are pinned to a number too.
    pub fn served_revision(&self, binding: &Resource) -> Option<(&ApiRevisionSpec, Lifecycle)> {
        let (organization, spec) = as_binding(binding)?;
        let lifecycle = self.api(organization, &spec.api)?.lifecycle;
        match lifecycle {
            Lifecycle::Published | Lifecycle::Deprecated | Lifecycle::Blocked => {}
            Lifecycle::Created | Lifecycle::Retired => return None,
        }
        let Spec::ApiRevision(revision) = &self.bound_revision(binding)?.spec else { return None };
        Some((revision, lifecycle))
    }
}

/// What `resource` claims in `state`. Only what a Binding serves needs the state; the kind's file says the rest.
pub(crate) fn claims_of(state: &State, resource: &Resource) -> Vec<Claim> {
    let served = state.served_revision(resource).map(|(revision, _)| &revision.spec);
    resource.spec.claims(&resource.key, served)
}
