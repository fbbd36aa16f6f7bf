//! How callers of an Api show who they are.
//!
//! A second scheme is a variant here: what it is made from, what it finds in a request, how it is asked for, and what of it the
//! upstream must not see. Routes and decisions ask [`Scheme`], whichever it is.

use std::sync::Arc;

use hanse_runtime::{ApiKey, Security};
use http::{HeaderName, HeaderValue};

use crate::{
    decide::{Head, query},
    problem::{Challenge, Refusal},
    table::{Caller, Callers, KeyDigest, digest},
};

/// How callers of an Api show who they are.
#[derive(Debug, Clone)]
pub enum Scheme {
    /// With the API key of an application.
    ApiKey(KeyPlace),
}

/// Where an API key is looked for.
#[derive(Debug, Clone)]
pub struct KeyPlace {
    /// In this header.
    header: Option<HeaderName>,
    /// In this query parameter.
    query: Option<Box<str>>,
    /// Of its 401.
    challenge: Challenge,
}

impl Scheme {
    /// The scheme that a Route asks for; `None`: anybody may call.
    pub fn of(security: Security) -> Option<Self> {
        match security {
            Security::Open => None,
            Security::ApiKey(key) => Some(Self::ApiKey(key.into())),
        }
    }

    /// Who calls.
    pub fn caller(&self, callers: &Callers, head: &Head<'_>) -> Result<Arc<Caller>, Refusal> {
        let challenge = || self.challenge().clone();
        let key = self.shown(head).ok_or_else(|| Refusal::KeyMissing { challenge: challenge() })?;
        // The table is keyed by digest, so how long the search takes says nothing about a key.
        let caller = callers.by_key(&key).ok_or_else(|| Refusal::KeyUnknown { challenge: challenge() })?;
        if caller.expires_at.is_some_and(|expires_at| (head.unix_now)() >= expires_at) {
            return Err(Refusal::KeyExpired { challenge: challenge() });
        }
        Ok(caller.clone())
    }

    /// The digest of the key that a request shows.
    fn shown(&self, head: &Head<'_>) -> Option<KeyDigest> {
        match self {
            Self::ApiKey(place) => place.shown(head),
        }
    }

    fn challenge(&self) -> &Challenge {
        match self {
            Self::ApiKey(place) => &place.challenge,
        }
    }

    /// The header that carries the key: the upstream does not get it.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::ApiKey(place) => place.header.as_ref(),
        }
    }

    /// The query parameter that carries it, likewise.
    pub fn query(&self) -> Option<&str> {
        match self {
            Self::ApiKey(place) => place.query.as_deref(),
        }
    }
}

impl KeyPlace {
    fn shown(&self, head: &Head<'_>) -> Option<KeyDigest> {
        let from_header = self.header.as_ref().and_then(|name| head.headers.get(name));
        match from_header.map(HeaderValue::as_bytes).filter(|key| !key.is_empty()) {
            Some(key) => Some(digest(key)),
            None => {
                let key = query::value(head.uri.query()?, self.query.as_ref()?);
                key.filter(|key| !key.is_empty()).map(|key| digest(&key))
            }
        }
    }
}

impl From<ApiKey> for KeyPlace {
    fn from(ApiKey { header, query }: ApiKey) -> Self {
        let place = match &header {
            Some(header) => format!("ApiKey header=\"{header}\""),
            None => "ApiKey".to_owned(),
        };
        let by_header = header.as_ref().map(|header| format!("the header {header}"));
        let by_query = query.as_ref().map(|query| format!("the query parameter {query}"));
        let places: Vec<String> = by_header.into_iter().chain(by_query).collect();
        let authenticate =
            HeaderValue::from_str(&place).unwrap_or_else(|_| HeaderValue::from_static("ApiKey"));
        let detail = format!("The gateway looks for it in {}.", places.join(", and then in "));
        let challenge = Challenge::new(authenticate, &detail);
        Self { header, query, challenge }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_every_place_of_the_key() {
        let check = |header: Option<&'static str>, query: Option<&str>, authenticate: &str, detail: &str| {
            let header = header.map(HeaderName::from_static);
            let place = KeyPlace::from(ApiKey { header, query: query.map(Into::into) });
            assert_eq!(place.challenge.authenticate, authenticate);
            for refusal in [
                Refusal::KeyMissing { challenge: place.challenge.clone() },
                Refusal::KeyUnknown { challenge: place.challenge.clone() },
                Refusal::KeyExpired { challenge: place.challenge.clone() },
            ] {
                let reason = refusal.reason().name();
                let document: serde_json::Value = serde_json::from_slice(refusal.response().body()).unwrap();
                assert_eq!(document["detail"], detail, "{reason}");
                assert!(document["type"].as_str().unwrap().contains(reason), "{document}");
            }
        };
        check(
            Some("x-api-key"),
            None,
            "ApiKey header=\"x-api-key\"",
            "The gateway looks for it in the header x-api-key.",
        );
        check(None, Some("key"), "ApiKey", "The gateway looks for it in the query parameter key.");
        check(
            Some("x-api-key"),
            Some("key"),
            "ApiKey header=\"x-api-key\"",
            "The gateway looks for it in the header x-api-key, and then in the query parameter key.",
        );
    }
}
