//! Rolling back: an Environment serves again what it served before.

use hanse_api::answer::ApplyRequest;
use hanse_management::kinds::{BindingSpec, RevisionRef};
use hanse_topology::Name;

use super::{
    Bound, Observed, Plan, Preview, blocked, check_there, picked_whole,
    promotion::{notes, step},
};
use crate::exit::Failure;

/// What a rollback is told.
#[derive(Debug, Clone)]
pub(crate) struct Rollback {
    /// The owner.
    pub(crate) organization: Name,
    /// The Api.
    pub(crate) api: Name,
    /// The Environment.
    pub(crate) environment: Name,
    /// The revision to serve; `None`: the one before.
    pub(crate) to: Option<u64>,
    /// The regions of the Binding that is meant; empty: all Bindings of the Environment.
    pub(crate) regions: Vec<Name>,
}

impl Rollback {
    /// The Bindings that are rolled back, and the number of each.
    fn numbers<'a>(&self, observed: &'a Observed) -> Result<Vec<(&'a Bound, u64)>, Failure> {
        let Self { api, environment, .. } = self;
        check_there(observed, api, &[environment])?;
        let targets = picked_whole(observed, api, environment, &self.regions)?;
        if targets.is_empty() {
            return Err(blocked(
                format!("{environment} has no Binding of Api {api}: there is nothing to roll back"),
                format!("see where it is served: hanse describe api {api}"),
            ));
        }
        targets.into_iter().map(|bound| Ok((bound, self.number(bound)?))).collect()
    }

    /// The highest number that a Binding served below the present one. So the next rollback goes one further.
    fn number(&self, bound: &Bound) -> Result<u64, Failure> {
        if let Some(number) = self.to {
            return Ok(number);
        }
        bound.before().ok_or_else(|| {
            let now = bound.serving.unwrap_or_default();
            let served: Vec<String> = bound.served.iter().map(|number| format!("r{number}")).collect();
            blocked(
                format!(
                    "{} has served no revision before r{now}; it served {}",
                    bound.name,
                    served.join(", ")
                ),
                "name the revision with --to; hanse get apirevisions lists them",
            )
        })
    }

    /// What to do about what is there.
    pub(crate) fn plan(&self, observed: &Observed) -> Result<Plan, Failure> {
        let mut request = ApplyRequest::of(Vec::new());
        let mut preview = Preview::default();
        for (bound, number) in self.numbers(observed)? {
            let spec = BindingSpec { revision: RevisionRef::Number(number), ..bound.spec.clone() };
            request.resources.push(bound.put(&self.organization, spec));
            request.expects.push(bound.expected(&self.organization, bound.serving));
            preview.bindings.push(step(observed, bound, number));
            preview.notes.extend(notes(observed, bound, number));
            if let Some(name) = &bound.spec.upstream {
                let changed = observed.upstreams.get(name).map(|found| found.revision).unwrap_or_default();
                preview.notes.push(format!(
                    "not rolled back: Upstream {name}, which {} follows (last changed at revision {changed})",
                    bound.name
                ));
            }
        }
        Ok(Plan { request, preview })
    }
}
