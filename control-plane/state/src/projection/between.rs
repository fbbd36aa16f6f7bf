//! What a step over several revisions does not show by how its ends differ.

use std::sync::Arc;

/// What came and went, or changed and changed back, between the ends of a step: whoever stands between them has met it.
///
/// Exact but for what a Binding or an ApiRevision brought along that itself came and went: its content is in neither end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Between {
    /// These keys at most.
    Keys {
        /// Keys that changed on the way, wherever they are present at the end.
        touched: Vec<Arc<str>>,
        /// Keys that are in neither end.
        passed: Vec<Arc<str>>,
    },
    /// It may be anything: the journal does not reach back to the start.
    Unknown,
}

impl Default for Between {
    fn default() -> Self {
        Self::Keys { touched: Vec::new(), passed: Vec::new() }
    }
}
