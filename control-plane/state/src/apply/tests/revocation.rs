//! Revocations.

use hanse_management::{Digest, Problem, ProblemName};
use hanse_topology::Name;

use crate::{
    Accepted, CommandBody,
    apply::revocation::{MAX_ALL_KEYS, MAX_KEYS, MAX_REVOCATIONS},
    fixture::{START_MS, World, name},
};

const AGENT: &str = "agent-1.agent.eu-west.hanse.internal";
const GATEWAY: &str = "gateway-1.gateway.eu-west.hanse.internal";

fn world() -> World {
    let expires_at = START_MS / 1000 + 86_400;
    let digest = Digest::of(b"secret");
    let mut world = World::new().with(&format!(
        "{{kind: Region, name: eu-west}}\n---\n{{kind: JoinToken, name: t, spec: {{role: agent, region: eu-west, uses: 9, \
         expiresAt: {expires_at}, digest: '{digest}'}}}}"
    ));
    join(&mut world, AGENT).unwrap();
    world
}

fn join(world: &mut World, joiner: &str) -> Result<Accepted, Problem> {
    world.run(CommandBody::UseJoinToken {
        token: name("t"),
        secret_digest: Digest::of(b"secret").0,
        joiner: joiner.to_owned(),
        key_digest: [1; 32],
        seat: None,
    })
}

fn revoke(world: &mut World, identity: &str, control_nodes: &[&str]) -> Result<Accepted, Problem> {
    let control_nodes: Vec<Name> = control_nodes.iter().map(|node| name(node)).collect();
    let (keys, known_keys) = (Vec::new(), Vec::new());
    world.run(CommandBody::Revoke { identity: identity.to_owned(), control_nodes, keys, known_keys })
}

fn revoke_keys(
    world: &mut World,
    identity: &str,
    keys: &[[u8; 32]],
    known_keys: &[[u8; 32]],
) -> Result<Accepted, Problem> {
    world.run(CommandBody::Revoke {
        identity: identity.to_owned(),
        control_nodes: Vec::new(),
        keys: keys.to_vec(),
        known_keys: known_keys.to_vec(),
    })
}

fn refuse_keys(world: &mut World, identity: &str, keys: &[[u8; 32]]) -> Result<Accepted, Problem> {
    world.run(CommandBody::RefuseKeys { identity: identity.to_owned(), keys: keys.to_vec() })
}

/// A key for each number.
fn key(number: usize) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(number as u64).to_be_bytes());
    key
}

fn readmit(world: &mut World, identity: &str) -> Result<Accepted, Problem> {
    world.run(CommandBody::Readmit { identity: identity.to_owned() })
}

#[test]
fn a_revocation_is_a_revision_with_its_author_and_can_be_lifted() {
    let mut world = world();
    let revision = revoke(&mut world, AGENT, &[]).unwrap().revision;
    assert_eq!(world.state.revoked_revision(), revision);
    assert!(world.state.is_revoked(AGENT));
    let revocation = world.state.revocation(AGENT).unwrap();
    assert_eq!((revocation.actor.is_empty(), revocation.time_ms), (false, world.state.time_ms()));

    assert_eq!(revoke(&mut world, AGENT, &[]).unwrap().revision, revision, "once more changes nothing");
    revoke(&mut world, GATEWAY, &[]).unwrap();
    assert_eq!(world.state.revocations().count(), 2);

    let lifted = readmit(&mut world, AGENT).unwrap().revision;
    assert_eq!(world.state.revoked_revision(), lifted);
    assert!(!world.state.is_revoked(AGENT) && world.state.is_revoked(GATEWAY));
    assert_eq!(readmit(&mut world, AGENT).unwrap_err().name, ProblemName::NotFound);
}

#[test]
fn only_what_there_is_can_be_revoked() {
    let mut world = world();
    for (identity, problem) in [
        ("agent-2.agent.eu-west.hanse.internal", ProblemName::NotFound),
        ("gateway-1.gateway.nowhere.hanse.internal", ProblemName::NotFound),
        ("cp-9.server.control.hanse.internal", ProblemName::NotFound),
        ("gateway-1", ProblemName::Invalid),
    ] {
        assert_eq!(revoke(&mut world, identity, &["cp-1"]).unwrap_err().name, problem, "{identity}");
    }
}

#[test]
fn a_majority_of_control_nodes_must_stay() {
    let of = |node: &str| format!("{node}.server.control.hanse.internal");
    let mut world = world();
    let refused = revoke(&mut world, &of("cp-1"), &["cp-1"]).unwrap_err();
    assert_eq!(refused.name, ProblemName::Conflict);

    let three = ["cp-1", "cp-2", "cp-3"];
    revoke(&mut world, &of("cp-1"), &three).unwrap();
    let refused = revoke(&mut world, &of("cp-2"), &three).unwrap_err();
    assert!(refused.detail.contains("only 1 of 3 control nodes would be left"), "{refused}");
    assert!(!world.state.is_revoked(&of("cp-2")));
    readmit(&mut world, &of("cp-1")).unwrap();
    revoke(&mut world, &of("cp-2"), &three).unwrap();
}

