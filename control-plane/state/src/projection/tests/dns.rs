//! A kind of scope for tests: `dns/REGION` has the record of each Environment labelled `dns`, in every region there is. Regions
//! that serve the Environment get other bytes than those that do not. The version after the first has other bytes, which require a
//! feature.

use super::*;
use crate::projection::kind::{Anchor, Placed, Placement, ScopeKind, Touched, Unit, Variant};

pub(in crate::projection) struct Dns;

impl ScopeKind for Dns {
    fn touch(&self, key: &ResourceKey, touched: &mut Touched<'_>) {
        match key.kind {
            Kind::Environment if may_have_label("dns", key, touched) => {
                touched.unit(Unit::of(key.clone()));
                touched.placer(key);
            }
            Kind::Region => {
                for environment in touched.after.list(Kind::Environment, None) {
                    touched.placer(&environment.key);
                }
            }
            _nothing_of_it => {}
        }
    }

    fn placement(&self, state: &State, placer: &ResourceKey) -> Placement {
        let Some(_label) = state.get(placer).and_then(|resource| label(resource, "dns")) else {
            return Placement::new();
        };
        let scope = |region: &Arc<Resource>| ScopeId::Dns { region: region.key.name.clone() };
        let anchors = vec![Anchor::Unit(Unit::of(placer.clone()))];
        vec![Placed { anchors, scopes: state.list(Kind::Region, None).map(scope).collect() }]
    }

    fn placers<'a>(
        &self,
        _state: &'a State,
        anchor: &'a Anchor,
    ) -> Box<dyn Iterator<Item = ResourceKey> + 'a> {
        let Anchor::Unit(unit) = anchor else { panic!("{anchor:?}") };
        Box::new(std::iter::once(unit.resource.clone()))
    }

    fn anchor(&self, _state: &State, unit: &Unit) -> Option<Anchor> {
        Some(Anchor::Unit(unit.clone()))
    }

    fn key(&self, unit: &Unit) -> String {
        format!("record/{}", unit.resource.name)
    }

    fn variant(&self, state: &State, unit: &Unit, scope: &ScopeId) -> Variant {
        let serves = |spec: &EnvironmentSpec| spec.regions.contains(scope.region());
        match state.environment(&unit.resource.name).is_some_and(serves) {
            true => vec![Some(unit.resource.name.clone())],
            false => Variant::new(),
        }
    }

    fn encode(&self, state: &State, unit: &Unit, scope: &ScopeId, _reveal: &dyn Reveal) -> Option<Bytes> {
        let text = label(state.get(&unit.resource)?, "dns")?;
        let serves = state.environment(&unit.resource.name)?.regions.contains(scope.region());
        Some(record(state, text, serves))
    }

    fn source(&self, prefix: &str) -> Option<Kind> {
        (prefix == "record").then_some(Kind::Environment)
    }
}

fn record(state: &State, text: &str, serves: bool) -> Bytes {
    if state.version() > Version::FIRST {
        return runtime::Resource { kind: None, requires: vec![text.to_owned()] }.encode_to_vec().into();
    }
    format!("{text} {serves}").into()
}

/// The same by plain loops.
pub(super) fn from_scratch(state: &State) -> Content {
    let mut content = Content::new();
    for region in state.list(Kind::Region, None) {
        for environment in state.list(Kind::Environment, None) {
            let Spec::Environment(spec) = &environment.spec else { panic!("{environment:?}") };
            let Some(text) = label(environment, "dns") else { continue };
            let scope = ScopeId::Dns { region: region.key.name.clone() };
            let bytes = record(state, text, spec.regions.contains(&region.key.name));
            content.entry(scope).or_default().insert(format!("record/{}", environment.key.name), bytes);
        }
    }
    content
}
