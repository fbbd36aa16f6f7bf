//! ApiRevisions: made when what an Api resolves to has changed, dropped when they are many and no resource refers to them.

use std::collections::BTreeSet;

use hanse_management::{Kind, Problem, ResourceKey, Spec, kinds::ApiRevisionSpec};
use hanse_topology::Name;

use super::Draft;
use crate::{Resource, State, validate::limits};

/// How many revisions of an Api are kept: months of daily changes. Those that are bound or were served are kept in any case.
pub(crate) const MAX_REVISIONS_PER_API: usize = 100;
/// How many bytes of JSON the revisions of an Api may have together. 100 of the largest would have 800 MiB, and every control node
/// holds them in memory.
pub(crate) const MAX_REVISION_BYTES_PER_API: usize = 32 << 20;
/// How many of the newest revisions of an Api are kept in any case: what an operator compares and goes back to by hand.
const KEPT_REVISIONS_PER_API: usize = 10;

/// Makes the next revision of each Api whose resolved content this command changed.
pub(super) fn make(draft: &mut Draft<'_>) -> Result<(), Problem> {
    for key in concerned_apis(draft) {
        let Some(mut resolved) = resolve(draft.next, &key) else { continue };
        let Some(organization) = key.organization.clone() else { continue };
        // Beside an Api that is made, the ApiRevisions of a dump are older ones.
        let was_there = draft.before.get(&key).is_some();
        let latest = draft.next.latest_api_revision(&organization, &key.name).map(|latest| &latest.spec);
        if let Some(Spec::ApiRevision(latest)) = latest.filter(|_| was_there)
            && latest.same_content(&resolved)
        {
            continue;
        }
        let counter = (organization.clone(), key.name.clone());
        let number = draft.next.api_counters.get(&counter).copied().unwrap_or(0) + 1;
        resolved.number = number;
        let revision_key = limits::check_revision(&key, &resolved)?;
        draft.next.api_counters.insert(counter, number);
        draft.make(revision_key, Spec::ApiRevision(resolved));
        set_latest(draft.next, &key, number);
    }
    Ok(())
}

/// The Apis that were put, and those that refer to something that was: a revision copies what its Api refers to.
fn concerned_apis(draft: &Draft<'_>) -> BTreeSet<ResourceKey> {
    let put = draft.touched.iter().filter(|key| key.kind == Kind::Api);
    let referring = draft.touched.iter().flat_map(|key| draft.next.referrers_of_kind(key, Kind::Api));
    put.chain(referring).cloned().collect()
}

/// An Api with what it names embedded; numbered 0. `None`: there is no such Api any more.
fn resolve(state: &State, key: &ResourceKey) -> Option<ApiRevisionSpec> {
    let Spec::Api(api) = &state.get(key)?.spec else { return None };
    let policies = api.policy_names().into_iter().filter_map(|name| {
        let policy = state.get(&key.sibling(Kind::Policy, name.clone()))?;
        if let Spec::Policy(spec) = &policy.spec { Some((name.clone(), spec.clone())) } else { None }
    });
    let upstreams = api.upstream.iter().filter_map(|name| {
        let upstream = state.get(&key.sibling(Kind::Upstream, name.clone()))?;
        if let Spec::Upstream(spec) = &upstream.spec { Some((name.clone(), spec.clone())) } else { None }
    });
    Some(ApiRevisionSpec {
        api: key.name.clone(),
        number: 0,
        spec: api.clone(),
        policies: policies.collect(),
        upstreams: upstreams.collect(),
    })
}

/// Notes the number of the latest revision with the Api: a status, so its own revision stays.
fn set_latest(state: &mut State, key: &ResourceKey, number: u64) {
    if let Some(api) = state.get(key) {
        let mut api = Resource::clone(api);
        api.metadata.api_revision = number;
        state.store(api);
    }
}

