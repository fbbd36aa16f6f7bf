//! `GET /v1/whoami`: what the caller's token is and allows.

use axum::response::Response;
use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec};
use hanse_state::rfc3339;
use http::StatusCode;
use utoipa_axum::routes;

use crate::{
    answer::WhoAmI,
    call::Call,
    rejection::Rejection,
    routes::{Route, json},
};

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(whoami)]
}

/// What the token of this request is, and what it allows
#[utoipa::path(get, path = "/v1/whoami", tag = "federation", extensions(("x-hanse-access" = json!("token"))),
    responses((status = 200, body = WhoAmI, description = "The token")))]
async fn whoami(call: Call) -> Result<Response, Rejection> {
    let Some(actor) = &call.actor else {
        return Err(Problem::new(ProblemName::Internal, "a caller was let in without a token").into());
    };
    let state = call.current();
    let token = state.get(&ResourceKey::global(Kind::Token, actor.name.clone()));
    let expires_at = match token.map(|token| &token.spec) {
        Some(Spec::Token(spec)) => spec.expires_at.map(|seconds| rfc3339(seconds.saturating_mul(1_000))),
        _revoked_meanwhile => None,
    };
    let answer = WhoAmI {
        token: actor.name.to_string(),
        owner: actor.owner.clone(),
        role: actor.access.role.as_str().to_owned(),
        organization: actor.access.organization.as_ref().map(ToString::to_string),
        expires_at,
        revision: state.revision(),
    };
    Ok(json(StatusCode::OK, state.revision(), &answer))
}
