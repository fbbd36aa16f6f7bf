//! Who takes part, and who of them is refused by name.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use hanse_management::{Digest, Problem, ProblemName};
use hanse_state::{
    CommandBody, State, identity_forms,
    port::{AgentStatus, GroupStatus},
};
use hanse_topology::Name;
use http::StatusCode;
use utoipa_axum::routes;

use crate::{
    answer::{Member, Members, Readmitted, Revocation, Revocations},
    call::{CONSISTENCY, Call, MIN_REVISION},
    openapi::refusal,
    rejection::Rejection,
    routes::{Route, json},
};

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(members), routes!(revocations), routes!(revoke), routes!(readmit)]
}

/// Control nodes, agents and gateways, and which of them are revoked
///
/// From what this node has: it answers without a quorum too.
#[utoipa::path(get, path = "/v1/members", tag = "federation", extensions(("x-hanse-access" = json!("federation"))),
    responses((status = 200, body = Members, description = "Who takes part")))]
async fn members(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let state = call.current();
    let group = call.api.replicated.group();
    let write = move || {
        let items = all_members(&state, &group, &fleet.agents);
        (state.revision(), Members { items, revision: state.revision() })
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// Whom every part of the federation refuses
#[utoipa::path(get, path = "/v1/revocations", tag = "federation", extensions(("x-hanse-access" = json!("federation"))),
    params(
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = Revocations, description = "Who is refused")))]
async fn revocations(call: Call) -> Result<Response, Rejection> {
    let state = call.read_state().await?;
    let write = move || {
        let items = state.revocations().filter_map(|(identity, _)| revocation(&state, identity)).collect();
        (state.revision(), Revocations { items, revision: state.revision() })
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// Refuses an identity: its connections are cut, and it is not let in again
#[utoipa::path(put, path = "/v1/revocations/{identity}", tag = "federation", extensions(("x-hanse-access" = json!("admin"))),
    params(
        ("identity" = String, Path, description = identity_forms()),
        ("keys" = Option<String>, Query, description = "Public keys refused with it, `sha256:…,sha256:…`, beside those that \
            are known: at most 16")),
    responses(
        (status = 200, body = Revocation, description = "It was revoked already"),
        (status = 201, body = Revocation, description = "Revoked"),
        refusal::NotFound, refusal::Conflict, refusal::Invalid))]
async fn revoke(call: Call) -> Result<Response, Rejection> {
    let identity = call.segment("identity").to_owned();
    let group = call.api.replicated.group();
    if identity == server(&group.this) {
        let detail = format!("{} would be cut off before it could say that it is done", group.this);
        return Err(Problem::new(ProblemName::Conflict, detail)
            .at("path: identity")
            .remedy("ask another control node: the client asks the first of its `servers` first")
            .into());
    }
    let keys = keys_named(&call)?;
    let before = call.current().is_revoked(&identity);
    let known_keys = known_keys(&call.api.fleet.fleet().await.agents, &identity);
    let control_nodes = voters(&group);
    let body = CommandBody::Revoke { identity: identity.clone(), control_nodes, keys, known_keys };
    let accepted = call.propose_body(body).await?;
    let status = if before { StatusCode::OK } else { StatusCode::CREATED };
    let state = call.current();
    // It may have been lifted in the same moment.
    let shown = revocation(&state, &identity).unwrap_or(Revocation { identity, ..Revocation::default() });
    Ok(json(status, accepted.revision, &shown))
}

/// Lifts a revocation
#[utoipa::path(delete, path = "/v1/revocations/{identity}", tag = "federation", extensions(("x-hanse-access" = json!("admin"))),
    params(("identity" = String, Path, description = identity_forms())),
    responses((status = 200, body = Readmitted, description = "Lifted"), refusal::NotFound))]
async fn readmit(call: Call) -> Result<Response, Rejection> {
    let identity = call.segment("identity").to_owned();
    let accepted = call.propose_body(CommandBody::Readmit { identity: identity.clone() }).await?;
    let readmitted = Readmitted { identity, revision: accepted.revision };
    Ok(json(StatusCode::OK, accepted.revision, &readmitted))
}

