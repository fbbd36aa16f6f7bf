//! Spending a use of a JoinToken: its joiner becomes a member.

use std::sync::Arc;

use hanse_topology::Name;

use super::Effects;
use crate::{ChangeResult, Kind, Member, Metadata, Problem, ProblemName, Resource, ResourceKey, Spec, State};

/// A use of a token, as the command has it.
pub(super) struct Use<'a> {
    pub(super) token: &'a Name,
    pub(super) secret_digest: &'a [u8; 32],
    pub(super) joiner: &'a str,
    pub(super) key_digest: &'a [u8; 32],
}

/// Counts one use of the token, if the secret is the right one, it has not expired and uses are left; and remembers the
/// joiner with what the token lets it learn. A joiner asking again with the same token and key spends nothing. An identity
/// stays with the key it joined with, unless the token's spec says `replace`.
///
/// An unknown token and a wrong secret get the same answer: names cannot be probed.
pub(super) fn spend(before: &State, next: &mut State, wanted: &Use<'_>) -> Result<Effects, Problem> {
    let Use { token, secret_digest, joiner, key_digest } = *wanted;
    let key = ResourceKey::global(Kind::JoinToken, token.clone());
    let refused = |detail: String| {
        Err(Problem::new(ProblemName::JoinRefused, detail).remedy("ask an operator for a new one"))
    };
    let found = before.get(&key).map(Arc::as_ref);
    let Some(Resource { metadata, spec: Spec::JoinToken(spec), .. }) = found else {
        return refused(format!("the join token {token} is unknown or its secret is wrong"));
    };
    if spec.digest.0 != *secret_digest {
        return refused(format!("the join token {token} is unknown or its secret is wrong"));
    }
    if next.time_ms >= spec.expires_at.saturating_mul(1000) {
        return refused(format!("the join token {token} has expired"));
    }
    if before.is_revoked(joiner) {
        return Err(Problem::new(ProblemName::JoinRefused, format!("{joiner} is revoked")).remedy(
            "join under another name; or, if its key is safe, lift that first: hanse member readmit",
        ));
    }
    let member =
        Member { token: token.clone(), key_digest: *key_digest, environments: spec.environments.clone() };
    let known = before.members.get(joiner).map(Arc::as_ref);
    if known == Some(&member) {
        return Ok(Effects::none());
    }
    if known.is_some_and(|known| known.key_digest != member.key_digest) && !spec.replace {
        return Err(Problem::new(ProblemName::JoinRefused, format!("{joiner} joined already, with another key"))
            .remedy("join under another name; or, if its key is lost, with a join token whose spec says `replace: true`"));
    }
    if metadata.uses >= spec.uses {
        return refused(format!(
            "the join token {token} is used up: {} of {} uses spent",
            metadata.uses, spec.uses
        ));
    }
    let revision = before.revision + 1;
    let metadata =
        Metadata { revision, updated_at_ms: next.time_ms, uses: metadata.uses + 1, ..metadata.clone() };
    next.members.insert(joiner.into(), Arc::new(member));
    next.store(Resource { key: key.clone(), metadata, spec: Spec::JoinToken(spec.clone()) });
    Ok(Effects {
        makes_revision: true,
        touched: vec![key.clone()],
        results: vec![ChangeResult { key, action: ChangeResult::UPDATED, revision }],
    })
}
