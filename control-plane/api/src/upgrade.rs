//! Upgrades: which version is in force, what the next one changes, and which nodes are not ready for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::response::Response;
use hanse_management::{Problem, ProblemName, manifest};
use hanse_state::{
    Command, CommandBody, State, Version,
    port::{FleetReport, GatewayStatus, GroupStatus, NodeStatus},
    projection,
};
use hanse_topology::{Identity, LEASE, Name, Role, ScopeId};
use http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use crate::{
    answer::{Blocker, FinalizeRequest, Finalized, NodeBuild, ScopeEffect, Upgrade},
    call::Call,
    convergence::gateways,
    members::{regional, server},
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
};

/// The features that a version requires of the consumers of a scope.
type Required = BTreeMap<ScopeId, BTreeSet<String>>;

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(upgrade), routes!(finalize)]
}

/// Which version is in force, what the next one changes, and which nodes are not ready for it
///
/// From what this node has: it answers without a quorum too.
#[utoipa::path(get, path = "/v1/upgrade", tag = "federation", extensions(("x-hanse-access" = json!("federation"))),
    responses((status = 200, body = Upgrade, description = "Where the upgrade stands")))]
async fn upgrade(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let state = call.current();
    let group = call.api.replicated.group();
    let write = move || (state.revision(), standing(&state, &group, &fleet));
    Ok(call.answer(StatusCode::OK, write).await?)
}

/// Puts the next version in force, once all are ready for it
///
/// From then on no release before it runs. The request names the version, so that a repeated one raises nothing twice: where the
/// version is in force already, that is the answer.
#[utoipa::path(post, path = "/v1/upgrade/finalize", tag = "federation", extensions(("x-hanse-access" = json!("admin"))),
    request_body(content = FinalizeRequest, description = "Which version"),
    responses((status = 200, body = Finalized, description = "It is in force"), refusal::Upgrade))]
async fn finalize(mut call: Call) -> Result<Response, Rejection> {
    let to = call.parse(read_version).await?;
    // First: who is a member by now is judged by it.
    let state = call.read_latest().await?;
    let in_force = state.version();
    if to <= in_force.number() {
        return Ok(finalized(in_force, state.revision()));
    }
    in_force.check_next(to)?;
    let next = in_force.next().ok_or_else(|| {
        Problem::new(ProblemName::Upgrade, format!("this control node does not know version {to}"))
            .at("body: version")
            .remedy("ask another control node, and roll out the release that brings it here too")
    })?;
    let fleet = call.api.fleet.fleet().await;
    let group = call.api.replicated.group();
    let judged = move || blockers(&Next::new(&state, to, Some(next)), &group, &fleet);
    check_none(to, &call.api.bounds.answer(judged).await?)?;
    let accepted = call.propose_body(CommandBody::finalize(next)).await?;
    Ok(finalized(next, accepted.revision))
}

/// The version that the body names.
fn read_version(body: &[u8]) -> Result<u32, Problem> {
    let request = FinalizeRequest::deserialize(&manifest::json_value(body)?).ok();
    request.map(|request| request.version).filter(|version| *version > 0).ok_or_else(|| {
        bad_request("the request names no version")
            .at("body: version")
            .remedy("send {\"version\": N}, where N is `next` of GET /v1/upgrade")
    })
}

fn finalized(version: Version, revision: u64) -> Response {
    let answer = Finalized { version: version.number(), release: version.release().to_owned(), revision };
    json(StatusCode::OK, revision, &answer)
}

fn check_none(next: u32, blockers: &[Blocker]) -> Result<(), Problem> {
    if blockers.is_empty() {
        return Ok(());
    }
    let each: Vec<_> =
        blockers.iter().map(|blocker| format!("{} {}", blocker.identity, blocker.reason)).collect();
    let detail = format!("version {next} cannot be finalized yet: {}", each.join("; "));
    Err(Problem::new(ProblemName::Upgrade, detail).remedy(
        "start what is down, roll out the release that brings it, and look again: hanse upgrade check",
    ))
}

fn standing(state: &State, group: &GroupStatus, fleet: &FleetReport) -> Upgrade {
    let version = state.version();
    let next = next(version, group, fleet);
    let nodes = group.nodes.iter().map(|node| {
        let facts = fleet.nodes.get(&node.id);
        NodeBuild {
            name: node.name.clone(),
            role: node.role.to_owned(),
            release: facts.map(|facts| facts.release.clone()),
            knows: facts.map(|facts| facts.version),
        }
    });
    let effects = version.next().map(|next| projection::preview(state, &after(state, next)));
    let blockers =
        next.map(|next| blockers(&Next::new(state, next, version.next()), group, fleet)).unwrap_or_default();
    Upgrade {
        version: version.number(),
        release: version.release().to_owned(),
        next,
        nodes: nodes.collect(),
        blockers,
        scopes: effects.map(|effects| effects.iter().map(ScopeEffect::from).collect()),
        revision: state.revision(),
    }
}

/// The version after the one in force, if a member of the group knows it.
fn next(in_force: Version, group: &GroupStatus, fleet: &FleetReport) -> Option<u32> {
    let next = in_force.number() + 1;
    let mut said = group.nodes.iter().filter_map(|node| fleet.nodes.get(&node.id));
    said.any(|facts| facts.version >= next).then_some(next)
}

