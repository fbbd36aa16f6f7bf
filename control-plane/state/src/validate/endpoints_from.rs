//! That no change cuts a Binding off from the endpoints that an Origin publishes for it.

use std::collections::BTreeSet;

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec, kinds::EndpointsFromSpec};

use super::Verdict;
use crate::State;

/// Refuses to delete an Origin that a Binding is served from, and refuses a Binding that has no endpoint in a region, and can get none
/// there from an Origin, if that is new. Where only the Origin changes, it is a warning: an operator must be able to take a permission away.
pub(crate) fn check(
    before: &State,
    next: &State,
    touched: &BTreeSet<ResourceKey>,
    affected: &BTreeSet<ResourceKey>,
) -> Verdict {
    let is_gone = |key: &&ResourceKey| key.kind == Kind::Origin && next.get(key).is_none();
    touched.iter().filter(is_gone).try_for_each(|origin| check_unused(next, origin))?;
    affected.iter().try_for_each(|key| check_binding(before, next, key))
}

/// An ApiRevision keeps its copy of an Upstream. An Origin that is made later under the name would get the requests of the Bindings of it.
fn check_unused(next: &State, origin: &ResourceKey) -> Verdict {
    for binding in next.list(Kind::Binding, None) {
        let Some((upstream, revision)) = next.served_from(binding, &origin.name) else { continue };
        let detail = format!(
            "{origin} is used by {}: Upstream {upstream} of {} has endpoints of it",
            binding.key, revision.key
        );
        return Err(Problem::new(ProblemName::InUse, detail).at(origin.to_string()).remedy(format!(
            "have {} serve a revision of the Api without it first, or name another Upstream in its spec.upstream",
            binding.key
        )));
    }
    Ok(())
}

fn check_binding(before: &State, next: &State, key: &ResourceKey) -> Verdict {
    let (Some(binding), Some(organization)) = (next.get(key), &key.organization) else { return Ok(()) };
    let Spec::Binding(spec) = &binding.spec else { return Ok(()) };
    let cut_off = next.cut_off(binding, organization, spec);
    if cut_off.is_empty() {
        return Ok(());
    }
    let was = before.get(key).map(|binding| match &binding.spec {
        Spec::Binding(spec) => before.cut_off(binding, organization, spec),
        _other => Vec::new(),
    });
    let was: Vec<_> = was.into_iter().flatten().map(|(region, ..)| region).collect();
    let Some((region, upstream, EndpointsFromSpec { origin, .. })) =
        cut_off.into_iter().find(|(region, ..)| !was.contains(region))
    else {
        return Ok(());
    };
    let environment = &spec.environment;
    let detail = format!(
        "Upstream {upstream} has no endpoint for region {region} in Environment {environment}, and Origin {origin} brings none there"
    );
    Err(Problem::new(ProblemName::Invalid, detail)
        .at(format!("{key}: spec.upstream"))
        .remedy(format!("give it one with `region: {region}`, or leave {region} out of spec.regions")))
}
