//! Units of projection: what yields one key, and whose presence brings it into a scope.

use std::sync::Arc;

use bytes::Bytes;
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{ApiRevisionSpec, BindingSpec, EnvironmentSpec, Lifecycle},
};
use hanse_topology::{Name, ScopeId};

use super::{
    encode,
    plain::{Follows, PLAIN, Plain},
};
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
    /// Of a resource that is projected as it is.
    Plain(ResourceKey),
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
            | Self::Plain(key) => key,
        }
    }

    /// Its key in every scope.
    pub(super) fn key(&self) -> Arc<str> {
        match self {
            Self::Listener(environment) => format!("listener/{}", environment.name),
            Self::Route(binding) => encode::owned_key("route", binding),
            Self::Upstream(upstream) => encode::owned_key("upstream", upstream),
            Self::Embedded { revision, upstream } => encode::embedded_key(revision, upstream),
            Self::Plain(key) => {
                Plain::of(key.kind).expect("such a unit is made of plain kinds only").key(key)
            }
        }
        .into()
    }

    /// Whose scopes it is present in. `None`: it does not exist in that state.
    pub(super) fn anchor(&self, state: &State) -> Option<Anchor> {
        match self {
            Self::Listener(_) | Self::Route(_) | Self::Upstream(_) | Self::Embedded { .. } => {
                Some(Anchor::Unit(self.clone()))
            }
            Self::Plain(key) => Plain::of(key.kind)?.anchor(state.get(key)?),
        }
    }

    /// Whether its bytes are the same in every scope.
    pub(super) fn is_uniform(&self) -> bool {
        match self {
            Self::Upstream(_) | Self::Embedded { .. } => false,
            Self::Listener(_) | Self::Route(_) | Self::Plain(_) => true,
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
            Self::Plain(key) => Plain::of(key.kind)?.encode(state.get(key)?),
        }
    }
}

impl Anchor {
    /// The Environment or Binding that alone brings it; `None` for what several may bring.
    pub(super) fn placer(&self) -> Option<&ResourceKey> {
        match self {
            Self::Unit(Unit::Listener(key) | Unit::Route(key)) => Some(key),
            Self::Unit(Unit::Upstream(_) | Unit::Embedded { .. } | Unit::Plain(_))
            | Self::Organization(_)
            | Self::Api(_) => None,
        }
    }

    /// The units that come and go with it, those that exist in `state`.
    pub(super) fn followers(&self, state: &State) -> Vec<Unit> {
        match self {
            Self::Unit(unit) => vec![unit.clone()],
            Self::Organization(organization) => following(Follows::Organization)
                .flat_map(|kind| state.list(kind, Some(organization)))
                .map(|resource| Unit::Plain(resource.key.clone()))
                .collect(),
            Self::Api(api) => following(Follows::Api)
                .flat_map(|kind| state.referrers_of_kind(api, kind))
                .map(|key| Unit::Plain(key.clone()))
                .collect(),
        }
    }
}

/// The plain kinds that follow an anchor of one sort.
fn following(anchor: Follows) -> impl Iterator<Item = Kind> {
    PLAIN.iter().filter(move |plain| plain.follows == anchor).map(|plain| plain.kind)
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
    let lifecycle = state.served_lifecycle(resource)?;
    let revision_key = &state.named_revision(resource)?.key;
    Some(Served {
        spec: binding(state, key)?,
        revision_key,
        revision: revision(state, revision_key)?,
        lifecycle,
    })
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
