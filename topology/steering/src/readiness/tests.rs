use super::*;
use crate::rules;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn heard<T>(value: T, seconds: u64) -> Option<Heard<T>> {
    Some(Heard { value, age: Duration::from_secs(seconds) })
}

/// Nothing speaks against it.
fn standby() -> Standby {
    Standby {
        plan: Name::new("gold").unwrap(),
        region: Name::new("us-east").unwrap(),
        sync: heard(Sync { gateways: 2, behind: 0 }, 1),
        certificates: heard(NOW + Duration::from_secs(12 * 60 * 60), 2),
        quarantined: heard(Vec::new(), 3),
        ready_gateways: heard(2, 4),
        capacity: Capacity { declared: Some(1_000), plan: heard(600, 3_000), other: heard(400, 5) },
    }
}

/// One rule after a change; the others still say that the region is ready.
#[track_caller]
fn check(change: impl FnOnce(&mut Standby), rule: &str, verdict: Verdict, why: &str) {
    let mut standby = standby();
    change(&mut standby);
    let readiness = readiness(&standby, NOW);
    let finding = readiness.findings().iter().find(|finding| finding.rule == rule).unwrap();
    assert_eq!((finding.verdict, &*finding.why), (verdict, why), "{rule}");
    assert_eq!(readiness.verdict(), verdict.max(of_others(&readiness, rule)));
}

fn of_others(readiness: &Readiness, rule: &str) -> Verdict {
    readiness.findings().iter().filter(|other| other.rule != rule).map(|other| other.verdict).max().unwrap()
}

#[test]
fn a_region_that_nothing_speaks_against_is_ready() {
    let readiness = readiness(&standby(), NOW);
    assert_eq!(readiness.verdict(), Verdict::Ready);
    assert_eq!((readiness.plan().as_str(), readiness.region().as_str()), ("gold", "us-east"));
    assert_eq!(readiness.judged(), NOW);
    let traced: Vec<_> = readiness.findings().iter().map(|finding| (&*finding.rule, &*finding.why)).collect();
    assert_eq!(
        traced,
        [
            (rules::SYNC, "all 2 gateways serve the newest revision"),
            (rules::CERTIFICATES, "the first certificate ends in 720 minutes"),
            (rules::QUARANTINE, "nothing is in quarantine"),
            (rules::HEALTH, "2 gateways are ready"),
            (rules::CAPACITY, "600 requests/s of the plan and 400 of other hosts; it can carry 1000"),
            (rules::HEARD, "the oldest input is 4 s old"),
        ]
    );
    let ages: Vec<_> = readiness.findings().iter().map(|finding| finding.age.unwrap().as_secs()).collect();
    assert_eq!(ages, [1, 2, 3, 4, 5, 4]);
}

#[test]
fn sync() {
    let behind = |gateways, behind| move |of: &mut Standby| of.sync = heard(Sync { gateways, behind }, 1);
    let one = "1 of 3 gateways do not serve the newest revision";
    check(behind(3, 1), rules::SYNC, Verdict::NotReady, one);
    check(behind(0, 0), rules::SYNC, Verdict::NotReady, "it has no gateway");
    check(|of| of.sync = None, rules::SYNC, Verdict::Unknown, "nothing was heard of it");
}

#[test]
fn certificates() {
    let ends =
        |seconds: u64| move |of: &mut Standby| of.certificates = heard(NOW + Duration::from_secs(seconds), 1);
    let why = "the first certificate ends in 60 minutes";
    check(ends(3_601), rules::CERTIFICATES, Verdict::Ready, why);
    check(ends(3_600), rules::CERTIFICATES, Verdict::NotReady, why);
    let ended = |of: &mut Standby| of.certificates = heard(NOW - Duration::from_secs(9), 1);
    check(ended, rules::CERTIFICATES, Verdict::NotReady, "the first certificate ends in 0 minutes");
    check(|of| of.certificates = None, rules::CERTIFICATES, Verdict::Unknown, "nothing was heard of it");
}

#[test]
fn quarantine() {
    let keys = |count: usize| {
        move |of: &mut Standby| {
            of.quarantined = heard((1..=count).map(|at| format!("route/{at}")).collect(), 1)
        }
    };
    check(keys(1), rules::QUARANTINE, Verdict::NotReady, "route/1 is in quarantine");
    check(keys(3), rules::QUARANTINE, Verdict::NotReady, "route/1, route/2, route/3 are in quarantine");
    let many = "9 keys are in quarantine, among them route/1, route/2, route/3";
    check(keys(9), rules::QUARANTINE, Verdict::NotReady, many);
    check(|of| of.quarantined = None, rules::QUARANTINE, Verdict::Unknown, "nothing was heard of it");
}

#[test]
fn health() {
    check(|of| of.ready_gateways = heard(1, 1), rules::HEALTH, Verdict::Ready, "1 gateway is ready");
    check(|of| of.ready_gateways = heard(0, 1), rules::HEALTH, Verdict::NotReady, "no gateway is ready");
    check(|of| of.ready_gateways = None, rules::HEALTH, Verdict::Unknown, "nothing was heard of it");
}

#[test]
fn capacity() {
    let of = |declared, plan, other| move |of: &mut Standby| of.capacity = Capacity { declared, plan, other };
    let check = |declared, plan, other, verdict, why| {
        check(of(declared, plan, other), rules::CAPACITY, verdict, why);
    };
    let over = "600 requests/s of the plan and 401 of other hosts; it can carry 1000";
    check(Some(1_000), heard(600, 1), heard(401, 1), Verdict::NotReady, over);
    let most = format!("{} requests/s of the plan and 1 of other hosts; it can carry 1000", u64::MAX);
    check(Some(1_000), heard(u64::MAX, 1), heard(1, 1), Verdict::NotReady, &most);
    let undeclared = "the region declares no capacity";
    check(None, heard(600, 1), heard(1, 1), Verdict::Unknown, undeclared);
    let never = "the load of the plan's hosts was never heard";
    check(Some(1_000), None, heard(1, 1), Verdict::Unknown, never);
    let silent = "the load of its other hosts was not heard in the last 60 s";
    check(Some(1_000), heard(600, 1), None, Verdict::Unknown, silent);
    check(Some(1_000), heard(600, 1), heard(1, 61), Verdict::Unknown, silent);
}

#[test]
fn heard_within_a_minute() {
    let at = |seconds| move |of: &mut Standby| of.ready_gateways = heard(2, seconds);
    check(at(60), rules::HEARD, Verdict::Ready, "the oldest input is 60 s old");
    check(at(61), rules::HEARD, Verdict::NotReady, "not heard in the last 60 s: health");
    check(|of| of.sync = None, rules::HEARD, Verdict::NotReady, "not heard in the last 60 s: sync");
    let nothing = |of: &mut Standby| {
        let (plan, region) = (of.plan.clone(), of.region.clone());
        let capacity = Capacity::default();
        let (sync, certificates, quarantined, ready_gateways) = (None, None, None, None);
        *of = Standby { plan, region, sync, certificates, quarantined, ready_gateways, capacity };
    };
    let all = "not heard in the last 60 s: sync, certificates, quarantine, health";
    check(nothing, rules::HEARD, Verdict::NotReady, all);
}
