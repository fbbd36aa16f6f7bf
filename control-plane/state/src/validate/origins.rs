//! How many Origins a scope has.

use std::collections::BTreeSet;

use hanse_management::{Kind, Problem, ProblemName, ResourceKey};

use super::Verdict;
use crate::State;

/// How many Origins of one region an Environment may have. Each is a scope that every gateway there follows, and a table that it looks
/// requests up in.
pub(crate) const MAX_ORIGINS: usize = 16;

/// Refuses an Origin that is one too many in its region and one of its Environments.
pub(crate) fn check(next: &State, touched: &BTreeSet<ResourceKey>) -> Verdict {
    for key in touched {
        let Some(spec) = next.origin_spec(key) else { continue };
        for (at, environment) in spec.environments.iter().enumerate() {
            let of = ResourceKey::global(Kind::Environment, environment.clone());
            let here = next.referrers_of_kind(&of, Kind::Origin);
            let here =
                here.filter(|other| next.origin_spec(other).is_some_and(|other| other.region == spec.region));
            let count = here.count();
            if count > MAX_ORIGINS {
                let region = &spec.region;
                let detail =
                    format!("{of} would have {count} Origins in region {region}, more than {MAX_ORIGINS}");
                return Err(Problem::new(ProblemName::TooLarge, detail)
                    .at(format!("{key}: spec.environments[{at}]"))
                    .remedy("add the agents to the `holders` of another Origin, or delete one"));
            }
        }
    }
    Ok(())
}
