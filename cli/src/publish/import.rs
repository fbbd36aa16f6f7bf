//! Importing and publishing: a new content of an Api, and the Environments that are to serve it.

use std::collections::{BTreeSet, HashMap};

use hanse_api::answer::ApplyRequest;
use hanse_management::{
    Kind, Spec,
    kinds::{
        ApiKeySpec, ApiSpec, BindingSpec, Method, New, OperationSpec, RevisionRef, SecuritySpec, UpstreamSpec,
    },
};
use hanse_topology::{Labels, Name};
use serde_json::{Value, json};

use super::{
    Bound, Found, Observed, Operations, Part, Plan, Preview, Step, UpstreamArg, ambiguous, blocked, changed,
    check_rollbacks, listed,
    observed::{expected, manifest},
    picked,
    preview::{differing, places, same},
    upstream,
};
use crate::{exit::Failure, import::printable};

/// The label of a resource that a command made for an Api, with the Api's name: deleting the Api offers to delete it, too.
pub(crate) const MADE_FOR: &str = "hanse-made-for";

/// The version of an Api that is published without a description.
const FIRST_VERSION: &str = "1";

/// What is published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offered {
    /// The API's own version; `None`: as before, or [`FIRST_VERSION`] when it is new.
    pub(crate) version: Option<String>,
    /// Its operations.
    pub(crate) operations: Vec<OperationSpec>,
    /// Whether these operations may take the place of others.
    pub(crate) replaces: bool,
}

impl Offered {
    /// Every method and every path: a service that has no description.
    pub(crate) fn everything(version: Option<String>) -> Self {
        let all = OperationSpec {
            method: Method::Every,
            path: "/*".to_owned(),
            id: None,
            scopes: Vec::new(),
            policies: Vec::new(),
            timeout: None,
            open: false,
        };
        Self { version, operations: vec![all], replaces: false }
    }
}

/// What an import is told.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// The owner.
    pub(crate) organization: Name,
    /// The Api.
    pub(crate) api: Name,
    /// The whole base path.
    pub(crate) context: String,
    /// What is published.
    pub(crate) offered: Offered,
    /// Who may call; `None`: as before, or an API key when it is new.
    pub(crate) security: Option<SecuritySpec>,
    /// Where requests go; empty: where they go now.
    pub(crate) upstreams: Vec<UpstreamArg>,
    /// The Environments that are to serve it.
    pub(crate) environments: Vec<Name>,
    /// Which of their regions; empty: those that serve it now, or all.
    pub(crate) regions: Vec<Name>,
    /// The Environments that may move with it.
    pub(crate) also: Vec<Name>,
    /// The Environments that are to keep the revision that they serve.
    pub(crate) pin: Vec<Name>,
    /// Whether Environments that were rolled back may be lifted.
    pub(crate) over_rollback: bool,
}

impl Import {
    /// The Binding that an import makes, and the Upstream that it writes, have this name.
    pub(crate) fn made_in(&self, environment: &Name) -> Result<Name, Failure> {
        Name::new(format!("{}-{environment}", self.api)).map_err(|error| {
            Failure::usage(format!("the Api's name and --publish-to make a name that is too long: {error}"))
        })
    }

    /// What to do about what is there.
    pub(crate) fn plan(&self, observed: &Observed) -> Result<Plan, Failure> {
        self.check_flags(observed)?;
        self.check_others(observed)?;
        let api = self.api(observed);
        let (labels, revision) = match &observed.api {
            Some(found) => (found.labels.clone(), found.revision),
            None => (Labels::default(), 0),
        };
        let resources = vec![manifest(&self.organization, &self.api, api.clone().into(), &labels, revision)];
        let mut plan = Plan { request: ApplyRequest::of(resources), preview: Preview::default() };
        let target = |environment| Ok((environment, self.target(observed, environment)?));
        let targets: Vec<_> = self.environments.iter().map(target).collect::<Result<_, Failure>>()?;
        check_rollbacks(targets.iter().filter_map(|(_, target)| *target), self.over_rollback)?;
        let named = targets.iter().filter_map(|(_, target)| Some(target.as_ref()?.name.clone()));
        let mut written: BTreeSet<Name> = named.collect();
        for (environment, target) in targets {
            self.publish(observed, &api, environment, target, &written, &mut plan)?;
        }
        for bound in self.pinned(observed, &written) {
            let Some(number) = bound.serving else { continue };
            let spec = BindingSpec { revision: RevisionRef::Number(number), ..bound.spec.clone() };
            plan.request.resources.push(bound.put(&self.organization, spec));
            plan.request.expects.push(bound.expected(&self.organization, Some(number)));
            written.insert(bound.name.clone());
            plan.preview
                .notes
                .push(format!("{} ({}) is pinned to r{number}", bound.spec.environment, bound.name));
        }
        let others = observed.bindings.iter().filter(|bound| bound.spec.api == self.api);
        let stay = others.filter(|bound| !written.contains(&bound.name));
        plan.request.expects.extend(stay.map(|bound| bound.expected(&self.organization, None)));
        Ok(plan)
    }

