//! Failover by hand: each operation judges, and writes one decision at the revision that it was judged at.

mod history;

use std::time::Duration;

use axum::response::Response;
use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec, kinds::DrainSpec, manifest};
use hanse_state::{Action, Change, CommandBody, State, judge, readiness_spec};
use hanse_steering::{Action as Shift, Epoch, FailoverPlan, Refusal, Request, Verdict, rules, shift};
use hanse_topology::{Labels, Name};
use http::StatusCode;
use serde::de::DeserializeOwned;
use utoipa_axum::routes;

use crate::{
    answer::{
        Applied, Decision, DrainRequest, FailbackRequest, FailoverHistory, FailoverRequest, FreezeRequest,
        PlanReadiness, Proposal, RegionReadiness, UndrainRequest,
    },
    apply::answer_applied,
    approvals,
    call::{CONSISTENCY, Call, MIN_REVISION},
    names::not_found,
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
};

/// What a decision says of `propose`.
const PROPOSE: &str =
    "Change nothing: keep the decision for the approval of a second owner. The reason says why";

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        routes!(failover),
        routes!(failback),
        routes!(freeze),
        routes!(unfreeze),
        routes!(plan_readiness),
        routes!(failover_history),
        routes!(drain),
        routes!(undrain),
    ]
}

/// Leads the clients of a FailoverPlan to another region
///
/// The region is judged first. One that is not ready is refused, unless `force` says why it is to be.
#[utoipa::path(post, path = "/v1/failover-plans/{name}/failover", tag = "federation", extensions(("x-hanse-access" = json!("write FailoverPlan"))),
    params(("name" = String, Path, description = "The plan"), ("propose" = Option<bool>, Query, description = PROPOSE)),
    request_body(content = FailoverRequest, description = "Where to, and why"),
    responses(
        (status = 200, body = Decision, description = "What was decided"),
        (status = 202, body = Proposal, description = "With `propose`: the proposal, which waits for an approval"),
        refusal::ApprovalNeeded, refusal::NotFound, refusal::Conflict, refusal::Stale, refusal::Invalid))]
async fn failover(mut call: Call) -> Result<Response, Rejection> {
    let FailoverRequest { reason, to, steps, force, expects } =
        read(&mut call, "{\"reason\": \"eu-west is down\", \"to\": \"us-east\"}").await?;
    decide(call, &reason, expects, |plan| Ok(Wanted::Shift { to: target(plan, to)?, steps, force })).await
}

/// Leads the clients of a FailoverPlan back to its active region
#[utoipa::path(post, path = "/v1/failover-plans/{name}/failback", tag = "federation", extensions(("x-hanse-access" = json!("write FailoverPlan"))),
    params(("name" = String, Path, description = "The plan"), ("propose" = Option<bool>, Query, description = PROPOSE)),
    request_body(content = FailbackRequest, description = "Why"),
    responses(
        (status = 200, body = Decision, description = "What was decided"),
        (status = 202, body = Proposal, description = "With `propose`: the proposal, which waits for an approval"),
        refusal::ApprovalNeeded, refusal::NotFound, refusal::Conflict, refusal::Stale, refusal::Invalid))]
async fn failback(mut call: Call) -> Result<Response, Rejection> {
    let FailbackRequest { reason, steps, force, expects } =
        read(&mut call, "{\"reason\": \"eu-west is back\"}").await?;
    decide(call, &reason, expects, |plan| Ok(Wanted::Shift { to: plan.active.clone(), steps, force })).await
}

/// Lets nothing of a FailoverPlan move, not with force either
#[utoipa::path(post, path = "/v1/failover-plans/{name}/freeze", tag = "federation", extensions(("x-hanse-access" = json!("write FailoverPlan"))),
    params(("name" = String, Path, description = "The plan"), ("propose" = Option<bool>, Query, description = PROPOSE)),
    request_body(content = FreezeRequest, description = "Why"),
    responses(
        (status = 200, body = Decision, description = "What was decided"),
        (status = 202, body = Proposal, description = "With `propose`: the proposal, which waits for an approval"),
        refusal::ApprovalNeeded, refusal::NotFound, refusal::Conflict, refusal::Stale, refusal::Invalid))]
async fn freeze(mut call: Call) -> Result<Response, Rejection> {
    let FreezeRequest { reason, expects } = read(&mut call, "{\"reason\": \"we look into it\"}").await?;
    decide(call, &reason, expects, |_| Ok(Wanted::Freeze)).await
}

