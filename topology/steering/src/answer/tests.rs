mod random;

use std::{collections::BTreeSet, time::Duration};

use hanse_topology::WHOLE_PERCENT;

use super::*;
use crate::{Line, Place, ReportedHealth, Step, rules};

const NOW: Duration = Duration::from_secs(1_000);
const CLIENT: Client = Client { prefix: None, family: None, spot: None, draw: 0 };

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
        percent: WHOLE_PERCENT,
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

fn heard(places: &[(&str, ReportedHealth, u64)]) -> Places {
    let place = |&(region, health, age): &(&str, ReportedHealth, u64)| {
        let at = NOW - Duration::from_secs(age);
        (name(region), Place { reported: Some((health, at)), addresses: BTreeSet::new() })
    };
    places.iter().map(place).collect()
}

/// The rules that applied as `rule: what it looked at → what it left`, from the first of `from` on, and whether the answer is
/// by client.
fn explain(host: &Host, places: &Places, client: &Client, from: &str) -> (Vec<String>, bool) {
    let mut lines: Vec<Line> = Vec::new();
    let answer = answer(host, Seen { places, now: NOW }, client, &mut lines);
    let last = lines.last().unwrap().remaining.clone();
    assert_eq!(answer.regions().cloned().collect::<Vec<_>>(), last);
    let traced = lines.iter().skip_while(|line| line.rule != from);
    let traced = traced.map(|Line { rule, step, looked_at, remaining }| {
        let step = step.map_or(String::new(), |step| format!("{step} "));
        let remaining: Vec<&str> = remaining.iter().map(Name::as_str).collect();
        format!("{step}{rule}: {looked_at} → {}", remaining.join(" "))
    });
    (traced.collect(), answer.by_client())
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
fn check_health(host: &Host, places: &[(&str, ReportedHealth, u64)], from: &str, expected: &[&str]) {
    let (traced, _) = explain(host, &heard(places), &CLIENT, from);
    assert_eq!(traced, expected);
}

#[test]
fn a_region_without_an_address_is_no_candidate() {
    let mut of = candidates(&["eu", "us", "ap"]);
    of[1].addresses.clear();
    of[2].addresses.clear();
    let host = host(of, &[]);
    let advertised: BTreeSet<IpAddr> = BTreeSet::from([[198, 51, 100, 1].into(), [198, 51, 100, 2].into()]);
    let mut places = Places::new();
    places.insert(name("us"), Place { reported: None, addresses: advertised.clone() });
    // What operators gave counts before what gateways advertise.
    places.insert(name("eu"), Place { reported: None, addresses: advertised.clone() });
    let (traced, _) = explain(&host, &places, &CLIENT, NO_ADDRESS);
    assert_eq!(traced[0], "no-address: ap has no address, eu was given 1, us advertises 2 → eu us");
    let answer = answer(&host, Seen { places: &places, now: NOW }, &CLIENT, &mut ());
    let expected = candidate("eu").addresses.into_iter().chain(advertised);
    assert_eq!(answer.addresses().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

/// A host with IPv4 in one region and IPv6 in the other, in which every draw gives each client an address of its family.
fn each_family_is_answered() -> bool {
    let mut of = candidates(&["eu", "us"]);
    of[0].addresses = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
    of[1].addresses = BTreeSet::from(["2001:db8::2".parse().unwrap()]);
    let divided = host(of, &[Step::Weighted(vec![(name("eu"), 1), (name("us"), 1)])]);
    let seen = Seen { places: &NO_PLACES, now: NOW };
    let is_answered = |family: Family, draw| {
        let client = Client { family: Some(family), draw, ..CLIENT };
        answer(&divided, seen, &client, &mut ()).addresses().any(|address| family.has(&address))
    };
    [Family::V4, Family::V6]
        .into_iter()
        .all(|family| (0..32).all(|nth| is_answered(family, random::nth_draw(5, nth))))
}

#[test]
fn a_region_without_the_family_asked_for_is_no_candidate_while_another_has_it() {
    assert!(each_family_is_answered());
    let noticed = !hanse_topology::bring_back("any-family", each_family_is_answered);
    assert!(noticed, "the check notices a rule that looks at no family");

    let mut of = candidates(&["eu", "us"]);
    of[1].addresses = BTreeSet::from(["2001:db8::2".parse().unwrap()]);
    let client = |family| Client { family: Some(family), ..CLIENT };
    let mixed = host(of.clone(), &[]);
    let (traced, _) = explain(&mixed, &NO_PLACES, &client(Family::V6), FAMILY);
    assert_eq!(traced[0], "family: eu has 0 of IPv6, us has 1 of IPv6 → us");
    // No client is led to a region that does not serve because it alone has the family.
    let mut drained = of.clone();
    drained[1].percent = 0;
    let (traced, _) = explain(&host(drained, &[]), &NO_PLACES, &client(Family::V6), WOULD_EMPTY);
    assert_eq!(traced[0], "would-empty: family would leave none: eu has 0 of IPv6 → eu");
    // Where no region has the family, the host has addresses still, and what is missing is a record of the type.
    let of_one = host(of[..1].to_vec(), &[]);
    let (traced, _) = explain(&of_one, &NO_PLACES, &client(Family::V6), WOULD_EMPTY);
    assert_eq!(traced[0], "would-empty: family would leave none: eu has 0 of IPv6 → eu");

    let last = BTreeSet::from(["192.0.2.9".parse().unwrap()]);
    let v6 = of[1].addresses.clone();
    assert!(fallback(&mixed, &NO_PLACES, Some(Family::V6), &last).is_superset(&v6));
    assert_eq!(fallback(&mixed, &NO_PLACES, Some(Family::V4), &last), last);
    assert_eq!(
        fallback(&of_one, &NO_PLACES, Some(Family::V6), &last),
        last,
        "any address, where none is of it"
    );
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
        let mut lines: Vec<Line> = Vec::new();
        answer(&host, seen, &CLIENT, &mut lines);
        assert_eq!(lines.iter().map(|line| line.rule).collect::<Vec<_>>(), [NO_ADDRESS]);
        assert_eq!(default_answer(&host).regions().count(), 0);
        assert!(fallback(&host, seen.places, None, &BTreeSet::new()).is_empty());
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
    let traced = [
        "not-serving: eu 0% (drained: new racks), us 100% → us",
        "down: us never reported → us",
        "unknown-stays: us never reported → us",
    ];
    check(&of([0, 100]), CLIENT, NOT_SERVING, &traced, false);
    let skipped = [
        "would-empty: not-serving would leave none: eu 0% (drained: new racks), us 0% → eu us",
        "down: eu never reported, us never reported → eu us",
        "unknown-stays: eu never reported, us never reported → eu us",
    ];
    check(&of([0, 0]), CLIENT, WOULD_EMPTY, &skipped, false);
}

#[test]
fn a_region_that_reports_that_it_is_down_is_no_candidate() {
    let host = host(candidates(&["eu", "us"]), &[]);
    let check = |places: &[(&str, ReportedHealth, u64)], from: &str, expected: &[&str]| {
        check_health(&host, places, from, expected);
    };
    let traced = ["down: eu reported down 15000 ms ago, us reported up 2000 ms ago → us"];
    check(&[("eu", ReportedHealth::Down, 15), ("us", ReportedHealth::Up, 2)], DOWN, &traced);
    let traced = [
        "all-bad: down would leave none: eu reported down 1000 ms ago, us reported down 2000 ms ago → eu us",
    ];
    check(&[("eu", ReportedHealth::Down, 1), ("us", ReportedHealth::Down, 2)], ALL_BAD, &traced);
    let traced = [
        "down: eu last reported 16000 ms ago, us reported up 2000 ms ago → eu us",
        "unknown-stays: eu last reported 16000 ms ago → eu us",
    ];
    check(&[("eu", ReportedHealth::Down, 16), ("us", ReportedHealth::Up, 2)], DOWN, &traced);
    // One that is down gives way to one of which nothing is known.
    let traced = [
        "down: eu reported down 1000 ms ago, us never reported → us",
        "unknown-stays: us never reported → us",
    ];
    check(&[("eu", ReportedHealth::Down, 1)], DOWN, &traced);
}

#[test]
fn only_regions_that_serve_are_compared_by_health() {
    let mut of = candidates(&["eu", "us"]);
    of[1].percent = 0;
    // The standby is well, but no operator has failed over.
    let traced = ["all-bad: down would leave none: eu reported down 1000 ms ago → eu"];
    check_health(
        &host(of, &[]),
        &[("eu", ReportedHealth::Down, 1), ("us", ReportedHealth::Up, 1)],
        ALL_BAD,
        &traced,
    );
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
        let traced = format!("plan: eu 90%, us 10% → {region}");
        check(&of(90, 10), Client { draw, ..CLIENT }, PLAN, &[&traced], false);
    }
    // Nothing is divided where every region serves, and where one serves alone.
    check(&of(100, 100), CLIENT, PLAN, &[], false);
    check(&of(100, 0), CLIENT, PLAN, &[], false);
    // A region that no plan divides stays beside the one that was drawn.
    let mut beside = candidates(&["ap", "eu", "us"]);
    (beside[1].percent, beside[2].percent) = (90, 10);
    for (draw, region) in [(0, "eu"), (u64::MAX, "us")] {
        let traced = format!("plan: ap 100%, eu 90%, us 10% → ap {region}");
        check(&host(beside.clone(), &[]), Client { draw, ..CLIENT }, PLAN, &[&traced], false);
    }
    // What a region that is down had goes to the other.
    check_health(&of(90, 10), &[("eu", ReportedHealth::Down, 1)], PLAN, &["plan: us 10% → us"]);
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
    let traced = "0 geo: the client at 48.000000,2.000000; dc at no known place, eu at 53.000000,-6.000000, us at \
                39.000000,-77.000000 → eu";
    check(&of, Client { spot: spot(48, 2), ..CLIENT }, GEO, &[traced], true);
    let traced = "0 geo: the client at no known place; dc at no known place, eu at 53.000000,-6.000000, us at \
                39.000000,-77.000000; by default dc → dc";
    check(&of, CLIENT, GEO, &[traced], true);
    // No region's place is known: every client gets the default.
    let of = host(candidates(&["dc", "site"]), &[Step::Geo { default: regions(&["site"]) }]);
    let traced = "0 geo: the client at 48.000000,2.000000; dc at no known place, site at no known place; by default site → site";
    check(&of, Client { spot: spot(48, 2), ..CLIENT }, GEO, &[traced], true);
    // The default is down.
    let of = host(candidates(&["eu", "us"]), &[Step::Geo { default: regions(&["ap"]) }]);
    let traced = "0 would-empty: geo would leave none: the client at no known place; eu at 53.000000,-6.000000, us at \
                39.000000,-77.000000; by default none → eu us";
    check(&of, CLIENT, WOULD_EMPTY, &[traced], true);
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
        let traced = format!("0 weighted: ap 0, eu 3, us 1 → {region}");
        check(&of, Client { draw, ..CLIENT }, WEIGHTED, &[&traced], false);
    }
    let of = host(candidates(&["ap", "eu"]), &[weights(&[("eu", 0), ("us", 1)])]);
    let traced = "0 would-empty: weighted would leave none: ap 0, eu 0 → ap eu";
    check(&of, CLIENT, WOULD_EMPTY, &[traced], false);
}

#[test]
fn failover_goes_to_the_first_in_order() {
    let of = host(candidates(&["ap", "eu", "us"]), &[Step::Failover(regions(&["us", "nowhere", "eu"]))]);
    check_health(
        &of,
        &[("us", ReportedHealth::Up, 1)],
        FAILOVER,
        &["0 failover: in this order: us, eu → us"],
    );
    check_health(
        &of,
        &[("us", ReportedHealth::Down, 1)],
        FAILOVER,
        &["0 failover: in this order: us, eu → eu"],
    );
    let both = [("us", ReportedHealth::Down, 1), ("eu", ReportedHealth::Down, 1)];
    let traced = "0 would-empty: failover would leave none: in this order: us, eu → ap";
    check_health(&of, &both, WOULD_EMPTY, &[traced]);
}

#[test]
fn multivalue_leaves_a_number_of_them() {
    let of = |count: u32| host(candidates(&["ap", "eu", "us"]), &[Step::Multivalue(count)]);
    for (draw, left) in [(0, "ap eu"), (1 << 63, "eu us"), (u64::MAX, "ap us")] {
        let traced = format!("0 multivalue: at most 2 → {left}");
        check(&of(2), Client { draw, ..CLIENT }, MULTIVALUE, &[&traced], false);
    }
    check(&of(9), CLIENT, MULTIVALUE, &["0 multivalue: at most 9 → ap eu us"], false);
    let traced = "0 would-empty: multivalue would leave none: at most 0 → ap eu us";
    check(&of(0), CLIENT, WOULD_EMPTY, &[traced], false);
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
    let traced = [
        "0 origin: 10.0.0.0/8 has 10.1.0.0/24: eu, us → eu us",
        "1 failover: in this order: eu, us, ap → eu",
    ];
    // Both rules and no rule lead to one region. The step met three, so a resolver keeps an answer for each network all the same.
    check(&of, client("10.1.0.0/24"), ORIGIN, &traced, true);
    // The rules part when that region is down.
    let (traced, by_client) =
        explain(&of, &heard(&[("eu", ReportedHealth::Down, 1)]), &client("11.1.0.0/24"), ORIGIN);
    assert_eq!(
        traced,
        ["0 origin: 11.0.0.0/8 has 11.1.0.0/24: ap, eu → ap", "1 failover: in this order: eu, us, ap → ap"]
    );
    assert!(by_client);
}

/// Whether answers are by client: the same at every draw.
#[track_caller]
fn check_by_client(percents: [u8; 3], steps: &[Step], expected: bool) {
    let mut of = candidates(&["ap", "eu", "us"]);
    for (candidate, percent) in of.iter_mut().zip(percents) {
        candidate.percent = percent;
    }
    let host = host(of, steps);
    for draw in (0..64).map(|part| part << 58) {
        let answer =
            answer(&host, Seen { places: &NO_PLACES, now: NOW }, &Client { draw, ..CLIENT }, &mut ());
        assert_eq!(answer.by_client(), expected, "{draw:x} {steps:?}");
    }
}

#[test]
fn an_answer_is_by_client_if_a_step_could_tell_clients_apart() {
    let origin = Step::Origin(vec![("10.0.0.0/8".parse().unwrap(), regions(&["eu", "us"]))]);
    let geo = Step::Geo { default: regions(&["us"]) };
    let weighted =
        |of: [u32; 3]| Step::Weighted(["ap", "eu", "us"].into_iter().map(name).zip(of).collect::<Vec<_>>());
    let failover = Step::Failover(regions(&["eu"]));
    let check = |steps: &[Step], expected| check_by_client([100; 3], steps, expected);
    check(&[], false);
    check(&[weighted([1, 1, 1]), failover.clone()], false);
    check(std::slice::from_ref(&origin), true);
    check(std::slice::from_ref(&geo), true);
    // Most draws lead clients of 10.0.0.0/8 elsewhere than others; some lead both to us.
    check(&[origin.clone(), weighted([98, 1, 1])], true);
    // One region is left before the client is read.
    check(&[failover.clone(), origin.clone(), geo.clone()], false);
    check(&[weighted([1, 1, 1]), geo.clone()], false);
    check(&[Step::Multivalue(1), geo.clone()], false);
    check_by_client([0, 0, 100], &[origin, geo.clone()], false);
    check_by_client([0, 90, 10], std::slice::from_ref(&geo), false);
    // Two regions by chance, of which `failover` leaves eu if it is among them. Without it `geo` has both to choose from.
    check(&[Step::Multivalue(2), failover.clone(), geo.clone()], true);
    check(&[Step::Multivalue(2), weighted([0, 1, 0]), geo.clone()], true);
    check_by_client([100, 90, 10], &[failover, geo], true);
}

/// The part of the clients that a resolver leads to ap. It keeps answers as RFC 7871 has it: those of scope 0 for all of its
/// clients, others for the network that asked.
fn share_of_ap(host: &Host, is_for_network: impl Fn(&Client, &Answer<'_>) -> bool) -> f64 {
    const TTL: u64 = 30;
    const NETWORKS: u64 = 200;
    let mut kept: std::collections::BTreeMap<Option<u64>, (u64, Name)> = std::collections::BTreeMap::new();
    let (mut to_ap, mut queries) = (0, 0);
    for (second, network) in (0..600).flat_map(|second| (0..NETWORKS).map(move |network| (second, network))) {
        let fresh = |key: &Option<u64>| kept.get(key).filter(|(until, _)| *until > second);
        let known = fresh(&None).or_else(|| fresh(&Some(network))).map(|(_, region)| region.clone());
        let region = known.unwrap_or_else(|| {
            let prefix = format!("192.168.{network}.0/24").parse().ok();
            let client = Client { prefix, draw: random::nth_draw(5, second * NETWORKS + network), ..CLIENT };
            let answer = answer(host, Seen { places: &NO_PLACES, now: NOW }, &client, &mut ());
            let region = answer.regions().next().unwrap().clone();
            let key = is_for_network(&client, &answer).then_some(network);
            kept.insert(key, (second + TTL, region.clone()));
            region
        });
        to_ap += u32::from(region == name("ap"));
        queries += 1;
    }
    f64::from(to_ap) / f64::from(queries)
}

#[test]
fn clients_behind_a_resolver_get_the_weights() {
    let origin = Step::Origin(vec![("10.0.0.0/8".parse().unwrap(), regions(&["eu", "us"]))]);
    let weights = vec![(name("ap"), 98), (name("eu"), 1), (name("us"), 1)];
    let host = host(candidates(&["ap", "eu", "us"]), &[origin, Step::Weighted(weights)]);
    // 4,000 answers are drawn: 98% ± 6 standard deviations.
    let share = share_of_ap(&host, |_, answer| answer.by_client());
    assert!((share - 0.98).abs() < 0.014, "{share}");
    // Scope 0 wherever this draw leads clients of 10.0.0.0/8 to the same region: us is kept for all, and ap for single networks.
    let share = share_of_ap(&host, |client, answer_to_client| {
        let other = Client { prefix: "10.0.0.0/8".parse().ok(), ..*client };
        let other = answer(&host, Seen { places: &NO_PLACES, now: NOW }, &other, &mut ());
        !other.regions().eq(answer_to_client.regions())
    });
    assert!(share < 0.5, "{share}");
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
    let advertised = Places::from([(name("us"), Place { reported: None, addresses: set(2) })]);
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
        assert_eq!(&fallback(host, places, None, last_good), expected);
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
    hanse_topology::bring_back("panic-in-a-rule", || {
        let seen = Seen { places: &NO_PLACES, now: NOW };
        let asked = std::panic::catch_unwind(|| answer(&host, seen, &CLIENT, &mut ()).regions().count());
        assert!(asked.is_err());
        assert!(std::panic::catch_unwind(|| default_answer(&host).regions().count()).is_err());
        let both = &candidate("eu").addresses | &candidate("us").addresses;
        assert_eq!(fallback(&host, &NO_PLACES, None, &BTreeSet::new()), both);
    });
    assert_eq!(rules::NEVER_EMPTY, "never-empty");
}
