//! The federation key: its versions, its rotations and the recovery key.

use hanse_management::{Problem, ProblemName};
use sha2::{Digest as _, Sha256};

use crate::{
    Accepted, CommandBody, MAX_KEY_VERSIONS, RecoveryKey, State,
    fixture::{World, name},
};

fn recovery(byte: u8) -> RecoveryKey {
    RecoveryKey { sign: vec![byte; 91], wrap: vec![byte + 1; 91] }
}

fn set(world: &mut World, byte: u8, versions: usize, replace: bool) -> Result<Accepted, Problem> {
    let wrapped = (0..versions).map(|version| vec![byte, version as u8]).collect();
    world.run(CommandBody::SetRecoveryKey { recovery: recovery(byte), wrapped, replace })
}

fn key(state: &State, version: u32, to: u8, maker: &str) -> CommandBody {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&version.to_be_bytes());
    let recipient = Sha256::digest(recovery(to).wrap).into();
    let maker = crate::server_identity(maker);
    let rotate_after = state.federation_keys().rotate_after();
    CommandBody::AddKey { version, digest, recipient, wrapped: vec![to, 9], maker, rotate_after }
}

fn add(world: &mut World, version: u32) -> Result<Accepted, Problem> {
    add_by(world, version, "cp-1")
}

fn add_by(world: &mut World, version: u32, maker: &str) -> Result<Accepted, Problem> {
    let key = key(&world.state, version, 1, maker);
    world.run(key)
}

fn use_key(world: &mut World, version: u32) -> Result<Accepted, Problem> {
    world.run(CommandBody::UseKey { version })
}

fn revoke(world: &mut World, identity: &str, keys: &[u8]) {
    let control_nodes = ["cp-1", "cp-2", "cp-3"].map(name).into();
    let keys = keys.iter().map(|key| [*key; 32]).collect();
    let identity = identity.to_owned();
    world.run(CommandBody::Revoke { identity, control_nodes, keys, known_keys: Vec::new() }).unwrap();
}

/// A federation with version 1 in use.
fn world() -> World {
    let mut world = World::new();
    set(&mut world, 1, 0, false).unwrap();
    add(&mut world, 1).unwrap();
    use_key(&mut world, 1).unwrap();
    world
}

/// The numbers of the active and the pending version, and whether another one is to be made.
fn numbers(world: &World) -> (Option<u32>, Option<u32>, bool) {
    let keys = world.state.federation_keys();
    (keys.active().map(|(active, _)| active), keys.pending().map(|(pending, _)| pending), keys.wants_new())
}

fn refused(outcome: Result<Accepted, Problem>) -> ProblemName {
    let problem = outcome.unwrap_err();
    assert!(!problem.remedy.is_empty(), "{problem}");
    problem.name
}

#[test]
fn a_version_is_made_then_pending_then_active() {
    let mut world = World::new();
    assert_eq!(numbers(&world), (None, None, true));
    assert_eq!(refused(add(&mut world, 1)), ProblemName::Stale, "there is no recovery key");
    set(&mut world, 1, 0, false).unwrap();
    let made_at = add(&mut world, 1).unwrap().revision;
    assert_eq!(numbers(&world), (None, Some(1), false));
    use_key(&mut world, 1).unwrap();
    assert_eq!(numbers(&world), (Some(1), None, false));
    let version = world.state.federation_keys().get(1).unwrap();
    assert_eq!((version.made_at, version.used, &version.wrapped[..]), (made_at, true, &[1, 9][..]));
    assert_eq!(world.state.federation_keys().get(0), None);
    assert_eq!(world.state.federation_keys().get(2), None);

    world.run(CommandBody::RotateKey).unwrap();
    assert_eq!(numbers(&world), (Some(1), None, true));
    add(&mut world, 2).unwrap();
    assert_eq!(numbers(&world), (Some(1), Some(2), false));
    use_key(&mut world, 2).unwrap();
    assert_eq!(numbers(&world), (Some(2), None, false));
    assert_eq!(State::from_records(world.state.to_records()).unwrap(), world.state);
}

