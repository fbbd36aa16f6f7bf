//! Adds the keys that agents report of revoked gateways to their revocations. A gateway may be revoked by name while its key is
//! not known: it was not heard, or its name joined at several agents.

use hanse_state::{CommandBody, Revocation, State};
use hanse_topology::{Identity, Role};

use super::{Observed, Reconciler};

/// See the module.
pub(crate) struct RefuseKeys;

impl Reconciler for RefuseKeys {
    fn name(&self) -> &'static str {
        "refuse-keys"
    }

    fn plan(&self, state: &State, observed: &dyn Observed, _: u64) -> Vec<CommandBody> {
        let unknown = |(text, revocation): (&str, &Revocation)| {
            let identity: Identity = text.parse().ok()?;
            if identity.role != Role::Gateway {
                return None;
            }
            let mut keys = observed.gateway_keys(&identity);
            keys.retain(|key| !revocation.keys.contains(key));
            let refuse = !keys.is_empty() && state.has_room_for_keys(revocation);
            refuse.then(|| CommandBody::RefuseKeys { identity: text.to_owned(), keys })
        };
        state.revocations().filter_map(unknown).collect()
    }
}
