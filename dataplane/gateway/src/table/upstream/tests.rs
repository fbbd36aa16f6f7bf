use std::collections::HashMap;

use hanse_proto::runtime;
use hanse_runtime::EndpointUrl;

use super::*;
use crate::testbed::{checked, scope};

fn compile(given: &runtime::Upstream, profiles: &mut ConnectProfiles) -> Upstream {
    Upstream::new(
        &UpstreamId::new(&scope("production"), "upstream/default/a"),
        checked(given.clone()),
        profiles,
    )
}

fn upstream(urls: &[(&str, u32)]) -> runtime::Upstream {
    let endpoint = |(url, weight): &(&str, u32)| EndpointUrl::parse(url).unwrap().to_wire(*weight);
    runtime::Upstream { endpoints: urls.iter().map(endpoint).collect(), ..Default::default() }
}

#[test]
fn endpoints_take_turns_and_keep_their_base_path() {
    let compiled =
        compile(&upstream(&[("http://a:1/base/", 1), ("https://b", 1)]), &mut ConnectProfiles::default());
    let turn = || {
        let endpoint = compiled.pick(&Tried::default()).unwrap();
        (endpoint.scheme.to_string(), endpoint.authority.to_string(), endpoint.base_path.to_string())
    };
    let a = ("http".to_owned(), "a:1".to_owned(), "/base".to_owned());
    let b = ("https".to_owned(), "b".to_owned(), String::new());
    assert_eq!([turn(), turn(), turn()], [a.clone(), b, a]);
}

/// Turns in a row, by host.
fn turns(upstream: &Upstream, count: usize) -> HashMap<String, usize> {
    let mut turns = HashMap::new();
    for _ in 0..count {
        let endpoint = upstream.pick(&Tried::default()).unwrap();
        *turns.entry(endpoint.authority.to_string()).or_default() += 1;
    }
    turns
}

fn counted(turns: &[(&str, usize)]) -> HashMap<String, usize> {
    turns.iter().map(|(host, count)| ((*host).to_owned(), *count)).collect()
}

fn fail(upstream: &Upstream, place: usize, times: usize) -> bool {
    let endpoint = &upstream.endpoints[place];
    (0..times).fold(false, |ejected, _| ejected | upstream.failed(endpoint, Failure::Connect))
}

#[test]
fn turns_of_one_that_is_out_go_to_the_others_by_weight() {
    let given = upstream(&[("http://a", 1), ("http://b", 2), ("http://c", 1), ("http://d", 0)]);
    let compiled = compile(&given, &mut ConnectProfiles::default());
    assert_eq!(turns(&compiled, 400), counted(&[("a", 100), ("b", 200), ("c", 100)]));
    assert!(!fail(&compiled, 2, 4) && fail(&compiled, 2, 1));
    // 300 turns of its own, and 100 of the other's, as 1 to 2.
    let after = turns(&compiled, 300);
    assert_eq!(after, counted(&[("a", 100), ("b", 200)]));
}

#[test]
fn never_more_than_the_share_is_ejected_and_never_the_only_one() {
    let given = upstream(&[("http://a", 1), ("http://b", 1), ("http://c", 1)]);
    let compiled = compile(&given, &mut ConnectProfiles::default());
    assert!(fail(&compiled, 0, 5) && !fail(&compiled, 1, 50) && !fail(&compiled, 2, 50));
    assert_eq!(turns(&compiled, 100), counted(&[("b", 50), ("c", 50)]));

    let alone = upstream(&[("http://a", 1), ("http://b", 0)]);
    let alone = compile(&alone, &mut ConnectProfiles::default());
    assert!(!fail(&alone, 0, 50));

    let all = runtime::Ejection { consecutive_failures: 1, base_time_ms: 60_000, max_ejected_percent: 100 };
    let given = runtime::Upstream { ejection: Some(all), ..given };
    let compiled = compile(&given, &mut ConnectProfiles::default());
    assert!((0..3).all(|place| fail(&compiled, place, 1)));
    // All look bad, so all are used.
    assert_eq!(turns(&compiled, 90), counted(&[("a", 30), ("b", 30), ("c", 30)]));
}

#[test]
fn another_try_goes_elsewhere_while_there_is_an_elsewhere() {
    let given = upstream(&[("http://a", 1), ("http://b", 1), ("http://c", 1)]);
    let compiled = compile(&given, &mut ConnectProfiles::default());
    assert!(fail(&compiled, 1, 5));
    let mut tried = Tried::default();
    let mut places = Vec::new();
    for others in [true, true, true, false] {
        assert_eq!(compiled.has_others(&tried), others);
        let endpoint = compiled.pick(&tried).unwrap();
        tried.add(endpoint);
        places.push(endpoint.place);
    }
    // The one that is out comes last, and only then one for the second time.
    assert_eq!(places[..3], [0, 2, 1]);
}

/// Picks until there is nowhere to go, and passes over what is denied. The places, and how often a request was sent.
fn passing_over(upstream: &Upstream, tried: &mut Tried, denied: &[u16]) -> Vec<u16> {
    let mut places = Vec::new();
    while let Some(endpoint) = upstream.pick(tried) {
        tried.add(endpoint);
        places.push(endpoint.place);
        if !denied.contains(&endpoint.place) {
            break;
        }
        tried.pass_over(endpoint);
        endpoint.health.denied(millis(Instant::now()));
    }
    places
}

