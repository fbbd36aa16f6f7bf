//! What each kind must be like by itself.

use hanse_management::{Digest, ProblemName};

use crate::fixture::{START_MS, World};

/// The certificate of an authority.
const CA: &str = "-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUDYcn4dGSp+ma5RTdvNi/johSr5MwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjkxMjIwMTdaGA8yMTI2MTEwNTEyMjAx
N1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIFn
m09iEdNyzRaYDHAkskc6SX4biPaLWp21+gSNnm0hJwvXpD6muHZHYuhhp3F1nK2i
eoNIknp8GIN0tZAuZN2jUzBRMB0GA1UdDgQWBBSoSDgKbAw7+lqXp4OvGCizovGW
hDAfBgNVHSMEGDAWgBSoSDgKbAw7+lqXp4OvGCizovGWhDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIDBJWSC+6CLb3U9iz0C99ReTNr+OPdRFE81Z
hlWrkkuoAiEAxTSFd7qBy/KcR0IcwKxekF0B3c4FmOkPHq7sBg8ktfA=
-----END CERTIFICATE-----
";

/// A resource of `kind` with `spec` is refused at `field` with a text that begins so.
#[track_caller]
fn refused(kind: &str, spec: &str, expected: &str) {
    let world = World::with_orders();
    let problem = world.refused(&format!("{{kind: {kind}, name: x, spec: {spec}}}"));
    let owner =
        if crate::fixture::key(&format!("{kind} x")).organization.is_some() { "default/" } else { "" };
    let expected = format!("{kind} {owner}x: spec.{expected}");
    assert!(problem.to_string().starts_with(&expected), "{spec}\n   was: {problem}\nwanted: {expected}");
    assert_eq!(problem.name, ProblemName::Invalid);
}

#[track_caller]
fn accepted(kind: &str, spec: &str) {
    World::with_orders().put(&format!("{{kind: {kind}, name: x, spec: {spec}}}"));
}

#[test]
fn labels() {
    World::new().check(
        "{kind: Plan, name: x, labels: {'a b': c}}",
        "Plan default/x: labels: label \"a b\": only letters",
    );
}

#[test]
fn organizations_and_applications() {
    refused("Organization", "{displayName: ''}", "displayName: it must not be empty");
    refused("Organization", "{displayName: \"a\\nb\"}", "displayName: it has control characters");
    refused("Application", &format!("{{owner: {}}}", "x".repeat(257)), "owner: 257 bytes are more than 256");
    accepted("Application", "{displayName: Der Laden, owner: laden@example.com}");
}

#[test]
fn regions() {
    accepted(
        "Region",
        "{location: {latitude: 53.35, longitude: -6.26, country: IE, continent: EU}, provider: on-prem}",
    );
    refused("Region", "{location: {latitude: 91, longitude: 0}}", "location: 91, 0 is not on earth");
    refused("Region", "{location: {latitude: 0, longitude: -180.5}}", "location: 0, -180.5 is not on earth");
    refused(
        "Region",
        "{location: {latitude: 0, longitude: 0, country: ie}}",
        "location.country: \"ie\" is not a country",
    );
}

#[test]
fn environments() {
    accepted("Environment", "{regions: [], hostnames: ['*.example.com'], staleCredentials: serve}");
    refused("Environment", "{regions: [], listeners: []}", "listeners: it accepts nothing");
    refused("Environment", "{regions: [], listeners: [http, http]}", "listeners[1]: Http is there already");
    refused("Environment", "{regions: [eu-west, eu-west]}", "regions[1]: \"eu-west\" is there already");
    refused(
        "Environment",
        "{regions: [], hostnames: [A]}",
        "hostnames[0]: \"A\" is not a host name (write it in lower case)",
    );
    accepted("Environment", "{regions: [], egress: {allow: [10.1.0.0/16], deny: [10.0.0.0/8, 'fd00::/8']}}");
    refused(
        "Environment",
        "{regions: [], egress: {deny: [10.0.0.7/8]}}",
        "egress.deny[0]: \"10.0.0.7/8\" has bits set beyond its length (write 10.0.0.0/8)",
    );
    for span in ["1s", "24h", "366d"] {
        let spec = format!("{{regions: [], staleCredentials: {{denyAfter: {span}}}}}");
        refused("Environment", &spec, "staleCredentials.denyAfter: ");
    }
}

