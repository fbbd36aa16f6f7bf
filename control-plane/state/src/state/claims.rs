//! What only one resource may have at a time, and who has it: how conflicts are found without looking at every resource.

use std::sync::Arc;

use hanse_management::{
    Digest, Spec,
    kinds::{ApiRevisionSpec, ApiSpec, Lifecycle},
};
use hanse_topology::Name;

use super::{State, query::as_binding};
use crate::Resource;

/// Something that only one resource may have; where it belongs to a Binding, only one per region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// A served Binding's base path on one host of an Environment, across all organizations. `None`: any host, which
    /// yields to a Binding that names the host and so conflicts with another `None` only.
    Address { environment: Name, context: Arc<str>, host: Option<Arc<str>> },
    /// A Binding's Api in an Environment.
    Placement { organization: Name, api: Name, environment: Name },
    /// A Subscription's Application and Api: which Plan holds must be plain.
    Subscription { organization: Name, application: Name, api: Name },
    /// An API key: whose it is must be plain.
    Credential(Digest),
    /// An operator's token.
    Token(Digest),
}

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

/// What `resource` claims in `state`.
pub(crate) fn claims_of(state: &State, resource: &Resource) -> Vec<Claim> {
    let owned = || resource.key.organization.clone().expect("the kinds that claim so have an owner");
    match &resource.spec {
        Spec::Binding(spec) => {
            let environment = &spec.environment;
            let mut claims = vec![Claim::Placement {
                organization: owned(),
                api: spec.api.clone(),
                environment: environment.clone(),
            }];
            if let Some((revision, _)) = state.served_revision(resource) {
                claims.extend(addresses(environment, &revision.spec));
            }
            claims
        }
        Spec::Subscription(spec) => vec![Claim::Subscription {
            organization: owned(),
            application: spec.application.clone(),
            api: spec.api.clone(),
        }],
        Spec::Credential(spec) => vec![Claim::Credential(spec.digest)],
        Spec::Token(spec) => vec![Claim::Token(spec.digest)],
        Spec::Organization(_)
        | Spec::Region(_)
        | Spec::Environment(_)
        | Spec::Policy(_)
        | Spec::Upstream(_)
        | Spec::Api(_)
        | Spec::ApiRevision(_)
        | Spec::Plan(_)
        | Spec::Application(_)
        | Spec::JoinToken(_) => Vec::new(),
    }
}

fn addresses(environment: &Name, api: &ApiSpec) -> Vec<Claim> {
    let context: Arc<str> = api.context.as_str().into();
    let claim = |host: Option<Arc<str>>| Claim::Address {
        environment: environment.clone(),
        context: context.clone(),
        host,
    };
    if api.hosts.is_empty() {
        vec![claim(None)]
    } else {
        api.hosts.iter().map(|host| claim(Some(host.as_str().into()))).collect()
    }
}
