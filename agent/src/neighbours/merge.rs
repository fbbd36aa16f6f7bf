//! Brings local scopes from the hub of a link into the agent's own hub.
//!
//! Several links bring the same scopes, and each may be behind another one. The greatest head wins: a replica moves only to a head that
//! its origin signed and that follows the one held. So it moves at most once for each revision of the origin, whatever way it came.

use hanse_link::{Replica, Replicas};
use hanse_local::Origins;
use hanse_process::Shutdown;
use hanse_sync::{AdvanceError, Prepared};
use hanse_topology::{Position, ScopeId};
use tracing::{debug, warn};

/// What one link brings. A clone goes on where one that ended stopped.
#[derive(Clone)]
pub(super) struct Merge {
    /// What the link holds.
    pub(super) link: Replicas,
    /// What the agent holds.
    pub(super) own: Replicas,
    pub(super) origins: Origins,
}

impl Merge {
    /// Follows the link's hub until the shutdown.
    pub(super) async fn run(self, shutdown: Shutdown) {
        let (mut changed, mut origins) = (self.link.subscribe(), self.origins.changed());
        loop {
            self.step();
            tokio::select! {
                () = shutdown.wait() => return,
                changed = changed.changed() => if changed.is_err() { return },
                changed = origins.changed() => if changed.is_err() { return },
            }
        }
    }

    fn step(&self) {
        let local = |scope: &&ScopeId| scope.is_local();
        let scopes: Vec<ScopeId> = self.link.read(|map| map.keys().filter(local).cloned().collect());
        for scope in scopes {
            // A local scope ends with its Origin. It must not come back from here.
            if self.origins.get(&scope).is_none() {
                self.link.remove(&scope);
            } else {
                self.bring(&scope);
            }
        }
    }

    fn bring(&self, scope: &ScopeId) {
        // Another link may move the replica meanwhile: then the next comparison decides.
        while let Some(brought) =
            self.link.read(|map| self.own.read(|own| plan(map.get(scope)?, own.get(scope))))
        {
            match self.own.update(scope, |replica| replica.commit(brought)) {
                Ok(()) => debug!(%scope, "brought by a neighbour"),
                Err(AdvanceError::Moved) => continue,
                Err(error) => warn!(%scope, %error, "what a neighbour brought does not fit"),
            }
            return;
        }
    }
}

/// What leads from `own` to the head that a link holds; `None`: that head is not beyond it.
fn plan(link: &Replica, own: Option<&Replica>) -> Option<Prepared> {
    let nothing = Replica::new();
    let own = own.unwrap_or(&nothing);
    let (to, signature) = (*link.position()?, link.signature()?.clone());
    let is_beyond = |held: &Position| to.may_follow(held) && !to.is(held);
    if !own.position().is_none_or(is_beyond) {
        return None;
    }
    let prepared = delta(link, own, to).or_else(|| own.prepare_snapshot(to, link.content()).ok())?;
    Some(prepared.signed(signature))
}

/// The same by the changes alone, where the link knows them and they lead to its content.
fn delta(link: &Replica, own: &Replica, to: Position) -> Option<Prepared> {
    let held = own.position()?;
    (held.lineage.id == to.lineage.id).then_some(())?;
    let changes = link.changes_since(held.revision)?;
    let prepared = own.prepare_delta(to, changes.upserts, changes.removals).ok()?;
    (prepared.root() == link.root()).then_some(prepared)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use bytes::Bytes;
    use hanse_sync::HeadSignature;
    use hanse_topology::Lineage;

    use super::*;

    /// A replica at `LINEAGE/REVISION`, with a value for each letter. The signature is the position in words: nothing here verifies it.
    fn replica(at: &str, content: &str) -> Replica {
        let mut replica = Replica::new();
        let prepared = replica.prepare_snapshot(position(at), entries(content)).unwrap();
        replica.commit(prepared.signed(signature(at))).unwrap();
        replica
    }

    /// The same, after changes to another revision.
    fn moved(mut replica: Replica, at: &str, upserts: &str, removals: &str) -> Replica {
        let removals = entries(removals).into_iter().map(|(key, _)| key).collect();
        let prepared = replica.prepare_delta(position(at), entries(upserts), removals).unwrap();
        replica.commit(prepared.signed(signature(at))).unwrap();
        replica
    }

    fn position(at: &str) -> Position {
        let (lineage, revision) = at.split_once('/').unwrap();
        let generation = lineage.parse().unwrap();
        let lineage = Lineage { generation, id: [generation as u8; 16], parent: None };
        Position { lineage, revision: revision.parse().unwrap() }
    }

    fn entries(content: &str) -> Vec<(Arc<str>, Bytes)> {
        content.chars().map(|letter| (letter.to_string().into(), Bytes::from(letter.to_string()))).collect()
    }

    fn signature(at: &str) -> HeadSignature {
        HeadSignature { spki: Bytes::new(), signature: Bytes::from(at.to_owned()) }
    }

    fn letters(replica: &Replica) -> String {
        replica.iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_replica_moves_to_greater_heads_only() {
        for (own, link, moves) in [
            ("", "1/1", true),
            ("1/1", "1/1", false),
            ("1/1", "1/2", true),
            ("1/2", "1/1", false),
            ("1/9", "2/1", true),
            ("2/1", "1/9", false),
        ] {
            let own = (!own.is_empty()).then(|| replica(own, "ab"));
            assert_eq!(plan(&replica(link, "bc"), own.as_ref()).is_some(), moves, "{link}");
        }
        assert!(plan(&Replica::new(), None).is_none());
    }

    #[test]
    fn what_was_brought_is_the_content_and_the_signature_of_the_link() {
        let start = || replica("1/1", "ab");
        let jumped = {
            let mut replica = start();
            let prepared = replica.prepare_snapshot(position("1/5"), entries("cd")).unwrap();
            replica.commit(prepared.signed(signature("1/5"))).unwrap();
            replica
        };
        let cases: BTreeMap<&str, (Option<Replica>, Replica, bool)> = [
            ("changes", (Some(start()), moved(start(), "1/2", "c", "a"), true)),
            ("out of reach", (Some(moved(start(), "1/3", "x", "")), jumped, false)),
            ("another lineage", (Some(start()), replica("2/1", "xyz"), false)),
            ("nothing held", (None, start(), false)),
            (
                "a lie of before",
                (Some(moved(replica("1/1", "ab"), "1/2", "z", "")), moved(start(), "1/3", "c", ""), false),
            ),
        ]
        .into();
        for (what, (own, link, by_changes)) in cases {
            let prepared = plan(&link, own.as_ref()).unwrap();
            assert_eq!(prepared.is_delta(), by_changes, "{what}");
            let mut own = own.unwrap_or_default();
            own.commit(prepared).unwrap();
            assert_eq!((letters(&own), own.root()), (letters(&link), link.root()), "{what}");
            assert_eq!((own.position(), own.signature()), (link.position(), link.signature()), "{what}");
        }
    }
}
