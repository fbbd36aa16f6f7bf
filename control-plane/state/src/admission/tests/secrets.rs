//! Secrets are sealed before they are proposed, or refused.

use hanse_management::kinds::SecretValue;

use super::*;
use crate::fixture::{Masks, changes};

/// Data that no proposal may have.
const PRIVATE: &str = "private-90210";

fn opaque(name: &str, data: &str) -> String {
    format!("{{kind: Secret, name: {name}, spec: {{type: opaque, data: {{password: {data}}}}}}}")
}

#[expect(clippy::disallowed_methods, reason = "it is what is tested")]
fn admit_in(world: &World, yaml: &str) -> Result<Admitted, Problem> {
    let command = world.clone().command(CommandBody::Apply(changes(yaml)), None);
    admit(command, Version::FIRST, Writer::Operator, Seal { state: &world.state, by: &Masks })
}

#[test]
fn nothing_is_proposed_in_the_clear() {
    let world = World::new().with_key();
    let admitted =
        admit_in(&world, &format!("{}\n---\n{}", opaque("a", PRIVATE), opaque("b", PRIVATE))).unwrap();
    let command = admitted.command();
    let wire = prost::Message::encode_to_vec(&command.to_proto());
    assert!(!wire.windows(PRIVATE.len()).any(|window| window == PRIVATE.as_bytes()));
    assert!(!format!("{command:?}").contains(PRIVATE));
    let CommandBody::Apply(changes) = &command.body else { panic!() };
    let sealed = |change: &Change| match change.action.spec() {
        Some(Spec::Secret(secret)) => match &secret.data["password"] {
            SecretValue::Sealed(sealed) => sealed.sealed.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_ne!(sealed(&changes[0]), sealed(&changes[1]), "each place has its own");
}

#[test]
fn without_a_federation_key_a_secret_is_refused() {
    let name = |world: &World| {
        let problem = admit_in(world, &opaque("a", PRIVATE)).unwrap_err();
        assert!(!problem.to_string().contains(PRIVATE) && !problem.remedy.is_empty(), "{problem}");
        (problem.name, problem.field)
    };
    let mut world = World::new();
    let field = "Secret default/a: spec.data".to_owned();
    assert_eq!(name(&world), (ProblemName::Conflict, field.clone()));
    let recovery = crate::RecoveryKey { sign: vec![1], wrap: vec![2] };
    world.run(CommandBody::SetRecoveryKey { recovery, wrapped: Vec::new(), replace: false }).unwrap();
    assert_eq!(name(&world), (ProblemName::Busy, field));
    world.make_key();
    admit_in(&world, &opaque("a", PRIVATE)).unwrap();
    admit_in(&World::new(), &opaque("a", "{sealed: true}")).unwrap();
}

#[test]
fn what_control_nodes_propose_themselves_has_no_secrets() {
    #[expect(clippy::disallowed_methods, reason = "it is what is tested")]
    let admitted = {
        let mut world = World::new().with_key();
        let command = world.command(CommandBody::Apply(changes(&opaque("a", PRIVATE))), None);
        admit(command, Version::FIRST, Writer::Operator, Seal { state: &world.state, by: &NoSecrets })
    };
    assert_eq!(admitted.unwrap_err().name, ProblemName::Internal);
}

#[test]
fn sealed_data_is_not_taken_from_callers() {
    let problem =
        admit_in(&World::new().with_key(), &opaque("a", "{version: 1, sealed: 'AQ=='}")).unwrap_err();
    assert_eq!(problem.field, "Secret default/a: spec.data.password");
}

#[test]
fn data_of_a_type_is_compiled_in_the_clear() {
    let world = World::new().with_key();
    let signing = |value: &str| {
        format!(
            "{{kind: Secret, name: a, spec: {{type: token-signing, regions: [eu-west], data: {{key.pem: {value}}}}}}}"
        )
    };
    let problem = admit_in(&world, &signing(PRIVATE)).unwrap_err();
    assert_eq!(
        (problem.name, &*problem.field),
        (ProblemName::Invalid, "Secret default/a: spec.data.key.pem")
    );
    assert!(problem.detail.contains("PKCS #8") && !problem.to_string().contains(PRIVATE), "{problem}");
    admit_in(&world, &signing("{sealed: true}")).unwrap();
    let key = "\"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n\"";
    admit_in(&world, &signing(key)).unwrap();
}

/// What a command takes is measured as it is logged.
#[test]
fn a_command_that_is_too_large_only_when_it_is_sealed_is_refused() {
    let world = World::new().with_key();
    let value = "x".repeat(64 << 10);
    let secrets = |count: usize| -> String {
        let one = |number: usize| {
            format!(
                "{{kind: Secret, name: s{number}, spec: {{type: opaque, data: {{a: {value}, b: {value}}}}}}}"
            )
        };
        (0..count).map(one).collect::<Vec<_>>().join("\n---\n")
    };
    admit_in(&world, &secrets(40)).unwrap();
    let problem = admit_in(&world, &secrets(60)).unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge, "{problem}");
}
