use hanse_process::bring_back;
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};

use super::*;

const START: Duration = Duration::from_secs(1_000);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn place(region: &str, health: Health, age: u64) -> Place {
    Place {
        region: name(region),
        environment: name("production"),
        health,
        age: Duration::from_secs(age),
        addresses: vec!["192.0.2.7".parse().unwrap()],
        tunnels: vec!["192.0.2.7:7447".to_owned()],
        left_out: 0,
    }
}

/// As a message of a publisher.
fn hear(held: &mut Held, rows: impl IntoIterator<Item = Place>, now: Duration) -> Taken {
    held.hear(now);
    held.take(rows, now)
}

fn known(held: &Held, region: &str) -> Option<(Health, Duration)> {
    held.seen().get(&name("production"))?.get(&name(region)).map(|seen| (seen.health, seen.said))
}

/// A word of one of four regions, and how long it was on its way.
#[derive(Debug, Clone)]
struct Word {
    region: u8,
    said: Duration,
    health: Health,
    address: u8,
    on_its_way: Duration,
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let health = prop::sample::select(vec![Health::Unspecified, Health::Up, Health::Down]);
    let word =
        (0u8..4, 0u64..20, health, 1u8..4, 0u64..20).prop_map(|(region, said, health, address, late)| Word {
            region,
            said: START + Duration::from_secs(said),
            health,
            address,
            on_its_way: Duration::from_secs(late),
        });
    vec(word, 1..12)
}

/// What is known once all words came, in their order.
fn after(words: &[Word]) -> PlacesByEnvironment {
    let mut held = Held::default();
    for word in words {
        let place = Place {
            region: name(&format!("region-{}", word.region)),
            addresses: vec![[192, 0, 2, word.address].into()],
            ..place("any", word.health, 0)
        };
        held.take([Place { age: word.on_its_way, ..place }], word.said + word.on_its_way);
    }
    held.seen()
}

/// Words come by several ways, some twice and some late.
fn the_youngest_word_counts_in_any_order() -> Result<(), String> {
    let orders = words().prop_flat_map(|words| (Just(words.clone()), Just(words).prop_shuffle()));
    TestRunner::deterministic()
        .run(&orders, |(words, other)| {
            let known = after(&words);
            prop_assert_eq!(&known, &after(&other));
            prop_assert_eq!(&known, &after(&[&words[..], &other[..]].concat()));
            for word in &words {
                let held = &known[&name("production")][&name(&format!("region-{}", word.region))];
                prop_assert!(held.said >= word.said);
            }
            Ok(())
        })
        .map_err(|error| error.to_string())
}

#[test]
fn the_youngest_word_counts() {
    the_youngest_word_counts_in_any_order().unwrap();
    bring_back("old-places-win", the_youngest_word_counts_in_any_order).unwrap_err();
}

#[test]
fn a_row_ends_when_a_publisher_is_heard_that_does_not_repeat_it() {
    let seconds = Duration::from_secs;
    let mut held = Held::default();
    hear(&mut held, [place("eu-west", Health::Up, 0), place("us-east", Health::Up, 0)], START);
    // For a day no publisher is heard.
    let later = START + seconds(86_400);
    assert_eq!(hear(&mut held, [], later), Taken::Nothing);
    assert_eq!(known(&held, "us-east"), Some((Health::Up, START)));
    for n in 1..=10 {
        assert_eq!(hear(&mut held, [place("eu-west", Health::Up, 0)], later + seconds(5 * n)), Taken::Again);
        assert!(known(&held, "us-east").is_some(), "after {} s", 5 * n);
    }
    // What this node knows by itself says nothing of the others.
    assert_eq!(held.take([place("eu-west", Health::Up, 0)], later + seconds(54)), Taken::Again);
    assert!(known(&held, "us-east").is_some());
    assert_eq!(hear(&mut held, [place("eu-west", Health::Up, 0)], later + seconds(55)), Taken::News);
    assert_eq!(known(&held, "us-east"), None);
    assert!(known(&held, "eu-west").is_some());
}

#[test]
fn the_rows_heard_last_are_kept() {
    let mut held = Held::default();
    let many = |of: &str, count| {
        (0..count).map(|n| place(&format!("{of}-{n:04}"), Health::Up, 0)).collect::<Vec<_>>()
    };
    hear(&mut held, many("old", 3), START);
    hear(&mut held, many("new", MAX_KEPT_PLACES - 1), START + Duration::from_secs(5));
    assert_eq!(held.rows.len(), MAX_KEPT_PLACES);
    let old: Vec<_> = held.rows.keys().filter(|(_, region)| region.as_str().starts_with("old")).collect();
    assert_eq!(old, [&(name("production"), name("old-0002"))]);
}

#[test]
fn what_is_told_on_has_aged() {
    let started = Instant::now();
    let kept = KeptPlaces::started_at(started);
    let mut seen = kept.seen();
    kept.take([place("eu-west", Health::Down, 12)], started + Duration::from_secs(3));
    assert!(seen.has_changed().unwrap());
    assert_eq!(seen.borrow_and_update()[&name("production")].len(), 1);
    let told = kept.rows(started + Duration::from_secs(5));
    assert_eq!(told, [place("eu-west", Health::Down, 14)], "said before this process started");
    kept.take([place("eu-west", Health::Up, 60)], started + Duration::from_secs(6));
    assert!(!seen.has_changed().unwrap(), "an older word is no news");
}
