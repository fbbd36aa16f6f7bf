//! What a process is, and what follows from that. A second role below the agents is a variant here, with its line in each match;
//! other code asks for what it needs to know, such as [`Role::certifies`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ScopeId;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// A control-plane node.
    Server,
    /// A region's relay between control plane and gateways.
    Agent,
    /// A data-plane gateway.
    Gateway,
    /// A DNS responder.
    Dns,
}

/// A text that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role: expected server, agent, gateway or dns")]
pub struct InvalidRole(pub String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Server, Self::Agent, Self::Gateway, Self::Dns];

    /// The DNS label of the role.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Gateway => "gateway",
            Self::Dns => "dns",
        }
    }

    /// Who lets a process of this role join, renews its certificate, and publishes to it.
    pub fn admitted_by(self) -> Self {
        match self {
            Self::Server | Self::Agent => Self::Server,
            Self::Gateway | Self::Dns => Self::Agent,
        }
    }

    /// The roles that it lets join.
    pub fn admits(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |role| role.admitted_by() == self)
    }

    /// Whether a process of this role is of a region. Control nodes are of none.
    pub fn has_region(self) -> bool {
        self != Self::Server
    }

    /// Whether a process of this role certifies others. It joins with an authority of its own, and issues its own certificate
    /// under that. A process of any other role has a certificate only.
    pub fn certifies(self) -> bool {
        self.admits().next().is_some()
    }

    /// Whether what a process of this role may learn can be limited to some environments. What a DNS responder learns is of its region.
    pub fn has_environments(self) -> bool {
        match self {
            Self::Agent | Self::Gateway => true,
            Self::Server | Self::Dns => false,
        }
    }

    /// Whether a process of this role may learn a scope of this kind at all; which ones of them, its admission says. For example,
    /// a gateway never learns `keys/eu-west`, even if admission offers it: the keys that tokens are signed with are there. No gateway
    /// needs `agents/eu-west`, and none learns it. A DNS responder learns `dns/eu-west` and nothing else.
    pub fn may_learn(self, scope: &ScopeId) -> bool {
        match (self, scope) {
            // Control nodes make every scope but local ones. Agents pass every scope of their region on.
            (Self::Server | Self::Agent, _)
            | (Self::Gateway, ScopeId::Runtime { .. } | ScopeId::Local { .. })
            | (Self::Dns, ScopeId::Dns { .. }) => true,
            (Self::Gateway, ScopeId::Dns { .. } | ScopeId::Keys { .. } | ScopeId::Agents { .. })
            | (
                Self::Dns,
                ScopeId::Runtime { .. }
                | ScopeId::Local { .. }
                | ScopeId::Keys { .. }
                | ScopeId::Agents { .. },
            ) => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let named = Self::ALL.into_iter().find(|role| role.as_str() == text);
        named.ok_or_else(|| InvalidRole(text.to_owned()))
    }
}

impl TryFrom<String> for Role {
    type Error = InvalidRole;

    fn try_from(text: String) -> Result<Self, InvalidRole> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_role_is_follows_from_it() {
        for (role, has_region, certifies, has_environments) in [
            (Role::Server, false, true, false),
            (Role::Agent, true, true, true),
            (Role::Gateway, true, false, true),
            (Role::Dns, true, false, false),
        ] {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert_eq!((role.has_region(), role.certifies()), (has_region, certifies), "{role}");
            assert_eq!(role.has_environments(), has_environments, "{role}");
        }
        assert_eq!(Role::Agent.admits().collect::<Vec<_>>(), [Role::Gateway, Role::Dns]);
    }

    #[test]
    fn a_role_learns_scopes_of_its_kind_only() {
        let texts = [
            "runtime/eu-west/production",
            "local/eu-west/production/pods",
            "dns/eu-west",
            "keys/eu-west",
            "agents/eu-west",
        ];
        let scopes = texts.map(|text| text.parse::<ScopeId>().unwrap());
        for (role, learns) in [
            (Role::Server, [true, true, true, true, true]),
            (Role::Agent, [true, true, true, true, true]),
            (Role::Gateway, [true, true, false, false, false]),
            (Role::Dns, [false, false, true, false, false]),
        ] {
            assert_eq!(scopes.each_ref().map(|scope| role.may_learn(scope)), learns, "{role}");
        }
    }
}
