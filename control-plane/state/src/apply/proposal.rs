//! Proposals: changes of a guarded Environment are proposed by one owner and approved by another.

mod effects;

use std::collections::BTreeSet;

use hanse_management::{Problem, ProblemName, ResourceKey, kinds::TokenRole};
use hanse_topology::Name;

use super::{Effects, actor, resources};
use crate::{Action, Change, Command, Origin, Proposal, State, admission::MAX_COMMAND_BYTES};

/// How many proposals wait at most: more than the owners of a federation can look at in a day.
pub(crate) const MAX_WAITING: usize = 256;
/// How many of them one owner has at most. So no owner takes the room of all others.
pub(crate) const MAX_OF_OWNER: usize = 32;
/// How many bytes the proposals of one owner have: the largest command, and what it says of the resources that it changes.
pub(crate) const MAX_BYTES_OF_OWNER: usize = MAX_COMMAND_BYTES + (2 << 20);
/// How many bytes all of them have. Each control node holds them in memory and writes them with each snapshot.
pub(crate) const MAX_BYTES: usize = 32 << 20;

/// How many Environments a refusal names.
const NAMED: usize = 5;

/// Keeps changes for a second owner. They are tried on a copy, and refused as an apply of them would be.
pub(super) fn propose(
    before: &State,
    next: &mut State,
    command: &Command,
    changes: &[Change],
    reason: &str,
) -> Result<Effects, Problem> {
    check_writer(&command.origin)?;
    let mut tried = next.clone();
    let sight = command.origin.organization.as_ref();
    let effects = resources::apply(before, &mut tried, changes, command.force_grants, sight)?;
    if let Some(organization) = &command.origin.organization {
        actor::check_within(organization, &effects)?;
    }
    if effects.guarded.is_empty() {
        return Err(Problem::new(ProblemName::Conflict, "no change of it needs an approval")
            .remedy("apply it: leave `propose` out"));
    }
    next.proposals.forget(next.time_ms);
    let proposal = Proposal {
        number: next.proposals.made + 1,
        actor: command.actor.clone(),
        origin: command.origin.clone(),
        time_ms: next.time_ms,
        expires_ms: next.time_ms.saturating_add(patience(before, &effects.guarded)),
        reason: reason.to_owned(),
        force_grants: command.force_grants,
        environments: effects.guarded.iter().cloned().collect(),
        changes: changes.to_vec(),
        effects: effects::of(before, &tried, &effects.results),
    };
    let number = proposal.number;
    next.proposals.made = number;
    next.proposals.insert(proposal);
    check_room(next, &command.origin.owner)?;
    // No revision: nothing that is watched or projected is different.
    Ok(Effects { makes_entry: true, proposal: Some(number), ..Effects::none() })
}

/// How long a change of these Environments can be approved: as long as each of them allows.
fn patience(state: &State, guarded: &BTreeSet<Name>) -> u64 {
    let spans = guarded.iter().filter_map(|name| state.environment(name)?.approval.as_ref());
    spans.map(|approval| approval.expires_after.as_millis()).min().unwrap_or_default()
}

/// Refuses one proposal too many.
fn check_room(state: &State, owner: &str) -> Result<(), Problem> {
    let of_owner = state.proposals.taken(|proposal| proposal.origin.owner == owner);
    let of_all = state.proposals.taken(|_| true);
    for (whose, (number, bytes), most, most_bytes) in [
        (format!("of {owner} "), of_owner, MAX_OF_OWNER, MAX_BYTES_OF_OWNER),
        (String::new(), of_all, MAX_WAITING, MAX_BYTES),
    ] {
        if number > most || bytes > most_bytes {
            let detail = format!(
                "with it, {number} proposals {whose}with {bytes} bytes would wait, and at most {most} with {most_bytes} bytes may"
            );
            return Err(Problem::new(ProblemName::TooLarge, detail).remedy(
                "have some decided first: hanse approval list, then approve or reject; or propose fewer changes",
            ));
        }
    }
    Ok(())
}

/// Makes the changes of a proposal. Both owners must have the right to, and the changes must do what they did when they were proposed.
pub(super) fn approve(
    before: &State,
    next: &mut State,
    command: &Command,
    number: u64,
) -> Result<Effects, Problem> {
    check_writer(&command.origin)?;
    let proposal = find(before, number)?;
    check_time(proposal, next.time_ms)?;
    check_second(proposal, &command.origin)?;
    check_proposer(before, proposal, next.time_ms)?;
    let sight = command.origin.organization.as_ref();
    if let Some(organization) = sight
        && needs_admin(proposal)
    {
        return Err(beyond(organization, number));
    }
    let effects = resources::apply(before, next, &proposal.changes, proposal.force_grants, sight)
        .map_err(|problem| overtaken(proposal, problem))?;
    if let Some(organization) = &proposal.origin.organization {
        actor::check_within(organization, &effects)?;
    }
    effects::check_same(before, next, proposal, &effects.results)?;
    next.proposals.remove(number);
    // Both owners consent: what is left to be guarded is nothing.
    Ok(Effects { guarded: BTreeSet::new(), ..effects })
}

/// Drops a proposal: its owner withdraws it, or another one that could approve it decides against it.
pub(super) fn reject(
    before: &State,
    next: &mut State,
    command: &Command,
    number: u64,
) -> Result<Effects, Problem> {
    let proposal = find(before, number)?;
    if command.origin.role.is_none() || command.origin.owner != proposal.origin.owner {
        check_writer(&command.origin)?;
        if let Some(organization) = &command.origin.organization
            && !proposal.is_within(organization)
        {
            return Err(beyond(organization, number));
        }
    }
    next.proposals.remove(number);
    Ok(Effects { makes_entry: true, ..Effects::none() })
}

