use super::*;
use crate::{
    Command, CommandBody, State,
    fixture::{ORDERS, World, changes},
    projection::{AsSealed, from_scratch},
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

fn raise(world: &mut World, version: u32) -> Result<(), Problem> {
    let release = "0.2.0".to_owned();
    world.run(CommandBody::Finalize { version, release }).map(drop)
}

#[test]
fn a_version_is_raised_by_one_and_never_goes_back() {
    let mut world = World::new();
    let before = world.state.revision();
    assert_eq!(world.state.version(), Version::FIRST);
    raise(&mut world, 2).unwrap();
    assert_eq!((world.state.version().number(), world.state.revision()), (2, before + 1));
    for known in [1, 2] {
        raise(&mut world, known).unwrap();
        assert_eq!(
            (world.state.version().number(), world.state.revision()),
            (2, before + 1),
            "nothing changed"
        );
    }
    let back = State::from_records(world.state.to_records()).unwrap();
    assert_eq!(back, world.state);
}

#[test]
fn a_version_that_is_not_known_is_not_applied() {
    let mut world = World::new();
    raise(&mut world, 2).unwrap();
    let problem = raise(&mut world, 3).unwrap_err();
    assert_eq!(problem.name, ProblemName::Upgrade);
    assert!(problem.to_string().contains("needs release 0.2.0"), "{problem}");
}

#[test]
fn a_command_without_a_version_is_not_read() {
    let version = Version::FIRST.number();
    let finalize = |version| {
        let body = CommandBody::Finalize { version, release: String::new() }.to_proto();
        Command::from_proto(hanse_proto::control::Command { body: Some(body), ..Default::default() })
    };
    assert_eq!(finalize(0).unwrap_err().to_string(), "malformed Finalize: it has no version");
    finalize(version).unwrap();
}

#[test]
fn a_release_that_is_not_told_is_a_later_one() {
    let check = |release: &str, needed: &str| {
        let unknown = Version::read(9, release).unwrap_err();
        assert!(unknown.to_string().ends_with(&format!(": it needs {needed}")), "{unknown}");
        let problem = unknown.problem();
        assert_eq!(problem.remedy, format!("run {needed} on every control node first"));
    };
    check("9.8.0", "release 9.8.0 or a later one");
    check("", "a later release");
}

#[test]
fn what_came_later_is_refused_until_its_version_is_in_force() {
    let mut world = World::new();
    let yaml = "{kind: Plan, name: gold, labels: {later: ''}}";
    let problem = world.refused(yaml);
    assert_eq!((problem.name, &*problem.field), (ProblemName::Upgrade, "Plan default/gold: labels.later"));
    assert!(problem.to_string().contains("hanse upgrade finalize"), "{problem}");
    assert!(problem.detail.contains("release 0.2.0"), "{problem}");
    raise(&mut world, 2).unwrap();
    world.put(yaml);
}

#[test]
fn a_control_node_must_know_the_version_in_force() {
    let later = Version::KNOWN;
    later.check_known_to("cp-4", later.number() + 1).unwrap();
    later.check_known_to("cp-4", later.number()).unwrap();
    let problem = later.check_known_to("cp-4", later.number() - 1).unwrap_err();
    assert_eq!(problem.name, ProblemName::Upgrade);
    assert!(problem.detail.contains("cp-4") && problem.remedy.contains("release 0.2.0"), "{problem}");
}

/// Of what [`version_1_stays_what_it_was`] writes.
const BYTES_OF_VERSION_1: &str = "d69c4efa5398e1ca82fe6ae2f139df0da727ba35058e8b8bef15b67bbe40f264";

/// Builds of two releases write the same until the operator finalizes. `./check` runs this in the test release too.
/// Before release 0.1.0 a change of version 1 updates the digest on purpose.
#[test]
fn version_1_stays_what_it_was() {
    let mut world = World::with_orders();
    world.run_with_key(CommandBody::Apply(changes("{kind: Plan, name: free}")), Some("key")).unwrap();
    let mut hash = Sha256::new();
    let command = Command {
        actor: "tester".to_owned(),
        request_id: "r".to_owned(),
        time_ms: world.now_ms,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: crate::Origin::default(),
        body: CommandBody::Apply(changes(ORDERS)),
    };
    hash.update(command.to_proto().encode_to_vec());
    for record in world.state.to_records() {
        hash.update(record.encode_length_delimited_to_vec());
    }
    for (scope, content) in from_scratch(&world.state, &AsSealed) {
        for (key, bytes) in content {
            hash.update(format!("{scope} {key} {}", hex::encode(bytes)));
        }
    }
    assert_eq!(hex::encode(hash.finalize()), BYTES_OF_VERSION_1, "the bytes of version 1 are another");
}
