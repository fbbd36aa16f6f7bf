//! Results of idempotency keys: the same request under the same key is answered, not done again.

use std::sync::Arc;

use hanse_management::{Problem, ProblemName};
use hanse_proto::control as proto;
use imbl::{OrdMap, OrdSet};
use prost::Message;
use sha2::{Digest, Sha256};

use super::resources;
use crate::{Accepted, Command, State};

/// How long a result is kept, by the commands' time: longer than any client retries.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// What all results together may cost: 10,000 of small commands, or some of commands that change thousands of resources. It bounds memory:
/// a change has about a hundred bytes.
pub(crate) const MAX_COST: usize = 200_000;
/// What a result costs beside its changes, each of which costs 1.
const RESULT_COST: usize = 20;
/// The longest key: four times a UUID.
const MAX_KEY_BYTES: usize = 144;

/// What was answered under each key. Each actor has keys of its own.
///
/// When there is no room, the oldest result of the actor whose results cost most goes. So no actor makes another one's be forgotten
/// that has fewer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct IdempotentResults {
    by_key: OrdMap<Id, Arc<IdempotentResult>>,
    by_time: OrdSet<(u64, Id)>,
    by_actor: OrdMap<Arc<str>, Share>,
    /// What all results cost.
    cost: usize,
}

/// An actor and one of its keys.
type Id = (Arc<str>, Arc<str>);

/// What is kept for one actor.
#[derive(Debug, Clone, Default, PartialEq)]
struct Share {
    cost: usize,
    /// The times of its results, with their keys.
    by_time: OrdSet<(u64, Arc<str>)>,
}

/// One remembered answer. Only accepted commands are remembered: a refused one changed nothing and may be tried again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IdempotentResult {
    pub(crate) time_ms: u64,
    pub(crate) request_digest: [u8; 32],
    pub(crate) accepted: Accepted,
    /// The version of the federation key that its Secrets were sealed with; 0: it had none. Sealed with it again, the same request has the
    /// same digest.
    pub(crate) key_version: u32,
}

impl IdempotentResult {
    fn cost(&self) -> usize {
        RESULT_COST + self.accepted.changes.len()
    }
}

/// A command's key with the digest of what it asks for.
pub(super) struct Request<'a> {
    actor: &'a str,
    key: &'a str,
    digest: [u8; 32],
    key_version: u32,
}

impl<'a> Request<'a> {
    /// `None`: the command has no key.
    pub(super) fn of(command: &'a Command) -> Result<Option<Self>, Problem> {
        let Some(key) = &command.idempotency_key else { return Ok(None) };
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(Problem::new(
                ProblemName::Invalid,
                format!("an idempotency key has 1 to {MAX_KEY_BYTES} bytes, not {}", key.len()),
            )
            .at("Idempotency-Key")
            .remedy("use a fresh UUID for each request"));
        }
        let asked = proto::Command {
            body: Some(asked_of(command)),
            force_grants: command.force_grants,
            ..proto::Command::default()
        };
        let key_version = resources::key_version(command.body.changes());
        let digest = Sha256::digest(asked.encode_to_vec()).into();
        Ok(Some(Self { actor: &command.actor, key, digest, key_version }))
    }
}

/// What the caller asked for, without what the node that took the request added: another node, asked again, may add something
/// else.
fn asked_of(command: &Command) -> proto::command::Body {
    use proto::command::Body;
    if resources::says_same(command.body.changes()) {
        let mut asked = command.body.clone();
        resources::drop_same_as(asked.changes_mut());
        return asked.to_proto();
    }
    match command.body.to_proto() {
        Body::Revoke(revoke) => {
            Body::Revoke(proto::Revoke { control_nodes: Vec::new(), known_keys: Vec::new(), ..revoke })
        }
        Body::Approve(approve) => Body::Approve(proto::Approve { judged_ms: 0, ..approve }),
        Body::SetRecoveryKey(set) => {
            Body::SetRecoveryKey(proto::SetRecoveryKey { wrapped: Vec::new(), ..set })
        }
        body => body,
    }
}

impl State {
    /// The version of the federation key that the Secrets of the same request were sealed with, where its result is remembered.
    pub(crate) fn key_version_of(&self, command: &Command) -> Option<u32> {
        let key = command.idempotency_key.as_deref()?;
        let result = self.idempotent.by_key.get(&id(&command.actor, key))?;
        let has_passed = has_passed(result.time_ms, self.time_ms.max(command.time_ms));
        Some(result.key_version).filter(|version| *version > 0 && !has_passed)
    }

    /// Refuses a command whose key was used for another request.
    pub(crate) fn check_key_of(&self, command: &Command) -> Result<(), Problem> {
        let Some(request) = Request::of(command)? else { return Ok(()) };
        self.idempotent.answer(&request, self.time_ms.max(command.time_ms)).map(drop)
    }
}

impl IdempotentResults {
    /// What the same request was answered with.
    pub(super) fn answer(&self, request: &Request<'_>, now_ms: u64) -> Result<Option<&Accepted>, Problem> {
        let result = self.by_key.get(&id(request.actor, request.key));
        let Some(result) = result.filter(|result| !has_passed(result.time_ms, now_ms)) else {
            return Ok(None);
        };
        if result.request_digest != request.digest {
            return Err(Problem::new(
                ProblemName::KeyReused,
                format!("the idempotency key {:?} was used for another request", request.key),
            )
            .at("Idempotency-Key")
            .remedy("use a fresh key for a new request; repeat a request unchanged to learn its result"));
        }
        Ok(Some(&result.accepted))
    }

