//! Admission and gateways hold to one set of rules: a gateway quarantines nothing that admission accepts.

#![allow(clippy::unwrap_used)] // all of it is test code

use hanse_gateway::table::{ConnectProfiles, index::ScopeIndex};
use hanse_management::manifest::{parse_json, parse_yaml};
use hanse_state::{
    Change, Command, CommandBody, Outcome, State, Version,
    admission::{Admitted, Seal, Writer, admit},
    port::NoSecrets,
    projection::{AsSealed, from_scratch},
};
use hanse_topology::Name;
use serde_json::{Value, json};

/// Every kind that reaches gateways.
const START: &str = r#"
{kind: Organization, name: default}
---
{kind: Region, name: eu-west}
---
{kind: Environment, name: production, spec: {regions: [eu-west]}}
---
{kind: Upstream, name: backend, spec: {endpoints: [{url: "http://10.0.0.7:8080"}]}}
---
{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: "1"}}}}}
---
kind: Api
name: orders
spec: {context: /orders, version: "1", policies: [stamp], upstream: backend, operations: [{method: GET, path: /}]}
---
{kind: Binding, name: orders-production, spec: {api: orders, environment: production}}
---
{kind: Plan, name: gold, spec: {rate: {requests: 5, per: second}}}
---
{kind: Application, name: shop}
---
{kind: Subscription, name: shop-orders, spec: {application: shop, api: orders, plan: gold}}
---
kind: Credential
name: shop-key
spec: {application: shop, digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
"#;

/// Good in some field, and bad in others.
const TEXTS: [&str; 49] = [
    "",
    " ",
    "*",
    "*.",
    "*.a",
    "a b",
    "a\r\nb: c",
    "\u{0}",
    "ä",
    "A",
    ".",
    "..",
    "a.",
    "-a",
    "1.2.3",
    "[::1]",
    "Host",
    "TE",
    "X_A",
    "GET",
    "/",
    "//",
    "/a/",
    "/{a}",
    "/{a}{b}",
    "/{",
    "/%zz",
    "/größe",
    "/a%20b/{id}",
    "//x",
    "/\"<|>",
    "/users/:id",
    "/a;v=1",
    "/;a",
    "/%c0%af",
    "/caf%E9",
    "/a?b",
    "/a^b",
    "http://a",
    "http://ä",
    "http://a:70000",
    "http://a:",
    "http://a:0",
    "https://1.2.3",
    "https://a_b",
    "https://[::1]",
    "http://a@b",
    "https://a/b c",
    "null",
];

/// A resource of [`START`] with `text` in each field that a gateway reads.
fn resources(text: &str) -> Vec<Value> {
    let owned = |kind: &str, name: &str, spec: Value| json!({"kind": kind, "name": name, "spec": spec});
    let api = |field: &str, value: Value| {
        let operations = json!([{"method": "GET", "path": "/"}]);
        let mut spec =
            json!({"context": "/orders", "version": "1", "upstream": "backend", "operations": operations});
        spec[field] = value;
        owned("Api", "orders", spec)
    };
    let upstream = |field: &str, value: Value| {
        let mut spec = json!({"endpoints": [{"url": "https://a"}]});
        spec[field] = value;
        owned("Upstream", "backend", spec)
    };
    let policy = |spec: Value| owned("Policy", "stamp", spec);
    let cors = |field: &str| {
        let mut cors = json!({"origins": ["https://a"]});
        cors[field] = json!([text]);
        policy(json!({"cors": cors}))
    };
    vec![
        owned("Environment", "production", json!({"regions": ["eu-west"], "hostnames": [text]})),
        owned(
            "HostGrant",
            "g",
            json!({"environments": ["production"], "host": text, "organization": "default"}),
        ),
        owned(
            "HostGrant",
            "g",
            json!({"environments": ["production"], "host": "a.example", "pathPrefix": text, "organization": "default"}),
        ),
        api("context", json!(text)),
        api("version", json!(text)),
        api("hosts", json!([text])),
        api("operations", json!([{"method": "GET", "path": text}])),
        api("operations", json!([{"method": "GET", "path": "/", "id": text}])),
        api("security", json!({"apiKey": {"header": text}})),
        api("security", json!({"apiKey": {"query": text}})),
        upstream("endpoints", json!([{"url": text}])),
        upstream("tls", json!({"serverName": text})),
        upstream("tls", json!({"caBundle": text})),
        upstream("healthCheck", json!({"path": text})),
        upstream("host", json!({"name": text})),
        policy(json!({"headers": {"request": {"set": {text: "1"}}}})),
        policy(json!({"headers": {"request": {"set": {"X-A": text}}}})),
        policy(json!({"headers": {"response": {"add": {text: text}}}})),
        policy(json!({"headers": {"response": {"remove": [text]}}})),
        cors("origins"),
        cors("methods"),
        cors("headers"),
        cors("exposeHeaders"),
    ]
}

fn judged(changes: Vec<Change>) -> Option<Admitted> {
    let command = Command {
        actor: "tester".to_owned(),
        request_id: "r".to_owned(),
        time_ms: 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body: CommandBody::Apply(changes),
    };
    admit(command, Version::KNOWN, Writer::Operator, Seal { state: &State::default(), by: &NoSecrets }).ok()
}

/// The resources that a gateway quarantines, of all scopes of a state.
fn quarantined(state: &State, profiles: &mut ConnectProfiles) -> Vec<String> {
    let quarantined = from_scratch(state, &AsSealed).into_iter().flat_map(|(scope, content)| {
        let mut index = ScopeIndex::new(scope);
        let content = content.into_iter().map(|(key, bytes)| (key.into(), bytes)).collect();
        index.replace(Vec::new(), content, profiles);
        index.quarantined(&index.held_over())
    });
    quarantined.map(|one| format!("{}: {}: {}", one.key, one.field, one.reason)).collect()
}

#[test]
fn a_gateway_quarantines_nothing_that_admission_accepts() {
    let organization = Name::new("default").unwrap();
    let mut profiles = ConnectProfiles::default();
    let mut start = State::default();
    let changes = parse_yaml(START, &organization).unwrap().into_iter().map(Change::from).collect();
    let outcome = start.apply(judged(changes).unwrap().command());
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert_eq!(from_scratch(&start, &AsSealed).values().map(|content| content.len()).sum::<usize>(), 6);
    assert!(quarantined(&start, &mut profiles).is_empty());

    let (mut accepted, mut refused) = (0, 0);
    for resource in TEXTS.iter().flat_map(|text| resources(text)) {
        let read = parse_json(resource.to_string().as_bytes(), &organization);
        let changes = read.ok().map(|manifests| manifests.into_iter().map(Change::from).collect());
        let mut state = start.clone();
        match changes.and_then(judged).map(|admitted| state.apply(admitted.command())) {
            Some(Outcome::Accepted(_)) => {
                accepted += 1;
                assert_eq!(quarantined(&state, &mut profiles), Vec::<String>::new(), "{resource}");
            }
            Some(Outcome::Rejected(_)) | None => refused += 1,
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
}
