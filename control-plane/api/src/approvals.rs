//! `/v1/approvals`: proposals, which a second owner approves or rejects.

use std::sync::Arc;

use axum::response::Response;
use hanse_management::{Problem, ProblemName};
use hanse_state::{AuditChange, Change, CommandBody, Proposal, State};
use http::StatusCode;
use utoipa_axum::routes;

use crate::{
    answer::{self, Applied, ProblemDetails, Proposals, Rejected},
    apply::answer_applied,
    call::{CONSISTENCY, Call, MIN_REVISION},
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
};

/// How many resources of each proposal a list names: what fits beside the others on a screen.
const NAMED: usize = 20;

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(proposals), routes!(proposal), routes!(approve), routes!(reject)]
}

/// The changes that wait for a second owner
///
/// A token of one organization is shown those that change resources of this organization only.
#[utoipa::path(get, path = "/v1/approvals", tag = "federation", extensions(("x-hanse-access" = json!("token"))), operation_id = "listApprovals",
    params(
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = Proposals, description = "The proposals that wait")))]
async fn proposals(call: Call) -> Result<Response, Rejection> {
    let state = call.read_state().await?;
    let seen = call.clone();
    let write = move || {
        let items = waiting(&seen, &state).map(|proposal| answer::Proposal::named(proposal, NAMED));
        (state.revision(), Proposals { items: items.collect(), revision: state.revision() })
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// A change that waits for a second owner, and what it does to each resource
///
/// Each resource is compared with what is there now, without secrets.
#[utoipa::path(get, path = "/v1/approvals/{number}", tag = "federation", extensions(("x-hanse-access" = json!("token"))), operation_id = "getApproval",
    params(
        ("number" = u64, Path, description = "The proposal's number"),
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = answer::Proposal, description = "The proposal"), refusal::NotFound))]
async fn proposal(call: Call) -> Result<Response, Rejection> {
    let number = number(&call)?;
    let state = call.read_state().await?;
    let proposal = seen(&call, &state, number).ok_or_else(|| state.no_proposal(number))?.clone();
    let (now_ms, sight) = (call.api.clock.now_ms(), call.bounds_of_sight().cloned());
    let write = move || {
        let shown = match state.try_proposal(&proposal, now_ms, sight.as_ref()) {
            Ok(after) => {
                answer::Proposal::told(&proposal, AuditChange::of_proposal(&state, &after, &proposal))
            }
            Err(problem) => answer::Proposal {
                refused: Some(ProblemDetails::from(&problem)),
                ..answer::Proposal::named(&proposal, usize::MAX)
            },
        };
        (state.revision(), shown)
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// Makes the changes of a proposal: with a token of another owner than the one that proposed it
///
/// The changes do what they did when they were proposed, or the approval is refused.
#[utoipa::path(post, path = "/v1/approvals/{number}/approve", tag = "federation", extensions(("x-hanse-access" = json!("apply"))), operation_id = "approve",
    params(("number" = u64, Path, description = "The proposal's number")),
    responses(
        (status = 200, body = Applied, description = "What happened"),
        refusal::NotFound, refusal::Conflict, refusal::Stale))]
async fn approve(call: Call) -> Result<Response, Rejection> {
    let number = number(&call)?;
    let before = call.read_latest().await?;
    if let Some(proposal) = check_seen(&call, &before, number)? {
        let changes: Vec<Change> = proposal.changes.clone();
        call.check_changes(&changes)?;
    }
    let accepted = call.propose_body(CommandBody::Approve { number }).await?;
    answer_applied(&call, before, accepted, Vec::new()).await
}

/// Drops a proposal
///
/// Its own owner withdraws it. Another owner whose token could approve it decides against it.
#[utoipa::path(post, path = "/v1/approvals/{number}/reject", tag = "federation", extensions(("x-hanse-access" = json!("apply"))), operation_id = "reject",
    params(
        ("number" = u64, Path, description = "The proposal's number"),
        ("reason" = Option<String>, Query, description = "Why: a line for the audit")),
    responses((status = 200, body = Rejected, description = "Rejected"), refusal::NotFound))]
async fn reject(call: Call) -> Result<Response, Rejection> {
    let number = number(&call)?;
    let state = call.read_latest().await?;
    check_seen(&call, &state, number)?;
    let reason = call.text("reason").unwrap_or_default().to_owned();
    let accepted = call.propose_body(CommandBody::Reject { number, reason }).await?;
    Ok(json(StatusCode::OK, accepted.revision, &Rejected { number, revision: accepted.revision }))
}

/// Keeps changes for a second owner, and answers with the proposal.
pub(crate) async fn propose(call: &Call, changes: Vec<Change>, reason: &str) -> Result<Response, Rejection> {
    let (accepted, _) = call.propose(CommandBody::Propose { changes, reason: reason.to_owned() }).await?;
    let state = call.api.replicated.current();
    let number = accepted
        .proposal
        .ok_or_else(|| Problem::new(ProblemName::Internal, "the proposal was accepted and has no number"))?;
    // Decided in the same moment, or proposed a while ago under the same key.
    let proposal = state.proposal(number).ok_or_else(|| state.no_proposal(number))?.clone();
    let write = move || (accepted.revision, answer::Proposal::named(&proposal, usize::MAX));
    Ok(call.answer(StatusCode::ACCEPTED, write).await?)
}

/// The proposals that wait and that the token may see.
pub(crate) fn waiting<'a>(call: &'a Call, state: &'a State) -> impl Iterator<Item = &'a Proposal> {
    let now_ms = state.time_ms().max(call.api.clock.now_ms());
    state.proposals().filter(move |proposal| !proposal.has_expired(now_ms) && may_see(call, proposal))
}

fn may_see(call: &Call, proposal: &Proposal) -> bool {
    call.bounds_of_sight().is_none_or(|organization| proposal.is_within(organization))
}

fn seen<'a>(call: &Call, state: &'a State, number: u64) -> Option<&'a Arc<Proposal>> {
    state.proposal(number).filter(|proposal| may_see(call, proposal))
}

/// The proposal, if it waits. Refuses one that the token may not see as if it did not wait. One that waits no more is the command's to
/// judge: the same request may have been carried out before.
fn check_seen<'a>(call: &Call, state: &'a State, number: u64) -> Result<Option<&'a Arc<Proposal>>, Problem> {
    match (state.proposal(number), seen(call, state, number)) {
        (Some(_), None) => Err(state.no_proposal(number)),
        (_, seen) => Ok(seen),
    }
}

fn number(call: &Call) -> Result<u64, Problem> {
    call.segment("number").parse().map_err(|_| {
        bad_request("a proposal is named by its number")
            .at("path: number")
            .remedy("hanse approval list shows the numbers")
    })
}
