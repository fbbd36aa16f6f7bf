use hanse_proto::{
    places::{self, Place},
    sync::Health,
};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn place(region: &str, environment: &str, health: Health) -> Place {
    let (region, environment) = (name(region), name(environment));
    let (addresses, tunnels) = (vec!["192.0.2.7".parse().unwrap()], Vec::new());
    Place { region, environment, health, age: Duration::ZERO, addresses, tunnels, left_out: 0 }
}

fn scope(text: &str) -> ScopeId {
    text.parse().unwrap()
}

/// The rows of the messages: region, environment, age.
fn said(messages: Vec<Places>) -> Vec<String> {
    let rows = messages.into_iter().flat_map(|message| message.rows);
    rows.map(|row| format!("{} {} {} ms", row.region, row.environment, row.age_ms)).collect()
}

#[test]
fn changes_are_told_at_once_and_all_is_repeated() {
    let start = Instant::now();
    let after = |ms| start + Duration::from_millis(ms);
    let kept = KeptPlaces::started_at(start);
    let mut teller = PlacesTeller::new(kept.clone());
    teller.limit(Learns::All);
    assert_eq!(teller.next(start), [], "one that knows nothing says nothing");
    kept.take_own([place("eu", "production", Health::Up), place("us", "production", Health::Up)], start);
    assert_eq!(said(teller.next(after(10))), ["eu production 10 ms", "us production 10 ms"]);
    kept.take_own(
        [place("eu", "production", Health::Up), place("us", "production", Health::Down)],
        after(1_000),
    );
    assert_eq!(said(teller.next(after(1_001))), ["us production 1 ms"], "an age alone is no change");
    assert_eq!(teller.next(after(1_002)), []);
    assert_eq!(teller.due(), Some(after(5_000)));
    assert_eq!(said(teller.next(after(5_000))), ["eu production 4000 ms", "us production 4000 ms"]);
}

#[test]
fn a_subscriber_is_told_of_environments_that_it_may_learn() {
    let start = Instant::now();
    let kept = KeptPlaces::started_at(start);
    kept.take_own([place("eu", "production", Health::Up), place("eu", "sandbox", Health::Up)], start);
    let check = |offered: &[&str], expected: &[&str]| {
        let mut teller = PlacesTeller::new(kept.clone());
        let offered: Vec<_> = offered.iter().map(|text| scope(text)).collect();
        teller.limit(Learns::of(&offered));
        assert_eq!(said(teller.next(start)), expected, "{offered:?}");
    };
    check(&[], &[]);
    check(&["agents/us"], &[]);
    check(&["runtime/us/sandbox"], &["eu sandbox 0 ms"]);
    check(&["dns/us"], &["eu production 0 ms", "eu sandbox 0 ms"]);
    let mut teller = PlacesTeller::new(kept.clone());
    assert_eq!(teller.next(start), [Places::default()], "this publisher is heard, and has none of its rows");
    teller.limit(Learns::All);
    assert_eq!(said(teller.next(start)).len(), 2, "at once");
    teller.limit(Learns::All);
    assert_eq!(teller.next(start), []);
}

#[test]
fn many_and_large_rows_go_into_several_messages() {
    let start = Instant::now();
    let kept = KeptPlaces::started_at(start);
    let label = "x".repeat(60);
    let tunnel = |n: usize| format!("{label}.{label}.{label}.{n:04}.example:7447");
    let rows = (0..1_000).map(|n| {
        let tunnels = (0..8).map(tunnel).collect();
        Place { tunnels, ..place(&format!("region-{n:04}"), "production", Health::Up) }
    });
    kept.take_own(rows, start);
    let mut teller = PlacesTeller::new(kept);
    teller.limit(Learns::All);
    let messages = teller.next(start);
    assert!(messages.len() > 1);
    let read: usize =
        messages.into_iter().map(|message| places::read(message).unwrap().map(Result::unwrap).count()).sum();
    assert_eq!(read, 1_000);
}
