//! Random changes of two Organizations: what is accepted is judged request by request, by plain loops over the whole state.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, Spec,
    kinds::{ApiSpec, Reach},
};
use proptest::{prelude::*, sample::select, strategy::ValueTree as _, test_runner::TestRunner};

use super::*;

const HOSTS: [&str; 4] = ["*", "*.example", "a.example", "b.example"];
const CONTEXTS: [&str; 4] = ["/", "/x", "/x/sec", "/y"];
/// The requests that are tried.
const ASKED: [(&str, &str); 12] = [
    ("a.example", "/"),
    ("a.example", "/x"),
    ("a.example", "/x/sec"),
    ("a.example", "/y"),
    ("b.example", "/"),
    ("b.example", "/x/sec"),
    ("b.example", "/y"),
    ("c.d.example", "/x"),
    ("c.d.example", "/x/sec"),
    ("other", "/x"),
    ("other", "/x/sec"),
    ("other", "/"),
];

fn own(yaml: &str, organization: &str, number: u8) -> String {
    let named = |yaml: &str, from: &str, to: &str| yaml.replace(from, &format!("{to}{number}"));
    let yaml = named(yaml, "name: a", "name: a");
    let yaml = named(&yaml, "api: a", "api: a");
    named(&yaml, "name: b", "name: b").replace("organization: one", &format!("organization: {organization}"))
}

fn step() -> impl Strategy<Value = String> {
    let organization = || select(vec!["one", "two"]);
    let lifecycle = select(vec!["published", "published", "published", "retired"]);
    let api = (organization(), 0..2_u8, select(&HOSTS[..]), select(&CONTEXTS[..]), lifecycle).prop_map(
        |(organization, number, host, context, lifecycle)| {
            own(&api("one", host, context), organization, number)
                .replace("version: '1'", &format!("version: '1', lifecycle: {lifecycle}"))
        },
    );
    let regions = select(vec!["{}", "{}", "{names: [eu-west]}", "{labels: {tier: edge}}"]);
    let reach = select(vec!["local", "local", "federation"]);
    let binding = (organization(), 0..2_u8, regions, reach).prop_map(|(organization, number, regions, reach)| {
        format!(
            "{{kind: Binding, organization: {organization}, name: b{number}, spec: {{api: a{number}, environment: production, regions: {regions}, reach: {reach}}}}}"
        )
    });
    let granted = (select(vec!["g", "h", "i"]), select(&HOSTS[1..]), select(&CONTEXTS[..]), organization())
        .prop_map(|(name, host, prefix, organization)| grant(name, host, prefix, organization));
    let hostnames = select(vec!["[]", "[a.example]", "['*.example']", "[b.example, other]"]);
    let regions = select(vec!["[eu-west]", "[us-east]", "[eu-west, us-east]"]);
    let tunnel = prop::bool::weighted(0.9);
    let environment = (hostnames, regions, tunnel).prop_map(|(hostnames, regions, tunnel)| {
        format!(
            "{{kind: Environment, name: production, spec: {{regions: {regions}, hostnames: {hostnames}, tunnel: {tunnel}}}}}"
        )
    });
    let region = (select(vec!["eu-west", "us-east"]), select(vec!["edge", "core"]))
        .prop_map(|(name, tier)| format!("{{kind: Region, name: {name}, labels: {{tier: {tier}}}}}"));
    let gone = select(vec![
        "Binding one/b0",
        "Binding two/b0",
        "Binding two/b1",
        "HostGrant g",
        "HostGrant h",
        "HostGrant i",
    ]);
    prop_oneof![4 => api, 4 => binding, 3 => granted, 2 => environment, 1 => region, 3 => gone.prop_map(|key| format!("-{key}"))]
}

fn is_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => pattern == host,
    }
}

fn is_below(context: &str, path: &str) -> bool {
    let parts =
        |text: &str| text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    parts(path).starts_with(&parts(context))
}

/// The owner of a request.
fn owner(state: &State, host: &str, path: &str) -> Option<String> {
    let specs = state.list(Kind::HostGrant, None).filter_map(|grant| match &grant.spec {
        Spec::HostGrant(spec) => Some(spec),
        _other => None,
    });
    let fits = specs.filter(|spec| is_host(&spec.host, host) && is_below(&spec.path_prefix, path));
    let rank = |host: &str| if host.starts_with('*') { host.len() } else { usize::MAX };
    let best = fits.max_by_key(|spec| (rank(&spec.host), spec.path_prefix.len()));
    best.map(|spec| spec.organization.to_string())
}

