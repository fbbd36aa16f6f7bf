//! The kinds of management resources and how they are spelled.

use std::{fmt, str::FromStr};

use hanse_topology::Name;
use serde::{Deserialize, Serialize};

/// A kind of management resource. The order is the order of dependency: what is referred to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A tenant; owns everything below that is not global.
    Organization,
    /// A place with data planes (global).
    Region,
    /// A deployment target (global).
    Environment,
    /// Reusable mediation.
    Policy,
    /// Reusable endpoints.
    Upstream,
    /// An API.
    Api,
    /// An immutable copy of an Api with what it refers to; written by the server only.
    ApiRevision,
    /// ApiRevision → Environment.
    Binding,
    /// A quality of service.
    Plan,
    /// Who calls.
    Application,
    /// Application × Api × Plan.
    Subscription,
    /// An API key's digest.
    Credential,
    /// An operator's access to the API (global).
    Token,
    /// Leave to join the federation (global).
    JoinToken,
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind; kinds are {all}", all = Kind::ALL.map(|kind| kind.as_str()).join(", "))]
pub struct UnknownKind(pub String);

impl Kind {
    /// Every kind, in order of dependency.
    pub const ALL: [Kind; 14] = [
        Kind::Organization,
        Kind::Region,
        Kind::Environment,
        Kind::Policy,
        Kind::Upstream,
        Kind::Api,
        Kind::ApiRevision,
        Kind::Binding,
        Kind::Plan,
        Kind::Application,
        Kind::Subscription,
        Kind::Credential,
        Kind::Token,
        Kind::JoinToken,
    ];

    /// As in a manifest's `kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Organization => "Organization",
            Kind::Region => "Region",
            Kind::Environment => "Environment",
            Kind::Policy => "Policy",
            Kind::Upstream => "Upstream",
            Kind::Api => "Api",
            Kind::ApiRevision => "ApiRevision",
            Kind::Binding => "Binding",
            Kind::Plan => "Plan",
            Kind::Application => "Application",
            Kind::Subscription => "Subscription",
            Kind::Credential => "Credential",
            Kind::Token => "Token",
            Kind::JoinToken => "JoinToken",
        }
    }

    /// As in URLs: lower-case plural with hyphens.
    pub const fn plural(self) -> &'static str {
        match self {
            Kind::Organization => "organizations",
            Kind::Region => "regions",
            Kind::Environment => "environments",
            Kind::Policy => "policies",
            Kind::Upstream => "upstreams",
            Kind::Api => "apis",
            Kind::ApiRevision => "api-revisions",
            Kind::Binding => "bindings",
            Kind::Plan => "plans",
            Kind::Application => "applications",
            Kind::Subscription => "subscriptions",
            Kind::Credential => "credentials",
            Kind::Token => "tokens",
            Kind::JoinToken => "join-tokens",
        }
    }

    /// Whether resources of this kind belong to no organization.
    pub const fn is_global(self) -> bool {
        match self {
            Kind::Organization | Kind::Region | Kind::Environment | Kind::Token | Kind::JoinToken => true,
            Kind::Policy
            | Kind::Upstream
            | Kind::Api
            | Kind::ApiRevision
            | Kind::Binding
            | Kind::Plan
            | Kind::Application
            | Kind::Subscription
            | Kind::Credential => false,
        }
    }

    /// Whether operators may write this kind.
    pub const fn is_writable(self) -> bool {
        !matches!(self, Kind::ApiRevision)
    }

    /// The kind whose URL form is `plural`.
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// As people type it: singular or plural, any case, with or without hyphens.
    pub fn from_word(word: &str) -> Result<Self, UnknownKind> {
        let bare = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        let wanted = bare(word);
        Self::ALL
            .into_iter()
            .find(|kind| bare(kind.as_str()) == wanted || bare(kind.plural()) == wanted)
            .ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// What names one resource in the whole federation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// Its kind.
    pub kind: Kind,
    /// The owner; `None` exactly for global kinds.
    pub organization: Option<Name>,
    /// Its name, unique within kind and organization.
    pub name: Name,
}

impl ResourceKey {
    /// The key of a global resource.
    pub fn global(kind: Kind, name: Name) -> Self {
        debug_assert!(kind.is_global());
        Self { kind, organization: None, name }
    }

    /// The key of an organization's resource.
    pub fn owned(kind: Kind, organization: Name, name: Name) -> Self {
        debug_assert!(!kind.is_global());
        Self { kind, organization: Some(organization), name }
    }

    /// The key of `name` of `kind` beside this one: same organization, or global.
    pub fn sibling(&self, kind: Kind, name: Name) -> Self {
        let organization = if kind.is_global() { None } else { self.organization.clone() };
        Self { kind, organization, name }
    }
}

impl fmt::Display for ResourceKey {
    /// `Api default/orders`, `Region eu-west`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.organization {
            Some(organization) => write!(f, "{} {organization}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_as_people_type_them() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(Kind::from_plural(kind.plural()), Some(kind));
            assert_eq!(Kind::from_word(&kind.as_str().to_lowercase()), Ok(kind));
            assert_eq!(Kind::from_word(kind.plural()), Ok(kind));
        }
        assert_eq!(Kind::from_word("apirevision"), Ok(Kind::ApiRevision));
        let error = Kind::from_word("gadget").unwrap_err().to_string();
        assert!(error.contains("\"gadget\" is not a kind; kinds are Organization, Region"), "{error}");
    }
}
