//! The control node: it says who the agents of the region are, and who the holders of the Origin.

use hanse_proto::runtime::{self, Resource, resource::Kind};
use prost::Message as _;

use super::{node::AGENTS, *};

const ORIGIN: &str = "origin/pods";

/// What the control plane has committed.
pub(super) struct Control {
    pub(super) hub: Replicas,
    /// Agents that all others follow.
    pub(super) relays: [usize; 3],
    revision: u64,
    /// When the Origin was made; `None`: there is none.
    made_at_ms: Option<u64>,
    /// How often it was made.
    made: u64,
}

/// The scopes that a node offers, and the state by which it does.
pub(super) type Offer = (BTreeSet<ScopeId>, Option<Position>);

pub(super) fn agents_scope() -> ScopeId {
    ScopeId::Agents { region: name("eu-west") }
}

impl Control {
    pub(super) fn new() -> Self {
        Self { hub: Replicas::new(), relays: [0, 1, 2], revision: 0, made_at_ms: None, made: 0 }
    }

    pub(super) fn offer(&self) -> Offer {
        ([runtime_scope("production"), agents_scope()].into(), Some(at(self.revision)))
    }

    pub(super) fn has_origin(&self) -> bool {
        self.made_at_ms.is_some()
    }

    /// The Origin is made, unless it is there, or deleted.
    pub(super) fn set_origin(&mut self, is_there: bool) {
        if is_there && self.made_at_ms.is_none() {
            self.made += 1;
        }
        self.made_at_ms = is_there.then_some(self.made);
    }

    /// Commits a revision: the agents with the keys that they joined with, and the Origin with these holders.
    pub(super) fn commit(&mut self, keys: &[KeyDigest], holders: &[usize]) {
        self.revision += 1;
        let bytes = |kind: Kind| -> Bytes {
            Resource { kind: Some(kind), requires: Vec::new() }.encode_to_vec().into()
        };
        let key = |agent: usize| Bytes::copy_from_slice(&keys[agent]);
        let agents = (0..AGENTS).map(|agent| {
            let neighbour = runtime::Neighbour {
                name: node::agent_name(agent).to_string(),
                key: key(agent),
                address: format!("agent-{agent}:1"),
                relay: self.relays.contains(&agent),
                ..Default::default()
            };
            (format!("agent/{}", neighbour.name).into(), bytes(Kind::Neighbour(neighbour)))
        });
        let origin = self.made_at_ms.map(|made_at_ms| {
            let holder = |agent: &usize| runtime::Holder {
                name: node::agent_name(*agent).to_string(),
                key: key(*agent),
            };
            let origin = runtime::Origin {
                name: "pods".to_owned(),
                organizations: vec!["acme".to_owned()],
                kinds: vec!["route".to_owned()],
                holders: holders.iter().map(holder).collect(),
                made_at_ms,
            };
            (Arc::from(ORIGIN), bytes(Kind::Origin(origin)))
        });
        // Something of the control plane that changes with each revision: it must not wait for a local scope.
        let other = (Arc::from("plan/acme/free"), Bytes::from(format!("{}", self.revision)));
        let contents = [
            (agents_scope(), agents.collect::<BTreeMap<Arc<str>, Bytes>>()),
            (runtime_scope("production"), origin.into_iter().chain([other]).collect()),
        ];
        let to = at(self.revision);
        self.hub.update_all(|replicas| {
            for (scope, content) in contents {
                let replica = replicas.replica(&scope);
                let gone = replica.iter().filter(|(key, _)| !content.contains_key(*key));
                let gone = gone.map(|(key, _)| key.into()).collect();
                let changed = content.into_iter().filter(|(key, value)| replica.get(key) != Some(value));
                let changed = changed.collect();
                replica.advance(to, changed, gone).unwrap();
            }
        });
    }
}

/// Whether a node has the Origin, as its own `runtime` scope says.
pub(super) fn has_origin(map: &ReplicaMap) -> bool {
    map.get(&runtime_scope("production")).is_some_and(|replica| replica.get(ORIGIN).is_some())
}
