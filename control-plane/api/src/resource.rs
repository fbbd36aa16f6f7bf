//! One resource: get, put, delete.

use std::sync::Arc;

use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use hanse_management::{
    Kind, Problem, ProblemName, ResourceKey, Revision, Spec,
    kinds::{BindingSpec, RevisionRef},
    manifest::{self, Manifest},
};
use hanse_state::{
    Accepted, Action, Change, ChangeResult, CommandBody, Metadata, Resource, State, admission::Warning,
};
use http::{HeaderName, StatusCode, header};

use crate::{
    answer::{self, Deleted},
    apply::{Tried, attempt, named},
    body::{self, Format},
    bounds::SMALL_BODY,
    call::{CONSISTENCY, Call, FORCE_GRANTS, MIN_REVISION},
    names::not_found,
    openapi::refusal,
    precondition::{self, Expectation},
    rejection::{Rejection, bad_request, invalid},
    routes::{REVISION_HEADER, json},
    warnings::Warnings,
};

/// What does not hold yet of a resource that was put, or of one that it leaves unserved, each in a header of its own.
const WARNING_HEADER: HeaderName = HeaderName::from_static("hanse-warning");

/// How often a write with `If-Match: *`, or with several ETags, is tried again when the resource changed in between.
const RACES: usize = 4;

/// One {kind}
#[utoipa::path(get, path = "/v1/organizations/{organization}/{kinds}/{name}", operation_id = "get{kind}", extensions(("x-hanse-access" = json!("read {kind}"))),
    params(
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION),
        ("If-None-Match" = String, Header, description = "Answer 304 if the resource is still at this ETag")),
    responses(
        (status = 200, body = ref("#/components/schemas/{kind}"), description = "The resource",
            headers(("ETag" = String, description = "The revision of its last change"))),
        (status = 304, description = "It is still at the ETag given"),
        refusal::NotFound))]
pub(crate) async fn get(Extension(kind): Extension<Kind>, call: Call) -> Result<Response, Rejection> {
    let key = call.key(kind)?;
    let state = call.read_state().await?;
    let resource = state.get(&key).ok_or_else(|| not_found(&key, &state, call.bounds_of_sight()))?;
    let etag = precondition::etag(resource.metadata.revision);
    let mut response = if precondition::not_modified(&call.headers, kind, &etag)? {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        show(&call, StatusCode::OK, &state, state.revision(), resource.clone()).await?
    };
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

/// Creates the {kind}, or replaces the one at the revision that If-Match names
#[utoipa::path(put, path = "/v1/organizations/{organization}/{kinds}/{name}", operation_id = "put{kind}", extensions(("x-hanse-access" = json!("write {kind}"))),
    params(
        ("If-Match" = String, Header,
            description = "Replace the resource at this ETag: `\"N\"`, or `*` for whatever is there"),
        ("If-None-Match" = String, Header, description = "`*`: only create"),
        ("forceGrants" = Option<bool>, Query, description = FORCE_GRANTS)),
    request_body(description = "kind, organization and name may be left out: the path says them",
        content((ref("#/components/schemas/{kind}") = "application/json"), (String = "application/yaml"))),
    responses(
        (status = 200, body = ref("#/components/schemas/{kind}"), description = "Replaced, or equal already",
            headers(
                ("ETag" = String, description = "The revision of its last change"),
                ("Hanse-Warning" = String, description = "`FIELD: DETAIL` of something that does not hold yet; of another \
                    resource, `KIND NAME: FIELD: DETAIL`"))),
        (status = 201, body = ref("#/components/schemas/{kind}"), description = "Created",
            headers(
                ("ETag" = String, description = "The revision of its last change"),
                ("Hanse-Warning" = String, description = "`FIELD: DETAIL` of something that does not hold yet; of another \
                    resource, `KIND NAME: FIELD: DETAIL`"))),
        refusal::Stale, refusal::Invalid, refusal::PreconditionRequired, refusal::Upgrade))]
