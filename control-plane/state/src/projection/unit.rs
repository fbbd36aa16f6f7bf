//! Units of projection: what yields one key, and whose presence brings it into a scope.

use std::sync::Arc;

use bytes::Bytes;
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{ApiRevisionSpec, BindingSpec, EnvironmentSpec, Lifecycle},
};
use hanse_topology::{Name, ScopeId};

use super::encode;
use crate::State;

/// What yields one runtime resource: the same key in every scope it is present in, and no other unit yields it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// Of an Environment.
    Listener(ResourceKey),
    /// Of a Binding.
    Route(ResourceKey),
    /// An Upstream that Bindings name.
    Upstream(ResourceKey),
    /// An Upstream copied into an ApiRevision, for Bindings that name none.
    Embedded {
        /// The ApiRevision.
        revision: ResourceKey,
        /// The Upstream's name in it.
        upstream: Name,
    },
    /// Of a Plan.
    Plan(ResourceKey),
    /// Of a Credential.
    Credential(ResourceKey),
    /// Of a Subscription.
    Subscription(ResourceKey),
}

/// Whose presence in a scope brings units there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Anchor {
    /// The unit comes by itself.
    Unit(Unit),
    /// An organization with a served Binding: its Plans and Credentials come.
    Organization(Name),
    /// An Api with a served Binding: its Subscriptions come.
    Api(ResourceKey),
}

impl Unit {
    /// The resource it is made from.
    pub(super) fn resource(&self) -> &ResourceKey {
        match self {
            Self::Listener(key)
            | Self::Route(key)
            | Self::Upstream(key)
            | Self::Embedded { revision: key, .. }
            | Self::Plan(key)
            | Self::Credential(key)
            | Self::Subscription(key) => key,
        }
    }

    /// Its key in every scope.
    pub(super) fn key(&self) -> Arc<str> {
        match self {
            Self::Listener(environment) => format!("listener/{}", environment.name),
            Self::Route(binding) => encode::owned_key("route", binding),
            Self::Upstream(upstream) => encode::owned_key("upstream", upstream),
            Self::Embedded { revision, upstream } => encode::embedded_key(revision, upstream),
            Self::Plan(plan) => encode::owned_key("plan", plan),
            Self::Credential(credential) => encode::owned_key("credential", credential),
            Self::Subscription(subscription) => encode::owned_key("subscription", subscription),
        }
        .into()
    }

    /// Whose scopes it is present in. `None`: it does not exist in that state.
    pub(super) fn anchor(&self, state: &State) -> Option<Anchor> {
        match self {
            Self::Listener(_) | Self::Route(_) | Self::Upstream(_) | Self::Embedded { .. } => {
                Some(Anchor::Unit(self.clone()))
            }
            Self::Plan(key) | Self::Credential(key) => {
                state.get(key)?;
                key.organization.clone().map(Anchor::Organization)
            }
            Self::Subscription(key) => match &state.get(key)?.spec {
                Spec::Subscription(spec) => Some(Anchor::Api(key.sibling(Kind::Api, spec.api.clone()))),
                _other_kind => None,
            },
        }
    }

    /// Whether its bytes are the same in every scope.
    pub(super) fn is_uniform(&self) -> bool {
        match self {
            Self::Upstream(_) | Self::Embedded { .. } => false,
            Self::Listener(_)
            | Self::Route(_)
            | Self::Plan(_)
            | Self::Credential(_)
            | Self::Subscription(_) => true,
        }
    }

