mod random;

use super::*;
use crate::{Capacity, Heard, Standby, Sync, readiness};

const AGE: Duration = Duration::from_secs(1);
const EPOCH: Epoch = Epoch { generation: 1, revision: 7 };

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn plan() -> Plan {
    Plan {
        active: name("eu"),
        standby: vec![name("us"), name("ap")],
        steps: vec![10, 50, 100],
        step_every: Duration::from_secs(30),
    }
}

fn judge(region: &str, gateways: u32, declared: Option<u64>) -> Readiness {
    let heard = |value: u32| Some(Heard { value, age: AGE });
    let standby = Standby {
        region: name(region),
        sync: Some(Heard { value: Sync { gateways, behind: 0 }, age: AGE }),
        certificates: Some(Heard { value: Duration::from_secs(40_000), age: AGE }),
        quarantined: Some(Heard { value: Vec::new(), age: AGE }),
        ready_gateways: heard(gateways),
        capacity: Capacity {
            declared,
            plan: Some(Heard { value: 5, age: AGE }),
            other: Some(Heard { value: 5, age: AGE }),
        },
    };
    readiness(&standby, Duration::ZERO)
}

fn ready(region: &str) -> Readiness {
    judge(region, 2, Some(10))
}

fn not_ready(region: &str) -> Readiness {
    judge(region, 0, Some(10))
}

fn want(what: What) -> Wanted {
    Wanted { what, reason: "the power fails".to_owned(), force: None, drill: None, expects: None }
}

fn to(region: &str, steps: Option<&[u8]>) -> Wanted {
    want(What::Shift { to: ready(region), steps: steps.map(<[u8]>::to_vec) })
}

fn step(step: usize, region: &str) -> Wanted {
    want(What::Step { step, to: ready(region) })
}

/// Does one after the other, and gives what was decided last.
fn done(wishes: &[Wanted]) -> Decided {
    let mut at = None;
    for wanted in wishes {
        let failover = shift(&plan(), at.as_ref(), wanted).unwrap();
        at = Some(Decided { epoch: EPOCH, failover });
    }
    at.expect("something is wished for")
}