pub(crate) async fn put(Extension(kind): Extension<Kind>, mut call: Call) -> Result<Response, Rejection> {
    let key = call.key(kind)?;
    let expectation = Expectation::of_write(&call.headers)?;
    let format = body::format(&call.headers)?;
    let read = {
        let key = key.clone();
        move |bytes: &[u8]| read_manifest(&key, format, bytes)
    };
    let manifest = call.parse(read).await?;
    let expectation = agree(expectation, manifest.revision)?;
    let Change { action, .. } = manifest.clone().into();
    let before = call.api.replicated.current();
    let (accepted, warnings) = write(&call, &key, action, &expectation).await.map_err(|problem| {
        let exists = || call.api.replicated.current().get(&key).is_some();
        match expectation {
            Expectation::Nothing if problem.name == ProblemName::Conflict && exists() => unguarded(&key),
            Expectation::Absent if problem.name == ProblemName::Conflict && exists() => present_already(&key),
            _ => problem,
        }
    })?;
    let after = call.api.replicated.current();
    let (changes, sight) = (accepted.changes.clone(), call.bounds_of_sight().cloned());
    let judged = move || Warnings::of(warnings, &before, &after, &changes, sight.as_ref());
    let warnings = call.api.bounds.answer(judged).await?;
    let mut response = answer_put(&call, &key, manifest, &accepted).await?;
    for warning in warnings.headers(&key) {
        response.headers_mut().append(WARNING_HEADER, warning);
    }
    Ok(response)
}

/// Deletes the {kind}
#[utoipa::path(delete, path = "/v1/organizations/{organization}/{kinds}/{name}", operation_id = "delete{kind}", extensions(("x-hanse-access" = json!("write {kind}"))),
    params(
        ("cascade" = Option<bool>, Query, description = "Delete what refers to it too, instead of refusing"),
        ("dryRun" = Option<bool>, Query, description = "Say what would be deleted, and at which revision it is; delete nothing"),
        ("forceGrants" = Option<bool>, Query, description = FORCE_GRANTS),
        ("If-Match" = String, Header, description = "Delete only the resource at this ETag")),
    responses(
        (status = 200, body = Deleted, description = "What was deleted"),
        refusal::NotFound, refusal::InUse, refusal::Stale))]
pub(crate) async fn delete(Extension(kind): Extension<Kind>, call: Call) -> Result<Response, Rejection> {
    let key = call.key(kind)?;
    let expectation = Expectation::of_write(&call.headers)?;
    if expectation == Expectation::Absent {
        return Err(bad_request("only what exists can be deleted")
            .at("header: If-None-Match")
            .remedy("leave it out")
            .into());
    }
    let action = Action::Delete { cascade: call.flag("cascade") };
    let done = match call.flag("dryRun") {
        true => try_delete(&call, &key, action, &expectation).await,
        false => delete_now(&call, &key, action, &expectation).await,
    };
    Ok(done.map_err(|problem| match problem.name {
        ProblemName::NotFound => not_found(&key, &call.api.replicated.current(), call.bounds_of_sight()),
        _ => problem,
    })?)
}

async fn delete_now(
    call: &Call,
    key: &ResourceKey,
    action: Action,
    expectation: &Expectation,
) -> Result<Response, Problem> {
    let before = call.api.replicated.current();
    let (accepted, warnings) = write(call, key, action, expectation).await?;
    let after = call.api.replicated.current();
    let sight = call.bounds_of_sight().cloned();
    let write = move || {
        let warnings = Warnings::of(warnings, &before, &after, &accepted.changes, sight.as_ref());
        (accepted.revision, deleted(accepted.revision, &accepted, &warnings, false))
    };
    call.answer(StatusCode::OK, write).await
}

fn deleted(revision: Revision, accepted: &Accepted, warnings: &Warnings, dry_run: bool) -> Deleted {
    let (warnings, warnings_left_out) = warnings.answered();
    Deleted {
        revision,
        changes: changes(accepted),
        warnings,
        warnings_left_out,
        dry_run,
        needs_approval: Vec::new(),
        needs_approval_plans: Vec::new(),
    }
}

