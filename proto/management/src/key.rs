//! How resources are named.

use std::fmt;

use hanse_topology::Name;

use crate::Kind;

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

    /// The organization of a resource of a kind that is not global.
    pub(crate) fn owner(&self) -> Name {
        self.organization.clone().expect("kinds that are not global have an owner")
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
