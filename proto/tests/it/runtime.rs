//! Runtime resources: hashed as bytes, so these must not change by accident.

use hanse_proto::runtime::{resource::Kind, *};

use crate::recorded;

fn policy() -> Policy {
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    let rules = HeaderRules {
        set: vec![header("x-set", "1")],
        add: vec![header("x-add", "2")],
        remove: vec!["x-remove".into()],
    };
    Policy {
        name: "stamp".into(),
        request_headers: Some(rules.clone()),
        response_headers: Some(rules),
        cors: Some(Cors {
            origins: vec!["https://app.example.com".into()],
            methods: vec!["GET".into()],
            headers: vec!["*".into()],
            expose_headers: vec!["x-total".into()],
            credentials: true,
            max_age_seconds: Some(600),
        }),
        rewrite: None, // in route-rewrite
    }
}

fn route() -> Route {
    Route {
        organization: "default".into(),
        binding: "orders-production".into(),
        api: "orders".into(),
        version: "1.4.0".into(),
        api_revision: 3,
        context: "/orders/v1".into(),
        hosts: vec!["api.example.com".into()],
        operations: vec![Operation {
            method: "GET".into(),
            path: "/orders/{id}".into(),
            id: "getOrder".into(),
            scopes: vec!["orders:read".into()],
            policies: vec![policy()],
            timeout_ms: 2_000,
            security: Some(OperationSecurity { scheme: Some(operation_security::Scheme::Open(Open {})) }),
        }],
        security: Some(Security {
            scheme: Some(security::Scheme::ApiKey(ApiKey {
                header: "X-API-Key".into(),
                query: "key".into(),
            })),
        }),
        policies: vec![policy()],
        upstream: "upstream/default/orders-backend".into(),
        max_body_bytes: 1 << 20,
        blocked: true,
        deprecated: true,
        served_in: Vec::new(), // in route-served-in
    }
}

fn epoch() -> Option<Epoch> {
    Some(Epoch { generation: 2, revision: 41 })
}

fn zone() -> Zone {
    Zone {
        name: "gslb".into(),
        origin: "gslb.example.com".into(),
        serial: 268_435_497,
        name_servers: vec![NameServer {
            name: "ns1.gslb.example.com".into(),
            addresses: vec![vec![192, 0, 2, 53].into(), [&[0x20, 1][..], &[0; 13], &[53]].concat().into()],
        }],
        contact: "hostmaster@example.com".into(),
        negative_ttl_s: 30,
        secondaries: vec![Secondary { address: "192.0.2.9:53".into(), key: "to-bind".into() }],
        publish: Some(Publish {
            server: "192.0.2.10:53".into(),
            key: "to-bind".into(),
            from: vec!["eu-west".into()],
        }),
        epoch: epoch(),
    }
}

fn global_host() -> GlobalHost {
    use step::Step as Of;
    let regions = |names: &[&str]| names.iter().map(|&name| name.into()).collect::<Vec<String>>();
    let step = |step: Of| Step { step: Some(step) };
    GlobalHost {
        name: "orders".into(),
        zone: "gslb".into(),
        host: "orders.gslb.example.com".into(),
        environment: "production".into(),
        ttl_s: 30,
        steps: vec![
            step(Of::Failover(Regions { names: regions(&["eu-west", "us-east"]) })),
            step(Of::Weighted(Weights {
                weights: vec![RegionWeight { region: "eu-west".into(), weight: 3 }],
            })),
            step(Of::Geo(Regions { names: regions(&["eu-west"]) })),
            step(Of::Origin(OriginRules {
                rules: vec![OriginRule {
                    network: Some(Cidr { address: vec![10, 0, 0, 0].into(), length: 8 }),
                    regions: regions(&["eu-west"]),
                }],
            })),
            step(Of::Multivalue(2)),
        ],
        candidates: vec![
            Candidate {
                region: "eu-west".into(),
                percent: 100,
                addresses: vec![vec![192, 0, 2, 7].into()],
                spot: Some(Spot {
                    latitude_e6: 53_349_800,
                    longitude_e6: -6_260_300,
                    country: "IE".into(),
                    continent: "EU".into(),
                }),
                why: String::new(),
            },
            Candidate {
                region: "us-east".into(),
                why: "the plan orders serves from eu-west".into(),
                ..Default::default()
            },
        ],
    }
}

