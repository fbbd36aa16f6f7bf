//! Deletes: nothing that is referred to goes, unless what refers to it goes too, and nothing that is protected.

use hanse_management::{Hold, Kind, Problem, ProblemName, Reference, ResourceKey, Written, check};

use crate::{Action, Change, ChangeResult, apply::resources::Draft};

/// How many referrers a refusal names.
const NAMED_REFERRERS: usize = 5;

/// Makes the deletes among `changes`.
pub(super) fn run(draft: &mut Draft<'_>, changes: &[Change]) -> Result<(), Problem> {
    for change in changes {
        if let Action::Delete { cascade } = change.action {
            check::check_changeable(&change.key)?;
            take(draft, &change.key, cascade)?;
        }
    }
    let mut requested = std::collections::BTreeSet::new();
    for (order, change) in changes.iter().enumerate() {
        if let Action::Delete { .. } = change.action {
            draft.tell(order, &change.key, ChangeResult::DELETED, 0);
            requested.insert(&change.key);
        }
    }
    let also: Vec<ResourceKey> =
        draft.deleted.keys().filter(|key| !requested.contains(key)).cloned().collect();
    also.iter().for_each(|key| draft.tell_also_deleted(key));
    Ok(())
}

/// Deletes `root`. What the control plane made of it always goes with it: ApiRevisions of an Api, decisions about a FailoverPlan or a
/// Region. What operators wrote goes only with `cascade`, if it needs it.
fn take(draft: &mut Draft<'_>, root: &ResourceKey, cascade: bool) -> Result<(), Problem> {
    let mut going = vec![root.clone()];
    while let Some(key) = going.pop() {
        let Some(resource) = draft.next.get(&key) else {
            continue; // it went already
        };
        // A decision is given up by the code that made it.
        if resource.metadata.protected && key.kind.is_writable() {
            return Err(protected(&key, root));
        }
        if draft.asked.contains(&key) {
            return Err(Problem::new(
                ProblemName::Invalid,
                format!("{key} is put by the same command that deletes {root} and all that needs it"),
            )
            .at(key.to_string())
            .remedy(format!("leave {key} out, or delete {root} without cascade")));
        }
        going.extend(
            draft.next.referrers(&key).filter(|source| goes_with(draft, source, &key, cascade)).cloned(),
        );
        if let (Kind::Organization, true) = (key.kind, cascade) {
            going.extend(draft.next.owned_by(&key.name).map(|resource| resource.key.clone()));
        }
        draft.delete(&key, root);
    }
    Ok(())
}

fn protected(key: &ResourceKey, root: &ResourceKey) -> Problem {
    let going = if key == root { String::new() } else { format!(", which would go with {root},") };
    Problem::new(ProblemName::Conflict, format!("{key}{going} is protected")).at(key.to_string()).remedy(
        format!(
            "to delete it, apply {key} with `protected: false` first; to prune without it, put it back into the manifests"
        ),
    )
}

/// Whether `source` goes when its target does.
fn goes_with(draft: &Draft<'_>, source: &ResourceKey, target: &ResourceKey, cascade: bool) -> bool {
    let needs = || references_between(draft, source, target).iter().any(|found| found.hold == Hold::Needs);
    match source.kind.written() {
        Written::ByApply => true,
        Written::ByHandlers => needs(),
        Written::ByOperators => cascade && needs(),
    }
}

fn references_between(draft: &Draft<'_>, source: &ResourceKey, target: &ResourceKey) -> Vec<Reference> {
    let mut found = Vec::new();
    if let Some(source) = draft.next.get(source) {
        source.each_reference(|reference| {
            if reference.target == *target {
                found.push(reference);
            }
        });
    }
    found
}

/// Refuses the command if anything left refers to what was deleted.
pub(super) fn check_unused(draft: &Draft<'_>) -> Result<(), Problem> {
    for (key, root) in &draft.deleted {
        // Who refers to an ApiRevision refers to its Api too.
        if key.kind == Kind::ApiRevision {
            continue;
        }
        let mut users: Vec<&ResourceKey> = draft.next.referrers(key).collect();
        if key.kind == Kind::Organization {
            users.extend(draft.next.owned_by(&key.name).map(|resource| &resource.key));
        }
        if !users.is_empty() {
            return Err(in_use(draft, key, root, &users));
        }
    }
    Ok(())
}

fn in_use(draft: &Draft<'_>, key: &ResourceKey, root: &ResourceKey, users: &[&ResourceKey]) -> Problem {
    let named = |users: &[&ResourceKey]| {
        let mut named: Vec<String> = users.iter().take(NAMED_REFERRERS).map(ToString::to_string).collect();
        if users.len() > NAMED_REFERRERS {
            named.push(format!("{} more", users.len() - NAMED_REFERRERS));
        }
        named.join(", ")
    };
    // An Organization is named by others, such as Tokens, too.
    let (owned, others): (Vec<&ResourceKey>, Vec<&ResourceKey>) = users
        .iter()
        .partition(|user| key.kind == Kind::Organization && user.organization.as_ref() == Some(&key.name));
    let said: Vec<String> = [("owns", &owned), ("is used by", &others)]
        .into_iter()
        .filter(|(_, users)| !users.is_empty())
        .map(|(verb, users)| format!("{verb} {}", named(users)))
        .collect();
    let going = if key == root { String::new() } else { format!(", which would go with {root},") };
    let listing = users.iter().find_map(|user| {
        let found = references_between(draft, user, key);
        let whole = found.iter().any(|reference| reference.hold == Hold::Needs);
        found.into_iter().next().filter(|_| !whole).map(|reference| (user, reference.field))
    });
    let remedy = match listing {
        Some((user, field)) => format!("take it out of {user}: {field} first"),
        None => "delete those first, or delete it with cascade".to_owned(),
    };
    Problem::new(ProblemName::InUse, format!("{key}{going} {}", said.join(" and ")))
        .at(root.to_string())
        .remedy(remedy)
}
