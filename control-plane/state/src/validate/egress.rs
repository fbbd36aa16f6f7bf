//! No author makes a Binding begin to use an address that the egress of its Environment denies.
//!
//! Judged are the Bindings that the command changes, or whose Upstream, Api or ApiRevision it changes. A change of an Environment or
//! a Region is not refused for the sake of a Binding, and a dump is restored as it is: gateways deny the address in any case, and
//! the answer has a warning. For the same reason an address that the Binding used before may stay.

use std::{collections::BTreeSet, net::IpAddr};

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec};
use hanse_topology::Name;

use super::{Verdict, consistency::by_author};
use crate::{Resource, State, state::DeniedEndpoints};

/// Judges what the authors of `touched` make their Bindings use.
pub(crate) fn check(before: &State, next: &State, touched: &BTreeSet<ResourceKey>) -> Verdict {
    let mut denied = DeniedEndpoints::new(next, next);
    let mut earlier = DeniedEndpoints::new(next, before);
    let bindings = by_author(next, touched);
    let mut bindings =
        bindings.iter().filter(|key| key.kind == Kind::Binding).filter_map(|key| next.get(key));
    bindings.try_for_each(|binding| check_binding(before, &mut earlier, next, &mut denied, binding))
}

fn check_binding<'a>(
    before: &'a State,
    earlier: &mut DeniedEndpoints<'a>,
    next: &'a State,
    denied: &mut DeniedEndpoints<'a>,
    binding: &'a Resource,
) -> Verdict {
    let Spec::Binding(spec) = &binding.spec else { return Ok(()) };
    let uses = denied.of(binding);
    if uses.is_empty() {
        return Ok(());
    }
    let was = before.get(&binding.key).filter(|was| is_in(was, &spec.environment));
    let earlier = was.map(|was| earlier.of(was)).unwrap_or_default();
    let earlier: BTreeSet<IpAddr> = earlier.iter().map(|used| used.address).collect();
    let Some(begun) = uses.into_iter().find(|used| !earlier.contains(&used.address)) else { return Ok(()) };
    let Err(why) = denied.egress(&spec.environment).judge(begun.address) else { return Ok(()) };
    let detail = format!(
        "{} would use {} in Environment {}, region {}, but {why}",
        binding.key, begun.endpoint.url, spec.environment, begun.region
    );
    Err(Problem::new(ProblemName::Invalid, detail).at(begun.field(next)).remedy(format!(
        "name an address that may be used, or allow this one in spec.egress of Environment {}",
        spec.environment
    )))
}

fn is_in(binding: &Resource, environment: &Name) -> bool {
    matches!(&binding.spec, Spec::Binding(spec) if spec.environment == *environment)
}
