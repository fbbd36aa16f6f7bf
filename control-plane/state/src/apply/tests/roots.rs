//! Replacing the root.

use hanse_management::{Problem, ProblemName};

use crate::{Accepted, CommandBody, RootCertificate, fixture::World};

fn root(key: u8, endorsed_by: u8) -> RootCertificate {
    RootCertificate { key: [key; 32], certificate: vec![key], endorsement: vec![key, endorsed_by] }
}

fn trust(world: &mut World, present: u8, fresh: u8) -> Result<Accepted, Problem> {
    world.run(CommandBody::TrustRoot { present: root(present, fresh), fresh: root(fresh, present) })
}

fn believed(world: &World) -> Vec<u8> {
    world.state.roots().iter().map(|believed| believed.root.key[0]).collect()
}

#[test]
fn one_root_takes_the_place_of_another_in_three_steps() {
    let mut world = World::new();
    assert_eq!((believed(&world), world.state.issuing_root()), (vec![], None));

    let revision = trust(&mut world, 1, 2).unwrap().revision;
    assert_eq!((believed(&world), world.state.issuing_root()), (vec![1, 2], Some([1; 32])));
    assert_eq!(world.state.roots_revision(), revision);
    assert_eq!(trust(&mut world, 1, 2).unwrap().revision, revision, "once more changes nothing");

    let revision = world.run(CommandBody::UseRoot([2; 32])).unwrap().revision;
    assert_eq!((world.state.issuing_root(), world.state.roots_revision()), (Some([2; 32]), revision));
    assert_eq!(world.run(CommandBody::UseRoot([2; 32])).unwrap().revision, revision);
    assert_eq!(trust(&mut world, 1, 2).unwrap().revision, revision, "said again late, it changes nothing");

    let revision = world.run(CommandBody::DropRoot([1; 32])).unwrap().revision;
    assert_eq!((believed(&world), world.state.roots_revision()), (vec![2], revision));

    trust(&mut world, 2, 3).unwrap();
    assert_eq!(believed(&world), [2, 3]);
    assert_eq!(world.state.roots()[0].root.endorsement, [2, 3], "the one that came last speaks for it now");
}

#[test]
fn a_rotation_can_be_taken_back_until_the_old_root_is_dropped() {
    let mut world = World::new();
    trust(&mut world, 1, 2).unwrap();
    world.run(CommandBody::UseRoot([2; 32])).unwrap();
    world.run(CommandBody::UseRoot([1; 32])).unwrap();
    world.run(CommandBody::DropRoot([2; 32])).unwrap();
    assert_eq!((believed(&world), world.state.issuing_root()), (vec![1], Some([1; 32])));
    assert_eq!(
        trust(&mut world, 1, 2).unwrap_err().name,
        ProblemName::Conflict,
        "what was dropped stays dropped"
    );
    trust(&mut world, 1, 3).unwrap();
}

#[test]
fn the_last_roots_that_were_dropped_are_remembered() {
    let mut world = World::new();
    for next in 1..=70 {
        trust(&mut world, 0, next).unwrap();
        world.run(CommandBody::DropRoot([next; 32])).unwrap();
    }
    let dropped: Vec<u8> = world.state.dropped_roots().iter().map(|key| key[0]).collect();
    assert_eq!(dropped, (7..=70).collect::<Vec<_>>());
}

#[test]
fn steps_out_of_turn_are_refused() {
    let mut world = World::new();
    let refused = |world: &mut World, body: CommandBody| {
        let before = world.state.clone();
        let problem = world.run(body).unwrap_err();
        assert_eq!(world.state.roots(), before.roots());
        assert!(!problem.remedy.is_empty(), "{problem}");
        problem.name
    };
    assert_eq!(refused(&mut world, CommandBody::UseRoot([2; 32])), ProblemName::NotFound);
    assert_eq!(refused(&mut world, CommandBody::DropRoot([2; 32])), ProblemName::NotFound);
    trust(&mut world, 1, 2).unwrap();
    assert_eq!(refused(&mut world, CommandBody::DropRoot([1; 32])), ProblemName::Conflict);
    assert_eq!(trust(&mut world, 1, 3).unwrap_err().name, ProblemName::Conflict, "two at a time");
    world.run(CommandBody::UseRoot([2; 32])).unwrap();
    world.run(CommandBody::DropRoot([1; 32])).unwrap();
    assert_eq!(trust(&mut world, 1, 3).unwrap_err().name, ProblemName::Conflict, "1 is not in use any more");
    assert_eq!(trust(&mut world, 2, 2).unwrap_err().name, ProblemName::Invalid);
    let large = RootCertificate { certificate: vec![0; 5_000], ..root(3, 2) };
    let body = CommandBody::TrustRoot { present: root(2, 3), fresh: large };
    assert_eq!(refused(&mut world, body), ProblemName::TooLarge);
}
