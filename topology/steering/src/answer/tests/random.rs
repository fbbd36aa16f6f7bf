//! Random policies, health and clients. Each property is also run with a bug that it must notice.

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

use super::*;
use hanse_topology::bring_back;

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

/// Few addresses of each family, so that networks lie within each other. Some are of one address.
fn network() -> impl Strategy<Value = IpNet> {
    let length = prop_oneof![4 => 0..=8_u8, 1 => Just(24), 1 => Just(32)];
    (any::<bool>(), any::<u8>(), length).prop_map(|(four, first, length)| {
        if four {
            return IpNet::new([first, 0, 0, 0].into(), length).unwrap();
        }
        let length = if length == 32 { 128 } else { length };
        IpNet::new([u16::from(first) << 8, 0, 0, 0, 0, 0, 0, 0].into(), length).unwrap()
    })
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

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Two regions by chance, of which a step leaves one or both, and then a step that reads the client.
    let by_chance = (step(), step(), step()).prop_map(|(narrows, reads, last)| {
        let narrows = match narrows {
            Step::Weighted(_) | Step::Failover(_) => narrows,
            Step::Origin(_) | Step::Geo { .. } | Step::Multivalue(_) => Step::Failover(regions(&["eu"])),
        };
        let reads = match reads {
            Step::Origin(_) | Step::Geo { .. } => reads,
            Step::Weighted(_) | Step::Failover(_) | Step::Multivalue(_) => {
                Step::Geo { default: regions(&["us"]) }
            }
        };
        vec![Step::Multivalue(2), narrows, reads, last]
    });
    prop_oneof![4 => prop::collection::vec(step(), 0..5), 1 => by_chance]
}

fn place() -> impl Strategy<Value = Place> {
    let reported = (select(vec![ReportedHealth::Up, ReportedHealth::Down]), 0..20_u64);
    (prop::option::of(reported), any::<Option<u8>>()).prop_map(|(reported, address)| Place {
        reported: reported.map(|(health, age)| (health, NOW - Duration::from_secs(age))),
        addresses: address.map(|last| [198, 51, 100, last].into()).into_iter().collect(),
    })
}

