//! Who may do what: every operation with every role, and what tokens of one organization never learn of another.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::kinds::TokenRole;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{node::TOKEN, request::Api};

/// Every operation and what each caller gets, in the order of [`CALLERS`]: `.` the operation is carried out, `f` 403, `u` 401.
/// `{organization}` is `shop`, and so is the `{name}` of an Organization.
const EXPECTED: &str = "
GET /v1/organizations/{organization}/secrets                  u . . f . f .
GET /v1/organizations/{organization}/secrets/{name}           u . . f . f .
PUT /v1/organizations/{organization}/secrets/{name}           u f f f . f .
DELETE /v1/organizations/{organization}/secrets/{name}        u f f f . f .
GET /v1/organizations/{organization}/policies                 u . . f . f .
GET /v1/organizations/{organization}/policies/{name}          u . . f . f .
PUT /v1/organizations/{organization}/policies/{name}          u f f f . f .
DELETE /v1/organizations/{organization}/policies/{name}       u f f f . f .
GET /v1/organizations/{organization}/upstreams                u . . f . f .
GET /v1/organizations/{organization}/upstreams/{name}         u . . f . f .
PUT /v1/organizations/{organization}/upstreams/{name}         u f f f . f .
DELETE /v1/organizations/{organization}/upstreams/{name}      u f f f . f .
GET /v1/organizations/{organization}/apis                     u . . f . f .
GET /v1/organizations/{organization}/apis/{name}              u . . f . f .
PUT /v1/organizations/{organization}/apis/{name}              u f f f . f .
DELETE /v1/organizations/{organization}/apis/{name}           u f f f . f .
GET /v1/organizations/{organization}/api-revisions            u . . f . f .
GET /v1/organizations/{organization}/api-revisions/{name}     u . . f . f .
GET /v1/organizations/{organization}/bindings                 u . . f . f .
GET /v1/organizations/{organization}/bindings/{name}          u . . f . f .
PUT /v1/organizations/{organization}/bindings/{name}          u f f f . f .
DELETE /v1/organizations/{organization}/bindings/{name}       u f f f . f .
GET /v1/organizations/{organization}/plans                    u . . f . f .
GET /v1/organizations/{organization}/plans/{name}             u . . f . f .
PUT /v1/organizations/{organization}/plans/{name}             u f f f . f .
DELETE /v1/organizations/{organization}/plans/{name}          u f f f . f .
GET /v1/organizations/{organization}/applications             u . . f . f .
GET /v1/organizations/{organization}/applications/{name}      u . . f . f .
PUT /v1/organizations/{organization}/applications/{name}      u f f f . f .
DELETE /v1/organizations/{organization}/applications/{name}   u f f f . f .
GET /v1/organizations/{organization}/subscriptions            u . . f . f .
GET /v1/organizations/{organization}/subscriptions/{name}     u . . f . f .
PUT /v1/organizations/{organization}/subscriptions/{name}     u f f f . f .
DELETE /v1/organizations/{organization}/subscriptions/{name}  u f f f . f .
GET /v1/organizations/{organization}/credentials              u . . f . f .
GET /v1/organizations/{organization}/credentials/{name}       u . . f . f .
PUT /v1/organizations/{organization}/credentials/{name}       u f f f . f .
DELETE /v1/organizations/{organization}/credentials/{name}    u f f f . f .
GET /v1/regions                                               u . . . . . .
GET /v1/regions/{name}                                        u . . . . . .
PUT /v1/regions/{name}                                        u f f f f f .
DELETE /v1/regions/{name}                                     u f f f f f .
GET /v1/environments                                          u . . . . . .
GET /v1/environments/{name}                                   u . . . . . .
PUT /v1/environments/{name}                                   u f f f f f .
DELETE /v1/environments/{name}                                u f f f f f .
GET /v1/origins                                               u . f f f f .
GET /v1/origins/{name}                                        u . f f f f .
PUT /v1/origins/{name}                                        u f f f f f .
DELETE /v1/origins/{name}                                     u f f f f f .
GET /v1/host-grants                                           u . f f f f .
GET /v1/host-grants/{name}                                    u . f f f f .
PUT /v1/host-grants/{name}                                    u f f f f f .
DELETE /v1/host-grants/{name}                                 u f f f f f .
GET /v1/dns-zones                                             u . f f f f .
GET /v1/dns-zones/{name}                                      u . f f f f .
PUT /v1/dns-zones/{name}                                      u f f f f f .
DELETE /v1/dns-zones/{name}                                   u f f f f f .
GET /v1/global-hosts                                          u . f f f f .
GET /v1/global-hosts/{name}                                   u . f f f f .
PUT /v1/global-hosts/{name}                                   u f f f f f .
DELETE /v1/global-hosts/{name}                                u f f f f f .
GET /v1/failover-plans                                        u . f f f f .
GET /v1/failover-plans/{name}                                 u . f f f f .
PUT /v1/failover-plans/{name}                                 u f f f f f .
DELETE /v1/failover-plans/{name}                              u f f f f f .
GET /v1/failover-plans/{name}/readiness                       u . f f f f .
GET /v1/failover-plans/{name}/history                         u . f f f f .
POST /v1/failover-plans/{name}/failover                       u f f f f f .
POST /v1/failover-plans/{name}/failback                       u f f f f f .
POST /v1/failover-plans/{name}/freeze                         u f f f f f .
POST /v1/failover-plans/{name}/unfreeze                       u f f f f f .
POST /v1/regions/{name}/drain                                 u f f f f f .
POST /v1/regions/{name}/undrain                               u f f f f f .
GET /v1/failovers                                             u . f f f f .
GET /v1/failovers/{name}                                      u . f f f f .
GET /v1/drains                                                u . f f f f .
GET /v1/drains/{name}                                         u . f f f f .
GET /v1/drills                                                u . f f f f .
GET /v1/drills/{name}                                         u . f f f f .
GET /v1/organizations                                         u . . . . . .
GET /v1/organizations/{name}                                  u . . f . f .
PUT /v1/organizations/{name}                                  u f f f f f .
DELETE /v1/organizations/{name}                               u f f f f f .
GET /v1/tokens                                                u . f f f f .
GET /v1/tokens/{name}                                         u . f f f f .
PUT /v1/tokens/{name}                                         u f f f f f .
DELETE /v1/tokens/{name}                                      u f f f f f .
GET /v1/join-tokens                                           u . f f f f .
GET /v1/join-tokens/{name}                                    u . f f f f .
PUT /v1/join-tokens/{name}                                    u f f f f f .
DELETE /v1/join-tokens/{name}                                 u f f f f f .
POST /v1/apply                                                u f f f . f .
GET /v1/approvals                                             u . . . . . .
GET /v1/approvals/{number}                                    u . . . . . .
POST /v1/approvals/{number}/approve                           u f f f . . .
POST /v1/approvals/{number}/reject                            u f f f . . .
GET /v1/dump                                                  u f f f f f .
GET /v1/watch                                                 u . . . . . .
GET /v1/convergence                                           u . . . . . .
GET /v1/status                                                u . . . . . .
GET /v1/whoami                                                u . . . . . .
GET /v1/members                                               u . f f f f .
GET /v1/revocations                                           u . f f f f .
PUT /v1/revocations/{identity}                                u f f f f f .
DELETE /v1/revocations/{identity}                             u f f f f f .
GET /v1/audit                                                 u . f f f f .
POST /v1/audit/drop                                           u f f f f f .
GET /v1/roots                                                 u . f f f f .
POST /v1/roots                                                u f f f f f .
PUT /v1/roots/{root}/issuing                                  u f f f f f .
DELETE /v1/roots/{root}                                       u f f f f f .
GET /v1/federation-key                                        u . f f f f .
POST /v1/federation-key/rotate                                u f f f f f .
PUT /v1/recovery-key                                          u f f f f f .
GET /v1/upgrade                                               u . f f f f .
POST /v1/upgrade/finalize                                     u f f f f f .
GET /metrics                                                  u . f f f f .
GET /livez                                                    . . . . . . .
GET /readyz                                                   . . . . . . .
GET /openapi.json                                             . . . . . . .
";

