//! Sweeps what has served its time: JoinTokens and proposals that have expired, and results of idempotency keys.

use std::time::Duration;

use hanse_management::{Kind, Spec};
use hanse_state::{Action, Change, CommandBody, Resource, State};

use super::{Observed, Reconciler};

/// How long a JoinToken is kept after it expired: an operator who wonders why a node was not let in finds it.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How many JoinTokens go with one command: far below what a command may carry.
const TOKENS_A_COMMAND: usize = 500;

/// See the module.
pub(crate) struct Sweep;

impl Reconciler for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    fn plan(&self, state: &State, _: &dyn Observed, now_ms: u64) -> Vec<CommandBody> {
        // Never ahead of the commands of others: what this node's clock says wrongly for a moment deletes nothing.
        let now_ms = now_ms.min(state.time_ms());
        let over: Vec<_> = state
            .list(Kind::JoinToken, None)
            .filter(|token| is_over(token, now_ms) && !token.metadata.protected)
            .map(|token| Change {
                key: token.key.clone(),
                action: Action::Delete { cascade: false },
                // Made anew or used meanwhile, it stays.
                if_revision: Some(token.metadata.revision),
            })
            .collect();
        let mut plan: Vec<_> =
            over.chunks(TOKENS_A_COMMAND).map(|tokens| CommandBody::Apply(tokens.to_vec())).collect();
        if state.has_stale(now_ms) {
            plan.push(CommandBody::ForgetResults);
        }
        plan
    }
}

/// Whether a token expired at least [`KEPT`] ago.
fn is_over(token: &Resource, now_ms: u64) -> bool {
    let Spec::JoinToken(spec) = &token.spec else { return false };
    // Not sooner where it is used up: applied again it would be made anew, and fresh.
    let ended_ms = spec.expires_at.saturating_mul(1_000);
    let kept_ms = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
    now_ms.saturating_sub(ended_ms) >= kept_ms
}
