//! Those who take part: who joined, and who is refused.

use std::time::Duration;

use hanse_management::{Problem, ProblemName};
use hanse_topology::{DOMAIN, Identity, Name, Role};

use crate::resource::rfc3339;

/// A control node that the leader has not heard for so long is gone, and another may be given its place: the leader speaks to each
/// node ten times a second, and a node that restarts is back sooner.
pub const GONE_AFTER: Duration = Duration::from_secs(10);

/// A control node that the leader heard within this time runs: it is spoken to ten times a second.
pub const RUNS_WITHIN: Duration = Duration::from_secs(2);

/// The field of the problems that say: the node that has the place runs, or is silent and not for long enough yet to be gone. If it
/// was stopped just now, the same request is answered otherwise within [`GONE_AFTER`].
pub const SEAT_UNDECIDED: &str = "seat";

/// An agent or control node that joined with a JoinToken, or a control node that founded the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The token it joined with last; `None`: it is a founder.
    pub token: Option<Name>,
    /// SHA-256 of the public key it joined with, or of the key that a control node replaced it with.
    pub key_digest: [u8; 32],
    /// The environments it may learn; empty: all of its region's.
    pub environments: Vec<Name>,
    /// Of a control node, its place in the Raft group; `None`: it joined before places were kept.
    pub seat: Option<Seat>,
    /// Of a control node: SHA-256 of the public keys that it replaced, the oldest first. None of them joins or is recorded again,
    /// and all are refused with the identity.
    pub earlier_keys: Vec<[u8; 32]>,
    /// Of an agent: where agents of its region subscribe to it, `host:port`. Empty: none does.
    pub address: String,
    /// Of an agent: whether all agents of its region subscribe to it.
    pub relay: bool,
}

impl Member {
    /// The key that it has, and those that it had.
    pub fn keys(&self) -> impl Iterator<Item = [u8; 32]> {
        std::iter::once(self.key_digest).chain(self.earlier_keys.iter().copied())
    }
}

/// The place in the Raft group that a control node was admitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The Raft id. No other id gets the name's place.
    pub node_id: u64,
    /// Whether it may take the place of a node that is heard: its token said `force`.
    pub forced: bool,
}

/// A control node that asks for a place in the Raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatAsked {
    /// Its Raft id.
    pub node_id: u64,
    /// Which node has the name already. The leader says so when it takes the command.
    pub incumbent: Incumbent,
}

/// What the leader knows of a control node that has the joiner's name and another id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incumbent {
    /// No leader looked: a member of that name counts as heard.
    Unknown,
    /// There is none.
    None,
    /// The leader has not heard it for a while.
    Silent,
    /// The leader hears it.
    Heard,
}

/// An identity that is refused, wherever it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Who revoked it.
    pub actor: String,
    /// When, by the command's time, Unix milliseconds.
    pub time_ms: u64,
    /// SHA-256 of the public keys that are refused with it, beside the one that a [`Member`] joined with. Ascending.
    pub keys: Vec<[u8; 32]>,
}

impl Revocation {
    /// When, as RFC 3339 has it.
    pub fn at(&self) -> String {
        rfc3339(self.time_ms)
    }
}

/// The identity of the control node with this name.
pub fn server_identity(name: &str) -> String {
    format!("{name}.server.control.{DOMAIN}")
}

/// The identity of the agent with this name in a region.
pub(crate) fn agent_identity(name: &Name, region: &Name) -> String {
    Identity::agent(name.clone(), region.clone()).to_string()
}

/// What an identity is, as far as revoking goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identified {
    /// A control node.
    Server(Name),
    /// An agent.
    Agent,
    /// A node that agents of this region admit, such as a gateway.
    OfRegion(Name),
}

/// The name and the region of an agent; `None`: the identity is of another role.
pub(crate) fn agent_of(identity: &str) -> Option<(Name, Name)> {
    match identity.parse().ok()? {
        Identity { name, role: Role::Agent, region: Some(region) } => Some((name, region)),
        _other_role => None,
    }
}

/// How identities are spelled, for people: `NAME.agent.REGION.hanse.internal, … or NAME.server.control.hanse.internal`.
pub fn identity_forms() -> String {
    let of_regions = Role::ALL.into_iter().filter(|role| role.has_region());
    let forms: Vec<String> = of_regions.map(|role| format!("NAME.{role}.REGION.{DOMAIN}")).collect();
    format!("{} or {}", forms.join(", "), server_identity("NAME"))
}

/// Reads `NAME.ROLE.REGION.hanse.internal`.
pub(crate) fn identified(identity: &str) -> Result<Identified, Problem> {
    let unreadable = || {
        Problem::new(ProblemName::Invalid, format!("{identity:?} is not an identity"))
            .at("identity")
            .remedy(format!("write {}", identity_forms()))
    };
    let Identity { name, role, region } = identity.parse().map_err(|_| unreadable())?;
    match (role, region) {
        (Role::Server, _none) => Ok(Identified::Server(name)),
        (Role::Agent, _any) => Ok(Identified::Agent),
        (Role::Gateway | Role::Dns, Some(region)) => Ok(Identified::OfRegion(region)),
        (Role::Gateway | Role::Dns, None) => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_identity_is_named_and_read() {
        let forms = identity_forms();
        for role in Role::ALL {
            assert!(forms.contains(&format!("NAME.{role}.")), "{role}: {forms}");
        }
        for form in forms.split(", ").flat_map(|forms| forms.split(" or ")) {
            let identity = form.replace("NAME", "a").replace("REGION", "eu-west");
            assert!(identified(&identity).is_ok(), "{identity}");
        }
    }

    #[test]
    fn identities_are_read() {
        let name = |text: &str| Name::new(text).unwrap();
        for (identity, expected) in [
            ("cp-1.server.control.hanse.internal", Some(Identified::Server(name("cp-1")))),
            ("a.agent.eu-west.hanse.internal", Some(Identified::Agent)),
            ("g.gateway.eu-west.hanse.internal", Some(Identified::OfRegion(name("eu-west")))),
            ("d.dns.eu-west.hanse.internal", Some(Identified::OfRegion(name("eu-west")))),
            ("d.dns.control.hanse.internal", None),
            ("", None),
            ("g.gateway.eu-west", None),
            ("g.gateway.eu-westhanse.internal", None),
            ("g.gateway.control.hanse.internal", None),
            ("a.server.eu-west.hanse.internal", None),
            ("G.gateway.eu-west.hanse.internal", None),
            ("x.g.gateway.eu-west.hanse.internal", None),
            ("g.king.eu-west.hanse.internal", None),
        ] {
            assert_eq!(identified(identity).ok(), expected, "{identity}");
        }
    }
}
