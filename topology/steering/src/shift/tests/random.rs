//! Random requests, which arrive late, twice and in any order, while operators edit the plan.

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner},
};

use super::*;
use hanse_topology::bring_back;

/// What is wrong with a region. Each makes other rules not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Gateways,
    Capacity,
}

/// A region as it is judged.
#[derive(Debug, Clone)]
struct Judged {
    region: Name,
    fault: Fault,
    /// In seconds, when it arrives.
    age: u64,
}

impl Judged {
    fn readiness(&self) -> Readiness {
        let mut standby = standby(self.region.as_str());
        match self.fault {
            Fault::None => {}
            Fault::Gateways => standby.ready_gateways = heard(0),
            Fault::Capacity => standby.capacity.declared = Some(9),
        }
        readiness(&standby, NOW - Duration::from_secs(self.age))
    }
}

#[derive(Debug, Clone)]
enum Act {
    Shift {
        to: Judged,
        steps: Option<Vec<u8>>,
        force: bool,
        drill: bool,
    },
    Step {
        step: usize,
        to: Judged,
    },
    /// The next step to the present region: at the request, `Step`.
    Next(Judged),
    Freeze,
    Unfreeze,
}

impl Act {
    /// As it is requested by a reader of this decision.
    fn of(&self, plan: &FailoverPlan, at: Option<&Decided>) -> Self {
        let initial = Failover::initial(plan);
        let present = at.map_or(&initial, Decided::failover);
        match self {
            Self::Next(to) => {
                Self::Step { step: present.step + 1, to: Judged { region: present.to.clone(), ..to.clone() } }
            }
            Self::Shift { .. } | Self::Step { .. } | Self::Freeze | Self::Unfreeze => self.clone(),
        }
    }

    fn action(&self) -> Action {
        match self {
            Self::Shift { to, steps, force, drill } => {
                let force = if *force { "now" } else { "" };
                let drill = if *drill { "gold-1" } else { "" };
                shift_to(to.readiness(), steps.as_deref(), force, drill)
            }
            Self::Step { step, to } => Action::Step { step: *step, to: to.readiness() },
            Self::Next(_) => unreachable!("it is requested as a step"),
            Self::Freeze => freeze(),
            Self::Unfreeze => Action::Unfreeze,
        }
    }
}

/// What happens to a plan.
#[derive(Debug, Clone)]
enum Event {
    /// An operator or a reconciler reads the plan, and sends a request that rests on its present decision. Some arrive at once.
    Send(Act, bool),
    /// A request that was sent arrives. It stays on its way, so that it arrives again.
    Arrive(Index),
    /// An operator edits the plan: its active region and its standbys.
    Edit(&'static str, Vec<&'static str>),
    /// A backup is restored: the decisions that follow are later than those before, also with lesser revisions.
    Restore,
}

