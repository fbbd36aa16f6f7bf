//! Which changes need a second owner: those of a guarded Environment, and those of a guarded FailoverPlan.
//!
//! An Environment is guarded while it has `approval`, by the state before the change. A change concerns it in three ways: it changes the
//! Environment itself; it changes a HostGrant, an Origin or a GlobalHost that names it, before or after; or it changes a Binding there, or
//! what that Binding serves. For example, a new Upstream address of a Binding changes what the Binding serves.
//!
//! A FailoverPlan is guarded while it has `approval`, by the state before the change. A change concerns it if it changes the plan itself,
//! its Failover, or one of its Drills, or if it begins or ends the Drain of a region that has clients of it. A FailoverPlan also concerns
//! the Environment of its hosts, as a GlobalHost does.
//!
//! What follows from a decision that two owners made needs no third one, if a control node does it by itself. It is four things: the next
//! step of the present Failover, a later phase of a Drill that runs, a Failover of a Drill that runs, and a new Drill by the schedule of a
//! guarded plan: who changes that schedule needs a second owner.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{DrillPhase, DrillSpec, FailoverSpec},
};
use hanse_topology::Name;

use crate::{Resource, State};

/// What needs a second owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guarded {
    /// The guarded Environments.
    pub environments: BTreeSet<Name>,
    /// The guarded FailoverPlans.
    pub plans: BTreeSet<Name>,
}

impl Guarded {
    /// Whether nothing needs one.
    pub fn is_empty(&self) -> bool {
        self.environments.is_empty() && self.plans.is_empty()
    }

    /// As they are named: `Environment production`.
    pub(crate) fn keys(&self) -> Vec<ResourceKey> {
        let environments = self.environments.iter().cloned().map(|name| (Kind::Environment, name));
        let plans = self.plans.iter().cloned().map(|name| (Kind::FailoverPlan, name));
        environments.chain(plans).map(|(kind, name)| ResourceKey::global(kind, name)).collect()
    }
}

/// Who decided about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// An operator.
    Operator,
    /// A control node by itself: what follows from an earlier decision.
    Node,
}

/// What a change concerns that needs a second owner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Concerned {
    /// The guarded Environments and FailoverPlans.
    pub(crate) guarded: Guarded,
    /// The Bindings of these Environments that are changed, or serve something else.
    pub(crate) bindings: BTreeSet<ResourceKey>,
}

/// What a change concerns. `affected`: the resources that it put or deleted, and the Bindings whose meaning depends on them.
pub(crate) fn concerned(
    before: &State,
    next: &State,
    affected: &BTreeSet<ResourceKey>,
    author: Author,
) -> Concerned {
    let mut concerned = Concerned::default();
    concerned.guarded.plans = plans(before, next, affected, author);
    let guards = Guards::of(before);
    if guards.0.is_empty() {
        return concerned;
    }
    for key in affected {
        let environments = guards.concerned(before, next, key);
        if environments.is_empty() {
            continue;
        }
        concerned.guarded.environments.extend(environments.into_iter().cloned());
        if key.kind == Kind::Binding {
            concerned.bindings.insert(key.clone());
        }
    }
    concerned
}

/// The guarded FailoverPlans that a change concerns.
fn plans(before: &State, next: &State, affected: &BTreeSet<ResourceKey>, author: Author) -> BTreeSet<Name> {
    let is_guarded = |plan: &Name| before.failover_plan(plan).is_some_and(|spec| spec.approval);
    let decided = affected.iter().filter(|key| !(author == Author::Node && follows(before, next, key)));
    decided.flat_map(|key| plans_of(before, next, key)).filter(is_guarded).collect()
}

/// The FailoverPlans that a resource is, or is a decision about.
fn plans_of(before: &State, next: &State, key: &ResourceKey) -> Vec<Name> {
    match key.kind {
        Kind::FailoverPlan | Kind::Failover => vec![key.name.clone()],
        Kind::Drill => {
            let drill = [before, next].into_iter().find_map(|state| state.drill(&key.name));
            drill.map(|drill| drill.plan.clone()).into_iter().collect()
        }
        Kind::Drain if before.is_drained(&key.name) != next.is_drained(&key.name) => {
            let all = before.list(Kind::FailoverPlan, None).map(|plan| &plan.key.name);
            all.filter(|plan| before.shares_of(plan).contains_key(&key.name)).cloned().collect()
        }
        // No other kind is about a plan, and a Drain with another reason leaves its clients where they are.
        _other => Vec::new(),
    }
}

