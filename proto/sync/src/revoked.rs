//! Who is refused.

use hanse_proto::{InvalidMessage, sync};

use crate::Position;

/// Who is refused, as far as it concerns a subscriber. Opaque here, as values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The position of the last change of it. An earlier list never replaces a later one.
    pub as_of: Position,
    /// The identities, sorted.
    pub identities: Vec<String>,
    /// SHA-256 of the public keys (SubjectPublicKeyInfo) that those of them who hold an authority joined with, sorted: whoever
    /// has such a key can give itself any name.
    pub authorities: Vec<[u8; 32]>,
}

impl From<Revoked> for sync::Revoked {
    fn from(revoked: Revoked) -> Self {
        let authorities = revoked.authorities.iter().map(|key| key.to_vec().into()).collect();
        Self { as_of: Some(revoked.as_of.into()), identities: revoked.identities, authorities }
    }
}

impl TryFrom<sync::Revoked> for Revoked {
    type Error = InvalidMessage;

    fn try_from(revoked: sync::Revoked) -> Result<Self, InvalidMessage> {
        let invalid = |why| InvalidMessage::new("Revoked", why);
        let as_of = revoked.as_of.ok_or_else(|| invalid("it has no position"))?;
        let digest =
            |key: &bytes::Bytes| key[..].try_into().map_err(|_| invalid("an authority is no SHA-256"));
        let authorities = revoked.authorities.iter().map(digest).collect::<Result<_, _>>()?;
        Ok(Self { as_of: Position::try_from(&as_of)?, identities: revoked.identities, authorities })
    }
}