/// The keys that the caller names.
fn keys_named(call: &Call) -> Result<Vec<[u8; 32]>, Rejection> {
    let key = |text: &str| {
        let digest = Digest::try_from(text.trim().to_owned()).ok().filter(|digest| !digest.is_shortened());
        digest.map(|digest| digest.0).ok_or_else(|| {
            Problem::new(ProblemName::Invalid, format!("{text:?} is not the digest of a key"))
                .at("query: keys")
                .remedy("write sha256: and 64 hexadecimal digits, as hanse member list -o wide shows them")
                .into()
        })
    };
    call.text("keys").map_or_else(|| Ok(Vec::new()), |keys| keys.split(',').map(key).collect())
}

/// The keys that agents report gateways of this identity with.
fn known_keys(agents: &[AgentStatus], identity: &str) -> Vec<[u8; 32]> {
    let gateways = agents.iter().flat_map(|agent| &agent.gateways);
    let named = gateways.filter(|gateway| regional(&gateway.name, "gateway", &gateway.region) == identity);
    let keys: BTreeSet<[u8; 32]> = named.filter_map(|gateway| gateway.key).collect();
    keys.into_iter().collect()
}

/// The control nodes that have a vote.
fn voters(group: &GroupStatus) -> Vec<Name> {
    let voters = group.nodes.iter().filter(|node| node.role != "learner");
    voters.filter_map(|node| Name::new(&node.name).ok()).collect()
}

fn revocation(state: &State, identity: &str) -> Option<Revocation> {
    let revocation = state.revocation(identity)?;
    let joined = state.member(identity).into_iter().flat_map(|member| member.keys());
    let keys: BTreeSet<[u8; 32]> = revocation.keys.iter().copied().chain(joined).collect();
    Some(Revocation {
        identity: identity.to_owned(),
        revoked_by: Some(revocation.actor.to_string()),
        revoked_at: Some(revocation.at()),
        revoked_keys: Some(keys.iter().map(shown).collect()),
    })
}

/// A public key's digest, whole: it is no secret.
fn shown(key: &[u8; 32]) -> String {
    Digest(*key).to_string()
}

/// The identity of an agent or a gateway.
pub(crate) fn regional(name: &str, role: &str, region: &Name) -> String {
    format!("{name}.{role}.{region}.hanse.internal")
}

/// The identity of a control node.
pub(crate) fn server(name: &str) -> String {
    format!("{name}.server.control.hanse.internal")
}

/// Control nodes as the group has them, agents and control nodes that joined, gateways that were heard of, and identities that
/// are revoked. In order of role, region and name.
fn all_members(state: &State, group: &GroupStatus, agents: &[AgentStatus]) -> Vec<Member> {
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    let mut note = |identity: String, note: &dyn Fn(&mut Member)| {
        note(members.entry(identity).or_insert_with_key(|identity| member(identity)));
    };
    for node in &group.nodes {
        note(server(&node.name), &|_| {});
    }
    for (identity, joined) in state.members() {
        note(identity.to_owned(), &|member| {
            member.environments = Some(joined.environments.iter().map(ToString::to_string).collect());
            member.key = Some(shown(&joined.key_digest));
            member.token = joined.token.as_ref().map(ToString::to_string);
            member.address = Some(joined.address.clone()).filter(|address| !address.is_empty());
            member.relay = joined.relay;
        });
    }
    for agent in agents {
        let of = |name: &str, role: &str| regional(name, role, &agent.region);
        note(of(&agent.name, "agent"), &|member| member.connected = Some(agent.connected));
        for gateway in &agent.gateways {
            note(of(&gateway.name, "gateway"), &|member| {
                member.connected = Some(gateway.connected);
                if let Some(key) = &gateway.key {
                    member.key = Some(shown(key));
                }
            });
        }
    }
    for (identity, _) in state.revocations() {
        let revocation = revocation(state, identity).unwrap_or_default();
        note(identity.to_owned(), &|member| {
            member.revoked_by.clone_from(&revocation.revoked_by);
            member.revoked_at.clone_from(&revocation.revoked_at);
            member.revoked_keys.clone_from(&revocation.revoked_keys);
        });
    }
    let mut items: Vec<Member> = members.into_values().collect();
    items.sort_by(|a, b| (&a.role, &a.region, &a.name).cmp(&(&b.role, &b.region, &b.name)));
    items
}

/// A member of which only the identity is known, in parts.
fn member(identity: &str) -> Member {
    let mut labels = identity.split('.').map(str::to_owned);
    let mut label = || labels.next().unwrap_or_default();
    let (name, role, region) = (label(), label(), label());
    let region = (role != "server").then_some(region);
    Member { identity: identity.to_owned(), name, role, region, ..Member::default() }
}
