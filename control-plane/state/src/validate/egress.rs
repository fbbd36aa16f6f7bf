//! No Binding begins to use an address that the egress of its Environment denies. What a Binding used in a region before may stay:
//! its gateways no longer connect to it, and the answer to the change warns of it.

use std::{collections::BTreeSet, net::IpAddr};

use hanse_management::{Problem, ProblemName, Spec};
use hanse_topology::Name;

use super::Verdict;
use crate::{Resource, State, state::EgressRules};

pub(super) fn check(before: &State, next: &State, rules: &mut EgressRules, resource: &Resource) -> Verdict {
    let Spec::Binding(spec) = &resource.spec else { return Ok(()) };
    let egress = rules.of(next, &spec.environment);
    let denied = next.address_uses(resource, |address| egress.judge(address).is_err());
    if denied.is_empty() {
        return Ok(());
    }
    let addresses: BTreeSet<IpAddr> = denied.iter().map(|used| used.address).collect();
    let was = before.get(&resource.key).filter(|was| is_in(was, &spec.environment));
    let earlier = was.map(|was| before.address_uses(was, |address| addresses.contains(&address)));
    let earlier: BTreeSet<(Name, IpAddr)> =
        earlier.into_iter().flatten().map(|used| (used.region, used.address)).collect();
    let begun = denied.into_iter().find(|used| !earlier.contains(&(used.region.clone(), used.address)));
    let Some(begun) = begun else { return Ok(()) };
    let Err(why) = egress.judge(begun.address) else { return Ok(()) };
    let detail = format!(
        "{} would use {} in Environment {}, region {}, but {why}",
        resource.key, begun.url, spec.environment, begun.region
    );
    Err(Problem::new(ProblemName::Invalid, detail).at(begun.field).remedy(format!(
        "name an address that may be used, or allow this one in spec.egress of Environment {}",
        spec.environment
    )))
}

fn is_in(binding: &Resource, environment: &Name) -> bool {
    matches!(&binding.spec, Spec::Binding(spec) if spec.environment == *environment)
}
