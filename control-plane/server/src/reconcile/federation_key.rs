//! Makes the versions of the federation key: a key is added to the state, every control node gets it, then it is used. So no Secret is
//! sealed with a key that a control node lacks.

use hanse_state::{CommandBody, State};

use super::{Observed, Reconciler};

/// See the module.
pub(crate) struct FederationKey;

impl Reconciler for FederationKey {
    fn name(&self) -> &'static str {
        "federation-key"
    }

    fn plan(&self, state: &State, observed: &dyn Observed, _: u64) -> Vec<CommandBody> {
        let keys = state.federation_keys();
        // Nothing opens a Secret when no control node is left but a recovery key.
        if keys.recovery().is_none() {
            return Vec::new();
        }
        let add = || observed.next_key(state).into_iter().collect();
        let Some((version, _)) = keys.pending() else {
            return if keys.wants_new() { add() } else { Vec::new() };
        };
        // A control node that was not heard may lack it.
        let Some(holders) = observed.holders() else { return Vec::new() };
        let mut staying = holders.iter().filter(|holder| !state.is_revoked(&holder.identity)).peekable();
        if staying.peek().is_none() {
            return Vec::new();
        }
        match staying.clone().filter(|holder| holder.newest >= version).count() {
            // Its maker is gone.
            0 => add(),
            holding if holding == staying.count() => vec![CommandBody::UseKey { version }],
            _some => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_identity::KeyDigest;
    use hanse_state::{MintedToken, server_identity};
    use hanse_topology::Identity;

    use super::*;
    use crate::{
        reconcile::{HeardAgents, Holder},
        secrets::{Key, fixture::Federation},
    };

    /// The members, each with the newest version that it holds.
    struct Seen(Option<Vec<(&'static str, u32)>>);

    /// What stands for the command that adds the next version.
    const ADD: CommandBody = CommandBody::RotateKey;

    impl Observed for Seen {
        fn gateway_keys(&self, _: &Identity) -> Vec<KeyDigest> {
            Vec::new()
        }

        fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
            Vec::new()
        }

        fn holders(&self) -> Option<Vec<Holder>> {
            let holder =
                |(name, newest): &(&str, u32)| Holder { identity: server_identity(name), newest: *newest };
            self.0.as_ref().map(|holders| holders.iter().map(holder).collect())
        }

        fn next_key(&self, _: &State) -> Option<CommandBody> {
            Some(ADD)
        }

        fn agents(&self) -> HeardAgents {
            HeardAgents::default()
        }
    }

    fn plan(federation: &Federation, holders: Option<&[(&'static str, u32)]>) -> Vec<CommandBody> {
        FederationKey.plan(&federation.state, &Seen(holders.map(<[_]>::to_vec)), 0)
    }

    #[test]
    fn a_version_is_used_once_every_control_node_has_it() {
        let key = |byte: u8| Key::from([byte; 32]);
        let use_key = |version: u32| vec![CommandBody::UseKey { version }];
        let all = |newest: u32| [("cp-1", newest), ("cp-2", newest), ("cp-3", newest)];
        let nothing: Vec<CommandBody> = Vec::new();

        let mut federation = Federation { state: State::default(), ..Federation::new() };
        assert_eq!(plan(&federation, Some(&all(0))), nothing, "there is no recovery key");
        federation = Federation::new();
        assert_eq!(plan(&federation, None), [ADD], "the first one waits for nobody");

        federation.add(&key(1));
        assert_eq!(plan(&federation, None), nothing, "a member did not say");
        assert_eq!(
            plan(&federation, Some(&[("cp-1", 1), ("cp-2", 1), ("cp-3", 0)])),
            nothing,
            "cp-3 lacks it"
        );
        assert_eq!(plan(&federation, Some(&all(1))), use_key(1));
        assert_eq!(plan(&federation, Some(&all(0))), [ADD], "its maker is gone");
        assert_eq!(plan(&federation, Some(&[])), nothing);

        federation.used(1);
        assert_eq!(plan(&federation, Some(&all(1))), nothing);
        federation.rotate();
        assert_eq!(plan(&federation, Some(&all(1))), [ADD]);
        federation.add(&key(2));
        assert_eq!(plan(&federation, Some(&all(1))), [ADD]);
        federation.add(&key(3));
        assert_eq!(plan(&federation, Some(&[("cp-1", 3), ("cp-2", 2), ("cp-3", 3)])), nothing);

        // A revoked one is not waited for, and what it may have is not used.
        federation.revoke("cp-2");
        assert_eq!(plan(&federation, Some(&all(3))), [ADD]);
        federation.add(&key(4));
        assert_eq!(plan(&federation, Some(&[("cp-1", 4), ("cp-2", 2), ("cp-3", 4)])), use_key(4));
    }
}
