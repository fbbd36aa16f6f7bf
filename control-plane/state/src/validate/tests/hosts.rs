//! Two Organizations, and whose requests are whose.

mod random;

use crate::{
    Change, CommandBody, State,
    fixture::{World, changes, delete, key},
};

/// Two Organizations with an Upstream each, in one region and one Environment.
const GROUND: &str = "
{kind: Organization, name: one}
---
{kind: Organization, name: two}
---
{kind: Region, name: eu-west}
---
{kind: Region, name: us-east, labels: {tier: edge}}
---
{kind: Environment, name: production, spec: {regions: [eu-west]}}
---
{kind: Environment, name: sandbox, spec: {regions: [eu-west]}}
---
{kind: Upstream, organization: one, name: u, spec: {endpoints: [{url: 'http://one'}]}}
---
{kind: Upstream, organization: two, name: u, spec: {endpoints: [{url: 'http://two'}]}}
";

fn ground() -> World {
    World::empty().with(GROUND)
}

/// An Api of an Organization and its Binding; `host` `*` is any host.
fn bound(organization: &str, host: &str, context: &str) -> String {
    api(organization, host, context)
        + &format!(
            "\n---\n{{kind: Binding, organization: {organization}, name: b, spec: {{api: a, environment: production}}}}"
        )
}

fn api(organization: &str, host: &str, context: &str) -> String {
    let hosts = if host == "*" { "[]".to_owned() } else { format!("['{host}']") };
    format!(
        "{{kind: Api, organization: {organization}, name: a, spec: {{context: {context}, version: '1', hosts: {hosts}, upstream: u, operations: []}}}}"
    )
}

fn grant(name: &str, host: &str, prefix: &str, organization: &str) -> String {
    format!(
        "{{kind: HostGrant, name: {name}, spec: {{environments: [production], host: '{host}', pathPrefix: {prefix}, organization: {organization}}}}}"
    )
}

/// Applies with `--force-grants`.
fn forced(world: &World, changes: Vec<Change>) -> Result<State, String> {
    let mut state = world.state.clone();
    let command = crate::Command {
        actor: "tester".into(),
        request_id: "r".into(),
        time_ms: world.now_ms,
        idempotency_key: None,
        only_in_term: None,
        force_grants: true,
        origin: crate::Origin::default(),
        body: CommandBody::Apply(changes),
    };
    match state.apply(&command) {
        crate::Outcome::Accepted(_) => Ok(state),
        crate::Outcome::Rejected(problem) => Err(problem.to_string()),
    }
}

fn told(state: &State, of: &str) -> Vec<String> {
    state
        .warnings(&key(of), None)
        .iter()
        .map(|warning| format!("{}: {}", warning.field, warning.detail))
        .collect()
}

const HOSTS: [&str; 5] = ["*", "*.example", "a.example", "*.a.example", "b.example"];
const CONTEXTS: [&str; 5] = ["/", "/x", "/x/sec", "/xy", "/z"];

/// Whether two hosts meet, by a list.
fn hosts_meet(one: &str, other: &str) -> bool {
    one == other
        || one == "*"
        || other == "*"
        || [("*.example", "a.example"), ("*.example", "*.a.example"), ("*.example", "b.example")]
            .iter()
            .any(|pair| *pair == (one, other) || *pair == (other, one))
}

fn contexts_meet(one: &str, other: &str) -> bool {
    let slash = |context: &str| format!("{}/", context.trim_end_matches('/'));
    slash(one).starts_with(&slash(other)) || slash(other).starts_with(&slash(one))
}