impl State {
    /// Does what an approval of the proposal would do, in a copy. Who approves is not judged. `sight`: the only organization whose
    /// resources a refusal may name; `None`: all of them.
    pub fn try_proposal(
        &self,
        proposal: &Proposal,
        now_ms: u64,
        sight: Option<&Name>,
    ) -> Result<State, Problem> {
        let mut next = self.clone();
        next.time_ms = next.time_ms.max(now_ms);
        check_time(proposal, next.time_ms)?;
        check_proposer(self, proposal, next.time_ms)?;
        let effects = resources::apply(self, &mut next, &proposal.changes, proposal.force_grants, sight)
            .map_err(|problem| overtaken(proposal, problem))?;
        effects::check_same(self, &next, proposal, &effects.results)?;
        Ok(next)
    }

    /// The refusal that names a proposal that does not wait.
    pub fn no_proposal(&self, number: u64) -> Problem {
        let detail = match (1..=self.proposals.made).contains(&number) {
            true => format!("proposal {number} waits no more: it was approved or rejected, or has expired"),
            false => format!("there is no proposal {number}"),
        };
        Problem::new(ProblemName::NotFound, detail)
            .remedy("hanse approval list shows those that wait, and hanse audit tail what became of others")
    }
}

/// The refusal of a change that a second owner must approve.
pub(super) fn needed(guarded: &BTreeSet<Name>) -> Problem {
    let named = guarded.iter().take(NAMED).map(Name::as_str).collect::<Vec<_>>().join(", ");
    let more = guarded.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let several = if guarded.len() > 1 { "s" } else { "" };
    let detail =
        format!("a change of Environment{several} {named}{more} needs the approval of a second owner");
    Problem::new(ProblemName::ApprovalNeeded, detail).remedy(
        "nothing was changed: propose it, with --propose REASON of hanse apply, import, publish, promote, rollback or delete, or \
         as POST /v1/apply?propose=REASON; then a token of another owner approves it: hanse approval approve NUMBER",
    )
}

/// Only operators that may write propose and decide.
fn check_writer(origin: &Origin) -> Result<(), Problem> {
    match origin.role {
        Some(TokenRole::Admin | TokenRole::Publisher) => Ok(()),
        Some(TokenRole::Viewer) | None => Err(Problem::new(
            ProblemName::Forbidden,
            "only a token that may write proposes, approves and rejects",
        )
        .remedy("use a token with role admin or publisher")),
    }
}

fn find(state: &State, number: u64) -> Result<&Proposal, Problem> {
    state.proposals.get(number).map(|proposal| &**proposal).ok_or_else(|| state.no_proposal(number))
}

fn check_time(proposal: &Proposal, now_ms: u64) -> Result<(), Problem> {
    if !proposal.has_expired(now_ms) {
        return Ok(());
    }
    let detail = format!("proposal {} expired at {}", proposal.number, proposal.expires());
    Err(Problem::new(ProblemName::Conflict, detail).remedy("propose it again"))
}

/// Two tokens of one owner are one operator.
fn check_second(proposal: &Proposal, origin: &Origin) -> Result<(), Problem> {
    if origin.owner != proposal.origin.owner {
        return Ok(());
    }
    let detail = format!("{} proposed it, and the token belongs to {0}, too", proposal.origin.owner);
    Err(Problem::new(ProblemName::Forbidden, detail).remedy(
        "have it approved with a token of another owner (hanse token list shows the owners), or withdraw it: hanse approval reject",
    ))
}

/// Whether it takes requests from other Organizations, or is of a dump: no token of one organization may do that.
fn needs_admin(proposal: &Proposal) -> bool {
    let is_of_dump = |change: &Change| matches!(change.action, Action::Restore { .. });
    proposal.force_grants || proposal.changes.iter().any(is_of_dump)
}

/// The token that a change was proposed with must still be good, and must still have the right that it had.
fn check_proposer(state: &State, proposal: &Proposal, now_ms: u64) -> Result<(), Problem> {
    if actor::is_good(state, &proposal.actor, &proposal.origin, now_ms) {
        return Ok(());
    }
    let detail =
        format!("the token {} that proposed it was deleted or changed, or has expired", proposal.actor);
    Err(Problem::new(ProblemName::Conflict, detail)
        .remedy("reject it, and have it proposed again with a token that is good"))
}

/// A refusal of changes that held when they were proposed.
fn overtaken(proposal: &Proposal, problem: Problem) -> Problem {
    let detail = format!("proposal {} does not hold any more: {}", proposal.number, problem.detail);
    Problem { detail, ..problem }.remedy("reject it, and propose it again on what is there now")
}

fn beyond(organization: &Name, number: u64) -> Problem {
    let detail = format!(
        "proposal {number} reaches beyond organization {organization}, and the token may write that one only"
    );
    Problem::new(ProblemName::Forbidden, detail).remedy("leave it to a token with role admin")
}

/// The effects as a list of keys, for words.
pub(crate) fn keys_of(proposal: &Proposal) -> impl ExactSizeIterator<Item = &ResourceKey> {
    proposal.effects.iter().map(|effect| &effect.key)
}
