//! What an answer costs, by policy: `cargo run --release -p hanse-steering --example cost`.
//!
//! With the name of a policy and a number of queries it does no more than that, for tools that count instructions.

// It measures, and tells people.
#![allow(clippy::disallowed_types, clippy::print_stdout)]

use std::{collections::BTreeSet, hint::black_box, time::Instant};

use hanse_steering::{Candidate, Client, Host, Place, Places, Seen, Spot, Step, WHOLE, Word, answer};
use hanse_topology::Name;

const QUERIES: u64 = 2_000_000;
const REGIONS: [(&str, i32, i32); 3] = [("ap-south", 19, 73), ("eu-west", 53, -6), ("us-east", 39, -77)];

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn spot(latitude: i32, longitude: i32) -> Option<Spot> {
    Spot::new(latitude * 1_000_000, longitude * 1_000_000)
}

fn all() -> Vec<Name> {
    REGIONS.iter().map(|(region, ..)| name(region)).collect()
}

fn policies() -> Vec<(&'static str, Vec<Step>)> {
    let weights = REGIONS.iter().zip(1..).map(|((region, ..), weight)| (name(region), weight));
    // A /16 for each of 1,024, to the regions in turn.
    let networks = (0..1_024_u32).map(|at| {
        let network = format!("10.{}.{}.0/22", at / 64 + 1, at % 64 * 4);
        (network.parse().expect("a network"), vec![name(REGIONS[at as usize % 3].0)])
    });
    let geo = Step::Geo { default: vec![name("eu-west")] };
    let origin = Step::Origin(networks.collect());
    vec![
        ("none", Vec::new()),
        ("failover", vec![Step::Failover(all())]),
        ("weighted", vec![Step::Weighted(weights.collect())]),
        ("geo", vec![geo.clone()]),
        ("origin-1024", vec![origin.clone()]),
        ("origin-1024+geo", vec![origin.clone(), geo]),
        // Whatever the network, one region answers: each kind of client is tried.
        ("origin-1024+failover", vec![origin, Step::Failover(all()), Step::Multivalue(1)]),
    ]
}

fn ask(steps: &[Step], queries: u64) {
    let candidate = |(region, latitude, longitude): (&str, i32, i32)| Candidate {
        region: name(region),
        percent: WHOLE,
        addresses: BTreeSet::from([[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]),
        spot: spot(latitude, longitude),
        why: String::new(),
    };
    let host = Host::new("orders.example.com".to_owned(), REGIONS.map(candidate).to_vec(), steps);
    let host = host.expect("a host");
    let now = std::time::Duration::from_secs(60);
    let place = Place { word: Some((Word::Up, now)), addresses: BTreeSet::new() };
    let places: Places = all().into_iter().map(|region| (region, place.clone())).collect();
    let seen = Seen { places: &places, now };
    let (prefix, spot) = ("10.9.64.0/24".parse().ok(), spot(48, 2));
    let mut draw = 1_u64;
    for _ in 0..queries {
        draw = draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let client = Client { prefix, spot, draw };
        let answer = answer(&host, seen, black_box(&client), &mut ());
        black_box((answer.addresses().count(), answer.by_client()));
    }
}

fn main() {
    let mut given = std::env::args().skip(1);
    let (policy, queries) = (given.next(), given.next().and_then(|queries| queries.parse().ok()));
    for (named, steps) in policies() {
        if policy.as_deref().is_some_and(|policy| policy != named) {
            continue;
        }
        let queries = queries.unwrap_or(QUERIES);
        let start = Instant::now();
        ask(&steps, queries);
        println!("{named}: {} ns per answer", start.elapsed().as_nanos() as u64 / queries.max(1));
    }
}
