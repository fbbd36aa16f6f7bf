//! What becomes of the data of Secrets: stored sealed, kept, refused, and equal over rotations of the federation key.

use hanse_management::{
    Problem, ProblemName, Spec,
    kinds::{SealedValue, SecretValue},
};

use crate::{
    Accepted, Command, CommandBody, Outcome, State,
    admission::{Seal, Writer, admit},
    fixture::{Masks, World, changes, key, told},
    port::SEAL_OUTDATED,
};

pub(super) fn opaque(data: &str) -> String {
    format!("{{kind: Secret, name: s, spec: {{type: opaque, data: {{{data}}}}}}}")
}

fn world() -> World {
    World::new().with_key()
}

pub(super) fn sealed<'a>(world: &'a World, field: &str) -> &'a SealedValue {
    let Spec::Secret(secret) = &world.get("Secret s").spec else { panic!() };
    match &secret.data[field] {
        SecretValue::Sealed(sealed) => sealed,
        other => panic!("{other:?}"),
    }
}

pub(super) fn one(accepted: &Accepted) -> &'static str {
    assert_eq!(accepted.changes.len(), 1, "{:?}", told(accepted));
    accepted.changes[0].action
}

#[test]
fn equal_data_is_no_change_and_other_data_is_one() {
    let mut world = world();
    assert_eq!(one(&world.put(&opaque("a: '1', b: '2'"))), "created");
    let revision = world.revision_of("Secret s");
    assert_eq!(one(&world.put(&opaque("a: '1', b: '2'"))), "unchanged");
    assert_eq!(one(&world.put(&opaque("a: {sealed: true}, b: '2'"))), "unchanged");
    assert_eq!(world.revision_of("Secret s"), revision);
    assert_eq!(one(&world.put(&opaque("a: '1', b: '3'"))), "updated");
    assert_eq!(one(&world.put(&opaque("a: {sealed: true}"))), "updated", "b is gone");
    assert_eq!(world.shown("Secret s")["spec"]["data"], serde_json::json!({"a": {"sealed": true}}));
}

#[test]
fn data_that_is_kept_must_be_there_and_of_that_type() {
    let mut world = world();
    let missing = "Secret default/s: spec.data.a: there is no data of this type and field to keep";
    world.check(&opaque("a: {sealed: true}"), missing);
    world.put(&opaque("b: '1', key.pem: 'no key'"));
    world.check(&opaque("a: {sealed: true}, b: '1'"), missing);
    world.check(
        "{kind: Secret, name: s, spec: {type: token-signing, regions: [eu-west], data: {key.pem: {sealed: true}}}}",
        "Secret default/s: spec.data.key.pem: there is no data of this type and field to keep",
    );
}

#[test]
fn text_that_comes_past_admission_is_refused() {
    let mut world = world();
    let before = world.state.clone();
    let command = world.command(CommandBody::Apply(changes(&opaque("a: '1'"))), None);
    let Outcome::Rejected(problem) = world.state.apply(&command) else { panic!() };
    assert_eq!(problem.name, ProblemName::Internal);
    assert_eq!(world.state, before);
}

#[test]
fn a_region_that_a_secret_names_must_be_there_and_stays() {
    let mut world = world();
    let key_pem = "\"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n\"";
    let signing = |region: &str| {
        format!(
            "{{kind: Secret, name: s, spec: {{type: token-signing, regions: [{region}], data: {{key.pem: {key_pem}}}}}}}"
        )
    };
    assert_eq!(world.refused(&signing("nowhere")).name, ProblemName::MissingReference);
    world.put("{kind: Region, name: ap-south}");
    world.put(&signing("ap-south"));
    assert_eq!(world.delete("Region ap-south", true).unwrap_err().name, ProblemName::InUse);
}

/// A node that has not applied a rotation seals with the version before. No new data is stored under it: a control node that was
/// revoked may have that key.
#[test]
fn new_data_is_sealed_with_the_active_version_only() {
    let mut world = world();
    let behind = world.state.clone();
    world.rotate_key();
    let outcome = apply_as(&mut world, &behind, &opaque("a: '1'"), None);
    let Outcome::Rejected(problem) = outcome else { panic!("{outcome:?}") };
    assert_eq!((problem.name, problem.field.as_str()), (ProblemName::Busy, SEAL_OUTDATED));
    world.put(&opaque("a: '1'"));
    assert_eq!(sealed(&world, "a").version, 2);
}

/// A request names its own data only, and keeps the rest.
#[test]
fn data_that_is_kept_counts_against_the_limit() {
    let mut world = world();
    let long = "x".repeat(64 << 10);
    world.put(&opaque(&format!("a: {long}, b: {long}")));
    world.check(
        &opaque("a: {sealed: true}, b: {sealed: true}, c: x"),
        "Secret default/s: spec.data: its values have 131",
    );
    world.put(&opaque(&format!("a: {{sealed: true}}, b: {long}")));
}

