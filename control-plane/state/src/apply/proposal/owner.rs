//! Who proposes and who decides.

use hanse_management::{Problem, ProblemName, Revision, kinds::TokenRole};

use crate::{Command, Origin, Proposal, State, apply::actor};

/// Whether two names of owners are those of one owner. `Ann` and `ann` are.
pub(super) fn same_owner(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Only operators that may write propose and decide, and only with a Token that says its owner. Without one, two tokens of one person
/// would be two owners. Answers with the Token's revision.
pub(super) fn check_writer(state: &State, command: &Command) -> Result<Revision, Problem> {
    match command.origin.role {
        Some(TokenRole::Admin | TokenRole::Publisher) => {}
        Some(TokenRole::Viewer) | None => {
            return Err(Problem::new(
                ProblemName::Forbidden,
                "only a token that may write proposes, approves and rejects",
            )
            .remedy("use a token with role admin or publisher"));
        }
    }
    match actor::token(state, &command.actor) {
        Some((token, spec)) if spec.owner.is_some() => Ok(token.metadata.revision),
        _without_an_owner => {
            let detail = format!("the token {} does not say its owner", command.actor);
            Err(Problem::new(ProblemName::Forbidden, detail).remedy(
                "use a token that names the person or the service that it belongs to; an admin makes one: hanse token create NAME \
                 --owner OWNER",
            ))
        }
    }
}

/// Whether it is a proposal of the owner who asks.
pub(super) fn is_own(proposal: &Proposal, origin: &Origin) -> bool {
    origin.role.is_some() && same_owner(&origin.owner, &proposal.origin.owner)
}

/// Two tokens of one owner are one operator.
pub(super) fn check_second(proposal: &Proposal, origin: &Origin) -> Result<(), Problem> {
    if !is_own(proposal, origin) {
        return Ok(());
    }
    let (proposer, owner) = (&proposal.origin.owner, &origin.owner);
    let detail = format!("{proposer} proposed it, and the token belongs to {owner}, too");
    Err(Problem::new(ProblemName::Forbidden, detail).remedy(
        "have it approved with a token of another owner (hanse token list shows the owners), or withdraw it: hanse approval reject",
    ))
}

/// A token of one organization decides about what is all within it, and neither takes requests from others nor is of a dump.
pub(super) fn check_reach(proposal: &Proposal, origin: &Origin) -> Result<(), Problem> {
    let Some(organization) = &origin.organization else { return Ok(()) };
    if proposal.is_within(organization) && !proposal.needs_admin() {
        return Ok(());
    }
    let detail = format!(
        "proposal {} reaches beyond organization {organization}, and the token may write that one only",
        proposal.number
    );
    Err(Problem::new(ProblemName::Forbidden, detail).remedy("leave it to a token with role admin"))
}
