//! Who a process is: `NAME.ROLE.REGION.hanse.internal`.

use std::{fmt, str::FromStr};

use crate::{InvalidRole, Name, Role};

/// The domain under which identities live. `.internal` is reserved for private use, so no public authority signs it.
pub const DOMAIN: &str = "hanse.internal";

/// The label that stands in the region's place for control-plane nodes.
const CONTROL: &str = "control";

/// Who a process is: its name, its role and, unless it is a control-plane node, its region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Unique within role and region.
    pub name: Name,
    /// What it is.
    pub role: Role,
    /// Where it is; `None` for control-plane nodes, which belong to no region.
    pub region: Option<Name>,
}

/// Why a text is not an [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// Not four parts under the domain, or parts that are not names.
    #[error("{given:?} is not an identity: expected NAME.ROLE.REGION.{DOMAIN}")]
    Shape {
        /// What was given.
        given: String,
    },
    /// An unknown role.
    #[error(transparent)]
    Role(#[from] InvalidRole),
    /// Control-plane nodes live under `control`, everything else under a region of another name.
    #[error(
        "role {role} does not belong under {under:?}: servers live under {CONTROL:?}, every other role under a region"
    )]
    Place {
        /// The role given.
        role: Role,
        /// The place given for it.
        under: String,
    },
}

impl Identity {
    /// A control-plane node.
    pub fn server(name: Name) -> Self {
        Self { name, role: Role::Server, region: None }
    }

    /// A region's agent.
    pub fn agent(name: Name, region: Name) -> Self {
        Self { name, role: Role::Agent, region: Some(region) }
    }

    /// A region's gateway.
    pub fn gateway(name: Name, region: Name) -> Self {
        Self { name, role: Role::Gateway, region: Some(region) }
    }

    /// The label in the region's place.
    fn place(&self) -> &str {
        self.region.as_ref().map_or(CONTROL, Name::as_str)
    }

    /// Whether role and region fit together.
    pub fn check(&self) -> Result<(), InvalidIdentity> {
        let fits = match &self.region {
            Some(region) => self.role.has_region() && !is_reserved(region),
            None => !self.role.has_region(),
        };
        if fits {
            Ok(())
        } else {
            Err(InvalidIdentity::Place { role: self.role, under: self.place().to_owned() })
        }
    }
}

/// Whether the name is taken by the control plane and can be no region's.
pub fn is_reserved(region: &Name) -> bool {
    region.as_str() == CONTROL
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{DOMAIN}", self.name, self.role, self.place())
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let shape = || InvalidIdentity::Shape { given: text.to_owned() };
        let labels = text.strip_suffix(DOMAIN).and_then(|rest| rest.strip_suffix('.')).ok_or_else(shape)?;
        let [name, role, place] = labels.split('.').collect::<Vec<_>>().try_into().map_err(|_| shape())?;
        let place = Name::new(place).map_err(|_| shape())?;
        let identity = Self {
            name: Name::new(name).map_err(|_| shape())?,
            role: role.parse()?,
            region: (!is_reserved(&place)).then_some(place),
        };
        identity.check()?;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_as_text() {
        for (text, role, region) in [
            ("cp-1.server.control.hanse.internal", Role::Server, None),
            ("a.agent.eu-west.hanse.internal", Role::Agent, Some("eu-west")),
            ("g-7.gateway.us-east.hanse.internal", Role::Gateway, Some("us-east")),
            ("d-1.dns.us-east.hanse.internal", Role::Dns, Some("us-east")),
        ] {
            let parsed: Identity = text.parse().unwrap();
            assert_eq!((parsed.role, parsed.region.as_ref().map(|region| region.as_str())), (role, region));
            assert_eq!(parsed.to_string(), text);
        }
        for (text, expected) in [
            ("", "expected NAME.ROLE.REGION.hanse.internal"),
            ("cp-1.server.control.example.com", "expected NAME.ROLE.REGION"),
            ("server.control.hanse.internal", "expected NAME.ROLE.REGION"),
            ("x.cp-1.server.control.hanse.internal", "expected NAME.ROLE.REGION"),
            ("CP.server.control.hanse.internal", "expected NAME.ROLE.REGION"),
            ("*.server.control.hanse.internal", "expected NAME.ROLE.REGION"),
            ("x.server.controlhanse.internal", "expected NAME.ROLE.REGION"),
            ("x.king.eu-west.hanse.internal", "\"king\" is not a role"),
            ("x.server.eu-west.hanse.internal", "does not belong under \"eu-west\""),
            ("x.agent.control.hanse.internal", "does not belong under \"control\""),
            ("x.dns.control.hanse.internal", "does not belong under \"control\""),
        ] {
            let error = text.parse::<Identity>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
