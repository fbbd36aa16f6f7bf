//! `GET /v1/audit`: who changed what; and dropping what was exported.

use axum::response::Response;
use hanse_management::{Problem, ProblemName, manifest};
use hanse_state::{AuditHash, CommandBody, State};
use http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use crate::{
    answer::{Audit, AuditDropped, AuditEntry, DropAudit},
    call::{CONSISTENCY, Call, MIN_REVISION},
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
};

/// What fits on a few screens.
const DEFAULT_LIMIT: u64 = 100;
/// A part that has come to this size ends there, as pages of lists do.
const PART_BYTES: usize = 4 << 20;

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(audit), routes!(drop_audit)]
}

/// Who changed what, when and from where: entries in a chain of hashes
#[utoipa::path(get, path = "/v1/audit", tag = "federation", extensions(("x-hanse-access" = json!("federation"))),
    params(
        ("from" = Option<u64>, Query, description = "The number of the first entry; default: the oldest that is kept"),
        // A part is built in memory.
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Entries per part: 1 to 1000, default 100"),
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = Audit, description = "Entries"), refusal::Gone))]
async fn audit(call: Call) -> Result<Response, Rejection> {
    let state = call.read_state().await?;
    let first = state.audit().start().number + 1;
    let from = call.number("from").unwrap_or(first);
    if from < first {
        let detail = format!("entry {from} was exported and dropped; the oldest that is kept is {first}");
        return Err(Problem::new(ProblemName::Gone, detail)
            .at("query: from")
            .remedy("find it in the file that hanse audit export wrote, or leave `from` out")
            .into());
    }
    let limit = usize::try_from(call.number("limit").unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX);
    Ok(call.answer(StatusCode::OK, move || (state.revision(), part(&state, from, limit))).await?)
}

fn part(state: &State, from: u64, limit: usize) -> Audit {
    let log = state.audit();
    let mut items: Vec<AuditEntry> = Vec::new();
    let (mut next, mut bytes) = (None, 0);
    for (entry, previous, hash) in log.from(from) {
        if items.len() == limit || bytes >= PART_BYTES {
            next = Some(entry.number);
            break;
        }
        let entry = AuditEntry::of(entry, previous, hash);
        bytes += serde_json::to_vec(&entry).map_or(0, |text| text.len());
        items.push(entry);
    }
    Audit { items, start: log.start().into(), head: log.head().into(), next, revision: state.revision() }
}

/// Drops the oldest entries, up to one that was exported
///
/// The hash of the last entry that goes stays as the beginning of the chain. Dropping makes an entry itself.
#[utoipa::path(post, path = "/v1/audit/drop", tag = "federation", extensions(("x-hanse-access" = json!("admin"))),
    request_body(content = DropAudit, description = "The last entry that goes"),
    responses(
        (status = 200, body = AuditDropped, description = "Dropped"),
        refusal::NotFound, refusal::Conflict))]
async fn drop_audit(mut call: Call) -> Result<Response, Rejection> {
    let (through, hash) = call.parse(read).await?;
    let accepted = call.propose_body(CommandBody::DropAudit { through, hash }).await?;
    let dropped = AuditDropped { through, revision: accepted.revision };
    Ok(json(StatusCode::OK, accepted.revision, &dropped))
}

fn read(body: &[u8]) -> Result<(u64, AuditHash), Problem> {
    let request = DropAudit::deserialize(&manifest::json_value(body)?).ok();
    let read = request.and_then(|request| {
        let hash = hex::decode(&request.hash).ok()?.try_into().ok()?;
        Some((request.through, hash))
    });
    read.ok_or_else(|| {
        bad_request("the request names no entry")
            .at("body: through")
            .remedy("send {\"through\": NUMBER, \"hash\": \"…\"} of the last entry that was exported")
    })
}
