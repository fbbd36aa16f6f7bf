//! Idempotency keys.

use hanse_management::{Kind, ProblemName};

use crate::{
    CommandBody,
    fixture::{World, changes, name},
};

const DAY_MS: u64 = 86_400_000;

fn plan(name: &str) -> CommandBody {
    CommandBody::Apply(changes(&format!("{{kind: Plan, name: {name}, revision: 0}}")))
}

#[test]
fn the_same_request_under_the_same_key_is_answered_not_repeated() {
    let mut world = World::new();
    let first = world.run_with_key(plan("gold"), Some("k")).unwrap();
    world.put("{kind: Plan, name: silver}");
    let before = world.state.clone();
    assert_eq!(world.run_with_key(plan("gold"), Some("k")).unwrap(), first, "though gold exists by now");
    assert_eq!(world.state, before);
}

#[test]
fn what_the_node_that_took_it_added_makes_no_other_request() {
    let mut world = World::new().with("{kind: Region, name: eu-west}");
    let revoke = |control_nodes: &[&str]| CommandBody::Revoke {
        keys: Vec::new(),
        known_keys: vec![[control_nodes.len() as u8; 32]],
        identity: "g.gateway.eu-west.hanse.internal".into(),
        control_nodes: control_nodes.iter().map(|node| name(node)).collect(),
    };
    let first = world.run_with_key(revoke(&["cp-1"]), Some("k")).unwrap();
    assert_eq!(world.run_with_key(revoke(&["cp-1", "cp-2"]), Some("k")).unwrap(), first);
}

#[test]
fn a_key_used_for_another_request_is_refused() {
    let mut world = World::new();
    world.run_with_key(plan("gold"), Some("k")).unwrap();
    let problem = world.run_with_key(plan("silver"), Some("k")).unwrap_err();
    assert_eq!((problem.name, problem.field.as_str()), (ProblemName::KeyReused, "Idempotency-Key"));
    assert_eq!(world.run_with_key(plan("x"), Some("")).unwrap_err().name, ProblemName::Invalid);
    assert_eq!(world.run_with_key(plan("x"), Some(&"k".repeat(145))).unwrap_err().name, ProblemName::Invalid);
}

#[test]
fn a_refused_request_may_be_tried_again() {
    let mut world = World::new();
    let subscribe = || {
        let yaml = "{kind: Credential, name: c, spec: {application: a, digest: 'sha256:3333333333333333333333333333333333333333333333333333333333333333'}}";
        CommandBody::Apply(changes(yaml))
    };
    world.run_with_key(subscribe(), Some("k")).unwrap_err();
    world.put("{kind: Application, name: a}");
    world.run_with_key(subscribe(), Some("k")).unwrap();
}

#[test]
fn results_are_forgotten_after_a_day() {
    let mut world = World::new();
    world.run_with_key(plan("gold"), Some("k")).unwrap();
    world.now_ms += DAY_MS - 2;
    world.run_with_key(plan("gold"), Some("k")).unwrap();
    world.now_ms += 1;
    assert_eq!(
        world.run_with_key(plan("gold"), Some("k")).unwrap_err().name,
        ProblemName::Conflict,
        "it is run again"
    );
    world.run_with_key(plan("silver"), Some("k")).unwrap();
    assert_eq!(world.state.idempotent.iter().count(), 1);
}

#[test]
fn no_more_than_ten_thousand_are_kept() {
    let mut world = World::new();
    for number in 0..10_005 {
        world.run_with_key(CommandBody::Apply(Vec::new()), Some(&format!("k{number}"))).unwrap();
    }
    let kept: Vec<&str> = world.state.idempotent.iter().map(|(_, key, _)| key).collect();
    assert_eq!((kept.len(), kept[0]), (10_000, "k5"));
    assert!(world.names(Kind::Plan).is_empty());
}

#[test]
fn each_actor_has_keys_of_its_own() {
    let mut world = World::new();
    world.run_with_key(plan("gold"), Some("release-42")).unwrap();
    let mut as_other = |body: CommandBody| {
        world.now_ms += 1;
        world.state.apply(&crate::Command {
            actor: "another".into(),
            request_id: "r".into(),
            time_ms: world.now_ms,
            idempotency_key: Some("release-42".into()),
            only_in_term: None,
            force_grants: false,
            origin: crate::Origin::default(),
            body,
        })
    };
    let made = as_other(plan("silver"));
    assert!(matches!(made, crate::Outcome::Accepted(_)), "{made:?}");
    // What the first one did is not answered to the other.
    let crate::Outcome::Rejected(problem) = as_other(plan("gold")) else { panic!("answered") };
    assert_eq!(problem.name, ProblemName::KeyReused);
    assert_eq!(world.run_with_key(plan("gold"), Some("release-42")).unwrap().revision, 2);
}
