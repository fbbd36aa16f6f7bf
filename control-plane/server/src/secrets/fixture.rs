//! A federation with keys, for tests.

use hanse_identity::{RecoveryPairs, WrappedAs, wrap_key};
use hanse_state::{Command, CommandBody, Lineage, Origin, Outcome, RecoveryKey, State, server_identity};
use sha2::{Digest as _, Sha256};

use super::Key;

/// A state with a recovery key, and the pairs of that.
pub(crate) struct Federation {
    pub(crate) state: State,
    pub(crate) pairs: RecoveryPairs,
}

impl Federation {
    pub(crate) fn new() -> Self {
        let pairs = RecoveryPairs::generate().unwrap();
        let recovery = RecoveryKey { sign: pairs.sign.public_key_der(), wrap: pairs.wrap.public_key_der() };
        let mut federation = Self { state: State::default(), pairs };
        federation.run(CommandBody::StartLineage(Lineage { generation: 1, id: [1; 16], parent: None }));
        federation.run(CommandBody::SetRecoveryKey { recovery, wrapped: Vec::new(), replace: false });
        federation
    }

    pub(crate) fn run(&mut self, body: CommandBody) -> &mut Self {
        let outcome = self.state.apply(&Command {
            actor: "test".into(),
            request_id: "test".into(),
            time_ms: 1_900_000_000_000,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: Origin::default(),
            body,
        });
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        self
    }

    /// The command that makes this key the next version.
    pub(crate) fn addition(&self, key: &Key) -> CommandBody {
        let (version, digest) = (self.state.federation_keys().next_number().unwrap(), key.digest());
        let wrap = self.pairs.wrap.public_key_der();
        CommandBody::AddKey {
            version,
            digest,
            recipient: Sha256::digest(&wrap).into(),
            wrapped: wrap_key(&wrap, WrappedAs { version, digest: &digest }, key.bytes()).unwrap(),
            maker: server_identity("cp-1"),
            rotate_after: self.state.federation_keys().rotate_after(),
        }
    }

    pub(crate) fn add(&mut self, key: &Key) -> &mut Self {
        self.run(self.addition(key))
    }

    pub(crate) fn used(&mut self, version: u32) -> &mut Self {
        self.run(CommandBody::UseKey { version })
    }

    pub(crate) fn rotate(&mut self) -> &mut Self {
        self.run(CommandBody::RotateKey)
    }

    /// Revokes a control node.
    pub(crate) fn revoke(&mut self, name: &str) -> &mut Self {
        let control_nodes = ["cp-1", "cp-2", "cp-3"].map(|name| hanse_topology::Name::new(name).unwrap());
        self.run(CommandBody::Revoke {
            identity: server_identity(name),
            control_nodes: control_nodes.into(),
            keys: Vec::new(),
            known_keys: Vec::new(),
        })
    }
}
