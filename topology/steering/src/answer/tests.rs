mod random;

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::{Line, Place, Step, WHOLE, Word, rules};

const NOW: Duration = Duration::from_secs(1_000);
const CLIENT: Client = Client { prefix: None, spot: None, draw: 0 };

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn regions(texts: &[&str]) -> Vec<Name> {
    texts.iter().copied().map(name).collect()
}

fn spot(latitude: i32, longitude: i32) -> Option<Spot> {
    Some(Spot::new(latitude * 1_000_000, longitude * 1_000_000).unwrap())
}

/// A candidate with one address that is its own.
fn candidate(region: &str) -> Candidate {
    let last = region.bytes().fold(0_u8, u8::wrapping_add);
    Candidate {
        region: name(region),
        percent: WHOLE,
        addresses: BTreeSet::from([[192, 0, 2, last].into()]),
        spot: match region {
            "eu" => spot(53, -6),
            "us" => spot(39, -77),
            "ap" => spot(35, 139),
            _ => None,
        },
        why: String::new(),
    }
}

fn candidates(regions: &[&str]) -> Vec<Candidate> {
    regions.iter().map(|region| candidate(region)).collect()
}

fn host(candidates: Vec<Candidate>, steps: &[Step]) -> Host {
    Host::new("orders.example.com".to_owned(), candidates, steps).unwrap()
}

fn heard(places: &[(&str, Word, u64)]) -> Places {
    let place = |&(region, word, age): &(&str, Word, u64)| {
        let at = NOW - Duration::from_secs(age);
        (name(region), Place { word: Some((word, at)), addresses: BTreeSet::new() })
    };
    places.iter().map(place).collect()
}

/// The rules that applied as `rule: what it looked at → what it left`, from the first of `from` on, and whether the answer is
/// by client.
fn explain(host: &Host, places: &Places, client: &Client, from: &str) -> (Vec<String>, bool) {
    let mut lines: Vec<Line> = Vec::new();
    let answer = answer(host, Seen { places, now: NOW }, client, &mut lines);
    let last = lines.last().unwrap().left.clone();
    assert_eq!(answer.regions().cloned().collect::<Vec<_>>(), last);
    let told = lines.iter().skip_while(|line| line.rule != from);
    let told = told.map(|Line { rule, step, looked_at, left }| {
        let step = step.map_or(String::new(), |step| format!("{step} "));
        let left: Vec<&str> = left.iter().map(Name::as_str).collect();
        format!("{step}{rule}: {looked_at} → {}", left.join(" "))
    });
    (told.collect(), answer.by_client())
}

/// What the rules from `from` on say to a client, of regions that nothing was heard of.
#[track_caller]
fn check(host: &Host, client: Client, from: &str, expected: &[&str], by_client: bool) {
    assert_eq!(
        explain(host, &NO_PLACES, &client, from),
        (expected.iter().copied().map(str::to_owned).collect(), by_client)
    );
}

#[track_caller]
fn check_health(host: &Host, places: &[(&str, Word, u64)], from: &str, expected: &[&str]) {
    let (told, _) = explain(host, &heard(places), &CLIENT, from);
    assert_eq!(told, expected);
}