    /// `--also` and `--pin` are about Bindings that the import does not write: in an Environment of `--publish-to`, the others.
    fn check_flags(&self, observed: &Observed) -> Result<(), Failure> {
        if let Some(name) = self.also.iter().find(|name| self.pin.contains(name)) {
            return Err(Failure::usage(format!("--also {name} and --pin {name} exclude each other")));
        }
        for (flag, names) in [("--also", &self.also), ("--pin", &self.pin)] {
            let is_alone = |name: &&Name| {
                self.environments.contains(name) && observed.bindings_in(&self.api, name).len() < 2
            };
            if let Some(name) = names.iter().find(is_alone) {
                return Err(Failure::usage(format!(
                    "{flag} {name} and --publish-to {name} exclude each other: {name} has no other Binding of {}",
                    self.api
                )));
            }
        }
        Ok(())
    }

    /// Refuses to remove operations where the command says nothing of them.
    fn check_others(&self, observed: &Observed) -> Result<(), Failure> {
        let Some(found) = observed.api.as_ref().filter(|_| !self.offered.replaces) else { return Ok(()) };
        let others = Operations::between(&found.spec.operations, &self.offered.operations).removed;
        let Some(first) = others.first() else { return Ok(()) };
        Err(blocked(
            format!(
                "Api {} has operations of its own, which `* /*` would replace: {}, such as {}",
                self.api,
                others.len(),
                printable(first)
            ),
            "publish the service under another name, import its document, or delete the Api first",
        ))
    }