#[test]
fn without_grants_what_meets_is_refused_in_both_orders() {
    let mut refused = 0;
    for (host, other_host) in pairs(&HOSTS) {
        for (context, other_context) in pairs(&CONTEXTS) {
            let meet = hosts_meet(host, other_host) && contexts_meet(context, other_context);
            refused += usize::from(meet);
            let (one, two) = (bound("one", host, context), bound("two", other_host, other_context));
            for (first, second, name) in [(&one, &two, "two"), (&two, &one, "one")] {
                let world = ground().with(first);
                let case = format!("{host}{context} and {other_host}{other_context}, {name} last");
                match world.clone().try_put(second) {
                    Ok(_) => assert!(!meet, "{case}"),
                    Err(problem) => {
                        assert!(meet, "{case}: {problem}");
                        assert_eq!(problem.field, format!("Binding {name}/b: spec.environment"), "{case}");
                        for said in ["Binding one/b", "Binding two/b"] {
                            assert!(problem.detail.contains(said), "{case}: {problem}");
                        }
                        assert!(problem.remedy.contains("HostGrant"), "{problem}");
                    }
                }
                // Both at once are the same.
                assert_eq!(ground().try_put(&format!("{first}\n---\n{second}")).is_err(), meet, "{case}");
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Every pair of one list.
fn pairs(of: &'static [&'static str]) -> impl Iterator<Item = (&'static str, &'static str)> {
    of.iter().flat_map(move |one| of.iter().map(move |other| (*one, *other)))
}

/// Organization `one` owns some host; `two` asks for the same or less, or around it.
#[test]
fn a_binding_inside_the_grant_of_another_is_refused_with_the_owner() {
    let world = ground().with(&grant("g", "*.example", "/x", "one"));
    let refused = |host: &str, context: &str| {
        let problem = world.clone().try_put(&bound("two", host, context)).err()?;
        assert!(
            problem.detail.ends_with("in Environment production belong to Organization one (HostGrant g)"),
            "{problem}"
        );
        Some(problem.field)
    };
    for (host, context) in [("a.example", "/x"), ("*.example", "/x"), ("*.a.example", "/x/sec")] {
        assert_eq!(
            refused(host, context).as_deref(),
            Some("Binding two/b: spec.environment"),
            "{host}{context}"
        );
    }
    for (host, context) in
        [("*", "/x"), ("*", "/"), ("*.example", "/"), ("a.example", "/xy"), ("a.other", "/x")]
    {
        assert_eq!(refused(host, context), None, "{host}{context}");
    }
    // One host of several is enough.
    let several = bound("two", "*", "/x").replace("hosts: []", "hosts: [a.other, a.example]");
    world.check(
        &several,
        "Binding two/b: spec.environment: requests to a.example/x in Environment production belong to",
    );
    // The owner may do all of it, and around it, too.
    for (host, context) in [("a.example", "/x"), ("*", "/"), ("*.example", "/x/sec")] {
        world.clone().put(&bound("one", host, context));
    }
    // It holds in its Environments only.
    world
        .clone()
        .put(&bound("two", "a.example", "/x").replace("environment: production", "environment: sandbox"));
}

#[test]
fn an_own_grant_inside_that_of_another_opens_it() {
    let world =
        ground().with(&grant("g", "*.example", "/", "one")).with(&grant("h", "a.example", "/x", "two"));
    world.clone().put(&bound("two", "a.example", "/x/sec"));
    world
        .check(&bound("two", "a.example", "/"), "Binding two/b: spec.environment: requests to a.example/ in");
    world.check(
        &bound("one", "a.example", "/x"),
        "Binding one/b: spec.environment: requests to a.example/x in",
    );
    world.clone().put(&bound("one", "a.example", "/"));
    let mut world = world.with(&bound("two", "a.example", "/x"));
    // Without its grant, the Binding is inside that of the other Organization.
    let problem = world.delete("HostGrant h", false).unwrap_err();
    assert_eq!(
        problem.to_string().split(" (").next().unwrap(),
        "HostGrant h: spec.host: requests to a.example/x in Environment production would belong to Organization one, and \
         Binding two/b asks for nothing else"
    );
}

/// A grant that owns what both ask for is all they need.
#[test]
fn with_grants_what_meets_is_refused_or_owned() {
    let mut accepted = 0;
    for (host, other_host) in pairs(&HOSTS) {
        for (context, other_context) in pairs(&CONTEXTS[..3]) {
            for (grant_host, prefix) in
                [("a.example", "/"), ("a.example", "/x"), ("*.example", "/"), ("*.example", "/x")]
            {
                let (one, two) = (bound("one", host, context), bound("two", other_host, other_context));
                let granted = ground().with(&grant("g", grant_host, prefix, "one"));
                let case =
                    format!("{host}{context} and {other_host}{other_context}, {grant_host}{prefix} granted");
                let outcomes = [(&one, &two), (&two, &one)].map(|(first, second)| {
                    let mut world = granted.clone();
                    world.try_put(first).and_then(|_| world.try_put(second)).map(|_| world.state)
                });
                let may = may_stand((host, context), (other_host, other_context), (grant_host, prefix));
                for (outcome, order) in outcomes.iter().zip(["one first", "two first"]) {
                    assert_eq!(outcome.is_ok(), may, "{case}, {order}: {:?}", outcome.as_ref().err());
                }
                // The grant between the two: by force, for it may take a part of the Binding of `two`.
                for (first, second) in [(&one, &two), (&two, &one)] {
                    let world = ground().with(first);
                    let granted = forced(&world, changes(&grant("g", grant_host, prefix, "one")));
                    let both = granted.ok().map(|state| World { state, ..world }.try_put(second).is_ok());
                    assert_eq!(both == Some(true), may, "{case}, {first} before the grant");
                }
                let meet = hosts_meet(host, other_host) && contexts_meet(context, other_context);
                if !meet {
                    continue;
                }
                // Of any host there is always a host that is not granted.
                let wide = host == "*" && other_host == "*";
                if let Ok(state) = &outcomes[0] {
                    accepted += 1;
                    assert!(!wide, "{case}");
                    let told = told(state, "Binding two/b");
                    assert!(told.iter().any(|told| told.contains("belong to others")), "{case}: {told:?}");
                }
            }
        }
    }
    assert!(accepted > 20, "{accepted}");
}

/// Some hosts of each kind, with those that patterns of these tests tell apart.
const ASKED: [&str; 5] = ["a.example", "b.example", "c.a.example", "example", "other"];

/// Whether a host and context ask for a request.
fn asks(of: (&str, &str), host: &str, path: &str) -> bool {
    let is_host = match of.0.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => host == of.0,
    };
    is_host && contexts_meet(of.1, path) && path.len() >= of.1.len()
}

/// Whether Bindings of `one` and `two` may both be there, by the requests one at a time. `one` has the only grant.
fn may_stand(one: (&str, &str), two: (&str, &str), grant: (&str, &str)) -> bool {
    let paths = ["/", "/x", "/x/sec", "/x/sec/deep"];
    let requests = || ASKED.into_iter().flat_map(|host| paths.into_iter().map(move |path| (host, path)));
    let is_disputed = requests()
        .any(|(host, path)| asks(one, host, path) && asks(two, host, path) && !asks(grant, host, path));
    let mut of_two = requests().filter(|(host, path)| asks(two, host, path));
    !is_disputed && of_two.any(|(host, path)| !asks(grant, host, path))
}

#[test]
fn a_grant_takes_no_binding_whole_and_parts_only_by_force() {
    let world = ground().with(&bound("two", "a.example", "/x"));
    for (host, prefix) in [("a.example", "/"), ("a.example", "/x"), ("*.example", "/")] {
        let yaml = grant("g", host, prefix, "one");
        world.check(
            &yaml,
            "HostGrant g: spec.host: requests to a.example/x in Environment production would belong to",
        );
        assert!(forced(&world, changes(&yaml)).unwrap_err().contains("Binding two/b asks for nothing else"));
    }
    let part = grant("g", "a.example", "/x/sec", "one");
    world.check(
        &part,
        "HostGrant g: spec.host: Binding two/b would lose its requests to a.example/x/sec in Environment production, which would \
         belong to Organization one (to accept this, add --force-grants, or ?forceGrants=true)",
    );
    let state = forced(&world, changes(&part)).unwrap();
    let lost =
        "spec.environment: does not get requests that belong to others: a.example/x/sec of Organization one";
    assert_eq!(told(&state, "Binding two/b"), [lost]);
    assert_eq!(
        told(&state, "HostGrant g"),
        ["spec.host: takes requests from Binding two/b to a.example/x/sec in Environment production"]
    );
    // What is lost already is not lost again.
    let mut world = World { state, ..world };
    world.put(&grant("h", "a.example", "/x/sec/deep", "one"));
    // Its own Organization loses nothing.
    ground().with(&bound("one", "a.example", "/x")).put(&grant("g", "a.example", "/x/sec", "one"));
    // A Binding that is not served is none.
    let unserved =
        bound("two", "a.example", "/x").replace("version: '1'", "version: '1', lifecycle: created");
    let mut world = ground().with(&unserved);
    world.put(&grant("g", "a.example", "/", "one"));
    world.check(&api("two", "a.example", "/x"), "Binding two/b: spec.environment: requests to a.example/x");
}

#[test]
fn an_api_of_any_host_holds_no_host_back() {
    let world = ground().with(&bound("two", "*", "/"));
    let yaml = grant("g", "a.example", "/", "one");
    world.check(&yaml, "HostGrant g: spec.host: Binding two/b would lose its requests to a.example/ in");
    let state = forced(&world, changes(&yaml)).unwrap();
    let mut world = World { state, ..world };
    world.put(&bound("one", "a.example", "/sec"));
    // Of an Environment with hostnames, at least one stays its own.
    world.put("{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: [a.example, b.example]}}");
    world.check(
        "{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: [a.example]}}",
        "Environment production: spec.hostnames: requests to a.example/ in Environment production would belong to \
         Organization one, and Binding two/b asks for nothing else",
    );
}

#[test]
fn many_are_named_by_five() {
    let mut world = ground();
    for number in 0..7 {
        let yaml = bound("two", "a.example", &format!("/x/{number}"));
        world.put(
            &yaml
                .replace("name: a,", &format!("name: a{number},"))
                .replace("api: a,", &format!("api: a{number},"))
                .replace("name: b,", &format!("name: b{number},")),
        );
    }
    world.check(
        &grant("g", "a.example", "/", "one"),
        "HostGrant g: spec.host: requests to a.example/x/0 in Environment production would belong to Organization one, and Binding \
         two/b0 asks for nothing else; the same is true of Binding two/b1, Binding two/b2, Binding two/b3, Binding two/b4 and 2 more",
    );
}

/// Every change that makes two Bindings meet is refused: of an Api, an Environment, a Binding, a Region's label, a grant that goes.
#[test]
fn each_change_that_makes_a_meeting_is_refused() {
    let apart = ground().with(&bound("one", "a.example", "/x")).with(&bound("two", "b.example", "/x/sec"));
    apart.check(&api("two", "*.example", "/x/sec"), "Binding two/b: spec.environment: Binding two/b and Binding one/b both ask for requests to a.example/x/sec");
    apart.check(&api("one", "b.example", "/x"), "Binding one/b: spec.environment: ");
    // An Environment's hosts.
    let hosts = ground()
        .with("{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: [b.example]}}")
        .with(&bound("one", "*", "/x"))
        .with(&bound("two", "a.example", "/x/sec"));
    hosts.check(
        "{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: [b.example, a.example]}}",
        "Binding one/b: spec.environment: Binding one/b and Binding two/b both ask for requests to a.example/x/sec in Environment \
         production, region eu-west",
    );
    // Regions, by name and by label.
    let regions = ground()
        .with("{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}")
        .with(&(api("one", "*", "/x") + "\n---\n{kind: Binding, organization: one, name: b, spec: {api: a, environment: production, regions: {names: [eu-west]}}}"))
        .with(&(api("two", "*", "/x/sec") + "\n---\n{kind: Binding, organization: two, name: b, spec: {api: a, environment: production, regions: {labels: {tier: edge}}}}"));
    regions.check(
        "{kind: Region, name: eu-west, labels: {tier: edge}}",
        "Binding one/b: spec.environment: Binding one/b and Binding two/b both",
    );
    regions.check(
        "{kind: Binding, organization: one, name: b, spec: {api: a, environment: production}}",
        "Binding one/b: spec.environment: Binding one/b and Binding two/b both ask for requests to any host/x/sec in Environment \
         production, region us-east",
    );
    // A Binding of an Api that comes to be served.
    let retired =
        bound("two", "a.example", "/x/sec").replace("version: '1'", "version: '1', lifecycle: retired");
    let retired = ground().with(&bound("one", "a.example", "/x")).with(&retired);
    retired.check(
        &api("two", "a.example", "/x/sec"),
        "Binding two/b: spec.environment: Binding two/b and Binding one/b both",
    );
    // A grant that kept them apart.
    let mut kept = ground()
        .with(&grant("g", "a.example", "/x/sec", "two"))
        .with(&bound("one", "a.example", "/x"))
        .with(&bound("two", "a.example", "/x/sec"));
    let problem = kept.delete("HostGrant g", false).unwrap_err();
    assert!(problem.detail.starts_with("Binding one/b and Binding two/b both ask"), "{problem}");
    assert!(forced(&kept, vec![delete("HostGrant g", false)]).is_ok());
    kept.delete("Binding two/b", false).unwrap();
    kept.delete("HostGrant g", false).unwrap();
}

/// Ownership without a grant ends with the last Binding.
#[test]
fn a_host_is_free_once_its_binding_is_gone() {
    let mut world = ground().with(&bound("one", "a.example", "/"));
    world.check(
        &bound("two", "a.example", "/sec"),
        "Binding two/b: spec.environment: Binding two/b and Binding one/b both",
    );
    world.delete("Binding one/b", false).unwrap();
    world.put(&bound("two", "a.example", "/sec"));
}

fn restored(yaml: &str) -> Vec<Change> {
    changes(yaml)
        .into_iter()
        .map(|change| {
            let crate::Action::Put { labels, spec, .. } = change.action else { panic!() };
            let restored = hanse_management::manifest::Restored::default();
            Change { action: crate::Action::Restore { labels, spec, protected: false, restored }, ..change }
        })
        .collect()
}

/// A meeting that exists stays served, is told of, and blocks nothing but more of it.
#[test]
fn a_meeting_of_a_dump_comes_back_by_force_and_blocks_nothing() {
    let world = ground().with(&bound("one", "a.example", "/x")).with(&api("two", "a.example", "/x/sec"));
    let binding = "{kind: Binding, organization: two, name: b, spec: {api: a, environment: production}}";
    world.check(binding, "Binding two/b: spec.environment: ");
    assert!(world.clone().change(restored(binding)).is_err(), "not without force");
    assert_eq!(forced(&world, changes(binding)).unwrap().warnings(&key("Binding two/b"), None).len(), 1);
    let state = forced(&world, restored(binding)).unwrap();
    let mut world = World { state, ..world };
    for (own, other) in [("one", "two"), ("two", "one")] {
        assert_eq!(
            told(&world.state, &format!("Binding {own}/b")),
            [format!(
                "spec.environment: asks for requests to a.example/x/sec as does Binding {other}/b, and no HostGrant says whose they \
                 are: the Api with the most special host gets a request, then the one with the longest context"
            )]
        );
    }
    // Other changes of what meets pass.
    world.put(&api("two", "a.example", "/x/sec").replace("version: '1'", "version: '2'"));
    world.put(&api("one", "a.example", "/x").replace("version: '1'", "version: '2'"));
    world.put("{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: [a.example, c.example]}}");
    // Less of it, too; more is refused.
    world.put(&api("two", "a.example", "/x/sec/deep"));
    world.check(&api("two", "a.example", "/x/sec"), "Binding two/b: spec.environment: ");
    world.check(
        "{kind: Environment, name: production, spec: {regions: [eu-west, us-east], hostnames: [a.example, c.example]}}",
        "Binding one/b: spec.environment: Binding one/b and Binding two/b both ask for requests to a.example/x/sec/deep in \
         Environment production, region us-east",
    );
    // A grant settles it: to the one with the longer context the other loses a part.
    let settled = grant("g", "a.example", "/x/sec", "two");
    world.check(
        &settled,
        "HostGrant g: spec.host: Binding one/b would lose its requests to a.example/x/sec in",
    );
    let state = forced(&world, changes(&settled)).unwrap();
    assert_eq!(told(&state, "Binding two/b"), [""; 0]);
}

#[test]
fn two_grants_of_one_place_are_refused() {
    let world = ground().with(&grant("g", "a.example", "/x", "one"));
    world.check(
        &grant("h", "a.example", "/x", "one"),
        "HostGrant h: spec.host: HostGrant g grants a.example with the path /x in Environment production already",
    );
    world.check(&grant("h", "a.example", "/x", "two"), "HostGrant h: spec.host: HostGrant g grants");
    world.clone().put(&grant("h", "a.example", "/x", "two").replace("[production]", "[sandbox]"));
    world.clone().put(&grant("h", "a.example", "/x/y", "two"));
    world.check(
        &grant("h", "a.example", "/x", "nobody"),
        "HostGrant h: spec.organization: Organization nobody does not exist",
    );
}

#[test]
fn an_environment_has_so_many_grants() {
    use crate::validate::neighbours::MAX_GRANTS;
    let mut world = ground();
    let all: Vec<String> = (0..MAX_GRANTS)
        .map(|number| grant(&format!("g{number}"), &format!("h{number}.example"), "/", "one"))
        .collect();
    world.put(&all.join("\n---\n"));
    world.check(
        &grant("more", "more.example", "/", "one"),
        "HostGrant more: spec.environments: Environment production would have 1001 HostGrants, more than 1000",
    );
}

/// A delete that takes a grant tells of the Bindings that lose something by it.
#[test]
fn a_delete_tells_of_what_is_lost() {
    let world = ground()
        .with(&grant("wide", "*.example", "/x/sec", "one"))
        .with(&grant("own", "a.example", "/x", "two"))
        .with(&bound("two", "a.example", "/x"));
    let changes = || vec![delete("HostGrant own", false)];
    world.clone().change(changes()).unwrap_err();
    let state = forced(&world, changes()).unwrap();
    let gone =
        crate::ChangeResult { key: key("HostGrant own"), action: crate::ChangeResult::DELETED, revision: 0 };
    let told: Vec<String> = state
        .unserved_after(&world.state, &[gone], 20, None)
        .iter()
        .map(|warning| format!("{}: {}", warning.key, warning.detail))
        .collect();
    assert_eq!(
        told,
        ["Binding two/b: does not get requests that belong to others: a.example/x/sec of Organization one"]
    );
}

/// With many Bindings each looks only at hosts that cover its own. Each pair is found all the same.
#[test]
fn a_meeting_among_many_bindings_is_found() {
    let named = |yaml: String, number: usize| {
        let yaml = yaml.replace("name: a,", &format!("name: a{number},"));
        yaml.replace("name: b,", &format!("name: b{number},")).replace("api: a,", &format!("api: a{number},"))
    };
    let crowd: Vec<String> =
        (0..80).map(|number| named(bound("one", &format!("h{number}.example"), "/x"), number)).collect();
    let environment = |hostnames: &str| {
        format!(
            "{{kind: Environment, name: production, spec: {{regions: [eu-west], hostnames: [{hostnames}]}}}}"
        )
    };
    // Every host with a longer context, and with a shorter one; a wider and a narrower wildcard.
    for (host, context) in [("*", "/x/sec"), ("*", "/"), ("*.h7.example", "/x"), ("h7.example", "/y")] {
        let world = ground()
            .with(&environment("other"))
            .with(&crowd.join("\n---\n"))
            .with(&bound("two", host, context));
        let changed = world.clone().try_put(&environment("other, h7.example"));
        assert_eq!(changed.is_err(), host == "*", "{host}{context}");
        if let Err(problem) = changed {
            assert!(problem.detail.contains("Binding one/b7 and Binding two/b both ask"), "{problem}");
        }
    }
    // A region that the other comes to have.
    let within = |yaml: String, regions: &str| {
        yaml.replace("environment: production", &format!("environment: production, regions: {regions}"))
    };
    let crowd: Vec<String> = crowd.into_iter().map(|yaml| within(yaml, "{names: [us-east]}")).collect();
    let regions = "{kind: Region, name: eu-west, labels: {tier: edge}}\n---\n{kind: Region, name: us-east}\n---\n\
                   {kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}";
    for (host, context, meet) in [
        ("*", "/x/sec", true),
        ("*.example", "/", true),
        ("h7.example", "/x", true),
        ("h7.example", "/xy", false),
    ] {
        let two = within(bound("two", host, context), "{labels: {tier: edge}}");
        let world = ground().with(regions).with(&crowd.join("\n---\n")).with(&two);
        let labelled = world.clone().try_put("{kind: Region, name: us-east, labels: {tier: edge}}");
        assert_eq!(labelled.is_err(), meet, "{host}{context}");
    }
}

/// A Binding of many hosts, of which a grant takes one.
#[test]
fn a_grant_takes_one_listed_host_of_several_by_force() {
    let several = |more: &str| {
        bound("two", "*", "/x").replace("hosts: []", &format!("hosts: [a.example, b.example{more}]"))
    };
    let world = ground().with(&several(""));
    let granted = grant("g", "a.example", "/", "one");
    world.check(&granted, "HostGrant g: spec.host: Binding two/b would lose its requests to a.example/x in");
    let mut world = World { state: forced(&world, changes(&granted)).unwrap(), ..world };
    // What it asks for already blocks no other change. What it comes to ask for does.
    world.put(&several("").replace("version: '1'", "version: '2'"));
    world.put(&several(", c.other"));
    let mut other = world.clone();
    other.put(&grant("h", "d.example", "/", "one"));
    other.check(&several(", d.example"), "Binding two/b: spec.environment: requests to d.example/x in");
    forced(&other, changes(&several(", d.example"))).unwrap();
    // Without the other host nothing is left.
    let only = api("two", "a.example", "/x");
    world.check(
        &only,
        "Binding two/b: spec.environment: requests to a.example/x in Environment production belong to",
    );
    assert!(forced(&world, changes(&only)).is_err());
}

/// A Binding that comes from another Environment, where it asked for the same.
#[test]
fn a_binding_that_moves_to_another_environment_asks_anew() {
    let world = ground().with(&grant("g", "a.example", "/", "one"));
    let two = |environment: &str| {
        bound("two", "a.example", "/x")
            .replace("environment: production", &format!("environment: {environment}"))
    };
    let moved = world.clone().with(&two("sandbox"));
    moved.check(
        &two("production"),
        "Binding two/b: spec.environment: requests to a.example/x in Environment production",
    );
    let several = |environment: &str| two(environment).replace("'a.example'", "a.example, b.example");
    let moved = world.clone().with(&several("sandbox"));
    moved.check(&several("production"), "Binding two/b: spec.environment: requests to a.example/x in");
    // The same for what it meets.
    let met = ground().with(&bound("one", "a.example", "/")).with(&two("sandbox"));
    met.check(
        &two("production"),
        "Binding two/b: spec.environment: Binding two/b and Binding one/b both ask",
    );
}

/// A grant comes with another change of what it takes.
#[test]
fn a_loss_is_found_whatever_else_the_command_changes() {
    let world = ground().with(&bound("two", "a.example", "/x"));
    let granted = grant("g", "a.example", "/x/sec", "one");
    let refusal = "HostGrant g: spec.host: Binding two/b would lose its requests to a.example/x/sec in";
    for more in [
        api("two", "a.example", "/x").replace("version: '1'", "version: '2'"),
        api("two", "*.example", "/x"),
        "{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}".to_owned(),
    ] {
        let both = format!("{granted}\n---\n{more}");
        world.check(&both, refusal);
        forced(&world, changes(&both)).unwrap();
    }
    // A Binding that comes with the grant lost nothing.
    ground().put(&format!("{granted}\n---\n{}", bound("two", "a.example", "/x")));
}

/// What a grant takes may have belonged to others in part only.
#[test]
fn a_loss_is_found_below_what_others_owned() {
    let world = ground()
        .with("{kind: Organization, name: three}")
        .with(&grant("w", "*.example", "/", "three"))
        .with(&grant("o", "*.example", "/x", "two"))
        .with(&bound("two", "*", "/"));
    let granted = grant("g", "a.example", "/", "one");
    world.check(&granted, "HostGrant g: spec.host: Binding two/b would lose its requests to a.example/x in");
    forced(&world, changes(&granted)).unwrap();
}

/// The hosts of an Api are those that its Environment answers to.
#[test]
fn hosts_that_the_environment_does_not_answer_to_do_not_count() {
    let world = |hostnames: &str| {
        ground().with(&format!(
            "{{kind: Environment, name: production, spec: {{regions: [eu-west], hostnames: [{hostnames}]}}}}"
        ))
    };
    let granted = world("a.example").with(&grant("g", "a.example", "/", "one"));
    granted
        .check(&bound("two", "*.example", "/"), "Binding two/b: spec.environment: requests to a.example/ in");
    // Each request of `*.example` has an owner.
    let mut both = world("a.example, b.example")
        .with(&grant("g", "a.example", "/", "one"))
        .with(&grant("h", "b.example", "/", "two"))
        .with(&bound("one", "*.example", "/"));
    both.put(&bound("two", "*.example", "/x"));
    // No request reaches these hosts.
    let mut outside = world("a.example").with(&bound("one", "b.example", "/"));
    outside.put(&bound("two", "b.example", "/x"));
    outside.check(
        "{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: [a.example, b.example]}}",
        "Binding one/b: spec.environment: Binding one/b and Binding two/b both ask for requests to b.example/x",
    );
}

#[test]
fn the_error_is_at_the_grant_that_takes() {
    let world = ground().with(&bound("two", "h7.example", "/x"));
    let all: Vec<String> = (0..9)
        .map(|number| grant(&format!("g{number}"), &format!("h{number}.example"), "/", "one"))
        .collect();
    world.check(&all.join("\n---\n"), "HostGrant g7: spec.host: requests to h7.example/x in");
}

/// A grant that moves takes other requests than before.
#[test]
fn a_grant_that_moves_tells_of_what_its_organization_loses() {
    let world = ground()
        .with(&grant("wide", "*.example", "/x/sec", "one"))
        .with(&grant("own", "a.example", "/x", "two"))
        .with(&bound("two", "a.example", "/x"));
    let state = forced(&world, changes(&grant("own", "a.other", "/x", "two"))).unwrap();
    let moved =
        crate::ChangeResult { key: key("HostGrant own"), action: crate::ChangeResult::UPDATED, revision: 0 };
    let told = state.unserved_after(&world.state, &[moved], 20, None);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].detail.ends_with("belong to others: a.example/x/sec of Organization one"), "{told:?}");
}

