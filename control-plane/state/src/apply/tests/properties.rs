//! What holds after any sequence of commands.

mod invariants;
mod strategies;

use proptest::prelude::*;
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::{Action, Change, ChangeResult, Command, CommandBody, Dump, Outcome, State, fixture::World};
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{SealedValue, SecretValue},
};

/// Beside ORDERS, what depends on most: Bindings by label, one with an Upstream of its own; hosts, one with a plan.
const MORE: &str = "
{kind: Organization, name: retail}
---
{kind: Upstream, name: other, spec: {endpoints: [{url: 'http://b'}]}}
---
{kind: Api, name: billing, spec: {context: /x, version: '1', operations: [], upstream: backend}}
---
{kind: Binding, name: b2, spec: {api: billing, environment: production, regions: {labels: {tier: edge}}, upstream: other}}
---
{kind: Binding, name: b3, spec: {api: orders, environment: sandbox, regions: {labels: {tier: edge}}, upstream: other}}
---
{kind: DnsZone, name: gslb, spec: {origin: gslb.example, nameServers: [{name: ns}], contact: a@b}}
---
{kind: GlobalHost, name: h1, spec: {host: a.gslb.example, zone: gslb, environment: sandbox}}
---
{kind: GlobalHost, name: h2, spec: {host: b.gslb.example, zone: gslb, environment: sandbox}}
---
{kind: FailoverPlan, name: p1, spec: {hosts: [h1], active: eu-west, standby: [us-east]}}
";

/// A Secret whose values are sealed with version 1 of the federation key; version 2 is the active one.
const OUTDATED: &str = "{kind: Secret, name: password, spec: {type: opaque, data: {a: '1', key.pem: '2'}}}";

fn start() -> State {
    let mut world = World::with_orders().with(MORE).with_key().with(OUTDATED);
    world.rotate_key();
    world.state
}

/// How many commands another node applies between two snapshots that it starts from.
const RESTORED_EVERY: usize = 5;

/// A drop of the audit names an entry that is there: half of them go. A key was made after the last rotation, but for some. A value that is
/// sealed anew was made of the one that is there, but for some.
fn completed(command: &Command, state: &State) -> Command {
    let mut command = command.clone();
    if let CommandBody::DropAudit { through, hash } = &mut command.body {
        let log = state.audit();
        let middle = log.start().number + (log.head().number - log.start().number).div_ceil(2);
        if let Some((entry, _, its)) = log.from(middle).next() {
            (*through, *hash) = (entry.number, its);
        }
    }
    if let CommandBody::AddKey { rotate_after: after @ 0, .. } = &mut command.body {
        *after = state.federation_keys().rotate_after();
    }
    if let CommandBody::Reseal(values) = &mut command.body {
        for value in values.iter_mut().filter(|value| value.was == [0; 32]) {
            let present = state.sealed_value(&value.secret, &value.field);
            value.was = present.map_or([0; 32], |present| Sha256::digest(&present.sealed).into());
        }
    }
    command
}

