//! Results of idempotency keys: the same request under the same key is answered, not done again.

use std::sync::Arc;

use hanse_management::{Problem, ProblemName};
use hanse_proto::control as proto;
use imbl::{OrdMap, OrdSet};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{Accepted, Command};

/// How long a result is kept, by the commands' time: longer than any client retries.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// How many results are kept: what bounds memory when a client uses keys for everything.
const MAX_RESULTS: usize = 10_000;
/// How many changes the results tell of, over all of them: what bounds memory when commands change thousands of resources
/// each. A change has about a hundred bytes.
pub(crate) const MAX_CHANGES: usize = 200_000;
/// The longest key: four times a UUID.
const MAX_KEY_BYTES: usize = 144;

/// What was answered under each key, oldest forgotten first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct IdempotentResults {
    by_key: OrdMap<Arc<str>, Arc<IdempotentResult>>,
    /// (time, key): in order of forgetting.
    by_time: OrdSet<(u64, Arc<str>)>,
    /// How many changes all results tell of.
    changes: usize,
}

/// One remembered answer. Only accepted commands are remembered: a refused one changed nothing and may be tried again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IdempotentResult {
    pub(crate) time_ms: u64,
    pub(crate) request_digest: [u8; 32],
    pub(crate) accepted: Accepted,
}

/// A command's key with the digest of what it asks for.
pub(super) struct Request<'a> {
    key: &'a str,
    digest: [u8; 32],
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
        // The actor is part of it: no actor gets the answer to another's request.
        let asked = proto::Command {
            actor: command.actor.clone(),
            body: Some(asked_of(command)),
            force_grants: command.force_grants,
            ..proto::Command::default()
        };
        Ok(Some(Self { key, digest: Sha256::digest(asked.encode_to_vec()).into() }))
    }
}

/// What the caller asked for, without what the node that took the request added: another node, asked again, may add something
/// else.
fn asked_of(command: &Command) -> proto::command::Body {
    use proto::command::Body;
    match command.body.to_proto() {
        Body::Revoke(revoke) => {
            Body::Revoke(proto::Revoke { control_nodes: Vec::new(), known_keys: Vec::new(), ..revoke })
        }
        body => body,
    }
}

impl IdempotentResults {
    /// What the same request was answered with.
    pub(super) fn answer(&self, request: &Request<'_>, now_ms: u64) -> Result<Option<&Accepted>, Problem> {
        let Some(result) = self.by_key.get(request.key).filter(|result| !has_passed(result.time_ms, now_ms))
        else {
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

    /// Remembers an answer and forgets what is too old or too much. One result is kept, however large.
    pub(super) fn remember(&mut self, request: &Request<'_>, now_ms: u64, accepted: &Accepted) {
        let result =
            IdempotentResult { time_ms: now_ms, request_digest: request.digest, accepted: accepted.clone() };
        self.insert(request.key, result);
        self.forget(now_ms);
    }

    /// Whether some are older than they are kept.
    pub(crate) fn has_passed(&self, now_ms: u64) -> bool {
        self.by_time.get_min().is_some_and(|(time_ms, _)| has_passed(*time_ms, now_ms))
    }

    /// Forgets what is too old or too much.
    pub(super) fn forget(&mut self, now_ms: u64) {
        while let Some((time_ms, key)) = self.by_time.get_min().cloned() {
            let too_many = self.by_time.len() > MAX_RESULTS;
            let too_large = self.changes > MAX_CHANGES && self.by_time.len() > 1;
            if !too_many && !too_large && !has_passed(time_ms, now_ms) {
                return;
            }
            self.by_time.remove(&(time_ms, key.clone()));
            if let Some(gone) = self.by_key.remove(&key) {
                self.changes -= gone.accepted.changes.len();
            }
        }
    }

    pub(crate) fn insert(&mut self, key: &str, result: IdempotentResult) {
        let key: Arc<str> = key.into();
        let time_ms = result.time_ms;
        self.changes += result.accepted.changes.len();
        if let Some(before) = self.by_key.insert(key.clone(), Arc::new(result)) {
            self.by_time.remove(&(before.time_ms, key.clone()));
            self.changes -= before.accepted.changes.len();
        }
        self.by_time.insert((time_ms, key));
    }

    /// Every key with its result, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &IdempotentResult)> {
        self.by_time
            .iter()
            .filter_map(|(_, key)| Some((key.as_ref(), self.by_key.get(key.as_ref())?.as_ref())))
    }
}

fn has_passed(time_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(time_ms) >= KEPT_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChangeResult, fixture};

    #[test]
    fn the_oldest_are_forgotten_when_all_tell_of_too_many_changes() {
        let change =
            ChangeResult { key: fixture::key("Plan gold"), action: ChangeResult::UNCHANGED, revision: 1 };
        let mut results = IdempotentResults::default();
        let mut remember = |now_ms, key, changes| {
            let accepted = Accepted { revision: 1, changes: vec![change.clone(); changes] };
            results.remember(&Request { key, digest: [0; 32] }, now_ms, &accepted);
            let told = results.iter().map(|(_, result)| result.accepted.changes.len());
            assert_eq!(results.changes, told.sum::<usize>());
            results.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(remember(1, "a", 120_000), ["a"]);
        assert_eq!(remember(2, "a", 60_000), ["a"], "a key's earlier result does not count");
        assert_eq!(remember(3, "b", 140_000), ["a", "b"], "as many as may be");
        assert_eq!(remember(4, "c", 1), ["b", "c"]);
        assert_eq!(remember(5, "d", 200_001), ["d"], "the newest is kept, however large");
    }
}
