//! `agents/REGION`: the agents of a region, so that they find and recognize one another.
//!
//! It is made of members, which are no resources: so it is no `ScopeKind`. The agents that may differ are those whose member or
//! revocation differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_topology::{Name, ScopeId};
use imbl::{OrdMap, ordmap::DiffItem};

use super::{
    Between, ScopeChange, encode,
    step::{Difference, Ends},
};
use crate::{State, member::agent_of};

/// The key of an agent in its region's scope.
fn key(agent: &Name) -> String {
    format!("agent/{agent}")
}

/// What differs in the scopes of agents.
pub(super) fn differences(ends: &Ends<'_>) -> Vec<Difference> {
    let mut found: BTreeMap<Name, Difference> = BTreeMap::new();
    if !ends.members_changed() {
        return Vec::new();
    }
    let (before, after) = ends.states();
    let mut identities = differing(&before.members, &after.members);
    identities.extend(differing(&before.revocations, &after.revocations));
    for identity in identities {
        let Some((name, region)) = agent_of(identity) else { continue };
        let (was, is) = (present(before, identity, &name), present(after, identity, &name));
        if was == is {
            continue;
        }
        let difference = found.entry(region).or_insert_with_key(|region| Difference {
            change: ScopeChange {
                scope: ScopeId::Agents { region: region.clone() },
                upserts: Vec::new(),
                removals: Vec::new(),
                dropped: false,
            },
            made: 0,
        });
        let key = key(&name).into();
        match is {
            Some(bytes) => {
                difference.made += usize::from(was.is_none());
                difference.change.upserts.push((key, bytes));
            }
            None => difference.change.removals.push(key),
        }
    }
    found.into_values().collect()
}

/// What may have been there between the two states. Members have no journal: over several revisions it may be anything.
pub(super) fn between(ends: &Ends<'_>) -> Between {
    let (before, after) = ends.states();
    let several = after.revision().saturating_sub(before.revision()) > 1;
    if several && ends.members_changed() { Between::Unknown } else { Between::default() }
}

/// The keys of two maps whose values differ. The work is proportional to the difference where one map came from the other.
fn differing<'a, V: PartialEq>(
    before: &'a OrdMap<Arc<str>, V>,
    after: &'a OrdMap<Arc<str>, V>,
) -> BTreeSet<&'a str> {
    let key = |item: DiffItem<'a, 'a, Arc<str>, V>| -> &'a str {
        match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
            DiffItem::Update { new: (key, _), .. } => key,
        }
    };
    before.diff(after).map(key).collect()
}

/// An agent in the scope of its region: one that joined and is not revoked.
fn present(state: &State, identity: &str, name: &Name) -> Option<Bytes> {
    let member = state.member(identity).filter(|_| !state.is_revoked(identity))?;
    Some(encode::neighbour(name, member))
}
