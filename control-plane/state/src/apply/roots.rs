//! Replacing the root, step by step: another one is believed too, certificates come from it, the old one is dropped.

use std::sync::Arc;

use hanse_management::{Problem, ProblemName};
use hanse_proto::{MAX_BELIEVED_ROOTS, MAX_DROPPED_ROOTS};

use super::Effects;
use crate::{
    State,
    root::{Root, RootCertificate, RootId},
};

/// The largest certificate: ours have some 400 octets, and one from an operator's own tools may have a few more names.
const MAX_CERTIFICATE_BYTES: usize = 4096;

/// Has `fresh` believed beside `present`. Once more changes nothing.
pub(super) fn trust(
    state: &mut State,
    present: &RootCertificate,
    fresh: &RootCertificate,
    actor: &str,
) -> Result<Effects, Problem> {
    for root in [present, fresh] {
        let largest = root.certificate.len().max(root.endorsement.len());
        if largest > MAX_CERTIFICATE_BYTES {
            return Err(Problem::new(
                ProblemName::TooLarge,
                format!("a root's certificate has {largest} bytes; the limit is {MAX_CERTIFICATE_BYTES}"),
            )
            .remedy("make the root with hanse root new"));
        }
    }
    if present.key == fresh.key {
        return Err(Problem::new(ProblemName::Invalid, "the new root has the key of the present one")
            .remedy("make another: hanse root new"));
    }
    if state.roots.get(&fresh.key).is_some() {
        return Ok(Effects::none());
    }
    let revision = state.revision + 1;
    let (believed, issuing) = (&state.roots.believed, state.issuing_root());
    if issuing.is_some_and(|issuing| issuing != present.key) {
        return Err(Problem::new(
            ProblemName::Conflict,
            "the rotation takes the place of a root that certificates do not come from",
        )
        .remedy("make it again with the present root: hanse root list, hanse root new"));
    }
    if state.roots.dropped.contains(&fresh.key) {
        return Err(Problem::new(
            ProblemName::Conflict,
            "this root was dropped, and is never believed again",
        )
        .remedy("make another: hanse root new"));
    }
    if believed.len() >= MAX_BELIEVED_ROOTS {
        return Err(Problem::new(ProblemName::Conflict, "one root takes another's place already")
            .remedy("finish that first, or drop the root that is not in use: hanse root list"));
    }
    let said =
        |root: &RootCertificate| Root { root: root.clone(), actor: actor.to_owned(), time_ms: state.time_ms };
    let (present_root, fresh_root) = (said(present), said(fresh));
    let roots = Arc::make_mut(&mut state.roots);
    match roots.believed.iter_mut().find(|believed| believed.root.key == present.key) {
        // The word for it is the new one's now.
        Some(known) => known.root.endorsement.clone_from(&present.endorsement),
        None => roots.believed.push(present_root),
    }
    roots.believed.push(fresh_root);
    roots.issuing = present.key;
    roots.revision = revision;
    Ok(Effects::revision())
}

/// Has certificates come from this root.
pub(super) fn issue_from(state: &mut State, key: &RootId) -> Result<Effects, Problem> {
    if state.roots.get(key).is_none() {
        return Err(unknown(key));
    }
    if state.roots.issuing == *key {
        return Ok(Effects::none());
    }
    let revision = state.revision + 1;
    let roots = Arc::make_mut(&mut state.roots);
    (roots.issuing, roots.revision) = (*key, revision);
    Ok(Effects::revision())
}

/// Has a root believed no more, and never again: the other's word for it lasts as long as it would have.
pub(super) fn drop_root(state: &mut State, key: &RootId) -> Result<Effects, Problem> {
    if state.roots.get(key).is_none() {
        return Err(unknown(key));
    }
    if state.roots.issuing == *key {
        return Err(Problem::new(ProblemName::Conflict, "certificates come from this root")
            .at("path: root")
            .remedy("have them come from another first: hanse root use"));
    }
    let revision = state.revision + 1;
    let roots = Arc::make_mut(&mut state.roots);
    roots.believed.retain(|believed| believed.root.key != *key);
    roots.dropped.push(*key);
    let too_many = roots.dropped.len().saturating_sub(MAX_DROPPED_ROOTS);
    roots.dropped.drain(..too_many);
    roots.revision = revision;
    Ok(Effects::revision())
}

fn unknown(key: &RootId) -> Problem {
    Problem::new(ProblemName::NotFound, format!("no root {} is believed", hex::encode(key)))
        .at("path: root")
        .remedy("hanse root list shows which are; hanse root trust adds one")
}
