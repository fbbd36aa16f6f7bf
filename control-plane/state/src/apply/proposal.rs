//! Proposals: changes of a guarded Environment or FailoverPlan are proposed by one owner and approved by another.

mod effects;
mod owner;
mod room;

use hanse_management::{Duration, Kind, Problem, ProblemName, kinds::ApprovalSpec};
use hanse_steering::{MAX_AGE, rules::OLD_READINESS};
use hanse_topology::Name;

use super::{Effects, actor, resources};
use crate::{
    AuditChange, Change, Command, Proposal, State,
    listed::listed,
    validate::guarded::{Author, Concerned, Guarded},
};

#[cfg(test)]
pub(crate) use room::{MAX_OF_OWNER, MAX_WAITING};

/// How many Environments a refusal names, and how many FailoverPlans.
const NAMED: usize = 5;

/// Keeps changes for a second owner. They are tried on a copy, and refused as an apply of them would be.
pub(super) fn propose(
    before: &State,
    next: &mut State,
    command: &Command,
    changes: &[Change],
    reason: &str,
) -> Result<Effects, Problem> {
    let token_revision = owner::check_writer(before, command)?;
    // Equal data, too: whatever is applied later, no proposal waits with data that a retired version sealed.
    resources::check_active(changes, before.federation_keys.active().map(|(version, _)| version))?;
    let mut tried = next.clone();
    let sight = command.origin.organization.as_ref();
    let effects =
        resources::apply(before, &mut tried, changes, command.force_grants, sight, Author::Operator)?;
    if let Some(organization) = &command.origin.organization {
        actor::check_within(organization, &effects)?;
    }
    let Concerned { guarded, bindings } = &effects.guarded;
    if guarded.is_empty() {
        return Err(Problem::new(ProblemName::Conflict, "no change of it needs an approval")
            .remedy("apply it: leave `propose` out"));
    }
    next.proposals.forget(next.time_ms);
    let proposal = Proposal {
        number: next.proposals.made + 1,
        actor: command.actor.clone(),
        origin: command.origin.clone(),
        time_ms: next.time_ms,
        expires_ms: next.time_ms.saturating_add(patience(before, guarded)),
        reason: reason.to_owned(),
        force_grants: command.force_grants,
        environments: guarded.environments.iter().cloned().collect(),
        plans: guarded.plans.iter().cloned().collect(),
        changes: changes.to_vec(),
        effects: effects::of(before, &tried, &effects.results),
        serves: effects::serving(&tried, bindings),
        token_revision,
    };
    check_shown(before, &tried, &proposal)?;
    let number = proposal.number;
    next.proposals.made = number;
    next.proposals.insert(proposal);
    room::check(next, &command.origin)?;
    // No revision: nothing that is watched or projected is different.
    Ok(Effects { makes_entry: true, proposal: Some(number), ..Effects::none() })
}

/// Refuses a proposal that is too long to be shown whole: the second owner must see all that it does.
fn check_shown(before: &State, tried: &State, proposal: &Proposal) -> Result<(), Problem> {
    if AuditChange::of_proposal(before, tried, proposal).is_some() {
        return Ok(());
    }
    Err(Problem::new(ProblemName::TooLarge, "its changes are too long to be shown to a second owner")
        .remedy("propose it in parts"))
}

/// How long a change can be approved: as long as each of these Environments allows. A FailoverPlan allows what an Environment does that
/// says nothing.
fn patience(state: &State, guarded: &Guarded) -> u64 {
    let approvals = guarded.environments.iter().filter_map(|name| state.environment(name)?.approval.as_ref());
    let spans = approvals.map(|approval| approval.expires_after);
    let of_plans = (!guarded.plans.is_empty()).then_some(ApprovalSpec::DEFAULT_EXPIRES_AFTER);
    spans.chain(of_plans).min().map(Duration::as_millis).unwrap_or_default()
}

/// Makes the changes of a proposal. Both owners must have the right to, and the changes must do what they did when they were proposed.
pub(super) fn approve(
    before: &State,
    next: &mut State,
    command: &Command,
    number: u64,
    judged_ms: u64,
) -> Result<Effects, Problem> {
    owner::check_writer(before, command)?;
    let proposal = find(before, number)?;
    check_time(proposal, next.time_ms)?;
    owner::check_second(proposal, &command.origin)?;
    check_proposer(before, proposal, next.time_ms)?;
    owner::check_reach(proposal, &command.origin)?;
    let effects = make(before, next, proposal, judged_ms, command.origin.organization.as_ref())?;
    next.proposals.remove(number);
    // Both owners consent: what is left to be guarded is nothing.
    Ok(Effects { guarded: Concerned::default(), ..effects })
}

