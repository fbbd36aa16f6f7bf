//! What a gateway has on its disk, and whether it may serve that alone.

use hanse_link::{Persistence, Store, StoreOptions};
use hanse_proto::store::Complete;
use hanse_topology::{Identity, Name};
use prost::Message as _;

use crate::Error;

/// The store has held every scope that was offered, at once.
const COMPLETE: &str = "complete";

/// The open store.
pub(crate) struct Stored {
    pub(crate) persistence: Persistence,
    /// What it holds is all that an earlier process served. A part of that is not served: requests of a scope that is missing
    /// would go to an environment with a wider host.
    pub(crate) may_serve: bool,
}

impl Stored {
    pub(crate) async fn open(config: &crate::Config, identity: &Identity) -> Result<Self, Error> {
        let options =
            StoreOptions { dir: config.store_dir(), node: identity.to_string(), key: config.store_key() };
        let persistence = Persistence::open(options, &config.wanted()).await?;
        Ok(Self::of(persistence, &config.environments))
    }

    fn of(persistence: Persistence, environments: &[Name]) -> Self {
        let holds_something = persistence.replicas.read(|map| !map.is_empty());
        let may_serve = holds_something
            && !persistence.is_partial
            && persistence.store.fact(COMPLETE) == Some(complete(environments));
        if !may_serve {
            // Before anything else is written: what is dropped of a part must not make it look whole.
            persistence.store.set_fact(COMPLETE, None);
        }
        Self { persistence, may_serve }
    }
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
    use hanse_link::{StoreKey, Wanted};
    use hanse_topology::Position;

    use super::*;
    use crate::testbed::scope;

    async fn open(dir: &std::path::Path) -> Persistence {
        let options = StoreOptions {
            dir: dir.join("store"),
            node: "gateway-1".to_owned(),
            key: StoreKey::File(dir.join("key")),
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
            let mut persistence =
                open(&dir.path().join(format!("{filled}{noted}{partial}{environments:?}"))).await;
            if filled {
                fill(&persistence);
            }
            if noted {
                persistence.store.set_fact(COMPLETE, Some(complete(&[])));
            }
            persistence.is_partial = partial;
            let stored = Stored::of(persistence, environments);
            assert_eq!(stored.may_serve, expected, "{filled} {noted} {partial} {environments:?}");
            assert_eq!(
                stored.persistence.store.fact(COMPLETE).is_some(),
                expected,
                "what is left is no whole"
            );
        }
    }
}
