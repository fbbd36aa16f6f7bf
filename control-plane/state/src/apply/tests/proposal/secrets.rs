//! A Secret that is proposed is sealed like any other.

use hanse_management::{
    ProblemName, Spec,
    kinds::{SecretSpec, SecretValue},
};

use super::{ONE_REGION, guarded};
use crate::{
    Change,
    fixture::{World, changes},
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

/// Another control node that was revoked may have the old version, so nothing new is sealed with it. No second try helps.
#[test]
fn a_rotation_makes_a_proposed_secret_stale() {
    let (mut world, number) = proposed();
    world.rotate_key();
    let problem = world.approve("bob", number).unwrap_err();
    assert_eq!(problem.name, ProblemName::Stale, "{problem}");
    assert!(problem.detail.contains("sealed with version 1 of the federation key"), "{problem}");
    assert!(problem.remedy.contains("propose it again"), "{problem}");
}

/// Sealed anew, a value is the same data: other proposals hold. One that carries data of its own was stale since the rotation.
#[test]
fn a_proposal_that_keeps_data_holds_while_values_are_sealed_anew() {
    let secret =
        |data: &str| format!("{{kind: Secret, name: s, spec: {{type: opaque, data: {{a: {data}}}}}}}");
    let mut world = guarded().with_key().with(&secret("private-90210"));
    let of = |data: &str| changes(&format!("{ONE_REGION}\n---\n{}", secret(data)));
    let keeps = world.propose("ann", of("{sealed: true}"));
    let carries = world.propose("ann", of("private-90210"));
    world.rotate_key();
    world.reseal();
    let problem = world.approve("bob", carries).unwrap_err();
    assert_eq!(problem.name, ProblemName::Stale, "{problem}");
    assert!(problem.detail.contains("sealed with version 1 of the federation key"), "{problem}");
    let etag = world.revision_of("Secret s");
    world.approve("bob", keeps).unwrap();
    assert_eq!(world.revision_of("Secret s"), etag);
    assert_eq!(world.state.values_by_version().into_keys().collect::<Vec<_>>(), [2]);
}