    /// Its bytes in `scope`, provided that it is present there.
    pub(super) fn encode(&self, state: &State, scope: &ScopeId) -> Option<Bytes> {
        match self {
            Self::Listener(key) => Some(encode::listener(&key.name, environment(state, key)?)),
            Self::Route(key) => {
                let served = served(state, key)?;
                let upstream = served.upstream().map_or_else(Arc::default, |upstream| upstream.key());
                Some(encode::route(key, served.revision, served.lifecycle, &upstream))
            }
            Self::Upstream(key) => match &state.get(key)?.spec {
                Spec::Upstream(spec) => Some(encode::upstream(key, &key.name, spec, scope)),
                _other_kind => None,
            },
            Self::Embedded { revision, upstream } => {
                let spec = self::revision(state, revision)?.upstreams.get(upstream)?;
                Some(encode::upstream(revision, upstream, spec, scope))
            }
            Self::Plan(key) => match &state.get(key)?.spec {
                Spec::Plan(spec) => Some(encode::plan(key, spec)),
                _other_kind => None,
            },
            Self::Credential(key) => match &state.get(key)?.spec {
                Spec::Credential(spec) => Some(encode::credential(key, spec)),
                _other_kind => None,
            },
            Self::Subscription(key) => match &state.get(key)?.spec {
                Spec::Subscription(spec) => Some(encode::subscription(key, spec)),
                _other_kind => None,
            },
        }
    }
}

impl Anchor {
    /// The Environment or Binding that alone brings it; `None` for what several may bring.
    pub(super) fn placer(&self) -> Option<&ResourceKey> {
        match self {
            Self::Unit(Unit::Listener(key) | Unit::Route(key)) => Some(key),
            Self::Unit(
                Unit::Upstream(_)
                | Unit::Embedded { .. }
                | Unit::Plan(_)
                | Unit::Credential(_)
                | Unit::Subscription(_),
            )
            | Self::Organization(_)
            | Self::Api(_) => None,
        }
    }

    /// The units that come and go with it, those that exist in `state`.
    pub(super) fn followers(&self, state: &State) -> Vec<Unit> {
        match self {
            Self::Unit(unit) => vec![unit.clone()],
            Self::Organization(organization) => {
                let all = |kind| state.list(kind, Some(organization)).map(|resource| resource.key.clone());
                all(Kind::Plan).map(Unit::Plan).chain(all(Kind::Credential).map(Unit::Credential)).collect()
            }
            Self::Api(api) => {
                state.referrers_of_kind(api, Kind::Subscription).cloned().map(Unit::Subscription).collect()
            }
        }
    }
}

/// The spec of an Environment.
pub(super) fn environment<'s>(state: &'s State, key: &ResourceKey) -> Option<&'s EnvironmentSpec> {
    if let Spec::Environment(spec) = &state.get(key)?.spec { Some(spec) } else { None }
}

/// The spec of a Binding.
pub(super) fn binding<'s>(state: &'s State, key: &ResourceKey) -> Option<&'s BindingSpec> {
    if let Spec::Binding(spec) = &state.get(key)?.spec { Some(spec) } else { None }
}

/// The spec of an ApiRevision.
pub(super) fn revision<'s>(state: &'s State, key: &ResourceKey) -> Option<&'s ApiRevisionSpec> {
    if let Spec::ApiRevision(spec) = &state.get(key)?.spec { Some(spec) } else { None }
}

/// What a served Binding serves.
pub(super) struct Served<'s> {
    pub(super) spec: &'s BindingSpec,
    pub(super) revision_key: &'s ResourceKey,
    pub(super) revision: &'s ApiRevisionSpec,
    pub(super) lifecycle: Lifecycle,
}

/// What the Binding of that key serves, if it is served. The Api's own lifecycle counts, now, whatever revision is
/// bound: blocking an Api takes effect everywhere at once, pinned Bindings included.
pub(super) fn served<'s>(state: &'s State, key: &ResourceKey) -> Option<Served<'s>> {
    let resource = state.get(key)?;
    let (revision, lifecycle) = state.served_revision(resource)?;
    let revision_key = &state.bound_revision(resource)?.key;
    Some(Served { spec: binding(state, key)?, revision_key, revision, lifecycle })
}

impl Served<'_> {
    /// Where requests go: the Binding's own Upstream, else the one its revision embeds.
    pub(super) fn upstream(&self) -> Option<Unit> {
        let revision = self.revision_key;
        match (&self.spec.upstream, &self.revision.spec.upstream) {
            (Some(own), _) => Some(Unit::Upstream(revision.sibling(Kind::Upstream, own.clone()))),
            (None, Some(copied)) => {
                Some(Unit::Embedded { revision: revision.clone(), upstream: copied.clone() })
            }
            (None, None) => None,
        }
    }
}
