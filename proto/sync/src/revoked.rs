//! Who is refused.

use hanse_proto::{InvalidMessage, sync};

use hanse_topology::Position;

/// Who is refused, as far as it concerns a subscriber. Opaque here, as values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The position of the last change of it. An earlier list never replaces a later one.
    pub as_of: Position,
    /// The identities, sorted.
    pub identities: Vec<String>,
    /// SHA-256 of the public keys (SubjectPublicKeyInfo) of agents and control nodes that are refused, sorted. A peer that has such a
    /// key can give itself any name.
    pub authorities: Vec<[u8; 32]>,
    /// SHA-256 of the public keys of gateways that are refused, sorted. Refused of gateways only: an agent reports them, and what
    /// one agent says must not cut off another, or a control node.
    pub gateway_keys: Vec<[u8; 32]>,
}

impl From<Revoked> for sync::Revoked {
    fn from(revoked: Revoked) -> Self {
        let digests = |keys: &[[u8; 32]]| keys.iter().map(|key| key.to_vec().into()).collect();
        Self {
            as_of: Some(revoked.as_of.into()),
            authorities: digests(&revoked.authorities),
            gateway_keys: digests(&revoked.gateway_keys),
            identities: revoked.identities,
        }
    }
}

impl TryFrom<sync::Revoked> for Revoked {
    type Error = InvalidMessage;

    fn try_from(revoked: sync::Revoked) -> Result<Self, InvalidMessage> {
        let invalid = |why| InvalidMessage::new("Revoked", why);
        let as_of = revoked.as_of.ok_or_else(|| invalid("it has no position"))?;
        let digests = |keys: &[bytes::Bytes]| {
            let digest = |key: &bytes::Bytes| key[..].try_into().map_err(|_| invalid("a key is no SHA-256"));
            keys.iter().map(digest).collect::<Result<_, _>>()
        };
        Ok(Self {
            as_of: Position::try_from(&as_of)?,
            authorities: digests(&revoked.authorities)?,
            gateway_keys: digests(&revoked.gateway_keys)?,
            identities: revoked.identities,
        })
    }
}
