//! Who is refused by name.

use hanse_proto::{InvalidMessage, sync};

use crate::Position;

/// The identities that are refused, as far as they concern a subscriber. Opaque here, as values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The position of the last change of it. An earlier list never replaces a later one.
    pub as_of: Position,
    /// The identities, sorted.
    pub identities: Vec<String>,
}

impl From<Revoked> for sync::Revoked {
    fn from(revoked: Revoked) -> Self {
        Self { as_of: Some(revoked.as_of.into()), identities: revoked.identities }
    }
}

impl TryFrom<sync::Revoked> for Revoked {
    type Error = InvalidMessage;

    fn try_from(revoked: sync::Revoked) -> Result<Self, InvalidMessage> {
        let as_of = revoked.as_of.ok_or_else(|| InvalidMessage::new("Revoked", "it has no position"))?;
        Ok(Self { as_of: Position::try_from(&as_of)?, identities: revoked.identities })
    }
}