#[test]
fn a_grant_of_a_host_that_no_environment_has_is_told() {
    let world = ground()
        .with("{kind: Environment, name: production, spec: {regions: [eu-west], hostnames: ['*.example']}}");
    let of = |host: &str| told(&world.clone().with(&grant("g", host, "/", "one")).state, "HostGrant g");
    assert_eq!(of("a.example"), [""; 0]);
    assert_eq!(
        of("a.exmaple"),
        [
            "spec.environments[0]: Environment production does not answer to a.exmaple: correct the host, or add it to the \
          `hostnames` of the Environment"
        ]
    );
}

/// An Organization does not learn the names of the Bindings of another one.
#[test]
fn bindings_of_others_are_not_named_to_an_organization() {
    use crate::validate::neighbours::shown;
    let two = crate::fixture::name("two");
    assert_eq!(shown(&key("Binding one/b"), Some(&two)), "a Binding of another organization");
    assert_eq!(shown(&key("Binding two/b"), Some(&two)), "Binding two/b");
    assert_eq!(shown(&key("Binding one/b"), None), "Binding one/b");
    let world = ground().with(&bound("one", "a.example", "/x"));
    let state = forced(&world, changes(&bound("two", "a.example", "/x/sec"))).unwrap();
    let told = state.warnings(&key("Binding two/b"), Some(&two));
    assert!(told[0].detail.contains("as does a Binding of another organization,"), "{told:?}");
}