/// As another node gets it.
fn sent(command: &Command) -> Command {
    let bytes = command.to_proto().encode_to_vec();
    Command::from_proto(hanse_proto::control::Command::decode(bytes.as_slice()).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(crate::fixture::proptest_config())]

    #[test]
    fn any_commands_keep_the_state_sound(commands in prop::collection::vec(strategies::command(), 1..32)) {
        let mut state = start();
        let mut elsewhere = state.clone();
        for (at, command) in commands.iter().enumerate() {
            let before = state.clone();
            let command = &completed(command, &before);
            if at % RESTORED_EVERY == 0 {
                // A node that was given a snapshot carries the same chain on.
                elsewhere = State::from_records(elsewhere.to_records()).unwrap();
            }
            let outcome = state.apply(command);
            prop_assert_eq!(&sent(command), command);
            prop_assert_eq!(&elsewhere.apply(&sent(command)), &outcome);
            let told = Outcome::from_proto(outcome.to_proto()).unwrap();
            prop_assert_eq!(&told, &outcome);
            match &command.body {
                CommandBody::Reseal(_) => invariants::check_reseal(&before, &state, &outcome),
                _ => invariants::check_step(&before, &state, &outcome),
            }
            invariants::check(&state);
            let entries = state.audit().head().number - before.audit().head().number;
            // A JoinToken that is spent, a token that is recorded and values that are sealed anew make an entry without a revision at most.
            prop_assert!(entries <= 1 && (entries == 1 || state.revision() == before.revision()));
        }
        prop_assert!(elsewhere == state, "two nodes differ");
        prop_assert!(State::from_records(state.to_records()).unwrap() == state, "the snapshot is another state");
    }

    /// A federation that is made from the dump of a state has the same dump: no history of the state changes it. Operators bring the data of
    /// Secrets.
    #[test]
    fn any_state_is_restored(commands in prop::collection::vec(strategies::command(), 1..48)) {
        let mut state = start();
        for command in &commands {
            state.apply(command);
        }
        let dumped = |state: &State| -> Vec<_> { Dump::of(state.clone(), true).resources_after(None).collect() };
        let mut other = World::empty().with_key().state;
        // Resource by resource: the smallest parts that there are.
        let parts = dumped(&state).into_iter().map(Change::from).flat_map(|change| with_data(&change).into_iter().chain([change]));
        for change in parts.collect::<Vec<_>>() {
            let body = CommandBody::Apply(vec![change]);
            let command = Command {
                actor: "tester".into(),
                request_id: "r".into(),
                time_ms: state.time_ms(),
                idempotency_key: None,
                only_in_term: None,
                // The state may have Bindings that meet: another dump brought them.
                force_grants: true,
                origin: crate::Origin::default(),
                body,
            };
            prop_assert_eq!(&sent(&command), &command);
            let outcome = other.apply(&command);
            prop_assert!(matches!(outcome, Outcome::Accepted(_)), "{:?}", outcome);
        }
        prop_assert_eq!(dumped(&other), dumped(&state));
    }
}

/// A Secret of a dump, as an operator puts it who has its data.
fn with_data(change: &Change) -> Option<Change> {
    let Action::Restore { labels, spec: Spec::Secret(secret), protected, .. } = &change.action else {
        return None;
    };
    let mut secret = secret.clone();
    for value in secret.data.values_mut() {
        *value = SecretValue::Sealed(SealedValue { version: 1, sealed: vec![1], same_as: None });
    }
    let (labels, protected) = (labels.clone(), Some(*protected));
    let action = Action::Put { labels, spec: secret.into(), protected };
    Some(Change { key: change.key.clone(), action, if_revision: None })
}

/// Whether the command restores this resource.
fn restores(command: &Command, key: &ResourceKey) -> bool {
    let CommandBody::Apply(changes) = &command.body else { return false };
    changes.iter().any(|change| change.key == *key && matches!(change.action, Action::Restore { .. }))
}

/// The generator reaches what it is meant to test: most kinds of outcome come up.
#[test]
fn the_strategies_reach_acceptance_and_many_refusals() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    let mut restored = std::collections::BTreeMap::new();
    let mut resealed = 0;
    for _ in 0..40 {
        let commands =
            prop::collection::vec(strategies::command(), 30).new_tree(&mut runner).unwrap().current();
        let mut state = start();
        for command in &commands {
            let (command, outdated) = (&completed(command, &state), state.outdated_values().count());
            let word = match state.apply(command) {
                Outcome::Accepted(accepted) => {
                    if let CommandBody::Reseal(_) = &command.body {
                        resealed += outdated - state.outdated_values().count();
                    }
                    let made = accepted.changes.iter().filter(|told| told.action == ChangeResult::CREATED);
                    for told in made.filter(|told| restores(command, &told.key)) {
                        *restored.entry(told.key.kind).or_insert(0_usize) += 1;
                    }
                    "accepted"
                }
                Outcome::Rejected(problem) => problem.name.as_str(),
            };
            *seen.entry(word).or_insert(0_usize) += 1;
        }
    }
    assert!(seen["accepted"] > 150, "{seen:?}");
    assert!(resealed > 5, "{resealed} values were sealed anew");
    for kind in [Kind::Api, Kind::ApiRevision, Kind::Binding] {
        assert!(restored.contains_key(&kind), "no {kind} was restored: {restored:?}");
    }
    for word in [
        "conflict",
        "in-use",
        "missing-reference",
        "stale",
        "not-found",
        "key-reused",
        "join-refused",
        "invalid",
    ] {
        assert!(seen.contains_key(word), "{word} never came up: {seen:?}");
    }
}