#[test]
fn policies() {
    accepted("Policy", "{headers: {request: {set: {X-A: b}, remove: [X-B]}, response: {add: {Via: hanse}}}}");
    let rules = |rules: &str| format!("{{headers: {{request: {{{rules}}}}}}}");
    refused("Policy", &rules("set: {'X A': b}"), "headers.request.set.X A: \"X A\" is not a header's name");
    refused("Policy", &rules("set: {'': b}"), "headers.request.set.: \"\" is not a header's name");
    refused(
        "Policy",
        &rules("add: {X-A: \"b\\r\\nc\"}"),
        "headers.request.add.X-A: the value has characters",
    );
    refused("Policy", &rules("add: {X-A: ä}"), "headers.request.add.X-A: the value has characters");
    refused(
        "Policy",
        &rules("add: {X-A: ' b'}"),
        "headers.request.add.X-A: the value starts or ends with white space",
    );
    refused(
        "Policy",
        &rules("set: {X-A: b, x-a: c}"),
        "headers.request.set.x-a: \"x-a\" is there already in other letters",
    );
    refused(
        "Policy",
        &rules("remove: [Host]"),
        "headers.request.remove[0]: \"Host\" says how a message travels",
    );
    refused(
        "Policy",
        "{headers: {response: {set: {transfer-encoding: x}}}}",
        "headers.response.set.transfer-encoding: ",
    );
}

#[test]
fn cross_origin_rules() {
    accepted("Policy", "{cors: {origins: ['*'], headers: ['*']}}");
    accepted(
        "Policy",
        "{cors: {origins: ['https://a.example', 'http://localhost:3000'], credentials: true, methods: [GET]}}",
    );
    refused("Policy", "{cors: {}}", "cors.origins: it allows no origin");
    refused("Policy", "{cors: {origins: ['*'], credentials: true}}", "cors.credentials: any site could act");
    refused(
        "Policy",
        "{cors: {origins: ['null'], credentials: true}}",
        "cors.credentials: every sandboxed frame",
    );
    accepted("Policy", "{cors: {origins: ['https://*.a.example'], credentials: true}}");
    accepted("Policy", "{cors: {origins: ['null', 'capacitor://localhost']}}");
    refused(
        "Policy",
        "{cors: {origins: ['https://a.example', '*']}}",
        "cors.origins[1]: \"*\" allows all origins already",
    );
    for (origin, expected) in [
        ("https://a.example/", "is not an origin as browsers send it (write \"https://a.example\")"),
        ("https://A.example", "is not an origin as browsers send it (write \"https://a.example\")"),
        ("https://a.example:443", "is not an origin as browsers send it (write \"https://a.example\")"),
        ("a.example", "is not an origin (write scheme and host"),
        ("data:x", "is not an origin (write scheme and host"),
    ] {
        let spec = format!("{{cors: {{origins: ['{origin}']}}}}");
        refused("Policy", &spec, &format!("cors.origins[0]: \"{origin}\" {expected}"));
    }
    refused("Policy", "{cors: {origins: ['*'], methods: [get]}}", "cors.methods[0]: \"get\" is not a method");
    refused(
        "Policy",
        "{cors: {origins: ['*'], exposeHeaders: ['a b']}}",
        "cors.exposeHeaders[0]: \"a b\" is not a header",
    );
    refused(
        "Policy",
        "{cors: {origins: ['*'], maxAgeSeconds: 86401}}",
        "cors.maxAgeSeconds: 86401 is more than a day",
    );
}

