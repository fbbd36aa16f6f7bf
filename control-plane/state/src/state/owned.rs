//! What of a Binding belongs to others, and what of a HostGrant others ask for: accepted, with a warning.

use std::collections::BTreeSet;

use hanse_management::{ResourceKey, kinds::HostGrantSpec};
use hanse_topology::Name;

use super::{Hosts, State, unserved::listed};
use crate::validate::neighbours::{is_own, meeting, neighbours};

impl State {
    /// Of a Binding: the Bindings of other Organizations that it meets, and the requests that belong to others.
    pub(super) fn disputed(
        &self,
        key: &ResourceKey,
        environment: &Name,
        hosts: Hosts,
    ) -> Vec<(String, String)> {
        let mut told = Vec::new();
        let met = neighbours(self, environment, key, hosts).into_iter().filter_map(|other| {
            let area = meeting(self, key, &other)?.areas.into_iter().next()?;
            Some((other, area))
        });
        let met: Vec<_> = met.collect();
        if let Some((_, area)) = met.first() {
            let others: Vec<String> = met.iter().map(|(other, _)| other.to_string()).collect();
            let detail = format!(
                "asks for requests to {area} as does {}, and no HostGrant says whose they are: the Api with the most special host \
                 gets a request, then the one with the longest context",
                listed(others.iter().map(String::as_str))
            );
            told.push(("environment".to_owned(), detail));
        }
        let lost = self.lost(key, environment);
        if !lost.is_empty() {
            let detail = format!(
                "does not get requests that belong to others: {}",
                listed(lost.iter().map(String::as_str))
            );
            told.push(("environment".to_owned(), detail));
        }
        told
    }

    /// The requests that a Binding asks for and that belong to others, each with the owner.
    fn lost(&self, key: &ResourceKey, environment: &Name) -> BTreeSet<String> {
        let (Some(grants), Some(asked)) = (self.grants(environment), self.asked(key)) else {
            return BTreeSet::new();
        };
        let foreign = grants.iter().filter(|grant| !is_own(key, grant));
        let parts = foreign.flat_map(|grant| asked.parts(&grant.area));
        let owned = parts.filter_map(|part| {
            let owner = grants.owner_of(&part.host, &part.context).filter(|grant| !is_own(key, grant))?;
            Some(format!("{part} of Organization {}", owner.organization))
        });
        owned.collect()
    }

    /// Of a HostGrant: the Bindings of other Organizations that ask for requests of it.
    pub(super) fn ask_in_vain(&self, spec: &HostGrantSpec) -> Vec<(String, String)> {
        let Some(area) = spec.area() else { return Vec::new() };
        let mut all = BTreeSet::new();
        for environment in &spec.environments {
            for key in self.meeting(environment, &area, Some(&spec.organization), Hosts::All) {
                let Some(asked) = self.asked(&key) else { continue };
                let lost = asked.parts(&area).find(|part| {
                    let owner = self.owner_of(environment, &part.host, &part.context);
                    owner.is_some_and(|owner| *owner.organization == *spec.organization.as_str())
                });
                all.extend(lost.map(|part| format!("{key} to {part} in Environment {environment}")));
            }
        }
        if all.is_empty() {
            return Vec::new();
        }
        let detail = format!("takes requests from {}", listed(all.iter().map(String::as_str)));
        vec![("host".to_owned(), detail)]
    }
}