fn client() -> impl Strategy<Value = Client> {
    let spot = (-90..=90, -180..=180).prop_map(|(north, east)| spot(north, east));
    let spot = prop_oneof![some_spot(), spot];
    (prop::option::weighted(0.9, network()), spot, any::<u64>()).prop_map(|(prefix, spot, draw)| Client {
        prefix,
        family: None,
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
    let clients = prop::collection::vec(client(), 1..20);
    (candidates, steps(), places, clients, any::<Index>()).prop_map(
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

/// A property is worth something only if it notices the bug that it is there for, and says so: a panic is no find.
#[track_caller]
fn notices(bug: &'static str, text: &str, property: impl Fn(&Case) -> Result<(), TestCaseError>) {
    match bring_back(bug, || run(property)) {
        Err(TestError::Fail(found, _)) => assert!(found.message().contains(text), "{bug}: {found}"),
        Err(TestError::Abort(why)) => panic!("{bug}: {why}"),
        Ok(()) => panic!("{bug} was not noticed"),
    }
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
        let found = answer(&host, case.seen(), client, &mut ()).addresses().next().is_some();
        prop_assert_eq!(found, known, "no address");
    }
    prop_assert_eq!(default_answer(&host).addresses().next().is_some(), given, "no committed address");
    let last_resort = fallback(&host, &case.places, None, &BTreeSet::new());
    prop_assert_eq!(!last_resort.is_empty(), known, "no last resort");
    Ok(())
}

/// No region that is down answers, unless all are. No region answers that does not serve, unless none does.
fn never_down(case: &Case) -> Result<(), TestCaseError> {
    let host = case.host();
    let known: Vec<&Candidate> =
        case.candidates.iter().filter(|candidate| is_known(case, candidate)).collect();
    let serving: Vec<&Candidate> = known.iter().copied().filter(|candidate| candidate.percent > 0).collect();
    let may = if serving.is_empty() { known } else { serving };
    let is_down = |region: &Name| match case.places.get(region).and_then(|place| place.reported) {
        Some((ReportedHealth::Down, at)) => NOW - at <= Duration::from_secs(15),
        Some((ReportedHealth::Up, _)) | None => false,
    };
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
        prop_assert_eq!(names(&one), names(&other), "the order counts");
        prop_assert!(one.addresses().eq(other.addresses()));
        prop_assert_eq!(one.by_client(), other.by_client());
    }
    prop_assert_eq!(names(&default_answer(&host)), names(&default_answer(&turned)), "the order counts");
    Ok(())
}

/// The candidates that each rule left.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sets(Vec<Set>);

impl Trace for Sets {
    fn rule(
        &mut self,
        _: &'static str,
        _: Option<usize>,
        _: impl FnOnce() -> String,
        remaining: Remaining<'_>,
    ) {
        self.0.push(remaining.set);
    }
}

/// Whether an answer is by client depends neither on the client nor on the draw. If it is not, then at every draw each rule leaves
/// the same regions for all clients: random ones, one in each network of a rule, one at each region, and one that is not known.
fn by_client(case: &Case) -> Result<(), TestCaseError> {
    let host = case.host();
    let networks = case.steps.iter().flat_map(|step| match step {
        Step::Origin(rules) => rules.iter().map(|(network, _)| *network).collect(),
        Step::Geo { .. } | Step::Weighted(_) | Step::Failover(_) | Step::Multivalue(_) => Vec::new(),
    });
    let of_networks = networks.map(|network| Client { prefix: Some(network), ..CLIENT });
    let at_regions = case.candidates.iter().map(|candidate| Client { spot: candidate.spot, ..CLIENT });
    let clients: Vec<Client> =
        case.clients.iter().copied().chain(of_networks).chain(at_regions).chain([CLIENT]).collect();
    let by_client = answer(&host, case.seen(), &CLIENT, &mut ()).by_client();
    for draw in (0..16).map(|query| nth_draw(case.turn as u64, query)) {
        let mut first = None;
        for client in &clients {
            let mut remaining = Sets(Vec::new());
            let answer = answer(&host, case.seen(), &Client { draw, ..*client }, &mut remaining);
            prop_assert_eq!(answer.by_client(), by_client, "the scope depends on the query");
            if !by_client {
                let first = first.get_or_insert_with(|| remaining.clone());
                prop_assert_eq!(&remaining, first, "scope 0 hides {:?}", client);
            }
        }
    }
    Ok(())
}

/// A listener changes nothing. Each rule leaves some of what the one before left, and the last the answer.
fn the_trace_is_right(case: &Case) -> Result<(), TestCaseError> {
    let host = case.host();
    for client in &case.clients {
        let mut lines: Vec<Line> = Vec::new();
        let heard = answer(&host, case.seen(), client, &mut lines);
        prop_assert_eq!(names(&heard), names(&answer(&host, case.seen(), client, &mut ())));
        for pair in lines.windows(2) {
            prop_assert!(pair[1].remaining.iter().all(|region| pair[0].remaining.contains(region)));
            prop_assert!(!pair[1].remaining.is_empty());
        }
        prop_assert_eq!(&lines.last().unwrap().remaining, &names(&heard));
        let steps = if names(&heard).is_empty() { 0 } else { case.steps.len() };
        prop_assert_eq!(lines.iter().filter_map(|line| line.step).count(), steps);
    }
    Ok(())
}

#[test]
fn no_answer_is_empty_while_an_address_is_known() {
    holds(never_empty);
    notices("empty-answer", "no address", never_empty);
}

#[test]
fn no_region_that_is_down_answers_unless_all_are() {
    holds(never_down);
    notices("down-stays-first", "is down", never_down);
}

#[test]
fn equal_inputs_in_any_order_give_equal_answers() {
    holds(any_order);
    notices("weights-by-order", "the order counts", any_order);
}

#[test]
fn an_answer_for_all_clients_is_one_at_every_draw() {
    holds(by_client);
    notices("one-for-all", "scope 0 hides", by_client);
    notices("by-one-draw", "the scope depends on the query", by_client);
}

#[test]
fn what_is_told_is_what_is_answered() {
    holds(the_trace_is_right);
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
pub(super) fn nth_draw(seed: u64, query: u64) -> u64 {
    let mut mixed = seed.wrapping_add(query.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Each region gets its share of the clients: within 6 standard deviations of a draw with that chance, so a share of 1 in 1,000 may
/// be 60% off, and one of a half 1%. A share of nothing gets none.
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
        let bound = 6.0 * (share * (1.0 - share) / DRAWS as f64).sqrt();
        assert!((found - share).abs() <= bound, "{region}: {found}, expected {share} ± {bound}");
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
        (of[0].percent, of[1].percent) = (WHOLE_PERCENT - percent, percent);
        let share = f64::from(percent) / 100.0;
        shares(&host(of, &[]), seed, &[(name("eu"), 1.0 - share), (name("us"), share)]);
    }
}

#[test]
fn a_small_weight_gets_its_share() {
    let check = |small: u32, great: u32| {
        let host = host(
            candidates(&["eu", "us"]),
            &[Step::Weighted(vec![(name("us"), small), (name("eu"), great)])],
        );
        let share = f64::from(small) / f64::from(small + great);
        shares(&host, 11, &[(name("us"), share), (name("eu"), 1.0 - share)]);
    };
    check(1, 999);
    check(1, 99);
    check(0, 1);
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