#[test]
fn upstreams() {
    accepted(
        "Upstream",
        "{endpoints: [{url: 'https://[::1]:8443/base/'}, {url: 'http://a', weight: 0}], timeout: 1h}",
    );
    refused("Upstream", "{endpoints: []}", "endpoints: it has no endpoint");
    refused("Upstream", "{}", "endpoints: it has no endpoint");
    refused(
        "Upstream",
        "{endpoints: [{url: 'http://a', weight: 0}], endpointsFrom: {origin: east, name: pods}}",
        "endpoints: every weight is 0",
    );
    refused("Upstream", "{endpoints: [{url: 'http://a', weight: 0}]}", "endpoints: every weight is 0");
    refused(
        "Upstream",
        "{endpoints: [{url: 'http://a', weight: 1000001}]}",
        "endpoints[0].weight: 1000001 is more than",
    );
    refused(
        "Upstream",
        "{endpoints: [{url: 'http://a'}, {url: 'http://a'}]}",
        "endpoints[1]: http://a is there already",
    );
    for (url, expected) in [
        ("10.0.0.7:8080", "\"10.0.0.7:8080\" is not a URL"),
        ("backend:8080", "\"backend:8080\" is neither http nor https"),
        ("ftp://a", "\"ftp://a\" is neither http nor https"),
        ("http:a", "\"http:a\" names no host"),
        ("http://", "\"http://\" is not a URL"),
        ("http://a b", "\"http://a b\" has white space"),
        (" http://a", "\" http://a\" has white space"),
        ("http://user:pw@a", "the URL carries a user's name or password"),
        ("http://user:pw@a b", "the URL carries a user's name or password"),
        ("http://user:pw@a:70000", "the URL carries a user's name or password"),
        ("http://user:pw@", "the URL carries a user's name or password"),
        ("ftp://user:pw@a", "the URL carries a user's name or password"),
        ("http:user:pw@a", "the URL carries a user's name or password"),
        ("user:pw@a", "the URL carries a user's name or password"),
        ("http://user:p/w@a", "the URL is not a URL: invalid port number"),
        ("http://a/@scope?x=1", "the URL has a query or a fragment"),
        ("http://a?x=1", "\"http://a?…\" has a query or a fragment"),
        ("http://a#x", "\"http://a#…\" has a query or a fragment"),
        ("http://a:0", "\"http://a:0\" names port 0"),
        ("http://a:70000", "\"http://a:70000\" is not a URL"),
    ] {
        refused(
            "Upstream",
            &format!("{{endpoints: [{{url: '{url}'}}]}}"),
            &format!("endpoints[0].url: {expected}"),
        );
    }
    refused(
        "Upstream",
        "{endpoints: [{url: 'http://a'}], timeout: 0ms}",
        "timeout: 0s is not between 1ms and 1h",
    );
    refused(
        "Upstream",
        "{endpoints: [{url: 'http://a'}], connectTimeout: 61m}",
        "connectTimeout: 1h 1m is not between",
    );
    let tls = |tls: &str| format!("{{endpoints: [{{url: 'https://a'}}], tls: {{{tls}}}}}");
    refused("Upstream", &tls("serverName: '*.a'"), "tls.serverName: \"*.a\" is not a host name");
    refused("Upstream", &tls("caBundle: hello"), "tls.caBundle: it is not a sequence of PEM certificates");
    refused(
        "Upstream",
        &tls("caBundle: '-----BEGIN PRIVATE KEY-----'"),
        "tls.caBundle: it has a private key",
    );
    accepted("Upstream", &tls(&format!("caBundle: \"{}\", serverName: a.b", CA.replace('\n', "\\n"))));
}