fn judged() -> impl Strategy<Value = Judged> {
    let fault = prop_oneof![
        2 => Just(Fault::None),
        1 => Just(Fault::Gateways),
        1 => Just(Fault::Capacity),
    ];
    let age = prop_oneof![5 => 0..=60_u64, 1 => 61..100_u64];
    (select(vec!["eu", "us", "ap"]), fault, age).prop_map(|(region, fault, age)| Judged {
        region: name(region),
        fault,
        age,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let steps =
        select(vec![None, Some(vec![100]), Some(vec![1, 33, 67, 100]), Some(vec![1, 2, 3, 4, 5, 100])]);
    let shift = (judged(), steps, any::<bool>(), any::<bool>())
        .prop_map(|(to, steps, force, drill)| Act::Shift { to, steps, force, drill });
    let step = (1..5_usize, judged()).prop_map(|(step, to)| Act::Step { step, to });
    let next = judged().prop_map(Act::Next);
    let act = prop_oneof![4 => shift, 2 => step, 6 => next, 1 => Just(Act::Freeze), 4 => Just(Act::Unfreeze)];
    let standby = select(vec![vec!["us", "ap"], vec!["eu", "us", "ap"], vec!["us"], vec!["ap"]]);
    prop_oneof![
        16 => (act, any::<bool>()).prop_map(|(act, at_once)| Event::Send(act, at_once)),
        10 => any::<Index>().prop_map(Event::Arrive),
        1 => (select(vec!["eu", "us"]), standby).prop_map(|(active, standby)| Event::Edit(active, standby)),
        1 => Just(Event::Restore),
    ]
}

/// What must be true of a decision after the one before.
fn is_sound(plan: &FailoverPlan, before: Option<&Failover>, after: &Failover) -> Result<(), TestCaseError> {
    prop_assert_eq!(after.serving.iter().map(|share| u32::from(share.percent)).sum::<u32>(), 100);
    prop_assert!(after.serving.is_sorted_by(|one, next| one.region < next.region));
    prop_assert!(after.serving.iter().all(|share| share.percent > 0));
    prop_assert_eq!(after.percent(&after.to), after.steps[after.step]);
    prop_assert_eq!(after.moves(), after.percent(&after.to) < 100);
    let initial = Failover::initial(plan);
    let before = before.unwrap_or(&initial);
    for Share { region, percent } in &after.serving {
        let gained = *percent > before.percent(region);
        prop_assert!(!gained || *region == after.to, "{} got more", region);
        let of_plan = *region == plan.active || plan.standby.contains(region);
        prop_assert!(!gained || of_plan, "{} left the plan and got more", region);
    }
    prop_assert!(after.percent(&after.to) >= before.percent(&after.to));
    Ok(())
}

/// How often a run met what the properties are about.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    /// A request arrived when the plan had moved on.
    late: u32,
    /// A step followed a forced shift, with the fault that the force covers.
    covered: u32,
    /// A decision was made after an edit of the plan.
    edited: u32,
}

/// A request takes effect only on the decision that it rests on. So none takes effect twice. A shift to a region with a fault
/// needs force, and a step there the same fault at its shift.
fn decisions_are_sound(events: &[Event]) -> Result<Met, TestCaseError> {
    let mut plan = plan();
    let mut at: Option<Decided> = None;
    let mut latest = Epoch { generation: 1, revision: 0 };
    let mut sent: Vec<(Act, Epoch)> = Vec::new();
    // The fault that the present shift was forced to bear with.
    let mut forced = Fault::None;
    let mut met = Met::default();
    let mut edited = false;
    for event in events {
        let epoch = at.as_ref().map_or(Epoch::NONE, Decided::epoch);
        let arrives = match event {
            Event::Send(act, at_once) => {
                sent.push((act.of(&plan, at.as_ref()), epoch));
                at_once.then_some(sent.len() - 1)
            }
            Event::Arrive(which) => (!sent.is_empty()).then(|| which.index(sent.len())),
            Event::Edit(active, standby) => {
                edited = true;
                plan.active = name(active);
                plan.standby = standby.iter().copied().map(name).collect();
                None
            }
            Event::Restore => {
                latest = Epoch { generation: latest.generation + 1, revision: latest.revision / 2 };
                None
            }
        };
        let Some((act, on)) = arrives.map(|at| &sent[at]) else { continue };
        met.late += u32::from(*on != epoch);
        let request = Request { action: act.action(), on: *on };
        let Ok(failover) = shift(&plan, at.as_ref(), &request, NOW) else { continue };
        prop_assert_eq!(*on, epoch, "a late request took effect");
        is_sound(&plan, at.as_ref().map(Decided::failover), &failover)?;
        match act {
            Act::Shift { to, force, drill, .. } => {
                let served = at.as_ref().map_or(0, |at| at.failover().percent(&to.region));
                prop_assert!(!*drill || served < 100, "a drill took over");
                prop_assert!(to.fault == Fault::None || *force, "a fault without force");
                prop_assert!(to.age <= 60, "an old readiness");
                forced = if *force { to.fault } else { Fault::None };
            }
            Act::Step { to, .. } | Act::Next(to) => {
                prop_assert!(to.fault == Fault::None || to.fault == forced, "a fault that no force covers");
                prop_assert!(to.age <= 60, "an old readiness");
                met.covered += u32::from(to.fault != Fault::None);
            }
            Act::Freeze | Act::Unfreeze => {}
        }
        met.edited += u32::from(edited);
        latest.revision += 1;
        prop_assert!(epoch < latest);
        at = Some(Decided::new(latest, failover).map_err(|bad| TestCaseError::fail(bad.to_string()))?);
    }
    Ok(met)
}

fn run(property: impl Fn(&[Event]) -> Result<(), TestCaseError>) -> Result<(), TestError<Vec<Event>>> {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let events = prop::collection::vec(event(), 1..80);
    TestRunner::new_with_rng(config, rng).run(&events, |events| property(&events))
}

/// The property is worth something only if it notices these bugs, each by its own words.
#[track_caller]
fn notices(bug: &'static str, text: &str) {
    match bring_back(bug, || run(|events| decisions_are_sound(events).map(drop))) {
        Err(TestError::Fail(found, _)) => assert!(found.message().contains(text), "{bug}: {found}"),
        Err(TestError::Abort(why)) => panic!("{bug}: {why}"),
        Ok(()) => panic!("{bug} was not noticed"),
    }
}

#[test]
fn an_old_request_that_arrives_late_changes_nothing() {
    let all = std::cell::Cell::new(Met::default());
    run(|events| {
        let (met, before) = (decisions_are_sound(events)?, all.get());
        all.set(Met {
            late: before.late + met.late,
            covered: before.covered + met.covered,
            edited: before.edited + met.edited,
        });
        Ok(())
    })
    .unwrap();
    let met = all.get();
    println!("{met:?}");
    assert!(met.late > 1_000 && met.covered > 10 && met.edited > 100, "{met:?}");
    notices("ignore-epoch", "a late request took effect");
    notices("any-region", "left the plan and got more");
    notices("force-covers-all", "a fault that no force covers");
}