    /// Remembers an answer, and forgets what is too old or too much. The answer is kept, however large.
    pub(super) fn remember(&mut self, request: &Request<'_>, now_ms: u64, accepted: &Accepted) {
        let result = IdempotentResult {
            time_ms: now_ms,
            request_digest: request.digest,
            accepted: accepted.clone(),
            key_version: request.key_version,
        };
        self.remove(&id(request.actor, request.key));
        self.forget(now_ms);
        while self.cost + result.cost() > MAX_COST
            && let Some(oldest) = self.oldest_of_the_largest()
        {
            self.remove(&oldest);
        }
        self.insert(request.actor, request.key, result);
    }

    /// The oldest result of the actor whose results cost most.
    fn oldest_of_the_largest(&self) -> Option<Id> {
        let (actor, share) = self.by_actor.iter().max_by_key(|(_, share)| share.cost)?;
        let (_, key) = share.by_time.get_min()?;
        Some((actor.clone(), key.clone()))
    }

    /// Whether some are older than they are kept.
    pub(crate) fn has_passed(&self, now_ms: u64) -> bool {
        self.by_time.get_min().is_some_and(|(time_ms, _)| has_passed(*time_ms, now_ms))
    }

    /// Forgets what is too old.
    pub(super) fn forget(&mut self, now_ms: u64) {
        while let Some((time_ms, id)) = self.by_time.get_min().cloned()
            && has_passed(time_ms, now_ms)
        {
            self.remove(&id);
        }
    }

    pub(crate) fn insert(&mut self, actor: &str, key: &str, result: IdempotentResult) {
        let id = id(actor, key);
        self.remove(&id);
        self.cost += result.cost();
        let share = self.by_actor.entry(id.0.clone()).or_default();
        share.cost += result.cost();
        share.by_time.insert((result.time_ms, id.1.clone()));
        self.by_time.insert((result.time_ms, id.clone()));
        self.by_key.insert(id, Arc::new(result));
    }

    fn remove(&mut self, id: &Id) {
        let Some(gone) = self.by_key.remove(id) else { return };
        self.cost -= gone.cost();
        self.by_time.remove(&(gone.time_ms, id.clone()));
        let (actor, key) = id;
        if let Some(share) = self.by_actor.get_mut(actor) {
            share.cost -= gone.cost();
            share.by_time.remove(&(gone.time_ms, key.clone()));
            if share.by_time.is_empty() {
                self.by_actor.remove(actor);
            }
        }
    }

    /// Every actor and key with its result, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &IdempotentResult)> {
        self.by_time.iter().filter_map(|(_, id)| Some((&*id.0, &*id.1, &**self.by_key.get(id)?)))
    }
}

fn id(actor: &str, key: &str) -> Id {
    (actor.into(), key.into())
}

fn has_passed(time_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(time_ms) >= KEPT_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChangeResult, fixture};

    /// Remembers an answer of so many changes, and says what is kept, `ACTOR KEY`, oldest first.
    fn remember(
        results: &mut IdempotentResults,
        now_ms: u64,
        actor: &str,
        key: &str,
        changes: usize,
    ) -> Vec<String> {
        let change =
            ChangeResult { key: fixture::key("Plan gold"), action: ChangeResult::UNCHANGED, revision: 1 };
        let accepted = Accepted { revision: 1, changes: vec![change; changes], proposal: None };
        results.remember(&Request { actor, key, digest: [0; 32], key_version: 0 }, now_ms, &accepted);
        assert_eq!(results.cost, results.iter().map(|(_, _, result)| result.cost()).sum::<usize>());
        assert_eq!(results.cost, results.by_actor.values().map(|share| share.cost).sum::<usize>());
        results.iter().map(|(actor, key, _)| format!("{actor} {key}")).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_when_all_tell_of_too_many_changes() {
        let mut results = IdempotentResults::default();
        let mut remember = |now_ms, key, changes| remember(&mut results, now_ms, "ci", key, changes);
        assert_eq!(remember(1, "a", 120_000), ["ci a"]);
        assert_eq!(remember(2, "a", 59_980), ["ci a"], "a key's earlier result does not count");
        assert_eq!(remember(3, "b", 139_980), ["ci a", "ci b"], "as many as may be");
        assert_eq!(remember(4, "c", 1), ["ci b", "ci c"]);
        assert_eq!(remember(5, "d", 200_001), ["ci d"], "the newest is kept, however large");
    }

    #[test]
    fn no_actor_pushes_out_the_results_of_one_that_has_fewer() {
        let mut results = IdempotentResults::default();
        remember(&mut results, 1, "admin", "release-42", 5_000);
        for round in 0..100 {
            let kept = remember(&mut results, 2 + round, "ci", &format!("k{round}"), 29_000);
            assert!(kept.contains(&"admin release-42".to_owned()), "{kept:?}");
        }
        // An equal key of another actor is another key.
        let kept = remember(&mut results, 200, "ci", "release-42", 1);
        assert!(kept.contains(&"admin release-42".to_owned()) && kept.contains(&"ci release-42".to_owned()));
    }
}
