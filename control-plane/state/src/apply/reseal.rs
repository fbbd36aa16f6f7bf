//! Values of Secrets get other sealed bytes: those of the active version of the federation key. Their data stays as it is.

use std::sync::Arc;

use hanse_management::{
    Spec,
    kinds::{SealedValue, SecretValue},
};

use super::Effects;
use crate::{ResealedValue, State};

/// Puts each value in the place of the one that it was made of. A value is left out if other bytes are there by now, or if another version
/// was used meanwhile: the leader looks again.
///
/// Nothing that operators or consumers see is different. So no resource is touched and no revision is made: ETags, watches and scopes
/// stay where they are. The audit has an entry.
pub(super) fn reseal(state: &mut State, values: &[ResealedValue]) -> Effects {
    let active = state.federation_keys.active().map(|(version, _)| version);
    let mut makes_entry = false;
    for value in values.iter().filter(|value| Some(value.version) == active) {
        makes_entry |= replace(state, value);
    }
    Effects { makes_entry, ..Effects::none() }
}

/// Says whether the value took the place of another one.
fn replace(state: &mut State, value: &ResealedValue) -> bool {
    if !state.sealed_value(&value.secret, &value.field).is_some_and(|there| value.replaces(there)) {
        return false;
    }
    let Some(resource) = state.resources.get_mut(&value.secret) else { return false };
    let Spec::Secret(secret) = &mut Arc::make_mut(resource).spec else { return false };
    let sealed = SealedValue { version: value.version, sealed: value.sealed.clone(), same_as: None };
    secret.data.insert(value.field.clone(), SecretValue::Sealed(sealed));
    true
}