/// A token's role and organization; `None`: there is no token.
type Held = Option<(TokenRole, Option<&'static str>)>;

/// No token, and tokens by name.
const CALLERS: [(&str, Held); 7] = [
    ("", None),
    ("viewer", Some((TokenRole::Viewer, None))),
    ("viewer-of-shop", Some((TokenRole::Viewer, Some("shop")))),
    ("viewer-of-other", Some((TokenRole::Viewer, Some("other")))),
    ("publisher-of-shop", Some((TokenRole::Publisher, Some("shop")))),
    ("publisher-of-other", Some((TokenRole::Publisher, Some("other")))),
    ("admin", Some((TokenRole::Admin, None))),
];

/// With organizations `shop` and `other`, each with an Api `orders` and a Plan, and a token for each caller.
async fn two_organizations() -> Api {
    let api = Api::new();
    api.node.make_key();
    let mut resources = vec![
        json!({"kind": "Region", "name": "eu", "spec": {"provider": "cloud"}}),
        json!({"kind": "Region", "name": "us", "spec": {"provider": "cloud"}}),
        json!({"kind": "Environment", "name": "prod", "spec": {"regions": ["eu", "us"]}}),
        json!({"kind": "DnsZone", "name": "gslb", "spec": {
            "origin": "gslb.example", "nameServers": [{"name": "ns.example"}], "contact": "dns@example.com"}}),
        json!({"kind": "GlobalHost", "name": "planned", "spec": {
            "host": "planned.gslb.example", "zone": "gslb", "environment": "prod"}}),
    ];
    for organization in ["shop", "other"] {
        let of = |kind: &str, name: &str, spec: Value| {
            json!({"kind": kind, "organization": organization, "name": name, "spec": spec,
                "labels": {"origin": "test"}})
        };
        resources.push(json!({"kind": "Organization", "name": organization, "spec": {}}));
        resources.push(of("Upstream", "backend", json!({"endpoints": [{"url": "http://10.0.0.7:8080"}]})));
        resources.push(of("Api", "orders", crate::request::orders(&format!("/{organization}-orders"))));
        resources.push(of("Plan", "gold", json!({})));
        resources.push(of("Application", "caller", json!({})));
        resources.push(of("Api", "users", crate::request::orders(&format!("/{organization}-users"))));
        let binding = json!({"api": "orders", "environment": "prod", "upstream": "backend"});
        resources.push(of("Binding", "orders-prod", binding));
    }
    api.post("/v1/apply").json(json!({"resources": resources})).send().await.expect(200);
    for (name, token) in CALLERS {
        if let Some((role, organization)) = token {
            api.node.add_token_of(name, role, organization);
        }
    }
    api
}

fn rows() -> BTreeMap<(String, String), Vec<char>> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        ((method.to_owned(), path.to_owned()), words.map(|word| word.parse().unwrap()).collect())
    };
    EXPECTED.lines().filter(|line| !line.is_empty()).map(row).collect()
}

