//! The agents of a region, and which of them another one follows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hanse_identity::KeyDigest;
use hanse_runtime::{Neighbour, Resource, ResourceKind, check};
use hanse_sync::{ReplicaMap, Seen};
use hanse_topology::{Name, ScopeId};
use tracing::warn;

/// The agents of a region, by name.
pub type Directory = BTreeMap<Name, Neighbour>;

/// Where an agent is followed, and by which key it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The key that it joined with.
    pub key: KeyDigest,
    /// Whether it is a relay. Of another agent only the scopes are followed that it is a holder of.
    pub is_relay: bool,
}

/// Reads the agents of a region from a hub.
#[derive(Debug)]
pub struct DirectoryReader {
    scope: ScopeId,
    seen: Option<Seen>,
}

impl DirectoryReader {
    /// Of this region. Nothing is read yet.
    pub fn new(region: Name) -> Self {
        Self { scope: ScopeId::Agents { region }, seen: None }
    }

    /// The agents, if they may have changed since the last look. One that cannot be read is left out.
    pub fn read(&mut self, replicas: &ReplicaMap) -> Option<Directory> {
        let replica = replicas.get(&self.scope);
        let (before, seen) = (self.seen, replica.and_then(|replica| replica.seen()));
        self.seen = seen;
        // The position moves with each revision of the control plane, and the agents seldom.
        let changes = before.and_then(|before| replica?.changes_after(before));
        if seen == before || changes.is_some_and(|changes| changes.is_empty()) {
            return None;
        }
        let entries = replica.into_iter().flat_map(|replica| replica.iter());
        let read = |(key, bytes): (&str, &Bytes)| match check(ResourceKind::of_key(key)?, bytes) {
            Ok(Resource::Neighbour(neighbour)) => Some((Name::new(&neighbour.name).ok()?, neighbour)),
            Ok(_) => None, // of a later version
            Err(reason) => {
                warn!(scope = %self.scope, key, %reason, "an agent of the region cannot be read");
                None
            }
        };
        Some(entries.filter_map(read).collect())
    }
}

/// The agents that the agent `own` follows: the relays, and, if it is one, the holders of Origins. One without an address is left out.
pub fn followed(own: &Name, directory: &Directory, holders: &BTreeSet<Name>) -> BTreeMap<Name, Target> {
    let is_relay = directory.get(own).is_some_and(|own| own.relay);
    let is_followed =
        |name: &Name, agent: &Neighbour| name != own && (agent.relay || (is_relay && holders.contains(name)));
    let target = |(name, agent): (&Name, &Neighbour)| {
        let address = agent.address.clone().filter(|_| is_followed(name, agent))?;
        Some((name.clone(), Target { address, key: agent.key, is_relay: agent.relay }))
    };
    directory.iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// Agents, each `NAME`, with a `*` if it is a relay and a `-` if it has no address.
    fn directory(agents: &str) -> Directory {
        let agent = |text: &str| {
            let plain = text.trim_end_matches(['*', '-']);
            let neighbour = Neighbour {
                name: plain.to_owned(),
                key: [plain.as_bytes()[0]; 32],
                environments: Vec::new(),
                address: (!text.contains('-')).then(|| format!("{plain}.example:1")),
                relay: text.contains('*'),
            };
            (name(plain), neighbour)
        };
        agents.split_whitespace().map(agent).collect()
    }

    #[test]
    fn an_agent_follows_relays_and_a_relay_follows_holders_too() {
        for (own, agents, holders, wanted) in [
            ("x", "a* b* c* h x", "h", "a b c"),
            ("a", "a* b* c* h x", "h", "b c h"),
            ("a", "a* b* c* h x", "b h", "b c h"),
            ("h", "a* b* c* h x", "h", "a b c"),
            ("a", "a* h x", "a h unknown", "h"),
            ("a", "a* b*- h-", "h", ""),
            ("a", "", "h", ""),
            ("new", "a* b*", "", "a b"),
        ] {
            let holders = holders.split_whitespace().map(name).collect();
            let plan = followed(&name(own), &directory(agents), &holders);
            let names = plan.keys().map(Name::as_str).collect::<Vec<_>>().join(" ");
            assert_eq!(names, wanted, "{own} of {agents}, {holders:?}");
            for (name, target) in plan {
                assert_eq!(target.address, format!("{name}.example:1"));
                assert_eq!(target.key, [name.as_str().as_bytes()[0]; 32]);
                assert_eq!(target.is_relay, agents.contains(&format!("{name}*")));
            }
        }
    }

    #[test]
    fn agents_are_read_again_when_the_scope_moves() {
        let scope: ScopeId = "agents/eu-west".parse().unwrap();
        let bytes = |name: &str| {
            let agent = hanse_proto::runtime::Neighbour {
                name: name.into(),
                key: vec![7; 32].into(),
                ..Default::default()
            };
            let kind = Some(hanse_proto::runtime::resource::Kind::Neighbour(agent));
            let resource = hanse_proto::runtime::Resource { kind, requires: Vec::new() };
            bytes::Bytes::from(prost::Message::encode_to_vec(&resource))
        };
        let mut map = ReplicaMap::new();
        let mut reader = DirectoryReader::new(name("eu-west"));
        assert_eq!(reader.read(&map), None);
        let lineage = hanse_topology::Lineage { generation: 1, id: [1; 16], parent: None };
        let advance = |map: &mut ReplicaMap, revision, upserts| {
            let to = hanse_topology::Position { lineage, revision };
            map.entry(scope.clone()).or_default().advance(to, upserts, Vec::new()).unwrap();
        };
        let torn = bytes::Bytes::from_static(b"\xff");
        advance(
            &mut map,
            1,
            vec![("agent/a".into(), bytes("a")), ("agent/torn".into(), torn), ("later/x".into(), bytes("x"))],
        );
        let read = reader.read(&map).unwrap();
        assert_eq!(read.keys().map(Name::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(reader.read(&map), None);
        advance(&mut map, 2, Vec::new());
        assert_eq!(reader.read(&map), None, "the position alone moved");
        advance(&mut map, 3, vec![("agent/b".into(), bytes("b"))]);
        assert_eq!(reader.read(&map).unwrap().len(), 2);
        map.clear();
        assert_eq!(reader.read(&map), Some(Directory::new()));
    }
}
