//! Local scopes: what their Origins allow of them, and which of their routes others stand before.

use std::{collections::HashMap, mem, sync::Arc};

use bytes::Bytes;
use hanse_link::Quarantine;
use hanse_proto::sync::Quarantined;
use hanse_runtime::{Origin, origin_key};
use hanse_topology::ScopeId;
use sha2::{Digest as _, Sha256};

use super::{Keeping, KeptScope};
use crate::table::{RoutingTable, Served};

impl Keeping {
    /// Has each local scope go by its Origin as it is now. Those of which that changed what is in force.
    pub(super) fn follow_origins(&mut self) -> Vec<ScopeId> {
        let mut local: Vec<ScopeId> = self.scopes.keys().filter(|scope| scope.is_local()).cloned().collect();
        local.retain(|scope| {
            let origin = self.origin_of(scope);
            let Some(kept) = self.scopes.get_mut(scope) else { return false };
            let changed = kept.index.set_origin(origin, &mut self.profiles);
            if changed {
                kept.note_unusable();
            }
            changed
        });
        local
    }

    /// Has each Upstream go by the sets of endpoints that it refers to as they are now. Whether any does.
    pub(super) fn follow_sets(&mut self) -> bool {
        let changed = self.profiles.sets.take_changed();
        if changed.is_empty() {
            return false;
        }
        let mut found = false;
        for kept in self.scopes.values_mut() {
            if kept.index.follow_sets(&changed, &mut self.profiles) {
                // Nothing is in quarantine for want of a set, so nothing else is to be noted.
                kept.note_waiting();
                found = true;
            }
        }
        found
    }

    /// The Origin of a local scope, as the control plane's scope of the same environment has it.
    pub(super) fn origin_of(&self, local: &ScopeId) -> Option<Arc<Origin>> {
        self.scopes.get(&local.adds_to()?)?.index.origin(&origin_key(local.origin()?))
    }

    /// Notes as in quarantine which routes of local scopes do not answer at a place of theirs. Where no route and no listener changed since the
    /// last call, only scopes of which something else changed are looked through.
    pub(super) fn note_lost(&mut self, table: &RoutingTable) {
        let places = self.scopes.iter().map(|(scope, kept)| (scope.clone(), kept.index.places())).collect();
        let moved = self.places != places;
        self.places = places;
        for (scope, kept) in self.scopes.iter_mut().filter(|(scope, _)| scope.is_local()) {
            if moved || kept.lost_is_untold {
                kept.note_lost(|served| table.lost(scope, served));
            }
        }
    }
}

impl KeptScope {
    /// `lost`: for each host at which a route does not answer, why. Few are named, so only of these the reasons are told.
    fn note_lost<'a, L: Iterator<Item = String>>(&'a mut self, lost: impl Fn(&'a Arc<Served>) -> L) {
        let mut quarantined = self.unusable.clone();
        let told = quarantined.iter().enumerate().map(|(at, found)| (found.key.clone(), at));
        let told: HashMap<String, usize> = told.collect();
        for (key, served) in self.index.all_in_force() {
            let mut lost = lost(served);
            let Some(first) = lost.next() else { continue };
            if let Some(&at) = told.get(&**key) {
                let reason = &mut quarantined[at].reason;
                *reason = [mem::take(reason), first].into_iter().chain(lost).collect::<Vec<_>>().join("; ");
                continue;
            }
            if quarantined.len() >= Quarantine::MAX_NAMED {
                quarantined.push(Quarantined { key: key.to_string(), ..Default::default() });
                continue;
            }
            let lost: Vec<String> = [first].into_iter().chain(lost).collect();
            let hash = |bytes: &Bytes| Bytes::from(Sha256::digest(bytes).to_vec());
            let received = self.index.received(key).map(hash).unwrap_or_default();
            let serves_elsewhere = lost.len() < served.routes.hosts.len();
            quarantined.push(Quarantined {
                key: key.to_string(),
                effective: if serves_elsewhere { received.clone() } else { Bytes::new() },
                received,
                field: "context".to_owned(),
                reason: lost.join("; "),
            });
        }
        self.quarantine = Quarantine::of(quarantined);
        self.lost_is_untold = false;
    }
}
