//! Values are sealed anew after a rotation: their data stays, and nothing that is seen of a Secret moves.

use hanse_management::{ProblemName, Spec};

use super::secrets::{apply_as, one, opaque, refused_by, sealed};
use crate::{
    CommandBody, Outcome, State,
    fixture::{Masks, World, changes, key},
    port::SEAL_OUTDATED,
    projection::Reveal as _,
};

fn world() -> World {
    World::new().with_key()
}

/// The data of a field of `Secret s`.
fn data(world: &World, field: &str) -> String {
    let (keys, secret) = (world.state.federation_keys(), key("Secret s"));
    let data = Masks.reveal(keys, &secret, field, sealed(world, field)).unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

fn versions(world: &World) -> Vec<(u32, u64)> {
    world.state.values_by_version().into_iter().collect()
}

fn last_entry(world: &World) -> (u64, String) {
    let head = world.state.audit().head().number;
    let (entry, ..) = world.state.audit().from(head).next().unwrap();
    (head, entry.what)
}

#[test]
fn values_are_sealed_anew_and_nothing_else_moves() {
    let mut world = world();
    world.put(&opaque("a: '1', b: '2'"));
    world.rotate_key();
    world.put("{kind: Secret, name: other, spec: {type: opaque, data: {c: '3'}}}");
    assert_eq!(versions(&world), [(1, 2), (2, 1)]);
    let before = world.state.clone();
    let (number, _) = last_entry(&world);

    let accepted = world.reseal();
    assert_eq!((accepted.revision, accepted.changes.len()), (before.revision(), 0));
    assert_eq!(versions(&world), [(2, 3)]);
    assert_eq!((data(&world, "a"), data(&world, "b")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(sealed(&world, "a").same_as, None);
    let told = "seal 2 values anew with federation key 2, of Secret default/s";
    assert_eq!(last_entry(&world), (number + 1, told.to_owned()));
    // All but the sealed bytes is as it was: labels, ETags and times too.
    for (was, is) in before.resources().zip(world.state.resources()) {
        assert_eq!((&was.key, &was.metadata), (&is.key, &is.metadata));
        let shown = |spec: &Spec| spec.private_data().map(|secret| secret.without_data());
        assert_eq!(shown(&was.spec), shown(&is.spec));
    }
    assert_eq!(before.journal, world.state.journal);
    assert_eq!(State::from_records(world.state.to_records()).unwrap(), world.state);

    let done = world.state.clone();
    world.run(Masks::anew(&done)).unwrap();
    world.run(Masks::anew(&before)).unwrap();
    assert_eq!(world.state.audit(), done.audit(), "what is done already makes no entry");
    assert_eq!(world.state.resources, done.resources);
}

#[test]
fn an_apply_before_during_and_after_a_rotation_changes_nothing() {
    let mut world = world();
    let yaml = opaque("a: '1', b: '2'");
    world.put(&yaml);
    let etag = world.revision_of("Secret s");
    let is_unchanged = |world: &mut World, when: &str| {
        assert_eq!(one(&world.put(&yaml)), "unchanged", "{when}");
        assert_eq!(world.revision_of("Secret s"), etag, "{when}");
    };
    is_unchanged(&mut world, "before");
    world.run(CommandBody::RotateKey).unwrap();
    is_unchanged(&mut world, "asked for");
    world.make_key();
    is_unchanged(&mut world, "another version is used");
    // A part of the values.
    let CommandBody::Reseal(values) = Masks::anew(&world.state) else { unreachable!() };
    world.run(CommandBody::Reseal(values[..1].to_vec())).unwrap();
    assert_eq!(versions(&world), [(1, 1), (2, 1)]);
    is_unchanged(&mut world, "half of the values are sealed anew");
    world.reseal();
    is_unchanged(&mut world, "all values are sealed anew");
    world.rotate_key();
    world.reseal();
    is_unchanged(&mut world, "after another rotation");
    assert_eq!(versions(&world), [(3, 2)]);
}

/// A node seals by what it has applied, and what it proposes is applied later.
#[test]
fn a_node_that_is_behind_changes_nothing_either() {
    let mut world = world();
    let yaml = opaque("a: '1'");
    world.put(&yaml);
    let etag = world.revision_of("Secret s");
    let first = world.state.clone();
    world.rotate_key();
    let second = world.state.clone();
    world.reseal();
    let third = world.state.clone();
    // It says of which bytes under version 1 the data is, and these are gone. Under version 2 the data has the bytes that are there.
    let Outcome::Accepted(accepted) = apply_as(&mut world, &second, &yaml, None) else { panic!() };
    assert_eq!(one(&accepted), "unchanged");
    let again = |world: &mut World, seen: &State| match apply_as(world, seen, &yaml, None) {
        Outcome::Rejected(problem) => assert_eq!(problem.field, SEAL_OUTDATED),
        accepted => panic!("{accepted:?}"),
    };
    again(&mut world, &first);
    world.rotate_key();
    world.reseal();
    again(&mut world, &second);
    again(&mut world, &third);
    let now = world.state.clone();
    let Outcome::Accepted(accepted) = apply_as(&mut world, &now, &yaml, None) else { panic!() };
    assert_eq!((one(&accepted), world.revision_of("Secret s")), ("unchanged", etag));
}

#[test]
fn one_idempotency_key_is_one_request_while_values_are_sealed_anew() {
    let mut world = world();
    let run = |world: &mut World, data: &str| {
        world.run_with_key(CommandBody::Apply(changes(&opaque(data))), Some("k"))
    };
    let first = run(&mut world, "a: '1'").unwrap();
    world.rotate_key();
    assert_eq!(run(&mut world, "a: '1'").unwrap(), first);
    world.reseal();
    let done = world.state.clone();
    assert_eq!(run(&mut world, "a: '1'").unwrap(), first);
    assert_eq!(world.state, done, "it is answered and not done again");
    let other = world.command(CommandBody::Apply(changes(&opaque("a: '2'"))), Some("k"));
    assert_eq!(refused_by(&world.state, other).name, ProblemName::KeyReused);
    assert_eq!(versions(&world), [(2, 1)]);
}

#[test]
fn values_that_are_sealed_anew_lose_to_what_came_first() {
    let mut world = world();
    world.put(&opaque("a: '1', b: '2', c: '3'"));
    world.rotate_key();
    let crossed = Masks::anew(&world.state);
    world.put(&opaque("a: 'new', b: '2'"));
    let before = world.state.clone();
    world.run(crossed.clone()).unwrap();
    assert_eq!((data(&world, "a"), data(&world, "b")), ("new".to_owned(), "2".to_owned()));
    assert_eq!(versions(&world), [(2, 2)], "a was written, b is sealed anew, c is gone");
    assert_eq!(last_entry(&world).1, "seal 1 values anew with federation key 2, of Secret default/s");
    assert_eq!(world.state.revision(), before.revision());

    // Made of other bytes than are there, whatever its version is.
    world.rotate_key();
    let CommandBody::Reseal(mut values) = Masks::anew(&world.state) else { unreachable!() };
    values[0].was = [7; 32];
    world.run(CommandBody::Reseal(values)).unwrap();
    assert_eq!(versions(&world), [(2, 1), (3, 1)]);

    world.delete("Secret s", false).unwrap();
    let before = world.state.clone();
    world.run(crossed).unwrap();
    assert!(world.state.resources == before.resources && world.state.audit() == before.audit());

    // Another rotation: nothing is sealed with a version that is retired by now.
    world.put(&opaque("a: '1'"));
    world.rotate_key();
    let crossed = Masks::anew(&world.state);
    world.rotate_key();
    world.run(crossed).unwrap();
    assert_eq!(versions(&world), [(3, 1)]);
    world.reseal();
    assert_eq!((versions(&world), data(&world, "a")), (vec![(5, 1)], "1".to_owned()));
}
