//! The state machine: a command in, an outcome out. The only code that changes a [`State`].
//!
//! A command works on a copy of the state, which is kept only if everything held: a refused command leaves the state as
//! it was, to the last bit.

mod actor;
mod idempotent;
mod join;
mod keys;
mod lineage;
mod minted;
mod neighbours;
mod proposal;
mod reseal;
mod resources;
mod revocation;
mod roots;
mod version;

use hanse_management::{Kind, Problem, ResourceKey};

use crate::{
    Accepted, AuditLink, ChangeResult, Command, CommandBody, JournalEntry, Outcome, State, audit,
    state::STEERING,
    validate::guarded::{Author, Concerned, Guarded},
};

pub(crate) use idempotent::{IdempotentResult, IdempotentResults};
pub(crate) use minted::Recorded;

impl State {
    /// Does what `command` says, or refuses it and stays as it is.
    ///
    /// Deterministic: looks at nothing but the state and the command.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        match self.attempt(command) {
            Ok(Attempt { guarded, .. }) if !guarded.is_empty() => {
                Outcome::Rejected(proposal::needed(&guarded))
            }
            Ok(Attempt { next, accepted, .. }) => {
                *self = next;
                Outcome::Accepted(accepted)
            }
            Err(problem) => Outcome::Rejected(problem),
        }
    }

    /// What `command` would do if it needed no approval.
    pub fn attempt(&self, command: &Command) -> Result<Attempt, Problem> {
        let now_ms = self.time_ms.max(command.time_ms);
        actor::check_token(self, command, now_ms)?;
        let request = idempotent::Request::of(command)?;
        if let Some(request) = &request
            && let Some(accepted) = self.idempotent.answer(request, now_ms)?
        {
            return Ok(Attempt {
                next: self.clone(),
                accepted: accepted.clone(),
                guarded: Guarded::default(),
            });
        }
        let mut next = self.clone();
        next.time_ms = now_ms;
        let effects = match &command.body {
            CommandBody::Apply(changes) => {
                let sight = command.origin.organization.as_ref();
                let author = if command.origin.role.is_some() { Author::Operator } else { Author::Node };
                resources::apply(self, &mut next, changes, command.force_grants, sight, author)?
            }
            CommandBody::UseJoinToken { token, secret_digest, joiner, key_digest, seat } => {
                let wanted = join::Use { token, secret_digest, joiner, key_digest, seat: *seat };
                join::spend(self, &mut next, &wanted)?
            }
            CommandBody::RecordServer { identity, key_digest, node_id } => {
                join::record_server(&mut next, identity, key_digest, *node_id)?
            }
            CommandBody::StartLineage(lineage) => lineage::start(&mut next, lineage)?,
            CommandBody::Revoke { identity, control_nodes, keys, known_keys } => {
                let keys = revocation::Keys { named: keys, known: known_keys };
                revocation::revoke(&mut next, identity, control_nodes, &keys, &command.actor)?
            }
            CommandBody::RefuseKeys { identity, keys } => revocation::add_keys(&mut next, identity, keys)?,
            CommandBody::ForgetResults => {
                next.idempotent.forget(now_ms);
                next.proposals.forget(now_ms);
                minted::forget(&mut next);
                Effects::none()
            }
            CommandBody::Propose { changes, reason } => {
                proposal::propose(self, &mut next, command, changes, reason)?
            }
            CommandBody::Approve { number, judged_ms } => {
                proposal::approve(self, &mut next, command, *number, *judged_ms)?
            }
            CommandBody::Reject { number, .. } => proposal::reject(self, &mut next, command, *number)?,
            CommandBody::RecordMinted { agent, token } => minted::record(&mut next, agent, token)?,
            CommandBody::SetNeighbours { region, agents } => neighbours::set(&mut next, region, agents)?,
            CommandBody::DropAudit { through, hash } => {
                next.audit.drop_through(AuditLink { number: *through, hash: *hash })?;
                Effects::revision()
            }
            #[cfg(feature = "next")]
            CommandBody::SetMotto(motto) => {
                next.motto.clone_from(motto);
                Effects::revision()
            }
            CommandBody::Finalize { version, release } => version::finalize(&mut next, *version, release)?,
            CommandBody::Readmit { identity } => revocation::readmit(&mut next, identity)?,
            CommandBody::TrustRoot { present, fresh } => {
                roots::trust(&mut next, present, fresh, &command.actor)?
            }
            CommandBody::UseRoot(key) => roots::issue_from(&mut next, key)?,
            CommandBody::DropRoot(key) => roots::drop_root(&mut next, key)?,
            CommandBody::SetRecoveryKey { recovery, wrapped, replace } => {
                keys::set_recovery(&mut next, recovery, wrapped, *replace)?
            }
            CommandBody::AddKey { version, digest, recipient, wrapped, maker, rotate_after } => {
                let (version, rotate_after) = (*version, *rotate_after);
                let made = keys::Made { version, digest, recipient, wrapped, maker, rotate_after };
                keys::add(&mut next, &made)?
            }
            CommandBody::UseKey { version } => keys::use_version(&mut next, *version)?,
            CommandBody::RotateKey => keys::rotate(&mut next)?,
            CommandBody::Reseal(values) => reseal::reseal(&mut next, values),
        };
        if let Some(organization) = &command.origin.organization {
            actor::check_within(organization, &effects)?;
        }
        let makes_entry = effects.makes_revision || effects.makes_entry;
        let guarded = effects.guarded.guarded.clone();
        let accepted = next.commit(effects);
        if makes_entry {
            if command.origin.role.is_some() && !passes_a_full_log(&command.body, &accepted) {
                self.audit.check_room(command.origin.organization.is_some())?;
            }
            next.audit.push(&audit::record(self, &next, command, &accepted));
        }
        if let Some(request) = &request {
            next.idempotent.remember(request, now_ms, &accepted);
        }
        Ok(Attempt { next, accepted, guarded })
    }

    fn commit(&mut self, effects: Effects) -> Accepted {
        if effects.makes_revision {
            self.revision += 1;
            if effects.touched.iter().any(|key| STEERING.contains(&key.kind)) {
                self.dns_revision = self.revision;
            }
            self.record(JournalEntry {
                revision: self.revision,
                time_ms: self.time_ms,
                keys: effects.touched,
            });
        }
        Accepted { revision: self.revision, changes: effects.results, proposal: effects.proposal }
    }
}

