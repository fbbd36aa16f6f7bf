//! What each kind of unit yields.

use hanse_proto::runtime::{operation_security, security::Scheme};

use super::*;
use crate::projection::encode;

#[test]
fn an_environment_is_a_listener_in_each_of_its_regions() {
    let mut world = World::with_orders();
    assert_eq!(world.keys("eu", "production"), ["listener/production"]);
    assert_eq!(world.keys("us", "production"), ["listener/production"]);
    let spec = json!({
        "regions": ["eu"], "exposure": "internal", "listeners": ["https"], "hostnames": ["*.acme.example"],
        "egress": {"allow": ["10.1.0.0/16"], "deny": ["fd00::/8"]},
    });
    world.accept(vec![put("Environment", "partner", spec)]);
    let listener = runtime::Listener {
        environment: "partner".to_owned(),
        http: false,
        https: true,
        hostnames: vec!["*.acme.example".to_owned()],
        internal: true,
        egress: Some(runtime::Egress {
            allow: vec![runtime::Cidr { address: vec![10, 1, 0, 0].into(), length: 16 }],
            deny: vec![runtime::Cidr { address: [&[0xfd][..], &[0; 15]].concat().into(), length: 8 }],
        }),
        grants: Vec::new(),
        tunnel_peers: Vec::new(),
    };
    assert_eq!(world.decoded("eu", "partner", "listener/partner"), Runtime::Listener(listener));
    assert!(!world.content.contains_key(&scope("us", "partner")));
}

/// A gateway that does not know `internal` would serve the Environment to clients of all its addresses.
#[test]
#[expect(clippy::disallowed_methods, reason = "as a gateway does it")]
fn an_internal_listener_requires_the_feature() {
    let requires = |internal: bool| {
        let bytes = encode::bytes(Runtime::Listener(runtime::Listener { internal, ..Default::default() }));
        hanse_runtime::check(hanse_runtime::ResourceKind::Listener, &bytes).expect("this release knows it");
        runtime::Resource::decode(bytes).unwrap().requires
    };
    assert!(requires(false).is_empty());
    assert_eq!(requires(true), ["exposure"]);
}

/// A gateway that does not know `served_in` would find no upstream, and could not tell why; one that knows no Shift would serve a host
/// that was moved away.
#[test]
fn what_other_regions_serve_requires_the_feature() {
    let requires = |kind: Runtime| runtime::Resource::decode(encode::bytes(kind)).unwrap().requires;
    let route = |served_in: &[&str]| {
        let served_in = served_in.iter().map(|&region| region.to_owned()).collect();
        requires(Runtime::Route(runtime::Route { served_in, ..Default::default() }))
    };
    assert!(route(&[]).is_empty());
    assert_eq!(route(&["us"]), ["tunnel"]);
    assert_eq!(requires(Runtime::Shift(runtime::Shift::default())), ["tunnel"]);
    assert!(hanse_runtime::FEATURES.contains(&"tunnel"));
}

#[test]
fn a_binding_is_a_route_and_its_embedded_upstream() {
    let world = World::with_orders_bound();
    let keys = ["listener/production", "route/acme/orders", "upstream/acme/orders-r1/backend"];
    assert_eq!(world.keys("eu", "production"), keys);
    assert_eq!(world.keys("us", "production"), keys);
    let route = runtime::Route {
        organization: "acme".to_owned(),
        binding: "orders".to_owned(),
        api: "orders".to_owned(),
        version: "1.0".to_owned(),
        api_revision: 1,
        context: "/orders".to_owned(),
        operations: vec![runtime::Operation {
            method: "GET".to_owned(),
            path: "/{id}".to_owned(),
            ..Default::default()
        }],
        security: Some(runtime::Security { scheme: Some(Scheme::Open(runtime::Open {})) }),
        upstream: "upstream/acme/orders-r1/backend".to_owned(),
        ..Default::default()
    };
    assert_eq!(world.route("route/acme/orders"), route);
}

