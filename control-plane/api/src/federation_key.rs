//! The federation key: its versions, its rotation, and the recovery key that they are wrapped to.

use axum::response::Response;
use hanse_management::{Digest, ResourceKey, manifest};
use hanse_state::{
    CommandBody, KeyVersion, State,
    port::{FleetReport, GroupStatus, NodeStatus},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use crate::{
    answer::{
        FederationKey, FederationKeyRotated, FederationKeyVersion, KeyState, RecoveryKey, RecoveryKeySet,
        SetRecoveryKey,
    },
    call::Call,
    members::server,
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
};

/// How many Secrets an answer names whose values are to be sealed anew: those that an operator looks at when a rotation does not end.
const NAMED: usize = 10;

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(federation_key), routes!(rotate), routes!(set_recovery_key)]
}

/// The versions of the federation key, and which control nodes lack one
///
/// From what this node has: it answers without a quorum too.
#[utoipa::path(get, path = "/v1/federation-key", tag = "federation", extensions(("x-hanse-access" = json!("federation"))),
    responses((status = 200, body = FederationKey, description = "The versions, without the keys")))]
async fn federation_key(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let (state, group) = (call.current(), call.api.replicated.group());
    Ok(call.answer(StatusCode::OK, move || (state.revision(), shown(&state, &group, &fleet))).await?)
}

/// Asks for another version of the federation key
///
/// The leader makes it, every control node gets it, and then Secrets are sealed with it. What was sealed before still opens, and is sealed
/// anew. A version that is pending is skipped: it may have been copied, too.
#[utoipa::path(post, path = "/v1/federation-key/rotate", tag = "federation", extensions(("x-hanse-access" = json!("admin"))),
    operation_id = "rotateFederationKey",
    responses(
        (status = 200, body = FederationKeyRotated, description = "It is on its way"),
        refusal::Conflict, refusal::TooLarge))]
async fn rotate(call: Call) -> Result<Response, Rejection> {
    let accepted = call.propose_body(CommandBody::RotateKey).await?;
    let rotated = FederationKeyRotated { revision: accepted.revision };
    Ok(json(StatusCode::OK, accepted.revision, &rotated))
}

/// Sets the recovery key, and wraps every version of the federation key to it
///
/// Replacing another recovery key rotates the federation key.
#[utoipa::path(put, path = "/v1/recovery-key", tag = "federation", extensions(("x-hanse-access" = json!("admin"))),
    operation_id = "setRecoveryKey",
    request_body(content = SetRecoveryKey, description = "The public keys of an operator's two recovery pairs"),
    responses(
        (status = 200, body = RecoveryKeySet, description = "It is set"),
        refusal::Conflict, refusal::Stale, refusal::Invalid, refusal::TooLarge))]
async fn set_recovery_key(mut call: Call) -> Result<Response, Rejection> {
    let wrapping = call.api.recovery.clone();
    let read = {
        let wrapping = wrapping.clone();
        move |bytes: &[u8]| {
            let body = SetRecoveryKey::deserialize(&manifest::json_value(bytes)?).map_err(|error| {
                bad_request(format!("the request has no recovery key: {error}"))
                    .at("body")
                    .remedy("send {\"sign\": \"…\", \"wrap\": \"…\"} with two public keys as PEM")
            })?;
            Ok((wrapping.read(&body.sign, &body.wrap)?, body.replace))
        }
    };
    let (recovery, replace) = call.parse(read).await?;
    // The newest versions, as far as they are known now: the command is refused if another one comes first.
    let state = call.read_latest().await?;
    // A recovery key that is there already, or may not be replaced, is not wrapped to.
    let wraps = state.federation_keys().recovery().is_none_or(|known| *known != recovery && replace);
    let wrapped = match wraps {
        true => {
            let recovery = recovery.clone();
            // There may be a thousand versions.
            call.api.bounds.answer(move || wrapping.wrapped(&state, &recovery)).await??
        }
        false => Vec::new(),
    };
    let shown = digests(&recovery);
    let accepted = call.propose_body(CommandBody::SetRecoveryKey { recovery, wrapped, replace }).await?;
    let set = RecoveryKeySet { recovery_key: shown, revision: accepted.revision };
    Ok(json(StatusCode::OK, accepted.revision, &set))
}

fn digests(recovery: &hanse_state::RecoveryKey) -> RecoveryKey {
    let digest = |key: &[u8]| hex::encode(Digest::of(key).0);
    RecoveryKey { sign: digest(&recovery.sign), wrap: digest(&recovery.wrap) }
}

/// What a control node has of a version of the federation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Has {
    /// It said, when asked last, that it has this version or a newer one.
    Holds,
    /// It said that it does not have it.
    Lacks,
    /// It did not answer.
    Unsaid,
    /// It is revoked, and gets no version any more.
    Refused,
}

/// What a control node has of this version.
pub(crate) fn has(state: &State, fleet: &FleetReport, node: &NodeStatus, version: u32) -> Has {
    if state.is_revoked(&server(&node.name)) {
        return Has::Refused;
    }
    match fleet.nodes.get(&node.id) {
        None => Has::Unsaid,
        Some(said) if said.newest_key < version => Has::Lacks,
        Some(_) => Has::Holds,
    }
}

/// The first Secrets with a value that is to be sealed anew.
fn outdated_secrets(state: &State) -> Vec<String> {
    let mut secrets: Vec<&ResourceKey> = Vec::new();
    // Values of one Secret follow each other.
    for (secret, ..) in state.outdated_values() {
        if secrets.last() == Some(&secret) {
            continue;
        }
        if secrets.len() == NAMED {
            break;
        }
        secrets.push(secret);
    }
    secrets.into_iter().map(ToString::to_string).collect()
}

fn shown(state: &State, group: &GroupStatus, fleet: &FleetReport) -> FederationKey {
    let keys = state.federation_keys();
    let number = |version: Option<(u32, &KeyVersion)>| version.map(|(number, _)| number);
    let (active, pending) = (number(keys.active()), number(keys.pending()));
    let values = state.values_by_version();
    let outdated_secrets = outdated_secrets(state);
    let item = |(version, known): (u32, &KeyVersion)| {
        let state_of_it = match known.used {
            true if active == Some(version) => KeyState::Active,
            true => KeyState::Retired,
            false if pending == Some(version) => KeyState::Pending,
            false => KeyState::Skipped,
        };
        let mut item = FederationKeyVersion {
            version,
            digest: hex::encode(known.digest),
            made_at: known.made_at,
            values: values.get(&version).copied().unwrap_or_default(),
            lacked_by: Vec::new(),
            unknown: Vec::new(),
            state: state_of_it,
        };
        if [active, pending].contains(&Some(version)) {
            for node in &group.nodes {
                match has(state, fleet, node, version) {
                    Has::Unsaid => item.unknown.push(server(&node.name)),
                    Has::Lacks => item.lacked_by.push(server(&node.name)),
                    Has::Holds | Has::Refused => {}
                }
            }
        }
        item
    };
    FederationKey {
        recovery_key: keys.recovery().map(digests),
        rotating: keys.recovery().is_some()
            && (keys.wants_new() || pending.is_some() || !outdated_secrets.is_empty()),
        outdated_secrets,
        items: keys.versions().map(item).collect(),
        revision: state.revision(),
    }
}
