//! Which control node gets the federation key from this one.

use std::sync::Arc;

use hanse_identity::PeerKeys;
use hanse_proto::raft::FederationKey;
use hanse_state::State;
use hanse_topology::{Identity, Role};
use tonic::Status;

/// Tells which versions of the federation key are here, of those that a state lists.
pub type KeysHook = Arc<dyn Fn(&State) -> Vec<FederationKey> + Send + Sync>;

/// What this node tells a caller of the federation key: the versions that this state lists. A caller that this state refuses gets none.
pub(super) fn told(
    state: &State,
    caller: &Identity,
    keys: &PeerKeys,
    hook: &KeysHook,
) -> Result<Vec<FederationKey>, Status> {
    check_caller(state, caller, keys)?;
    Ok(hook(state))
}

/// Refuses a caller that is not on record with the key that it shows, or that is revoked. Unlike other calls, this one lets in no node
/// without a record: its name could be that of any node.
fn check_caller(state: &State, caller: &Identity, keys: &PeerKeys) -> Result<(), Status> {
    let name = caller.to_string();
    let refused =
        |why: &str| Err(Status::permission_denied(format!("{caller} gets no federation key: {why}")));
    if caller.role != Role::Server {
        return refused("it is no control node");
    }
    let Some(member) = state.member(&name) else {
        return refused("no control node is on record under this name here");
    };
    if member.key_digest != keys.issuer_digest() {
        return refused("it is on record with another key here");
    }
    let shown = [keys.own_digest(), keys.issuer_digest()];
    if state.is_revoked(&name) || shown.iter().any(|key| state.revoked_with(key).is_some()) {
        return refused("it is revoked");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hanse_identity::digest_secret;
    use hanse_state::{Command, CommandBody, Lineage, Origin, Outcome};
    use hanse_topology::Name;

    use super::*;

    fn run(state: &mut State, body: CommandBody) {
        let outcome = state.apply(&Command {
            actor: "test".to_owned(),
            request_id: String::new(),
            time_ms: 1,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: Origin::default(),
            body,
        });
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn only_a_node_on_record_that_is_not_revoked_gets_keys() {
        let (cp_2, issuer) = (Identity::server(name("cp-2")), digest_secret(b"issuer"));
        let mut state = State::default();
        run(&mut state, CommandBody::StartLineage(Lineage { generation: 1, id: [1; 16], parent: None }));
        let keys = |own: &[u8], issuer: &[u8]| PeerKeys { own: own.to_vec(), issuer: issuer.to_vec() };
        let why = |state: &State, caller: &Identity, keys: &PeerKeys| {
            let hook: KeysHook = Arc::new(|_| vec![FederationKey::default()]);
            match super::told(state, caller, keys, &hook) {
                Ok(told) => {
                    assert_eq!(told.len(), 1);
                    None
                }
                Err(status) => {
                    assert_eq!(status.code(), tonic::Code::PermissionDenied);
                    Some(status.message().to_owned())
                }
            }
        };
        let told = |state: &State| why(state, &cp_2, &keys(b"own", b"issuer")).unwrap_or_default();

        assert!(told(&state).contains("on record under this name"), "{}", told(&state));
        let identity = cp_2.to_string();
        let record = CommandBody::RecordServer { identity: identity.clone(), key_digest: issuer, node_id: 2 };
        run(&mut state, record);
        assert_eq!(told(&state), "");
        let replaced = why(&state, &cp_2, &keys(b"own", b"other")).unwrap();
        assert!(replaced.contains("another key"), "{replaced}");
        let agent = Identity::agent(name("cp-2"), name("eu-west"));
        assert!(why(&state, &agent, &keys(b"own", b"issuer")).unwrap().contains("no control node"));

        let revoke = |identity: &str, keys: Vec<[u8; 32]>| CommandBody::Revoke {
            identity: identity.to_owned(),
            control_nodes: ["cp-1", "cp-2", "cp-3"].map(name).into(),
            keys,
            known_keys: Vec::new(),
        };
        let mut by_name = state.clone();
        run(&mut by_name, revoke(&identity, Vec::new()));
        assert!(told(&by_name).contains("revoked"), "{}", told(&by_name));
        // Its key is refused with another identity.
        let mut by_key = state.clone();
        run(&mut by_key, revoke("cp-3.server.control.hanse.internal", vec![digest_secret(b"own")]));
        assert!(told(&by_key).contains("revoked"), "{}", told(&by_key));
        assert_eq!(told(&state), "");
    }
}
