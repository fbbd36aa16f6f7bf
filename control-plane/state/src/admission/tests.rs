use hanse_management::ProblemName;

use super::*;
use crate::{
    State,
    fixture::{self, World},
    port::NoSecrets,
};

mod property;
mod secrets;

/// PEM that is well-formed and holds something no TLS library takes for a certificate.
const NOT_A_CERTIFICATE: &str =
    "-----BEGIN CERTIFICATE-----\\nbm90IGEgY2VydGlmaWNhdGU=\\n-----END CERTIFICATE-----\\n";

fn judged(yaml: &str) -> Result<Admitted, Problem> {
    admit_at(Version::FIRST, yaml)
}

fn admit_at(version: Version, yaml: &str) -> Result<Admitted, Problem> {
    admit_body(version, CommandBody::Apply(fixture::changes(yaml)))
}

#[expect(clippy::disallowed_methods, reason = "it is what is tested")]
fn admit_body(version: Version, body: CommandBody) -> Result<Admitted, Problem> {
    let command = Command {
        actor: "tester".into(),
        request_id: "r".into(),
        time_ms: 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: crate::Origin::default(),
        body,
    };
    let without_keys = State::default();
    admit(command, version, Writer::Handler, Seal { state: &without_keys, by: &NoSecrets })
}

#[track_caller]
fn refused(kind: &str, spec: &str, expected: &str) {
    let yaml = format!("{{kind: {kind}, name: x, spec: {spec}}}");
    let problem = judged(&yaml).expect_err(&yaml);
    assert!(problem.to_string().contains(expected), "{spec}\n   was: {problem}\nwanted: {expected}");
    assert!(problem.name == ProblemName::Invalid && !problem.remedy.is_empty(), "{problem:?}");
}

#[test]
fn what_a_gateway_could_not_use_is_refused_with_its_field() {
    let upstream = |more: &str| format!("{{endpoints: [{{url: 'https://a'}}], {more}}}");
    let ca = upstream(&format!("tls: {{caBundle: \"{NOT_A_CERTIFICATE}\"}}"));
    refused("Upstream", &ca, "Upstream default/x: spec.tls.caBundle: gateways could not use it: ");
    refused("Upstream", &upstream("tls: {serverName: 1.2.3}"), "spec.tls.serverName: ");
    refused("Upstream", "{endpoints: [{url: 'http://a'}, {url: 'http://127.1'}]}", "spec.endpoints[1].url: ");
    refused("Upstream", "{endpoints: [{url: 'https://a..b'}]}", "spec.endpoints[0].url: ");
}

#[test]
fn a_command_is_measured_as_it_will_be_stored() {
    let upstreams = |number: usize| {
        let spec = serde_json::json!({"endpoints": [{"url": format!("http://a/{}", "ß".repeat(700_000))}]});
        let put = |at| Change {
            key: fixture::key(&format!("Upstream u{at}")),
            action: Action::put(
                Labels::default(),
                Spec::from_json(hanse_management::Kind::Upstream, &spec).unwrap(),
            ),
            if_revision: None,
        };
        admit_body(Version::FIRST, CommandBody::Apply((0..number).map(put).collect()))
    };
    upstreams(1).unwrap();
    // 2.8 MB, and three times that when they are percent-encoded.
    let problem = upstreams(2).unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge);
    assert!(problem.detail.starts_with("2 changes with 8400"), "{problem}");
}

#[test]
fn no_key_and_no_rule_is_about_a_header_that_frames_or_routes() {
    for name in ["Host", "Expect", "connection", "Content-Length", "Proxy-Authorization", "TE"] {
        let api = format!(
            "{{context: /x, version: '1', operations: [], security: {{apiKey: {{header: {name}}}}}}}"
        );
        refused("Api", &api, "Api default/x: spec.security.apiKey.header: ");
        let rules = format!("{{headers: {{response: {{set: {{{name}: x}}}}}}}}");
        refused("Policy", &rules, &format!("Policy default/x: spec.headers.response.set.{name}: "));
        let rules = format!("{{headers: {{request: {{remove: [X-A, {name}]}}}}}}");
        refused("Policy", &rules, "Policy default/x: spec.headers.request.remove[1]: ");
    }
}

