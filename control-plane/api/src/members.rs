//! Who takes part, and who of them is refused by name.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use hanse_management::{Digest, Problem, ProblemName};
use hanse_state::{
    CommandBody, State,
    port::{AgentStatus, GroupStatus},
};
use hanse_topology::Name;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{call::Call, rejection::Rejection, routes::json};

/// `GET /v1/members`: from what this node has; it answers without a quorum too.
pub(crate) async fn members(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let state = call.current();
    let group = call.api.replicated.group();
    let write = move || {
        let items = members_json(&state, &group, &fleet.agents);
        (state.revision(), json!({"items": items, "revision": state.revision()}))
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// `GET /v1/revocations`.
pub(crate) async fn revocations(call: Call) -> Result<Response, Rejection> {
    let state = call.read_state().await?;
    let write = move || {
        let items: Vec<Value> =
            state.revocations().filter_map(|(identity, _)| revocation_json(&state, identity)).collect();
        (state.revision(), json!({"items": items, "revision": state.revision()}))
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// `PUT /v1/revocations/{identity}`.
pub(crate) async fn revoke(call: Call) -> Result<Response, Rejection> {
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
    // Somebody may have lifted it in the same moment.
    let shown = revocation_json(&state, &identity).unwrap_or_else(|| json!({"identity": identity}));
    Ok(json(status, accepted.revision, shown))
}

/// `DELETE /v1/revocations/{identity}`.
pub(crate) async fn readmit(call: Call) -> Result<Response, Rejection> {
    let identity = call.segment("identity").to_owned();
    let accepted = call.propose_body(CommandBody::Readmit { identity: identity.clone() }).await?;
    let body = json!({"identity": identity, "revision": accepted.revision});
    Ok(json(StatusCode::OK, accepted.revision, body))
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

fn revocation_json(state: &State, identity: &str) -> Option<Value> {
    let revocation = state.revocation(identity)?;
    let joined = state.member(identity).map(|member| member.key_digest);
    let keys: BTreeSet<[u8; 32]> = revocation.keys.iter().copied().chain(joined).collect();
    let keys: Vec<String> = keys.iter().map(shown).collect();
    let (by, at) = (&revocation.actor, revocation.at());
    Some(json!({"identity": identity, "revokedBy": by, "revokedAt": at, "revokedKeys": keys}))
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

/// Control nodes as the group has them, agents and control nodes that joined, gateways that were heard of, and whoever is
/// revoked. In order of role, region and name.
fn members_json(state: &State, group: &GroupStatus, agents: &[AgentStatus]) -> Vec<Value> {
    let mut members: BTreeMap<String, Value> = BTreeMap::new();
    let mut note = |identity: String, facts: Value| {
        let member = members.entry(identity).or_insert_with(|| json!({}));
        if let (Some(member), Value::Object(facts)) = (member.as_object_mut(), facts) {
            member.extend(facts);
        }
    };
    for node in &group.nodes {
        note(server(&node.name), json!({}));
    }
    for (identity, member) in state.members() {
        let mut facts = json!({"environments": member.environments, "key": shown(&member.key_digest)});
        if let Some(token) = &member.token {
            facts["token"] = json!(token);
        }
        note(identity.to_owned(), facts);
    }
    for agent in agents {
        let of = |name: &str, role: &str| regional(name, role, &agent.region);
        note(of(&agent.name, "agent"), json!({"connected": agent.connected}));
        for gateway in &agent.gateways {
            let mut facts = json!({"connected": gateway.connected});
            if let Some(key) = &gateway.key {
                facts["key"] = json!(shown(key));
            }
            note(of(&gateway.name, "gateway"), facts);
        }
    }
    for (identity, _) in state.revocations() {
        note(identity.to_owned(), revocation_json(state, identity).unwrap_or_default());
    }
    let mut items: Vec<_> = members.into_iter().map(|(identity, facts)| item(&identity, facts)).collect();
    items.sort_by_key(|item| {
        ["role", "region", "name"].map(|key| item[key].as_str().unwrap_or("").to_owned())
    });
    items
}

/// One member: its identity in parts, and what is known of it.
fn item(identity: &str, facts: Value) -> Value {
    let mut labels = identity.split('.');
    let (name, role, region) = (labels.next(), labels.next(), labels.next());
    let mut item = json!({"identity": identity, "name": name, "role": role});
    if role != Some("server") {
        item["region"] = json!(region);
    }
    if let (Some(item), Value::Object(facts)) = (item.as_object_mut(), facts) {
        item.extend(facts);
    }
    item
}
