use hanse_identity::{KeyPair, Refused};
use hanse_link::{HeldHead, Replicas};

use super::*;
use crate::{OriginKeeper, testbed::*};

#[test]
fn a_head_is_believed_of_a_holder_that_is_not_revoked() {
    let (authority, trust) = agent();
    let (key, stranger) = (authority.key().clone(), KeyPair::generate().unwrap());
    let hub = Replicas::new();
    control_plane_says(&hub, "production", &[("origin/pods", &origin(&key))]);
    let (_keeper, origins) = OriginKeeper::new(hub, trust.clone());
    let judge = |scope: &ScopeId, HeldHead { position, root, signature }: &HeldHead| {
        origins.judge(scope, position, root, signature)
    };
    let unknown = |why: &str| Err(Disbelief::Unknown(why.to_owned()));
    let forged = Err(Disbelief::Forged("its signature does not fit it".to_owned()));
    let (here, elsewhere) = (pods("production"), pods("staging"));
    assert!(origins.wants(&here) && !origins.wants(&elsewhere));
    assert_eq!(judge(&here, &signed(&key, &here, 1)), Ok(()));

    let digest = hex::encode(head::digest_of(&stranger.public_key_der()));
    assert_eq!(
        judge(&here, &signed(&stranger, &here, 1)),
        unknown(&format!("its Origin names no holder with the key {digest}"))
    );
    assert_eq!(
        judge(&elsewhere, &signed(&key, &elsewhere, 1)),
        unknown("this node knows no Origin that places it")
    );
    assert_eq!(judge(&here, &signed(&key, &elsewhere, 1)), forged, "what was signed for another scope");
    // A holder's own signature of a lineage that another key began.
    let HeldHead { position, root, .. } = signed(&stranger, &here, 1);
    let signature = head::sign(&key, &here, &position, &root).unwrap();
    assert_eq!(
        judge(&here, &HeldHead { position, root, signature }),
        unknown("its lineage is of another holder, or of an Origin that was deleted")
    );
    let spki = HeadSignature { spki: vec![0; 4_000].into(), signature: vec![0; 70].into() };
    let head = HeldHead { signature: spki, ..signed(&key, &here, 1) };
    assert_eq!(judge(&here, &head), unknown("its key is no P-256 key"));

    let refuse = |refused| {
        trust.refuse(refused);
        judge(&here, &signed(&key, &here, 1))
    };
    let revoked = unknown("agent-1.agent.eu-west.hanse.internal is revoked");
    let by_name = Refused::from(BTreeSet::from([Identity::agent(name("agent-1"), name("eu-west"))]));
    assert_eq!(refuse(by_name), revoked);
    let keys = [head::digest_of(&key.public_key_der())].into();
    assert_eq!(refuse(Refused { keys, ..Refused::default() }), revoked);
    assert_eq!(refuse(Refused::default()), Ok(()));
}

/// A node that was off holds the last head of the Origin that was deleted, and may pass it on.
#[test]
fn a_head_of_an_origin_that_was_deleted_is_none_of_the_next_of_its_name() {
    let (authority, trust) = agent();
    let (key, here, hub) = (authority.key(), pods("production"), Replicas::new());
    control_plane_says(&hub, "production", &[("origin/pods", &origin(key))]);
    let (mut keeper, origins) = OriginKeeper::new(hub.clone(), trust);
    let head = signed(key, &here, 7);
    let judge = || origins.judge(&here, &head.position, &head.root, &head.signature);
    assert_eq!(judge(), Ok(()));
    control_plane_says(&hub, "production", &[("origin/pods", &origin_of(&[key], MADE_AT_MS + 1))]);
    keeper.step();
    let why = "its lineage is of another holder, or of an Origin that was deleted";
    assert_eq!(judge(), Err(Disbelief::Unknown(why.to_owned())));
}

#[test]
fn scopes_of_a_holder_are_wanted_and_others_are_not() {
    use hanse_identity::Authority;
    use hanse_link::Replicas;
    use hanse_proto::runtime::{Holder, Origin, Resource, resource::Kind};
    use prost::Message as _;

    let hub = Replicas::new();
    let origin = |name: &str, holders: &[&str]| {
        let holder = |name: &&str| Holder { name: (*name).to_owned(), key: vec![7; 32].into() };
        let origin = Origin {
            name: name.to_owned(),
            organizations: vec!["shop".to_owned()],
            kinds: vec!["route".to_owned()],
            holders: holders.iter().map(holder).collect(),
            made_at_ms: 1,
        };
        let resource = Resource { kind: Some(Kind::Origin(origin)), requires: Vec::new() };
        (format!("origin/{name}").into(), resource.encode_to_vec().into())
    };
    let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
    let content = vec![origin("pods", &["a", "b"]), origin("jobs", &["b"])];
    hub.update(&"runtime/eu-west/production".parse().unwrap(), |replica| {
        replica.advance(Position { lineage, revision: 1 }, content, Vec::new())
    })
    .unwrap();
    let root = Authority::new_root().unwrap();
    let (_keeper, origins) = OriginKeeper::new(hub, root.trust_anchor().unwrap().into());
    let heads = origins.of_link(Replicas::new(), Some(Name::new("a").unwrap()));
    for (origin, wanted) in [("pods", true), ("jobs", false), ("gone", false)] {
        let scope = format!("local/eu-west/production/{origin}").parse().unwrap();
        assert_eq!(heads.wants(&scope), wanted, "{origin}");
        assert_eq!(origins.wants(&scope), origin != "gone", "of a relay all are wanted");
    }
}
