//! The unit of projection, position and root.

use std::{fmt, str::FromStr};

use crate::Name;

/// What one position and one root speak of: the runtime resources of one (region, environment), those of them that an origin inside
/// the region makes, or a region's `dns`, `keys` or `agents`. Spelled `runtime/REGION/ENVIRONMENT`,
/// `local/REGION/ENVIRONMENT/ORIGIN`, `dns/REGION`, `keys/REGION`, `agents/REGION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeId {
    /// What the gateways of one environment in one region need.
    Runtime {
        /// The region.
        region: Name,
        /// The environment.
        environment: Name,
    },
    /// What one origin inside the region adds for the gateways of one environment, without the control plane.
    Local {
        /// The region.
        region: Name,
        /// The environment.
        environment: Name,
        /// The Origin, by its name.
        origin: Name,
    },
    /// What the region's DNS responders need.
    Dns {
        /// The region.
        region: Name,
    },
    /// What the region's key manager needs.
    Keys {
        /// The region.
        region: Name,
    },
    /// The agents of the region: what they need to find and recognize one another.
    Agents {
        /// The region.
        region: Name,
    },
}

/// A string that spells no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a scope: use runtime/REGION/ENVIRONMENT, local/REGION/ENVIRONMENT/ORIGIN, dns/REGION, keys/REGION or \
     agents/REGION"
)]
pub struct InvalidScope(pub String);

impl ScopeId {
    /// The runtime scope of `environment` in `region`.
    pub fn runtime(region: Name, environment: Name) -> Self {
        Self::Runtime { region, environment }
    }

    /// What `origin` adds to `environment` in `region`.
    pub fn local(region: Name, environment: Name, origin: Name) -> Self {
        Self::Local { region, environment, origin }
    }

    /// The region the scope belongs to.
    pub fn region(&self) -> &Name {
        match self {
            Self::Runtime { region, .. }
            | Self::Local { region, .. }
            | Self::Dns { region }
            | Self::Keys { region }
            | Self::Agents { region } => region,
        }
    }

    /// The environment, where the scope has one.
    pub fn environment(&self) -> Option<&Name> {
        match self {
            Self::Runtime { environment, .. } | Self::Local { environment, .. } => Some(environment),
            Self::Dns { .. } | Self::Keys { .. } | Self::Agents { .. } => None,
        }
    }

    /// The origin that makes the content; `None`: the control plane does.
    pub fn origin(&self) -> Option<&Name> {
        match self {
            Self::Local { origin, .. } => Some(origin),
            Self::Runtime { .. } | Self::Dns { .. } | Self::Keys { .. } | Self::Agents { .. } => None,
        }
    }

    /// The control plane's scope that this local one adds to, which has its Origin; `None`: this is no local scope.
    pub fn adds_to(&self) -> Option<Self> {
        match self {
            Self::Local { region, environment, .. } => {
                Some(Self::runtime(region.clone(), environment.clone()))
            }
            Self::Runtime { .. } | Self::Dns { .. } | Self::Keys { .. } | Self::Agents { .. } => None,
        }
    }

    /// Whether an origin inside the region makes the content: each of its positions has the signature of a holder.
    pub fn is_local(&self) -> bool {
        self.origin().is_some()
    }
}

impl fmt::Display for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime { region, environment } => write!(f, "runtime/{region}/{environment}"),
            Self::Local { region, environment, origin } => write!(f, "local/{region}/{environment}/{origin}"),
            Self::Dns { region } => write!(f, "dns/{region}"),
            Self::Keys { region } => write!(f, "keys/{region}"),
            Self::Agents { region } => write!(f, "agents/{region}"),
        }
    }
}

impl FromStr for ScopeId {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let invalid = || InvalidScope(text.to_owned());
        let name = |part: &str| Name::new(part).map_err(|_| invalid());
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["runtime", region, environment] => Ok(Self::runtime(name(region)?, name(environment)?)),
            ["local", region, environment, origin] => {
                Ok(Self::local(name(region)?, name(environment)?, name(origin)?))
            }
            ["dns", region] => Ok(Self::Dns { region: name(region)? }),
            ["keys", region] => Ok(Self::Keys { region: name(region)? }),
            ["agents", region] => Ok(Self::Agents { region: name(region)? }),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_spelled_one_way() {
        for text in [
            "runtime/eu-west/production",
            "local/eu-west/production/pods",
            "dns/eu-west",
            "keys/us-east",
            "agents/eu-west",
        ] {
            assert_eq!(text.parse::<ScopeId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "runtime/eu-west",
            "local/eu-west/production",
            "local/eu-west/production/a/b",
            "dns/eu/west",
            "dns/EU",
            "other/a",
            "runtime//x",
        ] {
            assert!(text.parse::<ScopeId>().is_err(), "{text}");
        }
    }
}
