//! What a step over several revisions does not show by how its ends differ.

use std::sync::Arc;

/// What changed and changed back between the ends of a step. A subscriber that stands between the ends has met it.
///
/// Exact but for what a Binding or an ApiRevision brought along that itself came and went: its content is in neither end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Between {
    /// At most these keys, wherever they are present at the end.
    Touched(Vec<Arc<str>>),
    /// It may be anything: the journal does not reach back to the start, or something came and went. Whose scopes that was in, the
    /// ends do not say, and its name is not for others.
    Unknown,
}

impl Between {
    /// Takes in what there was in the scopes of another kind.
    pub(super) fn extend(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Touched(keys), Self::Touched(more)) => keys.extend(more),
            (Self::Unknown, Self::Touched(_)) => {}
            (Self::Touched(_) | Self::Unknown, Self::Unknown) => *self = Self::Unknown,
        }
    }
}

impl Default for Between {
    fn default() -> Self {
        Self::Touched(Vec::new())
    }
}