/// The state with `next` in force.
fn after(state: &State, next: Version) -> State {
    let mut after = state.clone();
    after.apply(&Command {
        actor: String::new(),
        request_id: String::new(),
        time_ms: state.time_ms(),
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body: CommandBody::finalize(next),
    });
    after
}

/// What the next version asks of nodes.
struct Next {
    number: u32,
    required: Required,
    /// The agents of each region that are members, and not revoked.
    agents: BTreeMap<Name, BTreeSet<Name>>,
}

impl Next {
    /// `version`: that of this number, if this build knows it.
    fn new(state: &State, number: u32, version: Option<Version>) -> Self {
        let required = version.map(|version| projection::required(state, &after(state, version)));
        let mut agents = BTreeMap::<_, BTreeSet<_>>::new();
        let members = state.members().filter(|(identity, _)| !state.is_revoked(identity));
        for identity in members.filter_map(|(identity, _)| identity.parse::<Identity>().ok()) {
            if let (Role::Agent, Some(region)) = (identity.role, identity.region) {
                agents.entry(region).or_default().insert(identity.name);
            }
        }
        Self { number, required: required.unwrap_or_default(), agents }
    }

    /// The agents whose gateways may lack a feature.
    fn asked(&self) -> impl Iterator<Item = (&Name, &Name)> {
        let regions: BTreeSet<_> = self.required.keys().map(ScopeId::region).collect();
        let asked = self.agents.iter().filter(move |(region, _)| regions.contains(region));
        asked.flat_map(|(region, agents)| agents.iter().map(move |agent| (region, agent)))
    }
}

/// The nodes that are not ready for the next version.
fn blockers(next: &Next, group: &GroupStatus, fleet: &FleetReport) -> Vec<Blocker> {
    let Next { number, required, .. } = next;
    let control_node = |node: &NodeStatus| {
        let reason = match fleet.nodes.get(&node.id) {
            None => "did not answer".to_owned(),
            Some(facts) if facts.version < *number => {
                format!("runs release {}, which knows versions up to {}", facts.release, facts.version)
            }
            Some(_) => return None,
        };
        Some(Blocker { identity: server(&node.name), reason })
    };
    let nodes = group.nodes.iter().filter_map(control_node);
    if required.is_empty() {
        return nodes.collect();
    }
    // What these hide may be a gateway that lacks a feature.
    let answered = group.nodes.iter().filter(|node| fleet.nodes.contains_key(&node.id));
    let silent = answered.filter(|node| fleet.silent.contains(&node.name)).map(|node| {
        let reason = "has not heard of all its agents yet".to_owned();
        Blocker { identity: server(&node.name), reason }
    });
    let partial = fleet.partial.iter().map(|partial| Blocker {
        identity: regional(&partial.agent, "agent", &partial.region),
        reason: format!("has {} gateways more than it can report", partial.left_out),
    });
    let is_heard = |region: &Name, name: &Name| {
        let heard = fleet.agents.iter().filter(|agent| is_live(agent.heard_ms_ago));
        heard.into_iter().any(|agent| agent.region == *region && agent.name == name.as_str())
    };
    let unheard = next.asked().filter(|(region, agent)| !is_heard(region, agent)).map(|(region, agent)| {
        let reason =
            "is not heard, and its gateways may lack a feature that is required: start it, or revoke it";
        Blocker { identity: regional(agent.as_str(), "agent", region), reason: reason.to_owned() }
    });
    let gateways = gateways(&fleet.agents).into_iter().filter_map(|view| lacking(view.gateway, required));
    nodes.chain(silent).chain(partial).chain(unheard).chain(gateways).collect()
}

fn is_live(heard_ms_ago: u64) -> bool {
    Duration::from_millis(heard_ms_ago) < LEASE
}