/// What a Binding serves, and in which regions gateways take requests for it: with `reach: federation` in all, if it serves in one.
fn served(state: &State) -> Vec<(String, String, &ApiSpec, BTreeSet<String>)> {
    let bindings = state.list(Kind::Binding, None).filter_map(|binding| {
        state.served_lifecycle(binding)?;
        let Spec::ApiRevision(revision) = &state.named_revision(binding)?.spec else { return None };
        let mut regions: BTreeSet<String> =
            state.regions_of(binding).iter().map(ToString::to_string).collect();
        let Spec::Binding(spec) = &binding.spec else { return None };
        if spec.reach == Reach::Federation && !regions.is_empty() {
            let environment = state.environment(&spec.environment)?;
            regions.extend(environment.regions.iter().map(ToString::to_string));
        }
        let organization = binding.key.organization.as_ref()?.to_string();
        Some((organization, binding.key.to_string(), &revision.spec, regions))
    });
    bindings.collect()
}

fn asks(state: &State, api: &ApiSpec, host: &str, path: &str) -> bool {
    let hostnames = &state.environment(&crate::fixture::name("production")).unwrap().hostnames;
    let has = |hosts: &[String]| hosts.is_empty() || hosts.iter().any(|pattern| is_host(pattern, host));
    has(hostnames) && has(&api.hosts) && is_below(&api.context, path)
}

/// The requests that Bindings of both Organizations ask for in one region, and that have no owner.
fn disputed(state: &State) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let served = served(state);
    for (host, path) in ASKED.iter().filter(|(host, path)| owner(state, host, path).is_none()) {
        for (own, one, _, regions) in served.iter().filter(|(_, _, api, _)| asks(state, api, host, path)) {
            for (organization, other, api, others) in &served {
                if own < organization && asks(state, api, host, path) {
                    found.extend(
                        regions
                            .intersection(others)
                            .map(|region| format!("{one} {other} {region} {host}{path}")),
                    );
                }
            }
        }
    }
    found
}

/// The Bindings whose Api names an exact host that another Organization owns.
fn inside(state: &State) -> Vec<String> {
    let mut found = Vec::new();
    for (organization, key, api, regions) in served(state) {
        for host in api.hosts.iter().filter(|host| !host.starts_with('*') && !regions.is_empty()) {
            if asks(state, api, host, &api.context)
                && owner(state, host, &api.context).is_some_and(|owner| owner != organization)
            {
                found.push(format!("{key} {host}{}", api.context));
            }
        }
    }
    found
}

#[derive(Debug, Default)]
struct Played {
    accepted: usize,
    refused: usize,
    owned: usize,
    /// States in which a region sent the requests of a Binding on.
    sent_on: usize,
}

impl Played {
    fn play(&mut self, steps: &[String]) {
        let mut world =
            ground().with("{kind: Environment, name: production, spec: {regions: [eu-west], tunnel: true}}");
        for number in 0..2 {
            for organization in ["one", "two"] {
                world.put(&own(
                    &api("one", "z.example", &format!("/{organization}/{number}")),
                    organization,
                    number,
                ));
            }
        }
        for step in steps {
            let tried = match step.strip_prefix('-') {
                Some(gone) => world.change(vec![delete(gone, false)]),
                None => world.try_put(step),
            };
            match tried {
                Ok(_) => self.accepted += 1,
                Err(problem) => {
                    self.refused += usize::from(
                        problem.remedy.contains("HostGrant") || problem.field.contains("spec.host"),
                    )
                }
            }
            assert_eq!(disputed(&world.state), BTreeSet::new(), "{step}\nof {steps:#?}");
            assert_eq!(inside(&world.state), [""; 0], "{step}\nof {steps:#?}");
            let all =
                world.state.list(Kind::Binding, None).filter_map(|binding| world.state.serving(&binding.key));
            self.sent_on += usize::from(all.into_iter().any(|serving| !serving.sent_on_from.is_empty()));
            for binding in world.state.list(Kind::Binding, None) {
                for warning in world.state.warnings(&binding.key, None) {
                    assert!(!warning.detail.contains("no HostGrant says"), "{warning:?}");
                    self.owned += usize::from(warning.detail.contains("belong to others"));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::fixture::proptest_config())]

    #[test]
    fn no_request_comes_to_have_two_askers_and_no_owner(steps in prop::collection::vec(step(), 1..40)) {
        Played::default().play(&steps);
    }
}

#[test]
fn the_random_changes_do_something() {
    let mut runner = TestRunner::deterministic();
    let mut played = Played::default();
    for _ in 0..24 {
        let steps = prop::collection::vec(step(), 40).new_tree(&mut runner).unwrap().current();
        played.play(&steps);
    }
    assert!(played.accepted > 200 && played.refused > 60 && played.owned > 20, "{played:?}");
    assert!(played.sent_on > 40, "{played:?}");
}