    /// The Binding of an Environment that is updated, under any name; `None`: there is none yet.
    fn target<'a>(&self, observed: &'a Observed, environment: &Name) -> Result<Option<&'a Bound>, Failure> {
        let there = observed.bindings_in(&self.api, environment);
        match there.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            several if self.regions.is_empty() => Err(ambiguous(&self.api, environment, several)),
            _several => Ok(picked(observed, &self.api, environment, &self.regions)?.first().copied()),
        }
    }

    /// The Bindings of `--pin` that follow the latest revision and are not written.
    fn pinned<'a>(&self, observed: &'a Observed, written: &BTreeSet<Name>) -> Vec<&'a Bound> {
        let there = self.pin.iter().flat_map(|environment| observed.bindings_in(&self.api, environment));
        there.filter(|bound| bound.follows_latest() && !written.contains(&bound.name)).collect()
    }

    /// The Upstream that is written for an Environment: `API-E`, or one with the Binding's name if another Binding that stays
    /// uses `API-E`.
    fn own_upstream(
        &self,
        observed: &Observed,
        environment: &Name,
        target: Option<&Bound>,
        written: &BTreeSet<Name>,
    ) -> Result<Name, Failure> {
        let made = self.made_in(environment)?;
        match target {
            Some(bound) if !self.others(observed, &made, target, written).is_empty() => {
                Ok(bound.name.clone())
            }
            Some(_) | None => Ok(made),
        }
    }

    /// The Bindings beside the target that use an Upstream and keep it. One that is written gets an Upstream of its own if
    /// endpoints are given.
    fn others<'a>(
        &self,
        observed: &'a Observed,
        upstream: &Name,
        target: Option<&Bound>,
        written: &BTreeSet<Name>,
    ) -> Vec<&'a Bound> {
        let keeps = |bound: &&Bound| {
            let gets_its_own = !self.upstreams.is_empty() && written.contains(&bound.name);
            let is_target = target.is_some_and(|target| target.name == bound.name);
            bound.spec.upstream.as_ref() == Some(upstream) && !is_target && !gets_its_own
        };
        observed.bindings.iter().filter(keeps).collect()
    }

    /// The Binding and the Upstream of one Environment.
    fn publish(
        &self,
        observed: &Observed,
        api: &ApiSpec,
        environment: &Name,
        target: Option<&Bound>,
        written: &BTreeSet<Name>,
        plan: &mut Plan,
    ) -> Result<(), Failure> {
        let made = self.own_upstream(observed, environment, target, written)?;
        let several = observed.bindings_in(&self.api, environment).len() > 1;
        let mut spec = match target {
            Some(bound) => bound.spec.clone(),
            None => new_binding(&self.api, environment),
        };
        spec.revision = RevisionRef::New(New::New);
        // Of several Bindings, the regions only say which one is meant.
        let regions = if self.regions.is_empty() || several {
            match target {
                Some(bound) => bound.regions.clone(),
                None => observed.environments.get(environment).cloned().unwrap_or_default(),
            }
        } else {
            spec.regions =
                hanse_topology::RegionSelector { names: self.regions.clone(), ..Default::default() };
            self.regions.clone()
        };
        let to = self.upstream(observed, environment, target, &made, &regions)?;
        if let To::Written(upstream) = &to {
            self.check_shared(observed, target, &made, upstream, written)?;
            let found = observed.upstreams.get(&made);
            let made_here = || std::iter::once((MADE_FOR, self.api.as_str())).collect();
            let (labels, revision) =
                found.map_or_else(|| (made_here(), 0), |found| (found.labels.clone(), found.revision));
            if let Some(copied) = target.and_then(|bound| bound.spec.upstream.as_ref())
                && *copied != made
                && let Some(found) = observed.upstreams.get(copied)
            {
                let expected = expected(&self.organization, Kind::Upstream, copied, found.revision);
                if !plan.request.expects.contains(&expected) {
                    plan.request.expects.push(expected);
                }
            }
            plan.request.resources.push(manifest(
                &self.organization,
                &made,
                upstream.clone().into(),
                &labels,
                revision,
            ));
            spec.upstream = Some(made.clone());
        }
        plan.preview.bindings.push(Step {
            binding: target.map_or_else(|| made.clone(), |bound| bound.name.clone()),
            environment: environment.clone(),
            from: target.and_then(|bound| bound.serving),
            to: None,
            operations: Operations::between(observed.operations_of(target), &api.operations),
            regions: places(to.spec(), &regions, environment),
        });
        if let Some(bound) = target {
            plan.preview.notes.extend(differing(bound, observed.served_by(bound), Some(api)));
        }
        if let Some(bound) = target
            && bound.follows_latest()
        {
            plan.preview.notes.push(format!(
                "{environment} ({}) follows latest now, and is pinned to the revision of this import",
                bound.name
            ));
        }
        if let Some(bound) = target
            && bound.regions != regions
        {
            plan.preview.notes.push(format!(
                "{environment} ({}) is served in {} from now on, not in {}",
                bound.name,
                listed(&regions),
                listed(&bound.regions)
            ));
        }
        plan.request.resources.push(match target {
            Some(bound) => bound.put(&self.organization, spec),
            None => manifest(&self.organization, &made, spec.into(), &Labels::default(), 0),
        });
        Ok(())
    }

    /// Where an Environment sends requests from now on.
    fn upstream<'a>(
        &self,
        observed: &'a Observed,
        environment: &Name,
        target: Option<&'a Bound>,
        made: &Name,
        regions: &[Name],
    ) -> Result<To<'a>, Failure> {
        let own = observed.upstreams.get(made).map(|found| &found.spec);
        let Some(bound) = target else {
            // A new Binding begins with what is given: the endpoints of other Environments are not its own.
            return match (own, self.upstreams.is_empty()) {
                (Some(own), false) => {
                    upstream::check_own(own)?;
                    let endpoints = upstream::endpoints(&self.upstreams);
                    Ok(To::Written(UpstreamSpec { endpoints, ..own.clone() }))
                }
                (Some(own), true) => Ok(To::Written(own.clone())),
                (None, false) => Ok(To::Written(new_upstream(&self.upstreams))),
                (None, true) => Err(Failure::usage(format!(
                    "{environment} does not serve {} yet: say where its requests go with --upstream",
                    self.api
                ))),
            };
        };
        let now = match &bound.spec.upstream {
            Some(name) => observed.upstreams.get(name).map(|found| &found.spec),
            None => observed
                .served_by(bound)
                .and_then(|revision| revision.upstreams.get(revision.spec.upstream.as_ref()?)),
        };
        let Some(now) = now else {
            return Err(changed(format!("Binding {} was changed while it was read", bound.name)));
        };
        if self.upstreams.is_empty() && bound.spec.upstream.is_some() {
            return Ok(To::Kept(now));
        }
        let present = upstream::of_environment(now, environment);
        if self.upstreams.is_empty() {
            return Ok(To::Written(present));
        }
        upstream::replaced(&present, &self.upstreams, regions, environment).map(To::Written)
    }

    /// Refuses to change an Upstream that Bindings use which the operator did not name.
    fn check_shared(
        &self,
        observed: &Observed,
        target: Option<&Bound>,
        made: &Name,
        upstream: &UpstreamSpec,
        written: &BTreeSet<Name>,
    ) -> Result<(), Failure> {
        if observed.upstreams.get(made).is_none_or(|found| found.spec == *upstream) {
            return Ok(());
        }
        let is_named =
            |bound: &Bound| bound.spec.api == self.api && self.also.contains(&bound.spec.environment);
        let others = self.others(observed, made, target, written).into_iter();
        let others: Vec<String> = others
            .filter(|bound| !is_named(bound))
            .map(|bound| format!("{} ({})", bound.name, bound.spec.environment))
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(blocked(
            format!("Upstream {made} is used elsewhere, too, and would change there: {}", others.join(", ")),
            "have those Bindings name another Upstream first, or move an Environment of this Api with --also",
        ))
    }

    /// Whether callers of it need an API key.
    pub(crate) fn asks_for_key(&self, observed: &Observed) -> bool {
        self.api(observed).security.api_key.is_some()
    }

    /// The Api with the new operations. It keeps what no document says: hosts, policies, lifecycle and limits, and what an
    /// operator added to each operation.
    fn api(&self, observed: &Observed) -> ApiSpec {
        let mut spec = match &observed.api {
            Some(Found { spec, .. }) => spec.clone(),
            None => fresh(&json!({
                "context": "", "version": FIRST_VERSION, "operations": [], "security": SecuritySpec::from(ApiKeySpec::default()),
            })),
        };
        spec.context.clone_from(&self.context);
        if let Some(version) = &self.offered.version {
            spec.version.clone_from(version);
        }
        spec.operations = merged(&self.offered.operations, std::mem::take(&mut spec.operations));
        if let Some(security) = &self.security {
            spec.security = security.clone();
        }
        spec
    }
}

