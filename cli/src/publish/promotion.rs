//! Promoting: what one Environment serves, another serves from now on.

use std::collections::BTreeSet;

use hanse_api::answer::ApplyRequest;
use hanse_management::kinds::{ApiRevisionSpec, BindingSpec, RevisionRef, UpstreamSpec};
use hanse_topology::Name;

use super::{
    Bound, Observed, Operations, Plan, Preview, Step, blocked, check_rollbacks, check_there, picked,
    picked_whole,
    preview::{differing, places},
    upstream::from_origin,
};
use crate::exit::Failure;

/// What a promotion is told.
#[derive(Debug, Clone)]
pub(crate) struct Promotion {
    /// The owner.
    pub(crate) organization: Name,
    /// The Api.
    pub(crate) api: Name,
    /// The Environment that serves the revision.
    pub(crate) from: Name,
    /// The Environment that is to serve it.
    pub(crate) to: Name,
    /// The regions of the Binding that is meant; empty: all Bindings of the target.
    pub(crate) regions: Vec<Name>,
    /// Whether the Upstream that the revision embeds may be another.
    pub(crate) with_upstream: bool,
    /// Whether an Environment that was rolled back may be lifted.
    pub(crate) over_rollback: bool,
}

impl Promotion {
    /// What to do about what is there.
    pub(crate) fn plan(&self, observed: &Observed) -> Result<Plan, Failure> {
        let Self { organization, api, from, to, .. } = self;
        if from == to {
            return Err(Failure::usage("--from and --to name the same Environment"));
        }
        check_there(observed, api, &[from, to])?;
        let sources = self.sources(observed)?;
        let number = self.number(&sources)?;
        let targets = picked_whole(observed, api, to, &self.regions)?;
        if targets.is_empty() {
            return Err(blocked(
                format!("{to} has no Binding of Api {api}"),
                format!("make one: hanse import openapi … --publish-to {to}, or apply a Binding"),
            ));
        }
        check_rollbacks(targets.iter().copied(), self.over_rollback)?;
        let mut request = ApplyRequest::of(Vec::new());
        let mut preview = Preview::default();
        for bound in &targets {
            self.check_upstream(observed, bound, number)?;
            let spec = BindingSpec { revision: RevisionRef::Number(number), ..bound.spec.clone() };
            request.resources.push(bound.put(organization, spec));
            request.expects.push(bound.expected(organization, bound.serving));
            preview.bindings.push(step(observed, bound, number));
            preview.notes.extend(notes(observed, bound, number));
        }
        request.expects.extend(sources.iter().map(|bound| bound.expected(organization, Some(number))));
        Ok(Plan { request, preview })
    }

    /// The Bindings of the source. The regions are those of the target: they pick a source only where there is a choice.
    fn sources<'a>(&self, observed: &'a Observed) -> Result<Vec<&'a Bound>, Failure> {
        let all = observed.bindings_in(&self.api, &self.from);
        let numbers: BTreeSet<u64> = all.iter().filter_map(|bound| bound.serving).collect();
        if numbers.len() > 1 { picked(observed, &self.api, &self.from, &self.regions) } else { Ok(all) }
    }

    /// The revision that the source serves.
    fn number(&self, sources: &[&Bound]) -> Result<u64, Failure> {
        let Self { api, from, .. } = self;
        let mut numbers: Vec<u64> = sources.iter().filter_map(|bound| bound.serving).collect();
        numbers.sort_unstable();
        numbers.dedup();
        match numbers.as_slice() {
            [] => Err(blocked(
                format!("{from} has no Binding of Api {api}: there is nothing to promote"),
                format!("see where it is served: hanse describe api {api}"),
            )),
            [number] => Ok(*number),
            _several => {
                let said: Vec<String> = sources
                    .iter()
                    .filter_map(|bound| Some(format!("{} serves r{}", bound.name, bound.serving?)))
                    .collect();
                Err(blocked(
                    format!("{from} serves several revisions of Api {api}: {}", said.join(", ")),
                    "pick one Binding by its regions: --regions",
                ))
            }
        }
    }

    /// Refuses a promotion that would send the target's requests elsewhere.
    fn check_upstream(&self, observed: &Observed, target: &Bound, number: u64) -> Result<(), Failure> {
        if target.spec.upstream.is_some() || self.with_upstream {
            return Ok(());
        }
        let embedded =
            |number: Option<u64>| observed.revisions.get(&number?).and_then(|found| embedded(&found.spec));
        let (before, after) = (embedded(target.serving), embedded(Some(number)));
        if before == after {
            return Ok(());
        }
        let urls = |upstream: Option<&UpstreamSpec>| match upstream {
            Some(upstream) => {
                let own = upstream.endpoints.iter().map(|one| one.url.clone());
                from_origin(upstream).into_iter().chain(own).collect::<Vec<_>>().join(", ")
            }
            None => "none".to_owned(),
        };
        let now = target.serving.map(|now| format!("r{now}")).unwrap_or_default();
        Err(blocked(
            format!(
                "Binding {} names no Upstream, and {now} and r{number} embed different ones ({} and {})",
                target.name,
                urls(before),
                urls(after)
            ),
            format!("take that of r{number}: --with-upstream; or name an Upstream in the Binding first"),
        ))
    }
}

/// The Upstream that a revision embeds.
pub(super) fn embedded(revision: &ApiRevisionSpec) -> Option<&UpstreamSpec> {
    revision.upstreams.get(revision.spec.upstream.as_ref()?)
}

/// What else a Binding's new number means.
pub(super) fn notes(observed: &Observed, bound: &Bound, number: u64) -> Vec<String> {
    let after = observed.revisions.get(&number).map(|found| &found.spec.spec);
    let mut notes = differing(bound, observed.served_by(bound), after);
    if bound.follows_latest() {
        notes.push(format!("{} follows latest now, and is pinned to r{number}", bound.name));
    }
    notes
}

/// What a Binding serves before and after.
pub(super) fn step(observed: &Observed, bound: &Bound, number: u64) -> Step {
    let upstream = match &bound.spec.upstream {
        Some(name) => observed.upstreams.get(name).map(|found| &found.spec),
        None => observed.revisions.get(&number).and_then(|found| embedded(&found.spec)),
    };
    let after = observed.revisions.get(&number);
    let after = after.map(|found| found.spec.spec.operations.as_slice()).unwrap_or_default();
    Step {
        binding: bound.name.clone(),
        environment: bound.spec.environment.clone(),
        from: bound.serving,
        to: Some(number),
        operations: Operations::between(observed.operations_of(Some(bound)), after),
        regions: places(upstream, &bound.regions, &bound.spec.environment),
    }
}
