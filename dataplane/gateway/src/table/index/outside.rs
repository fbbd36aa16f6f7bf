//! What resources of a scope refer to outside of it: the sets of endpoints that Origins publish.

use std::{collections::BTreeSet, sync::Arc};

use hanse_runtime::Unusable;

use super::{Key, ScopeIndex, Touched, routes::Routes};
use crate::table::{ConnectProfiles, ScopeTable, SetId};

impl ScopeIndex {
    /// Brings the Upstreams that refer to these sets of endpoints in line with them. Whether there are any.
    pub fn follow_sets(&mut self, changed: &BTreeSet<SetId>, profiles: &mut ConnectProfiles) -> bool {
        let mut touched = Touched::default();
        let found = self.routes.follow_sets(changed, profiles, &mut touched.routes);
        self.settle(touched);
        // After that: a Route that is served with the present Upstream of another key has it by now.
        let kept = self.routes.follow_sets_of_gone(changed, self.dangling.keys(), profiles, &mut self.table);
        found || kept
    }

    /// The Upstreams whose set of endpoints should be there and is not. They are in force as they are.
    pub(super) fn without_set(&self) -> impl Iterator<Item = (&str, Unusable)> {
        let upstreams = self.routes.without_set();
        upstreams.filter_map(|(key, set, has_own)| {
            let origin = set.origin()?;
            let is_there = match self.table.scope.origin() {
                Some(own) => own == origin,
                None => self.origins.contains_key(&*format!("origin/{origin}")),
            };
            // In other Regions and Environments than the Origin's, an Upstream is expected to use its own.
            let instead = match (has_own, is_there) {
                (true, false) => return None,
                (true, true) => "the Upstream's own endpoints are used",
                (false, _) => {
                    "the Upstream has no endpoint of its own here, so its requests are answered 503"
                }
            };
            let reason = format!("{} of the Origin {origin} is not there: {instead}", set.key());
            Some((key, Unusable::new("endpoints_from", reason)))
        })
    }
}

impl Routes {
    /// Compiles the upstreams that refer to these sets again. Whether there are any.
    fn follow_sets(
        &mut self,
        changed: &BTreeSet<SetId>,
        profiles: &mut ConnectProfiles,
        touched: &mut BTreeSet<Key>,
    ) -> bool {
        let users: Vec<Key> = changed.iter().flat_map(|set| self.by_set.of(set)).collect();
        for key in &users {
            if let Some(upstream) = self.upstreams.get(key).and_then(|upstream| upstream.renewed(profiles)) {
                self.set_upstream(key, upstream, profiles, touched);
            }
        }
        !users.is_empty()
    }

    /// The same for upstreams that are gone and still serve a route: one of these, which lack the upstream that they want.
    fn follow_sets_of_gone<'a>(
        &mut self,
        changed: &BTreeSet<SetId>,
        dangling: impl Iterator<Item = &'a Key>,
        profiles: &mut ConnectProfiles,
        table: &mut ScopeTable,
    ) -> bool {
        let mut found = false;
        for key in dangling {
            let Some(in_force) = self.in_force(key) else { continue };
            if self.upstreams.contains_key(in_force.upstream()) {
                continue;
            }
            let upstream = in_force.served.upstream.as_ref();
            let upstream = upstream.filter(|gone| gone.set().is_some_and(|set| changed.contains(set)));
            let Some(upstream) = upstream.and_then(|gone| gone.renewed(profiles)) else { continue };
            let in_force = in_force.clone();
            self.serve_with(key, in_force, Arc::new(upstream), table);
            found = true;
        }
        found
    }

    /// Upstreams whose set is not there: the key, the set, and whether there are endpoints of its own.
    fn without_set(&self) -> impl Iterator<Item = (&str, &SetId, bool)> {
        self.without_set.iter().filter_map(|key| {
            let upstream = self.upstreams.get(key)?;
            Some((&**key, upstream.set()?, upstream.has_endpoints()))
        })
    }
}