/// Every operation that the router has, by the document that it is made from.
fn operations() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(hanse_api::openapi_json()).unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys().map(|method| method.to_uppercase());
        methods.map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    document["paths"].as_object().unwrap().iter().flat_map(of_path).collect()
}

#[test]
fn every_operation_has_a_row_and_a_rule() {
    // The test release has operations that no release has.
    let of_test_release = |(_, path): &(String, String)| path.contains("/motto") || path.contains("/memos");
    let operations: BTreeSet<_> = operations().into_iter().filter(|one| !of_test_release(one)).collect();
    assert_eq!(operations, rows().into_keys().collect());
    assert!(rows().values().all(|cells| cells.len() == CALLERS.len()));
    let document: Value = serde_json::from_str(hanse_api::openapi_json()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let rule = operation["x-hanse-access"].as_str();
            assert!(rule.is_some(), "{method} {path} declares no x-hanse-access");
            assert_eq!(rule == Some("open"), operation.get("security").is_none(), "{method} {path}");
            let said = operation["description"].as_str().unwrap_or_default();
            assert!(rule == Some("open") || said.contains("Access: "), "{method} {path}: {said}");
            assert!(!said.contains("nobody"), "{method} {path}: the rule {rule:?} is not known");
        }
    }
}

#[tokio::test]
async fn every_role_gets_what_it_may_and_nothing_else() {
    let unchanged = two_organizations().await;
    for ((method, path), cells) in rows() {
        for ((caller, _), expected) in CALLERS.iter().zip(cells) {
            // A write that is carried out has a federation of its own: what one caller deletes, the next one would miss.
            let writes = method != "GET" && expected == '.';
            let own = if writes { Some(two_organizations().await) } else { None };
            let api = own.as_ref().unwrap_or(&unchanged);
            let found = asked(api, &method, &path, caller).await;
            assert_eq!(found, expected, "{method} {path} as {caller:?}");
        }
    }
    assert_eq!(
        unchanged.node.revision(),
        two_organizations().await.node.revision(),
        "a refused write changes nothing"
    );
}

