//! Who asks: bearer tokens, looked up by their digest.
//!
//! The lookup reads what this node has applied, so that operators can still look around when there is no quorum.

use hanse_management::{Digest, Problem, ProblemName, Spec, kinds::TokenSpec};
use hanse_state::State;
use hanse_topology::Name;
use http::{HeaderMap, header};

use crate::{
    OperatorApi,
    access::{Access, Asking},
    rejection::Rejection,
};

/// A caller whose token was good.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// The Token's name.
    pub(crate) name: Name,
    /// Who answers for it.
    pub(crate) owner: String,
    /// What it may do.
    pub(crate) access: Access,
    digest: Digest,
}

impl Actor {
    /// Whether the token is still good, and allows what it allowed: long answers ask again.
    pub(crate) fn still_good(&self, state: &State, now_ms: u64) -> bool {
        look_up(state, &self.digest).is_some_and(|(name, spec)| {
            name == &self.name && !spec.has_expired(now_ms) && access_of(spec) == self.access
        })
    }

    /// It, as one that asks for something.
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking { token: &self.name, access: &self.access }
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
    if spec.has_expired(api.clock.now_ms()) {
        return Err(refuse(format!("the token {name} has expired"), CHALLENGE_BAD));
    }
    let owner = spec.owner(name).to_owned();
    let actor = Actor { name: name.clone(), owner, access: access_of(spec), digest };
    api.last_uses.note(&digest, api.clock.now_ms());
    tracing::Span::current().record("actor", actor.name.as_str());
    Ok(actor)
}

/// RFC 6750 §2.1; the scheme is case-insensitive (RFC 9110 §11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked("bearer ".len())?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// The Token of that digest, by the state's index. How long it takes may say something about digests that are there. A
/// digest says nothing about the token that has it, and no client can choose one.
fn look_up<'a>(state: &'a State, digest: &Digest) -> Option<(&'a Name, &'a TokenSpec)> {
    let resource = state.token_with(digest)?;
    if let Spec::Token(spec) = &resource.spec { Some((&resource.key.name, spec)) } else { None }
}

fn access_of(spec: &TokenSpec) -> Access {
    Access { role: spec.role, organization: spec.organization.clone() }
}

#[cfg(test)]
mod tests {
    use hanse_management::{Kind, ResourceKey};
    use hanse_state::{Action, Change, Command, CommandBody, Lineage, Outcome};
    use hanse_topology::Labels;

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

    /// A state with `count` Tokens, `token-0` and so on, each of the digest of its name.
    fn with_tokens(count: usize) -> State {
        let change = |number: usize| {
            let name = format!("token-{number}");
            let digest = Digest::of(name.as_bytes());
            let spec = Spec::Token(TokenSpec::admin(digest, None));
            let key = ResourceKey::global(Kind::Token, Name::new(&name).unwrap());
            Change { key, action: Action::put(Labels::default(), spec), if_revision: None }
        };
        let mut state = State::default();
        let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
        for body in [CommandBody::StartLineage(lineage), CommandBody::Apply((0..count).map(change).collect())]
        {
            let (actor, request_id) = (String::new(), String::new());
            let outcome = state.apply(&Command {
                actor,
                request_id,
                time_ms: 1,
                idempotency_key: None,
                only_in_term: None,
                force_grants: false,
                origin: hanse_state::Origin::default(),
                body,
            });
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        }
        state
    }

    #[test]
    fn tokens_are_found_by_their_digest() {
        let state = with_tokens(3);
        for name in ["token-0", "token-1", "token-2"] {
            let (found, spec) = look_up(&state, &Digest::of(name.as_bytes())).unwrap();
            assert_eq!((found.as_str(), spec.digest), (name, Digest::of(name.as_bytes())));
        }
        let mut near = Digest::of(b"token-1");
        near.0[31] ^= 1;
        assert!(look_up(&state, &near).is_none());
    }

    #[test]
    fn the_cost_of_a_look_up_does_not_grow_with_the_tokens() {
        let best_of = |state: &State| {
            let run = |_| {
                let started = std::time::Instant::now();
                for number in 0..200 {
                    std::hint::black_box(look_up(state, &Digest::of(&[number])));
                }
                started.elapsed()
            };
            (0..5).map(run).min().unwrap()
        };
        let (few, many) = (best_of(&with_tokens(2)), best_of(&with_tokens(4_000)));
        assert!(many < few * 20, "{many:?} among 4000, {few:?} among 2");
    }
}
