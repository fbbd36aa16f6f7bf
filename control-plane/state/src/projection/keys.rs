//! The scopes of key managers: `keys/REGION` has each Secret of type `token-signing` that lists the region, in the clear.

use bytes::Bytes;
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{SecretSpec, SecretType},
};
use hanse_topology::ScopeId;

use super::{
    Reveal, encode,
    kind::{Anchor, Placed, Placement, ScopeKind, Touched, Unit, Variant},
};
use crate::State;

/// What keys begin with.
const PREFIX: &str = "secret";

/// `keys/REGION`.
pub(super) struct Keys;

impl ScopeKind for Keys {
    fn touch(&self, key: &ResourceKey, touched: &mut Touched<'_>) {
        if key.kind != Kind::Secret {
            return;
        }
        let mut ends =
            [touched.before, touched.after].into_iter().filter_map(|state| state.get(key)).peekable();
        // In neither: it came and went, and may have signed.
        if ends.peek().is_none() || ends.any(|secret| signing(&secret.spec).is_some()) {
            touched.unit(Unit::of(key.clone()));
            touched.placer(key);
        }
    }

    fn placement(&self, state: &State, placer: &ResourceKey) -> Placement {
        let Some(secret) = state.get(placer).and_then(|secret| signing(&secret.spec)) else {
            return Placement::new();
        };
        let scopes = secret.regions.iter().map(|region| ScopeId::Keys { region: region.clone() });
        vec![Placed { anchors: vec![Anchor::Unit(Unit::of(placer.clone()))], scopes: scopes.collect() }]
    }

    fn placers<'a>(
        &self,
        _state: &'a State,
        anchor: &'a Anchor,
    ) -> Box<dyn Iterator<Item = ResourceKey> + 'a> {
        // Each places itself.
        Box::new(match anchor {
            Anchor::Unit(unit) => Some(unit.resource.clone()).into_iter(),
            Anchor::Group(_) => None.into_iter(),
        })
    }

    fn anchor(&self, _state: &State, unit: &Unit) -> Option<Anchor> {
        Some(Anchor::Unit(unit.clone()))
    }

    fn key(&self, unit: &Unit) -> String {
        encode::owned_key(PREFIX, &unit.resource)
    }

    fn variant(&self, _state: &State, _unit: &Unit, _scope: &ScopeId) -> Variant {
        Variant::new()
    }

    fn encode(&self, state: &State, unit: &Unit, _scope: &ScopeId, reveal: &dyn Reveal) -> Option<Bytes> {
        let secret = signing(&state.get(&unit.resource)?.spec)?;
        Some(encode::revealed(state, &unit.resource, secret, reveal))
    }

    fn source(&self, prefix: &str) -> Option<Kind> {
        (prefix == PREFIX).then_some(Kind::Secret)
    }
}

/// The Secret, if key managers get it.
fn signing(spec: &Spec) -> Option<&SecretSpec> {
    match spec {
        Spec::Secret(secret) if secret.secret_type == SecretType::TokenSigning => Some(secret),
        _of_no_key_manager => None,
    }
}
