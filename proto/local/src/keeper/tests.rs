use bytes::Bytes;
use hanse_sync::Heads as _;

use super::*;
use crate::testbed::*;

/// Which local scopes the hub holds.
fn local(hub: &Replicas) -> Vec<String> {
    hub.read(|map| map.keys().filter(|scope| scope.is_local()).map(ScopeId::to_string).collect())
}

#[test]
fn a_local_scope_lives_as_long_as_its_origin() {
    let (authority, trust) = agent();
    let key = authority.key();
    let hub = Replicas::new();
    let (mut keeper, origins) = OriginKeeper::new(hub.clone(), trust.clone());
    let (held, mut changed) = (origins.held(), origins.changed());
    let origin = origin(key);
    let unreadable = Bytes::from_static(b"\xff\xff");
    holds(&hub, &pods("production"), key, 1);
    holds(&hub, &pods("staging"), key, 1);

    // Each: what the control plane says of `production`, whether its local scope is asked for, passed on, and still held.
    for (why, says, wanted) in [
        ("before the control plane has said anything, nothing is dropped", None, false),
        ("it has an Origin", Some(vec![("origin/pods", &origin)]), true),
        ("something else changed", Some(vec![("origin/pods", &origin), ("plan/acme/gold", &origin)]), true),
        ("an Origin that cannot be read stays as it was", Some(vec![("origin/pods", &unreadable)]), true),
        ("another Origin beside it", Some(vec![("origin/pods", &origin), ("origin/more", &origin)]), true),
    ] {
        if let Some(says) = says {
            control_plane_says(&hub, "production", &says);
        }
        keeper.step();
        assert_eq!(origins.wants(&pods("production")), wanted, "{why}");
        assert_eq!(held.borrow().contains(&pods("production")), wanted, "{why}");
        assert_eq!(local(&hub).len(), 2, "{why}");
    }
    changed.mark_unchanged();
    keeper.step();
    assert!(!changed.has_changed().unwrap(), "nothing is news twice");

    // The Origin goes. What another environment holds is none of its business.
    control_plane_says(&hub, "production", &[("origin/more", &origin)]);
    keeper.step();
    assert!(changed.has_changed().unwrap() && !origins.wants(&pods("production")));
    assert_eq!(local(&hub), ["local/eu-west/staging/pods"]);

    // The environment goes, with all of its Origins.
    control_plane_says(&hub, "staging", &[("origin/pods", &origin)]);
    keeper.step();
    assert_eq!(local(&hub).len(), 1);
    hub.remove(&runtime_scope("staging"));
    keeper.step();
    assert!(local(&hub).is_empty() && !origins.wants(&pods("staging")));
    assert!(held.borrow().is_empty());
}

#[test]
fn an_origin_that_never_could_be_read_drops_nothing_and_is_not_believed() {
    let (authority, trust) = agent();
    let hub = Replicas::new();
    holds(&hub, &pods("production"), authority.key(), 1);
    control_plane_says(&hub, "production", &[("origin/pods", &Bytes::from_static(b"\xff\xff"))]);
    let (_keeper, origins) = OriginKeeper::new(hub.clone(), trust);
    assert!(!origins.wants(&pods("production")));
    assert_eq!(local(&hub).len(), 1);
}