/// Where an Environment sends requests.
enum To<'a> {
    /// To an Upstream that stays as it is.
    Kept(&'a UpstreamSpec),
    /// To the Upstream that the import writes.
    Written(UpstreamSpec),
}

impl To<'_> {
    fn spec(&self) -> Option<&UpstreamSpec> {
        match self {
            Self::Kept(spec) => Some(spec),
            Self::Written(spec) => Some(spec),
        }
    }
}

fn new_binding(api: &Name, environment: &Name) -> BindingSpec {
    fresh(&json!({"api": api, "environment": environment}))
}

fn new_upstream(given: &[UpstreamArg]) -> UpstreamSpec {
    fresh(&json!({"endpoints": upstream::endpoints(given)}))
}

/// A spec that says this, and has defaults for the rest.
fn fresh<T: Part>(said: &Value) -> T {
    let spec = Spec::from_json(T::KIND, said).ok().and_then(T::of);
    spec.expect("every field without a default is said")
}

/// The document's operations with what an operator had added to those that match the same requests; then, to those that matched
/// them before `--greedy` widened or narrowed their last parameter.
fn merged(offered: &[OperationSpec], kept: Vec<OperationSpec>) -> Vec<OperationSpec> {
    let narrow = |operation: &OperationSpec| {
        same(&OperationSpec { path: operation.path.replace("+}", "}"), ..operation.clone() })
    };
    let mut own: HashMap<_, OperationSpec> =
        kept.into_iter().map(|operation| (same(&operation), operation)).collect();
    let exact: Vec<_> = offered.iter().map(|operation| own.remove(&same(operation))).collect();
    let mut others: HashMap<_, OperationSpec> =
        own.into_values().map(|operation| (narrow(&operation), operation)).collect();
    let with_own = |(operation, own): (&OperationSpec, Option<OperationSpec>)| match own
        .or_else(|| others.remove(&narrow(operation)))
    {
        Some(own) => {
            OperationSpec { path: operation.path.clone(), id: operation.id.clone().or(own.id.clone()), ..own }
        }
        None => operation.clone(),
    };
    offered.iter().zip(exact).map(with_own).collect()
}
