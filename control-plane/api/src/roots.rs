//! The roots of trust: which are believed, who believes them, and the steps by which one takes another's place.

use std::collections::BTreeMap;

use axum::response::Response;
use hanse_management::{Problem, ProblemName, manifest};
use hanse_state::{
    CommandBody, Outcome, RootId, State,
    port::{Facts, FleetReport, GroupStatus, RootCertificates, RootFacts, TrustStatus},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use crate::{
    answer::{Root, RootSettled, Roots, Rotation},
    call::Call,
    members::{regional, server},
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
};

/// How many are named of those that a step waits for: enough to see what is the matter.
const NAMED: usize = 10;

/// How a root is named, for descriptions.
const ROOT: &str = "The SHA-256 of its public key, 64 hexadecimal digits";
const FORCE: &str = "Go on without those that are not ready: they must join again";

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(roots), routes!(trust), routes!(issue_from), routes!(drop_root)]
}

/// Which roots of trust are believed, and by whom
///
/// From what this node has: it answers without a quorum too.
#[utoipa::path(get, path = "/v1/roots", tag = "federation", extensions(("x-hanse-access" = json!("federation"))),
    responses((status = 200, body = Roots, description = "The roots")))]
async fn roots(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let state = call.current();
    let (group, certificates) = (call.api.replicated.group(), call.api.certificates.clone());
    let write = move || {
        let items = all_roots(&*certificates, &state, &participants(&state, &group, &fleet));
        (state.revision(), Roots { items, revision: state.revision() })
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// Has another root believed beside the present one
#[utoipa::path(post, path = "/v1/roots", tag = "federation", extensions(("x-hanse-access" = json!("admin"))), operation_id = "trustRoot",
    request_body(content = Rotation, description = "Both roots, and each one's word for the other"),
    responses(
        (status = 200, body = RootSettled, description = "It is believed"),
        refusal::Conflict, refusal::Invalid))]
async fn trust(mut call: Call) -> Result<Response, Rejection> {
    let certificates = call.api.certificates.clone();
    let read = move |bytes: &[u8]| {
        let body = Rotation::deserialize(&manifest::json_value(bytes)?).map_err(|_| {
            bad_request("the request has no rotation")
                .at("body: rotation")
                .remedy("send {\"rotation\": \"…\"} with the file rotation.pem that hanse root new wrote")
        })?;
        certificates.rotation(&body.rotation)
    };
    let (present, fresh) = call.parse(read).await?;
    let key = fresh.key;
    settle(&call, CommandBody::TrustRoot { present, fresh }, key).await
}

/// Has certificates come from this root, once the whole federation believes it
#[utoipa::path(put, path = "/v1/roots/{root}/issuing", tag = "federation", extensions(("x-hanse-access" = json!("admin"))), operation_id = "useRoot",
    params(("root" = String, Path, description = ROOT), ("force" = Option<bool>, Query, description = FORCE)),
    responses(
        (status = 200, body = RootSettled, description = "Done"),
        refusal::NotFound, refusal::Conflict))]
async fn issue_from(call: Call) -> Result<Response, Rejection> {
    let key = root_key(&call)?;
    let command = CommandBody::UseRoot(key);
    if !call.flag("force") {
        let unready = waiting_for(&call, &command, |trust| believes(trust, &key)).await?;
        check_none(
            &unready,
            "do not believe this root yet",
            "certificates that come from it would be refused there",
        )?;
    }
    settle(&call, command, key).await
}

/// Has a root believed no more, once no certificate comes from it
#[utoipa::path(delete, path = "/v1/roots/{root}", tag = "federation", extensions(("x-hanse-access" = json!("admin"))), operation_id = "dropRoot",
    params(("root" = String, Path, description = ROOT), ("force" = Option<bool>, Query, description = FORCE)),
    responses(
        (status = 200, body = RootSettled, description = "Done"),
        refusal::NotFound, refusal::Conflict))]
async fn drop_root(call: Call) -> Result<Response, Rejection> {
    let key = root_key(&call)?;
    let command = CommandBody::DropRoot(key);
    if !call.flag("force") {
        let moved = |trust: &TrustStatus| !trust.shown.is_empty() && trust.shown != key[..];
        let unready = waiting_for(&call, &command, moved).await?;
        check_none(
            &unready,
            "have certificates from this root still, or did not say",
            "they would be believed by nobody",
        )?;
    }
    settle(&call, command, key).await
}

async fn settle(call: &Call, command: CommandBody, key: RootId) -> Result<Response, Rejection> {
    let accepted = call.propose_body(command).await?;
    let settled = RootSettled { root: hex::encode(key), revision: accepted.revision };
    Ok(json(StatusCode::OK, accepted.revision, &settled))
}

fn believes(trust: &TrustStatus, key: &RootId) -> bool {
    trust.believed.iter().any(|believed| *believed == key[..])
}