#[test]
fn every_kind() {
    for (name, kind) in [
        (
            "listener",
            Kind::Listener(Listener {
                environment: "production".into(),
                http: true,
                https: true,
                hostnames: vec!["*.example.com".into()],
                internal: true,
                ..Default::default() // the rest is in listener-egress, listener-grants and listener-tunnel
            }),
        ),
        (
            "listener-egress",
            Kind::Listener(Listener {
                environment: "production".into(),
                egress: Some(Egress {
                    allow: vec![Cidr { address: vec![10, 1, 0, 0].into(), length: 16 }],
                    deny: vec![
                        Cidr { address: vec![10, 0, 0, 0].into(), length: 8 },
                        Cidr { address: [&[0xfd][..], &[0; 15]].concat().into(), length: 8 },
                        Cidr { address: vec![0; 4].into(), length: 0 },
                    ],
                }),
                ..Default::default()
            }),
        ),
        (
            "listener-grants",
            Kind::Listener(Listener {
                environment: "production".into(),
                grants: vec![HostGrant {
                    host: "api.example.com".into(),
                    path_prefix: "/orders".into(),
                    organization: "shop".into(),
                }],
                ..Default::default()
            }),
        ),
        (
            "listener-tunnel",
            Kind::Listener(Listener {
                environment: "production".into(),
                tunnel_peers: vec!["us-east".into()],
                ..Default::default()
            }),
        ),
        ("route", Kind::Route(route())),
        ("route-served-in", Kind::Route(Route { served_in: vec!["us-east".into()], ..Default::default() })),
        (
            "route-rewrite",
            Kind::Route(Route {
                policies: vec![Policy {
                    rewrite: Some(Rewrite { location: true, cookies: true }),
                    ..Default::default()
                }],
                ..Default::default()
            }),
        ),
        (
            "upstream",
            Kind::Upstream(Upstream {
                organization: "default".into(),
                name: "orders-backend".into(),
                endpoints: vec![Endpoint {
                    weight: 2,
                    https: true,
                    host: "10.0.0.7".into(),
                    port: 8443,
                    base_path: "/base".into(),
                }],
                timeout_ms: 30_000,
                connect_timeout_ms: 5_000,
                ca_pem: "PEM".into(),
                server_name: "orders.internal".into(),
                ..Default::default() // the rest is in upstream-health and upstream-host
            }),
        ),
        (
            "upstream-host",
            Kind::Upstream(Upstream {
                host: Some(upstream::Host::HostName("shop.internal:8443".into())),
                ..Default::default()
            }),
        ),
        (
            "upstream-host-of-clients",
            Kind::Upstream(Upstream {
                host: Some(upstream::Host::ClientHost(ClientHost {})),
                ..Default::default()
            }),
        ),
        (
            "upstream-health",
            Kind::Upstream(Upstream {
                organization: "default".into(),
                name: "orders-backend".into(),
                endpoints: vec![Endpoint {
                    weight: 1,
                    host: "10.0.0.7".into(),
                    port: 8080,
                    ..Default::default()
                }],
                timeout_ms: 30_000,
                connect_timeout_ms: 5_000,
                health_check: Some(HealthCheck {
                    path: "/healthz".into(),
                    interval_ms: 10_000,
                    timeout_ms: 2_000,
                    unhealthy_after: 3,
                    healthy_after: 2,
                    expect_status: 204,
                }),
                ejection: Some(Ejection {
                    consecutive_failures: 5,
                    base_time_ms: 10_000,
                    max_ejected_percent: 50,
                }),
                retry: Some(Retry {
                    attempts: 2,
                    per_try_timeout_ms: 1_500,
                    connect_failure: true,
                    reset_before_response: true,
                    statuses: vec![502, 503, 504],
                }),
                ..Default::default()
            }),
        ),
        (
            "plan",
            Kind::Plan(Plan {
                organization: "default".into(),
                name: "gold".into(),
                requests: 5_000,
                period_seconds: 60,
                burst: 83,
            }),
        ),
        (
            "credential",
            Kind::Credential(Credential {
                organization: "default".into(),
                name: "shop-1".into(),
                application: "shop".into(),
                digest: vec![7; 32].into(),
                expires_at: 1_900_000_000,
            }),
        ),
        (
            "subscription",
            Kind::Subscription(Subscription {
                organization: "default".into(),
                name: "shop-orders".into(),
                application: "shop".into(),
                api: "orders".into(),
                plan: "gold".into(),
            }),
        ),
        (
            "secret",
            Kind::Secret(Secret {
                organization: "default".into(),
                name: "tokens".into(),
                r#type: "token-signing".into(),
                data: [("key.pem".to_owned(), "PEM".into())].into(),
            }),
        ),
        (
            "origin",
            Kind::Origin(Origin {
                name: "east-cluster".into(),
                organizations: vec!["shop".into()],
                kinds: vec!["route".into(), "upstream".into()],
                holders: vec![Holder { name: "agent-1".into(), key: vec![7; 32].into() }],
                made_at_ms: 1_767_225_600_000,
            }),
        ),
        (
            "endpoints",
            Kind::Endpoints(Endpoints {
                organization: "shop".into(),
                name: "pets".into(),
                endpoints: vec![Endpoint {
                    weight: 1,
                    https: false,
                    host: "10.0.0.7".into(),
                    port: 8080,
                    base_path: String::new(),
                }],
            }),
        ),
        (
            "upstream-from",
            Kind::Upstream(Upstream {
                organization: "shop".into(),
                name: "pets".into(),
                endpoints_from: Some(EndpointsFrom { origin: "east-cluster".into(), name: "pets".into() }),
                ..Default::default()
            }),
        ),
        ("zone", Kind::Zone(zone())),
        ("global-host", Kind::GlobalHost(global_host())),
        (
            "shift",
            Kind::Shift(Shift {
                of: Some(shift::Of::Host("orders.gslb.example.com".into())),
                regions: vec!["us-east".into()],
                epoch: epoch(),
            }),
        ),
        (
            "neighbour",
            Kind::Neighbour(Neighbour {
                name: "agent-1".into(),
                key: vec![7; 32].into(),
                environments: vec!["production".into()],
                address: "agent-1.example:7443".into(),
                relay: true,
            }),
        ),
    ] {
        recorded(
            &format!("runtime-{name}"),
            &Resource { kind: Some(kind), requires: vec!["feature".into()] },
        );
    }
}