/// Deletes in a copy, and says which resources go, each with the revision it is at.
async fn try_delete(
    call: &Call,
    key: &ResourceKey,
    action: Action,
    expectation: &Expectation,
) -> Result<Response, Problem> {
    let state = call.read_latest().await?;
    let if_revision = match expectation {
        Expectation::Nothing | Expectation::Absent => None,
        Expectation::Present | Expectation::OneOf(_) => Some(expectation.choose(&state, key)?),
    };
    let change = Change { key: key.clone(), action, if_revision };
    let Tried { base, mut accepted, warnings, guarded, .. } =
        attempt(call, state.clone(), vec![change]).await?;
    for change in &mut accepted.changes {
        change.revision = state.get(&change.key).map_or(0, |present| present.metadata.revision);
    }
    let write = move || {
        let (needs_approval, needs_approval_plans) = (named(&guarded.environments), named(&guarded.plans));
        (base, Deleted { needs_approval, needs_approval_plans, ..deleted(base, &accepted, &warnings, true) })
    };
    call.answer(StatusCode::OK, write).await
}

/// Proposes one change under what the caller expects to find.
async fn write(
    call: &Call,
    key: &ResourceKey,
    action: Action,
    expectation: &Expectation,
) -> Result<(Accepted, Vec<Warning>), Problem> {
    let change = |if_revision| {
        CommandBody::Apply(vec![Change { key: key.clone(), action: action.clone(), if_revision }])
    };
    // What needs no look at the state makes the same command each time, so that an idempotency key fits it again.
    match (expectation, &action) {
        (Expectation::Nothing, Action::Delete { .. }) => return call.propose(change(None)).await,
        (Expectation::Nothing | Expectation::Absent, _) => return call.propose(change(Some(0))).await,
        (Expectation::OneOf(revisions), _) if revisions.len() == 1 => {
            return call.propose(change(Some(revisions[0]))).await;
        }
        (Expectation::Present | Expectation::OneOf(_), _) => {}
    }
    if call.idempotency_key()?.is_some() {
        return Err(bad_request("an Idempotency-Key goes with one exact If-Match only")
            .at("header: If-Match")
            .remedy("send the one ETag you mean, or no Idempotency-Key"));
    }
    let mut race = 0;
    loop {
        race += 1;
        let state = call.read_latest().await?;
        let revision = expectation.choose(&state, key)?;
        match call.propose(change(Some(revision))).await {
            Err(problem) if problem.name == ProblemName::Stale && race < RACES => {}
            outcome => return outcome,
        }
    }
}

/// Reads the body of a PUT. The path says what the body leaves out; what a GET answered with may be sent back.
fn read_manifest(key: &ResourceKey, format: Format, bytes: &[u8]) -> Result<Manifest, Problem> {
    let mut manifest = match format {
        Format::Json => manifest::parse_json_of(bytes, key)?,
        Format::Yaml => {
            // Global kinds have no owner, so none is ever filled in for them.
            let organization = key.organization.clone().unwrap_or_else(|| key.name.clone());
            let mut manifests = manifest::parse_yaml(body::text(bytes)?, &organization)?;
            match (manifests.pop(), manifests.is_empty()) {
                (Some(only), true) => only,
                (_, _) => {
                    return Err(
                        bad_request("a PUT takes exactly one resource").remedy("send many to POST /v1/apply")
                    );
                }
            }
        }
    };
    // As admission does: what is answered is what is stored.
    manifest.spec.normalize();
    if manifest.key != *key {
        return Err(invalid(format!("the body is {}, the path is of {key}", manifest.key))
            .at("name")
            .remedy("leave kind, organization and name out of the body, or make them agree with the path"));
    }
    if manifest.restored.is_some() {
        return Err(invalid("a PUT takes no resource of a dump".to_owned())
            .at("restored")
            .remedy("send the part of the dump to POST /v1/apply, or leave `restored` out"));
    }
    if matches!(&manifest.spec, Spec::Binding(BindingSpec { revision: RevisionRef::New(_), .. })) {
        return Err(invalid("`new` stands for what one request makes of an Api and its Bindings".to_owned())
            .at("spec.revision")
            .remedy("give a number or `latest`, or send Api and Binding to POST /v1/apply"));
    }
    Ok(manifest)
}

