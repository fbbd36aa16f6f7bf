//! What should not happen, and does.

use hanse_proto::InvalidMessage;

use hanse_topology::Position;

use crate::{MAX_LOCAL_BYTES, MAX_LOCAL_KEYS};

/// What a publisher sent, or did not send, that an operator should know of. All but the last five heal by resync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// After a transfer the content would not be the publisher's.
    #[error("the transfer to {to} does not make the publisher's content")]
    RootMismatch {
        /// Where the transfer led.
        to: Position,
    },
    /// At the same position the publisher holds another content.
    #[error("the publisher holds another content at {at}")]
    RootDiffers {
        /// The position.
        at: Position,
    },
    /// A delta that does not start where this subscriber stands, or leads nowhere.
    #[error("a delta from revision {from} to {to} does not start here")]
    WrongFrom {
        /// Where it starts.
        from: u64,
        /// Where it leads.
        to: Position,
    },
    /// A message that makes no sense where it came.
    #[error("an unexpected {message}")]
    Unexpected {
        /// Which.
        message: &'static str,
    },
    /// The publisher offers an earlier position, or an earlier lineage, than the one held. Positions never go back.
    #[error("the publisher offers {offered}, held is {held}")]
    Backwards {
        /// What is held.
        held: Position,
        /// What is offered.
        offered: Position,
    },
    /// Two lineages of one generation. The first seen stays.
    #[error("the publisher's lineage at {offered} contradicts {held}; what is held stays")]
    LineageConflict {
        /// What is held.
        held: Position,
        /// What is offered.
        offered: Position,
    },
    /// A head of a local scope that no holder of it signed, as far as this node knows.
    #[error("the head at {at} is not believed: {why}; if it stays so, look for the neighbour that sends it")]
    Forged {
        /// The position.
        at: Position,
        /// Why not.
        why: String,
    },
    /// A local scope with more content than one may have.
    #[error(
        "the content at {at} has {keys} keys and {bytes} bytes, and a local scope has at most {MAX_LOCAL_KEYS} and \
         {MAX_LOCAL_BYTES}: split its Origin"
    )]
    TooLarge {
        /// The position.
        at: Position,
        /// Its keys, or those that came so far.
        keys: usize,
        /// Its bytes, likewise.
        bytes: usize,
    },
    /// The link is up and the sync is dead.
    #[error("connected, but nothing comes")]
    Stalled,
    /// Two processes run with this node's identity.
    #[error(
        "another process has this node's identity and took its place: was the data directory copied? Stop one of the two, remove \
         its data directory, and let it join under a name of its own"
    )]
    Superseded,
    /// A message that cannot be read.
    #[error(transparent)]
    Malformed(#[from] InvalidMessage),
}

impl Alarm {
    /// The kind of alarm, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RootMismatch { .. } => "root mismatch",
            Self::RootDiffers { .. } => "root differs",
            Self::WrongFrom { .. } => "wrong from",
            Self::Unexpected { .. } => "unexpected message",
            Self::Backwards { .. } => "backwards",
            Self::LineageConflict { .. } => "lineage conflict",
            Self::Forged { .. } => "forged head",
            Self::TooLarge { .. } => "local scope too large",
            Self::Stalled => "stalled",
            Self::Superseded => "superseded",
            Self::Malformed(_) => "malformed message",
        }
    }
}