#[test]
fn upstreams_that_are_looked_after() {
    let with = |more: &str| format!("{{endpoints: [{{url: 'http://a'}}], timeout: 10s, {more}}}");
    accepted("Upstream", &with("healthCheck: {path: /}, ejection: {}, retry: {}"));
    accepted(
        "Upstream",
        &with(
            "healthCheck: {path: '/healthz?full=1', interval: 1s, timeout: 1s, unhealthyAfter: 1, healthyAfter: 1, \
             expectStatus: 204}, ejection: {consecutiveFailures: 0, baseTime: 1s, maxEjected: 100}, \
             retry: {attempts: 5, perTryTimeout: 10s, on: [connect-failure, reset-before-response, 502, '503', 504]}",
        ),
    );
    accepted("Upstream", &with("retry: {attempts: 0, on: []}"));
    for (given, expected) in [
        ("healthCheck: {path: healthz}", "healthCheck.path: \"healthz\" does not start with a slash"),
        ("healthCheck: {path: '/a b'}", "healthCheck.path: \"/a b\" has something at byte 2"),
        ("healthCheck: {path: '/a#b'}", "healthCheck.path: \"/a#b\" has something at byte 2"),
        ("healthCheck: {path: /, interval: 99ms}", "healthCheck.interval: 99ms is less than 100ms"),
        ("healthCheck: {path: /, interval: 2h}", "healthCheck.interval: 2h is not between"),
        ("healthCheck: {path: /, interval: 1s}", "healthCheck.timeout: 2s is longer than the interval of 1s"),
        ("healthCheck: {path: /, interval: 1m, timeout: 31s}", "healthCheck.timeout: 31s is longer than 30s"),
        ("healthCheck: {path: /, timeout: 0ms}", "healthCheck.timeout: 0s is not between"),
        (
            "healthCheck: {path: /, unhealthyAfter: 0}",
            "healthCheck.unhealthyAfter: 0 is not between 1 and 100",
        ),
        (
            "healthCheck: {path: /, healthyAfter: 101}",
            "healthCheck.healthyAfter: 101 is not between 1 and 100",
        ),
        ("healthCheck: {path: /, expectStatus: 100}", "healthCheck.expectStatus: 100 is not the status"),
        ("ejection: {consecutiveFailures: 1001}", "ejection.consecutiveFailures: 1001 is more than 1000"),
        ("ejection: {baseTime: 0ms}", "ejection.baseTime: 0s is not between"),
        ("ejection: {maxEjected: 0}", "ejection.maxEjected: 0 is not a percentage"),
        ("ejection: {maxEjected: 101}", "ejection.maxEjected: 101 is not a percentage"),
        ("retry: {attempts: 6}", "retry.attempts: 6 is more than 5"),
        ("retry: {perTryTimeout: 11s}", "retry.perTryTimeout: 11s is longer than the timeout of 10s"),
        ("retry: {perTryTimeout: 1s}", "retry.perTryTimeout: without 504 in retry.on no other try"),
        ("retry: {on: []}", "retry.on: it is empty"),
        ("retry: {on: [503, connect-failure, '503']}", "retry.on[2]: 503 is there already"),
    ] {
        refused("Upstream", &with(given), expected);
    }
}

#[test]
fn apis() {
    let api = |more: &str| format!("{{context: /x, version: '1', {more}}}");
    accepted(
        "Api",
        &api(
            "operations: [{method: GET, path: /}, {method: POST, path: /}], security: {apiKey: {query: key}}",
        ),
    );
    refused(
        "Api",
        "{context: x, version: '1', operations: []}",
        "context: \"x\" does not start with a slash",
    );
    refused("Api", "{context: /x, version: '', operations: []}", "version: it must not be empty");
    refused("Api", &api("operations: [], hosts: ['*']"), "hosts[0]: \"*\" is not a host");
    refused(
        "Api",
        &api("operations: [], policies: [stamp, stamp]"),
        "policies[1]: \"stamp\" is there already",
    );
    refused("Api", &api("operations: [], maxBodyBytes: 0"), "maxBodyBytes: 0 would refuse every body");
    refused(
        "Api",
        &api("operations: [], security: {apiKey: {header: 'X Key'}}"),
        "security.apiKey.header: \"X Key\"",
    );
    for (name, problem) in [
        ("CDN-Loop", "says how a message travels"),
        ("X-Forwarded-For", "is written by gateways, and upstreams would see the key in it"),
    ] {
        refused(
            "Api",
            &api(&format!("operations: [], security: {{apiKey: {{header: {name}}}}}")),
            &format!("security.apiKey.header: \"{name}\" {problem}"),
        );
    }
    refused(
        "Api",
        &api("operations: [], security: {apiKey: {query: 'a b'}}"),
        "security.apiKey.query: \"a b\"",
    );
    let operation =
        |first: &str| api(&format!("operations: [{{method: GET, path: '/a/{{id}}'}}, {{{first}}}]"));
    refused(
        "Api",
        &operation("method: GET, path: a"),
        "operations[1].path: \"a\" does not start with a slash",
    );
    refused(
        "Api",
        &operation("method: GET, path: '/a/{name}'"),
        "operations[1]: GET /a/{name} matches the same requests as operations[0], /a/{id} (keep one of them)",
    );
    accepted("Api", &operation("method: GET, path: '/a/{id}/'"));
    refused(
        "Api",
        &operation("method: GET, path: /, timeout: 2h"),
        "operations[1].timeout: 2h is not between",
    );
    refused(
        "Api",
        &operation("method: GET, path: /, scopes: ['a b']"),
        "operations[1].scopes[0]: \"a b\" is not a scope",
    );
    refused("Api", &operation("method: GET, path: /, id: ''"), "operations[1].id: it must not be empty");
    refused(
        "Api",
        &operation("method: GET, path: /, policies: [stamp, stamp]"),
        "operations[1].policies[1]: ",
    );
    // Not as YAML, which takes long to read.
    let spec = api("operations: [{method: GET, path: /}]");
    let mut many = crate::fixture::changes(&format!("{{kind: Api, name: x, spec: {spec}}}"));
    let crate::Action::Put { spec: hanse_management::Spec::Api(spec), .. } = &mut many[0].action else {
        panic!()
    };
    spec.operations = vec![spec.operations[0].clone(); 25_001];
    let problem = World::with_orders().change(many).unwrap_err();
    assert_eq!(problem.detail, "25001 operations are more than 25000");
    assert_eq!(problem.field, "Api default/x: spec.operations");
}

