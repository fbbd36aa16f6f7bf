//! Revoking an identity, and taking that back.

use std::{collections::BTreeSet, sync::Arc};

use hanse_management::{Kind, Problem, ProblemName, ResourceKey};
use hanse_topology::Name;

use super::Effects;
use crate::{
    Revocation, State,
    member::{Identified, identified, server_identity},
};

/// Most identities that are refused at once. All of them may be of one region: then its agents and gateways hear and keep them in
/// one message, of less than 200 bytes for each (names of the greatest length and an authority's key), a twentieth of the 16 MiB
/// that a message may have, and are told all of it with every change. Nodes that are lost are far fewer.
pub(super) const MAX_REVOCATIONS: usize = 4_096;
/// Most keys that are refused with one identity, beside the one that it joined with: a gateway's name may have joined at several
/// agents, with a key at each.
pub(super) const MAX_KEYS: usize = 16;
/// Most keys that are refused with all identities together: two for each, 280 KB in the message above.
pub(super) const MAX_ALL_KEYS: usize = 2 * MAX_REVOCATIONS;

/// The keys to be refused with an identity.
pub(super) struct Keys<'a> {
    /// The operator named them.
    pub(super) named: &'a [[u8; 32]],
    /// They were reported: as many are taken as there is room for.
    pub(super) known: &'a [[u8; 32]],
}

/// Refuses an identity from now on, and keys with it. Revoking it once more adds keys, and else changes nothing.
///
/// Only an identity that exists can be revoked, so that a misspelled one is noticed. The control nodes that are not revoked keep a
/// quorum: without it, no node could lift the revocation.
pub(super) fn revoke(
    state: &mut State,
    identity: &str,
    control_nodes: &[Name],
    keys: &Keys<'_>,
    actor: &str,
) -> Result<Effects, Problem> {
    let nobody = |why: String| {
        Err(Problem::new(ProblemName::NotFound, why)
            .at("identity")
            .remedy("hanse member list shows who there is"))
    };
    let whom = identified(identity)?;
    match &whom {
        Identified::Server(name) => {
            if !control_nodes.contains(name) && !state.members.contains_key(identity) {
                return nobody(format!("there is no control node {name}"));
            }
            keep_quorum(state, name, control_nodes)?;
        }
        Identified::Agent if !state.members.contains_key(identity) => {
            return nobody(format!("no agent has joined as {identity}"));
        }
        Identified::Agent => {}
        Identified::OfRegion(region) => {
            if state.get(&ResourceKey::global(Kind::Region, region.clone())).is_none() {
                return nobody(format!("there is no Region {region}"));
            }
        }
    }
    if let Some(known) = state.revocations.get(identity).map(Arc::as_ref) {
        let fresh = with_keys(state, known, keys)?;
        return Ok(refuse(state, identity, &whom, fresh));
    }
    if state.revocations.len() >= MAX_REVOCATIONS {
        let detail = format!("{MAX_REVOCATIONS} identities are revoked, and no more can be");
        return Err(Problem::new(ProblemName::TooLarge, detail).at("identity").remedy(
            "readmit those whose keys are known to be destroyed, which need no refusal: hanse member readmit IDENTITY",
        ));
    }
    let revocation = Revocation { actor: actor.to_owned(), time_ms: state.time_ms, keys: Vec::new() };
    let revocation = with_keys(state, &revocation, keys)?;
    Ok(refuse(state, identity, &whom, revocation))
}

/// A control node has the federation key: Secrets are to be sealed with another one.
fn refuse(state: &mut State, identity: &str, whom: &Identified, revocation: Revocation) -> Effects {
    let effects = replace(state, identity, revocation);
    if effects.makes_revision && matches!(whom, Identified::Server(_)) {
        super::keys::outdate(state);
    }
    effects
}

/// Adds keys to a revocation, as many as there is room for; where it was lifted meanwhile, nothing changes.
pub(super) fn add_keys(state: &mut State, identity: &str, keys: &[[u8; 32]]) -> Result<Effects, Problem> {
    let Some(known) = state.revocations.get(identity).map(Arc::as_ref) else { return Ok(Effects::none()) };
    let fresh = with_keys(state, known, &Keys { named: &[], known: keys })?;
    Ok(replace(state, identity, fresh))
}

impl State {
    /// Whether another key can be refused with this revocation.
    pub fn has_room_for_keys(&self, revocation: &Revocation) -> bool {
        revocation.keys.len() < room_for_keys(self, revocation)
    }
}

/// The most keys that this revocation may have now.
fn room_for_keys(state: &State, revocation: &Revocation) -> usize {
    let all: usize = state.revocations.values().map(|revocation| revocation.keys.len()).sum();
    MAX_KEYS.min(revocation.keys.len() + MAX_ALL_KEYS.saturating_sub(all))
}

/// The revocation with more keys.
fn with_keys(state: &State, revocation: &Revocation, keys: &Keys<'_>) -> Result<Revocation, Problem> {
    let room = room_for_keys(state, revocation);
    let mut all: BTreeSet<[u8; 32]> = revocation.keys.iter().chain(keys.named).copied().collect();
    if all.len() > room {
        let detail = format!(
            "{} keys are too many: one identity has at most {MAX_KEYS}, all together {MAX_ALL_KEYS}",
            all.len()
        );
        return Err(Problem::new(ProblemName::TooLarge, detail).at("keys").remedy(
            "readmit identities whose keys are known to be destroyed: hanse member readmit IDENTITY",
        ));
    }
    for key in keys.known {
        if all.len() == room {
            break;
        }
        all.insert(*key);
    }
    Ok(Revocation { keys: all.into_iter().collect(), ..revocation.clone() })
}

fn replace(state: &mut State, identity: &str, fresh: Revocation) -> Effects {
    if state.revocations.get(identity).is_some_and(|known| **known == fresh) {
        return Effects::none();
    }
    state.revocations.insert(identity.into(), Arc::new(fresh));
    changed(state)
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
    let stays = |node: &&Name| *node != leaving && !state.is_revoked(&server_identity(node.as_str()));
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
