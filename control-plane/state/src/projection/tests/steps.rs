//! What changes when, and what does not.

use super::*;

#[test]
fn scopes_come_and_go_with_the_regions_of_their_environment() {
    let mut world = World::with_orders_bound();
    let changes = world.accept(vec![put("Environment", "production", json!({"regions": ["us"]}))]);
    assert_eq!(changes.len(), 1, "the other region does not change");
    assert_eq!((changes[0].scope.clone(), changes[0].dropped), (scope("eu", "production"), true));
    assert_eq!((changes[0].upserts.len(), changes[0].removals.len()), (0, 3));
    assert_eq!(world.projection.scopes().collect::<Vec<_>>(), [&scope("us", "production")]);

    let changes = world.accept(vec![put("Environment", "production", json!({"regions": ["us", "eu"]}))]);
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0].effect(),
        ScopeEffect { scope: scope("eu", "production"), upserts: 3, removals: 0 }
    );
}

#[test]
fn a_deleted_environment_takes_its_scopes_and_bindings() {
    let mut world = World::with_orders_bound();
    let changes = world.accept(vec![delete("Environment", "production")]);
    assert!(changes.iter().all(|change| change.dropped) && changes.len() == 2, "{changes:?}");
    assert!(world.content.is_empty());
}

#[test]
fn a_binding_follows_the_labels_of_regions() {
    let mut world = World::with_orders();
    let spec = json!({
        "api": "orders", "environment": "production", "regions": {"labels": {"tier": "edge"}},
    });
    world.accept(vec![put("Binding", "acme/orders", spec)]);
    assert!(world.keys("eu", "production").contains(&"route/acme/orders"));
    assert!(!world.keys("us", "production").contains(&"route/acme/orders"));
    world.accept(vec![
        put("Region", "eu", json!({})),
        labelled(put("Region", "us", json!({})), &[("tier", "edge")]),
    ]);
    assert!(!world.keys("eu", "production").contains(&"route/acme/orders"));
    assert!(world.keys("us", "production").contains(&"route/acme/orders"));
}

#[test]
fn latest_follows_the_api_and_a_number_does_not() {
    let mut world = World::with_orders_bound();
    world.accept(vec![
        put("Environment", "sandbox", json!({"regions": ["eu"]})),
        put("Binding", "acme/pinned", json!({"api": "orders", "environment": "sandbox", "revision": 1})),
    ]);
    let changes = world.accept(vec![put("Api", "acme/orders", with(orders(), json!({"version": "1.1"})))]);
    let touched: Vec<_> = changes.iter().map(|change| change.scope.environment().unwrap().as_str()).collect();
    assert_eq!(touched, ["production", "production"]);
    assert_eq!(world.route("route/acme/orders").version, "1.1");
    assert!(world.keys("eu", "production").contains(&"upstream/acme/orders-r2/backend"));
    assert!(!world.keys("eu", "production").contains(&"upstream/acme/orders-r1/backend"));
    assert!(world.keys("eu", "sandbox").contains(&"upstream/acme/orders-r1/backend"));
}

#[test]
fn an_edited_policy_or_upstream_reaches_routes_through_a_new_revision() {
    let mut world = World::with_orders_bound();
    let policy =
        |value: &str| put("Policy", "acme/mark", json!({"headers": {"request": {"set": {"X-Mark": value}}}}));
    world.accept(vec![policy("1"), put("Api", "acme/orders", with(orders(), json!({"policies": ["mark"]})))]);
    world.accept(vec![policy("2")]);
    let route = world.route("route/acme/orders");
    assert_eq!(route.policies[0].request_headers.as_ref().unwrap().set[0].value, "2");
    world.accept(vec![put("Upstream", "acme/backend", json!({"endpoints": [{"url": "http://new:80"}]}))]);
    let upstream = world.route("route/acme/orders").upstream;
    assert_eq!(world.urls("eu", "production", &upstream), ["http://new:80"]);
}

#[test]
fn what_does_not_matter_to_gateways_changes_nothing() {
    let mut world = World::with_orders_bound();
    world.accept(caller("acme/shop", "orders"));
    for change in [
        put("Organization", "acme", json!({"displayName": "ACME"})),
        put("Application", "acme/shop", json!({"owner": "sales"})),
        put("Region", "us", json!({"provider": "on-prem"})),
        labelled(put("Region", "us", json!({})), &[("tier", "core")]),
        put("Plan", "acme/shop", json!({"displayName": "Shop", "rate": {"requests": 60, "per": "minute"}})),
        put("Policy", "acme/unused", json!({})),
        put("Upstream", "acme/unused", json!({"endpoints": [{"url": "http://unused:80"}]})),
        put("Environment", "production", json!({"regions": ["us", "eu"]})),
    ] {
        let revision = world.state.revision();
        let what = change.key.to_string();
        assert_eq!(world.accept(vec![change]), [], "{what}");
        assert!(world.state.revision() > revision, "{what}");
        assert_eq!(world.projection.revision(), world.state.revision(), "{what}");
    }
}

