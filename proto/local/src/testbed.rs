//! What the tests of several parts need.

use std::sync::Arc;

use bytes::Bytes;
use hanse_identity::{Authority, KeyPair, LiveTrust};
use hanse_link::{HeldHead, Replicas};
use hanse_proto::runtime::{self, resource::Kind};
use hanse_sync::ContentRoot;
use hanse_topology::{Lineage, Name, Position, ScopeId};
use prost::Message as _;

use crate::head;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// `local/eu-west/ENVIRONMENT/pods`.
pub(crate) fn pods(environment: &str) -> ScopeId {
    ScopeId::local(name("eu-west"), name(environment), name("pods"))
}

pub(crate) fn runtime_scope(environment: &str) -> ScopeId {
    ScopeId::runtime(name("eu-west"), name(environment))
}

/// A position of the control plane.
pub(crate) fn at(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
}

/// An authority of an agent of `eu-west`, and whom its region believes.
pub(crate) fn agent() -> (Authority, LiveTrust) {
    let root = Authority::new_root().unwrap();
    let control = root.new_control_intermediate(&name("cp-1")).unwrap();
    let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
    (region, root.trust_anchor().unwrap().into())
}

/// The Origin `pods`, with one holder.
pub(crate) fn origin(holder: &KeyPair) -> Bytes {
    let key = head::digest_of(&holder.public_key_der()).to_vec().into();
    let origin = runtime::Origin {
        name: "pods".to_owned(),
        organizations: vec!["acme".to_owned()],
        kinds: vec!["route".to_owned()],
        holders: vec![runtime::Holder { name: "agent-1".to_owned(), key }],
    };
    runtime::Resource { kind: Some(Kind::Origin(origin)), requires: Vec::new() }.encode_to_vec().into()
}

/// The hub gets the next revision of `runtime/eu-west/ENVIRONMENT`, with exactly these keys.
pub(crate) fn control_plane_says(hub: &Replicas, environment: &str, content: &[(&str, &Bytes)]) {
    let content = content.iter().map(|(key, value)| (Arc::from(*key), (*value).clone())).collect();
    hub.update(&runtime_scope(environment), |replica| {
        let next = replica.position().map_or(1, |position| position.revision + 1);
        replica.replace(at(next), content).unwrap();
    });
}

/// The hub gets a local scope with one key, signed.
pub(crate) fn holds(hub: &Replicas, scope: &ScopeId, key: &KeyPair, counter: u32) -> HeldHead {
    let content = vec![(Arc::from("a"), Bytes::from("1"))];
    hub.update(scope, |replica| {
        let change = replica.prepare_snapshot(position(key, counter, 1), content).unwrap();
        let (position, root) = (*change.to(), change.root());
        let signature = head::sign(key, scope, &position, &root).unwrap();
        replica.commit(change.signed(signature.clone())).unwrap();
        HeldHead { position, root, signature }
    })
}

/// A position of a lineage of this key.
pub(crate) fn position(key: &KeyPair, counter: u32, revision: u64) -> Position {
    let id = head::id_of(&head::digest_of(&key.public_key_der()), [3; 8]);
    Position { lineage: Lineage { generation: head::generation_of(counter, 5), id, parent: None }, revision }
}

/// A head that this key signed.
pub(crate) fn signed(key: &KeyPair, scope: &ScopeId, counter: u32) -> HeldHead {
    let (position, root) = (position(key, counter, 1), ContentRoot([4; 32]));
    HeldHead { position, root, signature: head::sign(key, scope, &position, &root).unwrap() }
}
