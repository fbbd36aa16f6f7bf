//! Who asks: bearer tokens, looked up by their digest.
//!
//! The lookup reads what this node has applied, so that operators can still look around when there is no quorum.

use hanse_state::{
    Kind, Problem, ProblemName, Spec, State,
    spec::{Digest, TokenSpec},
};
use hanse_topology::Name;
use http::{HeaderMap, header};

use crate::{OperatorApi, rejection::Rejection};

/// A caller whose token was good.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// The Token's name.
    pub(crate) name: Name,
    digest: Digest,
}

impl Actor {
    /// Whether the token is still good: long answers ask again.
    pub(crate) fn still_good(&self, state: &State, now_ms: u64) -> bool {
        look_up(state, &self.digest).is_some_and(|(name, spec)| name == &self.name && !expired(spec, now_ms))
    }
}

/// RFC 6750 §3: nothing was shown.
const CHALLENGE: &str = "Bearer realm=\"hanse\"";
/// RFC 6750 §3.1: what was shown is no good.
const CHALLENGE_BAD: &str = "Bearer realm=\"hanse\", error=\"invalid_token\"";
const REMEDY: &str = "send `Authorization: Bearer TOKEN` with an operator token of this federation";

/// The caller, or why it is turned away.
pub(crate) fn authenticate(api: &OperatorApi, headers: &HeaderMap) -> Result<Actor, Rejection> {
    let refuse = |detail: String, challenge| {
        let problem = Problem::new(ProblemName::Unauthenticated, detail).remedy(REMEDY);
        Rejection::from(problem).challenge(challenge)
    };
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let Some(authorization) = shown.next() else {
        return Err(refuse("this needs a token".to_owned(), CHALLENGE));
    };
    let token = match (bearer(authorization.as_bytes()), shown.next()) {
        (Some(token), None) => token,
        _ => {
            return Err(refuse("the Authorization header is not one bearer token".to_owned(), CHALLENGE_BAD));
        }
    };
    let digest = Digest::of(token);
    let state = api.replicated.current();
    let Some((name, spec)) = look_up(&state, &digest) else {
        return Err(refuse("the token is not known".to_owned(), CHALLENGE_BAD));
    };
    if expired(spec, api.clock.now_ms()) {
        return Err(refuse(format!("the token {name} has expired"), CHALLENGE_BAD));
    }
    let actor = Actor { name: name.clone(), digest };
    tracing::Span::current().record("actor", actor.name.as_str());
    Ok(actor)
}

/// RFC 6750 §2.1; the scheme is case-insensitive (RFC 9110 §11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked("bearer ".len())?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// The Token of that digest. Looks at every one, so that time says nothing about which are there.
fn look_up<'a>(state: &'a State, digest: &Digest) -> Option<(&'a Name, &'a TokenSpec)> {
    let mut found = None;
    for resource in state.list(Kind::Token, None) {
        if let Spec::Token(spec) = &resource.spec
            && equal(&spec.digest.0, &digest.0)
        {
            found = Some((&resource.key.name, spec));
        }
    }
    found
}

/// Compares in constant time.
fn equal(left: &[u8; 32], right: &[u8; 32]) -> bool {
    std::hint::black_box(left.iter().zip(right).fold(0, |different, (a, b)| different | (a ^ b))) == 0
}

fn expired(spec: &TokenSpec, now_ms: u64) -> bool {
    spec.expires_at.is_some_and(|seconds| seconds.saturating_mul(1_000) <= now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_taken_out_of_the_header() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(header.as_bytes()), token.map(str::as_bytes), "{header:?}");
        }
    }

    #[test]
    fn digests_are_compared_whole() {
        let one = Digest::of(b"one").0;
        let mut other = one;
        assert!(equal(&one, &other));
        other[31] ^= 1;
        assert!(!equal(&one, &other));
    }
}
