//! What a node was offered last, kept so that it can say the same to its own subscribers after a restart.

use std::collections::BTreeSet;

use hanse_process::Shutdown;
use hanse_proto::{InvalidMessage, store};
use hanse_store::Store;
use hanse_topology::{Position, ScopeId};
use prost::Message as _;
use tokio::sync::watch;
use tracing::error;

use crate::LinkStatus;

const FACT: &str = "offer";

/// Keeps what the link's publisher offers, whenever that changes. An offer that rests on no state says nothing and is not
/// kept.
pub async fn keep_offer(store: Store, mut link: watch::Receiver<LinkStatus>, shutdown: Shutdown) {
    loop {
        {
            let status = link.borrow_and_update();
            if let Some(as_of) = status.offered_as_of {
                let scopes = status.offered.iter().map(ScopeId::to_string).collect();
                let offer = store::Offer { scopes, as_of: Some(as_of.into()) };
                store.set_fact(FACT, Some(offer.encode_to_vec().into()));
            }
        }
        tokio::select! {
            () = shutdown.wait() => return,
            changed = link.changed() => if changed.is_err() { return },
        }
    }
}

/// What was kept of the last offer: the scopes, and the state that said so.
pub fn kept_offer(store: &Store) -> Option<(BTreeSet<ScopeId>, Option<Position>)> {
    let read = || -> Result<Option<_>, InvalidMessage> {
        let Some(bytes) = store.fact(FACT) else { return Ok(None) };
        let offer =
            store::Offer::decode(bytes).map_err(|error| InvalidMessage::new("offer", error.to_string()))?;
        // A scope of a kind that this release cannot spell is one that it cannot pass on.
        let scopes = offer.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        Ok(Some((scopes, offer.as_of.as_ref().map(Position::try_from).transpose()?)))
    };
    read().unwrap_or_else(|error| {
        error!(%error, "what this node was offered cannot be read; a publisher has to say it again");
        None
    })
}
