//! Which resources a resource refers to, from which field.

use std::fmt;

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{ApiRevisionSpec, RevisionRef},
};
use hanse_topology::Name;

use crate::Resource;

/// One reference from a resource to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) target: ResourceKey,
    pub(crate) field: Field,
    pub(crate) hold: Hold,
}

/// What a reference means to the one that refers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It makes no sense without the target: a cascading delete of the target takes it too.
    Needs,
    /// The target is one of several in a list: deleting the target never deletes it; the list must be edited first.
    /// (An Environment is not deleted with one of its regions.)
    Lists,
}

/// A field below `spec`, spelled only when somebody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Plain(&'static str),
    Item(&'static str, usize),
    Of(&'static str, usize, &'static str),
    ItemOf(&'static str, usize, &'static str, usize),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => write!(f, "spec.{name}"),
            Self::Item(name, at) => write!(f, "spec.{name}[{at}]"),
            Self::Of(name, at, field) => write!(f, "spec.{name}[{at}].{field}"),
            Self::ItemOf(name, at, field, second) => write!(f, "spec.{name}[{at}].{field}[{second}]"),
        }
    }
}

/// Calls `see` with every reference of `resource`, in the order of its fields.
pub(crate) fn each_reference(resource: &Resource, see: &mut dyn FnMut(Reference)) {
    let mut refer = |kind: Kind, name: &Name, field: Field, hold: Hold| {
        see(Reference { target: resource.key.sibling(kind, name.clone()), field, hold });
    };
    use Field::{Item, ItemOf, Of, Plain};
    use Hold::{Lists, Needs};
    match &resource.spec {
        Spec::Environment(spec) => {
            for (at, region) in spec.regions.iter().enumerate() {
                refer(Kind::Region, region, Item("regions", at), Lists);
            }
        }
        Spec::Upstream(spec) => {
            for (at, endpoint) in spec.endpoints.iter().enumerate() {
                if let Some(region) = &endpoint.region {
                    refer(Kind::Region, region, Of("endpoints", at, "region"), Lists);
                }
                if let Some(environment) = &endpoint.environment {
                    refer(Kind::Environment, environment, Of("endpoints", at, "environment"), Lists);
                }
            }
        }
        Spec::Api(spec) => {
            for (at, policy) in spec.policies.iter().enumerate() {
                refer(Kind::Policy, policy, Item("policies", at), Lists);
            }
            for (at, operation) in spec.operations.iter().enumerate() {
                for (second, policy) in operation.policies.iter().enumerate() {
                    refer(Kind::Policy, policy, ItemOf("operations", at, "policies", second), Lists);
                }
            }
            if let Some(upstream) = &spec.upstream {
                refer(Kind::Upstream, upstream, Plain("upstream"), Needs);
            }
        }
        // What it embeds are copies: only the Api itself is referred to.
        Spec::ApiRevision(spec) => refer(Kind::Api, &spec.api, Plain("api"), Needs),
        Spec::Binding(spec) => {
            refer(Kind::Api, &spec.api, Plain("api"), Needs);
            refer(Kind::Environment, &spec.environment, Plain("environment"), Needs);
            for (at, region) in spec.regions.names.iter().enumerate() {
                refer(Kind::Region, region, Item("regions.names", at), Lists);
            }
            if let Some(upstream) = &spec.upstream {
                refer(Kind::Upstream, upstream, Plain("upstream"), Needs);
            }
            if let (RevisionRef::Number(number), Some(organization)) =
                (spec.revision, &resource.key.organization)
                && let Some(target) = ApiRevisionSpec::key(organization, &spec.api, number)
            {
                see(Reference { target, field: Plain("revision"), hold: Needs });
            }
        }
        Spec::Subscription(spec) => {
            refer(Kind::Application, &spec.application, Plain("application"), Needs);
            refer(Kind::Api, &spec.api, Plain("api"), Needs);
            refer(Kind::Plan, &spec.plan, Plain("plan"), Needs);
        }
        Spec::Credential(spec) => refer(Kind::Application, &spec.application, Plain("application"), Needs),
        Spec::JoinToken(spec) => {
            if let Some(region) = &spec.region {
                refer(Kind::Region, region, Plain("region"), Needs);
            }
            for (at, environment) in spec.environments.iter().enumerate() {
                refer(Kind::Environment, environment, Item("environments", at), Lists);
            }
        }
        Spec::Organization(_)
        | Spec::Region(_)
        | Spec::Policy(_)
        | Spec::Plan(_)
        | Spec::Application(_)
        | Spec::Token(_) => {}
    }
}
