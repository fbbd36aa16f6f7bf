//! What the test release brings with version 2 beside its kind and its fields. It is an example of what a release does, too: the
//! kind Memo, the field `note` of an Api, the command SetMotto, the snapshot record Motto, other bytes for each Route.

use hanse_management::{Kind, Spec};
use hanse_proto::{control::Motto, control::snapshot_record::Record, runtime};

use crate::{Action, Change, State, Version};

/// What gateways get of an Api that says nothing.
const DEFAULT_NOTE: &str = "none";

/// The feature that a Route with a note requires.
pub(crate) const FEATURE: &str = "note";

/// Where `change` uses what came with [`Version::NEXT`]. A delete names its kind, too: the release before could not read it.
pub(crate) fn used_in(change: &Change) -> Option<String> {
    let field = match (change.key.kind, &change.action) {
        (Kind::Memo, _) => "kind",
        (_, Action::Put { spec: Spec::Api(spec), .. } | Action::Restore { spec: Spec::Api(spec), .. })
            if spec.note.is_some() =>
        {
            "spec.note"
        }
        (_, Action::Restore { spec: Spec::ApiRevision(revision), .. }) if revision.spec.note.is_some() => {
            "spec.spec.note"
        }
        _known_before => return None,
    };
    Some(field.to_owned())
}

/// A Route as gateways get it from [`Version::NEXT`] on: every one has a note.
pub(crate) fn with_note(mut route: runtime::Route, version: Version) -> runtime::Route {
    if version >= Version::NEXT && route.note.is_empty() {
        route.note = DEFAULT_NOTE.to_owned();
    }
    route
}

impl State {
    /// The text that [`SetMotto`](crate::CommandBody::SetMotto) set.
    pub fn motto(&self) -> &str {
        &self.motto
    }

    /// What a snapshot has from [`Version::NEXT`] on.
    pub(crate) fn motto_record(&self) -> Option<Record> {
        (self.version >= Version::NEXT).then(|| Record::Motto(Motto { motto: self.motto.clone() }))
    }
}

#[cfg(test)]
mod tests;
