//! The bounds that `/openapi.json` states of specs are those that hold.

use std::{collections::BTreeSet, net::IpAddr};

use hanse_management::Kind;
use serde_json::{Map, Value, json};

use crate::{node::START_MS, request::Api};

/// Resources of every kind that operators write, with every member that has a bound. Of a list, the first item counts.
fn resources() -> Vec<Value> {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let named = |kind: &str, name: &str, spec: Value| json!({"kind": kind, "name": name, "spec": spec});
    let host = |name: &str, step: Value| {
        let host = format!("{name}.gslb.example");
        named(
            "GlobalHost",
            name,
            json!({"host": host, "zone": "gslb", "environment": "stage", "policy": [step]}),
        )
    };
    vec![
        named("Organization", "shop", json!({"displayName": "d"})),
        named(
            "Region",
            "us",
            json!({"location": {"latitude": 1.5, "longitude": 2.5, "country": "IE", "continent": "EU"}, "capacity": 5}),
        ),
        named("Secret", "password", json!({"type": "opaque", "data": {"a": "private"}})),
        named(
            "Environment",
            "stage",
            json!({
                "hostnames": ["h.example"], "listeners": ["https"], "regions": ["eu", "us"],
                "addresses": {"eu": ["192.0.2.1"], "us": ["192.0.2.2"]},
                "approval": {"expiresAfter": "1h"},
                "egress": {"allow": ["10.1.0.0/16"], "deny": ["10.0.0.0/8"]},
            }),
        ),
        named(
            "Origin",
            "east",
            json!({
                "region": "eu", "environments": ["prod"], "organizations": ["default"], "kinds": ["Route"], "holders": ["a"],
            }),
        ),
        named(
            "HostGrant",
            "granted",
            json!({"environments": ["prod"], "host": "g.example", "pathPrefix": "/p", "organization": "default"}),
        ),
        named(
            "DnsZone",
            "gslb",
            json!({
                "origin": "gslb.example", "contact": "dns@example.com",
                "nameServers": [{"name": "ns.other.example", "addresses": ["192.0.2.3"]}],
                "secondaries": [{"address": "192.0.2.9:53", "key": "to.bind"}],
                "publish": {"server": "192.0.2.9:53", "key": "to.bind", "from": ["eu"]},
            }),
        ),
        host("origin", json!({"origin": {"rules": [{"cidr": "10.0.0.0/8", "regions": ["eu"]}]}})),
        host("geo", json!({"geo": {"default": ["eu"]}})),
        host("failover", json!({"failover": {"order": ["eu"]}})),
        host("multivalue", json!({"multivalue": {"count": 1}})),
        named(
            "FailoverPlan",
            "geo",
            json!({
                "hosts": ["geo"], "active": "eu", "standby": ["us"], "steps": [100],
                "probe": {"url": "http://geo.gslb.example", "rate": 2}, "guard": {"failedPercent": 2},
            }),
        ),
        named("Policy", "shared", json!({"cors": {"origins": ["https://a.example"], "maxAgeSeconds": 1}})),
        named(
            "Upstream",
            "bounded",
            json!({
                "endpoints": [
                    {"url": "https://a.example", "weight": 1},
                    {"url": "https://b.example", "region": "eu", "environment": "prod"},
                ],
                "tls": {"serverName": "s.example"},
                "host": {"name": "n.example"},
                "healthCheck": {"path": "/up", "unhealthyAfter": 2, "healthyAfter": 2, "expectStatus": 204},
                "ejection": {"consecutiveFailures": 2, "maxEjected": 20},
                "retry": {"attempts": 1},
            }),
        ),
        named(
            "Api",
            "bounded",
            json!({
                "context": "/bounded", "version": "1", "hosts": ["h.example"], "upstream": "bounded", "policies": ["shared"],
                "operations": [{"method": "GET", "path": "/a", "id": "i", "scopes": ["s"], "policies": ["shared"]}],
            }),
        ),
        named(
            "Binding",
            "orders-prod",
            json!({"api": "orders", "environment": "prod", "upstream": "backend", "regions": {"names": ["eu"]}}),
        ),
        named(
            "Plan",
            "gold",
            json!({"displayName": "d", "rate": {"requests": 5, "per": "minute", "burst": 2}}),
        ),
        named("Application", "app", json!({"displayName": "d", "owner": "o"})),
        named("Subscription", "sub", json!({"application": "app", "api": "orders", "plan": "gold"})),
        named("Credential", "key", json!({"application": "app", "digest": digest("1")})),
        named("Token", "other", json!({"role": "admin", "owner": "o", "digest": digest("2")})),
        named(
            "JoinToken",
            "join",
            json!({
                "role": "agent", "region": "eu", "environments": ["prod"], "uses": 2, "digest": digest("3"),
                "expiresAt": START_MS / 1000 + 3600,
            }),
        ),
    ]
}