/// The root that the path names.
fn root_key(call: &Call) -> Result<RootId, Problem> {
    let mut key = RootId::default();
    hex::decode_to_slice(call.segment("root"), &mut key).map_err(|_| {
        bad_request("a root is named by 64 hexadecimal digits: the SHA-256 of its public key")
            .at("path: root")
            .remedy("hanse root list shows them")
    })?;
    Ok(key)
}

/// The participants of which `so` is not known to hold. A command that the state refuses is refused first, also if all are ready.
async fn waiting_for(
    call: &Call,
    command: &CommandBody,
    so: impl Fn(&TrustStatus) -> bool,
) -> Result<Vec<String>, Problem> {
    let fleet = call.api.fleet.fleet().await;
    // Read after the fleet: who joined meanwhile is a member of whom nothing is known.
    let state = call.read_latest().await?;
    let tried = call.command_of(command.clone(), call.idempotency_key()?);
    let mut next = state.clone();
    if let Outcome::Rejected(problem) = next.apply(&tried) {
        return Err(problem);
    }
    if next.revision() == state.revision() {
        return Ok(Vec::new()); // it was done already; its answer may have been lost
    }
    let participants = participants(&state, &call.api.replicated.group(), &fleet);
    let unready = participants.into_iter().filter(|(_, trust)| !trust.as_ref().is_some_and(&so));
    Ok(unready.map(|(identity, _)| identity).collect())
}

fn check_none(unready: &[String], why: &str, else_what: &str) -> Result<(), Problem> {
    if unready.is_empty() {
        return Ok(());
    }
    let mut named = unready.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if unready.len() > NAMED {
        named += ", …";
    }
    let detail = format!("{} {why}: {named}; {else_what}", unready.len());
    Err(Problem::new(ProblemName::Conflict, detail).at("path: root").remedy(
        "wait, start what is down, or revoke what is gone for good (hanse member revoke); force=true goes on without \
         them, and they must then join again",
    ))
}

/// The members that take part and are not refused, each with what is known of the roots that it believes: control nodes, the
/// agents that joined, and the gateways, also those that their agents miss.
fn participants(
    state: &State,
    group: &GroupStatus,
    fleet: &FleetReport,
) -> BTreeMap<String, Option<TrustStatus>> {
    let mut known: BTreeMap<String, Option<TrustStatus>> = BTreeMap::new();
    let said = |facts: &Facts| facts.trust.clone().filter(|trust| *trust != TrustStatus::default());
    for node in &group.nodes {
        known.insert(server(&node.name), fleet.nodes.get(&node.id).and_then(said));
    }
    // Also those that joined and have not started yet: they come with a certificate of the root they joined under.
    for (identity, _) in state.members() {
        known.entry(identity.to_owned()).or_insert(None);
    }
    // One that has just started may answer for itself and not know its agents yet.
    for node in &fleet.silent {
        known.insert(server(node), None);
    }
    for agent in &fleet.agents {
        let of = |name: &str, role: &str| regional(name, role, &agent.region);
        // Those that it misses and could not name: the agent stands for them.
        let unnamed = agent.facts.unheard_total > agent.facts.unheard.len() as u64;
        known.insert(of(&agent.name, "agent"), said(&agent.facts).filter(|_| !unnamed));
        for gateway in &agent.gateways {
            known.insert(of(&gateway.name, "gateway"), said(&gateway.facts));
        }
        // What a gateway said is its word while it is off, too.
        for gateway in &agent.facts.unheard {
            known.entry(of(gateway, "gateway")).or_insert(None);
        }
    }
    known.retain(|identity, _| !state.is_revoked(identity));
    known
}

fn all_roots(
    certificates: &dyn RootCertificates,
    state: &State,
    participants: &BTreeMap<String, Option<TrustStatus>>,
) -> Vec<Root> {
    let said_of = |facts: RootFacts| {
        let not_believed = |said: Option<&TrustStatus>| said.is_some_and(|said| !believes(said, &facts.key));
        let shown = |said: Option<&TrustStatus>| said.is_some_and(|said| said.shown == facts.key[..]);
        let unknown = |said: Option<&TrustStatus>| said.is_none_or(|said| said.shown.is_empty());
        let those = |are: &dyn Fn(Option<&TrustStatus>) -> bool| -> Vec<String> {
            let are = |(_, said): &(&String, &Option<TrustStatus>)| are(said.as_ref());
            participants.iter().filter(are).map(|(identity, _)| identity.clone()).collect()
        };
        Root {
            root: hex::encode(facts.key),
            issuing: state.issuing_root().is_none_or(|issuing| issuing == facts.key),
            not_after: facts.not_after(),
            not_believed_by: those(&not_believed),
            shown_by: those(&shown),
            unknown: those(&unknown),
            certificate: facts.pem,
            trusted_by: None,
            trusted_at: None,
        }
    };
    if state.roots().is_empty() {
        return certificates.present().map(said_of).into_iter().collect();
    }
    let known = state.roots().iter().filter_map(|known| {
        let root = said_of(certificates.facts(&known.root.certificate)?);
        Some(Root { trusted_by: Some(known.actor.to_string()), trusted_at: Some(known.at()), ..root })
    });
    known.collect()
}
