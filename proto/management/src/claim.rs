//! What only one resource may have at a time: how conflicts are found without looking at every resource.

use std::sync::Arc;

use hanse_topology::Name;

use crate::{Digest, Problem, ProblemName, ResourceKey};

/// Something that only one resource may have; where it belongs to a Binding, only one per region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A served Binding's base path on one host of an Environment, across all organizations.
    Address {
        /// The Environment.
        environment: Name,
        /// The base path.
        context: Arc<str>,
        /// `None`: any host, which yields to a Binding that names the host and so conflicts with another `None` only.
        host: Option<Arc<str>>,
    },
    /// A Binding's Api in an Environment.
    Placement {
        /// The owner.
        organization: Name,
        /// The Api.
        api: Name,
        /// The Environment.
        environment: Name,
    },
    /// A HostGrant's host and prefix in an Environment: who owns them must be plain.
    Grant {
        /// The Environment.
        environment: Name,
        /// The host: an exact name or `*.suffix`.
        host: Arc<str>,
        /// The path.
        prefix: Arc<str>,
    },
    /// A DnsZone's origin: which one answers must be plain.
    Zone(Arc<str>),
    /// A GlobalHost's host: what it is answered with must be plain.
    GlobalHost(Arc<str>),
    /// A GlobalHost in a FailoverPlan: where it is served must be plain.
    PlanOfHost(Name),
    /// A Subscription's Application and Api: which Plan holds must be plain.
    Subscription {
        /// The owner.
        organization: Name,
        /// The Application.
        application: Name,
        /// The Api.
        api: Name,
    },
    /// An API key: whose it is must be plain.
    Credential(Digest),
    /// An operator's token.
    Token(Digest),
}

impl Claim {
    /// Why `key` may not have what `other` has. `other` is named as the reader may see it. `common_region` tells a region that both are
    /// in; without one, what belongs to a Binding is no conflict.
    pub fn conflict(
        &self,
        key: &ResourceKey,
        other: &str,
        common_region: impl FnOnce() -> Option<Name>,
    ) -> Option<Problem> {
        let (field, detail, remedy) = match self {
            Self::Address { environment, context, host } => {
                let region = common_region()?;
                let remedy = match host {
                    Some(_) => {
                        "change the context or the hosts of one of the Apis, or keep them in different environments or regions"
                    }
                    None => {
                        "list the hosts of one of the Apis, change its context, or keep them in different environments or regions"
                    }
                };
                let host = host.as_ref().map_or_else(|| "any host".to_owned(), |host| format!("host {host}"));
                (
                    "spec.environment",
                    format!(
                        "{key} and {other} both claim {context} on {host} in Environment {environment}, region {region}"
                    ),
                    remedy,
                )
            }
            Self::Placement { api, environment, .. } => {
                let region = common_region()?;
                (
                    "spec.regions",
                    format!(
                        "{key} and {other} both put Api {api} into Environment {environment}, region {region}"
                    ),
                    "keep one Binding of an Api for each environment and region",
                )
            }
            Self::Grant { environment, host, prefix } => (
                "spec.host",
                format!("{other} grants {host} with the path {prefix} in Environment {environment} already"),
                "change that one, or delete it",
            ),
            Self::Zone(origin) => (
                "spec.origin",
                format!("{other} is the zone {origin} already"),
                "change that one, or delete it",
            ),
            Self::GlobalHost(host) => {
                ("spec.host", format!("{other} answers for {host} already"), "change that one, or delete it")
            }
            Self::PlanOfHost(host) => (
                "spec.hosts",
                format!("{other} has GlobalHost {host} already"),
                "take it out of one of the two plans",
            ),
            Self::Subscription { application, api, .. } => (
                "spec.api",
                format!("{key} and {other} both subscribe Application {application} to Api {api}"),
                "change the plan of the one that is there, or delete it",
            ),
            Self::Credential(_) => (
                "spec.digest",
                "another Credential has the same key: whose it is would not be plain".to_owned(),
                "make a fresh key for each Credential",
            ),
            Self::Token(_) => (
                "spec.digest",
                "another Token has the same secret".to_owned(),
                "make a fresh secret for each Token",
            ),
        };
        Some(Problem::new(ProblemName::Conflict, detail).at(format!("{key}: {field}")).remedy(remedy))
    }
}
