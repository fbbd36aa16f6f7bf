//! What resources of a scope refer to outside of it: the sets of endpoints that Origins publish.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use hanse_topology::Name;
use serde::Serialize;

use super::{Key, ScopeIndex, Touched, routes::Routes};
use crate::table::{ConnectProfiles, Lack, ScopeTable, SetId, Upstream};

/// How many are named, per scope: enough for a person to see what is wrong.
const MAX_NAMED: usize = 8;

/// The Upstreams of a scope that use no endpoint of the set that they refer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitsFor {
    /// How many there are.
    pub total: usize,
    /// The first of them.
    pub named: Vec<Waiting>,
}

/// An Upstream that uses no endpoint of the set that it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The Upstream.
    pub key: String,
    /// Why, and what happens to its requests.
    pub why: String,
}

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

    /// The Upstreams that use no endpoint of the set that they refer to. They are in force as received, so they are not in quarantine.
    pub fn waits_for(&self) -> WaitsFor {
        let origins: BTreeSet<&str> =
            self.origins.keys().filter_map(|key| key.strip_prefix("origin/")).collect();
        let mut found = WaitsFor::default();
        for (key, upstream) in self.routes.waiting() {
            let (Some(set), Some(lack)) = (upstream.set(), upstream.lack()) else { continue };
            let Some(origin) = set.origin() else { continue };
            // In other Regions and Environments than the Origin's, an Upstream is expected to use its own.
            if lack == Lack::NotThere && upstream.has_endpoints() && !origins.contains(origin.as_str()) {
                continue;
            }
            found.total += 1;
            if found.named.len() < MAX_NAMED {
                found.named.push(Waiting { key: key.to_string(), why: why(upstream, set, origin, lack) });
            }
        }
        found
    }
}

fn why(upstream: &Upstream, set: &SetId, origin: &Name, lack: Lack) -> String {
    let lacks = match lack {
        Lack::NotThere => "is not there, or cannot be used: see the local scope",
        Lack::InClear => "has an http endpoint, and the Upstream has `tls`: publish https endpoints only",
        Lack::Empty => "is there and has no endpoint",
    };
    let instead = match upstream.has_endpoints() {
        true => "the Upstream's own endpoints are used",
        false => "requests are answered 503",
    };
    format!("{} of the Origin {origin} {lacks}; {instead}", set.key())
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
                self.set_upstream(key, upstream, touched);
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
        // Routes of one upstream have one after that, too.
        let mut renewed: HashMap<*const Upstream, Arc<Upstream>> = HashMap::new();
        for key in dangling {
            let Some(in_force) = self.in_force(key) else { continue };
            if self.upstreams.contains_key(in_force.upstream()) {
                continue;
            }
            let Some(gone) = in_force.served.upstream.clone() else { continue };
            if !gone.set().is_some_and(|set| changed.contains(set)) {
                continue;
            }
            let in_force = in_force.clone();
            let upstream = match renewed.get(&Arc::as_ptr(&gone)) {
                Some(upstream) => upstream.clone(),
                None => {
                    let Some(upstream) = gone.renewed(profiles).map(Arc::new) else { continue };
                    renewed.insert(Arc::as_ptr(&gone), upstream.clone());
                    upstream
                }
            };
            self.serve_with(key, in_force, upstream, table);
        }
        !renewed.is_empty()
    }

    /// Upstreams that use no endpoint of the set that they refer to.
    fn waiting(&self) -> impl Iterator<Item = (&Key, &Arc<Upstream>)> {
        self.waiting.iter().filter_map(|key| self.upstreams.get_key_value(key))
    }
}