#[test]
fn a_rotation_makes_no_change_of_equal_data() {
    let mut world = world();
    world.put(&opaque("a: '1', b: '2'"));
    let (revision, before) = (world.revision_of("Secret s"), sealed(&world, "a").clone());
    world.rotate_key();
    assert_eq!(one(&world.put(&opaque("a: '1', b: '2'"))), "unchanged");
    assert_eq!(world.revision_of("Secret s"), revision);
    assert_eq!(one(&world.put(&opaque("a: '1', b: '3'"))), "updated");
    assert_eq!(*sealed(&world, "a"), before, "what is equal stays under its version");
    assert_eq!((sealed(&world, "b").version, sealed(&world, "b").same_as), (2, None));
}

/// The word of another node about equal data is about the data that it saw.
#[test]
fn data_that_changed_meanwhile_is_not_kept() {
    let mut world = world();
    world.put(&opaque("a: '1'"));
    world.rotate_key();
    let behind = world.state.clone();
    world.put(&opaque("a: '2'"));
    let outcome = apply_as(&mut world, &behind, &opaque("a: '1'"), None);
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    world.put(&opaque("a: '1'"));
    assert_eq!(world.state.revision(), world.revision_of("Secret s"), "it was written, and is the same");
}

#[test]
fn one_idempotency_key_is_one_request_over_a_rotation() {
    let mut world = world();
    let run =
        |world: &mut World, yaml: &str| world.run_with_key(CommandBody::Apply(changes(yaml)), Some("k"));
    let first = run(&mut world, &opaque("a: '1'")).unwrap();
    world.put(&opaque("a: '2'"));
    world.rotate_key();
    // Equal to the data that is there, under another version: the node that is asked notes it.
    world.put(&opaque("a: '1'"));
    world.rotate_key();
    let before = world.state.clone();
    assert_eq!(run(&mut world, &opaque("a: '1'")).unwrap(), first);
    assert_eq!(world.state, before, "it is answered and not done again");
    let other = world.command(CommandBody::Apply(changes(&opaque("a: '3'"))), Some("k"));
    assert_eq!(
        refused_by(&world.state, other).name,
        ProblemName::KeyReused,
        "nothing is sealed with version 1"
    );
    let restored = State::from_records(world.state.to_records()).unwrap();
    assert_eq!(restored, world.state, "a snapshot has the version, too");
    // A day later the key is free, and what it does is sealed with the active version.
    world.now_ms += 86_400_000;
    run(&mut world, &opaque("a: '4'")).unwrap();
    assert_eq!(sealed(&world, "a").version, 3);
}

/// The command as a node proposes it that has applied `seen`.
#[expect(clippy::disallowed_methods, reason = "as the node that is asked does it")]
pub(super) fn apply_as(
    world: &mut World,
    seen: &State,
    yaml: &str,
    idempotency_key: Option<&str>,
) -> Outcome {
    let command = world.command(CommandBody::Apply(changes(yaml)), idempotency_key);
    let admitted =
        admit(command, seen.version(), Writer::Operator, Seal { state: seen, by: &Masks }).unwrap();
    world.state.apply(admitted.command())
}

#[expect(clippy::disallowed_methods, reason = "as the node that is asked does it")]
pub(super) fn refused_by(state: &State, command: Command) -> Problem {
    admit(command, state.version(), Writer::Operator, Seal { state, by: &Masks }).unwrap_err()
}

/// A Secret of a dump whose data an operator wrote into it.
#[test]
fn a_restored_secret_with_its_data_is_sealed_again_after_a_rotation() {
    let mut world = world();
    world.put(&opaque("a: '1'"));
    let behind = world.state.clone();
    world.rotate_key();
    let restored = |data: &str| opaque(data).replace("name: s,", "name: s, restored: {},");
    let equal = apply_as(&mut world, &behind, &restored("a: '1'"), None);
    assert!(matches!(equal, Outcome::Accepted(_)), "{equal:?}");
    let refused =
        |world: &mut World, seen: &State, data: &str| match apply_as(world, seen, &restored(data), None) {
            Outcome::Rejected(problem) => problem,
            accepted => panic!("{accepted:?}"),
        };
    assert_eq!(refused(&mut world, &behind, "a: '2'").field, SEAL_OUTDATED);
    let seen = world.state.clone();
    assert_eq!(refused(&mut world, &seen, "a: '2'").name, ProblemName::Conflict);
    let equal = apply_as(&mut world, &seen, &restored("a: '1'"), None);
    assert!(matches!(equal, Outcome::Accepted(_)), "{equal:?}");
}

#[test]
fn a_snapshot_has_no_data_in_the_clear() {
    let world = world().with(&opaque("a: private-90210"));
    let records = world.state.to_records();
    let snapshot: Vec<u8> = records.flat_map(|record| prost::Message::encode_to_vec(&record)).collect();
    assert!(!snapshot.windows(13).any(|window| window == b"private-90210"));
    assert!(world.state.get(&key("Secret s")).is_some());
}