#[test]
fn a_route_carries_everything_that_its_api_says() {
    let mut world = World::with_orders_bound();
    let set = |name: &str| json!({"headers": {"request": {"set": {"X-Policy": name}, "remove": ["Cookie"]}}});
    let cors = json!({"cors": {"origins": ["*"], "maxAgeSeconds": 60}, "rewrite": {"location": true}});
    let api = json!({
        "context": "/orders", "version": "2.0", "upstream": "backend", "hosts": ["orders.example"],
        "maxBodyBytes": 1000, "security": {"apiKey": {}}, "policies": ["second", "first"],
        "operations": [{
            "method": "POST", "path": "/", "id": "make", "scopes": ["write"], "timeout": "2s", "open": true,
            "policies": ["cors"],
        }],
    });
    world.accept(vec![
        put("Policy", "acme/first", set("first")),
        put("Policy", "acme/second", set("second")),
        put("Policy", "acme/cors", cors),
        put("Api", "acme/orders", api),
    ]);
    let header_policy = |name: &str| runtime::Policy {
        name: name.to_owned(),
        request_headers: Some(runtime::HeaderRules {
            set: vec![runtime::Header { name: "X-Policy".to_owned(), value: name.to_owned() }],
            add: Vec::new(),
            remove: vec!["Cookie".to_owned()],
        }),
        ..Default::default()
    };
    let cors =
        runtime::Cors { origins: vec!["*".to_owned()], max_age_seconds: Some(60), ..Default::default() };
    let api_key = runtime::ApiKey { header: "X-API-Key".to_owned(), query: String::new() };
    let route = runtime::Route {
        organization: "acme".to_owned(),
        binding: "orders".to_owned(),
        api: "orders".to_owned(),
        version: "2.0".to_owned(),
        api_revision: 2,
        context: "/orders".to_owned(),
        hosts: vec!["orders.example".to_owned()],
        operations: vec![runtime::Operation {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            id: "make".to_owned(),
            scopes: vec!["write".to_owned()],
            policies: vec![runtime::Policy {
                name: "cors".to_owned(),
                cors: Some(cors),
                rewrite: Some(runtime::Rewrite { location: true, cookies: false }),
                ..Default::default()
            }],
            timeout_ms: 2000,
            security: Some(runtime::OperationSecurity {
                scheme: Some(operation_security::Scheme::Open(runtime::Open {})),
            }),
        }],
        security: Some(runtime::Security { scheme: Some(Scheme::ApiKey(api_key)) }),
        policies: vec![header_policy("second"), header_policy("first")],
        upstream: "upstream/acme/orders-r2/backend".to_owned(),
        max_body_bytes: 1000,
        ..Default::default()
    };
    assert_eq!(world.route("route/acme/orders"), route);
}

#[test]
fn an_api_key_is_in_a_header_unless_only_a_query_parameter_is_named() {
    let mut world = World::with_orders_bound();
    for (spec, header, query) in [
        (json!({}), "X-API-Key", ""),
        (json!({"header": "Key"}), "Key", ""),
        (json!({"query": "key"}), "", "key"),
        (json!({"header": "Key", "query": "key"}), "Key", "key"),
    ] {
        world.accept(vec![put("Api", "acme/orders", with(orders(), json!({"security": {"apiKey": spec}})))]);
        let wanted = runtime::ApiKey { header: header.to_owned(), query: query.to_owned() };
        assert_eq!(world.route("route/acme/orders").security.unwrap().scheme, Some(Scheme::ApiKey(wanted)));
    }
}

