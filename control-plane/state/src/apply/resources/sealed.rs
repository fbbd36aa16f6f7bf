//! Values of Secrets in the making. Nothing here opens one: it compares bytes.

use hanse_management::{
    Problem, ProblemName, ResourceKey, Spec,
    kinds::{SealedValue, SecretSpec, SecretValue},
};
use sha2::{Digest as _, Sha256};

use super::restored;
use crate::{Change, State, listed::listed, port::SEAL_OUTDATED};

/// Puts into `spec` the values that it means: those that it keeps, and those that have the data that is there already. `active`: the
/// version of the federation key that new data is sealed with.
pub(super) fn settle(
    key: &ResourceKey,
    spec: &mut Spec,
    present: Option<&Spec>,
    active: Option<u32>,
) -> Result<(), Problem> {
    let Spec::Secret(secret) = spec else { return Ok(()) };
    // Data is judged as the type that it comes with: one of another type keeps none of it.
    let present =
        present.and_then(Spec::private_data).filter(|present| present.secret_type == secret.secret_type);
    for (field, value) in &mut secret.data {
        let there = present.and_then(|present| present.data.get(field));
        *value = settled(key, field, value, there, active)?;
    }
    secret.check_stored().map_err(|problem| {
        let field = format!("{key}: {}", problem.field);
        problem.at(field)
    })
}

fn settled(
    key: &ResourceKey,
    field: &str,
    value: &SecretValue,
    there: Option<&SecretValue>,
    active: Option<u32>,
) -> Result<SecretValue, Problem> {
    match (value, there) {
        (SecretValue::Kept, Some(there)) => Ok(there.clone()),
        (SecretValue::Kept, None) => {
            Err(Problem::new(ProblemName::Invalid, "there is no data of this type and field to keep")
                .at(format!("{key}: spec.data.{field}"))
                .remedy("give the data as text"))
        }
        (SecretValue::Sealed(sealed), Some(SecretValue::Sealed(there))) if has_data_of(sealed, there) => {
            Ok(SecretValue::Sealed(there.clone()))
        }
        (SecretValue::Sealed(sealed), _) if Some(sealed.version) == active => {
            Ok(SecretValue::Sealed(SealedValue { same_as: None, ..sealed.clone() }))
        }
        // Another node may have the key of a retired version that was revoked since: no new data is sealed with it.
        (SecretValue::Sealed(sealed), _) => Err(outdated(key, sealed.version)),
        (SecretValue::Text(_), _) => {
            let detail = format!("{key} came unsealed");
            Err(Problem::new(ProblemName::Internal, detail).remedy("write it by the operator API"))
        }
    }
}

fn outdated(key: &ResourceKey, version: u32) -> Problem {
    let detail =
        format!("{key} is sealed with version {version} of the federation key, which is not the active one");
    Problem::new(ProblemName::Busy, detail).at(SEAL_OUTDATED).remedy("try again")
}

/// Refuses `changes` that have a value which another version than the active one sealed, whatever is there.
pub(in crate::apply) fn check_active(changes: &[Change], active: Option<u32>) -> Result<(), Problem> {
    for (key, secret) in changes.iter().filter_map(|change| Some((&change.key, secret(change)?))) {
        if let Some(other) = sealed(secret).find(|sealed| Some(sealed.version) != active) {
            return Err(outdated(key, other.version));
        }
    }
    Ok(())
}

fn has_data_of(sealed: &SealedValue, there: &SealedValue) -> bool {
    (sealed.version, &sealed.sealed) == (there.version, &there.sealed)
        || sealed.same_as.is_some_and(|digest| digest[..] == Sha256::digest(&there.sealed)[..])
}

/// A dump has no data of Secrets: what it keeps must be there. A Secret that is there and is another one is the matter of
/// [`restored::check_free`].
pub(super) fn check_dump(before: &State, changes: &[Change]) -> Result<(), Problem> {
    let lacks_data = |secret: &SecretSpec| secret.data.values().any(|value| *value == SecretValue::Kept);
    let missing = restored::restored(changes)
        .filter(|of| of.spec.private_data().is_some_and(lacks_data) && before.get(of.key).is_none());
    let missing: Vec<String> = missing.map(|of| of.key.to_string()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let detail = format!(
        "a dump has no data of Secrets, and these are not there: {}",
        listed(missing.iter(), restored::NAMED)
    );
    Err(Problem::new(ProblemName::Invalid, detail)
        .at(first.clone())
        .remedy("apply these Secrets with their data, then the dump"))
}

/// The version of the federation key that `changes` are sealed with; 0: they have no sealed value.
pub(in crate::apply) fn key_version(changes: &[Change]) -> u32 {
    let mut secrets = changes.iter().filter_map(secret);
    secrets.find_map(|secret| sealed(secret).next().map(|sealed| sealed.version)).unwrap_or_default()
}

/// Whether the node that took the request found out that data of `changes` is equal to what is there.
pub(in crate::apply) fn says_same(changes: &[Change]) -> bool {
    changes.iter().filter_map(secret).flat_map(sealed).any(|sealed| sealed.same_as.is_some())
}

/// Drops from `changes` what the node that took the request found out about equal data.
pub(in crate::apply) fn drop_same_as(changes: &mut [Change]) {
    for change in changes {
        let Some(Spec::Secret(secret)) = change.action.spec_mut() else { continue };
        for value in secret.data.values_mut() {
            if let SecretValue::Sealed(sealed) = value {
                sealed.same_as = None;
            }
        }
    }
}

fn secret(change: &Change) -> Option<&SecretSpec> {
    change.action.spec()?.private_data()
}

fn sealed(secret: &SecretSpec) -> impl Iterator<Item = &SealedValue> {
    secret.data.values().filter_map(SecretValue::sealed)
}