/// What a caller gets from an operation.
async fn asked(api: &Api, method: &str, path: &str, caller: &str) -> char {
    let of_organization = path == "/v1/organizations/{name}";
    let at = path.replace("{organization}", "shop");
    let at = at.replace("{name}", if of_organization { "shop" } else { "orders" });
    let at = at.replace("{identity}", "x.agent.eu.hanse.internal").replace("{root}", "sha256:00");
    // Which proposals a token may see and decide: see `approvals.rs`.
    let at = at.replace("{number}", "1");
    let token = if caller.is_empty() { String::new() } else { format!("{caller}-secret") };
    let call = api.call(method, &at).token(&token);
    let gold =
        json!({"kind": "Plan", "organization": "shop", "name": "gold", "spec": {"displayName": "Gold"}});
    let spec = if method == "PUT" { sound_spec(path) } else { None };
    let call = match (at.as_str(), method) {
        ("/v1/apply", _) => call.json(json!({"resources": [gold]})),
        (_, "PUT" | "POST") => {
            // What is there is replaced.
            let get = api.get(&at).open().await;
            let call = if get.status() == 200 { call.header("if-match", "*") } else { call };
            call.json(json!({"spec": spec.clone().unwrap_or(json!({}))}))
        }
        _ => call,
    };
    match call.open().await.status().as_u16() {
        401 => 'u',
        403 => 'f',
        status => {
            assert!(spec.is_none() || status < 300, "{method} {path} as {caller:?}: {status}");
            '.'
        }
    }
}

/// A spec that a PUT of a resource at this path is accepted with, beside what [`two_organizations`] has. `None`: it puts no resource.
fn sound_spec(path: &str) -> Option<Value> {
    let digest = hanse_management::Digest::of(path.as_bytes()).to_string();
    let collection = path.strip_suffix("/{name}")?.rsplit('/').next()?;
    Some(match collection {
        "secrets" => json!({"type": "opaque", "data": {"password": "private"}}),
        "policies" => json!({"headers": {"request": {"set": {"X-Stamp": "1"}}}}),
        "upstreams" => json!({"endpoints": [{"url": "http://10.0.0.8:8080"}]}),
        "apis" => crate::request::orders("/more-orders"),
        "bindings" => json!({"api": "users", "environment": "prod", "upstream": "backend"}),
        "plans" | "applications" | "organizations" => json!({}),
        "subscriptions" => json!({"application": "caller", "api": "orders", "plan": "gold"}),
        "credentials" => json!({"application": "caller", "digest": digest}),
        "regions" => json!({"provider": "cloud"}),
        "environments" => json!({"regions": ["eu"]}),
        "dns-zones" => {
            json!({"origin": "other.example", "nameServers": [{"name": "ns.example"}], "contact": "dns@example.com"})
        }
        "global-hosts" => json!({"host": "orders.gslb.example", "zone": "gslb", "environment": "prod"}),
        "failover-plans" => json!({"hosts": ["planned"], "active": "eu", "standby": ["us"]}),
        "origins" => {
            json!({"region": "eu", "environments": ["prod"], "organizations": ["shop"], "kinds": ["Route"], "holders": ["a"]})
        }
        "host-grants" => {
            json!({"environments": ["prod"], "host": "a.example", "pathPrefix": "/free", "organization": "shop"})
        }
        "tokens" => json!({"role": "viewer", "digest": digest}),
        "join-tokens" => json!({"role": "server", "expiresAt": 1_700_003_600, "digest": digest}),
        _ => return None,
    })
}

