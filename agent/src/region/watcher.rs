//! What an agent knows of its region, for a measurement in its process.

use std::time::Instant;

use hanse_link::RegionSource as _;
use tokio::sync::watch;

use super::{RegionPage, Shown};

/// What an agent that runs in this process answers at `/region`, and when that may have changed.
#[derive(Clone)]
pub struct RegionWatcher {
    shown: Shown,
    /// By what the agent hears itself.
    heard: watch::Receiver<u64>,
    /// By what a relay told it.
    told: watch::Receiver<()>,
}

impl RegionWatcher {
    pub(crate) fn new(shown: Shown) -> Self {
        let (heard, told) = (shown.told.changed(), shown.watched.told());
        Self { shown, heard, told }
    }

    /// What `GET /region` answers now.
    pub fn page(&mut self) -> RegionPage {
        // What comes while the page is made counts as a change.
        self.heard.mark_unchanged();
        self.told.mark_unchanged();
        self.shown.page(Instant::now())
    }

    /// Waits until the agents or gateways of the page may be others than in the last. Time alone, with which agents and gateways are gone,
    /// is no change. Neither is what the page says of relays: a failure, or how old a view is.
    pub async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.heard.changed() => changed,
            changed = self.told.changed() => changed,
        };
        changed.expect("`shown` has both senders");
    }
}
