use bytes::Bytes;
use hanse_identity::{KeyPair, Refused};
use hanse_sync::Exceptions;

use super::*;
use crate::{head, testbed::*};

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
    control_plane_says(&hub, "staging", &[("origin/pods", &origin)]);

    // Each: what the control plane says of `production`.
    for (why, says) in [
        ("it has an Origin", vec![("origin/pods", &origin)]),
        ("something else changed", vec![("origin/pods", &origin), ("plan/acme/gold", &origin)]),
        ("an Origin that cannot be read stays as it was", vec![("origin/pods", &unreadable)]),
        ("another Origin beside it", vec![("origin/pods", &origin), ("origin/more", &origin)]),
    ] {
        control_plane_says(&hub, "production", &says);
        if local(&hub).is_empty() {
            holds(&hub, &pods("production"), key, 1);
            holds(&hub, &pods("staging"), key, 1);
        }
        keeper.step();
        assert!(origins.wants(&pods("production")), "{why}");
        assert!(held.borrow().contains(&pods("production")), "{why}");
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
    hub.remove(&runtime_scope("staging"));
    keeper.step();
    assert!(local(&hub).is_empty() && !origins.wants(&pods("staging")));
    assert!(held.borrow().is_empty());
}

/// Origins are looked at as they are, and not as they change: what comes after the end of one ends too.
#[test]
fn a_local_scope_that_comes_after_its_origin_went_ends_too() {
    let (authority, trust) = agent();
    let (key, hub) = (authority.key(), Replicas::new());
    control_plane_says(&hub, "production", &[("origin/pods", &origin(key))]);
    let (mut keeper, _origins) = OriginKeeper::new(hub.clone(), trust.clone());
    holds(&hub, &pods("production"), key, 1);
    control_plane_says(&hub, "production", &[]);
    keeper.step();
    assert!(local(&hub).is_empty());
    // A subscriber had judged its first content while the Origin was there.
    holds(&hub, &pods("production"), key, 2);
    keeper.step();
    assert!(local(&hub).is_empty());

    // A disk brings a scope back whose Origin, or whose environment, went while it was written.
    for says in [Some([]), None] {
        let hub = Replicas::new();
        if let Some(says) = says {
            control_plane_says(&hub, "production", &says);
        }
        holds(&hub, &pods("production"), key, 1);
        let _keeper = OriginKeeper::new(hub.clone(), trust.clone());
        assert!(local(&hub).is_empty(), "{says:?}");
    }
}

/// An agent that passed on what it does not believe itself would be an alarm at each of its gateways.
#[test]
fn only_heads_that_are_believed_now_are_passed_on() {
    let (authority, trust) = agent();
    let (key, other) = (authority.key(), KeyPair::generate().unwrap());
    let (hub, scope) = (Replicas::new(), pods("production"));
    control_plane_says(&hub, "production", &[("origin/pods", &origin(key))]);
    let (mut keeper, origins) = OriginKeeper::new(hub.clone(), trust.clone());
    holds(&hub, &scope, key, 1);
    let mut is_passed_on = |says: Option<&Bytes>, refused: Refused| {
        if let Some(says) = says {
            control_plane_says(&hub, "production", &[("origin/pods", says)]);
        }
        trust.refuse(refused);
        keeper.step();
        assert_eq!(local(&hub).len(), 1, "it is held on");
        origins.held().borrow().contains(&scope)
    };
    let keys = || Refused { keys: [head::digest_of(&key.public_key_der())].into(), ..Refused::default() };
    assert!(is_passed_on(None, Refused::default()));
    assert!(!is_passed_on(None, keys()), "its holder is revoked");
    assert!(is_passed_on(None, Refused::default()));
    assert!(!is_passed_on(Some(&origin(&other)), Refused::default()), "its holder joined anew");
    assert!(
        !is_passed_on(Some(&origin_of(&[key], MADE_AT_MS + 1)), Refused::default()),
        "it is another Origin"
    );
    assert!(is_passed_on(Some(&origin(key)), Refused::default()));
}

#[tokio::test]
async fn the_task_follows_who_is_revoked() {
    let (authority, trust) = agent();
    let (key, hub) = (authority.key(), Replicas::new());
    control_plane_says(&hub, "production", &[("origin/pods", &origin(key))]);
    holds(&hub, &pods("production"), key, 1);
    let (keeper, origins) = OriginKeeper::new(hub.clone(), trust.clone());
    let mut held = origins.held();
    assert!(!held.borrow_and_update().is_empty());
    let (trigger, shutdown) = hanse_process::ShutdownTrigger::new();
    let running = tokio::spawn(keeper.run(shutdown));
    tokio::task::yield_now().await;
    trust.refuse(Refused { keys: [head::digest_of(&key.public_key_der())].into(), ..Refused::default() });
    let soon = std::time::Duration::from_secs(30);
    tokio::time::timeout(soon, held.wait_for(BTreeSet::is_empty)).await.expect("in time").unwrap();
    trigger.trigger();
    running.await.unwrap();
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

#[test]
fn after_a_restart_an_origin_that_cannot_be_read_is_known_by_its_last_good_version() {
    let (authority, trust) = agent();
    let hub = Replicas::remembering(ReplicaMap::new());
    let origin = origin(authority.key());
    control_plane_says(&hub, "production", &[("origin/pods", &origin)]);
    let used = hub.read(|map| *map[&runtime_scope("production")].position().unwrap());
    hub.confirm(&runtime_scope("production"), &used, &Exceptions::new());
    control_plane_says(&hub, "production", &[("origin/pods", &Bytes::from_static(b"\xff\xff"))]);
    let (mut keeper, origins) = OriginKeeper::new(hub.clone(), trust);
    assert!(origins.wants(&pods("production")));
    // What it becomes counts.
    control_plane_says(&hub, "production", &[]);
    keeper.step();
    assert!(!origins.wants(&pods("production")));
}