#[test]
fn a_region_without_an_address_is_no_candidate() {
    let mut of = candidates(&["eu", "us", "ap"]);
    of[1].addresses.clear();
    of[2].addresses.clear();
    let host = host(of, &[]);
    let advertised: BTreeSet<IpAddr> = BTreeSet::from([[198, 51, 100, 1].into(), [198, 51, 100, 2].into()]);
    let mut places = Places::new();
    places.insert(name("us"), Place { word: None, addresses: advertised.clone() });
    // What operators gave counts before what gateways advertise.
    places.insert(name("eu"), Place { word: None, addresses: advertised.clone() });
    let (told, _) = explain(&host, &places, &CLIENT, NO_ADDRESS);
    assert_eq!(told[0], "no-address: ap has no address, eu was given 1, us advertises 2 → eu us");
    let answer = answer(&host, Seen { places: &places, now: NOW }, &CLIENT, &mut ());
    let expected = candidate("eu").addresses.into_iter().chain(advertised);
    assert_eq!(answer.addresses().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn an_answer_is_empty_only_if_no_address_is_known() {
    let mut of = candidates(&["eu", "us"]);
    of.iter_mut().for_each(|candidate| candidate.addresses.clear());
    let every = [
        Step::Origin(vec![("0.0.0.0/0".parse().unwrap(), regions(&["eu"]))]),
        Step::Geo { default: regions(&["eu"]) },
        Step::Weighted(vec![(name("eu"), 1)]),
        Step::Failover(regions(&["eu"])),
        Step::Multivalue(1),
    ];
    for host in [host(of, &every), host(Vec::new(), &every)] {
        let seen = Seen { places: &NO_PLACES, now: NOW };
        let empty = answer(&host, seen, &CLIENT, &mut ());
        assert_eq!((empty.regions().count(), empty.addresses().count(), empty.by_client()), (0, 0, false));
        assert_eq!(default_answer(&host).regions().count(), 0);
        assert!(fallback(&host, seen.places, &BTreeSet::new()).is_empty());
    }
}

#[test]
fn a_region_that_does_not_serve_is_no_candidate() {
    let of = |percents: [u8; 2]| {
        let mut of = candidates(&["eu", "us"]);
        for (candidate, percent) in of.iter_mut().zip(percents) {
            candidate.percent = percent;
        }
        of[0].why = "drained: new racks".to_owned();
        host(of, &[])
    };
    let told = [
        "not-serving: eu 0% (drained: new racks), us 100% → us",
        "down: us said nothing → us",
        "unknown-stays: us said nothing → us",
    ];
    check(&of([0, 100]), CLIENT, NOT_SERVING, &told, false);
    let skipped = [
        "would-empty: not-serving would leave none: eu 0% (drained: new racks), us 0% → eu us",
        "down: eu said nothing, us said nothing → eu us",
        "unknown-stays: eu said nothing, us said nothing → eu us",
    ];
    check(&of([0, 0]), CLIENT, WOULD_EMPTY, &skipped, false);
}

#[test]
fn a_region_that_says_it_is_down_is_no_candidate() {
    let host = host(candidates(&["eu", "us"]), &[]);
    let check = |places: &[(&str, Word, u64)], from: &str, expected: &[&str]| {
        check_health(&host, places, from, expected);
    };
    let told = ["down: eu said down 15000 ms ago, us said up 2000 ms ago → us"];
    check(&[("eu", Word::Down, 15), ("us", Word::Up, 2)], DOWN, &told);
    let told = ["all-bad: down would leave none: eu said down 1000 ms ago, us said down 2000 ms ago → eu us"];
    check(&[("eu", Word::Down, 1), ("us", Word::Down, 2)], ALL_BAD, &told);
    let told = [
        "down: eu last said anything 16000 ms ago, us said up 2000 ms ago → eu us",
        "unknown-stays: eu last said anything 16000 ms ago → eu us",
    ];
    check(&[("eu", Word::Down, 16), ("us", Word::Up, 2)], DOWN, &told);
    // One that is down gives way to one of which nothing is known.
    let told =
        ["down: eu said down 1000 ms ago, us said nothing → us", "unknown-stays: us said nothing → us"];
    check(&[("eu", Word::Down, 1)], DOWN, &told);
}

#[test]
fn only_regions_that_serve_are_compared_by_health() {
    let mut of = candidates(&["eu", "us"]);
    of[1].percent = 0;
    // The standby is well, but no operator has failed over.
    let told = ["all-bad: down would leave none: eu said down 1000 ms ago → eu"];
    check_health(&host(of, &[]), &[("eu", Word::Down, 1), ("us", Word::Up, 1)], ALL_BAD, &told);
}

#[test]
fn a_plan_in_steps_divides_by_the_draw() {
    let of = |eu: u8, us: u8| {
        let mut of = candidates(&["eu", "us"]);
        (of[0].percent, of[1].percent) = (eu, us);
        host(of, &[])
    };
    let tenth = u64::MAX / 10;
    for (draw, region) in [(0, "eu"), (9 * tenth, "eu"), (9 * tenth + 9, "us"), (u64::MAX, "us")] {
        let told = format!("plan: eu 90%, us 10% → {region}");
        check(&of(90, 10), Client { draw, ..CLIENT }, PLAN, &[&told], false);
    }
    // Nothing is divided where every region serves, and where one serves alone.
    check(&of(100, 100), CLIENT, PLAN, &[], false);
    check(&of(100, 0), CLIENT, PLAN, &[], false);
    // What a region that is down had goes to the other.
    check_health(&of(90, 10), &[("eu", Word::Down, 1)], PLAN, &["plan: us 10% → us"]);
}

#[test]
fn origin_goes_by_the_longest_network() {
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    let rules = vec![
        (net("10.0.0.0/8"), regions(&["eu", "us"])),
        (net("10.1.0.0/16"), regions(&["us"])),
        (net("2001:db8::/32"), regions(&["nowhere"])),
    ];
    let of = host(candidates(&["eu", "us", "ap"]), &[Step::Origin(rules)]);
    for (prefix, expected) in [
        (Some("10.2.0.0/24"), "0 origin: 10.0.0.0/8 has 10.2.0.0/24: eu, us → eu us"),
        (Some("10.1.9.0/24"), "0 origin: 10.1.0.0/16 has 10.1.9.0/24: us → us"),
        (Some("10.0.0.0/7"), "0 origin: no rule has 10.0.0.0/7 → ap eu us"),
        (None, "0 origin: the client's network is not known → ap eu us"),
    ] {
        check(&of, Client { prefix: prefix.map(net), ..CLIENT }, ORIGIN, &[expected], true);
    }
    let skipped = "0 would-empty: origin would leave none: 2001:db8::/32 has 2001:db8::/56: none → ap eu us";
    check(&of, Client { prefix: Some(net("2001:db8::/56")), ..CLIENT }, WOULD_EMPTY, &[skipped], true);
}

#[test]
fn geo_goes_to_the_nearest() {
    let of = host(candidates(&["eu", "us", "dc"]), &[Step::Geo { default: regions(&["dc"]) }]);
    let told = "0 geo: the client at 48.000000,2.000000; dc at no known place, eu at 53.000000,-6.000000, us at \
                39.000000,-77.000000 → eu";
    check(&of, Client { spot: spot(48, 2), ..CLIENT }, GEO, &[told], true);
    let told = "0 geo: the client at no known place; dc at no known place, eu at 53.000000,-6.000000, us at \
                39.000000,-77.000000; by default dc → dc";
    check(&of, CLIENT, GEO, &[told], true);
    // No region's place is known: every client gets the default.
    let of = host(candidates(&["dc", "site"]), &[Step::Geo { default: regions(&["site"]) }]);
    let told = "0 geo: the client at 48.000000,2.000000; dc at no known place, site at no known place; by default site → site";
    check(&of, Client { spot: spot(48, 2), ..CLIENT }, GEO, &[told], false);
    // The default is down.
    let of = host(candidates(&["eu", "us"]), &[Step::Geo { default: regions(&["ap"]) }]);
    let told = "0 would-empty: geo would leave none: the client at no known place; eu at 53.000000,-6.000000, us at \
                39.000000,-77.000000; by default none → eu us";
    check(&of, CLIENT, WOULD_EMPTY, &[told], true);
}

#[test]
fn regions_in_one_place_are_both_the_nearest() {
    let mut of = candidates(&["eu", "eu-b", "us"]);
    of[1].spot = of[0].spot;
    let of = host(of, &[Step::Geo { default: regions(&["us"]) }]);
    let seen = Seen { places: &NO_PLACES, now: NOW };
    let near = answer(&of, seen, &Client { spot: spot(48, 2), ..CLIENT }, &mut ()).regions().count();
    assert_eq!(near, 2);
}

#[test]
fn weighted_goes_by_the_draw() {
    let weights = |weights: &[(&str, u32)]| {
        Step::Weighted(weights.iter().map(|(region, weight)| (name(region), *weight)).collect())
    };
    let of = host(candidates(&["eu", "us", "ap"]), &[weights(&[("us", 1), ("eu", 3)])]);
    for (draw, region) in [(0, "eu"), ((3 << 62) - 1, "eu"), (3 << 62, "us"), (u64::MAX, "us")] {
        let told = format!("0 weighted: ap 0, eu 3, us 1 → {region}");
        check(&of, Client { draw, ..CLIENT }, WEIGHTED, &[&told], false);
    }
    let of = host(candidates(&["ap", "eu"]), &[weights(&[("eu", 0), ("us", 1)])]);
    let told = "0 would-empty: weighted would leave none: ap 0, eu 0 → ap eu";
    check(&of, CLIENT, WOULD_EMPTY, &[told], false);
}

#[test]
fn failover_goes_to_the_first_in_order() {
    let of = host(candidates(&["ap", "eu", "us"]), &[Step::Failover(regions(&["us", "nowhere", "eu"]))]);
    check_health(&of, &[("us", Word::Up, 1)], FAILOVER, &["0 failover: in this order: us, eu → us"]);
    check_health(&of, &[("us", Word::Down, 1)], FAILOVER, &["0 failover: in this order: us, eu → eu"]);
    let both = [("us", Word::Down, 1), ("eu", Word::Down, 1)];
    let told = "0 would-empty: failover would leave none: in this order: us, eu → ap";
    check_health(&of, &both, WOULD_EMPTY, &[told]);
}

#[test]
fn multivalue_leaves_a_number_of_them() {
    let of = |count: u32| host(candidates(&["ap", "eu", "us"]), &[Step::Multivalue(count)]);
    for (draw, left) in [(0, "ap eu"), (1 << 63, "eu us"), (u64::MAX, "ap us")] {
        let told = format!("0 multivalue: at most 2 → {left}");
        check(&of(2), Client { draw, ..CLIENT }, MULTIVALUE, &[&told], false);
    }
    check(&of(9), CLIENT, MULTIVALUE, &["0 multivalue: at most 9 → ap eu us"], false);
    let told = "0 would-empty: multivalue would leave none: at most 0 → ap eu us";
    check(&of(0), CLIENT, WOULD_EMPTY, &[told], false);
}

#[test]
fn steps_follow_each_other() {
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    let steps = [
        Step::Origin(vec![
            (net("10.0.0.0/8"), regions(&["eu", "us"])),
            (net("11.0.0.0/8"), regions(&["eu", "ap"])),
        ]),
        Step::Failover(regions(&["eu", "us", "ap"])),
    ];
    let of = host(candidates(&["ap", "eu", "us"]), &steps);
    let client = |network: &str| Client { prefix: Some(net(network)), ..CLIENT };
    let told = [
        "0 origin: 10.0.0.0/8 has 10.1.0.0/24: eu, us → eu us",
        "1 failover: in this order: eu, us, ap → eu",
    ];
    // Both rules and no rule lead to one region, so a resolver may give the answer to all.
    check(&of, client("10.1.0.0/24"), ORIGIN, &told, false);
    // They part when that region is down.
    let (told, by_client) = explain(&of, &heard(&[("eu", Word::Down, 1)]), &client("11.1.0.0/24"), ORIGIN);
    assert_eq!(
        told,
        ["0 origin: 11.0.0.0/8 has 11.1.0.0/24: ap, eu → ap", "1 failover: in this order: eu, us, ap → ap"]
    );
    assert!(by_client);
}

#[test]
fn the_default_answer_asks_no_client_and_no_health() {
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    let check = |percents: [u8; 3], steps: &[Step], expected: &[&str]| {
        let mut of = candidates(&["ap", "eu", "us"]);
        for (candidate, percent) in of.iter_mut().zip(percents) {
            candidate.percent = percent;
        }
        let host = host(of, steps);
        let found: Vec<&str> = default_answer(&host).regions().map(Name::as_str).collect();
        assert_eq!(found, expected, "{steps:?}");
        assert!(!default_answer(&host).by_client());
    };
    check([100; 3], &[], &["ap", "eu", "us"]);
    check([0, 100, 100], &[], &["eu", "us"]);
    check([0, 90, 10], &[], &["eu"]);
    check([0, 50, 50], &[], &["eu", "us"]);
    check([100; 3], &[Step::Origin(vec![(net("0.0.0.0/0"), regions(&["eu"]))])], &["ap", "eu", "us"]);
    check([100; 3], &[Step::Geo { default: regions(&["us"]) }], &["us"]);
    check([100; 3], &[Step::Weighted(vec![(name("eu"), 3), (name("us"), 1)])], &["eu"]);
    check([100; 3], &[Step::Weighted(vec![(name("eu"), 1), (name("us"), 1)])], &["eu", "us"]);
    check([100; 3], &[Step::Failover(regions(&["us", "eu"]))], &["us"]);
    check([100; 3], &[Step::Multivalue(2)], &["ap", "eu"]);
    // Advertised addresses are not committed.
    let mut of = candidates(&["eu", "us"]);
    of[0].addresses.clear();
    let host = host(of, &[]);
    assert_eq!(default_answer(&host).regions().map(Name::as_str).collect::<Vec<_>>(), ["us"]);
}

#[test]
fn the_last_resort_takes_the_first_addresses_that_there_are() {
    let set = |last: u8| BTreeSet::from([IpAddr::from([198, 51, 100, last])]);
    let advertised = Places::from([(name("us"), Place { word: None, addresses: set(2) })]);
    let of = |percents: [u8; 2], given: [bool; 2]| {
        let mut of = candidates(&["eu", "us"]);
        for ((candidate, percent), given) in of.iter_mut().zip(percents).zip(given) {
            candidate.percent = percent;
            if !given {
                candidate.addresses.clear();
            }
        }
        host(of, &[Step::Failover(regions(&["us"]))])
    };
    let [eu, us] = ["eu", "us"].map(|region| candidate(region).addresses);
    let check = |host: &Host, places: &Places, last_good: &BTreeSet<IpAddr>, expected: &BTreeSet<IpAddr>| {
        assert_eq!(&fallback(host, places, last_good), expected);
    };
    let none = BTreeSet::new();
    check(&of([100, 100], [true, true]), &advertised, &set(1), &set(1));
    // The policy does not count, and the percents do.
    check(&of([100, 100], [true, true]), &advertised, &none, &(&eu | &us));
    check(&of([100, 0], [true, true]), &advertised, &none, &eu);
    check(&of([100, 100], [true, false]), &advertised, &none, &eu);
    // No region that serves has a committed address: all that is known.
    check(&of([0, 100], [true, false]), &advertised, &none, &(&eu | &set(2)));
    check(&of([0, 0], [true, true]), &NO_PLACES, &none, &(&eu | &us));
    check(&of([100, 100], [false, false]), &advertised, &none, &set(2));
    check(&of([100, 100], [false, false]), &NO_PLACES, &none, &none);
}

/// A bug in a rule reaches `answer` and `default_answer`, and does not reach `fallback`.
#[test]
fn the_last_resort_applies_no_rule() {
    let host = host(candidates(&["eu", "us"]), &[Step::Failover(regions(&["us"]))]);
    crate::seeded::bring_back("panic-in-a-rule", || {
        let seen = Seen { places: &NO_PLACES, now: NOW };
        let asked = std::panic::catch_unwind(|| answer(&host, seen, &CLIENT, &mut ()).regions().count());
        assert!(asked.is_err());
        assert!(std::panic::catch_unwind(|| default_answer(&host).regions().count()).is_err());
        let both = &candidate("eu").addresses | &candidate("us").addresses;
        assert_eq!(fallback(&host, &NO_PLACES, &BTreeSet::new()), both);
    });
    assert_eq!(rules::NEVER_EMPTY, "never-empty");
}