#[test]
fn a_rotation_uses_nothing_that_was_made_before_it() {
    let mut world = world();
    world.run(CommandBody::RotateKey).unwrap();
    // The leader has its key already. It may be copied until the next rotation is asked for.
    let copied = key(&world.state, 2, 1, "cp-1");
    world.run(CommandBody::RotateKey).unwrap();
    assert_eq!(refused(world.run(copied)), ProblemName::Stale);
    assert_eq!(numbers(&world), (Some(1), None, true));
    // Every control node has version 2, and one of them is copied.
    add(&mut world, 2).unwrap();
    assert_eq!(numbers(&world), (Some(1), Some(2), false));
    world.run(CommandBody::RotateKey).unwrap();
    assert_eq!(numbers(&world), (Some(1), None, true));
    assert_eq!(refused(use_key(&mut world, 2)), ProblemName::Stale);
    add(&mut world, 3).unwrap();
    use_key(&mut world, 3).unwrap();
    assert_eq!(numbers(&world), (Some(3), None, false));
}

#[test]
fn commands_out_of_turn_are_overtaken() {
    let mut world = world();
    let before = world.state.clone();
    for wrong in [
        key(&before, 1, 1, "cp-1"),
        key(&before, 3, 1, "cp-1"),
        key(&before, 2, 5, "cp-1"),
        CommandBody::UseKey { version: 1 },
        CommandBody::UseKey { version: 2 },
    ] {
        assert_eq!(refused(world.run(wrong)), ProblemName::Stale);
    }
    let CommandBody::AddKey { digest, .. } = key(&before, 1, 1, "cp-1") else { unreachable!() };
    let mut known = key(&before, 2, 1, "cp-1");
    if let CommandBody::AddKey { digest: other, .. } = &mut known {
        *other = digest;
    }
    assert_eq!(refused(world.run(known)), ProblemName::Stale, "it is version 1");
    assert_eq!(world.state, before);
    // One that a newer one skipped is never used.
    add(&mut world, 2).unwrap();
    add(&mut world, 3).unwrap();
    assert_eq!(refused(use_key(&mut world, 2)), ProblemName::Stale);
    use_key(&mut world, 3).unwrap();
    assert_eq!(numbers(&world), (Some(3), None, false));
}

#[test]
fn a_control_node_that_is_revoked_has_the_key_rotated() {
    let mut world = world();
    let cp_2 = crate::server_identity("cp-2");
    revoke(&mut world, &cp_2, &[]);
    assert_eq!(numbers(&world), (Some(1), None, true));
    assert_eq!(refused(add_by(&mut world, 2, "cp-2")), ProblemName::Stale, "it would have the next one, too");
    add(&mut world, 2).unwrap();
    // Once more changes nothing; with a key it may be another thief, who has what was made until now.
    revoke(&mut world, &cp_2, &[]);
    assert_eq!(numbers(&world), (Some(1), Some(2), false));
    revoke(&mut world, &cp_2, &[7]);
    assert_eq!(numbers(&world), (Some(1), None, true));
    assert_eq!(refused(use_key(&mut world, 2)), ProblemName::Stale, "it was made before");
    add(&mut world, 3).unwrap();
    use_key(&mut world, 3).unwrap();
    assert_eq!(numbers(&world), (Some(3), None, false));
    world.run(CommandBody::Readmit { identity: cp_2 }).unwrap();
    assert_eq!(numbers(&world), (Some(3), None, false));
}

#[test]
fn a_node_without_the_key_has_nothing_rotated() {
    let mut world = world();
    world.put("{kind: Region, name: eu-west}");
    revoke(&mut world, "g.gateway.eu-west.hanse.internal", &[]);
    assert_eq!(numbers(&world), (Some(1), None, false));
}