#[tokio::test]
async fn an_apply_is_refused_for_one_change_that_the_token_may_not_make() {
    let api = two_organizations().await;
    let own = json!({"kind": "Plan", "organization": "shop", "name": "new", "spec": {}});
    let check = async |beside: Value, field: &str| {
        let before = api.node.revision();
        let mut request = json!({"resources": [own]});
        if let Some(resource) = beside.get("kind").map(|_| beside.clone()) {
            request["resources"].as_array_mut().unwrap().push(resource);
        }
        for member in ["delete", "expects"] {
            if let Some(list) = beside.get(member) {
                request[member] = list.clone();
            }
        }
        for query in ["", "?dryRun=true"] {
            let call = api.post(&format!("/v1/apply{query}")).token("publisher-of-shop-secret");
            let problem = call.json(request.clone()).send().await.problem(403, "forbidden");
            assert_eq!(problem["field"], field);
        }
        assert_eq!(api.node.revision(), before);
    };
    check(json!({"kind": "Plan", "organization": "other", "name": "gold", "spec": {}}), "Plan other/gold")
        .await;
    check(json!({"kind": "Region", "name": "eu", "spec": {"provider": "cloud"}}), "Region eu").await;
    check(json!({"kind": "Organization", "name": "shop", "spec": {}}), "Organization shop").await;
    let digest = hanse_management::Digest::of(b"mine").to_string();
    check(
        json!({"kind": "Token", "name": "mine", "spec": {"role": "admin", "digest": digest}}),
        "Token mine",
    )
    .await;
    let restored = json!({"kind": "Plan", "organization": "shop", "name": "old", "spec": {}, "restored": {}});
    check(restored, "Plan shop/old").await;
    let other = json!({"kind": "Plan", "organization": "other", "name": "gold", "revision": 3});
    check(json!({"delete": [other]}), "Plan other/gold").await;
    check(json!({"expects": [other]}), "Plan other/gold").await;

    let call = api.post("/v1/apply").token("publisher-of-shop-secret");
    call.json(json!({"resources": [own]})).send().await.expect(200);
}

#[tokio::test]
async fn a_prune_and_a_cascade_stay_in_the_organization() {
    let api = two_organizations().await;
    let kept = json!({"kind": "Plan", "organization": "shop", "name": "silver", "spec": {},
        "labels": {"origin": "test"}});
    let pruned = api.post("/v1/apply?prune=true&selector=origin=test").token("publisher-of-shop-secret");
    pruned.json(json!({"resources": [kept]})).send().await.expect(200);
    api.get("/v1/organizations/shop/plans/gold").send().await.expect(404);
    api.get("/v1/organizations/other/plans/gold").send().await.expect(200);
    let deleted = api.delete("/v1/organizations/shop/apis/orders?cascade=true");
    deleted.token("publisher-of-shop-secret").send().await.expect(200);
    api.get("/v1/organizations/other/apis/orders").send().await.expect(200);
    let own = api.delete("/v1/organizations/shop?cascade=true").token("publisher-of-shop-secret");
    own.send().await.problem(403, "forbidden");
}