#[test]
fn a_request_passes_a_denied_endpoint_over_once_and_the_next_ones_avoid_it() {
    let urls: Vec<String> = (0..20).map(|number| format!("http://a{number}")).collect();
    let given = upstream(&urls.iter().map(|url| (url.as_str(), 1)).collect::<Vec<_>>());
    let compiled = compile(&given, &mut ConnectProfiles::default());
    let denied: Vec<u16> = (0..15).collect();
    let mut met = Vec::new();
    for _ in 0..40 {
        let mut tried = Tried::default();
        for _ in 0..3 {
            let mut places = passing_over(&compiled, &mut tried, &denied);
            let allowed = places.pop().unwrap();
            assert!(allowed >= 15, "{places:?}");
            met.extend(places);
        }
        assert_eq!(tried.sent(), 3);
    }
    // More than a request may try, and each once for all requests of this moment.
    assert!(met.len() > 6, "{met:?}");
    met.sort_unstable();
    assert!(met.windows(2).all(|pair| pair[0] < pair[1]), "{met:?}");
}

#[test]
fn a_retry_that_finds_only_denied_endpoints_goes_where_it_was_before() {
    let given = upstream(&[("http://a", 1), ("http://b", 1)]);
    let compiled = compile(&given, &mut ConnectProfiles::default());
    let mut tried = Tried::default();
    let first = compiled.pick(&tried).unwrap().place;
    tried.add(&compiled.endpoints[usize::from(first)]);
    let other = 1 - first;
    assert!(compiled.has_others(&tried));
    assert_eq!(passing_over(&compiled, &mut tried, &[other]), [other, first]);
    assert_eq!(tried.sent(), 2);
    assert!(!compiled.has_others(&tried), "a denied one is no other");
}

#[test]
fn where_all_are_denied_a_request_asks_one_that_is_known_to_be() {
    for urls in [&[("http://a", 1)][..], &[("http://a", 1), ("http://b", 1), ("http://c", 1)]] {
        let compiled = compile(&upstream(urls), &mut ConnectProfiles::default());
        let asked = || passing_over(&compiled, &mut Tried::default(), &[0, 1, 2]).len();
        assert_eq!(asked(), urls.len(), "nothing is known yet");
        assert_eq!(asked(), 1);
    }
}

#[test]
fn an_endpoint_keeps_its_health_while_anything_names_it_alike() {
    let mut profiles = ConnectProfiles::default();
    let given = upstream(&[("http://a", 1), ("http://b", 1)]);
    let before = compile(&given, &mut profiles);
    assert!(fail(&before, 0, 5));
    let changed = runtime::Upstream { timeout_ms: 7, ..given.clone() };
    let after = compile(&changed, &mut profiles);
    assert!(Arc::ptr_eq(&before.endpoints[0].health, &after.endpoints[0].health));
    assert_eq!(turns(&after, 10), counted(&[("b", 10)]));
    let check = runtime::HealthCheck {
        path: "/".to_owned(),
        interval_ms: 1_000,
        timeout_ms: 1_000,
        unhealthy_after: 1,
        healthy_after: 1,
        expect_status: 0,
    };
    let other = runtime::Upstream { health_check: Some(check), ..given.clone() };
    let other = compile(&other, &mut profiles);
    assert!(!Arc::ptr_eq(&before.endpoints[0].health, &other.endpoints[0].health));
    drop((before, after, other));
    assert!(compile(&given, &mut profiles).endpoints[0].health.is_in());
}

#[test]
fn the_budget_and_the_turns_go_on_through_changes() {
    let mut profiles = ConnectProfiles::default();
    let given = upstream(&[("http://a", 1), ("http://b", 1), ("http://c", 1)]);
    let mut make = |key: &str, timeout_ms: u64| {
        let id = UpstreamId::new(&scope("production"), key);
        let given = runtime::Upstream { timeout_ms, ..given.clone() };
        Upstream::new(&id, checked(given), &mut profiles)
    };
    let granted = |upstream: &Upstream| (0..10_000).filter(|_| upstream.budget().take(0, 1)).count();
    let mut current = make("upstream/default/orders-r1/backend", 0);
    let mut places = Vec::new();
    let mut spent = 0;
    for change in 1..=6 {
        places.push(current.pick(&Tried::default()).unwrap().place);
        spent += granted(&current);
        current = make(&format!("upstream/default/orders-r{change}/backend"), change);
    }
    assert_eq!(places, [0, 1, 2, 0, 1, 2]);
    let other = make("upstream/default/other", 0);
    assert_eq!(spent, granted(&other), "what one has once");
    assert_eq!(other.pick(&Tried::default()).unwrap().place, 0);
}

#[test]
fn what_one_upstream_finds_of_an_address_is_not_taken_for_anothers() {
    let mut profiles = ConnectProfiles::default();
    let mut health_of = |key: &str, environment: &str| {
        let id = UpstreamId::new(&scope(environment), key);
        let compiled = Upstream::new(&id, checked(upstream(&[("http://a:1", 1)])), &mut profiles);
        let health = compiled.pick(&Tried::default()).unwrap().health.clone();
        (health.id, compiled)
    };
    let (own, _held) = health_of("upstream/shop/a-r1/backend", "production");
    let (next, _held) = health_of("upstream/shop/a-r2/backend", "production");
    assert_eq!(own, next, "through the revisions of its Api it is the same");
    for (key, environment) in
        [("upstream/toys/a-r1/backend", "production"), ("upstream/shop/a-r1/backend", "sandbox")]
    {
        let (other, _held) = health_of(key, environment);
        assert_ne!(own, other, "{key} in {environment}");
    }
}
