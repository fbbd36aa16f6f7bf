//! A Secret that is proposed is sealed like any other.

use hanse_management::{
    ProblemName, Spec,
    kinds::{SecretSpec, SecretValue},
};

use super::{ONE_REGION, guarded};
use crate::{
    Change, CommandBody,
    fixture::{World, changes},
    port::SEAL_OUTDATED,
};

fn secret(changes: &[Change]) -> &SecretSpec {
    let specs = changes.iter().filter_map(|change| change.action.spec());
    let mut secrets =
        specs.filter_map(|spec| if let Spec::Secret(secret) = spec { Some(secret) } else { None });
    secrets.next().expect("a Secret")
}

fn proposed() -> (World, u64) {
    let mut world = guarded().with_key();
    let both = format!(
        "{ONE_REGION}\n---\n{{kind: Secret, name: s, spec: {{type: opaque, data: {{a: private-90210}}}}}}"
    );
    let number = world.propose("ann", changes(&both));
    (world, number)
}

#[test]
fn a_proposed_secret_is_stored_sealed() {
    let (mut world, number) = proposed();
    let proposal = world.state.proposal(number).unwrap();
    let SecretValue::Sealed(sealed) = &secret(&proposal.changes).data["a"] else { panic!("{proposal:?}") };
    assert_eq!(sealed.version, 1);
    let records = world.state.to_records();
    let snapshot: Vec<u8> = records.flat_map(|record| prost::Message::encode_to_vec(&record)).collect();
    assert!(!snapshot.windows(13).any(|window| window == b"private-90210"));
    world.approve("bob", number).unwrap();
    assert!(world.has("Secret s"));
}

/// A thief of the old version reads no data that comes in force later: no snapshot has it under that version.
#[test]
fn a_rotation_drops_proposals_with_data_of_secrets() {
    let secret =
        |data: &str| format!("{{kind: Secret, name: s, spec: {{type: opaque, data: {{a: {data}}}}}}}");
    let mut world = guarded().with_key().with(&secret("private-90210"));
    let of = |data: &str| changes(&format!("{ONE_REGION}\n---\n{}", secret(data)));
    let keeps = world.propose("ann", of("{sealed: true}"));
    let equal = world.propose("ann", of("private-90210"));
    let other = world.propose("ann", of("another"));
    world.run(CommandBody::RotateKey).unwrap();
    assert_eq!(world.state.proposals().count(), 3, "the version is in use still");
    world.make_key();
    let waiting: Vec<u64> = world.state.proposals().map(|proposal| proposal.number).collect();
    assert_eq!(waiting, [keeps]);
    let what = world.state.audit().from(0).last().unwrap().0.what;
    assert_eq!(what, format!("use federation key 2; drop proposals with data of Secrets: {equal}, {other}"));
    let problem = world.approve("bob", other).unwrap_err();
    assert_eq!(problem.name, ProblemName::NotFound);
    assert!(problem.detail.contains("had data of a Secret when the federation key was rotated"), "{problem}");

    // Sealed anew, the value is the same data: a proposal that keeps it holds.
    world.reseal();
    let etag = world.revision_of("Secret s");
    let again = world.propose("ann", of("another"));
    world.approve("bob", keeps).unwrap();
    assert_eq!(world.revision_of("Secret s"), etag);
    assert!(world.state.proposal(again).is_some(), "under the active version it waits");
}

/// A proposal that crosses the use of a version is dropped, too: it is refused, and sealed again by the node that was asked. So is one with
/// data that is there, which an apply would take.
#[test]
fn no_proposal_comes_with_data_that_a_retired_version_sealed() {
    let secret = "{kind: Secret, name: s, spec: {type: opaque, data: {a: private-90210}}}";
    let mut world = guarded().with_key().with(secret);
    let of = changes(&format!("{ONE_REGION}\n---\n{secret}"));
    let behind = world.state.clone();
    world.rotate_key();
    let body = CommandBody::Propose { changes: of, reason: "release 42".into() };
    let problem = world.by_seeing(&behind, "ann", "ann", body).unwrap_err();
    assert_eq!((problem.name, problem.field.as_str()), (ProblemName::Busy, SEAL_OUTDATED), "{problem}");
}
