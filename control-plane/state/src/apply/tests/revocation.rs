//! Revocations.

use hanse_topology::Name;

use crate::{
    Accepted, CommandBody, Problem, ProblemName,
    apply::revocation::MAX_REVOCATIONS,
    fixture::{START_MS, World, name},
    spec::Digest,
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
    })
}

fn revoke(world: &mut World, identity: &str, control_nodes: &[&str]) -> Result<Accepted, Problem> {
    let control_nodes: Vec<Name> = control_nodes.iter().map(|node| name(node)).collect();
    world.run(CommandBody::Revoke { identity: identity.to_owned(), control_nodes })
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
