use runtime::step::Step as Wire;

use super::*;
use crate::Cidr;

fn host() -> runtime::GlobalHost {
    runtime::GlobalHost {
        name: "orders".to_owned(),
        zone: "gslb".to_owned(),
        host: "orders.gslb.example.com".to_owned(),
        environment: "production".to_owned(),
        ttl_s: 30,
        steps: vec![failover(&["eu-west", "us-east"])],
        candidates: vec![candidate("eu-west"), candidate("us-east")],
    }
}

fn candidate(region: &str) -> runtime::Candidate {
    runtime::Candidate {
        region: region.to_owned(),
        percent: 100,
        addresses: vec![vec![192, 0, 2, 7].into()],
        ..Default::default()
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn step(step: Wire) -> runtime::Step {
    runtime::Step { step: Some(step) }
}

fn failover(order: &[&str]) -> runtime::Step {
    step(Wire::Failover(runtime::Regions { names: texts(order) }))
}

fn geo(default: &[&str]) -> runtime::Step {
    step(Wire::Geo(runtime::Regions { names: texts(default) }))
}

fn weighted(weights: &[(&str, u32)]) -> runtime::Step {
    let one = |&(region, weight): &(&str, u32)| runtime::RegionWeight { region: region.to_owned(), weight };
    step(Wire::Weighted(runtime::Weights { weights: weights.iter().map(one).collect() }))
}

fn origin(rules: &[(&str, &[&str])]) -> runtime::Step {
    let one = |&(network, regions): &(&str, &[&str])| runtime::OriginRule {
        network: Some(Cidr::parse(network).unwrap().to_wire()),
        regions: texts(regions),
    };
    step(Wire::Origin(runtime::OriginRules { rules: rules.iter().map(one).collect() }))
}

#[test]
fn what_is_usual_can_be_used() {
    let name = |text: &str| Name::new(text).unwrap();
    let steps = vec![
        origin(&[("10.0.0.0/8", &["eu-west"]), ("fd00::/8", &["us-east", "eu-west"])]),
        geo(&["eu-west"]),
        weighted(&[("eu-west", 3), ("us-east", 0)]),
        failover(&["eu-west", "us-east"]),
        step(Wire::Multivalue(2)),
    ];
    let out = runtime::Candidate {
        percent: 0,
        addresses: Vec::new(),
        why: "drained".to_owned(),
        ..candidate("us-east")
    };
    let given = runtime::GlobalHost { steps, candidates: vec![candidate("eu-west"), out], ..host() };
    let host = GlobalHost::new(given).unwrap();
    assert_eq!((host.host.as_str(), host.ttl), ("orders.gslb.example.com", Duration::from_secs(30)));
    let rule = |network: &str, regions: &[&str]| OriginRule {
        network: Cidr::parse(network).unwrap(),
        regions: regions.iter().map(|region| name(region)).collect(),
    };
    let share = |region: &str, weight| RegionWeight { region: name(region), weight };
    assert_eq!(
        host.steps,
        [
            Step::Origin(vec![rule("10.0.0.0/8", &["eu-west"]), rule("fd00::/8", &["us-east", "eu-west"])]),
            Step::Geo(vec![name("eu-west")]),
            Step::Weighted(vec![share("eu-west", 3), share("us-east", 0)]),
            Step::Failover(vec![name("eu-west"), name("us-east")]),
            Step::Multivalue(2),
        ]
    );
    assert_eq!((host.candidates[1].percent, &*host.candidates[1].why), (0, "drained"));
    let plain = runtime::GlobalHost { steps: Vec::new(), ..self::host() };
    assert_eq!(GlobalHost::new(plain).unwrap().steps, []);
}

#[track_caller]
fn check(field: &str, change: impl FnOnce(&mut runtime::GlobalHost)) {
    let mut host = host();
    change(&mut host);
    assert_eq!(GlobalHost::new(host).unwrap_err().field, field);
}

#[test]
fn the_field_at_fault_is_named() {
    check("name", |host| host.name.clear());
    check("zone", |host| host.zone = "gslb.example.com".to_owned());
    check("host", |host| host.host = "*.gslb.example.com".to_owned());
    check("host", |host| host.host = "Orders.gslb.example.com".to_owned());
    check("environment", |host| host.environment.clear());
    check("ttl_s", |host| host.ttl_s = 86_401);
    check("candidates", |host| host.candidates.clear());
    check("candidates[2]", |host| host.candidates.push(candidate("eu-west")));
    check("candidates[1].region", |host| host.candidates[1].region.clear());
    check("candidates[0].percent", |host| host.candidates[0].percent = 101);
    check("candidates[0].percent", |host| host.candidates[0].percent = 256);
    check("candidates[0].addresses[0]", |host| host.candidates[0].addresses = vec![vec![0; 4].into()]);
    check("candidates[1].spot.country", |host| {
        let spot = runtime::Spot { country: "Ireland".to_owned(), ..Default::default() };
        host.candidates[1].spot = Some(spot);
    });
}

#[test]
fn a_step_that_would_mean_nothing_is_refused() {
    let refused = |bad: runtime::Step, field: &str| {
        check(&format!("steps[1]{field}"), |host| host.steps.push(bad));
    };
    refused(failover(&[]), ".failover");
    refused(failover(&["eu-west", "eu-west"]), ".failover[1]");
    refused(geo(&[]), ".geo");
    refused(geo(&["EU"]), ".geo[0]");
    refused(weighted(&[]), ".weighted");
    refused(weighted(&[("eu-west", 0), ("us-east", 0)]), ".weighted");
    refused(weighted(&[("eu-west", 1_000_001)]), ".weighted[0].weight");
    refused(weighted(&[("eu-west", 1), ("", 1)]), ".weighted[1].region");
    refused(weighted(&[("eu-west", 1), ("eu-west", 2)]), ".weighted[1]");
    refused(origin(&[]), ".origin");
    refused(origin(&[("10.0.0.0/8", &[])]), ".origin[0].regions");
    refused(origin(&[("10.0.0.0/8", &["eu-west"]), ("10.0.0.0/8", &["us-east"])]), ".origin[1]");
    let anywhere = runtime::OriginRule { network: None, regions: texts(&["eu-west"]) };
    refused(step(Wire::Origin(runtime::OriginRules { rules: vec![anywhere] })), ".origin[0].network");
    refused(step(Wire::Multivalue(0)), ".multivalue");
    refused(step(Wire::Multivalue(MAX_MULTIVALUE + 1)), ".multivalue");
}

/// To leave it out would answer with regions that operators did not choose.
#[test]
fn a_step_of_a_later_release_makes_the_host_unusable() {
    let later = runtime::GlobalHost { steps: vec![runtime::Step { step: None }], ..host() };
    let unusable = GlobalHost::new(later).unwrap_err();
    assert_eq!(unusable.field, "steps[0]");
    assert!(unusable.reason.contains("not known to this release"), "{unusable}");
}

#[test]
fn a_long_text_for_people_voids_no_host() {
    for (given, kept) in [
        ("y".repeat(MAX_WHY_BYTES), 512),
        ("y".repeat(MAX_WHY_BYTES + 1), 512),
        (format!("y{}", "ä".repeat(1_000)), 511),
    ] {
        let mut host = host();
        host.candidates[0].why = given.clone();
        let read = GlobalHost::new(host).unwrap();
        assert!(given.starts_with(&*read.candidates[0].why));
        assert_eq!(read.candidates[0].why.len(), kept);
    }
}

#[test]
fn what_a_host_may_have_is_bounded() {
    let check = |field: &str, most: usize, change: fn(&mut runtime::GlobalHost, usize)| {
        let (mut full, mut beyond) = (host(), host());
        change(&mut full, most);
        change(&mut beyond, most + 1);
        assert!(GlobalHost::new(full).is_ok(), "{field}");
        assert_eq!(GlobalHost::new(beyond).unwrap_err().field, field);
    };
    check("steps", MAX_STEPS, |host, count| host.steps = vec![geo(&["eu-west"]); count]);
    check("candidates", MAX_REGIONS, |host, count| {
        host.candidates = (0..count).map(|at| candidate(&format!("r{at}"))).collect();
    });
    check("steps[0].origin", MAX_ORIGIN_RULES, |host, count| {
        let networks: Vec<String> =
            (0..count).map(|at| format!("10.{}.{}.0/24", at / 256, at % 256)).collect();
        let rules: Vec<(&str, &[&str])> =
            networks.iter().map(|network| (network.as_str(), &["eu-west"][..])).collect();
        host.steps = vec![origin(&rules)];
    });
    check("candidates[0].addresses", crate::MAX_ADDRESSES, |host, count| {
        host.candidates[0].addresses = (1..=count).map(|at| vec![192, 0, 2, at as u8].into()).collect();
    });
}