/// Ends a freeze: a shift goes on where it was
#[utoipa::path(post, path = "/v1/failover-plans/{name}/unfreeze", tag = "federation", extensions(("x-hanse-access" = json!("write FailoverPlan"))),
    params(("name" = String, Path, description = "The plan"), ("propose" = Option<bool>, Query, description = PROPOSE)),
    request_body(content = FreezeRequest, description = "Why"),
    responses(
        (status = 200, body = Decision, description = "What was decided"),
        (status = 202, body = Proposal, description = "With `propose`: the proposal, which waits for an approval"),
        refusal::ApprovalNeeded, refusal::NotFound, refusal::Conflict, refusal::Stale, refusal::Invalid))]
async fn unfreeze(mut call: Call) -> Result<Response, Rejection> {
    let FreezeRequest { reason, expects } = read(&mut call, "{\"reason\": \"it was the database\"}").await?;
    decide(call, &reason, expects, |_| Ok(Wanted::Unfreeze)).await
}

/// Which regions of a FailoverPlan could take over now, rule by rule
#[utoipa::path(get, path = "/v1/failover-plans/{name}/readiness", tag = "federation", extensions(("x-hanse-access" = json!("read FailoverPlan"))),
    params(
        ("name" = String, Path, description = "The plan"),
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = PlanReadiness, description = "Its regions"), refusal::NotFound))]
async fn plan_readiness(call: Call) -> Result<Response, Rejection> {
    let state = call.read_state().await?;
    let name = call.name("name")?;
    let plan = plan_of(&call, &state, &name)?;
    let (standbys, now) = (call.api.fleet.standbys(&name).await, now(&call));
    let decided = state.decided(&name);
    let percent = |region: &Name| match &decided {
        Some(decided) => decided.failover().percent(region),
        None if *region == plan.active => hanse_topology::WHOLE_PERCENT,
        None => 0,
    };
    let regions = std::iter::once(&plan.active).chain(&plan.standby);
    let regions = regions.map(|region| {
        let judged = judge(&standbys, &name, region, now);
        let verdict = readiness_of(judged.verdict());
        let rules = judged.findings().iter().map(readiness_spec).collect();
        RegionReadiness { region: region.to_string(), percent: percent(region), verdict, rules }
    });
    let answer = PlanReadiness {
        plan: name.to_string(),
        epoch: decided.as_ref().map(|decided| decided.epoch().to_string()),
        regions: regions.collect(),
        waits: state.next_step(&name, &standbys, now).and_then(Result::err).map(|why| why.to_string()),
        revision: state.revision(),
    };
    Ok(json(StatusCode::OK, answer.revision, &answer))
}

/// What was decided about a FailoverPlan: who, when, why, and what it was
///
/// As far as the audit log has it: `hanse audit export` writes the entries that are dropped into a file.
#[utoipa::path(get, path = "/v1/failover-plans/{name}/history", tag = "federation", extensions(("x-hanse-access" = json!("read FailoverPlan"))),
    params(
        ("name" = String, Path, description = "The plan"),
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = FailoverHistory, description = "The newest first"), refusal::NotFound))]
async fn failover_history(call: Call) -> Result<Response, Rejection> {
    let state = call.read_state().await?;
    let name = call.name("name")?;
    plan_of(&call, &state, &name)?;
    Ok(call.answer(StatusCode::OK, move || (state.revision(), history::of(&state, &name))).await?)
}

/// Leads no new clients to a region
///
/// It is refused while a host would be served nowhere: then a FailoverPlan is failed over first.
#[utoipa::path(post, path = "/v1/regions/{name}/drain", tag = "federation", extensions(("x-hanse-access" = json!("write Region"))),
    params(("name" = String, Path, description = "The region"), ("propose" = Option<bool>, Query, description = PROPOSE)),
    request_body(content = DrainRequest, description = "Why"),
    responses(
        (status = 200, body = Applied, description = "It is drained"),
        (status = 202, body = Proposal, description = "With `propose`: the proposal, which waits for an approval"),
        refusal::ApprovalNeeded, refusal::NotFound, refusal::Conflict, refusal::Stale, refusal::Invalid))]
async fn drain(mut call: Call) -> Result<Response, Rejection> {
    let DrainRequest { reason, force } = read(&mut call, "{\"reason\": \"new racks\"}").await?;
    let state = call.read_latest().await?;
    let (region, key) = drain_of(&call, &state)?;
    if state.get(&key).is_some() {
        return Err(conflict(format!("{region} is drained already"), "nothing is to be done").into());
    }
    let spec = Spec::Drain(DrainSpec { reason: reason.clone(), forced: force });
    let action = Action::Put { labels: Labels::default(), spec, protected: None };
    write(call, state, Change { key, action, if_revision: Some(0) }, &reason).await
}

