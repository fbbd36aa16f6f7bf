//! Revoking an identity, and taking that back.

use std::sync::Arc;

use hanse_topology::Name;

use super::Effects;
use crate::{
    Kind, Problem, ProblemName, ResourceKey, Revocation, State,
    member::{Place, place_of},
};

/// Most identities that are refused at once. All of them may be of one region: then its agents and gateways hear and keep them in
/// one message, of less than 200 bytes for each (names of the greatest length and an authority's key), a twentieth of the 16 MiB
/// that a message may have, and are told all of it with every change. Nodes that are lost are far fewer.
pub(super) const MAX_REVOCATIONS: usize = 4_096;

/// Refuses an identity from now on. Revoking it once more changes nothing.
///
/// Only what there is can be revoked, so that a slip of the pen is noticed; and never so many control nodes that the others
/// have no quorum, for then nobody could take it back.
pub(super) fn revoke(
    state: &mut State,
    identity: &str,
    control_nodes: &[Name],
    actor: &str,
) -> Result<Effects, Problem> {
    let nobody = |why: String| {
        Err(Problem::new(ProblemName::NotFound, why)
            .at("identity")
            .remedy("hanse member list shows who there is"))
    };
    match place_of(identity)? {
        Place::Server(name) => {
            if !control_nodes.contains(&name) && !state.members.contains_key(identity) {
                return nobody(format!("there is no control node {name}"));
            }
            keep_quorum(state, &name, control_nodes)?;
        }
        Place::Agent if !state.members.contains_key(identity) => {
            return nobody(format!("no agent has joined as {identity}"));
        }
        Place::Agent => {}
        Place::Gateway(region) => {
            if state.get(&ResourceKey::global(Kind::Region, region.clone())).is_none() {
                return nobody(format!("there is no Region {region}"));
            }
        }
    }
    if state.revocations.contains_key(identity) {
        return Ok(Effects::none());
    }
    if state.revocations.len() >= MAX_REVOCATIONS {
        let detail = format!("{MAX_REVOCATIONS} identities are revoked, and no more can be");
        return Err(Problem::new(ProblemName::TooLarge, detail).at("identity").remedy(
            "readmit those whose keys are known to be destroyed, which need no refusal: hanse member readmit IDENTITY",
        ));
    }
    let revocation = Revocation { actor: actor.to_owned(), time_ms: state.time_ms };
    state.revocations.insert(identity.into(), Arc::new(revocation));
    Ok(changed(state))
}

/// Lifts a revocation.
pub(super) fn readmit(state: &mut State, identity: &str) -> Result<Effects, Problem> {
    if state.revocations.remove(identity).is_none() {
        return Err(Problem::new(ProblemName::NotFound, format!("{identity} is not revoked"))
            .at("identity")
            .remedy("hanse member list shows who is"));
    }
    Ok(changed(state))
}

/// Whether those who keep their vote are a majority without this one.
fn keep_quorum(state: &State, leaving: &Name, control_nodes: &[Name]) -> Result<(), Problem> {
    let stays = |node: &&Name| {
        *node != leaving && !state.is_revoked(&format!("{node}.server.control.{}", crate::member::DOMAIN))
    };
    let staying = control_nodes.iter().filter(stays).count();
    if staying > control_nodes.len() / 2 {
        return Ok(());
    }
    let detail = format!(
        "without {leaving} only {staying} of {} control nodes would be left: no quorum, so nobody could take it back",
        control_nodes.len()
    );
    Err(Problem::new(ProblemName::Conflict, detail)
        .at("identity")
        .remedy("add control nodes first: hanse token create --join server"))
}

fn changed(state: &mut State) -> Effects {
    state.revoked_revision = state.revision + 1;
    Effects::revision()
}
