//! The control node: it says who the agents of the region are, and who the holders of the Origins.

use hanse_proto::runtime::{self, Resource, resource::Kind};
use prost::Message as _;

use super::{node::AGENTS, *};

pub(super) const ORIGIN: &str = "origin/pods";
/// Whose resources the holders of each Origin may publish.
const ORGANIZATIONS: [&str; ORIGINS] = ["acme", "umbrella"];

/// What the control plane has committed.
pub(super) struct Control {
    pub(super) hub: Replicas,
    /// Agents that all others follow.
    pub(super) relays: [usize; 3],
    revision: u64,
    /// When each Origin was made; `None`: there is none.
    made_at_ms: [Option<u64>; ORIGINS],
    /// How often each was made. Two may be made at the same time.
    made: [u64; ORIGINS],
}

/// The scopes that a node offers, and the state by which it does.
pub(super) type Offer = (BTreeSet<ScopeId>, Option<Position>);

pub(super) fn agents_scope() -> ScopeId {
    ScopeId::Agents { region: name("eu-west") }
}

impl Control {
    pub(super) fn new() -> Self {
        let (revision, made_at_ms, made) = Default::default();
        Self { hub: Replicas::new(), relays: [0, 1, 2], revision, made_at_ms, made }
    }

    pub(super) fn offer(&self) -> Offer {
        let scopes = (0..ORIGINS).map(|origin| runtime_of(origin).clone()).chain([agents_scope()]);
        (scopes.collect(), Some(at(self.revision)))
    }

    /// An Origin that is deleted.
    pub(super) fn deleted(&self) -> Option<usize> {
        self.made_at_ms.iter().position(Option::is_none)
    }

    /// An Origin is made, unless it is there, or deleted.
    pub(super) fn set_origin(&mut self, origin: usize, is_there: bool) {
        if is_there && self.made_at_ms[origin].is_none() {
            self.made[origin] += 1;
        }
        self.made_at_ms[origin] = is_there.then_some(self.made[origin]);
    }

    /// Commits a revision: the agents with the keys that they joined with, and the Origins with these holders.
    pub(super) fn commit(&mut self, keys: &[KeyDigest], holders: &[Vec<usize>; ORIGINS]) {
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
        let runtimes = (0..ORIGINS).map(|origin| {
            let made = self.made_at_ms[origin].map(|made_at_ms| {
                let holder = |agent: &usize| runtime::Holder {
                    name: node::agent_name(*agent).to_string(),
                    key: key(*agent),
                };
                let made = runtime::Origin {
                    name: "pods".to_owned(),
                    organizations: vec![ORGANIZATIONS[origin].to_owned()],
                    kinds: vec!["route".to_owned()],
                    holders: holders[origin].iter().map(holder).collect(),
                    made_at_ms,
                };
                (Arc::from(ORIGIN), bytes(Kind::Origin(made)))
            });
            // Something of the control plane that changes with each revision: it must not wait for a local scope.
            let other = (Arc::from("plan/acme/free"), Bytes::from(format!("{}", self.revision)));
            (runtime_of(origin).clone(), made.into_iter().chain([other]).collect())
        });
        let agents = (agents_scope(), agents.collect::<BTreeMap<Arc<str>, Bytes>>());
        let contents: Vec<_> = runtimes.chain([agents]).collect();
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
