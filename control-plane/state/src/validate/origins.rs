//! How many Origins a scope has.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{Kind, Problem, ProblemName, ResourceKey};
use hanse_topology::Name;

use super::Verdict;
use crate::State;

/// How many Origins of one region an Environment may have. Each is a scope that every gateway there follows, and a table that it looks
/// requests up in.
pub(crate) const MAX_ORIGINS: usize = 16;

/// Refuses an Origin that is one too many in its region and one of its Environments.
pub(crate) fn check(next: &State, touched: &BTreeSet<ResourceKey>) -> Verdict {
    // Of each Environment once: many Origins of one apply may have the same.
    let mut counts = BTreeMap::<&Name, BTreeMap<&Name, usize>>::new();
    for key in touched {
        let Some(spec) = next.origin_spec(key) else { continue };
        for (at, environment) in spec.environments.iter().enumerate() {
            let counts = counts.entry(environment).or_insert_with(|| by_region(next, environment));
            let count = counts.get(&spec.region).copied().unwrap_or_default();
            if count > MAX_ORIGINS {
                let region = &spec.region;
                let detail = format!(
                    "Environment {environment} would have {count} Origins in region {region}, more than {MAX_ORIGINS}"
                );
                return Err(Problem::new(ProblemName::TooLarge, detail)
                    .at(format!("{key}: spec.environments[{at}]"))
                    .remedy("add the agents to the `holders` of another Origin, or delete one"));
            }
        }
    }
    Ok(())
}

/// How many Origins an Environment has, by region.
fn by_region<'a>(next: &'a State, environment: &Name) -> BTreeMap<&'a Name, usize> {
    let environment = ResourceKey::global(Kind::Environment, environment.clone());
    let mut counts = BTreeMap::new();
    for origin in next.referrers_of_kind(&environment, Kind::Origin) {
        if let Some(spec) = next.origin_spec(origin) {
            *counts.entry(&spec.region).or_default() += 1;
        }
    }
    counts
}
