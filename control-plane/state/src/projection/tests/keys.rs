//! A kind of scope for tests: `keys/REGION` has the key of each Application labelled `signs`, in the regions that serve a Binding
//! of its organization. A key labelled `own` is another one in each region, all others are the same everywhere.

use super::*;
use crate::projection::kind::{Anchor, Placed, Placement, ScopeKind, Touched, Unit, Variant};

pub(in crate::projection) struct Keys;

impl ScopeKind for Keys {
    fn touch(&self, key: &ResourceKey, touched: &mut Touched<'_>) {
        match key.kind {
            Kind::Application if may_have_label("signs", key, touched) => touched.unit(Unit::of(key.clone())),
            Kind::Region | Kind::Environment => {
                for binding in touched.after.list(Kind::Binding, None) {
                    touched.placer(&binding.key);
                }
            }
            Kind::Api => {
                for binding in touched.after.referrers_of_kind(key, Kind::Binding) {
                    touched.placer(binding);
                }
            }
            Kind::Binding => touched.placer(key),
            _nothing_of_it => {}
        }
    }

    fn placement(&self, state: &State, placer: &ResourceKey) -> Placement {
        let Some(binding) = state.get(placer).filter(|binding| state.served_lifecycle(binding).is_some())
        else {
            return Placement::new();
        };
        let group = ResourceKey::global(Kind::Organization, placer.organization.clone().unwrap());
        let regions = state.regions_of(binding).into_iter();
        let scopes = regions.map(|region| ScopeId::Keys { region }).collect();
        vec![Placed { anchors: vec![Anchor::Group(group)], scopes }]
    }

    fn placers<'a>(
        &self,
        state: &'a State,
        anchor: &'a Anchor,
    ) -> Box<dyn Iterator<Item = ResourceKey> + 'a> {
        let Anchor::Group(organization) = anchor else { panic!("{anchor:?}") };
        let bindings = state.list(Kind::Binding, Some(&organization.name));
        Box::new(bindings.map(|binding| binding.key.clone()))
    }

    fn anchor(&self, state: &State, unit: &Unit) -> Option<Anchor> {
        label(state.get(&unit.resource)?, "signs")?;
        let organization = unit.resource.organization.clone()?;
        Some(Anchor::Group(ResourceKey::global(Kind::Organization, organization)))
    }

    fn followers(&self, state: &State, group: &ResourceKey) -> Vec<Unit> {
        let applications = state.list(Kind::Application, Some(&group.name));
        let signing = applications.filter(|application| label(application, "signs").is_some());
        signing.map(|application| Unit::of(application.key.clone())).collect()
    }

    fn key(&self, unit: &Unit) -> String {
        format!("key/{}/{}", unit.resource.organization.as_ref().unwrap(), unit.resource.name)
    }

    fn variant(&self, state: &State, unit: &Unit, scope: &ScopeId) -> Variant {
        match state.get(&unit.resource).and_then(|application| label(application, "signs")) {
            Some("own") => vec![Some(scope.region().clone())],
            Some(_) | None => Variant::new(),
        }
    }

    fn encode(&self, state: &State, unit: &Unit, scope: &ScopeId) -> Option<Bytes> {
        Some(secret(label(state.get(&unit.resource)?, "signs")?, scope.region()))
    }

    fn source(&self, prefix: &str) -> Option<Kind> {
        (prefix == "key").then_some(Kind::Application)
    }
}

fn secret(signs: &str, region: &Name) -> Bytes {
    if signs == "own" { format!("of {region}").into() } else { format!("{signs} everywhere").into() }
}

/// The same by plain loops.
pub(super) fn from_scratch(state: &State) -> Content {
    let mut content = Content::new();
    for region in state.list(Kind::Region, None) {
        for application in state.list(Kind::Application, None) {
            let Some(signs) = label(application, "signs") else { continue };
            let organization = application.key.organization.as_ref();
            if !state.list(Kind::Binding, organization).any(|binding| is_served(state, binding, region)) {
                continue;
            }
            let scope = ScopeId::Keys { region: region.key.name.clone() };
            let key = format!("key/{}/{}", organization.unwrap(), application.key.name);
            content.entry(scope).or_default().insert(key, secret(signs, &region.key.name));
        }
    }
    content
}

fn is_served(state: &State, binding: &Resource, region: &Resource) -> bool {
    let Spec::Binding(spec) = &binding.spec else { panic!("{binding:?}") };
    let api = state.api(binding.key.organization.as_ref().unwrap(), &spec.api).unwrap();
    state.environment(&spec.environment).unwrap().regions.contains(&region.key.name)
        && spec.regions.picks(&region.key.name, &region.metadata.labels)
        && !matches!(api.lifecycle, Lifecycle::Created | Lifecycle::Retired)
}