/// Whether a change follows from what was decided before, so that a control node may make it by itself.
fn follows(before: &State, next: &State, key: &ResourceKey) -> bool {
    match key.kind {
        Kind::Failover => next.failover(&key.name).is_some_and(|is| {
            let was = before.failover(&key.name);
            was.is_some_and(|was| is.continues(was)) || is_of_drill(before, &key.name, was, is)
        }),
        Kind::Drill => next.drill(&key.name).is_some_and(|is| match before.drill(&key.name) {
            Some(was) => is.continues(was),
            None => is_scheduled(before, is),
        }),
        // Nodes decide about no other kind.
        _other => false,
    }
}

/// Whether a Drill that runs decided a Failover. It waits for the end of a freeze, and neither begins nor ends one.
fn is_of_drill(before: &State, plan: &Name, was: Option<&FailoverSpec>, is: &FailoverSpec) -> bool {
    let drill = is.drill.as_ref().and_then(|drill| before.drill(drill));
    let is_frozen = is.frozen.is_some() || was.is_some_and(|was| was.frozen.is_some());
    drill.is_some_and(|drill| drill.runs() && drill.plan == *plan) && !is_frozen
}

/// Whether a new Drill is one of its plan's schedule. No other Drill of the plan may run.
fn is_scheduled(before: &State, drill: &DrillSpec) -> bool {
    let is_planned = before.failover_plan(&drill.plan).is_some_and(|plan| plan.drill.is_some());
    let is_begun = drill.scheduled && drill.phase == DrillPhase::Preflight && drill.report.is_none();
    let runs = |other: &Resource| match &other.spec {
        Spec::Drill(other) => other.plan == drill.plan && other.runs(),
        _not_listed => false,
    };
    is_planned && is_begun && !before.list(Kind::Drill, None).any(|other| runs(other))
}

/// The guarded Environments.
struct Guards<'a>(BTreeSet<&'a Name>);

impl<'a> Guards<'a> {
    fn of(state: &'a State) -> Self {
        let is_guarded = |environment: &Resource| match &environment.spec {
            Spec::Environment(spec) => spec.approval.is_some(),
            _not_listed => false,
        };
        let all = state.list(Kind::Environment, None);
        Self(all.filter(|found| is_guarded(found)).map(|found| &found.key.name).collect())
    }

    /// Those that what happened to one resource concerns.
    fn concerned(&self, before: &State, next: &State, key: &ResourceKey) -> BTreeSet<&'a Name> {
        let sides = [before, next];
        let guarded = |named: Vec<&Name>| -> BTreeSet<&'a Name> {
            named.into_iter().filter_map(|name| self.0.get(name).copied()).collect()
        };
        match key.kind {
            Kind::Environment => guarded(vec![&key.name]),
            Kind::HostGrant => {
                let specs = sides.into_iter().filter_map(|state| state.host_grant_spec(key));
                guarded(specs.flat_map(|spec| &spec.environments).collect())
            }
            Kind::Origin => {
                let specs = sides.into_iter().filter_map(|state| state.origin_spec(key));
                guarded(specs.flat_map(|spec| &spec.environments).collect())
            }
            Kind::GlobalHost => {
                let specs = sides.into_iter().filter_map(|state| state.global_host(&key.name));
                guarded(specs.map(|spec| &spec.environment).collect())
            }
            Kind::FailoverPlan => {
                let specs = sides.into_iter().flat_map(|state| {
                    let plan = state.failover_plan(&key.name);
                    plan.into_iter().flat_map(|plan| &plan.hosts).filter_map(|host| state.global_host(host))
                });
                guarded(specs.map(|spec| &spec.environment).collect())
            }
            Kind::Binding => {
                let named = sides.into_iter().filter_map(|state| environment_of(state.get(key)?));
                let guarded = guarded(named.collect());
                // What it serves is looked at last: most Bindings of a change are in no guarded Environment.
                if guarded.is_empty() || is_another(before, next, key) { guarded } else { BTreeSet::new() }
            }
            // Those that change what a Binding serves are found by the Binding.
            _other => BTreeSet::new(),
        }
    }
}

fn environment_of(binding: &Resource) -> Option<&Name> {
    if let Spec::Binding(spec) = &binding.spec { Some(&spec.environment) } else { None }
}

/// Whether a Binding is another one than before, or serves something else.
fn is_another(before: &State, next: &State, key: &ResourceKey) -> bool {
    let revision = |state: &State| state.get(key).map(|binding| binding.metadata.revision);
    match (before.serving(key), next.serving(key)) {
        (Some(was), Some(is)) => revision(before) != revision(next) || !was.is_same(&is),
        (was, is) => was.is_some() != is.is_some(),
    }
}