/// A value for a place in the resources, and whether it is within the bound.
struct Probe {
    place: String,
    value: Value,
    is_within: bool,
}

/// Goes through schemas and examples side by side.
struct Walk<'a> {
    schemas: &'a Map<String, Value>,
    probes: Vec<Probe>,
    /// The schemas that were seen with an example.
    seen: BTreeSet<String>,
}

const BOUNDS: [&str; 7] =
    ["maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "maxProperties"];

impl Walk<'_> {
    fn visit(&mut self, name: &str, schema: &Value, example: &Value, place: &str) {
        if let Some(target) = schema["$ref"].as_str() {
            let target = target.rsplit('/').next().unwrap();
            return self.visit(target, &self.schemas[target], example, place);
        }
        // What may be absent may be null, too.
        let either = schema["oneOf"].as_array().filter(|either| either.len() == 2);
        if let Some(only) = either.and_then(|either| either.iter().find(|one| one.get("$ref").is_some())) {
            return self.visit(name, only, example, place);
        }
        self.probe(schema, example, place);
        for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(example) = example.get(member) {
                self.seen.insert(format!("{name}.{member}"));
                self.visit(&format!("{name}.{member}"), schema, example, &format!("{place}/{member}"));
            }
        }
        if let Some(first) = example.get(0) {
            self.visit(name, &schema["items"], first, &format!("{place}/0"));
        }
    }

    fn probe(&mut self, schema: &Value, example: &Value, place: &str) {
        let mut tell = |value: Value, is_within| {
            self.probes.push(Probe { place: place.to_owned(), value, is_within });
        };
        // Without a greatest value, the least one is that of the type.
        if let (Some(least), Some(most)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            for (value, is_within) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
                tell(value.into(), is_within);
            }
        }
        let count = |bound: &str| schema[bound].as_u64().map(|count| usize::try_from(count).unwrap());
        let is_free = schema.get("pattern").is_none();
        if let (Some(most), Some(text)) = (count("maxLength"), example.as_str()) {
            let last = &text[text.len() - 1..];
            let long = |length: usize| format!("{text}{}", last.repeat(length - text.len()));
            tell(long(most + 1).into(), false);
            // A host has labels that are shorter, and a name must be that of a resource.
            if is_free && !text.contains('.') {
                tell(long(most).into(), true);
            }
        }
        if count("minLength") == Some(1) {
            tell("".into(), false);
        }
        if !is_free {
            tell("ä ".into(), false);
        }
        if count("minItems") == Some(1) {
            tell(json!([]), false);
        }
        if let (Some(most), Some(members)) = (count("maxProperties"), example.as_object()) {
            let first = members.values().next().unwrap();
            let many =
                |count: usize| (0..count).map(|at| (format!("m{at}"), first.clone())).collect::<Map<_, _>>();
            tell(many(most).into(), true);
            tell(many(most + 1).into(), false);
            tell(json!({}), false);
        }
        if let Some(most) = count("maxItems") {
            let first = &example[0];
            tell((0..=most).map(|number| other(first, number)).collect(), false);
            if first.is_object() || first.as_str().is_some_and(|text| text.contains('.')) {
                tell((0..most).map(|number| other(first, number)).collect(), true);
            }
        }
    }
}