/// A live gateway that does not know a feature which one of its scopes requires.
fn lacking(gateway: &GatewayStatus, required: &Required) -> Option<Blocker> {
    let known = &gateway.facts.features;
    let lacks =
        |features: &BTreeSet<String>| features.iter().find(|feature| !known.contains(feature)).cloned();
    let scopes = gateway.scopes.iter().filter(|_| is_live(gateway.heard_ms_ago));
    let (scope, feature) =
        scopes.filter_map(|at| Some((&at.scope, required.get(&at.scope).and_then(lacks)?))).next()?;
    let reason = format!(
        "runs release {}, which does not know the feature {feature:?} that {scope} requires",
        gateway.facts.release
    );
    Some(Blocker { identity: regional(&gateway.name, "gateway", &gateway.region), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_state::port::{AgentStatus, Facts, ScopeStatus};

    fn says(version: u32) -> Facts {
        Facts { release: format!("0.{version}.0"), version, ..Facts::default() }
    }

    fn group(nodes: &[(u64, &str, &'static str)]) -> GroupStatus {
        let node = |(id, name, role): &(u64, &str, &'static str)| NodeStatus {
            id: *id,
            name: (*name).to_owned(),
            role,
            api_url: String::new(),
            matched: None,
        };
        GroupStatus { nodes: nodes.iter().map(node).collect(), ..GroupStatus::default() }
    }

    fn fleet(nodes: &[(u64, Facts)]) -> FleetReport {
        let nodes = nodes.iter().cloned().collect();
        FleetReport { nodes, ..FleetReport::default() }
    }

    /// Version 2, where `agent` is the agent of `eu`.
    fn second(required: &Required) -> Next {
        let name = |text| Name::new(text).unwrap();
        let agents = [(name("eu"), [name("agent")].into())].into();
        Next { number: 2, required: required.clone(), agents }
    }

    fn reasons(fleet: &FleetReport, group: &GroupStatus, required: &Required) -> Vec<String> {
        let found = blockers(&second(required), group, fleet);
        found.into_iter().map(|blocker| format!("{} {}", blocker.identity, blocker.reason)).collect()
    }

    #[test]
    fn every_voter_and_learner_must_answer_and_know_the_version() {
        let group = group(&[(1, "cp-1", "leader"), (2, "cp-2", "voter"), (3, "cp-3", "learner")]);
        let ready = fleet(&[(1, says(2)), (2, says(3)), (3, says(2))]);
        assert_eq!(reasons(&ready, &group, &Required::new()), [""; 0]);
        let late = fleet(&[(1, says(2)), (2, says(1))]);
        assert_eq!(
            reasons(&late, &group, &Required::new()),
            [
                "cp-2.server.control.hanse.internal runs release 0.1.0, which knows versions up to 1",
                "cp-3.server.control.hanse.internal did not answer",
            ]
        );
    }

    #[test]
    fn no_live_gateway_may_lack_a_feature_that_its_scopes_require() {
        let name = |text: &str| Name::new(text).unwrap();
        let scope = |region: &str| ScopeId::runtime(name(region), name("production"));
        let gateway = |named: &str, region: &str, heard_ms_ago, features: &[&str]| GatewayStatus {
            name: named.to_owned(),
            region: name(region),
            connected: true,
            heard_ms_ago,
            scopes: vec![ScopeStatus::at(scope(region), Some(7))],
            facts: Facts { features: features.iter().map(ToString::to_string).collect(), ..says(1) },
            key: None,
        };
        let gateways = vec![
            gateway("knows", "eu", 100, &["addresses", "other"]),
            gateway("lacks", "eu", 100, &["other"]),
            gateway("gone", "eu", 15_001, &[]),
            gateway("elsewhere", "us", 100, &[]),
        ];
        let agent = AgentStatus {
            name: "agent".to_owned(),
            region: name("eu"),
            connected: true,
            heard_ms_ago: 100,
            scopes: Vec::new(),
            gateways,
            facts: Facts::default(),
        };
        let group = group(&[(1, "cp-1", "leader")]);
        let seen = FleetReport { agents: vec![agent], ..fleet(&[(1, says(2))]) };
        let required: Required = [(scope("eu"), ["addresses".to_owned()].into())].into();
        assert_eq!(
            reasons(&seen, &group, &required),
            [
                "lacks.gateway.eu.hanse.internal runs release 0.1.0, which does not know the feature \"addresses\" that \
                 runtime/eu/production requires"
            ]
        );
        assert_eq!(
            reasons(&seen, &group, &Required::new()),
            [""; 0],
            "what nothing requires is not asked for"
        );
        let [mut agent]: [_; 1] = seen.agents.try_into().unwrap();
        agent.heard_ms_ago = 15_000;
        let cut_off = FleetReport { agents: vec![agent], ..fleet(&[(1, says(2))]) };
        assert!(
            reasons(&cut_off, &group, &required)[0].starts_with("agent.agent.eu.hanse.internal is not heard")
        );
        let hidden = FleetReport { silent: vec!["cp-1".to_owned()], ..fleet(&[(1, says(2))]) };
        assert!(reasons(&hidden, &group, &required)[0].ends_with("has not heard of all its agents yet"));
    }

    #[test]
    fn the_next_version_is_one_that_a_member_knows() {
        let group = group(&[(1, "cp-1", "leader"), (2, "cp-2", "voter")]);
        let known = |said: &[(u64, u32)]| {
            let nodes: Vec<_> = said.iter().map(|(id, version)| (*id, says(*version))).collect();
            next(Version::FIRST, &group, &fleet(&nodes))
        };
        assert_eq!(known(&[]), None);
        assert_eq!(known(&[(1, 1)]), None);
        assert_eq!(known(&[(1, 1), (2, 3)]), Some(2), "one after the other");
        assert_eq!(known(&[(1, 1), (9, 2)]), None, "it is no member any more");
    }

    #[test]
    fn a_node_that_takes_the_place_of_another_does_not_speak_for_it() {
        let group = group(&[(1, "cp-1", "leader"), (2, "cp-2", "voter"), (9, "cp-2", "learner")]);
        let seen = fleet(&[(1, says(2)), (9, says(2))]);
        assert_eq!(
            reasons(&seen, &group, &Required::new()),
            ["cp-2.server.control.hanse.internal did not answer"]
        );
    }
}