#[test]
fn many_revisions_make_one_step() {
    let mut world = World::with_orders();
    let _ = world.apply(vec![bind("acme/orders", "orders", "production")]);
    let _ = world.apply(caller("acme/shop", "orders"));
    let _ = world.apply(vec![put("Api", "acme/orders", with(orders(), json!({"version": "3.0"})))]);
    let _ = world.apply(vec![delete("Plan", "acme/shop")]);
    let changes = world.advance();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|change| change.removals.is_empty()), "what came and went is not mentioned");
}

#[test]
fn an_api_deleted_and_made_again_between_two_steps_is_the_new_one() {
    let mut world = World::with_orders_bound();
    let _ = world.apply(vec![delete("Api", "acme/orders")]);
    let _ =
        world.apply(vec![put("Upstream", "acme/backend", json!({"endpoints": [{"url": "http://new:80"}]}))]);
    let _ = world.apply(vec![
        put("Api", "acme/orders", with(orders(), json!({"version": "9"}))),
        bind("acme/orders", "orders", "production"),
    ]);
    world.advance();
    let route = world.route("route/acme/orders");
    assert_eq!(route.version, "9");
    assert_eq!(world.urls("eu", "production", &route.upstream), ["http://new:80"]);
}

#[test]
fn without_a_journal_everything_is_compared() {
    let mut world = World::with_orders_bound();
    let _ = world.apply(caller("acme/shop", "orders"));
    let _ = world.apply(vec![put("Environment", "production", json!({"regions": ["us"]}))]);
    world.state.journal.clear();
    let changes = world.advance();
    assert_eq!(changes.len(), 2);
    assert_eq!(*world.projection.last_between(&scope("eu", "production")), Between::Unknown);
    assert_eq!(world.advance(), []);
    assert_eq!(*world.projection.last_between(&scope("eu", "production")), Between::default());
}

#[test]
fn what_changed_and_changed_back_on_the_way_is_named_and_what_came_and_went_is_not() {
    let mut world = World::with_orders_bound();
    world.accept(vec![put("Plan", "acme/silver", json!({}))]);
    let step = |world: &mut World, changes: Vec<Vec<Change>>| {
        for change in changes {
            let outcome = world.apply(change);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        }
        world.advance();
        world.projection.last_between(&scope("eu", "production")).clone()
    };
    let keys = |keys: &[&str]| keys.iter().map(|&key| key.into()).collect();
    let passing = || vec![vec![put("Plan", "acme/gold", json!({}))], vec![delete("Plan", "acme/gold")]];
    let touched = vec![labelled(put("Plan", "acme/silver", json!({})), &[("a", "b")])];
    let back = vec![put("Plan", "acme/silver", json!({}))];
    let silver = Between::Touched(keys(&["plan/acme/silver"]));
    assert_eq!(step(&mut world, vec![touched.clone(), back.clone()]), silver);
    assert_eq!(step(&mut world, [passing(), vec![touched]].concat()), Between::Unknown);
    // Of one revision the changes say all.
    assert_eq!(step(&mut world, vec![passing().remove(0)]), Between::default());
}

#[test]
fn another_history_is_compared_as_a_whole() {
    let mut world = World::with_orders_bound();
    let earlier = world.state.clone();
    world.accept(caller("acme/shop", "orders"));
    world.state = earlier;
    world.advance();
    assert!(!world.keys("eu", "production").contains(&"plan/acme/shop"));

    // The same names, revision included, with other content.
    let mut other = World::with_orders();
    other.accept(vec![
        delete("Api", "acme/orders"),
        put("Upstream", "acme/backend", json!({"endpoints": [{"url": "http://other:80"}]})),
    ]);
    other.state.api_counters.clear();
    other.accept(vec![put("Api", "acme/orders", orders()), bind("acme/orders", "orders", "production")]);
    other.state.lineage = Some(crate::Lineage { generation: 2, id: [7; 16], parent: None });
    other.state.revision = world.state.revision();
    world.state = other.state;
    world.advance();
    assert_eq!(world.urls("eu", "production", "upstream/acme/orders-r1/backend"), ["http://other:80"]);
}

