//! Whether an agent's authority may be renewed. Pure.

use hanse_identity::PeerKeys;
use hanse_state::Member;
use hanse_topology::{Identity, Name, Role};

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Only agents hold an authority from here.
    #[error("{0} is no agent: a gateway is renewed by its agent, a control node renews itself")]
    NoAgent(Identity),
    /// It never joined, or this node has not heard of it.
    #[error("this control node does not know {0} (join again with a token: hanse token create --join agent)")]
    Unknown(Identity),
    /// It is refused by name or by key.
    #[error("{0} is revoked (an operator can take that back: hanse member readmit)")]
    Revoked(Identity),
    /// Its authority's key is not the one it joined with.
    #[error("{0} joined with another key")]
    OtherKey(Identity),
}

/// The region whose authority is renewed: that of an agent whose leaf was issued under the key that it joined with. Whether
/// anything has expired is not asked.
pub(crate) fn permitted<'a>(
    identity: &'a Identity,
    keys: &PeerKeys,
    member: Option<&Member>,
    revoked: bool,
) -> Result<&'a Name, Refused> {
    let (Role::Agent, Some(region)) = (identity.role, &identity.region) else {
        return Err(Refused::NoAgent(identity.clone()));
    };
    if revoked {
        return Err(Refused::Revoked(identity.clone()));
    }
    let member = member.ok_or_else(|| Refused::Unknown(identity.clone()))?;
    if member.key_digest != keys.issuer_digest() {
        return Err(Refused::OtherKey(identity.clone()));
    }
    Ok(region)
}

#[cfg(test)]
mod tests {
    use hanse_identity::digest_secret;

    use super::*;

    #[test]
    fn an_agent_is_renewed_under_the_key_it_joined_with() {
        let name = |text: &str| Name::new(text).unwrap();
        let agent = Identity::agent(name("agent-1"), name("eu-west"));
        let gateway = Identity::gateway(name("gateway-1"), name("eu-west"));
        let keys = PeerKeys { own: b"leaf".to_vec(), issuer: b"authority".to_vec() };
        let member = |key: &[u8]| Member {
            token: Some(name("t-1")),
            key_digest: digest_secret(key),
            environments: Vec::new(),
            seat: None,
            earlier_keys: Vec::new(),
            address: String::new(),
            relay: false,
        };
        let known = member(b"authority");
        assert_eq!(permitted(&agent, &keys, Some(&known), false), Ok(&name("eu-west")));
        assert_eq!(permitted(&agent, &keys, None, false), Err(Refused::Unknown(agent.clone())));
        let leaf = member(b"leaf");
        assert_eq!(permitted(&agent, &keys, Some(&leaf), false), Err(Refused::OtherKey(agent.clone())));
        assert_eq!(permitted(&agent, &keys, Some(&known), true), Err(Refused::Revoked(agent.clone())));
        assert_eq!(permitted(&gateway, &keys, Some(&known), false), Err(Refused::NoAgent(gateway.clone())));
    }
}
