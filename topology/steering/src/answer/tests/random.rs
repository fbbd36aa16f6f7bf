//! Random policies, health and clients. Each property is also run with a bug that it must notice.

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

use super::*;
use crate::{Health, seeded::bring_back};

/// Enough for each rule to apply hundreds of times (`a_lot_is_met`), in a second of a dev build.
const CASES: u32 = 500;
/// Few, so that steps name candidates.
const REGIONS: [&str; 5] = ["ap", "eu", "eu-b", "sa", "us"];
const PERCENTS: [u8; 8] = [0, 20, 100, 100, 100, 100, 100, 100];
/// Few places, so that regions share them.
const SPOTS: [(i32, i32); 4] = [(53, -6), (39, -77), (35, 139), (-33, 151)];

#[derive(Debug, Clone)]
struct Case {
    candidates: Vec<Candidate>,
    steps: Vec<Step>,
    places: Places,
    clients: Vec<Client>,
    /// How the order of what has none is changed.
    turn: usize,
}

impl Case {
    fn host(&self) -> Host {
        host(self.candidates.clone(), &self.steps)
    }

    /// The same host, with everything in another order whose order means nothing.
    fn turned(&self) -> Host {
        fn turn<T: Clone>(list: &[T], by: usize) -> Vec<T> {
            let mut turned = list.to_vec();
            turned.rotate_left(by % list.len().max(1));
            if by % 2 == 1 {
                turned.reverse();
            }
            turned
        }
        let steps: Vec<Step> = self
            .steps
            .iter()
            .map(|step| match step {
                Step::Origin(rules) => Step::Origin(turn(rules, self.turn)),
                Step::Geo { default } => Step::Geo { default: turn(default, self.turn) },
                Step::Weighted(weights) => Step::Weighted(turn(weights, self.turn)),
                Step::Failover(_) | Step::Multivalue(_) => step.clone(),
            })
            .collect();
        host(turn(&self.candidates, self.turn), &steps)
    }

    fn seen(&self) -> Seen<'_> {
        Seen { places: &self.places, now: NOW }
    }
}

fn some_spot() -> impl Strategy<Value = Option<Spot>> {
    prop::option::weighted(0.8, select(&SPOTS[..]))
        .prop_map(|at| at.and_then(|(north, east)| spot(north, east)))
}

fn a_candidate() -> impl Strategy<Value = Candidate> {
    (0..REGIONS.len(), select(&PERCENTS[..]), any::<bool>(), some_spot()).prop_map(
        |(region, percent, given, spot)| {
            let mut candidate = candidate(REGIONS[region]);
            if !given {
                candidate.addresses.clear();
            }
            Candidate { percent, spot, ..candidate }
        },
    )
}

fn some_regions() -> impl Strategy<Value = Vec<Name>> {
    prop::collection::vec(select(&REGIONS[..]).prop_map(name), 0..4)
}

/// Few addresses, so that networks lie within each other.
fn network() -> impl Strategy<Value = IpNet> {
    (any::<u8>(), 0..=8_u8).prop_map(|(first, length)| IpNet::new([first, 0, 0, 0].into(), length).unwrap())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec((network(), some_regions()), 0..5).prop_map(Step::Origin),
        3 => some_regions().prop_map(|default| Step::Geo { default }),
        2 => prop::collection::vec((select(&REGIONS[..]).prop_map(name), 0..5_u32), 0..5).prop_map(Step::Weighted),
        2 => some_regions().prop_map(Step::Failover),
        2 => (0..4_u32).prop_map(Step::Multivalue),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    let word = (select(vec![Word::Up, Word::Down]), 0..20_u64);
    (prop::option::of(word), any::<Option<u8>>()).prop_map(|(word, address)| Place {
        word: word.map(|(word, age)| (word, NOW - Duration::from_secs(age))),
        addresses: address.map(|last| [198, 51, 100, last].into()).into_iter().collect(),
    })
}

