//! What resources claim, by the state.

use hanse_management::{
    Claim, Spec,
    kinds::{ApiSpec, Lifecycle},
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

    /// What a Binding names and what it serves anywhere instead; nothing if the Api is served nowhere.
    pub(crate) fn served(&self, binding: &Resource) -> Vec<&ApiSpec> {
        if self.served_lifecycle(binding).is_none() {
            return Vec::new();
        }
        let mut apis = Vec::new();
        for revision in self.bound_revisions(binding) {
            if let Spec::ApiRevision(revision) = &revision.spec {
                apis.push(&revision.spec);
            }
        }
        apis
    }
}

/// What `resource` claims in `state`; a claim may be there twice. Only what a Binding serves needs the state; the kind's file says
/// the rest. A Binding whose regions differ claims in each what it serves in any.
pub(crate) fn claims_of(state: &State, resource: &Resource) -> Vec<Claim> {
    let served = state.served(resource);
    match served.is_empty() {
        true => resource.spec.claims(&resource.key, None),
        false => served.into_iter().flat_map(|api| resource.spec.claims(&resource.key, Some(api))).collect(),
    }
}
