//! What a gateway has on its disk, and whether it may serve that alone.

use std::collections::BTreeMap;

use hanse_link::{Persistence, Position, Store, StoreOptions};
use hanse_proto::store::Complete;
use hanse_topology::{Name, ScopeId};
use hanse_transport::Identity;
use prost::Message as _;
use tokio::sync::watch;

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
        let holds_something = persistence.replicas.read(|map| !map.is_empty());
        let may_serve = holds_something
            && !persistence.is_partial
            && persistence.store.fact(COMPLETE) == Some(complete(&config.environments));
        if !may_serve {
            // Before anything else is written: what is dropped of a part must not make it look whole.
            persistence.store.set_fact(COMPLETE, None);
        }
        Ok(Self { persistence, may_serve })
    }
}

fn complete(environments: &[Name]) -> bytes::Bytes {
    let environments = environments.iter().map(Name::to_string).collect();
    Complete { environments }.encode_to_vec().into()
}

/// Notes when everything offered is served for the first time: from then on the store is enough.
pub(crate) async fn keep_completeness(
    store: Store,
    environments: Vec<Name>,
    mut effective: watch::Receiver<BTreeMap<ScopeId, Position>>,
) {
    // An error says that nothing will be served any more.
    if effective.wait_for(|served| !served.is_empty()).await.is_ok() {
        store.set_fact(COMPLETE, Some(complete(&environments)));
    }
}
