//! Local scopes: what their Origins allow of them, and which of their routes others stand before.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use hanse_link::Quarantine;
use hanse_proto::sync::Quarantined;
use hanse_runtime::Origin;
use hanse_topology::ScopeId;
use sha2::{Digest as _, Sha256};

use super::Keeping;
use crate::table::RoutingTable;

impl Keeping {
    /// Has each local scope go by its Origin as it is now. Whether that changed what is in force.
    pub(super) fn follow_origins(&mut self) -> bool {
        let local: Vec<ScopeId> = self.scopes.keys().filter(|scope| scope.is_local()).cloned().collect();
        let mut changed = false;
        for scope in local {
            let origin = self.origin_of(&scope);
            let Some(kept) = self.scopes.get_mut(&scope) else { continue };
            if kept.index.set_origin(origin, &mut self.profiles) {
                kept.note_unusable();
                changed = true;
            }
        }
        changed
    }

    /// The Origin of a local scope, as the control plane's scope of the same environment has it.
    pub(super) fn origin_of(&self, local: &ScopeId) -> Option<Arc<Origin>> {
        let (environment, origin) = (local.environment()?, local.origin()?);
        let scope = ScopeId::runtime(local.region().clone(), environment.clone());
        self.scopes.get(&scope)?.index.origin(&format!("origin/{origin}"))
    }

    /// Notes as in quarantine which routes of local scopes do not answer at a place of theirs.
    pub(super) fn note_lost(&mut self, table: &RoutingTable) {
        for (scope, kept) in self.scopes.iter_mut().filter(|(scope, _)| scope.is_local()) {
            let mut quarantined = kept.unusable();
            let told: BTreeSet<String> = quarantined.iter().map(|found| found.key.clone()).collect();
            for (key, served) in kept.index.all_in_force().filter(|(key, _)| !told.contains(&***key)) {
                let lost = table.lost(scope, served);
                if lost.is_empty() {
                    continue;
                }
                let hash = |bytes: &Bytes| Bytes::from(Sha256::digest(bytes).to_vec());
                let received = kept.index.received(key).map(hash).unwrap_or_default();
                let serves_elsewhere = lost.len() < served.routes.hosts.len();
                quarantined.push(Quarantined {
                    key: key.to_string(),
                    effective: if serves_elsewhere { received.clone() } else { Bytes::new() },
                    received,
                    field: "context".to_owned(),
                    reason: lost.join("; "),
                });
            }
            kept.quarantine = Quarantine::of(quarantined);
        }
    }
}
