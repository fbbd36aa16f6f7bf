mod random;

use super::*;
use crate::{Capacity, Heard, Standby, Sync, readiness};

const AGE: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1_800_000_000);
const EPOCH: Epoch = Epoch { generation: 1, revision: 7 };

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn plan() -> FailoverPlan {
    FailoverPlan {
        name: name("gold"),
        active: name("eu"),
        standby: vec![name("us"), name("ap")],
        steps: vec![10, 50, 100],
        step_every: Duration::from_secs(30),
    }
}

fn standby(region: &str) -> Standby {
    Standby {
        plan: name("gold"),
        region: name(region),
        sync: heard(Sync { gateways: 2, behind: 0 }),
        certificates: heard(NOW + Duration::from_secs(40_000)),
        quarantined: heard(Vec::new()),
        ready_gateways: heard(2),
        capacity: Capacity { declared: Some(10), plan: heard(5), other: heard(5) },
    }
}

fn heard<T>(value: T) -> Option<Heard<T>> {
    Some(Heard { value, age: AGE })
}

fn ready(region: &str) -> Readiness {
    readiness(&standby(region), NOW)
}

fn not_ready(region: &str) -> Readiness {
    let sync = heard(Sync { gateways: 0, behind: 0 });
    readiness(&Standby { sync, ready_gateways: heard(0), ..standby(region) }, NOW)
}

fn overloaded(region: &str) -> Readiness {
    let capacity = Capacity { declared: Some(9), ..standby(region).capacity };
    readiness(&Standby { capacity, ..standby(region) }, NOW)
}

/// A shift. `force` and `drill`: none where they are empty.
fn shift_to(to: Readiness, steps: Option<&[u8]>, force: &str, drill: &str) -> Action {
    Action::Shift {
        to,
        steps: steps.map(<[u8]>::to_vec),
        reason: "the power fails".to_owned(),
        force: (!force.is_empty()).then(|| force.to_owned()),
        drill: (!drill.is_empty()).then(|| name(drill)),
    }
}

fn to(region: &str, steps: Option<&[u8]>) -> Action {
    shift_to(ready(region), steps, "", "")
}

fn step(step: usize, region: &str) -> Action {
    Action::Step { step, to: ready(region) }
}

fn freeze() -> Action {
    Action::Freeze { reason: "new racks".to_owned() }
}

fn decided(failover: Failover) -> Decided {
    Decided::new(EPOCH, failover).unwrap()
}

/// An action that rests on the present decision.
fn act_on(plan: &FailoverPlan, at: Option<&Decided>, action: Action) -> Result<Failover, Refusal> {
    let on = at.map_or(Epoch::NONE, Decided::epoch);
    shift(plan, at, &Request { action, on }, NOW)
}

fn act(at: Option<&Decided>, action: Action) -> Result<Failover, Refusal> {
    act_on(&plan(), at, action)
}

/// Does one after the other, and gives the last decision.
fn done(actions: &[Action]) -> Decided {
    let mut at = None;
    for action in actions {
        at = Some(decided(act(at.as_ref(), action.clone()).unwrap()));
    }
    at.expect("there is an action")
}

