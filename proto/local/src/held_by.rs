//! What a link asks for of a holder that is no relay.

use hanse_sync::{ContentRoot, Disbelief, HeadSignature, Heads};
use hanse_topology::{Name, Position, ScopeId};

use crate::Origins;

/// Wants the local scopes whose Origin names this holder. Everything else comes from relays: a relay that took the same scopes from
/// fifty holders would have fifty copies of them.
#[derive(Debug)]
pub struct HeldBy {
    /// The Origins that the agent knows.
    pub origins: Origins,
    /// The holder that the link follows.
    pub holder: Name,
}

impl Heads for HeldBy {
    fn wants(&self, scope: &ScopeId) -> bool {
        let origin = self.origins.get(scope);
        origin.is_some_and(|origin| origin.holders.iter().any(|holder| holder.name == self.holder.as_str()))
    }

    fn is_holders(
        &self,
        scope: &ScopeId,
        position: &Position,
        signature: &HeadSignature,
    ) -> Result<(), String> {
        self.origins.is_holders(scope, position, signature)
    }

    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), Disbelief> {
        self.origins.judge(scope, position, root, signature)
    }
}

#[cfg(test)]
mod tests {
    use hanse_identity::Authority;
    use hanse_link::Replicas;
    use hanse_proto::runtime::{Holder, Origin, Resource, resource::Kind};
    use hanse_topology::Lineage;
    use prost::Message as _;

    use super::*;
    use crate::OriginKeeper;

    #[test]
    fn scopes_of_a_holder_are_wanted_and_others_are_not() {
        let hub = Replicas::new();
        let origin = |name: &str, holders: &[&str]| {
            let holder = |name: &&str| Holder { name: (*name).to_owned(), key: vec![7; 32].into() };
            let origin = Origin {
                name: name.to_owned(),
                organizations: vec!["shop".to_owned()],
                kinds: vec!["route".to_owned()],
                holders: holders.iter().map(holder).collect(),
                made_at_ms: 1,
            };
            let resource = Resource { kind: Some(Kind::Origin(origin)), requires: Vec::new() };
            (format!("origin/{name}").into(), resource.encode_to_vec().into())
        };
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let content = vec![origin("pods", &["a", "b"]), origin("jobs", &["b"])];
        hub.update(&"runtime/eu-west/production".parse().unwrap(), |replica| {
            replica.advance(Position { lineage, revision: 1 }, content, Vec::new())
        })
        .unwrap();
        let root = Authority::new_root().unwrap();
        let (_keeper, origins) = OriginKeeper::new(hub, root.trust_anchor().unwrap().into());
        let heads = HeldBy { origins: origins.clone(), holder: Name::new("a").unwrap() };
        for (origin, wanted) in [("pods", true), ("jobs", false), ("gone", false)] {
            let scope = format!("local/eu-west/production/{origin}").parse().unwrap();
            assert_eq!(heads.wants(&scope), wanted, "{origin}");
            assert_eq!(origins.wants(&scope), origin != "gone", "of a relay all are wanted");
        }
    }
}