#[test]
fn an_upstream_has_the_endpoints_of_its_scope() {
    let mut world = World::with_orders_bound();
    let endpoints = json!([
        {"url": "http://any:80"},
        {"url": "http://eu:80", "region": "eu"},
        {"url": "http://us:80", "region": "us"},
        {"url": "http://sandbox:80", "environment": "sandbox", "weight": 7},
    ]);
    let tls = json!({"serverName": "backend.example"});
    let host = json!({"name": "shop.internal:8443"});
    let spec = json!({
        "endpoints": endpoints, "timeout": "1s", "connectTimeout": "100ms", "tls": tls, "host": host,
    });
    world.accept(vec![
        put("Environment", "sandbox", json!({"regions": ["us"]})),
        put("Upstream", "acme/own", spec),
        put(
            "Binding",
            "acme/orders",
            json!({"api": "orders", "environment": "production", "upstream": "own"}),
        ),
        put("Binding", "acme/trial", json!({"api": "orders", "environment": "sandbox", "upstream": "own"})),
    ]);
    let keys = ["listener/production", "route/acme/orders", "upstream/acme/own"];
    assert_eq!(world.keys("eu", "production"), keys, "nothing is embedded where the Binding names its own");
    assert_eq!(world.route("route/acme/orders").upstream, "upstream/acme/own");
    assert_eq!(world.urls("eu", "production", "upstream/acme/own"), ["http://any:80", "http://eu:80"]);
    assert_eq!(world.urls("us", "production", "upstream/acme/own"), ["http://any:80", "http://us:80"]);
    let urls = ["http://any:80", "http://us:80", "http://sandbox:80"];
    assert_eq!(world.urls("us", "sandbox", "upstream/acme/own"), urls);
    let Runtime::Upstream(upstream) = world.decoded("us", "sandbox", "upstream/acme/own") else { panic!() };
    assert_eq!((upstream.timeout_ms, upstream.connect_timeout_ms), (1000, 100));
    assert_eq!(upstream.server_name, "backend.example");
    assert_eq!(upstream.host, Some(runtime::upstream::Host::HostName("shop.internal:8443".to_owned())));
    assert_eq!(upstream.endpoints[2].weight, 7);
}

#[test]
fn what_an_upstream_says_of_its_health_reaches_gateways_and_silence_costs_no_byte() {
    let mut world = World::with_orders_bound();
    let own = |spec: Value| vec![put("Upstream", "acme/own", spec)];
    world.accept(own(json!({"endpoints": [{"url": "http://own:80"}]})));
    let binding = json!({"api": "orders", "environment": "production", "upstream": "own"});
    world.accept(vec![put("Binding", "acme/orders", binding)]);
    let upstream = |world: &World| match world.decoded("eu", "production", "upstream/acme/own") {
        Runtime::Upstream(upstream) => upstream,
        other => panic!("{other:?}"),
    };
    let silent = upstream(&world);
    assert_eq!((&silent.health_check, &silent.ejection, &silent.retry), (&None, &None, &None));

    world.accept(own(json!({
        "endpoints": [{"url": "http://own:80"}], "healthCheck": {"path": "/up"},
        "ejection": {"maxEjected": 30}, "retry": {"on": [504, "connect-failure", "502"], "perTryTimeout": "1s"},
    })));
    let wanted = runtime::Upstream {
        health_check: Some(runtime::HealthCheck {
            path: "/up".to_owned(),
            interval_ms: 10_000,
            timeout_ms: 2_000,
            unhealthy_after: 3,
            healthy_after: 2,
            expect_status: 0,
        }),
        ejection: Some(runtime::Ejection {
            consecutive_failures: 5,
            base_time_ms: 10_000,
            max_ejected_percent: 30,
        }),
        retry: Some(runtime::Retry {
            attempts: 2,
            per_try_timeout_ms: 1_000,
            connect_failure: true,
            reset_before_response: false,
            statuses: vec![502, 504],
        }),
        ..silent
    };
    assert_eq!(upstream(&world), wanted);
}

