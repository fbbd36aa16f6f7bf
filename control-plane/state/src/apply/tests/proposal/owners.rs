//! Who proposes and who decides: owners that their tokens say.

use hanse_management::ProblemName;

use super::{ONE_REGION, guarded};
use crate::{
    Change, CommandBody,
    fixture::{World, changes, key},
};

/// A token without an owner: its name counts as its owner, and one person may have several.
fn unsaid(world: &mut World, token: &str) {
    let crate::Resource { spec, .. } = world.get(&format!("Token {token}")).clone();
    let hanse_management::Spec::Token(mut spec) = spec else { panic!() };
    spec.owner = None;
    let action = crate::Action::put(hanse_topology::Labels::default(), hanse_management::Spec::Token(spec));
    world.change(vec![Change { key: key(&format!("Token {token}")), action, if_revision: None }]).unwrap();
}

#[test]
fn a_token_that_does_not_say_its_owner_proposes_and_approves_nothing() {
    let mut world = guarded();
    let number = world.propose("ann", changes(ONE_REGION));
    unsaid(&mut world, "bob");
    let refused = [
        world.try_propose("bob", changes(ONE_REGION)),
        world.approve("bob", number),
        world.reject("bob", number),
    ];
    for refused in refused {
        let problem = refused.unwrap_err();
        assert_eq!(
            (problem.name, &*problem.detail),
            (ProblemName::Forbidden, "the token bob does not say its owner")
        );
        assert!(problem.remedy.contains("--owner OWNER"), "{problem}");
    }
    // It still changes what needs no approval.
    world.by("bob", CommandBody::Apply(changes("{kind: Plan, name: silver}"))).unwrap();
    world.approve("ci", number).unwrap();
}

#[test]
fn owners_are_told_apart_without_regard_to_case() {
    let mut world = guarded();
    world.put(
        "{kind: Token, name: bob, spec: {role: admin, owner: ANN, digest: 'sha256:3333333333333333333333333333333333333333333333333333333333333333'}}",
    );
    let number = world.propose("ann", changes(ONE_REGION));
    let problem = world.by_owner("bob", "ANN", CommandBody::Approve { number, judged_ms: 0 }).unwrap_err();
    assert_eq!(problem.detail, "ann proposed it, and the token belongs to ANN, too");
}

/// What it takes to approve it, it takes to reject it.
#[test]
fn a_publisher_decides_about_no_proposal_that_takes_requests_or_names_others() {
    let mut world = guarded();
    world.put("{kind: Plan, organization: retail, name: secret}");
    let revision = world.revision_of("Plan retail/secret");
    let mut others = changes(ONE_REGION);
    others.push(Change {
        key: key("Plan retail/secret"),
        action: crate::Action::Expect { api_revision: None },
        if_revision: Some(revision),
    });
    let others = world.propose("ann", others);
    let forced = world.propose("ann", changes(ONE_REGION));
    let mut proposal = crate::Proposal::clone(world.state.proposal(forced).unwrap());
    proposal.force_grants = true;
    world.state.proposals.insert(proposal);
    for number in [others, forced] {
        for decide in [World::approve, World::reject] {
            assert_eq!(
                decide(&mut world, "ci", number).unwrap_err().name,
                ProblemName::Forbidden,
                "{number}"
            );
        }
    }
    // Whose Plan it is, is not for the publisher to see.
    assert!(!world.state.proposal(others).unwrap().is_within(&crate::fixture::name("default")));
    world.by("bob", CommandBody::Reject { number: forced, reason: String::new() }).unwrap();
    assert_eq!(world.what(), "reject 2 proposed by ann (token ann) with force-grants: release 42");
}
