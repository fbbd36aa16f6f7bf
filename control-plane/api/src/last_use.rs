//! When tokens were last used, by the hour: soft state of this node, lost with its process.
//!
//! The hour answers the question "may this token go?" and costs no write to the replicated state.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use hanse_management::{Digest, Kind};
use hanse_state::{Resource, rfc3339};
use serde_json::json;

use crate::answer;

const HOUR_MS: u64 = 60 * 60 * 1_000;
/// How many tokens are remembered: far more than a federation has operators. Of more, the one that was used longest ago is forgotten.
const MAX_TOKENS: usize = 10_000;

/// The hour of the last use of each token, by the digest of its secret: a token that is made anew under a name was not used.
#[derive(Debug, Default)]
pub(crate) struct LastUses(Mutex<BTreeMap<Digest, u64>>);

impl LastUses {
    /// The token was used now.
    pub(crate) fn note(&self, token: &Digest, now_ms: u64) {
        let hour = now_ms / HOUR_MS;
        let mut hours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hours.get_mut(token) {
            *known = hour.max(*known);
            return;
        }
        if hours.len() >= MAX_TOKENS {
            let oldest = hours.iter().min_by_key(|(_, hour)| **hour).map(|(digest, _)| *digest);
            oldest.and_then(|oldest| hours.remove(&oldest));
        }
        hours.insert(*token, hour);
    }

    /// The beginning of the hour in which the token was last used here, as RFC 3339 has it.
    pub(crate) fn of(&self, token: &Digest) -> Option<String> {
        let hours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hours.get(token).map(|hour| rfc3339(hour * HOUR_MS))
    }

    /// What is shown of a resource: of a Token also its last use.
    pub(crate) fn shown(&self, resource: &Resource, mut shown: answer::Resource) -> answer::Resource {
        if resource.key.kind == Kind::Token
            && let Some(hour) = resource.spec.secret().and_then(|digest| self.of(digest))
        {
            shown.status.get_or_insert_with(|| json!({}))["lastUsed"] = hour.into();
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_of_the_last_use_is_kept_and_the_oldest_is_forgotten() {
        let uses = LastUses::default();
        let name = |number: usize| Digest::of(format!("token-{number}").as_bytes());
        assert_eq!(uses.of(&name(0)), None);
        uses.note(&name(0), HOUR_MS + 1_234);
        uses.note(&name(0), 17);
        assert_eq!(uses.of(&name(0)).as_deref(), Some("1970-01-01T01:00:00Z"));
        for number in 1..=MAX_TOKENS {
            uses.note(&name(number), 2 * HOUR_MS);
        }
        assert_eq!(uses.of(&name(0)), None);
        assert!(uses.of(&name(1)).is_some() && uses.of(&name(MAX_TOKENS)).is_some());
    }
}