#[test]
fn an_upstream_is_only_where_a_served_binding_names_it() {
    let mut world = World::with_orders_bound();
    world.accept(vec![put("Upstream", "acme/own", json!({"endpoints": [{"url": "http://own:80"}]}))]);
    assert!(!world.keys("eu", "production").contains(&"upstream/acme/own"));
    let spec = json!({
        "api": "orders", "environment": "production", "upstream": "own", "regions": {"names": ["us"]},
    });
    world.accept(vec![put("Binding", "acme/orders", spec)]);
    assert_eq!(world.keys("eu", "production"), ["listener/production"]);
    assert!(world.keys("us", "production").contains(&"upstream/acme/own"));
}

#[test]
fn the_lifecycle_that_counts_is_the_apis_own_even_for_a_pinned_binding() {
    let mut world = World::with_orders();
    let spec = json!({"api": "orders", "environment": "production", "revision": 1});
    let mut changes = vec![put("Binding", "acme/orders", spec)];
    changes.extend(caller("acme/shop", "orders"));
    world.accept(changes);
    for (lifecycle, served) in [
        ("deprecated", Some((false, true))),
        ("blocked", Some((true, false))),
        ("retired", None),
        ("published", Some((false, false))),
        ("created", None),
    ] {
        world.accept(vec![put("Api", "acme/orders", with(orders(), json!({"lifecycle": lifecycle})))]);
        if let Some(flags) = served {
            let route = world.route("route/acme/orders");
            assert_eq!((route.blocked, route.deprecated), flags, "{lifecycle}");
            assert_eq!(route.api_revision, 1, "{lifecycle}");
            assert!(world.keys("us", "production").contains(&"credential/acme/shop"), "{lifecycle}");
        } else {
            assert_eq!(world.keys("eu", "production"), ["listener/production"], "{lifecycle}");
        }
    }
}

#[test]
fn callers_are_where_their_organization_and_api_are_served() {
    let mut world = World::with_orders();
    let mut changes = caller("acme/shop", "orders");
    changes.push(put("Api", "acme/other", with(orders(), json!({"context": "/other"}))));
    world.accept(changes);
    assert_eq!(world.keys("eu", "production"), ["listener/production"]);

    let spec = json!({"api": "other", "environment": "production", "regions": {"names": ["eu"]}});
    world.accept(vec![put("Binding", "acme/other", spec)]);
    let keys = world.keys("eu", "production");
    assert!(keys.contains(&"plan/acme/shop") && keys.contains(&"credential/acme/shop"), "{keys:?}");
    assert!(!keys.contains(&"subscription/acme/shop"), "{keys:?}");
    assert_eq!(world.keys("us", "production"), ["listener/production"]);

    world.accept(vec![bind("acme/orders", "orders", "production")]);
    let (plan, credential, subscription) =
        ("plan/acme/shop", "credential/acme/shop", "subscription/acme/shop");
    for region in ["eu", "us"] {
        let digest = hanse_management::Digest::of(b"acme/shop").0.to_vec().into();
        let Runtime::Credential(credential) = world.decoded(region, "production", credential) else {
            panic!()
        };
        assert_eq!((credential.application.as_str(), credential.digest), ("shop", digest));
        assert_eq!(credential.expires_at, 0);
        let Runtime::Plan(plan) = world.decoded(region, "production", plan) else { panic!() };
        assert_eq!((plan.requests, plan.period_seconds, plan.burst), (60, 60, 10));
        let Runtime::Subscription(found) = world.decoded(region, "production", subscription) else {
            panic!()
        };
        assert_eq!(
            (found.application.as_str(), found.api.as_str(), found.plan.as_str()),
            ("shop", "orders", "shop")
        );
    }
}

