//! Brings local scopes from the hub of a link into the agent's own hub.
//!
//! Several links bring the same scopes, and each may be behind another one. The greatest head wins: a replica moves only to a head that
//! its origin signed and that follows the one held. So it moves at most once for each revision of the origin, whichever link brings that.
//!
//! A head counts only while the present Origin names its holder. A head that does not count is never brought, and any head that counts
//! takes its place: for example, the head of a holder that lost its key gives way to the first head of the holder's new key.
//!
//! Of two lineages of one generation neither follows the other, so neither is brought where the other is held. The agent's own holder
//! hears of such a head, and takes over with a greater generation.

use std::sync::Arc;

use hanse_link::Replicas;
use hanse_process::{Shutdown, seeded};
use hanse_sync::{AdvanceError, Heads, HeldHead, Prepared, Replica, ReplicaMap};
use hanse_topology::{Position, ScopeId};
use tracing::{debug, warn};

use crate::{HoldingHandle, Origins, forge::forged};

/// What one link brings. A clone goes on where one that ended stopped.
#[derive(Debug, Clone)]
pub struct Merge {
    /// What the link holds.
    pub link: Replicas,
    /// What the agent holds.
    pub own: Replicas,
    /// Which scopes the link follows, and whose heads count.
    pub heads: Arc<dyn Heads>,
    /// Says when that changes.
    pub origins: Origins,
    /// Hears of heads that are not brought.
    pub holding: HoldingHandle,
}

impl Merge {
    /// Follows the link's hub, the Origins and who is revoked, until the shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        let (mut changed, mut origins) = (self.link.subscribe(), self.origins.changed());
        let mut refused = self.origins.refused();
        loop {
            self.step();
            tokio::select! {
                () = shutdown.wait() => return,
                changed = changed.changed() => if changed.is_err() { return },
                changed = origins.changed() => if changed.is_err() { return },
                changed = refused.changed() => if changed.is_err() { return },
            }
        }
    }

    pub(crate) fn step(&self) {
        let local = |scope: &&ScopeId| scope.is_local();
        let scopes: Vec<ScopeId> = self.link.read(|map| map.keys().filter(local).cloned().collect());
        for scope in scopes {
            // A local scope ends with its Origin, in the link's hub too.
            match self.heads.wants(&scope) {
                true => {
                    self.bring(&scope);
                    self.tell(&scope);
                }
                false => drop(self.link.remove(&scope)),
            }
        }
    }

    /// Tells the holder what the link holds. It counts for nothing where the agent holds as much.
    fn tell(&self, scope: &ScopeId) {
        let head = |link: &ReplicaMap| {
            let link = self.heads.believed(scope, link.get(scope))?;
            let (position, signature) = (*link.position()?, link.signature()?.clone());
            Some(HeldHead { position, root: link.root(), signature })
        };
        if let Some(head) = self.link.read(head) {
            self.holding.meet(scope, &head);
        }
    }

    fn bring(&self, scope: &ScopeId) {
        // Another link may move the replica meanwhile, or the Origin may go: then the next comparison decides.
        let brought = |link: &ReplicaMap, own: &ReplicaMap| {
            let brought = plan(&*self.heads, scope, link, own)?;
            Some(forged(brought, link.get(scope)?, own.get(scope)))
        };
        while let Some(brought) = self.link.read(|link| self.own.read(|own| brought(link, own))) {
            match self.own.update(scope, |replica| replica.commit(brought)) {
                Ok(()) => debug!(%scope, "brought by a neighbour"),
                Err(AdvanceError::Moved) => continue,
                Err(error) => warn!(%scope, %error, "what a neighbour brought does not fit"),
            }
            return;
        }
    }
}

/// What leads from what the agent holds of a scope to the head that a link holds; `None`: the link holds no head that counts, or one that
/// is not beyond the agent's.
fn plan(heads: &dyn Heads, scope: &ScopeId, link: &ReplicaMap, own: &ReplicaMap) -> Option<Prepared> {
    let link = heads.believed(scope, link.get(scope))?;
    let (to, signature) = (*link.position()?, link.signature()?.clone());
    let held = own.get(scope);
    let prepared = match heads.believed(scope, held).filter(|_| !seeded("merge-latest")) {
        Some(own) => {
            let at = own.position()?;
            (to.may_follow(at) && !to.is(at)).then_some(())?;
            delta(link, own, to).or_else(|| own.prepare_snapshot(to, link.content()).ok())?
        }
        None => held.unwrap_or(&Replica::new()).prepare_afresh(to, link.content()),
    };
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
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use hanse_sync::{ContentRoot, Disbelief, HeadSignature};
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

    fn scope() -> ScopeId {
        "local/r/e/pods".parse().unwrap()
    }

    /// Believes the heads of every lineage but one.
    #[derive(Debug)]
    struct AllBut(u64);

    impl Heads for AllBut {
        fn wants(&self, _: &ScopeId) -> bool {
            true
        }

        fn is_holders(&self, _: &ScopeId, at: &Position, _: &HeadSignature) -> Result<(), String> {
            (at.lineage.generation != self.0).then_some(()).ok_or_else(|| "it is none".to_owned())
        }

        fn judge(
            &self,
            scope: &ScopeId,
            position: &Position,
            _: &ContentRoot,
            signature: &HeadSignature,
        ) -> Result<(), Disbelief> {
            self.is_holders(scope, position, signature).map_err(Disbelief::Unknown)
        }
    }

    fn planned(link: &Replica, own: Option<&Replica>, heads: &AllBut) -> Option<Prepared> {
        let map = |replica: Option<&Replica>| replica.map(|replica| (scope(), replica.clone())).into_iter();
        plan(heads, &scope(), &map(Some(link)).collect(), &map(own).collect())
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
            let planned = planned(&replica(link, "bc"), own.as_ref(), &AllBut(0));
            assert_eq!(planned.is_some(), moves, "{link}");
        }
        assert!(planned(&Replica::new(), None, &AllBut(0)).is_none());
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
            let prepared = planned(&link, own.as_ref(), &AllBut(0)).unwrap();
            assert_eq!(prepared.is_delta(), by_changes, "{what}");
            let mut own = own.unwrap_or_default();
            own.commit(prepared).unwrap();
            assert_eq!((letters(&own), own.root()), (letters(&link), link.root()), "{what}");
            assert_eq!((own.position(), own.signature()), (link.position(), link.signature()), "{what}");
        }
    }

    /// The holder of lineage 5 is none any more: it lost its key, its Origin names others, or it is revoked.
    #[test]
    fn a_head_that_counts_no_longer_is_not_brought_and_gives_way_to_any_that_counts() {
        let heads = AllBut(5);
        assert!(planned(&replica("5/9", "ab"), Some(&replica("1/1", "a")), &heads).is_none());
        assert!(planned(&replica("5/9", "ab"), None, &heads).is_none());
        let (mut own, link) = (replica("5/9", "ab"), replica("1/1", "bc"));
        own.commit(planned(&link, Some(&own), &heads).unwrap()).unwrap();
        assert_eq!(
            (letters(&own), own.position(), own.root()),
            ("bc".to_owned(), link.position(), link.root())
        );
        assert_eq!(own.signature(), link.signature());
        assert!(planned(&link, Some(&own), &heads).is_none(), "it is there");
    }
}
