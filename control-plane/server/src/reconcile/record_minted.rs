//! Has join tokens that agents made noted in the audit. An agent makes them by itself, so that a gateway joins while the control
//! plane is gone; it tells of them once it is connected again.

use hanse_state::{CommandBody, MintedToken, State};
use hanse_topology::Identity;

use super::{Observed, Reconciler};

/// See the module.
pub(crate) struct RecordMinted;

impl Reconciler for RecordMinted {
    fn name(&self) -> &'static str {
        "record-minted"
    }

    fn plan(&self, state: &State, observed: &dyn Observed, now_ms: u64) -> Vec<CommandBody> {
        let lacking = |(agent, token): (Identity, MintedToken)| {
            let agent = agent.to_string();
            state
                .lacks_minted(&agent, &token.id, now_ms)
                .then_some(CommandBody::RecordMinted { agent, token })
        };
        observed.minted_tokens().into_iter().filter_map(lacking).collect()
    }
}