#[tokio::test]
async fn lists_and_refusals_name_nothing_of_another_organization() {
    let api = two_organizations().await;
    for token in ["publisher-of-shop-secret", "viewer-of-shop-secret"] {
        let listed = api.get("/v1/organizations").token(token).send().await.expect(200);
        let names: Vec<_> =
            listed.json["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
        assert_eq!(names, ["shop"]);
        // What is not there and what is there answer alike.
        let get = async |path: &str| api.get(path).token(token).send().await.problem(403, "forbidden");
        let there = get("/v1/organizations/other").await;
        let nowhere = get("/v1/organizations/nowhere").await;
        assert_eq!(there["detail"].as_str().unwrap().replace("other", "nowhere"), nowhere["detail"]);
    }
    // Both claim one address.
    let taken = json!({"resources": [
        {"kind": "Api", "organization": "shop", "name": "twin", "spec": crate::request::orders("/other-orders")},
        {"kind": "Binding", "organization": "shop", "name": "twin",
            "spec": {"api": "twin", "environment": "prod", "upstream": "backend"}},
    ]});
    for query in ["", "?dryRun=true"] {
        let call = api.post(&format!("/v1/apply{query}")).json(taken.clone());
        let problem = call.token("publisher-of-shop-secret").send().await.problem(409, "conflict");
        assert_eq!(problem["field"], "Binding shop/twin: spec.environment");
        let all = api.post(&format!("/v1/apply{query}")).json(taken.clone()).send().await;
        assert!(all.problem(409, "conflict").to_string().contains("other/orders-prod"));
    }
}

/// Its resources have the name of another organization, and errors say so as they would to anybody.
#[tokio::test]
async fn a_refusal_says_the_same_whether_or_not_an_organization_has_such_a_name() {
    let api = two_organizations().await;
    let told = async |name: &str| {
        let delete = json!({"kind": "Plan", "organization": "shop", "name": name, "revision": 1});
        let call = api.post("/v1/apply?dryRun=true").json(json!({"resources": [], "delete": [delete]}));
        let problem = call.token("publisher-of-shop-secret").send().await.problem(412, "stale");
        problem.to_string().replace(name, "NAME")
    };
    assert_eq!(told("other").await, told("nowhere").await);
    let bad = json!({"resources": [{"kind": "Api", "organization": "shop", "name": "other",
        "spec": {"context": "no-slash", "version": "1", "operations": []}}]});
    let call = api.post("/v1/apply").json(bad).token("publisher-of-shop-secret");
    let problem = call.send().await.problem(422, "invalid");
    assert!(problem["field"].as_str().unwrap().starts_with("Api shop/other: spec.context"), "{problem}");
    // A key is the actor's own, and tells nothing of others.
    for token in ["publisher-of-shop-secret", "publisher-of-other-secret"] {
        let organization = &token["publisher-of-".len()..token.len() - "-secret".len()];
        let put = api.put(&format!("/v1/organizations/{organization}/plans/new")).token(token);
        put.header("idempotency-key", "release-42").json(json!({"spec": {}})).send().await.expect(201);
    }
}

#[tokio::test]
async fn only_an_admin_forces_grants() {
    let api = two_organizations().await;
    let plan = json!({"kind": "Plan", "organization": "shop", "name": "new", "spec": {}});
    for (method, path) in [
        ("POST", "/v1/apply?forceGrants=true"),
        ("POST", "/v1/apply?forceGrants&dryRun"),
        ("PUT", "/v1/organizations/shop/plans/new?forceGrants=true"),
        ("DELETE", "/v1/organizations/shop/plans/gold?forceGrants=true"),
    ] {
        let call = api.call(method, path).token("publisher-of-shop-secret");
        let call = if method == "DELETE" { call } else { call.json(json!({"resources": [plan]})) };
        let problem = call.send().await.problem(403, "forbidden");
        assert_eq!(problem["field"], "query: forceGrants", "{method} {path}");
    }
    let call = api.post("/v1/apply?forceGrants=false").json(json!({"resources": [plan]}));
    call.token("publisher-of-shop-secret").send().await.expect(200);
}

/// The token is deleted, or may do less, while the request is on its way.
#[tokio::test]
async fn a_write_that_was_on_its_way_is_refused_with_its_token() {
    for role in [None, Some(TokenRole::Viewer)] {
        let api = two_organizations().await;
        let change = std::sync::Once::new();
        *api.node.rival.lock().unwrap() = Some(Box::new(move |node| {
            change.call_once(|| match role {
                None => node.delete_token("publisher-of-shop"),
                Some(role) => node.add_token_of("publisher-of-shop", role, Some("shop")),
            });
        }));
        let put = api.put("/v1/organizations/shop/plans/late").token("publisher-of-shop-secret");
        put.json(json!({"spec": {}})).send().await.problem(403, "forbidden");
        *api.node.rival.lock().unwrap() = None;
        api.get("/v1/organizations/shop/plans/late").send().await.expect(404);
    }
}

/// This node lags: it does not know yet that the token is gone. The state that answers does.
#[tokio::test]
async fn a_read_is_judged_by_the_state_that_answers() {
    let api = two_organizations().await;
    let before = api.node.state();
    api.node.delete_token("publisher-of-shop");
    *api.node.applied.lock().unwrap() = Some(before);
    let token = "publisher-of-shop-secret";
    for path in ["/v1/organizations/shop/plans/gold", "/v1/organizations/shop/apis", "/v1/convergence"] {
        api.get(path).token(token).send().await.problem(403, "forbidden");
    }
    let plan = json!({"kind": "Plan", "organization": "shop", "name": "new", "spec": {}});
    let tried = api.post("/v1/apply?dryRun=true").json(json!({"resources": [plan]})).token(token);
    tried.send().await.problem(403, "forbidden");
    let gone = api.delete("/v1/organizations/shop/plans/gold?dryRun=true").token(token);
    gone.send().await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_watch_tells_what_the_token_may_see_and_ends_with_its_role() {
    let api = two_organizations().await;
    let watch =
        |token: &str, query: &str| api.get(&format!("/v1/watch?from=2{query}")).token(token).open_owned();
    let answer = watch("publisher-of-shop-secret", "").await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let mut told = String::new();
    while !told.contains("\"kind\":\"Api\"") {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        told.push_str(std::str::from_utf8(&frame).unwrap());
    }
    // The same token may do less from now on: the watch ends.
    api.node.add_token_of("publisher-of-shop", TokenRole::Viewer, Some("shop"));
    while let Some(frame) = body.frame().await {
        told.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    assert!(
        told.contains("\"organization\":\"shop\"") && told.contains("\"kind\":\"Environment\""),
        "{told}"
    );
    for hidden in ["\"other", "\"Token\"", "JoinToken"] {
        assert!(!told.contains(hidden), "{hidden} in {told}");
    }
    let refused = watch("publisher-of-shop-secret", "&kinds=tokens").await;
    assert_eq!(refused.status(), 403);
}

#[tokio::test]
async fn a_dump_ends_when_the_token_is_no_longer_an_admins() {
    let api = two_organizations().await;
    let answer = api.get("/v1/dump").token("admin-secret").open_owned().await;
    let mut body = answer.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    api.node.add_token_of("admin", TokenRole::Viewer, None);
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        rest.push(frame);
    }
    assert!(rest.last().unwrap().is_err(), "a dump that goes on has an end");
}

#[tokio::test]
async fn a_token_says_what_it_is_and_when_it_was_used() {
    let api = two_organizations().await;
    let of = async |token: &str| api.get("/v1/whoami").token(token).send().await.expect(200).json;
    let publisher = of("publisher-of-shop-secret").await;
    assert_eq!(publisher["token"], "publisher-of-shop");
    assert_eq!(publisher["owner"], "publisher-of-shop", "an owner that is not written is the name");
    assert_eq!((&publisher["role"], &publisher["organization"]), (&json!("publisher"), &json!("shop")));
    let admin = of(TOKEN).await;
    assert_eq!((&admin["role"], admin.get("organization")), (&json!("admin"), None));
    let used = api.get("/v1/tokens/publisher-of-shop").send().await.expect(200);
    assert_eq!(used.json["status"]["lastUsed"], "2023-11-14T22:00:00Z");
    // The ETag says nothing of the use: it is told again.
    let again = api.get("/v1/tokens/publisher-of-shop").header("if-none-match", used.header("etag"));
    again.send().await.expect(200);
    // Made anew under the name, it was not used.
    api.node.delete_token("publisher-of-shop");
    let spec = json!({"role": "viewer", "digest": hanse_management::Digest::of(b"anew").to_string()});
    let anew = api.put("/v1/tokens/publisher-of-shop").json(json!({"spec": spec})).send().await.expect(201);
    assert_eq!(anew.json.get("status"), None);
    let unused = api.get("/v1/tokens/viewer").send().await.expect(200).json;
    assert_eq!(unused.get("status"), None);
    let listed = api.get("/v1/tokens").send().await.expect(200).json;
    let root = listed["items"].as_array().unwrap().iter().find(|item| item["name"] == "root").unwrap();
    assert_eq!(root["status"]["lastUsed"], "2023-11-14T22:00:00Z");
}

#[tokio::test]
async fn what_a_role_and_an_organization_go_with_is_checked() {
    let api = two_organizations().await;
    let digest = hanse_management::Digest::of(b"new").to_string();
    let put = async |spec: Value| {
        let mut spec = spec;
        spec["digest"] = json!(digest);
        api.put("/v1/tokens/new").json(json!({"spec": spec})).send().await
    };
    put(json!({"role": "publisher"})).await.problem(422, "invalid");
    put(json!({"role": "admin", "organization": "shop"})).await.problem(422, "invalid");
    put(json!({"role": "viewer", "owner": ""})).await.problem(422, "invalid");
    put(json!({"role": "viewer", "organization": "nowhere"})).await.problem(422, "missing-reference");
    put(json!({"role": "viewer", "owner": "ann@example.com"})).await.expect(201);
}

#[tokio::test]
async fn a_command_says_whose_it_is_and_where_it_came_from() {
    let api = two_organizations().await;
    let call = api.put("/v1/organizations/shop/plans/new").token("publisher-of-shop-secret");
    let call = call.at_address("10.0.0.7:51234");
    call.json(json!({"spec": {}})).send().await.expect(201);
    let origin = api.node.proposed.lock().unwrap().last().unwrap().origin.clone();
    assert_eq!(origin.owner, "publisher-of-shop");
    assert_eq!(origin.role, Some(TokenRole::Publisher));
    assert_eq!(origin.organization.unwrap().as_str(), "shop");
    assert_eq!(origin.from, "10.0.0.7:51234");
}

#[test]
fn descriptions_say_which_parameter_is_the_organization() {
    let document: Value = serde_json::from_str(hanse_api::openapi_json()).unwrap();
    let said = |method: &str, path: &str| {
        document["paths"][path][method]["description"]
            .as_str()
            .unwrap()
            .split("Access: ")
            .last()
            .unwrap()
            .to_owned()
    };
    assert!(
        said("get", "/v1/organizations").starts_with("any token; it is shown"),
        "{}",
        said("get", "/v1/organizations")
    );
    assert!(said("get", "/v1/organizations/{name}").ends_with("a token of organization `name`."));
    assert!(
        said("get", "/v1/organizations/{organization}/plans").ends_with("of organization `organization`.")
    );
    assert_eq!(said("post", "/v1/apply"), "role admin or role publisher; each change is judged by itself.");
}
