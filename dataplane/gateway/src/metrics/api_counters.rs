//! One set of counters for each Api of an environment, whichever scopes serve it.
//!
//! Counters that fall look like a restart to Prometheus. So a scope that stops serving an Api takes nothing from what others go on counting.

use std::sync::{Arc, Mutex, PoisonError};

use hanse_topology::Name;

use super::{ApiStats, HostCounters};
use crate::{table::OwnedId, weak::WeakMap};

/// An Api of an environment.
type ApiOf = (Option<Name>, OwnedId);

/// The counters of all Apis that scopes serve, and of their host patterns. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct ApiCounters {
    apis: Arc<Mutex<WeakMap<ApiOf, ApiStats>>>,
    /// By host pattern.
    pub hosts: HostCounters,
}

impl ApiCounters {
    /// Those of an Api, at zero where no scope of the environment serves it.
    pub fn of(
        &self,
        id: OwnedId,
        environment: Option<&Name>,
        organization: &str,
        api: &str,
    ) -> Arc<ApiStats> {
        let mut known = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (environment.cloned(), id);
        known.get(&key).unwrap_or_else(|| {
            let new = Arc::new(ApiStats::new(environment, organization, api));
            known.insert(key, &new);
            new
        })
    }
}