/// A `revision` in the body must agree with `If-Match`.
fn agree(expectation: Expectation, revision: Option<Revision>) -> Result<Expectation, Problem> {
    match (expectation, revision) {
        (Expectation::Present, Some(revision)) => Ok(Expectation::OneOf(vec![revision])),
        (Expectation::OneOf(revisions), Some(revision)) if !revisions.contains(&revision) => {
            Err(invalid(format!("the body says revision {revision}, If-Match says another"))
                .at("revision")
                .remedy("leave revision out of the body, or send it as If-Match"))
        }
        (expectation, _) => Ok(expectation),
    }
}

async fn answer_put(
    call: &Call,
    key: &ResourceKey,
    manifest: Manifest,
    accepted: &Accepted,
) -> Result<Response, Rejection> {
    let Some(change) = accepted.changes.iter().find(|change| change.key == *key) else {
        let detail =
            format!("{key} was written at revision {} but is not among its changes", accepted.revision);
        return Err(Problem::new(ProblemName::Internal, detail).into());
    };
    let status = if change.action == ChangeResult::CREATED { StatusCode::CREATED } else { StatusCode::OK };
    let state = call.api.replicated.current();
    let present = state.get(key);
    let shown = match present {
        Some(resource) if resource.metadata.revision == change.revision => resource.clone(),
        // Changed again meanwhile: the answer is still what this write made, never a later one's content or ETag.
        _ => {
            let updated_at_ms = state.time_of(change.revision).unwrap_or_else(|| state.time_ms());
            let fresh = Metadata { created_at_ms: updated_at_ms, ..Metadata::default() };
            let metadata = present.map_or(fresh, |resource| resource.metadata.clone());
            let (labels, revision) = (manifest.labels, change.revision);
            let protected = manifest.protected.unwrap_or(metadata.protected);
            let metadata = Metadata { labels, protected, revision, updated_at_ms, ..metadata };
            Arc::new(Resource { key: key.clone(), metadata, spec: manifest.spec })
        }
    };
    let etag = precondition::etag(shown.metadata.revision);
    let mut response = show(call, status, &state, accepted.revision, shown).await?;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    debug_assert!(headers.contains_key(REVISION_HEADER));
    Ok(response)
}

/// Answers with a resource and what `state` warns of it. Most are small, and written sooner than another thread wakes up. The warnings of
/// a Binding or a HostGrant may need a look at all Bindings of an Environment.
async fn show(
    call: &Call,
    status: StatusCode,
    state: &State,
    revision: Revision,
    resource: Arc<Resource>,
) -> Result<Response, Problem> {
    let (last_uses, sight) = (call.api.last_uses.clone(), call.bounds_of_sight().cloned());
    let shown = move |resource: &Resource, state: &State| {
        let warned = answer::Resource::from(resource).warned(&state.warnings(&resource.key, sight.as_ref()));
        last_uses.shown(resource, warned.owned_by(state.owner_of_global_host(&resource.key)))
    };
    let is_quick = !matches!(resource.key.kind, Kind::Binding | Kind::HostGrant);
    if is_quick && resource.spec.json_len() <= SMALL_BODY {
        return Ok(json(status, revision, &shown(&resource, state)));
    }
    let state = state.clone();
    call.answer(status, move || (revision, shown(&resource, &state))).await
}

/// The changes of an answer.
pub(crate) fn changes(accepted: &Accepted) -> Vec<answer::Change> {
    let change = |change: &ChangeResult| answer::Change {
        kind: change.key.kind.to_string(),
        organization: change.key.organization.as_ref().map(ToString::to_string),
        name: change.key.name.to_string(),
        action: change.action.to_owned().into(),
        revision: (change.revision > 0).then_some(change.revision),
    };
    accepted.changes.iter().map(change).collect()
}

fn unguarded(key: &ResourceKey) -> Problem {
    Problem::new(ProblemName::PreconditionRequired, format!("{key} exists; replacing it needs If-Match"))
        .at("header: If-Match")
        .remedy("get it and send its ETag as If-Match")
}

fn present_already(key: &ResourceKey) -> Problem {
    Problem::new(ProblemName::Stale, format!("{key} exists already"))
        .at("header: If-None-Match")
        .remedy("to replace it, send its ETag as If-Match; or choose another name")
}
