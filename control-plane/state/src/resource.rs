//! The envelope every management resource has.

mod json;
pub(crate) mod wire;

use std::sync::Arc;

use hanse_topology::Labels;
use imbl::OrdSet;
pub use json::rfc3339;

use hanse_management::{Refer, Reference, ResourceKey, Revision, Spec, manifest::Restored};

/// A management resource with what the server knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Kind, organization and name.
    pub key: ResourceKey,
    /// Labels and the server-owned fields.
    pub metadata: Metadata,
    /// What the operator wrote.
    pub spec: Spec,
}

impl Resource {
    /// Gives `see` every reference to another resource, in the order of the fields.
    pub(crate) fn each_reference(&self, mut see: impl FnMut(Reference)) {
        self.spec.references(&mut Refer::new(&self.key, &mut see));
    }
}

/// What is said of a resource beside its spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The operator's labels.
    pub labels: Labels,
    /// The revision of its last change: its ETag.
    pub revision: Revision,
    /// Unix milliseconds of its first write.
    pub created_at_ms: u64,
    /// Unix milliseconds of its last change.
    pub updated_at_ms: u64,
    /// How often a JoinToken was used.
    pub uses: u64,
    /// The identities that spent a JoinToken's uses: each use belongs to one, so they are never more than `uses`.
    pub used_by: OrdSet<Arc<str>>,
    /// The number of an Api's latest ApiRevision. A new one made because a Policy or an Upstream changed is told here
    /// without changing the Api's own `revision`: an edit elsewhere makes no `If-Match` on the Api stale.
    pub api_revision: u64,
    /// The numbers of the ApiRevisions that a Binding served, each once, the present one last: at most [`Self::MAX_SERVED`]. A
    /// Binding that follows the latest one is told here without a change of its own `revision`.
    pub served: Vec<u64>,
    /// Whether no command may delete it.
    pub protected: bool,
}

impl Metadata {
    /// How many ApiRevisions of a Binding are kept for a rollback.
    pub const MAX_SERVED: usize = Restored::MAX_SERVED;

    /// Notes that a Binding serves an ApiRevision now. The highest number is kept: below it the Binding was rolled back.
    pub(crate) fn serve(&mut self, number: u64) {
        self.served.retain(|served| *served != number);
        self.served.push(number);
        let highest = self.served.iter().copied().max();
        if self.served.len() > Self::MAX_SERVED
            && let Some(oldest) = self.served.iter().position(|served| Some(*served) != highest)
        {
            self.served.remove(oldest);
        }
    }
}
