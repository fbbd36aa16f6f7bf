//! Seals what a command has in the clear: the last step before it is proposed.

use hanse_management::{
    Problem, ProblemName, ResourceKey, Spec,
    kinds::{SecretSpec, SecretValue},
};

use crate::{
    Change, Command, State,
    port::{Sealing, ToSeal},
};

/// By what a command is sealed.
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    /// The state that says which version of the federation key is the active one, and which data is there.
    pub state: &'a State,
    /// The keys.
    pub by: &'a dyn Sealing,
}

/// Seals each value of a Secret that `command` has in the clear. Says whether there was one.
pub(super) fn run(command: &mut Command, seal: Seal<'_>) -> Result<bool, Problem> {
    let remembered = seal.state.key_version_of(command);
    let mut has_sealed = false;
    for Change { key, action, .. } in command.body.changes_mut() {
        let Some(Spec::Secret(secret)) = action.spec_mut() else { continue };
        if secret.has_text() {
            let version = remembered.map_or_else(|| active(key, seal.state), Ok)?;
            seal_values(key, secret, version, seal)?;
            has_sealed = true;
        }
    }
    // Other data under a used key is refused here: no log has new data that a retired version seals.
    if remembered.is_some() && has_sealed {
        seal.state.check_key_of(command)?;
    }
    Ok(has_sealed)
}

fn seal_values(
    key: &ResourceKey,
    secret: &mut SecretSpec,
    version: u32,
    seal: Seal<'_>,
) -> Result<(), Problem> {
    for (field, value) in &mut secret.data {
        let SecretValue::Text(data) = value else { continue };
        let present = seal.state.sealed_value(key, field);
        let sealed = seal.by.seal(
            seal.state.federation_keys(),
            ToSeal { secret: key, field, version, present },
            data,
        )?;
        *value = SecretValue::Sealed(sealed);
    }
    Ok(())
}

/// The version that Secrets are sealed with.
fn active(key: &ResourceKey, state: &State) -> Result<u32, Problem> {
    let keys = state.federation_keys();
    if let Some((version, _)) = keys.active() {
        return Ok(version);
    }
    let problem = match keys.recovery() {
        Some(_) => Problem::new(
            ProblemName::Busy,
            "the federation key, which seals Secrets, is not made yet",
        )
        .remedy("try again once every control node runs: hanse federation-key list names those that lack it"),
        None => Problem::new(
            ProblemName::Conflict,
            "Secrets are sealed with the federation key, and there is none",
        )
        .remedy("make the recovery key, which it is wrapped to: hanse recovery-key new DIR"),
    };
    Err(problem.at(format!("{key}: spec.data")))
}
