//! `/v1/approvals`: proposals, which a second owner approves or rejects.

use std::sync::Arc;

use axum::response::Response;
use hanse_management::{Problem, ProblemName};
use hanse_state::{
    Change, ChangeResult, CommandBody, Proposal, State,
    admission::{Warning, admit_again},
};
use http::StatusCode;
use utoipa_axum::routes;

use crate::{
    answer::{self, Applied, ProblemDetails, Proposals, Rejected},
    apply::answer_applied,
    call::{CONSISTENCY, Call, MIN_REVISION},
    failover,
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
    warnings::Warnings,
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
    let looked_at = call.clone();
    let write = move || {
        let shown = match tried(&looked_at, &state, &proposal) {
            Ok((after, warnings)) => {
                let (warnings, warnings_left_out) = warnings.answered();
                answer::Proposal {
                    warnings,
                    warnings_left_out,
                    ..answer::Proposal::told(&proposal, &state, &after)
                }
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

/// The state after an approval, and what would be warned of.
fn tried(call: &Call, state: &State, proposal: &Proposal) -> Result<(State, Warnings), Problem> {
    let (now_ms, sight) = (call.api.clock.now_ms(), call.bounds_of_sight());
    let warnings = judged(state, proposal)?;
    let after = state.try_proposal(proposal, now_ms, sight)?;
    let changes: Vec<ChangeResult> = proposal.effects.iter().map(ChangeResult::from).collect();
    let warnings = Warnings::of(warnings, state, &after, &changes, sight);
    Ok((after, warnings))
}

/// What admission of this release says of the changes of a proposal: they may have been proposed before an upgrade.
fn judged(state: &State, proposal: &Proposal) -> Result<Vec<Warning>, Problem> {
    admit_again(&proposal.changes, state.version()).map_err(|Problem { detail, field, .. }| {
        let detail = format!("proposal {} is not accepted any more: {detail}", proposal.number);
        Problem::new(ProblemName::Stale, detail).at(field).remedy("reject it, and propose it again")
    })
}

/// Makes the changes of a proposal: with a token of another owner than the one that proposed it
///
/// The changes do what they did when they were proposed, or the approval is refused. A region that a Failover leads to is judged anew.
#[utoipa::path(post, path = "/v1/approvals/{number}/approve", tag = "federation", extensions(("x-hanse-access" = json!("apply"))), operation_id = "approve",
    params(("number" = u64, Path, description = "The proposal's number")),
    responses(
        (status = 200, body = Applied, description = "What happened"),
        refusal::NotFound, refusal::Conflict, refusal::Stale))]
async fn approve(call: Call) -> Result<Response, Rejection> {
    let number = number(&call)?;
    let before = call.read_latest().await?;
    let (mut warnings, mut judged_ms) = (Vec::new(), 0);
    if let Some(proposal) = check_seen(&call, &before, number)? {
        call.check_changes(&proposal.changes)?;
        judged_ms = failover::judge_anew(&call, &before, &proposal.changes).await?;
        let (state, proposal) = (before.clone(), proposal.clone());
        warnings = call.api.bounds.answer(move || judged(&state, &proposal)).await??;
    }
    let accepted = call.propose_body(CommandBody::Approve { number, judged_ms }).await?;
    answer_applied(&call, before, accepted, warnings).await
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
    let (accepted, of_specs) =
        call.propose(CommandBody::Propose { changes, reason: reason.to_owned() }).await?;
    let state = call.api.replicated.current();
    let number = accepted
        .proposal
        .ok_or_else(|| Problem::new(ProblemName::Internal, "the proposal was accepted and has no number"))?;
    // Decided in the same moment, or proposed a while ago under the same key.
    let proposal = state.proposal(number).ok_or_else(|| state.no_proposal(number))?.clone();
    let looked_at = call.clone();
    let write = move || {
        // Refused by now, it has what admission warned of.
        let (warnings, warnings_left_out) = match tried(&looked_at, &state, &proposal) {
            Ok((_, warnings)) => warnings.answered(),
            Err(_) => (of_specs.iter().map(answer::Warning::from).collect(), 0),
        };
        let named = answer::Proposal::named(&proposal, usize::MAX);
        (accepted.revision, answer::Proposal { warnings, warnings_left_out, ..named })
    };
    Ok(call.answer(StatusCode::ACCEPTED, write).await?)
}

/// The proposals that wait and that the token may see.
pub(crate) fn waiting<'a>(call: &'a Call, state: &'a State) -> impl Iterator<Item = &'a Proposal> {
    let now_ms = state.time_ms().max(call.api.clock.now_ms());
    state.proposals().filter(move |proposal| !proposal.has_expired(now_ms) && may_see(call, proposal))
}

fn may_see(call: &Call, proposal: &Proposal) -> bool {
    let may_read = || proposal.changes.iter().all(|change| call.may_read(&change.key));
    call.bounds_of_sight().is_none_or(|organization| proposal.is_within(organization) && may_read())
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