#[test]
fn the_name_of_an_api_leaves_room_for_revisions() {
    let api = |length: usize| {
        format!(
            "{{kind: Api, name: {}, spec: {{context: /x, version: '1', operations: []}}}}",
            "x".repeat(length)
        )
    };
    World::new().put(&api(52));
    let name = "x".repeat(53);
    World::new().check(
        &api(53),
        &format!("Api default/{name}: name: the name has 53 bytes; an Api's has at most 52"),
    );
}

#[test]
fn plans() {
    accepted("Plan", "{rate: {requests: 5000, per: minute, burst: 83}}");
    refused("Plan", "{rate: {requests: 0, per: minute}}", "rate.requests: 0 is not between 1 and 1000000000");
    refused("Plan", "{rate: {requests: 1, per: day, burst: 0}}", "rate.burst: 0 is not between 1");
    refused(
        "Plan",
        "{rate: {requests: 1000000001, per: second}}",
        "rate.requests: 1000000001 is not between",
    );
}

#[test]
fn join_tokens() {
    let now = START_MS / 1000;
    let token = |fields: &str, expires_at: u64| {
        format!("{{expiresAt: {expires_at}, digest: '{}', {fields}}}", Digest::of(b"x"))
    };
    let month = 30 * 86_400;
    accepted(
        "JoinToken",
        &token("role: agent, region: eu-west, environments: [production], uses: 3", now + month),
    );
    accepted("JoinToken", &token("role: server", now + 60));
    refused("JoinToken", &token("role: server", now), "expiresAt: ");
    refused("JoinToken", &token("role: server", now + month + 1), "expiresAt: ");
    refused("JoinToken", &token("role: server, uses: 0", now + 9), "uses: 0 is not between 1 and 10000");
    refused("JoinToken", &token("role: agent", now + 9), "region: an agent belongs to a region");
    refused(
        "JoinToken",
        &token("role: server, region: eu-west", now + 9),
        "region: a control-plane node belongs to no region",
    );
    refused(
        "JoinToken",
        &token("role: server, environments: [sandbox]", now + 9),
        "environments: a control-plane node serves",
    );
    refused(
        "JoinToken",
        &token("role: agent, region: eu-west, environments: [sandbox, sandbox]", now + 9),
        "environments[1]: \"sandbox\" is there already",
    );
}

#[test]
fn bindings() {
    refused(
        "Binding",
        "{api: orders, environment: sandbox, regions: {names: [eu-west, eu-west]}}",
        "regions.names[1]: \"eu-west\" is there already",
    );
    refused(
        "Binding",
        "{api: orders, environment: sandbox, regions: {labels: {'': x}}}",
        "regions.labels: label \"\": a key must not be empty",
    );
}