#[test]
fn what_no_gateway_does_is_refused_or_warned_of() {
    let denied = "{regions: [], staleCredentials: {denyAfter: 24h}}";
    refused("Environment", denied, "spec.staleCredentials.denyAfter: no gateway of this version refuses");
    refused(
        "Upstream",
        "{endpoints: [{url: 'http://a'}], ejection: {baseTime: 6m}}",
        "ejection.baseTime: 6m is",
    );

    let warned = |yaml: &str| {
        let admitted = judged(yaml).unwrap();
        let one = |warning: &Warning| format!("{} {}", warning.key, warning.field);
        admitted.warnings().iter().map(one).collect::<Vec<_>>()
    };
    let api = |scopes: &str| {
        format!(
            "{{kind: Api, name: x, spec: {{context: /x, version: '1', operations: [{{method: GET, path: /, scopes: {scopes}}}]}}}}"
        )
    };
    assert_eq!(warned(&api("[a, b]")), ["Api default/x spec.operations[].scopes"]);
    assert!(warned("{kind: Environment, name: x, spec: {regions: [], exposure: internal}}").is_empty());
    let open = |more: &str| {
        let operations =
            format!("{{method: GET, path: /admin}}, {{method: '*', path: '/*', open: true}}{more}");
        format!(
            "{{kind: Api, name: x, spec: {{context: /x, version: '1', security: {{apiKey: {{}}}}, operations: [{operations}]}}}}"
        )
    };
    assert_eq!(warned(&open("")), ["Api default/x spec.operations[].open"]);
    assert!(warned(&open("").replace(", open: true", "")).is_empty(), "it is guarded");
    assert!(warned(&open("").replace("security: {apiKey: {}}, ", "")).is_empty(), "all is open");
    assert!(warned(&open("").replace("'/*'", "/b")).is_empty(), "it has a path of its own");
    assert!(warned(&api("[]")).is_empty() && warned(fixture::ORDERS).is_empty());
}

#[test]
fn a_url_is_proposed_in_its_one_form() {
    let put = |url: &str| {
        format!("{{kind: Upstream, name: x, spec: {{endpoints: [{{url: '{url}'}}, {{url: 'http://b/ä'}}]}}}}")
    };
    let admitted = judged(&put("HTTP://Bücher.example:80")).unwrap();
    assert_eq!(*admitted.command(), *judged(&put("http://xn--bcher-kva.example")).unwrap().command());
    let twice = judged(&put("http://B/%C3%A4")).unwrap_err();
    assert!(twice.to_string().contains("endpoints[1]: http://b/%C3%A4 is there already"), "{twice}");
}

#[test]
fn the_state_judges_what_depends_on_it_only() {
    // As a control node of another version may replicate it: all replicas do the same, also where their libraries differ.
    let mut world = World::new();
    let yaml = "{kind: Upstream, name: x, spec: {endpoints: [{url: 'not a url'}]}}";
    assert!(judged(yaml).is_err());
    world.replicate(yaml);
    assert!(world.has("Upstream x"));
}

#[test]
fn a_stored_resource_that_is_refused_today_can_only_be_mended_or_deleted() {
    let mut world = World::new();
    let put = |url: &str| format!("{{kind: Upstream, name: x, spec: {{endpoints: [{{url: '{url}'}}]}}}}");
    world.replicate(&put("http://127.1"));
    world.check(&put("http://127.1"), "Upstream default/x: spec.endpoints[0].url: ");
    world.clone().put(&put("http://a"));
    world.delete("Upstream x", false).unwrap();
    assert!(!world.has("Upstream x"));
}

#[test]
fn the_version_is_raised_to_the_next_one_only() {
    let finalize = |version| CommandBody::Finalize { version, release: "9.8.0".to_owned() };
    let judged = |version| admit_body(Version::FIRST, finalize(version));
    assert_eq!(judged(1).unwrap().version(), Version::FIRST);
    judged(2).unwrap();
    let problem = judged(3).unwrap_err();
    assert_eq!(problem.name, ProblemName::Upgrade);
    assert!(problem.detail.contains("version 1 is in force, and 3 is not the next"), "{problem}");
}