/// Ends the drain of a region
#[utoipa::path(post, path = "/v1/regions/{name}/undrain", tag = "federation", extensions(("x-hanse-access" = json!("write Region"))),
    params(("name" = String, Path, description = "The region"), ("propose" = Option<bool>, Query, description = PROPOSE)),
    request_body(content = UndrainRequest, description = "Why"),
    responses(
        (status = 200, body = Applied, description = "It gets clients again"),
        (status = 202, body = Proposal, description = "With `propose`: the proposal, which waits for an approval"),
        refusal::ApprovalNeeded, refusal::NotFound, refusal::Conflict, refusal::Stale))]
async fn undrain(mut call: Call) -> Result<Response, Rejection> {
    let UndrainRequest { reason } = read(&mut call, "{\"reason\": \"the racks are there\"}").await?;
    let state = call.read_latest().await?;
    let (region, key) = drain_of(&call, &state)?;
    let Some(present) = state.get(&key).map(|drain| drain.metadata.revision) else {
        return Err(conflict(format!("{region} is not drained"), "nothing is to be done").into());
    };
    let action = Action::Delete { cascade: false };
    write(call, state, Change { key, action, if_revision: Some(present) }, &reason).await
}

/// What an operator wants of a plan.
enum Wanted {
    Shift { to: Name, steps: Option<Vec<u8>>, force: Option<String> },
    Freeze,
    Unfreeze,
}

/// Judges and writes a decision.
async fn decide(
    mut call: Call,
    reason: &str,
    expects: Option<String>,
    wanted: impl FnOnce(&FailoverPlan) -> Result<Wanted, Problem>,
) -> Result<Response, Rejection> {
    given(reason)?;
    let state = call.read_latest().await?;
    let name = call.name("name")?;
    let plan = plan_of(&call, &state, &name)?;
    let at = state.decided(&name);
    let present = at.as_ref().map_or(Epoch::NONE, |decided| decided.epoch());
    let on = expects.map_or(Ok(present), |text| epoch_of(&text))?;
    let now = now(&call);
    let action = match wanted(&plan)? {
        Wanted::Shift { to, steps, force } => {
            let to = judge(&call.api.fleet.standbys(&name).await, &name, &to, now);
            Shift::Shift { to, steps, reason: reason.to_owned(), force, drill: None }
        }
        Wanted::Freeze => Shift::Freeze { reason: reason.to_owned() },
        Wanted::Unfreeze => Shift::Unfreeze,
    };
    let decision = shift(&plan, at.as_ref(), &Request { action, on }, now).map_err(refused)?;
    let change = state.to_decide(&name, &decision);
    call.check_changes(std::slice::from_ref(&change))?;
    call.decide(reason);
    if call.flag("propose") {
        return approvals::propose(&call, vec![change], reason).await;
    }
    let Action::Put { spec: Spec::Failover(made), .. } = change.action.clone() else {
        return Err(Problem::new(ProblemName::Internal, "a decision is no Failover").into());
    };
    let (accepted, _) = call.propose(CommandBody::Apply(vec![change])).await?;
    // What was written, and not what is there now: another decision may have come since.
    let generation = state.lineage().map_or(0, |lineage| lineage.generation);
    let epoch = Epoch { generation, revision: accepted.revision };
    let unknown = decision.readiness.iter().filter(|finding| finding.verdict == Verdict::Unknown);
    let answer = Decision {
        plan: name.to_string(),
        epoch: epoch.to_string(),
        decision: made,
        warnings: unknown.map(|finding| format!("{}: {}", finding.rule, finding.why)).collect(),
        revision: accepted.revision,
    };
    Ok(json(StatusCode::OK, answer.revision, &answer))
}

/// Judges the regions anew that Failovers lead clients to, as a proposal may have waited for long. Says when, in Unix milliseconds, and
/// refuses a region that is not ready by now, unless the Failover is forced.
pub(crate) async fn judge_anew(call: &Call, state: &State, changes: &[Change]) -> Result<u64, Problem> {
    let judged_ms = call.api.clock.now_ms();
    let now = Duration::from_millis(judged_ms);
    for Change { key, action, .. } in changes {
        let Action::Put { spec: Spec::Failover(proposed), .. } = action else { continue };
        let (name, at) = (&key.name, state.decided(&key.name));
        let serves = |region: &Name| state.shares_of(name).get(region).copied().unwrap_or_default();
        let moves = proposed.serving.iter().any(|one| one.percent != serves(&one.region));
        let (true, Some(plan)) = (moves, state.plan_to_decide(name)) else { continue };
        let action = Shift::Shift {
            to: judge(&call.api.fleet.standbys(name).await, name, &proposed.to, now),
            steps: Some(proposed.steps.clone()),
            reason: proposed.reason.clone(),
            force: proposed.forced.clone(),
            drill: proposed.drill.clone(),
        };
        let on = at.as_ref().map_or(Epoch::NONE, |decided| decided.epoch());
        shift(&plan, at.as_ref(), &Request { action, on }, now)
            .map_err(|refusal| refused(refusal).at(key.to_string()))?;
    }
    Ok(judged_ms)
}

