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
    let (here, elsewhere) = (pods("production"), pods("staging"));
    assert!(origins.wants(&here) && !origins.wants(&elsewhere));
    assert_eq!(judge(&here, &signed(&key, &here, 1)), Ok(()));

    let digest = hex::encode(head::digest_of(&stranger.public_key_der()));
    assert_eq!(
        judge(&here, &signed(&stranger, &here, 1)),
        Err(format!("its Origin names no holder with the key {digest}"))
    );
    assert_eq!(
        judge(&elsewhere, &signed(&key, &elsewhere, 1)),
        Err("this node knows no Origin that places it".to_owned())
    );
    assert_eq!(
        judge(&here, &signed(&key, &elsewhere, 1)),
        Err("its signature does not fit it".to_owned()),
        "what was signed for another scope"
    );
    // A holder's own signature of a lineage that another key began.
    let HeldHead { position, root, .. } = signed(&stranger, &here, 1);
    let signature = head::sign(&key, &here, &position, &root).unwrap();
    assert_eq!(
        judge(&here, &HeldHead { position, root, signature }),
        Err("its lineage belongs to another key than the one that signed".to_owned())
    );

    let refuse = |refused| {
        trust.refuse(refused);
        judge(&here, &signed(&key, &here, 1))
    };
    let revoked = Err("agent-1.agent.eu-west.hanse.internal is revoked".to_owned());
    let by_name = Refused::from(BTreeSet::from([Identity::agent(name("agent-1"), name("eu-west"))]));
    assert_eq!(refuse(by_name), revoked);
    let keys = [head::digest_of(&key.public_key_der())].into();
    assert_eq!(refuse(Refused { keys, ..Refused::default() }), revoked);
    assert_eq!(refuse(Refused::default()), Ok(()));
}
