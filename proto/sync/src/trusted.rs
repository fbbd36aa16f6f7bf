//! Which roots of trust are believed.

use hanse_proto::{InvalidMessage, MAX_BELIEVED_ROOTS, MAX_DROPPED_ROOTS, sync};

use hanse_topology::Position;

/// The roots of trust that are believed, while one takes another's place. Opaque here, as values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRoots {
    /// The position of the last change of it. An earlier list never replaces a later one.
    pub as_of: Position,
    /// The roots.
    pub believed: Vec<TrustedRoot>,
    /// SHA-256 of the public key of the one that certificates should come from; said only by those whose own do. `None`:
    /// nothing is said of it.
    pub issuing: Option<[u8; 32]>,
    /// Likewise of those that were believed once and never will be again.
    pub dropped: Vec<[u8; 32]>,
}

/// A root, and another root's word for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRoot {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// A certificate of its key under the other root, DER.
    pub endorsement: Vec<u8>,
}

impl From<TrustedRoots> for sync::TrustedRoots {
    fn from(roots: TrustedRoots) -> Self {
        let believed = roots.believed.into_iter().map(|root| sync::TrustedRoot {
            certificate: root.certificate.into(),
            endorsement: root.endorsement.into(),
        });
        Self {
            as_of: Some(roots.as_of.into()),
            believed: believed.collect(),
            issuing: roots.issuing.map(|key| key.to_vec()).unwrap_or_default().into(),
            dropped: roots.dropped.into_iter().map(|key| key.to_vec().into()).collect(),
        }
    }
}

impl TryFrom<sync::TrustedRoots> for TrustedRoots {
    type Error = InvalidMessage;

    fn try_from(roots: sync::TrustedRoots) -> Result<Self, InvalidMessage> {
        let invalid = |why: &str| InvalidMessage::new("TrustedRoots", why);
        let as_of = roots.as_of.ok_or_else(|| invalid("it has no position"))?;
        if roots.believed.len() > MAX_BELIEVED_ROOTS {
            return Err(invalid(&format!("it names more than {MAX_BELIEVED_ROOTS} roots")));
        }
        if roots.dropped.len() > MAX_DROPPED_ROOTS {
            return Err(invalid(&format!("it names more than {MAX_DROPPED_ROOTS} dropped roots")));
        }
        let key = |bytes: &[u8]| {
            <[u8; 32]>::try_from(bytes).map_err(|_| invalid("the key of a root does not have 32 bytes"))
        };
        let believed = roots.believed.into_iter().map(|root| TrustedRoot {
            certificate: root.certificate.to_vec(),
            endorsement: root.endorsement.to_vec(),
        });
        Ok(Self {
            as_of: Position::try_from(&as_of)?,
            believed: believed.collect(),
            issuing: (!roots.issuing.is_empty()).then(|| key(&roots.issuing)).transpose()?,
            dropped: roots.dropped.iter().map(|bytes| key(bytes)).collect::<Result<_, _>>()?,
        })
    }
}
