//! What a gateway has on its disk, and whether it may serve that alone.

use hanse_link::{Replicas, Store};
use hanse_proto::store::Complete;
use hanse_topology::Name;
use prost::Message as _;

/// The store has held every scope that was offered, at once.
const COMPLETE: &str = "complete";

/// Whether what a node holds from its disk is all that an earlier process served. A part of that is not served: requests of a
/// scope that is missing would go to an environment with a wider host.
pub(crate) fn may_serve(replicas: &Replicas, store: &Store, is_partial: bool, environments: &[Name]) -> bool {
    let holds_something = replicas.read(|map| map.keys().any(|scope| !scope.is_local()));
    let may_serve = holds_something && !is_partial && store.fact(COMPLETE) == Some(complete(environments));
    if !may_serve {
        // Before anything else is written: what is dropped of a part must not make it look whole.
        store.set_fact(COMPLETE, None);
    }
    may_serve
}

fn complete(environments: &[Name]) -> bytes::Bytes {
    let environments = environments.iter().map(Name::to_string).collect();
    Complete { environments }.encode_to_vec().into()
}

/// Notes that everything offered is held: from then on the store is enough.
pub(crate) fn note_completeness(store: Store, environments: Vec<Name>) -> impl Fn() + Send + Sync + 'static {
    move || store.set_fact(COMPLETE, Some(complete(&environments)))
}

#[cfg(test)]
mod tests {
    use hanse_link::{Persistence, StoreKey, StoreOptions, Wanted};
    use hanse_topology::Position;

    use super::*;
    use crate::testbed::scope;

    async fn open(dir: &std::path::Path) -> Persistence {
        let options = StoreOptions {
            dir: dir.join("store"),
            node: "gateway-1".to_owned(),
            key: StoreKey::File(dir.join("key")),
            makes_key: true,
        };
        Persistence::open(options, &Wanted::All).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_whole_is_served_alone() {
        let dir = tempfile::tempdir().unwrap();
        let fill = |persistence: &Persistence| {
            let lineage = hanse_topology::Lineage { generation: 1, id: [1; 16], parent: None };
            let position = Position { lineage, revision: 5 };
            let advance =
                |replica: &mut hanse_link::Replica| replica.advance(position, vec![], vec![]).unwrap();
            persistence.replicas.update(&scope("production"), advance);
        };
        let sandbox = [Name::new("sandbox").unwrap()];
        // Whether something is held, was complete, could all be read, and is asked for; and whether it may be served.
        for (filled, noted, partial, environments, expected) in [
            (true, true, false, &[][..], true),
            (false, true, false, &[][..], false),
            (true, false, false, &[][..], false),
            (true, true, true, &[][..], false),
            (true, true, false, &sandbox[..], false),
        ] {
            let persistence =
                open(&dir.path().join(format!("{filled}{noted}{partial}{environments:?}"))).await;
            if filled {
                fill(&persistence);
            }
            if noted {
                persistence.store.set_fact(COMPLETE, Some(complete(&[])));
            }
            let Persistence { replicas, store, .. } = persistence;
            let may_serve = may_serve(&replicas, &store, partial, environments);
            assert_eq!(may_serve, expected, "{filled} {noted} {partial} {environments:?}");
            assert_eq!(store.fact(COMPLETE).is_some(), expected, "what is left is no whole");
        }
    }
}
