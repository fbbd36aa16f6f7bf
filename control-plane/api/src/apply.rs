//! `POST /v1/apply`: many changes at once, all or none.

mod prune;
mod request;

use axum::response::Response;
use hanse_management::{Problem, ProblemName, manifest::Manifest};
use hanse_state::{
    Accepted, Change, ChangeResult, Outcome, State,
    admission::{Warning, admit},
    port::{Consistency, ScopeEffect},
    projection,
};
use hanse_topology::{Labels, Name};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    body,
    call::Call,
    rejection::{Rejection, bad_request},
    resource::changes_json,
};

/// The owner of resources that name none, unless the request says otherwise.
const DEFAULT_ORGANIZATION: &str = "default";

/// The handler.
pub(crate) async fn apply(mut call: Call) -> Result<Response, Rejection> {
    let organization =
        Name::new(call.text("organization").unwrap_or(DEFAULT_ORGANIZATION)).map_err(|error| {
            bad_request(error.to_string()).at("query: organization").remedy("give an organization's name")
        })?;
    let selector = selector(&call)?;
    let format = body::format(&call.headers)?;
    let limits = call.api.limits.clone();
    let read = move |bytes: &[u8]| {
        let changes = to_changes(request::read(format, bytes, &organization)?)?;
        body::check_command(changes.iter().map(|change| (&change.key, &change.action)), &limits)?;
        Ok(changes)
    };
    let mut changes = call.parse(read).await?;

    if call.flag("dryRun") {
        let state = call.api.replicated.read(Consistency::Linearizable).await?;
        if let Some(selector) = selector {
            changes.extend(prune::deletes(&state, &changes, &selector));
        }
        return dry_run(&call, state, changes).await;
    }
    if let Some(selector) = selector {
        if call.idempotency_key()?.is_some() {
            return Err(bad_request(
                "prune looks at what is there, so an Idempotency-Key would not fit it twice",
            )
            .at("header: Idempotency-Key")
            .remedy("leave it out: applying the same resources again changes nothing")
            .into());
        }
        let state = call.api.replicated.read(Consistency::Linearizable).await?;
        changes.extend(prune::deletes(&state, &changes, &selector));
    }
    let (accepted, warnings) = call.propose(changes).await?;
    call.worked();
    let effects = effects(&call, &accepted).await;
    let write = move || (accepted.revision, body_of(&accepted, effects.as_deref(), &warnings));
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

/// The puts that make the manifests true.
fn to_changes(manifests: Vec<Manifest>) -> Result<Vec<Change>, Problem> {
    let mut changes = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let key = &manifest.key;
        if !key.kind.is_writable() {
            return Err(Problem::new(ProblemName::Forbidden, format!("{key} is written by the server only"))
                .at(key.to_string())
                .remedy("leave it out: change the Api and its next revision is made"));
        }
        changes.push(Change::from(manifest));
    }
    Ok(changes)
}

/// Applies to a copy and says what that did.
async fn dry_run(call: &Call, before: State, changes: Vec<Change>) -> Result<Response, Rejection> {
    let command = call.command(changes, None);
    let tried = move || {
        let admitted = admit(command)?;
        let mut after = before.clone();
        match after.apply(admitted.command()) {
            Outcome::Accepted(accepted) => {
                let effects = projection::preview(&before, &after);
                Ok((before.revision(), accepted, effects, admitted.warnings().to_vec()))
            }
            Outcome::Rejected(problem) => Err(problem),
        }
    };
    let (base, accepted, effects, warnings) = call.api.bounds.answer(tried).await??;
    // Nothing was written, so the revision is that of the state it was tried on.
    let write = move || {
        let mut body = body_of(&Accepted { revision: base, ..accepted }, Some(&effects), &warnings);
        for change in body["changes"].as_array_mut().into_iter().flatten() {
            if change["action"] != ChangeResult::UNCHANGED
                && let Some(members) = change.as_object_mut()
            {
                members.remove("revision");
            }
        }
        body["dryRun"] = true.into();
        (base, body)
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

fn body_of(accepted: &Accepted, effects: Option<&[ScopeEffect]>, warnings: &[Warning]) -> Value {
    let mut body = json!({"revision": accepted.revision, "changes": changes_json(accepted)});
    if let Some(effects) = effects {
        body["scopes"] = effects.iter().map(effect_json).collect();
    }
    if !warnings.is_empty() {
        body["warnings"] = warnings.iter().map(warning_json).collect();
    }
    body
}

fn warning_json(warning: &Warning) -> Value {
    let mut json = json!({"kind": warning.key.kind.as_str(), "name": warning.key.name.as_str()});
    if let Some(organization) = &warning.key.organization {
        json["organization"] = organization.as_str().into();
    }
    json["field"] = warning.field.as_str().into();
    json["detail"] = warning.detail.as_str().into();
    json
}

fn effect_json(effect: &ScopeEffect) -> Value {
    let mut json = json!({"region": effect.scope.region()});
    if let Some(environment) = effect.scope.environment() {
        json["environment"] = environment.as_str().into();
    }
    json["upserts"] = effect.upserts.into();
    json["removals"] = effect.removals.into();
    json
}
