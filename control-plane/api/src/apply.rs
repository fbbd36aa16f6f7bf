//! `POST /v1/apply`: many changes at once, all or none.

mod prune;
mod request;

use std::collections::BTreeSet;

use axum::response::Response;
use hanse_management::{
    Problem, Revision,
    manifest::{Expected, Request},
};
use hanse_state::{
    Accepted, Action, Attempt, Change, ChangeResult, CommandBody, Guarded, State,
    admission::{Seal, Warning, Writer, admit},
    port::ScopeEffect,
    projection,
};
use hanse_topology::{Labels, Name};
use http::StatusCode;
use tokio::time::timeout;
use utoipa_axum::routes;

use crate::{
    answer::{self, Applied, ApplyRequest, Proposal},
    approvals, body,
    call::{Call, FORCE_GRANTS},
    names::with_names,
    openapi::refusal,
    rejection::{Rejection, bad_request},
    resource::changes,
    routes::Route,
    warnings::Warnings,
};

/// The owner of resources that name none, unless the request says otherwise.
const DEFAULT_ORGANIZATION: &str = "default";

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(apply)]
}

/// Makes many changes in one revision, all or none
#[utoipa::path(post, path = "/v1/apply", tag = "federation", extensions(("x-hanse-access" = json!("apply"))),
    params(
        ("dryRun" = Option<bool>, Query, description = "Say what would happen and change nothing"),
        ("prune" = Option<bool>, Query, description = "Also delete resources that match `selector`, are of a kind and \
            organization (or global) that the request mentions, and are not in the request"),
        ("selector" = Option<String>, Query, description = "With `prune`: the labels of what may be deleted, `k=v,k=v`"),
        ("forceGrants" = Option<bool>, Query, description = FORCE_GRANTS),
        ("propose" = Option<String>, Query, description = "Change nothing: keep the changes for the approval of a second owner. \
            The value says why, in a line. Not with `prune`"),
        ("organization" = Option<String>, Query,
            description = "The owner of resources that name none; default `default`")),
    request_body(description = "JSON, or YAML documents; at most 16 MiB",
        content((ApplyRequest = "application/json"), (String = "application/yaml"))),
    responses(
        (status = 200, body = Applied, description = "What happened, or would happen"),
        (status = 202, body = Proposal, description = "With `propose`: the proposal, which waits for an approval"),
        refusal::ApprovalNeeded, refusal::Stale, refusal::TooLarge, refusal::Invalid, refusal::Upgrade))]
async fn apply(mut call: Call) -> Result<Response, Rejection> {
    let organization =
        Name::new(call.text("organization").unwrap_or(DEFAULT_ORGANIZATION)).map_err(|error| {
            bad_request(error.to_string()).at("query: organization").remedy("give an organization's name")
        })?;
    let selector = selector(&call)?;
    let format = body::format(&call.headers)?;
    let read = move |bytes: &[u8]| Ok(to_changes(request::read(format, bytes, &organization)?));
    let mut changes = call.parse(read).await?;
    call.check_changes(&changes)?;

    if call.flag("dryRun") {
        if call.text("propose").is_some() {
            return Err(bad_request("a dry run proposes nothing")
                .at("query: propose")
                .remedy("leave it out: the answer says in `needsApproval` whether an approval is needed")
                .into());
        }
        let state = call.read_latest().await?;
        if let Some(selector) = selector {
            changes.extend(prune::deletes(&state, &changes, &selector));
        }
        return dry_run(&call, state, changes).await;
    }
    if let Some(selector) = selector {
        if call.text("propose").is_some() {
            return Err(bad_request("prune looks at what is there, so a request that is sent again may propose something else")
                .at("query: prune")
                .remedy("leave it out, and name in `delete` what is to be deleted, as hanse apply --owner NAME --prune does")
                .into());
        }
        if call.idempotency_key()?.is_some() {
            return Err(bad_request(
                "prune looks at what is there, so an Idempotency-Key would not fit it twice",
            )
            .at("header: Idempotency-Key")
            .remedy("leave it out: applying the same resources again changes nothing")
            .into());
        }
        let state = call.read_latest().await?;
        changes.extend(prune::deletes(&state, &changes, &selector));
    }
    if let Some(reason) = call.text("propose") {
        return approvals::propose(&call, changes, reason).await;
    }
    let before = call.api.replicated.current();
    let (accepted, warnings) = call.propose(CommandBody::Apply(changes)).await?;
    call.worked();
    answer_applied(&call, before, accepted, warnings).await
}

