//! State, projection and the gateway's table together: two Organizations, each pair of hosts and contexts, with and without a grant,
//! in both orders of arrival. Either the second is refused, or both are served; and each request reaches the Organization whose it is.

#![allow(clippy::unwrap_used)] // all of it is test code

use std::collections::BTreeMap;

use hanse_gateway::{
    decide::{Head, Verdict, decide},
    limit::Clock,
    table::{ConnectProfiles, FACES, Protocol, RoutingTable, index::ScopeIndex},
    tunnel::Peers,
};
use hanse_management::manifest::parse_yaml;
use hanse_state::{
    Change, Command, CommandBody, Outcome, State, Version,
    admission::{Seal, Writer, admit},
    port::NoSecrets,
    projection::{AsSealed, from_scratch},
};
use hanse_topology::{Exposure, Name};
use http::{HeaderMap, HeaderValue, Method, Uri};

const GROUND: &str = "
{kind: Organization, name: one}
---
{kind: Organization, name: two}
---
{kind: Region, name: eu-west}
---
{kind: Environment, name: production, spec: {regions: [eu-west]}}
---
{kind: Upstream, organization: one, name: u, spec: {endpoints: [{url: 'http://one.internal'}]}}
---
{kind: Upstream, organization: two, name: u, spec: {endpoints: [{url: 'http://two.internal'}]}}
";

/// Any host, a wildcard, an exact host and the wildcard below it.
const HOSTS: [&str; 4] = ["*", "*.example", "a.example", "*.a.example"];
/// A context, a longer one, and one that only looks longer.
const CONTEXTS: [&str; 4] = ["/", "/x", "/x/sec", "/xy"];
/// What may be granted to Organization `one`; without a host, nothing.
const GRANTS: [Option<(&str, &str)>; 6] = [
    None,
    Some(("a.example", "/")),
    Some(("a.example", "/x")),
    Some(("*.example", "/")),
    Some(("*.example", "/x/sec")),
    Some(("b.a.example", "/x")),
];
/// The requests that are sent, each by the host and the path.
const ASKED_HOSTS: [&str; 6] = ["a.example", "b.a.example", "b.example", "A.Example:80", "example", "other"];
const ASKED_PATHS: [&str; 9] =
    ["/", "/x", "/x/", "/x/sec", "/x/sec/key", "/x/se%63/key", "/x;v=1/sec", "/xy/z", "//x/sec"];

fn applied(state: &State, yaml: &str) -> Result<State, String> {
    let organization = Name::new("default").unwrap();
    let changes = parse_yaml(yaml, &organization).unwrap().into_iter().map(Change::from).collect();
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
    let admitted =
        admit(command, Version::KNOWN, Writer::Operator, Seal { state: &State::default(), by: &NoSecrets })
            .map_err(|problem| problem.to_string())?;
    let mut next = state.clone();
    match next.apply(admitted.command()) {
        Outcome::Accepted(_) => Ok(next),
        Outcome::Rejected(problem) => Err(problem.to_string()),
    }
}

/// An Api that every client may call, with its Binding.
fn bound(organization: &str, host: &str, context: &str) -> String {
    let hosts = if host == "*" { "[]".to_owned() } else { format!("['{host}']") };
    format!(
        "{{kind: Api, organization: {organization}, name: a, spec: {{context: {context}, version: '1', hosts: {hosts}, upstream: u, \
         operations: [{{method: '*', path: '/{{rest+}}'}}, {{method: '*', path: '/'}}]}}}}\n---\n\
         {{kind: Binding, organization: {organization}, name: b, spec: {{api: a, environment: production}}}}"
    )
}

/// The table of a gateway that has everything.
fn table(state: &State) -> RoutingTable {
    let mut profiles = ConnectProfiles::default();
    let environments = from_scratch(state, &AsSealed).into_iter().map(|(scope, content)| {
        let mut index = ScopeIndex::new(scope);
        let content = content.into_iter().map(|(key, bytes)| (key.into(), bytes)).collect();
        index.replace(Vec::new(), content, &mut profiles);
        assert!(index.quarantined(&index.held_over()).is_empty());
        index.table()
    });
    RoutingTable::new(environments.collect(), &FACES)
}

