//! The right of the actor, judged where the command is applied: what the node that was asked knew may be old by then.

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec, kinds::TokenSpec};
use hanse_topology::Name;

use super::Effects;
use crate::{Command, Resource, State};

/// Refuses a command of an operator whose Token is gone, is another one by now, or has expired. So a deleted Token changes nothing
/// from the revision of its deletion on, whichever node was asked. A node's own command has no Token.
pub(super) fn check_token(state: &State, command: &Command, now_ms: u64) -> Result<(), Problem> {
    let origin = &command.origin;
    let is_good = |(token, spec): (&Resource, &TokenSpec)| {
        Some(spec.role) == origin.role
            && spec.organization == origin.organization
            && spec.owner(&token.key.name) == origin.owner
            && !spec.has_expired(now_ms)
    };
    if origin.role.is_none() || token(state, &command.actor).is_some_and(is_good) {
        return Ok(());
    }
    let detail =
        format!("the token {} was deleted or changed, or has expired, since it was shown", command.actor);
    Err(Problem::new(ProblemName::Forbidden, detail).remedy(
        "nothing was changed: send it again with a token that is good (hanse whoami shows the present one)",
    ))
}

/// The actor's Token, if it is there.
pub(super) fn token<'a>(state: &'a State, actor: &str) -> Option<(&'a Resource, &'a TokenSpec)> {
    let token = state.get(&ResourceKey::global(Kind::Token, Name::new(actor).ok()?))?;
    if let Spec::Token(spec) = &token.spec { Some((token, spec)) } else { None }
}

/// Refuses what reaches beyond the one organization that the actor may write. A cascade and a prune are found here, too.
pub(super) fn check_within(organization: &Name, effects: &Effects) -> Result<(), Problem> {
    let is_beyond = |key: &&ResourceKey| key.organization.as_ref() != Some(organization);
    let beyond = effects.touched.iter().find(is_beyond);
    let beyond = match (beyond, effects.makes_revision && effects.touched.is_empty()) {
        (None, false) => return Ok(()),
        (Some(key), _) if key.organization.is_none() => key.to_string(),
        (Some(_), _) => "a resource of another organization".to_owned(),
        (None, true) => "the federation".to_owned(),
    };
    let detail =
        format!("the change reaches {beyond}, and the token may write organization {organization} only");
    Err(Problem::new(ProblemName::Forbidden, detail).remedy("leave it to a token with role admin"))
}
