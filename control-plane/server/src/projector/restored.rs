//! What an earlier process published, brought in line with the projection.
//!
//! A projection starts with the whole content of every scope and knows nothing of earlier revisions. What was published
//! before does, so it is kept: the content becomes its next change. It may also be ahead, as long as this node does not
//! know of its last entries that they were committed; then it stays as it is, for positions never go back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_link::{ReplicaMap, ReplicasMut};
use hanse_state::projection::ScopeChange;
use hanse_topology::{LineageOrder, Position, ScopeId};
use tracing::{error, info, warn};

/// The scopes whose replicas are those of an earlier process, each with what the projection says is in it; `None`: that there
/// is no such scope.
#[derive(Debug, Default)]
pub(super) struct Restored(BTreeMap<ScopeId, Option<Content>>);

type Content = BTreeMap<Arc<str>, Bytes>;

/// What to do about a replica.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The projection has not reached it.
    Await,
    /// Its content is to be that of the projection.
    Follow,
    /// It is of a history that is not the state's: nothing leads on from it.
    Forget,
}

impl Restored {
    pub(super) fn new(replicas: &ReplicaMap) -> Self {
        Self(replicas.keys().map(|scope| (scope.clone(), None)).collect())
    }

    /// Whether the scope's replica is not that of the projection yet.
    pub(super) fn awaits(&self, scope: &ScopeId) -> bool {
        self.0.contains_key(scope)
    }

    /// Takes in what changes in one of the scopes; gives back a change of another.
    pub(super) fn take_in(&mut self, change: ScopeChange) -> Option<ScopeChange> {
        let Some(content) = self.0.get_mut(&change.scope) else { return Some(change) };
        if change.dropped {
            *content = None;
            return None;
        }
        let content = content.get_or_insert_default();
        change.removals.iter().for_each(|key| drop(content.remove(key)));
        content.extend(change.upserts);
        None
    }

    /// Brings those replicas to the projection, at `to`, that it has reached.
    pub(super) fn catch_up(&mut self, to: Position, replicas: &mut ReplicasMut<'_>) {
        let reached: BTreeSet<ScopeId> = {
            let reached = self.0.keys().filter(|scope| {
                let held = replicas.read().get(scope).and_then(|replica| replica.position());
                held.is_none_or(|held| next(held, &to) != Next::Await)
            });
            reached.cloned().collect()
        };
        for scope in reached {
            match self.0.remove(&scope).flatten() {
                Some(content) => follow(&scope, content, to, replicas),
                None => drop(replicas.remove(&scope)),
            }
        }
    }
}

fn next(held: &Position, to: &Position) -> Next {
    match to.lineage.order(&held.lineage) {
        LineageOrder::Same if to.revision < held.revision => Next::Await,
        LineageOrder::Same | LineageOrder::Greater => Next::Follow,
        LineageOrder::Lesser | LineageOrder::Conflict => Next::Forget,
    }
}

fn follow(scope: &ScopeId, content: Content, to: Position, replicas: &mut ReplicasMut<'_>) {
    let mut held = replicas.replica(scope).position().copied();
    if let Some(foreign) = held.take_if(|held| next(held, &to) == Next::Forget) {
        warn!(%scope, held = %foreign, %to, "what an earlier process published is of another history; it is forgotten");
        replicas.remove(scope);
    }
    let replica = replicas.replica(scope);
    let changed = replica.prepare_snapshot(to, content.into_iter().collect()).and_then(|prepared| {
        let is_same = held.is_some_and(|held| held.is(&to)) && prepared.root() == replica.root();
        let changes = prepared.changes();
        if is_same { Ok(changes) } else { replica.commit(prepared).map(|()| changes) }
    });
    match (changed, held) {
        (Ok(changes), Some(from)) => info!(
            %scope, %from, %to, upserts = changes.upserts.len(), removals = changes.removals.len(),
            "goes on from what an earlier process published"
        ),
        (Ok(_), None) => {}
        (Err(error), _) => {
            error!(%scope, %error, "a scope did not take its content; its subscribers stay where they are");
        }
    }
}

#[cfg(test)]
mod tests;
