//! What is projected as it is: one key, `PREFIX/ORGANIZATION/NAME`, and the same bytes in every scope. The table names the kinds
//! of which this is true; the others are units of their own in `runtime`.

use bytes::Bytes;
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{CredentialSpec, PlanSpec, SubscriptionSpec},
};
use hanse_proto::runtime::{self, resource::Kind as Runtime};

use super::{
    encode::{self, organization, owned_key},
    kind::Anchor,
};
use crate::Resource;

/// How the resources of one kind are projected.
pub(super) struct Plain {
    pub(super) kind: Kind,
    /// The first part of the key.
    pub(super) prefix: &'static str,
    pub(super) follows: Follows,
    encode: fn(&ResourceKey, &Spec) -> Option<Runtime>,
}

/// Whose presence in a scope brings a resource there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// Its organization's.
    Organization,
    /// That of the Api it refers to.
    Api,
}

impl Follows {
    /// The kind of the resource that is followed.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Organization => Kind::Organization,
            Self::Api => Kind::Api,
        }
    }
}

pub(super) static PLAIN: [Plain; 3] = [
    Plain {
        kind: Kind::Plan,
        prefix: "plan",
        follows: Follows::Organization,
        encode: |key, spec| if let Spec::Plan(spec) = spec { Some(plan(key, spec)) } else { None },
    },
    Plain {
        kind: Kind::Credential,
        prefix: "credential",
        follows: Follows::Organization,
        encode: |key, spec| {
            if let Spec::Credential(spec) = spec { Some(credential(key, spec)) } else { None }
        },
    },
    Plain {
        kind: Kind::Subscription,
        prefix: "subscription",
        follows: Follows::Api,
        encode: |key, spec| {
            if let Spec::Subscription(spec) = spec { Some(subscription(key, spec)) } else { None }
        },
    },
];

impl Plain {
    /// Of a kind, if its resources are projected as they are.
    pub(super) fn of(kind: Kind) -> Option<&'static Self> {
        PLAIN.iter().find(|plain| plain.kind == kind)
    }

    /// The key in every scope of the resource named `key`.
    pub(super) fn key(&self, key: &ResourceKey) -> String {
        owned_key(self.prefix, key)
    }

    /// The bytes in every scope.
    pub(super) fn encode(&self, resource: &Resource) -> Option<Bytes> {
        (self.encode)(&resource.key, &resource.spec).map(encode::bytes)
    }

    /// Whose scopes `resource` is present in.
    pub(super) fn anchor(&self, resource: &Resource) -> Option<Anchor> {
        let group = match self.follows {
            Follows::Organization => {
                resource.key.organization.clone().map(|own| ResourceKey::global(Kind::Organization, own))
            }
            Follows::Api => {
                let mut api = None;
                resource.each_reference(|reference| {
                    if reference.target.kind == Kind::Api {
                        api.get_or_insert(reference.target);
                    }
                });
                api
            }
        };
        group.map(Anchor::Group)
    }
}

/// A quality of service.
fn plan(key: &ResourceKey, spec: &PlanSpec) -> Runtime {
    let (requests, period_seconds, burst) = match &spec.rate {
        Some(rate) => (rate.requests, rate.per.seconds(), rate.effective_burst()),
        None => (0, 0, 0),
    };
    Runtime::Plan(runtime::Plan {
        organization: organization(key).to_owned(),
        name: key.name.to_string(),
        requests,
        period_seconds,
        burst,
    })
}

/// An API key's digest.
fn credential(key: &ResourceKey, spec: &CredentialSpec) -> Runtime {
    Runtime::Credential(runtime::Credential {
        organization: organization(key).to_owned(),
        name: key.name.to_string(),
        application: spec.application.to_string(),
        digest: Bytes::copy_from_slice(&spec.digest.0),
        // 0 is "never" on the wire; what expires at the epoch must not become eternal.
        expires_at: spec.expires_at.map_or(0, |at| at.max(1)),
    })
}

/// Application × Api × Plan.
fn subscription(key: &ResourceKey, spec: &SubscriptionSpec) -> Runtime {
    Runtime::Subscription(runtime::Subscription {
        organization: organization(key).to_owned(),
        name: key.name.to_string(),
        application: spec.application.to_string(),
        api: spec.api.to_string(),
        plan: spec.plan.to_string(),
    })
}
