//! Makes the versions of the federation key: a key is added to the state, every control node gets it, then it is used. So no Secret is
//! sealed with a key that a control node lacks. Then values that an earlier version sealed are sealed with it.

use hanse_state::{CommandBody, State};

use super::{Observed, Reconciler};

/// See the module.
pub(crate) struct FederationKey;

impl Reconciler for FederationKey {
    fn name(&self) -> &'static str {
        "federation-key"
    }

    fn plan(&self, state: &State, observed: &dyn Observed, _: u64) -> Vec<CommandBody> {
        let versions = versions(state, observed);
        // A version that waits for a control node holds nothing up: the active one is better than those before it.
        if versions.is_empty() { observed.reseal(state).into_iter().collect() } else { versions }
    }
}

/// The next step to the version that is to be used next.
fn versions(state: &State, observed: &dyn Observed) -> Vec<CommandBody> {
    let keys = state.federation_keys();
    // Nothing opens a Secret when no control node is left but a recovery key.
    if keys.recovery().is_none() {
        return Vec::new();
    }
    let add = || observed.next_key(state).into_iter().collect();
    let Some((version, _)) = keys.pending() else {
        return if keys.wants_new() { add() } else { Vec::new() };
    };
    // A revoked control node gets no version. It may still be in the group, and no other node hears it.
    let holders = observed.holders().into_iter();
    let staying = holders.filter(|holder| !state.is_revoked(&holder.identity)).map(|holder| holder.newest);
    // A control node that did not answer may lack the version.
    let Some(newest) = staying.collect::<Option<Vec<_>>>() else { return Vec::new() };
    match newest.iter().filter(|newest| **newest >= version).count() {
        _ if newest.is_empty() => Vec::new(),
        // Its maker is gone.
        0 => add(),
        holding if holding == newest.len() => vec![CommandBody::UseKey { version }],
        _some => Vec::new(),
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

    /// The members, each with the newest version that it holds (`None`: it did not answer), and what is to be sealed anew.
    struct Seen(Vec<(&'static str, Option<u32>)>, Option<CommandBody>);

    /// What stands for the command that adds the next version.
    const ADD: CommandBody = CommandBody::RotateKey;

    impl Observed for Seen {
        fn gateway_keys(&self, _: &Identity) -> Vec<KeyDigest> {
            Vec::new()
        }

        fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
            Vec::new()
        }

        fn holders(&self) -> Vec<Holder> {
            let holder = |(name, newest): &(&str, Option<u32>)| Holder {
                identity: server_identity(name),
                newest: *newest,
            };
            self.0.iter().map(holder).collect()
        }

        fn next_key(&self, _: &State) -> Option<CommandBody> {
            Some(ADD)
        }

        fn reseal(&self, _: &State) -> Option<CommandBody> {
            self.1.clone()
        }

        fn agents(&self) -> HeardAgents {
            HeardAgents::default()
        }

        fn heard_standbys(&self, _: &hanse_topology::Name) -> Vec<hanse_state::port::Standby> {
            Vec::new()
        }
    }

    fn plan(federation: &Federation, newest: &[Option<u32>]) -> Vec<CommandBody> {
        plan_with(federation, newest, None)
    }

    fn plan_with(
        federation: &Federation,
        newest: &[Option<u32>],
        reseal: Option<CommandBody>,
    ) -> Vec<CommandBody> {
        let holders = ["cp-1", "cp-2", "cp-3"].into_iter().zip(newest.iter().copied()).collect();
        FederationKey.plan(&federation.state, &Seen(holders, reseal), 0)
    }

    #[test]
    fn values_are_sealed_anew_when_no_version_can_be_made_or_used() {
        let key = |byte: u8| Key::from([byte; 32]);
        let reseal = || CommandBody::Reseal(Vec::new());
        let mut federation = Federation::new();
        let all = |newest: u32| [Some(newest); 3];
        let plan =
            |federation: &Federation, newest: &[Option<u32>]| plan_with(federation, newest, Some(reseal()));
        federation.add(&key(1)).used(1);
        assert_eq!(plan(&federation, &all(1)), [reseal()]);
        federation.rotate();
        assert_eq!(plan(&federation, &all(1)), [ADD], "a rotation comes first");
        federation.add(&key(2));
        assert_eq!(plan(&federation, &[Some(2), Some(2), None]), [reseal()], "cp-3 is off");
        assert_eq!(plan(&federation, &all(2)), [CommandBody::UseKey { version: 2 }]);
        federation.used(2);
        assert_eq!(plan(&federation, &all(2)), [reseal()]);
    }

    #[test]
    fn a_version_is_used_once_every_control_node_has_it() {
        let key = |byte: u8| Key::from([byte; 32]);
        let use_key = |version: u32| vec![CommandBody::UseKey { version }];
        let all = |newest: u32| [Some(newest); 3];
        let nothing: Vec<CommandBody> = Vec::new();

        let mut federation = Federation { state: State::default(), ..Federation::new() };
        assert_eq!(plan(&federation, &all(0)), nothing, "there is no recovery key");
        federation = Federation::new();
        assert_eq!(plan(&federation, &[None; 3]), [ADD], "the first one waits for nobody");

        federation.add(&key(1));
        assert_eq!(plan(&federation, &[Some(1), Some(1), None]), nothing, "cp-3 did not answer");
        assert_eq!(plan(&federation, &[Some(1), Some(1), Some(0)]), nothing, "cp-3 lacks it");
        assert_eq!(plan(&federation, &all(1)), use_key(1));
        assert_eq!(plan(&federation, &all(0)), [ADD], "its maker is gone");
        assert_eq!(plan(&federation, &[]), nothing);

        federation.used(1);
        assert_eq!(plan(&federation, &all(1)), nothing);
        federation.rotate();
        assert_eq!(plan(&federation, &all(1)), [ADD]);
        federation.add(&key(2));
        assert_eq!(plan(&federation, &all(1)), [ADD]);
        federation.add(&key(3));
        assert_eq!(plan(&federation, &[Some(3), Some(2), Some(3)]), nothing);

        // A revoked one is not waited for, and what it may have is not used.
        federation.revoke("cp-2");
        assert_eq!(plan(&federation, &all(3)), [ADD]);
        federation.add(&key(4));
        assert_eq!(plan(&federation, &[Some(4), Some(2), Some(4)]), use_key(4));
        assert_eq!(plan(&federation, &[Some(4), None, Some(4)]), use_key(4), "it never answers any more");
        assert_eq!(plan(&federation, &[None, Some(4), Some(4)]), nothing);
    }
}