/// An item that differs from all others by its number, and is as small as it may be.
fn other(item: &Value, number: usize) -> Value {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let is_network = |text: &str| text.split_once('/').is_some_and(|(at, _)| at.parse::<IpAddr>().is_ok());
    match item {
        Value::String(network) if is_network(network) => {
            format!("10.{}.{}.0/24", 2 + number / 256, number % 256).into()
        }
        Value::String(address) if is_address(address) => format!("192.0.2.{}", number + 1).into(),
        Value::String(host) => format!("n{number}.{host}").into(),
        item if item.get("url").is_some() => json!({"url": format!("https://n{number}.example")}),
        item if item.get("method").is_some() => json!({"method": "GET", "path": format!("/n{number}")}),
        item if item.get("address").is_some() => {
            json!({"address": format!("192.0.2.{}:53", number + 1), "key": "k"})
        }
        item if item.get("cidr").is_some() => {
            json!({"cidr": format!("10.{}.{}.0/24", 2 + number / 256, number % 256), "regions": ["eu"]})
        }
        item if item.get("name").is_some() => json!({"name": format!("n{number}.example")}),
        // A step of a policy may come several times.
        item => item.clone(),
    }
}

/// The members with bounds of the schemas that `name` leads to.
fn bounded(schemas: &Map<String, Value>, name: &str, found: &mut BTreeSet<String>) {
    let text = schemas[name].to_string();
    for (member, schema) in schemas[name]["properties"].as_object().into_iter().flatten() {
        let has = |schema: &Value| BOUNDS.iter().any(|bound| schema.get(bound).is_some());
        if has(schema) || has(&schema["items"]) {
            found.insert(format!("{name}.{member}"));
        }
    }
    for target in text.split("#/components/schemas/").skip(1) {
        bounded(schemas, target.split('"').next().unwrap(), found);
    }
}

#[tokio::test]
async fn bounds_of_specs_are_described_and_hold() {
    let api = Api::furnished().await;
    api.node.make_key();
    let document = api.get("/openapi.json").send().await.expect(200).json;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let body = json!({"resources": resources()});
    let apply = async |body: Value| api.post("/v1/apply?dryRun").json(body).send().await;
    apply(body.clone()).await.expect(200);

    let mut walk = Walk { schemas, probes: Vec::new(), seen: BTreeSet::new() };
    let mut expected = BTreeSet::new();
    for (at, resource) in resources().iter().enumerate() {
        let name = format!("{}Spec", resource["kind"].as_str().unwrap());
        walk.visit(&name, &schemas[&name], &resource["spec"], &format!("/resources/{at}/spec"));
        bounded(schemas, &name, &mut expected);
    }
    let writable = Kind::ALL.into_iter().filter(|kind| kind.is_writable() && kind.as_str() != "Memo");
    let shown: BTreeSet<String> =
        resources().iter().map(|resource| resource["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        writable.map(|kind| kind.to_string()).collect::<BTreeSet<_>>(),
        shown,
        "each kind has an example"
    );
    assert!(expected.len() > 25, "{expected:?}");
    let unseen: Vec<&String> = expected.difference(&walk.seen).collect();
    assert!(unseen.is_empty(), "no example has {unseen:?}");

    let mut wrong = Vec::new();
    for Probe { place, value, is_within } in walk.probes {
        let mut body = body.clone();
        *body.pointer_mut(&place).unwrap() = value.clone();
        let answer = apply(body).await;
        let is_right = if is_within { answer.status.is_success() } else { answer.status.is_client_error() };
        if !is_right {
            let shown = value.to_string();
            wrong.push(format!("{place} = {shown:.80}, which is within: {is_within}: {:.300}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
