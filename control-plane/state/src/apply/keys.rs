//! The federation key's versions: one is made, every control node gets it, then it is used.

use std::sync::Arc;

use hanse_management::{Problem, ProblemName, Revision};
use sha2::{Digest as _, Sha256};

use super::{Effects, resources};
use crate::{
    State,
    federation_key::{KeyVersion, MAX_KEY_VERSIONS, RecoveryKey},
};

/// The largest public key and the largest wrapped key: those of P-256, which every node writes, have 91 and 113 bytes.
const MAX_KEY_BYTES: usize = 256;

/// What a leader says of a version that it made.
pub(super) struct Made<'a> {
    /// Its number.
    pub(super) version: u32,
    /// Its digest.
    pub(super) digest: &'a [u8; 32],
    /// SHA-256 of the public key that it is wrapped to.
    pub(super) recipient: &'a [u8; 32],
    /// The wrapped key.
    pub(super) wrapped: &'a [u8],
    /// The identity of the control node that made it.
    pub(super) maker: &'a str,
    /// The rotation that it was made for.
    pub(super) rotate_after: Revision,
}

/// Sets the recovery key. `wrapped` has each version of the federation key, wrapped to it. Once more changes nothing. Replacing another
/// recovery key rotates the federation key: the old pairs open every version that was made until now.
pub(super) fn set_recovery(
    state: &mut State,
    recovery: &RecoveryKey,
    wrapped: &[Vec<u8>],
    replace: bool,
) -> Result<Effects, Problem> {
    let largest = wrapped.iter().chain([&recovery.sign, &recovery.wrap]).map(Vec::len).max();
    check_size(largest.unwrap_or_default())?;
    if recovery.sign == recovery.wrap {
        let detail = "the two public keys of the recovery key are one";
        let problem = Problem::new(ProblemName::Invalid, detail).at("wrap");
        return Err(problem.remedy("make two pairs: hanse recovery-key new DIR"));
    }
    let known = state.federation_keys.recovery();
    if known == Some(recovery) {
        return Ok(Effects::none());
    }
    if known.is_some() && !replace {
        let problem = Problem::new(ProblemName::Conflict, "there is a recovery key").at("replace");
        return Err(problem.remedy(
            "keep the pairs that you have; or, if they are lost or were copied, replace them: hanse recovery-key new DIR --replace",
        ));
    }
    if wrapped.len() != state.federation_keys.versions.len() {
        return Err(Problem::new(
            ProblemName::Stale,
            "the federation key got another version meanwhile, which is not wrapped to this recovery key",
        )
        .remedy("send the request again"));
    }
    if known.is_some() {
        outdate(state);
    }
    let keys = Arc::make_mut(&mut state.federation_keys);
    keys.recovery = Some(recovery.clone());
    for (version, wrapped) in keys.versions.iter_mut().zip(wrapped) {
        version.wrapped.clone_from(wrapped);
    }
    Ok(Effects::revision())
}

/// Adds a version. It is used once every control node has it.
pub(super) fn add(state: &mut State, made: &Made<'_>) -> Result<Effects, Problem> {
    check_size(made.wrapped.len())?;
    let keys = &state.federation_keys;
    let stale = |why: &str| Err(Problem::new(ProblemName::Stale, why).remedy("look again"));
    if keys.next_number().ok_or_else(no_room)? != made.version || keys.with_digest(made.digest).is_some() {
        return stale("another version of the federation key came first");
    }
    let recipient = keys.recovery().map(|recovery| <[u8; 32]>::from(Sha256::digest(&recovery.wrap)));
    if recipient != Some(*made.recipient) {
        return stale("the key is not wrapped to the present recovery key");
    }
    if keys.rotate_after != made.rotate_after {
        return stale("another rotation was asked for after the key was made");
    }
    if state.is_revoked(made.maker) {
        return stale("the control node that made the key is revoked");
    }
    let version = KeyVersion {
        digest: *made.digest,
        wrapped: made.wrapped.to_vec(),
        made_at: state.revision + 1,
        used: false,
    };
    Arc::make_mut(&mut state.federation_keys).versions.push(version);
    Ok(Effects::revision())
}

/// Has Secrets sealed with this version from now on. Proposals that carry data of Secrets are dropped: the version that sealed it may be
/// stolen, and what waits is not sealed anew.
pub(super) fn use_version(state: &mut State, version: u32) -> Result<Effects, Problem> {
    if state.federation_keys.pending().map(|(pending, _)| pending) != Some(version) {
        let detail = format!("version {version} of the federation key is not the pending one");
        return Err(Problem::new(ProblemName::Stale, detail).remedy("look again"));
    }
    if let Some(newest) = Arc::make_mut(&mut state.federation_keys).versions.last_mut() {
        newest.used = true;
    }
    state.proposals.drop_all(|proposal| resources::check_active(&proposal.changes, Some(version)).is_err());
    Ok(Effects::revision())
}

/// Asks for another version. A pending one is skipped: it may have been copied, too.
pub(super) fn rotate(state: &mut State) -> Result<Effects, Problem> {
    let keys = &state.federation_keys;
    if keys.recovery().is_none() {
        return Err(Problem::new(
            ProblemName::Conflict,
            "there is no recovery key to wrap a federation key to",
        )
        .remedy("make one: hanse recovery-key new DIR"));
    }
    keys.next_number().ok_or_else(no_room)?;
    outdate(state);
    Ok(Effects::revision())
}

/// Has no version used anew that was made until now: a control node that has it is revoked, its recovery pairs are replaced, or an
/// operator said so.
pub(super) fn outdate(state: &mut State) {
    let revision = state.revision + 1;
    Arc::make_mut(&mut state.federation_keys).rotate_after = revision;
}

fn check_size(largest: usize) -> Result<(), Problem> {
    if largest <= MAX_KEY_BYTES {
        return Ok(());
    }
    let detail = format!("a key has {largest} bytes; the limit is {MAX_KEY_BYTES}");
    Err(Problem::new(ProblemName::TooLarge, detail).remedy("make the pairs with hanse recovery-key new"))
}

fn no_room() -> Problem {
    let detail = format!(
        "the federation key has {MAX_KEY_VERSIONS} versions, and none is ever dropped: there is no room for another"
    );
    Problem::new(ProblemName::TooLarge, detail).remedy("Secrets stay sealed with the present version")
}
