//! Random wishes, that arrive late, twice and in any order.

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner},
};

use super::*;
use crate::seeded::bring_back;

/// What happens to a plan.
#[derive(Debug, Clone)]
enum Event {
    /// Somebody looks at the plan, and sends a wish that rests on what it is now.
    Wish(What),
    /// A wish that was sent arrives. It stays on its way, so that it arrives again.
    Arrive(prop::sample::Index),
    /// A backup is restored: the decisions that follow are later than those before, whatever their revisions.
    Restore,
}

fn event() -> impl Strategy<Value = Event> {
    let region = select(vec!["eu", "us", "ap"]);
    let steps = select(vec![None, Some(vec![100]), Some(vec![1, 33, 67, 100]), Some(vec![99, 100])]);
    let what = prop_oneof![
        4 => (region.clone(), steps).prop_map(|(region, steps)| What::Shift { to: ready(region), steps }),
        4 => (1..4_usize, region).prop_map(|(step, region)| What::Step { step, to: ready(region) }),
        1 => Just(What::Freeze),
        1 => Just(What::Unfreeze),
    ];
    prop_oneof![
        5 => what.prop_map(Event::Wish),
        8 => any::<prop::sample::Index>().prop_map(Event::Arrive),
        1 => Just(Event::Restore),
    ]
}

/// What must be true of a decision.
fn is_sound(before: Option<&Failover>, after: &Failover) -> Result<(), TestCaseError> {
    prop_assert_eq!(after.serving.iter().map(|share| u32::from(share.percent)).sum::<u32>(), 100);
    prop_assert!(after.serving.is_sorted_by(|one, next| one.region < next.region));
    prop_assert!(after.serving.iter().all(|share| share.percent > 0));
    prop_assert_eq!(after.percent(&after.to), after.steps[after.step]);
    prop_assert_eq!(after.moves(), after.percent(&after.to) < 100);
    let initial = Failover::initial(&plan(), "");
    let before = before.unwrap_or(&initial);
    for Share { region, percent } in &after.serving {
        prop_assert!(*region == after.to || *percent <= before.percent(region), "{} got more", region);
    }
    prop_assert!(after.percent(&after.to) >= before.percent(&after.to));
    Ok(())
}

/// A wish changes a plan only if the plan is as it was when the wish was made. So none takes effect twice.
fn late_wishes_change_nothing(events: &[Event]) -> Result<u32, TestCaseError> {
    let mut at: Option<Decided> = None;
    let mut latest = Epoch { generation: 1, revision: 0 };
    let mut sent: Vec<(Wanted, Option<Decided>)> = Vec::new();
    let mut late = 0;
    for event in events {
        match event {
            Event::Wish(what) => {
                let expects = Some(at.as_ref().map_or(Epoch::NONE, |decided| decided.epoch));
                sent.push((Wanted { expects, ..want(what.clone()) }, at.clone()));
            }
            Event::Arrive(which) if !sent.is_empty() => {
                let (wanted, rested_on) = which.get(&sent);
                late += u32::from(*rested_on != at);
                if let Ok(failover) = shift(&plan(), at.as_ref(), wanted) {
                    prop_assert_eq!(rested_on, &at, "a late wish took effect");
                    is_sound(at.as_ref().map(|decided| &decided.failover), &failover)?;
                    latest.revision += 1;
                    prop_assert!(at.as_ref().is_none_or(|decided| decided.epoch < latest));
                    at = Some(Decided { epoch: latest, failover });
                }
            }
            Event::Restore => {
                latest = Epoch { generation: latest.generation + 1, revision: latest.revision / 2 };
            }
            Event::Arrive(_) => {}
        }
    }
    Ok(late)
}

fn run(property: impl Fn(&[Event]) -> Result<(), TestCaseError>) -> Result<(), TestError<Vec<Event>>> {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let events = prop::collection::vec(event(), 1..60);
    TestRunner::new_with_rng(config, rng).run(&events, |events| property(&events))
}

#[test]
fn an_old_decision_that_arrives_late_changes_nothing() {
    let late = std::cell::Cell::new(0);
    run(|events| {
        late.set(late.get() + late_wishes_change_nothing(events)?);
        Ok(())
    })
    .unwrap();
    assert!(late.get() > 1_000, "{late:?}");
    // The property is worth something only if it notices the bug that it is there for.
    let noticed = bring_back("ignore-epoch", || run(|events| late_wishes_change_nothing(events).map(drop)));
    assert!(noticed.is_err());
}