fn shares(failover: &Failover) -> String {
    let shares = failover.serving.iter().map(|share| format!("{} {}", share.region, share.percent));
    shares.collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(actions: &[Action], expected: &str) {
    assert_eq!(shares(done(actions).failover()), expected);
}

#[track_caller]
fn refused(at: Option<&Decided>, action: Action, rule: &str, expected: &str) {
    let refusal = act(at, action).unwrap_err();
    assert_eq!((refusal.rule, &*refusal.to_string()), (rule, expected));
}

#[test]
fn a_shift_goes_in_the_plans_steps_or_its_own() {
    check(&[to("us", None)], "eu 90, us 10");
    check(&[to("us", None), step(1, "us")], "eu 50, us 50");
    check(&[to("us", None), step(1, "us"), step(2, "us")], "us 100");
    check(&[to("us", Some(&[100]))], "us 100");
    check(&[to("us", Some(&[1, 100]))], "eu 99, us 1");
    let begun = done(&[to("us", None)]);
    let failover = begun.failover();
    assert_eq!((failover.step, &*failover.steps, failover.moves()), (0, &[10, 50, 100][..], true));
    assert_eq!(failover.step_every, plan().step_every);
    assert_eq!(failover.readiness, ready("us").findings());
    assert!(!done(&[to("us", Some(&[100]))]).failover().moves());
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
    let why = "us is not ready: sync: it has no gateway; health: no gateway is ready; mend that, or shift with --force and the \
               reason for it";
    refused(None, shift_to(not_ready("us"), None, "", ""), NOT_READY, why);
    let forced = done(&[shift_to(not_ready("us"), None, "eu burns", "")]);
    assert_eq!(forced.failover().forced.as_deref(), Some("eu burns"));
    assert_eq!(forced.failover().readiness, not_ready("us").findings());
    // A step of a shift without force is refused when the region is not ready any more.
    let begun = done(&[to("us", None)]);
    refused(Some(&begun), Action::Step { step: 1, to: not_ready("us") }, NOT_READY, why);
    // The active region is judged, too.
    let there = done(&[to("us", Some(&[100]))]);
    let back = shift_to(not_ready("eu"), None, "", "");
    refused(Some(&there), back, NOT_READY, &why.replace("us is", "eu is"));
    // An unknown verdict refuses nothing.
    let capacity = Capacity { declared: None, ..standby("us").capacity };
    let unknown = readiness(&Standby { capacity, ..standby("us") }, NOW);
    assert_eq!(unknown.verdict(), Verdict::Unknown);
    assert!(act(None, shift_to(unknown, None, "", "")).is_ok());
}

#[test]
fn a_force_covers_the_rules_that_were_not_ready_then() {
    let forced = done(&[shift_to(overloaded("us"), None, "eu burns", "")]);
    let step_to = |step: usize, to: Readiness| Action::Step { step, to };
    let half = decided(act(Some(&forced), step_to(1, overloaded("us"))).unwrap());
    assert_eq!(
        (&*shares(half.failover()), half.failover().forced.as_deref()),
        ("eu 50, us 50", Some("eu burns"))
    );
    // The rule is ready in between, and is still covered.
    let half = decided(act(Some(&forced), step(1, "us")).unwrap());
    assert!(act(Some(&half), step_to(2, overloaded("us"))).is_ok());
    // Another rule needs another force.
    let why = "us is not ready: sync: it has no gateway; health: no gateway is ready; mend that, or shift with --force and the \
               reason for it";
    refused(Some(&half), step_to(2, not_ready("us")), NOT_READY, why);
    let anew = act(Some(&half), shift_to(not_ready("us"), None, "no other region is left", "")).unwrap();
    assert_eq!((&*shares(&anew), anew.forced.as_deref()), ("us 100", Some("no other region is left")));
    // A force that nothing needed covers nothing.
    let needless = done(&[shift_to(ready("us"), None, "to be sure", "")]);
    refused(Some(&needless), step_to(1, not_ready("us")), NOT_READY, why);
}

#[test]
fn clients_that_moved_already_are_not_counted_twice() {
    // The plan's clients are 600 in all regions together, of which us has 0, 60 and 300; the other hosts of us are 400.
    let capacity = Capacity { declared: Some(1_000), plan: heard(600), other: heard(400) };
    let judged = || readiness(&Standby { capacity, ..standby("us") }, NOW);
    let steps = [1, 2].map(|step| Action::Step { step, to: judged() });
    check(&[&[shift_to(judged(), None, "", "")][..], &steps].concat(), "us 100");
}

#[test]
fn a_readiness_counts_for_a_minute_and_for_its_plan() {
    let begun = done(&[to("us", None)]);
    let check = |judged: Readiness, expected: Option<(&str, &str)>| {
        let both = [
            (None, shift_to(judged.clone(), None, "now", "")),
            (Some(&begun), Action::Step { step: 1, to: judged }),
        ];
        for (at, action) in both {
            let found = act(at, action).map_err(|refusal| (refusal.rule, refusal.to_string())).err();
            assert_eq!(found.as_ref().map(|(rule, why)| (*rule, &**why)), expected);
        }
    };
    let at = |seconds: u64| readiness(&standby("us"), NOW - Duration::from_secs(seconds));
    check(at(60), None);
    let old = Some((OLD_READINESS, "us was not judged within 60 s; judge it again"));
    check(at(61), old);
    check(readiness(&standby("us"), NOW + Duration::from_secs(61)), old);
    let other = readiness(&Standby { plan: name("silver"), ..standby("us") }, NOW);
    check(other, Some((OTHER_PLAN, "us was judged for plan silver; judge it for plan gold")));
}

#[test]
fn a_frozen_plan_does_not_move() {
    for before in [&[][..], &[to("us", None)], &[shift_to(ready("us"), None, "", "gold-1")]] {
        let frozen = done(&[before, &[freeze()]].concat());
        assert_eq!(frozen.failover().frozen.as_deref(), Some("new racks"));
        let forced = shift_to(ready("ap"), None, "now", "");
        for action in [to("eu", None), to("ap", None), forced, step(1, "us"), freeze()] {
            refused(Some(&frozen), action, FROZEN, "the plan is frozen: new racks; unfreeze it first");
        }
        // All else stays as it was.
        let thawed = act(Some(&frozen), Action::Unfreeze).unwrap();
        assert_eq!(Failover { frozen: None, ..frozen.failover().clone() }, thawed);
        if !before.is_empty() {
            assert_eq!(&thawed, done(before).failover());
        }
    }
    check(&[freeze()], "eu 100");
    check(&[to("us", None), freeze(), Action::Unfreeze, step(1, "us")], "eu 50, us 50");
    refused(None, Action::Unfreeze, NOT_FROZEN, "the plan is not frozen; nothing is to be done");
}

#[test]
fn a_freeze_pins_the_regions_that_serve() {
    let pinned = done(&[freeze(), Action::Unfreeze]);
    let edited = FailoverPlan { active: name("us"), standby: vec![name("eu")], ..plan() };
    // Without a decision the edit led everybody to us.
    assert_eq!(act_on(&edited, None, to("us", None)).unwrap_err().rule, ALREADY_THERE);
    let moved = act_on(&edited, Some(&pinned), to("us", None)).unwrap();
    assert_eq!(shares(&moved), "eu 90, us 10");
}

#[test]
fn no_step_leads_to_a_region_that_left_the_plan() {
    let begun = done(&[to("us", None)]);
    let without_us = FailoverPlan { standby: vec![name("ap")], ..plan() };
    let refusal = act_on(&without_us, Some(&begun), step(1, "us")).unwrap_err();
    assert_eq!(refusal.rule, UNKNOWN_REGION);
    let why = "us is no region of the plan; name one of eu, ap, or add it to the plan";
    assert_eq!(refusal.to_string(), why);
    // It serves until its clients are led away.
    let back = act_on(&without_us, Some(&begun), to("eu", None)).unwrap();
    assert_eq!(shares(&back), "eu 100");
}

#[test]
fn steps_are_taken_one_by_one() {
    let begun = done(&[to("us", None)]);
    let check = |at: Option<&Decided>, step_at: usize, region: &str, remedy: &str| {
        let expected = format!("step {step_at} to {region} is not the next one; {remedy}");
        refused(at, step(step_at, region), STEP_ORDER, &expected);
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
fn a_request_that_makes_no_sense_is_refused() {
    let why = "sa is no region of the plan; name one of eu, us, ap, or add it to the plan";
    refused(None, to("sa", None), UNKNOWN_REGION, why);
    let why = "eu serves all clients of the plan already; name another region";
    refused(None, to("eu", None), ALREADY_THERE, why);
    let there = done(&[to("us", Some(&[100]))]);
    let why = "us serves all clients of the plan already; name another region";
    refused(Some(&there), to("us", None), ALREADY_THERE, why);
    for steps in [&[][..], &[10, 50], &[50, 10, 100], &[10, 10, 100], &[0, 100], &[100, 200], &[255]] {
        let why = format!(
            "{steps:?} are no steps; give percents from 1 on that grow and end with 100, for example 10,50,100"
        );
        refused(None, to("us", Some(steps)), STEPS, &why);
    }
    let why =
        "no reason is given; say in a few words why the plan is to move, or not to move, or is forced to";
    let no_reason =
        Action::Shift { to: ready("us"), steps: None, reason: " ".to_owned(), force: None, drill: None };
    refused(None, no_reason, REASON, why);
    refused(None, shift_to(ready("us"), None, " ", ""), REASON, why);
    refused(None, Action::Freeze { reason: String::new() }, REASON, why);
}

#[test]
fn a_request_rests_on_the_present_decision() {
    let epoch = |generation: u64, revision: u64| Epoch { generation, revision };
    let at = done(&[to("us", None)]);
    let ask = |at: Option<&Decided>, action: Action, on: Epoch| {
        shift(&plan(), at, &Request { action, on }, NOW)
            .map_err(|refusal| (refusal.rule, refusal.to_string()))
    };
    for (on, text) in [(epoch(1, 6), "1/6"), (epoch(1, 8), "1/8"), (epoch(0, 7), "0/7"), (Epoch::NONE, "0/0")]
    {
        let why = format!(
            "it rests on decision {text}, and the plan is at 1/7; look at the plan again, and decide anew"
        );
        for action in [to("ap", None), step(1, "us"), freeze(), Action::Unfreeze] {
            assert_eq!(ask(Some(&at), action, on), Err((OLD_EPOCH, why.clone())));
        }
    }
    let why = "it rests on decision 1/7, and the plan is at 0/0; look at the plan again, and decide anew";
    assert_eq!(ask(None, to("us", None), EPOCH), Err((OLD_EPOCH, why.to_owned())));
    assert!(ask(Some(&at), step(1, "us"), EPOCH).is_ok());
    assert!(ask(None, to("us", None), Epoch::NONE).is_ok());
}

#[test]
fn a_drill_moves_a_plan_as_an_operator_does() {
    let drill = |region: &str, steps: Option<&[u8]>| shift_to(ready(region), steps, "", "gold-1");
    let in_drill = done(&[drill("us", None), step(1, "us")]);
    let by_hand = done(&[to("us", None), step(1, "us")]);
    assert_eq!(in_drill.failover().drill, Some(name("gold-1")));
    assert_eq!(&Failover { drill: None, ..in_drill.failover().clone() }, by_hand.failover());
    // An operator's shift takes over, also where the drill led everybody already.
    let all = done(&[drill("us", Some(&[100]))]);
    for at in [&in_drill, &all] {
        let taken = act(Some(at), shift_to(not_ready("us"), Some(&[100]), "eu died", "")).unwrap();
        assert_eq!(
            (&*shares(&taken), &taken.drill, taken.forced.as_deref()),
            ("us 100", &None, Some("eu died"))
        );
        assert_eq!((&*taken.steps, taken.step, taken.moves()), (&[100][..], 0, false));
        assert_eq!(taken.readiness, not_ready("us").findings());
    }
    check(&[drill("us", Some(&[100])), to("us", None)], "us 100");
    // A drill never takes over where an operator or another drill has led everybody.
    let why = "us serves all clients of the plan already; name another region";
    refused(Some(&done(&[to("us", Some(&[100]))])), drill("us", None), ALREADY_THERE, why);
    refused(Some(&all), drill("us", None), ALREADY_THERE, why);
    refused(Some(&all), shift_to(ready("us"), None, "", "gold-2"), ALREADY_THERE, why);
}

#[test]
fn a_stored_decision_is_checked() {
    let good = done(&[to("us", None)]).failover().clone();
    let check = |change: fn(&mut Failover), expected: &str| {
        let mut failover = good.clone();
        change(&mut failover);
        assert_eq!(Decided::new(EPOCH, failover).unwrap_err().to_string(), expected);
    };
    let serving = |found: &str| {
        format!(
            "serving: {found}; give regions in the order of their names, each 1 to 100 percent, and 100 together"
        )
    };
    check(|of| of.serving.clear(), &serving("[]"));
    check(|of| of.serving[0].percent = 80, &serving("[eu 80, us 10]"));
    check(|of| of.serving.reverse(), &serving("[us 10, eu 90]"));
    check(|of| of.serving[1].region = name("eu"), &serving("[eu 90, eu 10]"));
    check(|of| of.serving = vec![Share { region: name("us"), percent: 0 }], &serving("[us 0]"));
    check(|of| of.steps.clear(), "steps: []; give percents from 1 on that grow and end with 100");
    check(
        |of| of.steps = vec![10, 50],
        "steps: [10, 50]; give percents from 1 on that grow and end with 100",
    );
    check(|of| of.step = 3, "step: 3 is no place in 3 steps; give one below 3");
    let most = format!("step: {} is no place in 3 steps; give one below 3", usize::MAX);
    check(|of| of.step = usize::MAX, &most);
    check(
        |of| of.step = 1,
        "to: us serves 10 percent, and step 1 is at 50; give the region that step 1 leads to",
    );
    check(
        |of| of.to = name("ap"),
        "to: ap serves 0 percent, and step 0 is at 10; give the region that step 0 leads to",
    );
    assert!(!Failover { step: usize::MAX, ..good.clone() }.moves());
}
