//! What of a Binding belongs to others, and what of a HostGrant others ask for: accepted, with a warning.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use hanse_management::{Kind, ResourceKey, kinds::HostGrantSpec};
use hanse_runtime::Area;
use hanse_topology::Name;

use super::{
    State,
    unserved::{NAMED, has_host},
};
use crate::validate::neighbours::{each_meeting, lost_now, meeting, shown};

/// Bindings that ask for the same requests: of each of them some others, `NAMED` and one at most.
pub(super) type Met = BTreeMap<ResourceKey, BTreeSet<ResourceKey>>;

impl State {
    /// The Bindings that those of `keys` meet. It stops when `most` of `keys` meet one.
    pub(super) fn met(&self, keys: &BTreeSet<ResourceKey>, most: usize) -> Met {
        let mut by_environment: BTreeMap<Name, BTreeSet<ResourceKey>> = BTreeMap::new();
        for key in keys.iter().filter(|key| key.kind == Kind::Binding) {
            if let Some(asked) = self.asked(key) {
                by_environment.entry(asked.environment).or_default().insert(key.clone());
            }
        }
        let mut all = Met::new();
        for (environment, keys) in by_environment {
            let stopped = each_meeting(self, &environment, &keys, |one, other| {
                for (key, other) in [(one, other), (other, one)] {
                    if keys.contains(key) {
                        let others = all.entry(key.clone()).or_default();
                        if others.len() <= NAMED {
                            others.insert(other.clone());
                        }
                    }
                }
                let is_enough = all.len() >= most && all.values().any(|others| others.len() > NAMED);
                if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if stopped.is_break() {
                break;
            }
        }
        all
    }

    /// Of a Binding: the Bindings of other Organizations that it meets, and the requests that belong to others.
    pub(super) fn disputed(
        &self,
        key: &ResourceKey,
        met: &Met,
        sight: Option<&Name>,
    ) -> Vec<(String, String)> {
        let mut told = Vec::new();
        let others = met.get(key).into_iter().flatten();
        let areas: Vec<(&ResourceKey, Area)> = others
            .filter_map(|other| Some((other, meeting(self, key, other)?.areas.into_iter().next()?)))
            .collect();
        if let Some((_, area)) = areas.first() {
            let others = areas.iter().map(|(other, _)| shown(other, sight)).collect();
            let detail = format!(
                "asks for requests to {area} as does {}, and no HostGrant says whose they are: the Api with the most special host \
                 gets a request, then the one with the longest context",
                some(others)
            );
            told.push(("environment".to_owned(), detail));
        }
        let lost = lost_now(self, key, NAMED + 1);
        if !lost.is_empty() {
            let detail = format!("does not get requests that belong to others: {}", some(lost));
            told.push(("environment".to_owned(), detail));
        }
        told
    }

    /// Of a HostGrant: the Bindings of other Organizations that ask for requests of it.
    pub(super) fn ask_in_vain(&self, spec: &HostGrantSpec, sight: Option<&Name>) -> Vec<(String, String)> {
        let Some(area) = spec.area() else { return Vec::new() };
        let mut all = BTreeSet::new();
        for environment in &spec.environments {
            for key in self.meeting(environment, &area, Some(&spec.organization)) {
                let Some(asked) = self.asked(&key) else { continue };
                let lost = asked.within(&area).find(|part| {
                    let owner = self.owner_of(environment, &part.host, &part.context);
                    owner.is_some_and(|owner| *owner.organization == *spec.organization.as_str())
                });
                let lost =
                    lost.map(|part| format!("{} to {part} in Environment {environment}", shown(&key, sight)));
                all.extend(lost);
                if all.len() > NAMED {
                    break;
                }
            }
        }
        if all.is_empty() {
            return Vec::new();
        }
        vec![("host".to_owned(), format!("takes requests from {}", some(all)))]
    }

    /// Of a HostGrant: the Environments that do not answer to its host.
    pub(super) fn grants_no_host(&self, spec: &HostGrantSpec) -> Vec<(String, String)> {
        let without = spec.environments.iter().enumerate().filter(|(_, environment)| {
            self.environment(environment).is_some_and(|found| !has_host(&found.hostnames, &spec.host))
        });
        let told = without.map(|(at, environment)| {
            let detail = format!(
                "Environment {environment} does not answer to {}: correct the host, or add it to the `hostnames` of the Environment",
                spec.host
            );
            (format!("environments[{at}]"), detail)
        });
        told.collect()
    }
}

/// `a, b, c and others`: the first [`NAMED`].
fn some(items: BTreeSet<String>) -> String {
    let more = if items.len() > NAMED { " and others" } else { "" };
    let named: Vec<String> = items.into_iter().take(NAMED).collect();
    format!("{}{more}", named.join(", "))
}
