//! What a watcher is told, as a pure function of the state.

use std::collections::BTreeMap;

use axum::response::sse::Event;
use hanse_management::{ResourceKey, Revision};
use hanse_state::State;
use serde::Serialize;

use crate::answer::{self, Bookmark};

/// One resource that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChangeEvent {
    pub(super) key: ResourceKey,
    /// The revision of its last change.
    pub(super) revision: Revision,
    /// Whether it is the last of its revision. Only then does the event carry the revision as its id: a client that
    /// was cut off between two events of one revision is told both again.
    pub(super) last: bool,
}

/// What changed after `after` of what the watcher sees, by the revision of its last change. `None`: no longer remembered.
pub(super) fn since(
    state: &State,
    after: Revision,
    sees: impl Fn(&ResourceKey) -> bool,
) -> Option<Vec<ChangeEvent>> {
    let mut latest: BTreeMap<&ResourceKey, Revision> = BTreeMap::new();
    for entry in state.journal_since(after)? {
        latest.extend(entry.keys.iter().filter(|key| sees(key)).map(|key| (key, entry.revision)));
    }
    let mut ordered: Vec<(Revision, &ResourceKey)> =
        latest.into_iter().map(|(key, revision)| (revision, key)).collect();
    ordered.sort_unstable();
    let event = |(index, (revision, key)): (usize, &(Revision, &ResourceKey))| {
        let last = ordered.get(index + 1).is_none_or(|(next, _)| next != revision);
        ChangeEvent { key: (*key).clone(), revision: *revision, last }
    };
    Some(ordered.iter().enumerate().map(event).collect())
}

impl ChangeEvent {
    /// As it goes to the client, with the resource as it is in `state`.
    pub(super) fn event(&self, state: &State) -> Event {
        let resource = state.get(&self.key);
        let data = answer::ChangeEvent {
            kind: self.key.kind.to_string(),
            organization: self.key.organization.as_ref().map(ToString::to_string),
            name: self.key.name.to_string(),
            revision: self.revision,
            resource: resource.map(|resource| (&**resource).into()),
        };
        let event = message(if resource.is_some() { "put" } else { "delete" }, &data);
        if self.last { event.id(self.revision.to_string()) } else { event }
    }
}

/// Nothing has changed up to `revision`, and the watch is alive.
pub(super) fn bookmark(revision: Revision) -> Event {
    message("bookmark", &Bookmark { revision }).id(revision.to_string())
}

fn message(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).expect("an event has string keys only"))
}