/// Makes the changes of a proposal, if they do what they did when they were proposed. `sight`: the only organization whose resources a
/// refusal may name; `None`: all of them.
fn make(
    before: &State,
    next: &mut State,
    proposal: &Proposal,
    judged_ms: u64,
    sight: Option<&Name>,
) -> Result<Effects, Problem> {
    let (changes, force_grants) = (&proposal.changes, proposal.force_grants);
    let effects = resources::apply(before, next, changes, force_grants, sight, Author::Operator)
        .map_err(|problem| overtaken(proposal, problem))?;
    if let Some(organization) = &proposal.origin.organization {
        actor::check_within(organization, &effects)?;
    }
    effects::check_same(before, next, proposal, &effects)?;
    check_readiness(before, next, proposal, judged_ms)?;
    Ok(effects)
}

/// A Failover that leads clients elsewhere rests on a readiness that was judged just before it was proposed, or anew for its approval, and
/// is refused when that is too old. A freeze and its end move no clients.
fn check_readiness(before: &State, next: &State, proposal: &Proposal, judged_ms: u64) -> Result<(), Problem> {
    let judged_ms = judged_ms.max(proposal.time_ms);
    let age = Duration::from_millis(next.time_ms.saturating_sub(judged_ms));
    if u128::from(age.as_millis()) <= MAX_AGE.as_millis() {
        return Ok(());
    }
    let moves = |change: &&Change| {
        let plan = &change.key.name;
        change.key.kind == Kind::Failover && before.shares_of(plan) != next.shares_of(plan)
    };
    let Some(moved) = proposal.changes.iter().find(moves) else { return Ok(()) };
    let detail = format!(
        "{OLD_READINESS}: the readiness that {} rests on was judged {age} ago, and counts for {}s",
        moved.key,
        MAX_AGE.as_secs()
    );
    Err(Problem::new(ProblemName::Stale, detail)
        .at(moved.key.to_string())
        .remedy("approve it again: an approval judges the region anew"))
}

/// Drops a proposal: its owner withdraws it, or another one that could approve it decides against it.
pub(super) fn reject(
    before: &State,
    next: &mut State,
    command: &Command,
    number: u64,
) -> Result<Effects, Problem> {
    let proposal = find(before, number)?;
    if !owner::is_own(proposal, &command.origin) {
        owner::check_writer(before, command)?;
        owner::check_reach(proposal, &command.origin)?;
    }
    next.proposals.remove(number);
    Ok(Effects { makes_entry: true, ..Effects::none() })
}

impl State {
    /// Does what an approval of the proposal would do, in a copy. Who approves is not judged, nor is the readiness of a region. `sight`: the only organization whose
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
        let judged_ms = next.time_ms;
        make(self, &mut next, proposal, judged_ms, sight)?;
        Ok(next)
    }

    /// The refusal that names a proposal that does not wait.
    pub fn no_proposal(&self, number: u64) -> Problem {
        let detail = match (1..=self.proposals.made).contains(&number) {
            true => format!(
                "proposal {number} waits no more: it was approved or rejected, has expired, or had data of a Secret when the federation key was rotated"
            ),
            false => format!("there is no proposal {number}"),
        };
        Problem::new(ProblemName::NotFound, detail)
            .remedy("hanse approval list shows those that wait, and hanse audit tail what became of others")
    }
}

/// The refusal of a change that a second owner must approve.
pub(super) fn needed(guarded: &Guarded) -> Problem {
    let of = [("Environment", &guarded.environments), ("FailoverPlan", &guarded.plans)];
    let of = of.into_iter().filter(|(_, names)| !names.is_empty()).map(|(kind, names)| {
        let several = if names.len() > 1 { "s" } else { "" };
        format!("{kind}{several} {}", listed(names.iter(), NAMED))
    });
    let of = of.collect::<Vec<_>>().join(" and of ");
    let detail = format!("a change of {of} needs the approval of a second owner");
    Problem::new(ProblemName::ApprovalNeeded, detail).remedy(
        "nothing was changed: propose it, with --propose REASON of hanse apply, import, publish, promote, rollback or delete, or \
         as POST /v1/apply?propose=REASON; then a token of another owner approves it: hanse approval approve NUMBER",
    )
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

/// The token that a change was proposed with must be as it was then, and must not have expired. A proposal waits for days: a token that
/// was given another secret may have been stolen before.
fn check_proposer(state: &State, proposal: &Proposal, now_ms: u64) -> Result<(), Problem> {
    let present = actor::token(state, &proposal.actor);
    if present.is_some_and(|(token, spec)| {
        token.metadata.revision == proposal.token_revision && !spec.has_expired(now_ms)
    }) {
        return Ok(());
    }
    let detail =
        format!("the token {} that proposed it was deleted or changed, or has expired", proposal.actor);
    Err(Problem::new(ProblemName::Conflict, detail)
        .remedy("reject it, and have it proposed again with a token that is good"))
}

/// A refusal of changes that held when they were proposed. Only another proposal helps against any of them.
fn overtaken(proposal: &Proposal, problem: Problem) -> Problem {
    let detail = format!("proposal {} does not hold any more: {}", proposal.number, problem.detail);
    Problem::new(ProblemName::Stale, detail)
        .at(problem.field)
        .remedy("reject it, and propose it again on what is there now")
}