fn client() -> impl Strategy<Value = Client> {
    let spot = (-90..=90, -180..=180).prop_map(|(north, east)| spot(north, east));
    let spot = prop_oneof![some_spot(), spot];
    (prop::option::weighted(0.9, network()), spot, any::<u64>()).prop_map(|(prefix, spot, draw)| Client {
        prefix,
        spot,
        draw,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let candidates = prop::collection::vec(a_candidate(), 0..8).prop_map(|mut candidates| {
        let mut seen = BTreeSet::new();
        candidates.retain(|candidate| seen.insert(candidate.region.clone()));
        candidates
    });
    let places = prop::collection::btree_map(select(&REGIONS[..]).prop_map(name), place(), 0..6);
    let steps = prop::collection::vec(step(), 0..5);
    let clients = prop::collection::vec(client(), 1..20);
    (candidates, steps, places, clients, any::<Index>()).prop_map(
        |(candidates, steps, places, clients, turn)| Case {
            candidates,
            steps,
            places,
            clients,
            turn: turn.index(100),
        },
    )
}

/// Runs a property on the same cases in each run.
fn run(property: impl Fn(&Case) -> Result<(), TestCaseError>) -> Result<(), TestError<Case>> {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng).run(&case(), |case| property(&case))
}

#[track_caller]
fn holds(property: impl Fn(&Case) -> Result<(), TestCaseError>) {
    run(property).unwrap();
}

/// A property is worth something only if it notices the bug that it is there for.
#[track_caller]
fn notices(bug: &'static str, property: impl Fn(&Case) -> Result<(), TestCaseError>) {
    assert!(bring_back(bug, || run(property)).is_err(), "{bug}");
}

fn names(answer: &Answer<'_>) -> Vec<Name> {
    answer.regions().cloned().collect()
}

/// Whether an address of a candidate is known.
fn is_known(case: &Case, candidate: &Candidate) -> bool {
    let advertised = case.places.get(&candidate.region).map_or(0, |place| place.addresses.len());
    candidate.addresses.len() + advertised > 0
}

/// An answer has an address, unless none is known. So has the last resort.
fn never_empty(case: &Case) -> Result<(), TestCaseError> {
    let host = case.host();
    let known = case.candidates.iter().any(|candidate| is_known(case, candidate));
    let given = case.candidates.iter().any(|candidate| !candidate.addresses.is_empty());
    for client in &case.clients {
        prop_assert_eq!(answer(&host, case.seen(), client, &mut ()).addresses().next().is_some(), known);
    }
    prop_assert_eq!(default_answer(&host).addresses().next().is_some(), given);
    prop_assert_eq!(!fallback(&host, &case.places, &BTreeSet::new()).is_empty(), known);
    Ok(())
}

/// No region that is down answers, unless all are. No region answers that does not serve, unless none does.
fn never_down(case: &Case) -> Result<(), TestCaseError> {
    let host = case.host();
    let known: Vec<&Candidate> =
        case.candidates.iter().filter(|candidate| is_known(case, candidate)).collect();
    let serving: Vec<&Candidate> = known.iter().copied().filter(|candidate| candidate.percent > 0).collect();
    let may = if serving.is_empty() { known } else { serving };
    let is_down = |region: &Name| matches!(case.seen().health(region), Health::Down(_));
    let all_down = may.iter().all(|candidate| is_down(&candidate.region));
    for client in &case.clients {
        for region in answer(&host, case.seen(), client, &mut ()).regions() {
            prop_assert!(
                may.iter().any(|candidate| candidate.region == *region),
                "{} does not serve",
                region
            );
            prop_assert!(all_down || !is_down(region), "{} is down", region);
        }
    }
    Ok(())
}

/// The order of candidates, rules, weights and defaults means nothing.
fn any_order(case: &Case) -> Result<(), TestCaseError> {
    let (host, turned) = (case.host(), case.turned());
    for client in &case.clients {
        let [one, other] = [&host, &turned].map(|host| answer(host, case.seen(), client, &mut ()));
        prop_assert_eq!(names(&one), names(&other));
        prop_assert!(one.addresses().eq(other.addresses()));
        prop_assert_eq!(one.by_client(), other.by_client());
    }
    prop_assert_eq!(names(&default_answer(&host)), names(&default_answer(&turned)));
    Ok(())
}

/// An answer is by client exactly if another client gets another one: any of the random ones, one in a network of a rule, one
/// at a region, or one of whom nothing is known.
fn by_client(case: &Case) -> Result<(), TestCaseError> {
    let host = case.host();
    let networks = case.steps.iter().flat_map(|step| match step {
        Step::Origin(rules) => rules.iter().map(|(network, _)| *network).collect(),
        Step::Geo { .. } | Step::Weighted(_) | Step::Failover(_) | Step::Multivalue(_) => Vec::new(),
    });
    let random = case.clients.iter();
    let prefixes: Vec<Option<IpNet>> =
        networks.map(Some).chain(random.clone().map(|client| client.prefix)).chain([None]).collect();
    let at_regions = case.candidates.iter().map(|candidate| candidate.spot);
    let spots: Vec<Option<Spot>> = at_regions.chain(random.map(|client| client.spot)).chain([None]).collect();
    for client in case.clients.iter().take(3) {
        let own = answer(&host, case.seen(), client, &mut ());
        let others = prefixes.iter().flat_map(|prefix| spots.iter().map(move |spot| (*prefix, *spot)));
        let differs = others.into_iter().any(|(prefix, spot)| {
            let other = Client { prefix, spot, ..*client };
            names(&answer(&host, case.seen(), &other, &mut ())) != names(&own)
        });
        prop_assert_eq!(own.by_client(), differs, "{:?}", client);
    }
    Ok(())
}

/// A listener changes nothing. Each rule leaves some of what the one before left, and the last the answer.
fn told(case: &Case) -> Result<(), TestCaseError> {
    let host = case.host();
    for client in &case.clients {
        let mut lines: Vec<Line> = Vec::new();
        let heard = answer(&host, case.seen(), client, &mut lines);
        prop_assert_eq!(names(&heard), names(&answer(&host, case.seen(), client, &mut ())));
        for pair in lines.windows(2) {
            prop_assert!(pair[1].left.iter().all(|region| pair[0].left.contains(region)));
            prop_assert_eq!(pair[1].left.is_empty(), pair[0].left.is_empty());
        }
        prop_assert_eq!(&lines.last().unwrap().left, &names(&heard));
        prop_assert_eq!(lines.iter().filter_map(|line| line.step).count(), case.steps.len());
    }
    Ok(())
}

#[test]
fn no_answer_is_empty_while_an_address_is_known() {
    holds(never_empty);
    notices("empty-answer", never_empty);
}

#[test]
fn no_region_that_is_down_answers_unless_all_are() {
    holds(never_down);
    notices("down-stays-first", never_down);
}

#[test]
fn equal_inputs_in_any_order_give_equal_answers() {
    holds(any_order);
    notices("weights-by-order", any_order);
}

#[test]
fn an_answer_is_by_client_exactly_if_another_client_gets_another_one() {
    holds(by_client);
    notices("one-for-all", by_client);
}

#[test]
fn what_is_told_is_what_is_answered() {
    holds(told);
}

/// The properties are worth something only if every rule applies, and answers of each kind are met.
#[test]
fn a_lot_is_met() {
    use std::{cell::RefCell, collections::BTreeMap};
    let met: RefCell<BTreeMap<&str, u32>> = RefCell::default();
    holds(|case| {
        for client in &case.clients {
            let mut lines: Vec<Line> = Vec::new();
            let host = case.host();
            let by_client = answer(&host, case.seen(), client, &mut lines).by_client();
            let mut met = met.borrow_mut();
            lines.iter().for_each(|line| *met.entry(line.rule).or_default() += 1);
            *met.entry(if by_client { "by client" } else { "for all" }).or_default() += 1;
        }
        Ok(())
    });
    let met = met.into_inner();
    println!("{met:?}");
    let expected = [
        NO_ADDRESS,
        NOT_SERVING,
        DOWN,
        ALL_BAD,
        UNKNOWN_STAYS,
        PLAN,
        ORIGIN,
        GEO,
        WEIGHTED,
        FAILOVER,
        MULTIVALUE,
        WOULD_EMPTY,
        "by client",
        "for all",
    ];
    for thing in expected {
        assert!(met.get(thing).is_some_and(|count| *count >= 100), "{thing}: {met:?}");
    }
}

const DRAWS: u64 = 100_000;

/// A number that looks random, another one for each query (SplitMix64).
fn nth_draw(seed: u64, query: u64) -> u64 {
    let mut mixed = seed.wrapping_add(query.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Each region gets its share of the clients, within one percent of all.
#[track_caller]
fn shares(host: &Host, seed: u64, expected: &[(Name, f64)]) {
    let mut counts = std::collections::BTreeMap::new();
    for query in 0..DRAWS {
        let client = Client { draw: nth_draw(seed, query), ..CLIENT };
        let answer = answer(host, Seen { places: &NO_PLACES, now: NOW }, &client, &mut ());
        assert_eq!(answer.regions().count(), 1);
        *counts.entry(answer.regions().next().unwrap().clone()).or_insert(0_u64) += 1;
    }
    for (region, share) in expected {
        let found = counts.get(region).copied().unwrap_or(0) as f64 / DRAWS as f64;
        assert!((found - share).abs() < 0.01, "{region}: {found}, expected {share}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn weights_hold(weights in prop::collection::vec(0..1_000_u32, 1..6), seed: u64) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let weights: Vec<(Name, u32)> = REGIONS.into_iter().map(name).zip(weights).collect();
        let expected: Vec<(Name, f64)> =
            weights.iter().map(|(region, weight)| (region.clone(), f64::from(*weight) / f64::from(total))).collect();
        shares(&host(candidates(&REGIONS), &[Step::Weighted(weights)]), seed, &expected);
    }

    #[test]
    fn percents_of_a_plan_hold(percent in 1..=99_u8, seed: u64) {
        let mut of = candidates(&["eu", "us"]);
        (of[0].percent, of[1].percent) = (WHOLE - percent, percent);
        let share = f64::from(percent) / 100.0;
        shares(&host(of, &[]), seed, &[(name("eu"), 1.0 - share), (name("us"), share)]);
    }
}

#[test]
fn each_region_is_as_often_among_some() {
    let host = host(candidates(&["ap", "eu", "us"]), &[Step::Multivalue(2)]);
    for region in ["ap", "eu", "us"] {
        let found = (0..DRAWS).filter(|&query| {
            let client = Client { draw: nth_draw(7, query), ..CLIENT };
            let seen = Seen { places: &NO_PLACES, now: NOW };
            answer(&host, seen, &client, &mut ()).regions().any(|of| *of == name(region))
        });
        assert!((found.count() as f64 / DRAWS as f64 - 2.0 / 3.0).abs() < 0.01, "{region}");
    }
    // Two of three, and one of these by weight: each of three gets a third, so the second choice does not follow from the first.
    let even = Step::Weighted(["ap", "eu", "us"].map(|region| (name(region), 1)).to_vec());
    let chained = super::host(candidates(&["ap", "eu", "us"]), &[Step::Multivalue(2), even]);
    shares(&chained, 7, &["ap", "eu", "us"].map(|region| (name(region), 1.0 / 3.0)));
}
