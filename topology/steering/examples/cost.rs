//! What an answer costs, by policy: `cargo run --release -p hanse-steering --example cost`.
//!
//! With the name of a policy, a number of answers and one of default answers it does no more than that, for tools that count
//! instructions: `valgrind --tool=callgrind target/release/examples/cost geo 20000 0`.

// It measures, and tells people.
#![allow(clippy::disallowed_types, clippy::print_stdout)]

use std::{collections::BTreeSet, hint::black_box, time::Instant};

use hanse_steering::{
    Candidate, Client, Host, Place, Places, ReportedHealth, Seen, Spot, Step, answer, default_answer,
};
use hanse_topology::{MAX_REGIONS, Name, WHOLE_PERCENT};

const ANSWERS: u64 = 2_000_000;
/// A transfer makes one for each host.
const DEFAULT_ANSWERS: u64 = 200_000;

type Region = (String, i32, i32);

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn spot(latitude: i32, longitude: i32) -> Option<Spot> {
    Spot::new(latitude * 1_000_000, longitude * 1_000_000)
}

fn names(regions: &[Region]) -> Vec<Name> {
    regions.iter().map(|(region, ..)| name(region)).collect()
}

/// A step `origin` with a /22 for each of 1,024 rules.
fn origin(to: impl Fn(usize) -> Vec<Name>) -> Step {
    let network = |at: usize| format!("10.{}.{}.0/22", at / 64 + 1, at % 64 * 4).parse().expect("a network");
    Step::Origin((0..1_024).map(|at| (network(at), to(at))).collect())
}

fn policies() -> Vec<(&'static str, Vec<Region>, Vec<Step>)> {
    let three: Vec<Region> = [("ap-south", 19, 73), ("eu-west", 53, -6), ("us-east", 39, -77)]
        .map(|(region, north, east)| (region.to_owned(), north, east))
        .into();
    let many: Vec<Region> =
        (0..MAX_REGIONS as i32).map(|at| (format!("r{at:02}"), at - 32, at * 5 - 160)).collect();
    let all = names(&three);
    let weights = all.iter().cloned().zip(1..).collect();
    let geo = Step::Geo { default: vec![all[1].clone()] };
    let in_turn = origin(|at| vec![all[at % 3].clone()]);
    // Other regions for each rule, among them the first one always.
    let all_many = names(&many);
    let differing = origin(|at| {
        let chosen =
            all_many.iter().enumerate().filter(|(place, _)| *place == 0 || at >> (place % 11) & 1 == 1);
        chosen.map(|(_, region)| region.clone()).collect()
    });
    // The most that a policy may have: eight steps, of which none narrows before the last.
    let eight = (0..7)
        .map(|_| origin(|_| all_many.clone()))
        .chain([Step::Geo { default: all_many.clone() }])
        .collect();
    vec![
        ("none", three.clone(), Vec::new()),
        ("failover", three.clone(), vec![Step::Failover(all.clone())]),
        ("weighted", three.clone(), vec![Step::Weighted(weights)]),
        ("geo", three.clone(), vec![geo.clone()]),
        ("origin-1024", three.clone(), vec![in_turn.clone()]),
        ("origin-1024+geo", three.clone(), vec![in_turn.clone(), geo]),
        ("origin-1024+failover", three, vec![in_turn, Step::Failover(all), Step::Multivalue(1)]),
        ("64-regions", many.clone(), Vec::new()),
        (
            "64-regions+origin-1024+geo+failover",
            many.clone(),
            vec![
                differing,
                Step::Geo { default: all_many.clone() },
                Step::Failover(vec![all_many[0].clone()]),
            ],
        ),
        ("64-regions+8-steps", many, eight),
    ]
}

/// The time of one answer, and of one default answer, in ns.
fn ask(regions: &[Region], steps: &[Step], answers: u64, default_answers: u64) -> [u64; 2] {
    let candidate = |(region, latitude, longitude): &Region| Candidate {
        region: name(region),
        percent: WHOLE_PERCENT,
        addresses: BTreeSet::from([[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]),
        spot: spot(*latitude, *longitude),
        why: String::new(),
    };
    let host = Host::new("orders.example.com".to_owned(), regions.iter().map(candidate).collect(), steps);
    let host = host.expect("a host");
    let now = std::time::Duration::from_secs(60);
    let place = Place { reported: Some((ReportedHealth::Up, now)), addresses: BTreeSet::new() };
    let places: Places = names(regions).into_iter().map(|region| (region, place.clone())).collect();
    let seen = Seen { places: &places, now };
    let (prefix, spot) = ("10.9.64.0/24".parse().ok(), spot(48, 2));
    let mut draw = 1_u64;
    let start = Instant::now();
    for _ in 0..answers {
        draw = draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let client = Client { prefix, family: None, spot, draw };
        let answer = answer(&host, seen, black_box(&client), &mut ());
        black_box((answer.addresses().count(), answer.by_client()));
    }
    let answered = start.elapsed();
    for _ in 0..default_answers {
        black_box(default_answer(black_box(&host)).addresses().count());
    }
    let defaulted = start.elapsed() - answered;
    [(answered, answers), (defaulted, default_answers)]
        .map(|(took, count)| took.as_nanos() as u64 / count.max(1))
}

fn main() {
    let mut given = std::env::args().skip(1);
    let policy = given.next();
    let [answers, default_answers] = [ANSWERS, DEFAULT_ANSWERS]
        .map(|all| given.next().and_then(|count| count.parse().ok()).unwrap_or(all));
    for (named, regions, steps) in policies() {
        if policy.as_deref().is_some_and(|policy| policy != named) {
            continue;
        }
        let [answered, defaulted] = ask(&regions, &steps, answers, default_answers);
        println!("{named}: {answered} ns per answer, {defaulted} ns per default answer");
    }
}