#[test]
fn a_recovery_key_is_replaced_only_on_purpose_and_with_every_version() {
    let mut world = world();
    let revision = world.state.revision();
    assert_eq!(set(&mut world, 1, 1, false).unwrap().revision, revision, "it is the present one");
    assert_eq!(refused(set(&mut world, 5, 1, false)), ProblemName::Conflict);
    assert_eq!(refused(set(&mut world, 5, 0, true)), ProblemName::Stale);
    assert_eq!(refused(set(&mut world, 5, 2, true)), ProblemName::Stale);
    set(&mut world, 5, 1, true).unwrap();
    let keys = world.state.federation_keys();
    assert_eq!((keys.recovery(), &keys.get(1).unwrap().wrapped), (Some(&recovery(5)), &vec![5, 0]));
    assert_eq!(numbers(&world), (Some(1), None, true), "the old pairs open version 1");
    add_by(&mut world, 2, "cp-1").unwrap_err();
    let added = key(&world.state, 2, 5, "cp-1");
    world.run(added).unwrap();
    set(&mut world, 7, 2, true).unwrap();
    assert_eq!(numbers(&world), (Some(1), None, true), "and so is a pending version opened");
    let large = RecoveryKey { sign: vec![0; 257], wrap: vec![1] };
    let body = CommandBody::SetRecoveryKey { recovery: large, wrapped: vec![vec![]], replace: true };
    assert_eq!(refused(world.run(body)), ProblemName::TooLarge);
    let one = RecoveryKey { sign: vec![1], wrap: vec![1] };
    let body = CommandBody::SetRecoveryKey { recovery: one, wrapped: vec![vec![]], replace: true };
    assert_eq!(refused(world.run(body)), ProblemName::Invalid);
}

#[test]
fn nothing_is_rotated_without_a_recovery_key_or_without_room() {
    let mut world = World::new();
    assert_eq!(refused(world.run(CommandBody::RotateKey)), ProblemName::Conflict);
    set(&mut world, 1, 0, false).unwrap();
    for version in 1..=MAX_KEY_VERSIONS as u32 {
        add(&mut world, version).unwrap();
    }
    assert_eq!(world.state.federation_keys().next_number(), None);
    assert_eq!(refused(add(&mut world, MAX_KEY_VERSIONS as u32 + 1)), ProblemName::TooLarge);
    use_key(&mut world, MAX_KEY_VERSIONS as u32).unwrap();
    assert_eq!(refused(world.run(CommandBody::RotateKey)), ProblemName::TooLarge);
    // Another recovery key asks for a rotation, too. No version can come of it.
    set(&mut world, 5, MAX_KEY_VERSIONS, true).unwrap();
    assert!(!world.state.federation_keys().wants_new());
    assert_eq!(State::from_records(world.state.to_records()).unwrap(), world.state);
}

/// A node that is asked again wraps the keys anew: HPKE is random.
#[test]
fn a_recovery_key_that_was_wrapped_anew_is_the_same_request() {
    let mut world = world();
    let body = |byte: u8| CommandBody::SetRecoveryKey {
        recovery: recovery(5),
        wrapped: vec![vec![byte]],
        replace: true,
    };
    let first = world.run_with_key(body(1), Some("k")).unwrap();
    assert_eq!(world.run_with_key(body(2), Some("k")).unwrap(), first);
    assert_eq!(world.state.federation_keys().get(1).unwrap().wrapped, [1]);
}

#[test]
fn the_audit_says_who_did_what_and_has_no_key() {
    let mut world = world();
    world.run(CommandBody::RotateKey).unwrap();
    let entries: Vec<_> = world.state.audit().from(1).map(|(entry, _, _)| entry.what.clone()).collect();
    let told = &entries[entries.len() - 4..];
    let added = "add federation key 1 with digest 0000000100000000 of cp-1.server.control.hanse.internal";
    assert_eq!(told[1..], [added, "use federation key 1", "rotate the federation key"]);
    let recovery = format!(
        "set the recovery key: sign {}, wrap {}",
        hex::encode(&Sha256::digest([1; 91])[..8]),
        hex::encode(&Sha256::digest([2; 91])[..8])
    );
    assert_eq!(told[0], recovery);
}