/// Drops the oldest revisions of Apis that have too many or too large ones, but for the newest and those that a Binding names, serves somewhere or
/// served before.
pub(super) fn drop_oldest(draft: &mut Draft<'_>) {
    // A Binding that is deleted or changed may free revisions of the Api that it had.
    let concerned: BTreeSet<(Name, Name)> = draft
        .touched
        .iter()
        .flat_map(|key| [draft.before.get(key), draft.next.get(key)])
        .filter_map(|resource| {
            let resource = resource?;
            let api = match &resource.spec {
                Spec::ApiRevision(spec) => &spec.api,
                Spec::Binding(spec) => &spec.api,
                _of_no_api => return None,
            };
            Some((resource.key.organization.clone()?, api.clone()))
        })
        .collect();
    for (organization, api) in concerned {
        let sizes: Vec<(u64, usize)> = draft.next.api_revision_sizes(&organization, &api).collect();
        if !is_excess(sizes.len(), sizes.iter().map(|(_, bytes)| bytes).sum()) {
            continue;
        }
        let bound = bound(draft.next, ResourceKey::owned(Kind::Api, organization.clone(), api.clone()));
        let key = |number| ApiRevisionSpec::key(&organization, &api, number);
        let is_kept = |number| {
            key(number).is_none_or(|key| draft.next.referrers(&key).next().is_some() || bound.contains(&key))
        };
        let dropped: Vec<ResourceKey> = excess(&sizes, is_kept).into_iter().filter_map(key).collect();
        dropped.into_iter().for_each(|key| draft.drop_made(key));
    }
}

/// Whether so many revisions of an Api, with so many bytes together, are more than are kept.
fn is_excess(number: usize, bytes: usize) -> bool {
    number > MAX_REVISIONS_PER_API || bytes > MAX_REVISION_BYTES_PER_API
}

/// Which revisions of an Api go: of those that are not kept in any case the oldest, until the rest is no excess. `sizes` are the
/// revisions' numbers, ascending, with their bytes.
fn excess(sizes: &[(u64, usize)], is_kept: impl Fn(u64) -> bool) -> Vec<u64> {
    let (mut number, mut bytes) = (sizes.len(), sizes.iter().map(|(_, bytes)| bytes).sum::<usize>());
    let old = &sizes[..number.saturating_sub(KEPT_REVISIONS_PER_API)];
    let mut going = Vec::new();
    for (revision, size) in old {
        if !is_excess(number, bytes) {
            break;
        }
        if !is_kept(*revision) {
            going.push(*revision);
            number -= 1;
            bytes -= size;
        }
    }
    going
}

/// The revisions of an Api that its Bindings name, serve somewhere or served before.
fn bound(state: &State, api: ResourceKey) -> BTreeSet<ResourceKey> {
    let bindings = state.referrers_of_kind(&api, Kind::Binding).filter_map(|key| state.get(key));
    bindings.flat_map(|binding| state.kept_for(binding)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::fixture::proptest_config())]

        #[test]
        fn what_goes_is_old_unbound_and_no_more_than_must(
            revisions in prop::collection::vec((0..9_usize << 20, prop::bool::weighted(0.2)), 0..130),
        ) {
            // Numbers have gaps, where earlier revisions went.
            let numbered = || (1_u64..).step_by(3).zip(&revisions);
            let sizes: Vec<(u64, usize)> = numbered().map(|(number, (bytes, _))| (number, *bytes)).collect();
            let kept: BTreeSet<u64> =
                numbered().filter(|(_, (_, kept))| *kept).map(|(number, _)| number).collect();
            let going = excess(&sizes, |number| kept.contains(&number));

            let rest: Vec<(u64, usize)> =
                sizes.iter().filter(|(number, _)| !going.contains(number)).copied().collect();
            let is_excess = |rest: &[(u64, usize)]| is_excess(rest.len(), rest.iter().map(|(_, bytes)| bytes).sum());
            let newest: BTreeSet<u64> = sizes.iter().rev().take(10).map(|(number, _)| *number).collect();
            prop_assert!(going.iter().all(|number| !kept.contains(number) && !newest.contains(number)));
            let droppable: Vec<u64> = sizes
                .iter()
                .map(|(number, _)| *number)
                .filter(|number| !kept.contains(number) && !newest.contains(number))
                .collect();
            prop_assert_eq!(&droppable[..going.len()], &going[..], "the oldest go first");
            prop_assert!(!is_excess(&rest) || going.len() == droppable.len(), "all that may go went, or enough did");
            if let Some(last) = going.last() {
                let mut with_last = rest;
                with_last.extend(sizes.iter().filter(|(number, _)| number == last));
                prop_assert!(is_excess(&with_last), "r{last} could have stayed");
            }
        }
    }
}