/// Says what a committed change did to `before`.
pub(crate) async fn answer_applied(
    call: &Call,
    before: State,
    accepted: Accepted,
    warnings: Vec<Warning>,
) -> Result<Response, Rejection> {
    let effects = effects(call, &accepted).await;
    let after = call.api.replicated.current();
    let sight = call.bounds_of_sight().cloned();
    let write = move || {
        let warnings = Warnings::of(warnings, &before, &after, &accepted.changes, sight.as_ref());
        (accepted.revision, applied(&accepted, effects.as_deref(), &warnings))
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// What `prune` may delete; `None` without it.
fn selector(call: &Call) -> Result<Option<Labels>, Problem> {
    let labels = call.labels("selector")?;
    match (call.flag("prune"), call.text("selector"), labels.is_empty()) {
        (true, Some(_), false) => Ok(Some(labels)),
        (true, _, _) => {
            Err(bad_request("prune needs to know what it may delete").at("query: selector").remedy(
                "label the resources of one origin and name the labels: prune=true&selector=origin=shop",
            ))
        }
        (false, Some(_), _) => Err(bad_request("a selector means nothing without prune")
            .at("query: selector")
            .remedy("add prune=true")),
        (false, None, _) => Ok(None),
    }
}

/// The changes that make the request true.
fn to_changes(request: Request) -> Vec<Change> {
    let Request { resources, delete, expects } = request;
    let mut changes: Vec<Change> = resources.into_iter().map(Change::from).collect();
    changes.extend(delete.into_iter().map(|Expected { key, revision, .. }| Change {
        key,
        action: Action::Delete { cascade: false },
        if_revision: Some(revision),
    }));
    changes.extend(expects.into_iter().map(|Expected { key, revision, api_revision }| Change {
        key,
        action: Action::Expect { api_revision },
        if_revision: Some(revision),
    }));
    changes
}

/// What changes would do.
pub(crate) struct Tried {
    /// The revision of the state that they were tried on.
    pub(crate) base: Revision,
    /// What they would do.
    pub(crate) accepted: Accepted,
    effects: Vec<ScopeEffect>,
    /// What they would be answered with.
    pub(crate) warnings: Warnings,
    /// What they need an approval for.
    pub(crate) guarded: Guarded,
}

/// Makes changes in a copy.
pub(crate) async fn attempt(call: &Call, before: State, changes: Vec<Change>) -> Result<Tried, Problem> {
    let command = call.command_of(CommandBody::Apply(changes), None);
    let sight = call.bounds_of_sight().cloned();
    let sealing = call.api.sealing.clone();
    let tried = move || {
        let admitted =
            admit(command, before.version(), Writer::Operator, Seal { state: &before, by: &*sealing })?;
        let missing = before.missing_in(&admitted.command().body);
        match before.attempt(admitted.command()) {
            Ok(Attempt { next: after, accepted, guarded }) => {
                let effects = projection::preview(&before, &after);
                let (warnings, changes) = (admitted.warnings().to_vec(), &accepted.changes);
                let warnings = Warnings::of(warnings, &before, &after, changes, sight.as_ref());
                Ok(Tried { base: before.revision(), accepted, effects, warnings, guarded })
            }
            Err(problem) => Err(with_names(problem, &missing, &before, sight.as_ref())),
        }
    };
    call.api.bounds.answer(tried).await?
}

/// Applies to a copy and says what that did.
async fn dry_run(call: &Call, before: State, changes: Vec<Change>) -> Result<Response, Rejection> {
    let Tried { base, accepted, effects, warnings, guarded } = attempt(call, before, changes).await?;
    // Nothing was written, so the revision is that of the state it was tried on.
    let write = move || {
        let accepted = Accepted { revision: base, ..accepted };
        let applied = applied(&accepted, Some(&effects), &warnings);
        let mut tried = Applied {
            dry_run: true,
            needs_approval: named(&guarded.environments),
            needs_approval_plans: named(&guarded.plans),
            ..applied
        };
        for change in tried.changes.iter_mut().filter(|change| change.action != answer::Action::Unchanged) {
            change.revision = None;
        }
        (base, tried)
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// What a committed change did to the scopes; `None` when the projection did not say in time.
async fn effects(call: &Call, accepted: &Accepted) -> Option<Vec<ScopeEffect>> {
    if accepted.changes.iter().all(|change| change.action == ChangeResult::UNCHANGED) {
        return Some(Vec::new()); // the revision is an earlier command's, and so are its effects
    }
    let waited =
        timeout(call.api.limits.effects_deadline, call.api.projected.effects(accepted.revision)).await;
    waited
        .inspect_err(|_| {
            tracing::warn!(revision = accepted.revision, "the projection lags behind a committed change")
        })
        .ok()
}

fn applied(accepted: &Accepted, effects: Option<&[ScopeEffect]>, warnings: &Warnings) -> Applied {
    let (warnings, warnings_left_out) = warnings.answered();
    Applied {
        revision: accepted.revision,
        changes: changes(accepted),
        scopes: effects.map(|effects| effects.iter().map(answer::ScopeEffect::from).collect()),
        warnings,
        warnings_left_out,
        dry_run: false,
        needs_approval: Vec::new(),
        needs_approval_plans: Vec::new(),
    }
}

/// Names, as an answer has them.
pub(crate) fn named(names: &BTreeSet<Name>) -> Vec<String> {
    names.iter().map(Name::to_string).collect()
}
