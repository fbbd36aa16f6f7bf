//! What resources claim, by the state.

use hanse_management::{
    Claim, Spec,
    kinds::{ApiRevisionSpec, Lifecycle},
};

use super::{State, query::as_binding};
use crate::Resource;

impl State {
    /// The lifecycle of a Binding's Api, unless the Api is served nowhere. The Api's own counts, not the one copied into a
    /// revision: blocking or retiring an Api reaches Bindings that are pinned to a number too.
    pub(crate) fn served_lifecycle(&self, binding: &Resource) -> Option<Lifecycle> {
        let (organization, spec) = as_binding(binding)?;
        match self.api(organization, &spec.api)?.lifecycle {
            served @ (Lifecycle::Published | Lifecycle::Deprecated | Lifecycle::Blocked) => Some(served),
            Lifecycle::Created | Lifecycle::Retired => None,
        }
    }

    /// The ApiRevision that a Binding names, unless the Api is served nowhere.
    fn served_revision(&self, binding: &Resource) -> Option<&ApiRevisionSpec> {
        self.served_lifecycle(binding)?;
        if let Spec::ApiRevision(revision) = &self.named_revision(binding)?.spec {
            Some(revision)
        } else {
            None
        }
    }
}

/// What `resource` claims in `state`. Only what a Binding serves needs the state; the kind's file says the rest.
pub(crate) fn claims_of(state: &State, resource: &Resource) -> Vec<Claim> {
    let served = state.served_revision(resource).map(|revision| &revision.spec);
    resource.spec.claims(&resource.key, served)
}