#[test]
fn a_plan_is_as_its_rate_says() {
    let mut world = World::with_orders_bound();
    world.accept(vec![put("Plan", "acme/free", json!({}))]);
    let Runtime::Plan(plan) = world.decoded("eu", "production", "plan/acme/free") else { panic!() };
    assert_eq!((plan.requests, plan.period_seconds, plan.burst), (0, 0, 0));

    world.accept(vec![put("Plan", "acme/free", json!({"rate": {"requests": 5, "per": "day"}}))]);
    let Runtime::Plan(plan) = world.decoded("eu", "production", "plan/acme/free") else { panic!() };
    assert_eq!((plan.requests, plan.period_seconds, plan.burst), (5, 86_400, 5), "no more than five a day");
}

#[test]
fn the_length_of_a_route_is_told_without_making_it() {
    let mut world = World::with_orders_bound();
    let policy = |name: &str, bytes: usize| {
        put("Policy", name, json!({"headers": {"response": {"set": {"X-Policy": "x".repeat(bytes)}}}}))
    };
    let operation =
        |at: usize| json!({"method": "GET", "path": format!("/{at}"), "policies": ["large", "small"]});
    for operations in [0, 1, 100] {
        let api = json!({
            "context": "/orders", "version": "2.0", "upstream": "backend", "policies": ["small"],
            "operations": Vec::from_iter((0..operations).map(operation)),
        });
        world.accept(vec![
            policy("acme/large", 3_000),
            policy("acme/small", 3),
            put("Api", "acme/orders", api),
        ]);
        let made = world.content[&scope("eu", "production")]["route/acme/orders"].len();
        let organization = Name::new("acme").unwrap();
        let revision = world.state.latest_api_revision(&organization, &Name::new("orders").unwrap()).unwrap();
        let Spec::ApiRevision(revision) = &revision.spec else { panic!() };
        let told = crate::projection::route_len(revision);
        assert!((made..made + 4_608).contains(&told), "{operations}: {told} bytes for {made}");
        let long = |at: usize| Name::new(format!("{at:0>63}")).unwrap();
        let (all, binding) =
            (Vec::from_iter((0..64).map(long)), key("Binding", &format!("{}/{}", long(0), long(1))));
        let served = encode::Served::In(&all);
        let most = encode::route(
            &binding,
            revision,
            hanse_management::kinds::Lifecycle::Blocked,
            served,
            world.state.version(),
        );
        assert!(
            (most.len()..most.len() + 512).contains(&told),
            "{operations}: {told} bytes for {}",
            most.len()
        );
    }
}

/// If this fails, nodes of two builds make other bytes of one state. Other bytes come with the next [`Version`](crate::Version) only.
#[test]
fn the_bytes_are_those_of_the_version() {
    use sha2::Digest as _;
    let mut world = World::with_orders_bound();
    let endpoints = json!([{"url": "http://any:80"}, {"url": "http://us:80", "region": "us", "weight": 7}]);
    world.accept(caller("acme/shop", "orders"));
    world.accept(vec![
        put("Environment", "sandbox", json!({"regions": ["us"], "hostnames": ["sandbox.example"]})),
        put(
            "Upstream",
            "acme/own",
            json!({"endpoints": endpoints, "healthCheck": {"path": "/up"}, "retry": {}}),
        ),
        put(
            "Policy",
            "acme/mark",
            json!({"headers": {"request": {"set": {"X-Mark": "1"}}}, "cors": {"origins": ["*"]}}),
        ),
        put(
            "Api",
            "acme/orders",
            with(orders(), json!({"version": "2", "policies": ["mark"], "security": {"apiKey": {}}})),
        ),
        put(
            "Binding",
            "acme/trial",
            json!({"api": "orders", "environment": "sandbox", "upstream": "own", "revision": 1}),
        ),
    ]);
    let mut hash = sha2::Sha256::new();
    for (scope, content) in &world.content {
        for (key, bytes) in content {
            hash.update(format!("{scope} {key} {}\n", hex::encode(bytes)));
        }
    }
    assert_eq!(
        hex::encode(hash.finalize()),
        "70afee057f7c6f73673baf47b7963ed011de2976cf8c631a86fc34dc4849d076"
    );
}