#[test]
fn who_is_revoked_does_not_join_again() {
    let mut world = world();
    revoke(&mut world, AGENT, &[]).unwrap();
    let refused = join(&mut world, AGENT).unwrap_err();
    assert_eq!(refused.name, ProblemName::JoinRefused);
    assert!(refused.remedy.contains("hanse member readmit"), "{refused}");
    readmit(&mut world, AGENT).unwrap();
    join(&mut world, AGENT).unwrap();
}

#[test]
fn so_many_can_be_revoked_and_no_more() {
    let mut world = world();
    let gateway = |number: usize| format!("g-{number}.gateway.eu-west.hanse.internal");
    for number in 0..MAX_REVOCATIONS {
        revoke(&mut world, &gateway(number), &[]).unwrap();
    }
    let problem = revoke(&mut world, &gateway(MAX_REVOCATIONS), &[]).unwrap_err();
    assert_eq!((problem.name, problem.field.as_str()), (ProblemName::TooLarge, "identity"));
    assert!(problem.remedy.contains("readmit"));
    revoke(&mut world, &gateway(0), &[]).expect("who is revoked already still is");
    readmit(&mut world, &gateway(0)).unwrap();
    revoke(&mut world, &gateway(MAX_REVOCATIONS), &[]).expect("there is room for one");
}

#[test]
fn keys_are_revoked_with_a_name_and_can_come_later() {
    let mut world = world();
    let keys = |world: &World| world.state.revocation(GATEWAY).unwrap().keys.clone();
    revoke_keys(&mut world, GATEWAY, &[key(3)], &[key(1)]).unwrap();
    assert_eq!(keys(&world), [key(1), key(3)]);
    let revision = world.state.revoked_revision();
    assert_eq!(refuse_keys(&mut world, GATEWAY, &[key(3)]).unwrap().revision, revision, "it is there");

    let added = refuse_keys(&mut world, GATEWAY, &[key(2)]).unwrap().revision;
    assert_eq!((world.state.revoked_revision(), added), (added, revision + 1), "agents are told");
    revoke_keys(&mut world, GATEWAY, &[key(4)], &[]).unwrap();
    assert_eq!(keys(&world), [1, 2, 3, 4].map(key));

    readmit(&mut world, GATEWAY).unwrap();
    assert!(world.state.revocation(GATEWAY).is_none());
    let revision = world.state.revision();
    assert_eq!(refuse_keys(&mut world, GATEWAY, &[key(2)]).unwrap().revision, revision, "it was lifted");
}

#[test]
fn a_key_that_is_revoked_does_not_join_under_another_name() {
    let mut world = world();
    let other = "agent-2.agent.eu-west.hanse.internal";
    revoke(&mut world, AGENT, &[]).unwrap();
    let refused = join(&mut world, other).unwrap_err();
    assert_eq!(refused.name, ProblemName::JoinRefused);
    assert!(refused.detail.contains(AGENT), "{refused}");
    readmit(&mut world, AGENT).unwrap();
    // Nor one that was named with a revocation,
    revoke_keys(&mut world, AGENT, &[[1; 32]], &[]).unwrap();
    let refused = join(&mut world, other).unwrap_err();
    assert!(refused.detail.contains(AGENT), "{refused}");
}

/// Keys of gateways come from what agents report: an agent that reports another's key as a gateway's does it no harm.
#[test]
fn the_key_of_a_revoked_gateway_refuses_no_agent() {
    let mut world = world();
    revoke_keys(&mut world, GATEWAY, &[], &[[1; 32]]).unwrap();
    assert!(world.state.revocation(GATEWAY).unwrap().keys.contains(&[1; 32]));
    assert_eq!(world.state.revoked_with(&[1; 32]), None);
    join(&mut world, AGENT).unwrap();
}

#[test]
fn so_many_keys_are_refused_with_a_name_and_no_more() {
    let mut world = world();
    let many: Vec<_> = (0..=MAX_KEYS).map(key).collect();
    let problem = revoke_keys(&mut world, GATEWAY, &many, &[]).unwrap_err();
    assert_eq!((problem.name, problem.field.as_str()), (ProblemName::TooLarge, "keys"));
    revoke_keys(&mut world, GATEWAY, &many[..MAX_KEYS], &[]).unwrap();
    // What was reported must not keep a name from being refused.
    let reported = "g.gateway.eu-west.hanse.internal";
    revoke_keys(&mut world, reported, &[], &many).unwrap();
    assert_eq!(world.state.revocation(reported).unwrap().keys.len(), MAX_KEYS);
    let revision = world.state.revision();
    assert_eq!(refuse_keys(&mut world, reported, &[key(99)]).unwrap().revision, revision, "there is no room");
}

#[test]
fn so_many_keys_are_refused_with_all_names_and_no_more() {
    let mut world = world();
    let gateway = |number: usize| format!("g-{number}.gateway.eu-west.hanse.internal");
    for number in 0..MAX_ALL_KEYS / MAX_KEYS {
        let keys: Vec<_> = (0..MAX_KEYS).map(|at| key(number * MAX_KEYS + at)).collect();
        revoke_keys(&mut world, &gateway(number), &keys, &[]).unwrap();
    }
    let problem = revoke_keys(&mut world, GATEWAY, &[key(1 << 20)], &[]).unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge);
    revoke_keys(&mut world, GATEWAY, &[], &[key(1 << 20)]).unwrap();
    assert!(world.state.is_revoked(GATEWAY), "the name is refused all the same");
}