/// What a command would do.
#[derive(Debug)]
pub struct Attempt {
    /// The state after it.
    pub next: State,
    /// What its caller would be told.
    pub accepted: Accepted,
    /// That for which it needs the approval of a second owner. Empty: it needs none.
    pub guarded: Guarded,
}

/// What an operator may do with a full log. A drop makes room. What ends the access of a node or a token must not wait for an export,
/// and has an end: there are at most 4,096 revocations, and each token is deleted once.
fn passes_a_full_log(body: &CommandBody, accepted: &Accepted) -> bool {
    let ends_access = |change: &ChangeResult| {
        change.action == ChangeResult::UNCHANGED
            || change.action == ChangeResult::DELETED
                && matches!(change.key.kind, Kind::Token | Kind::JoinToken)
    };
    match body {
        CommandBody::DropAudit { .. } | CommandBody::Revoke { .. } => true,
        CommandBody::Apply(_) => accepted.changes.iter().all(ends_access),
        _other => false,
    }
}

/// What a transition did to the state.
struct Effects {
    /// Whether anything is different.
    makes_revision: bool,
    /// Whether it is told in the audit although it makes no revision.
    makes_entry: bool,
    /// The resources put or deleted, each once.
    touched: Vec<ResourceKey>,
    /// What the caller is told.
    results: Vec<ChangeResult>,
    /// What of it needs the approval of a second owner.
    guarded: Concerned,
    /// The proposal that it made.
    proposal: Option<u64>,
}

impl Effects {
    /// Everything is as it was.
    fn none() -> Self {
        Self {
            makes_revision: false,
            makes_entry: false,
            touched: Vec::new(),
            results: Vec::new(),
            guarded: Concerned::default(),
            proposal: None,
        }
    }

    /// Something changed that is no resource.
    fn revision() -> Self {
        Self { makes_revision: true, ..Self::none() }
    }
}

#[cfg(test)]
mod tests;
