use hanse_proto::{nested, sync::Traffic};

use super::*;

const HOST: &str = "orders.example.com";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn agent(region: &str, agent: &str) -> AgentKey {
    (name(region), agent.to_owned())
}

fn row(host: &str, requests: u64) -> TrafficRow {
    TrafficRow { environment: "production".into(), host: host.into(), requests }
}

fn said(rows: Vec<TrafficRow>) -> Bytes {
    nested::to_bytes(&Traffic { rows })
}

/// What agents say: when, in seconds, who, and how many requests per second.
fn loads(start: Instant, words: &[(u64, &str, &str, u64)]) -> Loads {
    let mut loads = Loads::default();
    for (at, region, of, per_second) in words {
        let said = said(vec![row(HOST, per_second * TRAFFIC_SPAN.as_secs())]);
        loads.learn(&agent(region, of), &said, start + Duration::from_secs(*at));
    }
    loads
}

/// The greatest load and its age in seconds, of eu and us.
#[track_caller]
fn check(words: &[(u64, &str, &str, u64)], at: u64, expected: Option<(u64, u64)>) {
    let start = Instant::now() + 2 * SPAN;
    let needed = [name("eu"), name("us")];
    let found = loads(start, words).greatest(start + Duration::from_secs(at), &needed, |_, _| true);
    assert_eq!(found.map(|load| (load.value, load.age.as_secs())), expected);
}

#[test]
fn the_greatest_sum_of_the_last_minute_counts() {
    check(&[(0, "eu", "a", 600), (0, "us", "a", 100)], 0, Some((700, 0)));
    // Clients that move count once, whichever region says so first in that moment.
    let moved = [(0, "eu", "a", 600), (0, "us", "a", 0), (20, "eu", "a", 0), (20, "us", "a", 600)];
    check(&moved, 21, Some((600, 1)));
    let half = [(0, "eu", "a", 600), (0, "us", "a", 0), (20, "us", "a", 300), (20, "eu", "a", 300)];
    check(&half, 21, Some((600, 1)));
    // A peak counts for a minute from its end on.
    let peak = [(0, "us", "a", 0), (0, "eu", "a", 900), (10, "eu", "a", 100)];
    check(&peak, 69, Some((900, 69)));
    check(&peak, 71, Some((100, 71)));
}

#[test]
fn what_was_never_heard_is_none() {
    check(&[], 0, None);
    check(&[(0, "eu", "a", 600)], 0, None);
    check(&[(0, "eu", "a", 600), (0, "us", "a", 0)], 0, Some((600, 0)));
}

#[test]
fn a_lost_region_counts_as_it_last_reported() {
    let words = [(0, "eu", "a", 600), (0, "us", "a", 100), (3_000, "us", "a", 40)];
    check(&words, 3_000, Some((700, 3_000)));
    check(&words, 3_100, Some((640, 3_100)));
}

#[test]
fn an_agent_that_is_silent_while_its_region_is_heard_counts_until_its_lease_ends() {
    // Its gateways went to b, which says their requests now.
    let words = [(0, "us", "a", 0), (0, "eu", "a", 600), (100, "eu", "b", 600)];
    check(&words, 100, Some((600, 100)));
    let both = [(0, "us", "a", 0), (0, "eu", "a", 600), (10, "eu", "b", 500)];
    check(&both, 10, Some((1_100, 10)));
}

#[test]
fn an_older_word_changes_nothing() {
    let (now, eu) = (Instant::now() + SPAN, agent("eu", "a"));
    let mut loads = Loads::default();
    loads.learn(&eu, &said(vec![row(HOST, 100)]), now);
    loads.learn(&eu, &said(vec![row(HOST, 900)]), now.checked_sub(Duration::from_secs(30)).unwrap());
    assert_eq!(loads.greatest(now, &[name("eu")], |_, _| true).unwrap().value, 10);
    loads.retain(|agent| agent.1 == "b");
    assert_eq!(loads.greatest(now, &[name("eu")], |_, _| true), None);
}

/// New rows each second, with more hosts than a Traffic names.
#[test]
fn what_a_hostile_agent_says_is_bounded() {
    let (start, eu) = (Instant::now(), agent("eu", "a"));
    let mut loads = Loads::default();
    let second = |at: u64| {
        let rows = (0..4_096_u64).map(|host| row(&format!("{host}"), 1 + at % 2)).collect();
        (said(rows), start + Duration::from_secs(at))
    };
    for at in 0..300 {
        let (said, at) = second(at);
        assert!(said.len() > hanse_link::MAX_TRAFFIC_BYTES, "no link takes it");
        loads.learn(&eu, &said, at);
    }
    for at in 300..600 {
        let rows = (0..1_000_u64).map(|host| row(&format!("{host}"), 1 + at % 2)).collect();
        let said = said(rows);
        assert!(said.len() <= hanse_link::MAX_TRAFFIC_BYTES);
        loads.learn(&eu, &said, start + Duration::from_secs(at));
    }
    let load = &loads.0[&eu];
    assert!(load.samples.len() <= 14, "{}", load.samples.len());
    assert!(load.samples.iter().all(|sample| sample.rows.len() <= 257));
    let now = start + Duration::from_secs(600);
    assert_eq!(loads.greatest(now, &[name("eu")], |_, _| true).unwrap().value, 200, "nothing is lost");
}