fn shares(failover: &Failover) -> String {
    let shares = failover.serving.iter().map(|share| format!("{} {}", share.region, share.percent));
    shares.collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(wishes: &[Wanted], expected: &str) {
    let Decided { failover, .. } = done(wishes);
    assert_eq!(shares(&failover), expected);
}

#[track_caller]
fn refused(at: Option<&Decided>, wanted: &Wanted, rule: &str, expected: &str) {
    let refusal = shift(&plan(), at, wanted).unwrap_err();
    assert_eq!((refusal.rule, &*refusal.to_string()), (rule, expected));
}

#[test]
fn a_shift_goes_in_the_plans_steps_or_its_own() {
    check(&[to("us", None)], "eu 90, us 10");
    check(&[to("us", None), step(1, "us")], "eu 50, us 50");
    check(&[to("us", None), step(1, "us"), step(2, "us")], "us 100");
    check(&[to("us", Some(&[100]))], "us 100");
    check(&[to("us", Some(&[1, 100]))], "eu 99, us 1");
    let Decided { failover, .. } = done(&[to("us", None)]);
    assert_eq!((failover.step, &*failover.steps, failover.moves()), (0, &[10, 50, 100][..], true));
    assert_eq!(failover.step_every, plan().step_every);
    assert_eq!(failover.readiness, ready("us").findings());
    assert!(!done(&[to("us", Some(&[100]))]).failover.moves());
}

#[test]
fn a_failback_is_a_shift_to_the_active_region() {
    let there = [to("us", Some(&[100]))];
    check(&[&there[..], &[to("eu", None)]].concat(), "eu 10, us 90");
    check(&[&there[..], &[to("eu", None), step(1, "eu"), step(2, "eu")]].concat(), "eu 100");
}

#[test]
fn a_shift_never_takes_clients_from_the_region_that_it_leads_to() {
    // Back in the middle of a shift: eu has more than the first steps say.
    check(&[to("us", None), to("eu", None)], "eu 100");
    let half = [to("us", None), step(1, "us")];
    check(&[&half[..], &[to("eu", Some(&[10, 60, 100]))]].concat(), "eu 60, us 40");
    // On to a third one: the two give in proportion.
    check(&[&half[..], &[to("ap", None)]].concat(), "ap 10, eu 45, us 45");
    check(&[&half[..], &[to("ap", Some(&[1, 100]))]].concat(), "ap 1, eu 50, us 49");
    check(&[to("us", Some(&[1, 100])), to("ap", Some(&[99, 100]))], "ap 99, eu 1");
}

#[test]
fn a_region_that_is_not_ready_needs_force() {
    let mut wanted = want(What::Shift { to: not_ready("us"), steps: None });
    let why = "us is not ready: sync: it has no gateway; health: no gateway is ready; mend that, or shift with --force and the \
               reason for it";
    refused(None, &wanted, NOT_READY, why);
    wanted.force = Some("eu burns".to_owned());
    let forced = Decided { epoch: EPOCH, failover: shift(&plan(), None, &wanted).unwrap() };
    assert_eq!(forced.failover.forced.as_deref(), Some("eu burns"));
    assert_eq!(forced.failover.readiness, not_ready("us").findings());
    // The force counts for the next steps.
    let next = shift(&plan(), Some(&forced), &want(What::Step { step: 1, to: not_ready("us") })).unwrap();
    assert_eq!((shares(&next).as_str(), next.forced.as_deref()), ("eu 50, us 50", Some("eu burns")));
    // A step of a shift without force is refused, when the region is not ready any more.
    let begun = done(&[to("us", None)]);
    refused(Some(&begun), &want(What::Step { step: 1, to: not_ready("us") }), NOT_READY, why);
    // The active region is judged, too.
    let there = done(&[to("us", Some(&[100]))]);
    let back = want(What::Shift { to: not_ready("eu"), steps: None });
    refused(Some(&there), &back, NOT_READY, &why.replace("us is", "eu is"));
    // What cannot be told refuses nothing.
    let unknown = judge("us", 2, None);
    assert_eq!(unknown.verdict(), Verdict::Unknown);
    assert!(shift(&plan(), None, &want(What::Shift { to: unknown, steps: None })).is_ok());
}

#[test]
fn a_frozen_plan_does_not_move() {
    let freeze = Wanted { reason: "new racks".to_owned(), ..want(What::Freeze) };
    for before in [&[][..], &[to("us", None)]] {
        let frozen = done(&[before, std::slice::from_ref(&freeze)].concat());
        assert_eq!(frozen.failover.frozen.as_deref(), Some("new racks"));
        let mut forced = to("ap", None);
        forced.force = Some("now".to_owned());
        for wanted in [to("eu", None), to("ap", None), forced, step(1, "us"), freeze.clone()] {
            refused(Some(&frozen), &wanted, FROZEN, "the plan is frozen: new racks; unfreeze it first");
        }
        // All else stays as it was.
        let thawed = shift(&plan(), Some(&frozen), &want(What::Unfreeze)).unwrap();
        assert_eq!(Failover { frozen: None, ..frozen.failover }, thawed);
    }
    check(std::slice::from_ref(&freeze), "eu 100");
    check(&[to("us", None), freeze.clone(), want(What::Unfreeze), step(1, "us")], "eu 50, us 50");
    refused(None, &want(What::Unfreeze), NOT_FROZEN, "the plan is not frozen; nothing is to be done");
}

#[test]
fn steps_are_taken_one_by_one() {
    let begun = done(&[to("us", None)]);
    let check = |at: Option<&Decided>, step_at: usize, region: &str, remedy: &str| {
        let expected = format!("step {step_at} to {region} is not the next one; {remedy}");
        refused(at, &step(step_at, region), STEP_ORDER, &expected);
    };
    check(Some(&begun), 2, "us", "step 1 to us is next");
    check(Some(&begun), 0, "us", "step 1 to us is next");
    check(Some(&begun), 1, "ap", "step 1 to us is next");
    let over = done(&[to("us", None), step(1, "us"), step(2, "us")]);
    check(Some(&over), 3, "us", "the shift to us has no more steps: start another one");
    check(Some(&over), usize::MAX, "us", "the shift to us has no more steps: start another one");
    check(None, 1, "us", "the shift to eu has no more steps: start another one");
}

#[test]
fn a_wish_that_makes_no_sense_is_refused() {
    let why = "sa is no region of the plan; name one of eu, us, ap, or add it to the plan";
    refused(None, &to("sa", None), UNKNOWN_REGION, why);
    refused(
        None,
        &to("eu", None),
        ALREADY_THERE,
        "eu serves all clients of the plan already; name another region",
    );
    let there = done(&[to("us", Some(&[100]))]);
    let why = "us serves all clients of the plan already; name another region";
    refused(Some(&there), &to("us", None), ALREADY_THERE, why);
    for steps in [&[][..], &[10, 50], &[50, 10, 100], &[10, 10, 100], &[0, 100], &[100, 200], &[255]] {
        let why = format!(
            "{steps:?} are no steps; give percents from 1 on that grow and end with 100, for example 10,50,100"
        );
        refused(None, &to("us", Some(steps)), STEPS, &why);
    }
    let why = "no reason is given; say in a few words why the plan is to move";
    for what in [What::Shift { to: ready("us"), steps: None }, What::Freeze, What::Unfreeze] {
        refused(None, &Wanted { reason: " ".to_owned(), ..want(what) }, REASON, why);
    }
    refused(None, &Wanted { force: Some(String::new()), ..to("us", None) }, REASON, why);
}

#[test]
fn a_wish_rests_on_the_present_decision() {
    let expects = |generation: u64, revision: u64| Some(Epoch { generation, revision });
    let at = done(&[to("us", None)]);
    for (expected, text) in
        [(expects(1, 6), "1/6"), (expects(1, 8), "1/8"), (expects(0, 7), "0/7"), (Some(Epoch::NONE), "0/0")]
    {
        let why = format!(
            "it rests on decision {text}, and the plan is at 1/7; look at the plan again, and decide anew"
        );
        for wanted in [to("ap", None), step(1, "us"), want(What::Freeze), want(What::Unfreeze)] {
            refused(Some(&at), &Wanted { expects: expected, ..wanted }, OLD_EPOCH, &why);
        }
    }
    let why = "it rests on decision 1/7, and the plan is at 0/0; look at the plan again, and decide anew";
    refused(None, &Wanted { expects: Some(EPOCH), ..to("us", None) }, OLD_EPOCH, why);
    assert!(shift(&plan(), Some(&at), &Wanted { expects: Some(EPOCH), ..step(1, "us") }).is_ok());
    assert!(shift(&plan(), None, &Wanted { expects: Some(Epoch::NONE), ..to("us", None) }).is_ok());
}

#[test]
fn a_drill_moves_a_plan_as_an_operator_does() {
    let drill = |wanted: Wanted| Wanted { drill: Some(name("gold-1")), ..wanted };
    let in_drill = done(&[drill(to("us", None)), step(1, "us")]);
    let by_hand = done(&[to("us", None), step(1, "us")]);
    assert_eq!(in_drill.failover.drill, Some(name("gold-1")));
    assert_eq!(Failover { drill: None, ..in_drill.failover.clone() }, by_hand.failover);
    // An operator's shift ends it.
    let taken = shift(&plan(), Some(&in_drill), &to("us", Some(&[100]))).unwrap();
    assert_eq!((shares(&taken).as_str(), taken.drill), ("us 100", None));
}

#[test]
fn clients_that_moved_already_are_not_counted_twice() {
    // The plan's clients are 600 in all regions together, of which us has 0, 60 and 300; the other hosts of us are 400.
    let heard = |value| Some(Heard { value, age: AGE });
    let standby = Standby {
        region: name("us"),
        sync: Some(Heard { value: Sync { gateways: 2, behind: 0 }, age: AGE }),
        certificates: Some(Heard { value: Duration::from_secs(40_000), age: AGE }),
        quarantined: Some(Heard { value: Vec::new(), age: AGE }),
        ready_gateways: Some(Heard { value: 2, age: AGE }),
        capacity: Capacity { declared: Some(1_000), plan: heard(600), other: heard(400) },
    };
    let judged = || readiness(&standby, Duration::ZERO);
    let steps = [1, 2].map(|step| want(What::Step { step, to: judged() }));
    check(&[&[want(What::Shift { to: judged(), steps: None })][..], &steps].concat(), "us 100");
}