/// Writes what was decided about a region.
async fn write(mut call: Call, before: State, change: Change, reason: &str) -> Result<Response, Rejection> {
    given(reason)?;
    call.check_changes(std::slice::from_ref(&change))?;
    call.decide(reason);
    if call.flag("propose") {
        return approvals::propose(&call, vec![change], reason).await;
    }
    let (accepted, warnings) = call.propose(CommandBody::Apply(vec![change])).await?;
    answer_applied(&call, before, accepted, warnings).await
}

/// The body, as JSON. `example`: one that is good.
async fn read<T: DeserializeOwned + Send + 'static>(
    call: &mut Call,
    example: &'static str,
) -> Result<T, Problem> {
    let read = move |bytes: &[u8]| {
        T::deserialize(&manifest::json_value(bytes)?).map_err(|error| {
            bad_request(format!("the request cannot be read: {error}"))
                .at("body")
                .remedy(format!("send {example}"))
        })
    };
    call.parse(read).await
}

fn given(reason: &str) -> Result<(), Problem> {
    if !reason.trim().is_empty() {
        return Ok(());
    }
    let problem = Problem::new(ProblemName::Invalid, "no reason is given");
    Err(problem.at("reason").remedy("say in a few words why: months later the record shows it"))
}

fn plan_of(call: &Call, state: &State, name: &Name) -> Result<FailoverPlan, Problem> {
    state.plan_to_decide(name).ok_or_else(|| {
        not_found(&ResourceKey::global(Kind::FailoverPlan, name.clone()), state, call.bounds_of_sight())
    })
}

/// The region of the path, and the key of its Drain.
fn drain_of(call: &Call, state: &State) -> Result<(Name, ResourceKey), Problem> {
    let region = call.name("name")?;
    let key = ResourceKey::global(Kind::Region, region.clone());
    match state.get(&key) {
        Some(_) => Ok((region.clone(), ResourceKey::global(Kind::Drain, region))),
        None => Err(not_found(&key, state, call.bounds_of_sight())),
    }
}

/// The region that a failover leads to.
fn target(plan: &FailoverPlan, to: Option<String>) -> Result<Name, Problem> {
    let invalid =
        |detail: String, remedy: String| Problem::new(ProblemName::Invalid, detail).at("to").remedy(remedy);
    match (to, &*plan.standby) {
        (Some(to), _) => {
            Name::new(&to).map_err(|error| invalid(error.to_string(), "name a region".to_owned()))
        }
        (None, [only]) => Ok(only.clone()),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(Name::as_str).collect();
            Err(invalid(
                "no region is named, and the plan has several".to_owned(),
                format!("name one of {}", names.join(", ")),
            ))
        }
    }
}

fn now(call: &Call) -> Duration {
    Duration::from_millis(call.api.clock.now_ms())
}

fn epoch_of(text: &str) -> Result<Epoch, Problem> {
    text.parse().map_err(|_| {
        let detail = format!("{text:?} is no epoch");
        Problem::new(ProblemName::Invalid, detail).at("expects").remedy("write it as it is shown: 1/42")
    })
}

fn conflict(detail: String, remedy: &str) -> Problem {
    Problem::new(ProblemName::Conflict, detail).remedy(remedy)
}

/// Why a plan does not move, at the field of the request that could say otherwise.
fn refused(Refusal { rule, why, remedy }: Refusal) -> Problem {
    let (name, field) = match rule {
        rules::REASON => (ProblemName::Invalid, "reason"),
        rules::STEPS => (ProblemName::Invalid, "steps"),
        rules::UNKNOWN_REGION => (ProblemName::Invalid, "to"),
        rules::OLD_EPOCH => (ProblemName::Stale, "expects"),
        rules::NOT_READY => (ProblemName::Conflict, "force"),
        _of_the_plan => (ProblemName::Conflict, ""),
    };
    let problem = Problem::new(name, format!("{rule}: {why}")).remedy(remedy);
    if field.is_empty() { problem } else { problem.at(field) }
}

fn readiness_of(verdict: Verdict) -> hanse_management::kinds::ReadinessVerdict {
    use hanse_management::kinds::ReadinessVerdict;
    match verdict {
        Verdict::Ready => ReadinessVerdict::Ready,
        Verdict::Unknown => ReadinessVerdict::Unknown,
        Verdict::NotReady => ReadinessVerdict::NotReady,
    }
}
