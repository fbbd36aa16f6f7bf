//! How long a proposal waits, and how many may.

use super::*;

#[test]
fn a_proposal_expires_to_the_millisecond_and_frees_its_room() {
    let mut world = guarded();
    let number = world.propose("ann", changes(ONE_REGION));
    let expires = world.state.proposal(number).unwrap().expires_ms;
    assert_eq!(expires, world.now_ms + HOUR_MS);
    let mut late = world.clone();
    world.now_ms = expires - 2;
    assert!(!world.state.has_stale(expires - 1) && world.state.has_stale(expires));
    world.clone().approve("bob", number).unwrap();
    late.now_ms = expires - 1;
    let problem = late.approve("bob", number).unwrap_err();
    assert_eq!(
        (problem.name, &*problem.detail),
        (ProblemName::Conflict, "proposal 1 expired at 2026-01-01T01:00:00.006Z")
    );
    // The state's own time counts, where the command's is old.
    late.put("{kind: Plan, name: later}");
    late.now_ms = 0;
    assert_eq!(late.approve("bob", number).unwrap_err().name, ProblemName::Conflict);
    late.run(CommandBody::ForgetResults).unwrap();
    assert_eq!(late.approve("bob", number).unwrap_err().name, ProblemName::NotFound);
    // The shortest of several Environments counts.
    let stage = "{kind: Environment, name: stage, spec: {regions: [eu-west], approval: {expiresAfter: 5m}}}";
    let off = "{kind: Environment, name: stage, spec: {regions: [eu-west]}}\n---\n{kind: Environment, name: production, spec: {regions: []}}";
    world.put(stage);
    let both = world.propose("ann", changes(off));
    assert_eq!(world.state.proposal(both).unwrap().expires_ms, world.now_ms + 300_000);
}

#[test]
fn no_owner_takes_the_room_of_all() {
    let mut world = guarded();
    for _ in 0..MAX_OF_OWNER {
        world.propose("ann", changes(ONE_REGION));
    }
    for own in ["ann", "ann-2"] {
        let problem = world.try_propose(own, changes(ONE_REGION)).unwrap_err();
        assert_eq!(problem.name, ProblemName::TooLarge);
        assert!(problem.detail.starts_with("with it, 33 proposals of ann "), "{problem}");
    }
    world.propose("ci", changes(ONE_REGION));
    world.reject("bob", 1).unwrap();
    world.propose("ann", changes(ONE_REGION));
    // Those that expired are no more in the way.
    world.now_ms += HOUR_MS;
    world.propose("ann", changes(ONE_REGION));
    assert_eq!(world.state.proposals().count(), 1);

    // In bytes: three times 4 MB are more than one owner has.
    let mut world = guarded();
    let large = |of: &str| {
        let value = "x".repeat(4_000);
        let headers: Vec<String> = (0..15).map(|at| format!("X-{at}: {value}")).collect();
        let policies: Vec<String> = (0..60)
            .map(|at| format!("---\n{{kind: Policy, name: {of}-{at}, spec: {{headers: {{request: {{set: {{{}}}}}}}}}}}\n", headers.join(", ")))
            .collect();
        changes(&format!("{ONE_REGION}\n{}", policies.concat()))
    };
    world.propose("ann", large("a"));
    world.propose("ann", large("b"));
    let problem = world.try_propose("ann", large("c")).unwrap_err();
    assert!(problem.detail.starts_with("with it, 3 proposals of ann "), "{problem}");
    world.propose("bob", large("c"));
}

#[test]
fn all_owners_together_have_an_end() {
    let mut world = guarded();
    for owner in 0..=MAX_WAITING / MAX_OF_OWNER {
        let proposal = {
            let number = world.propose("bob", changes(ONE_REGION));
            let proposal = crate::Proposal::clone(world.state.proposal(number).unwrap());
            world.reject("bob", number).unwrap();
            proposal
        };
        for at in 0..MAX_OF_OWNER {
            let origin = Origin { owner: format!("owner-{owner}"), ..proposal.origin.clone() };
            let number = 1_000 + (owner * MAX_OF_OWNER + at) as u64;
            if world.state.proposals().count() < MAX_WAITING {
                world.state.proposals.insert(crate::Proposal { number, origin, ..proposal.clone() });
            }
        }
        if world.state.proposals().count() == MAX_WAITING {
            break;
        }
    }
    let problem = world.try_propose("bob", changes(ONE_REGION)).unwrap_err();
    assert!(problem.detail.starts_with("with it, 257 proposals with "), "{problem}");
}

#[test]
fn a_proposal_is_in_the_snapshot_and_its_number_outlives_it() {
    let mut world = guarded();
    let number = world.propose("ci", changes(&format!("{ONE_REGION}\n---\n{{kind: Plan, name: new}}")));
    world.propose("ann", vec![delete("Api orders", true)]);
    let gone = world.propose("ann", changes(ONE_REGION));
    world.reject("ann", gone).unwrap();
    let mut back = World { state: State::from_records(world.state.to_records()).unwrap(), ..world.clone() };
    assert!(back.state == world.state);
    assert_eq!(back.propose("ann", changes(ONE_REGION)), gone + 1);
    back.approve("bob", number).unwrap();
    assert!(back.has("Plan new"));
}