/// The test release gives each Route a note from version 2 on.
#[cfg(feature = "next")]
#[test]
fn another_version_changes_bytes_at_its_revision_and_nothing_before() {
    use crate::projection::required;
    let mut world = World::with_orders_bound();
    let note = |world: &World| world.route("route/acme/orders").note;
    assert_eq!(note(&world), "");

    let later = world.state.version().next().unwrap();
    let before = world.state.clone();
    assert_eq!(required(&before, &world.state), BTreeMap::new());
    world.run(CommandBody::finalize(later));
    let both = ["eu", "us"].map(|region| scope(region, "production"));
    let requires: BTreeSet<String> = [crate::next::FEATURE.to_owned()].into();
    let wanted = both.clone().map(|scope| (scope, requires.clone())).into();
    assert_eq!(required(&before, &world.state), wanted);
    let changes = world.advance();
    assert_eq!(changes.into_iter().map(|change| change.scope).collect::<Vec<_>>(), both);
    assert_eq!(note(&world), "none");
    assert_eq!(
        *world.projection.last_between(&scope("eu", "production")),
        Between::default(),
        "subscribers get a delta"
    );

    // A projector that passes over the revision sees the same.
    let mut late = World::with_orders_bound();
    late.run(CommandBody::finalize(later));
    late.apply(caller("acme/shop", "orders"));
    late.advance();
    assert_eq!(late.route("route/acme/orders"), world.route("route/acme/orders"));
}

#[test]
fn an_origin_has_the_keys_of_holders_that_joined_and_are_not_revoked() {
    let mut world = World::with_orders();
    let digest = hanse_management::Digest::of(b"join");
    let token = json!({
        "role": "agent", "region": "eu", "uses": 9, "replace": true, "expiresAt": 1_000, "digest": digest.to_string(),
    });
    let origin = json!({
        "region": "eu", "environments": ["production"], "organizations": ["acme"], "kinds": ["Route", "Upstream"],
        "holders": ["one", "two"],
    });
    world.accept(vec![put("JoinToken", "join", token), put("Origin", "east", origin)]);
    let holders = |world: &World| {
        let Runtime::Origin(origin) = world.decoded("eu", "production", "origin/east") else { panic!() };
        assert_eq!((&*origin.name, origin.kinds), ("east", vec!["route".to_owned(), "upstream".to_owned()]));
        origin.holders.into_iter().map(|holder| (holder.name, holder.key[0])).collect::<Vec<_>>()
    };
    assert_eq!(holders(&world), []);
    assert!(!world.keys("us", "production").contains(&"origin/east"), "it is of one region");

    let identity = |agent: &str| format!("{agent}.agent.eu.hanse.internal");
    let join = |agent: &str, key: u8| CommandBody::UseJoinToken {
        token: name("join"),
        secret_digest: digest.0,
        joiner: identity(agent),
        key_digest: [key; 32],
        seat: None,
    };
    let then = |world: &mut World, body: CommandBody| {
        let outcome = world.run(body);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        world.advance();
        holders(world)
    };
    let holder = |agent: &str, key| (agent.to_owned(), key);
    assert_eq!(then(&mut world, join("two", 2)), [holder("two", 2)]);
    assert_eq!(then(&mut world, join("one", 1)), [holder("one", 1), holder("two", 2)]);
    assert_eq!(then(&mut world, join("one", 3)), [holder("one", 3), holder("two", 2)], "a key was replaced");
    assert_eq!(then(&mut world, join("other", 4)), [holder("one", 3), holder("two", 2)]);
    let revoke = CommandBody::Revoke {
        identity: identity("one"),
        control_nodes: Vec::new(),
        keys: Vec::new(),
        known_keys: Vec::new(),
    };
    assert_eq!(then(&mut world, revoke), [holder("two", 2)]);

    // A key that changed and changed back between two steps may have been met. Scopes of other kinds are not cut.
    world.run(join("two", 5));
    world.run(join("two", 2));
    assert_eq!(world.advance(), []);
    let touched = Between::Touched(vec!["origin/east".into()]);
    assert_eq!(*world.projection.last_between(&scope("eu", "production")), touched);
    assert_eq!(*world.projection.last_between(&ScopeId::Agents { region: name("eu") }), Between::Unknown);

    world.accept(vec![put("Environment", "production", json!({"regions": ["us"]}))]);
    assert!(!world.content.contains_key(&scope("eu", "production")));
    world.accept(vec![delete("Origin", "east")]);
}

#[test]
fn an_origin_that_is_made_again_is_another_one() {
    let mut world = World::with_orders();
    let origin = |holder: &str| {
        let spec = json!({
            "region": "eu", "environments": ["production"], "organizations": ["acme"], "kinds": ["Route"], "holders": [holder],
        });
        put("Origin", "east", spec)
    };
    let mut made = |at_ms: u64, changes: Vec<Change>| {
        world.state.time_ms = at_ms;
        world.accept(changes);
        let Runtime::Origin(origin) = world.decoded("eu", "production", "origin/east") else { panic!() };
        if at_ms == 30 {
            world.accept(vec![delete("Origin", "east")]);
        }
        origin.made_at_ms
    };
    assert_eq!(made(10, vec![origin("one")]), 10);
    assert_eq!(made(30, vec![origin("two")]), 10, "a change makes no other one");
    assert_eq!(made(40, vec![origin("two")]), 40);
}
