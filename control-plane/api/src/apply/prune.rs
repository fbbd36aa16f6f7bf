//! `prune`: deleting what was applied once and is no longer part of the request.

use std::collections::BTreeSet;

use hanse_management::{Kind, ResourceKey};
use hanse_state::{Action, Change, State};
use hanse_topology::{Labels, Name};

/// Deletes for every resource that matches `selector`, is of a kind and, unless global, of an organization that `puts`
/// mention, and is not among them. What depends on others goes first.
///
/// Each delete holds only at the revision looked at: a resource that changes meanwhile is not deleted, and the
/// whole request is refused as stale.
pub(super) fn deletes(state: &State, changes: &[Change], selector: &Labels) -> Vec<Change> {
    let kept: BTreeSet<&ResourceKey> = changes.iter().map(|change| &change.key).collect();
    let puts = |change: &&Change| matches!(change.action, Action::Put { .. } | Action::Restore { .. });
    let puts: Vec<&Change> = changes.iter().filter(puts).collect();
    // What operators do not write is in a request only as a part of a dump.
    let kinds: BTreeSet<Kind> =
        puts.iter().map(|put| put.key.kind).filter(|kind| kind.is_writable()).collect();
    let organizations: BTreeSet<&Name> =
        puts.iter().filter_map(|put| put.key.organization.as_ref()).collect();
    let mut deletes = Vec::new();
    for kind in kinds.into_iter().rev() {
        let owners: Vec<Option<&Name>> =
            if kind.is_global() { vec![None] } else { organizations.iter().copied().map(Some).collect() };
        for owner in owners {
            let surplus = state.list(kind, owner).filter(|resource| {
                resource.metadata.labels.contains_all(selector) && !kept.contains(&resource.key)
            });
            deletes.extend(surplus.map(|resource| Change {
                key: resource.key.clone(),
                action: Action::Delete { cascade: false },
                if_revision: Some(resource.metadata.revision),
            }));
        }
    }
    deletes
}