/// Whose upstream gets a request.
fn reached(table: &RoutingTable, host: &str, path: &str) -> Option<String> {
    let uri: Uri = path.parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(host).unwrap());
    headers.insert("x-api-key", HeaderValue::from_static("secret"));
    let head = Head {
        protocol: Protocol::Http,
        exposure: Exposure::External,
        method: &Method::GET,
        uri: &uri,
        version: http::Version::HTTP_11,
        headers: &headers,
        content_length: None,
        max_body: 1_000,
        now: Clock::now(),
        unix_now: || 1_800_000_000,
        peers: Some(&Peers::default()),
        sent_by: None,
    };
    let (matched, verdict) = decide(table, &head);
    match verdict {
        Verdict::Forward(_) => Some(matched.served.unwrap().routes.organization.to_string()),
        Verdict::Preflight(_) | Verdict::Refuse(_) => None,
    }
}

fn is_host(pattern: &str, host: &str) -> bool {
    let host = host.split(':').next().unwrap().to_lowercase();
    match pattern {
        "*" => true,
        pattern => match pattern.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix),
            None => host == pattern,
        },
    }
}

fn is_below(context: &str, path: &str) -> bool {
    let path = path.replace("%63", "c");
    let segments = |text: &str| -> Vec<String> {
        let text = text.strip_prefix('/').unwrap();
        let own = text.split('/').map(|segment| segment.split(';').next().unwrap().to_owned());
        if text.is_empty() { Vec::new() } else { own.collect() }
    };
    segments(&path).starts_with(&segments(context))
}

type Place = (&'static str, &'static str);

/// Whose upstream may get a request: the owner's, if it asks for it; without an owner, that of the only one that asks.
fn expected(grant: Option<Place>, one: Place, two: Place, host: &str, path: &str) -> Option<&'static str> {
    let asks = |(pattern, context): Place| is_host(pattern, host) && is_below(context, path);
    let owned = grant.is_some_and(|(pattern, prefix)| is_host(pattern, host) && is_below(prefix, path));
    match (asks(one), asks(two), owned) {
        (asked, _, true) => asked.then_some("one"),
        (true, false, false) => Some("one"),
        (false, true, false) => Some("two"),
        (false, false, false) => None,
        (true, true, false) => panic!("both ask for {host}{path}"),
    }
}

#[test]
fn every_request_reaches_the_organization_whose_it_is() {
    let ground = applied(&State::default(), GROUND).unwrap();
    let (mut refused, mut served, mut requests) = (0, 0, BTreeMap::new());
    let places: Vec<Place> = HOSTS.iter().flat_map(|host| CONTEXTS.map(|context| (*host, context))).collect();
    for grant in GRANTS {
        let granted = grant.map_or_else(
            || ground.clone(),
            |(host, prefix)| {
                let spec = format!(
                    "environments: [production], host: '{host}', pathPrefix: {prefix}, organization: one"
                );
                applied(&ground, &format!("{{kind: HostGrant, name: g, spec: {{{spec}}}}}")).unwrap()
            },
        );
        for one in &places {
            for two in &places {
                let manifests = [bound("one", one.0, one.1), bound("two", two.0, two.1)];
                let orders = [[&manifests[0], &manifests[1]], [&manifests[1], &manifests[0]]];
                let outcomes = orders
                    .map(|order| order.iter().try_fold(granted.clone(), |state, yaml| applied(&state, yaml)));
                let case = format!("{one:?} {two:?} {grant:?}");
                assert_eq!(outcomes[0].is_ok(), outcomes[1].is_ok(), "{case}");
                for state in outcomes {
                    let Ok(state) = state else {
                        refused += 1;
                        continue;
                    };
                    served += 1;
                    let table = table(&state);
                    for host in ASKED_HOSTS {
                        for path in ASKED_PATHS {
                            let found = reached(&table, host, path);
                            let may = expected(grant, *one, *two, host, path);
                            // A path that reads like one of another Api may be refused: to none is no foreign one.
                            let is_odd = path.starts_with("//");
                            assert!(
                                found.as_deref() == may || (is_odd && found.is_none()),
                                "{case}: {host}{path} reached {found:?}, and may reach {may:?}"
                            );
                            *requests.entry(found).or_insert(0) += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 500 && served > 500, "{refused} refused, {served} served");
    assert!(requests.len() == 3 && requests.values().all(|count| *count > 1_000), "{requests:?}");
}
