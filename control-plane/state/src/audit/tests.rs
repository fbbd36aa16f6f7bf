//! The chain, what entries say, and what they never say.

use hanse_management::{Digest, Kind, ProblemName, Spec, kinds::TokenRole};
use hanse_proto::control as proto;
use prost::Message;
use serde_json::json;

use super::{record::MAX_ENTRY_BYTES, *};
use crate::{
    Command, CommandBody, Outcome, State,
    fixture::{START_MS, World, changes, key},
};

fn entries(state: &State) -> Vec<AuditEntry> {
    state.audit().from(0).map(|(entry, _, _)| entry).collect()
}

fn last(world: &World) -> AuditEntry {
    entries(&world.state).pop().unwrap()
}

/// Whether the chain of a state holds: each entry has its number, and fits the hash of the one before it.
fn holds(state: &State) -> bool {
    let log = state.audit();
    let mut at = log.start();
    for (entry, previous, hash) in log.from(0) {
        if entry.number != at.number + 1 || previous != at.hash || entry.hash(&previous) != hash {
            return false;
        }
        at = AuditLink { number: entry.number, hash };
    }
    at == log.head()
}

/// A command of an operator.
fn asked(state: &State, body: CommandBody) -> Command {
    Command {
        actor: "ci".into(),
        request_id: "r-1".into(),
        time_ms: state.time_ms() + 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: Origin {
            owner: "ann".into(),
            role: Some(TokenRole::Admin),
            organization: None,
            from: "10.0.0.7:51234".into(),
        },
        body,
    }
}

fn drop_audit(state: &State, link: AuditLink) -> Command {
    asked(state, CommandBody::DropAudit { through: link.number, hash: link.hash })
}

#[test]
fn an_entry_says_who_did_what_from_where() {
    let mut world =
        World::with_orders().with("{kind: Plan, name: gold, spec: {rate: {requests: 5, per: minute}}}");
    let put = "{kind: Plan, name: gold, labels: {tier: a}, spec: {rate: {requests: 7, per: minute}}}";
    let body = CommandBody::Apply(changes(put));
    let command = asked(&world.state, body);
    assert!(matches!(world.state.apply(&command), Outcome::Accepted(_)));
    let entry = last(&world);
    assert_eq!(
        (entry.actor.as_str(), entry.what.as_str(), entry.request_id.as_str()),
        ("ci", "apply", "r-1")
    );
    assert_eq!(entry.origin, command.origin);
    assert_eq!((entry.revision, entry.time_ms), (world.state.revision(), world.state.time_ms()));
    let [change] = entry.changes.as_slice() else { panic!("{entry:?}") };
    assert_eq!((change.key.clone(), change.action.as_str()), (key("Plan gold"), "updated"));
    let field = |pointer: &str, before, after| AuditField { pointer: pointer.into(), before, after };
    assert_eq!(
        change.fields,
        [
            field("/labels", None, Some(json!({"tier": "a"}))),
            field("/spec/rate/requests", Some(json!(5)), Some(json!(7))),
        ]
    );
}

#[test]
fn what_changes_nothing_makes_no_entry() {
    let mut world = World::with_orders();
    let before = world.state.audit().head();
    world.put("{kind: Plan, name: gold}");
    world.delete("Plan nothing", false).unwrap_err();
    world.run(CommandBody::ForgetResults).unwrap();
    assert_eq!(world.state.audit().head(), before);
    let body = || CommandBody::Apply(changes("{kind: Plan, name: silver}"));
    world.run_with_key(body(), Some("k")).unwrap();
    let once = world.state.audit().head();
    assert_eq!(once.number, before.number + 1);
    world.run_with_key(body(), Some("k")).unwrap();
    assert_eq!(world.state.audit().head(), once, "a repeated request is the same act");
}

#[test]
fn an_entry_that_was_changed_dropped_doubled_or_moved_is_found() {
    let state =
        World::with_orders().with("{kind: Plan, name: silver}").with("{kind: Plan, name: bronze}").state;
    assert!(holds(&state));
    let rebuilt = |damage: &dyn Fn(&mut Vec<proto::SnapshotRecord>)| {
        let mut records: Vec<_> = state.to_records().collect();
        damage(&mut records);
        State::from_records(records)
    };
    let at = |records: &[proto::SnapshotRecord]| -> Vec<usize> {
        let is_audit = |record: &proto::SnapshotRecord| {
            matches!(record.record, Some(proto::snapshot_record::Record::Audit(_)))
        };
        (0..records.len()).filter(|at| is_audit(&records[*at])).collect()
    };
    assert!(rebuilt(&|_| {}).unwrap() == state);
    let changed = |records: &mut Vec<proto::SnapshotRecord>| {
        let first = at(records)[0];
        if let Some(proto::snapshot_record::Record::Audit(entry)) = &mut records[first].record {
            entry.actor = "somebody else".into();
        }
    };
    rebuilt(&changed).unwrap_err();
    rebuilt(&|records| drop(records.remove(at(records)[1]))).unwrap_err();
    rebuilt(&|records| drop(records.remove(*at(records).last().unwrap()))).unwrap_err();
    rebuilt(&|records| {
        let at = at(records);
        records.swap(at[0], at[1]);
    })
    .unwrap_err();
    rebuilt(&|records| {
        let last = *at(records).last().unwrap();
        records.push(records[last].clone());
    })
    .unwrap_err();
}

#[test]
fn a_rewritten_beginning_gives_another_end() {
    let state = World::with_orders().with("{kind: Plan, name: silver}").state;
    let rebuilt = |rewrite: &dyn Fn(&mut AuditEntry)| {
        let mut log = AuditLog::default();
        for mut entry in entries(&state) {
            if entry.number == 1 {
                rewrite(&mut entry);
            }
            log.push(&entry);
        }
        log.head()
    };
    assert_eq!(rebuilt(&|_| {}), state.audit().head());
    let forged = rebuilt(&|entry| entry.actor = "somebody else".into());
    assert_ne!(forged, state.audit().head(), "each hash rests on all entries before it");
}

#[test]
fn the_oldest_go_only_as_they_were_exported_and_their_hash_stays() {
    let mut state = World::with_orders().with("{kind: Plan, name: silver}").state;
    let all: Vec<_> = state.audit().from(0).collect();
    let (entry, _, hash) = &all[0];
    let through = AuditLink { number: entry.number, hash: *hash };
    let refused = |state: &mut State, link, name| {
        let before = state.clone();
        let Outcome::Rejected(problem) = state.apply(&drop_audit(&before, link)) else { panic!("dropped") };
        assert_eq!(problem.name, name);
        assert!(*state == before);
    };
    refused(&mut state, AuditLink { hash: [1; 32], ..through }, ProblemName::Conflict);
    refused(&mut state, AuditLink { number: 99, ..through }, ProblemName::NotFound);
    let command = drop_audit(&state, through);
    assert!(matches!(state.apply(&command), Outcome::Accepted(_)));
    assert_eq!(state.audit().start(), through);
    let kept: Vec<_> = state.audit().from(0).collect();
    assert_eq!(kept[0].0.number, 2);
    assert_eq!(kept[0].1, *hash, "the chain begins behind what was dropped");
    assert_eq!(kept.last().unwrap().0.what, "drop audit through 1");
    assert!(holds(&state));
    // All of them, and the one that says so remains.
    let head = state.audit().head();
    let command = drop_audit(&state, head);
    assert!(matches!(state.apply(&command), Outcome::Accepted(_)));
    assert_eq!(entries(&state).len(), 1);
    assert!(holds(&state) && State::from_records(state.to_records()).unwrap() == state);
    refused(&mut state, head, ProblemName::NotFound);
}

/// Every field that a kind has for a secret, created, replaced and deleted, and spent.
#[test]
fn no_secret_and_no_digest_of_one_is_in_the_audit() {
    let mut world = World::with_orders();
    let digests: Vec<Digest> = (0_u8..6).map(|number| Digest::of(&[number])).collect();
    let expires_at = START_MS / 1000 + 3_600;
    let mut planted = std::collections::BTreeSet::new();
    for round in 0..2 {
        let [credential, token, join] = [0, 1, 2].map(|kind| digests[round * 3 + kind].to_string());
        let yaml = format!(
            "{{kind: Credential, name: k, spec: {{application: shop, digest: '{credential}'}}}}\n---\n\
             {{kind: Token, name: t, spec: {{role: admin, digest: '{token}'}}}}\n---\n\
             {{kind: JoinToken, name: j, spec: {{role: agent, region: eu-west, uses: 9, expiresAt: {expires_at}, digest: '{join}'}}}}"
        );
        planted.extend(changes(&yaml).iter().map(|change| change.key.kind));
        world.put(&yaml);
        let fields: Vec<_> = last(&world).changes.into_iter().flat_map(|change| change.fields).collect();
        if round == 1 {
            let redacted = Some(json!("(redacted)"));
            let pointers: Vec<_> = fields.iter().map(|field| field.pointer.as_str()).collect();
            assert_eq!(pointers, ["/spec/digest"; 3], "that it was replaced is told");
            assert!(fields.iter().all(|field| field.before == redacted && field.after == redacted));
        }
    }
    let has_secret = |kind: &Kind| {
        let digest = digests[0].to_string();
        let (shop, region) = ("shop", "eu-west");
        let spec = json!({"digest": digest, "application": shop, "role": "admin"});
        let join = json!({"digest": digest, "role": "agent", "region": region, "expiresAt": 1});
        [spec, join].iter().any(|spec| {
            let mut spec = spec.clone();
            if *kind == Kind::Credential {
                spec.as_object_mut().unwrap().remove("role");
            } else {
                spec.as_object_mut().unwrap().remove("application");
            }
            Spec::from_json(*kind, &spec).is_ok_and(|spec| spec.secret().is_some())
        })
    };
    let with_secrets: std::collections::BTreeSet<_> = Kind::ALL.into_iter().filter(has_secret).collect();
    assert_eq!(planted, with_secrets, "each kind with a secret is planted");
    world
        .run(CommandBody::UseJoinToken {
            token: crate::fixture::name("j"),
            secret_digest: digests[5].0,
            joiner: "a.agent.eu-west.hanse.internal".into(),
            key_digest: [7; 32],
            seat: None,
        })
        .unwrap();
    assert_eq!(last(&world).what, "join a.agent.eu-west.hanse.internal");
    world.delete("Credential k", false).unwrap();
    let audit: Vec<u8> =
        entries(&world.state).iter().flat_map(|entry| entry.to_proto().encode_to_vec()).collect();
    let contains = |needle: &[u8]| audit.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"Credential"));
    for digest in &digests {
        assert!(!contains(&digest.0) && !contains(hex::encode(digest.0).as_bytes()), "{digest}");
    }
}

#[test]
fn an_entry_is_bounded_and_says_what_it_leaves_out() {
    let mut world = World::new();
    let long = |letter: &str| letter.repeat(120);
    let operation =
        |number: usize, letter: &str| format!("{{method: GET, path: '/n{number}/{}'}}", long(letter));
    let api = |letter: &str| {
        let operations: Vec<_> = (0..200).map(|number| operation(number, letter)).collect();
        format!(
            "{{kind: Api, name: wide, spec: {{context: /w, version: '1', operations: [{}]}}}}",
            operations.join(", ")
        )
    };
    world.put(&api("a"));
    let entry = last(&world);
    let wide = entry.changes.iter().find(|change| change.key == key("Api wide")).unwrap();
    let left_out = wide.fields_left_out.unwrap();
    assert!(wide.fields.is_empty() && left_out.bytes > MAX_ENTRY_BYTES as u64, "{left_out:?}");
    // Another content has another digest.
    world.put(&api("b"));
    let again = last(&world).changes[0].fields_left_out.unwrap();
    assert_ne!(again.sha256, left_out.sha256);

    let plans: Vec<_> = (0..1_000).map(|number| format!("{{kind: Plan, name: plan-{number}}}")).collect();
    world.put(&plans.join("\n---\n"));
    let entry = last(&world);
    assert!(entry.to_proto().encoded_len() < MAX_ENTRY_BYTES + 1_024);
    assert_eq!(entry.changes.len() as u64 + entry.left_out.unwrap().count, 1_000);
    assert!(holds(&world.state));
}

#[test]
fn a_full_log_refuses_operators_and_lets_nodes_go_on() {
    let mut world = World::with_orders();
    world.state.audit = AuditLog::filled(&world.state.audit, 79);
    assert_eq!(world.state.audit().warning(), None);
    world.state.audit = AuditLog::filled(&world.state.audit, 80);
    assert!(world.state.audit().warning().unwrap().contains("80% full"));
    world.state.audit = AuditLog::filled(&world.state.audit, 100);
    let put = |name: &str| CommandBody::Apply(changes(&format!("{{kind: Plan, name: {name}}}")));
    let refused = asked(&world.state, put("silver"));
    let before = world.state.clone();
    let Outcome::Rejected(problem) = world.state.apply(&refused) else { panic!("written") };
    assert_eq!(problem.name, ProblemName::AuditFull);
    assert!(problem.remedy.contains("hanse audit export") && world.state == before);
    // What changes nothing needs no room.
    let same = asked(&world.state, put("gold"));
    assert!(matches!(world.state.apply(&same), Outcome::Accepted(_)));
    let of_node = Command { origin: Origin::default(), ..asked(&world.state, put("bronze")) };
    assert!(matches!(world.state.apply(&of_node), Outcome::Accepted(_)));
    let head = world.state.audit().head();
    let command = drop_audit(&world.state, head);
    assert!(matches!(world.state.apply(&command), Outcome::Accepted(_)));
    let command = asked(&world.state, put("silver"));
    assert!(matches!(world.state.apply(&command), Outcome::Accepted(_)));
}

#[test]
fn a_token_of_one_organization_reaches_no_further_whatever_was_judged_before() {
    let mut world = World::with_orders().with("{kind: Organization, name: retail}");
    let of = |organization: &str| Origin {
        organization: Some(crate::fixture::name(organization)),
        role: Some(TokenRole::Publisher),
        ..Origin::default()
    };
    let put = |world: &mut World, organization: &str, yaml: &str| {
        let command = asked(&world.state, CommandBody::Apply(changes(yaml)));
        world.state.apply(&Command { origin: of(organization), ..command })
    };
    let refused = |outcome: Outcome, word: &str| {
        let Outcome::Rejected(problem) = outcome else { panic!("written") };
        assert_eq!(problem.name, ProblemName::Forbidden);
        assert!(problem.detail.contains(word), "{problem}");
        assert!(!problem.to_string().contains("default/gold"), "{problem}");
    };
    let gold = "{kind: Plan, name: gold, spec: {displayName: Gold}}";
    refused(put(&mut world, "retail", gold), "of another organization");
    refused(
        put(&mut world, "retail", "{kind: Region, name: eu-west, spec: {provider: cloud}}"),
        "Region eu-west",
    );
    assert!(matches!(put(&mut world, "default", gold), Outcome::Accepted(_)));
    let readmit = CommandBody::StartLineage(crate::Lineage { generation: 9, id: [9; 16], parent: None });
    let command = Command { origin: of("default"), ..asked(&world.state, readmit) };
    assert!(matches!(world.state.apply(&command), Outcome::Rejected(_)));
}

#[test]
fn numbers_with_a_fraction_are_told_as_text() {
    let mut world = World::new();
    world.put("{kind: Region, name: north, spec: {location: {latitude: 53.349805, longitude: -6.26031}}}");
    let fields = &last(&world).changes[0].fields;
    assert_eq!(
        fields[0].after,
        Some(
            json!({"provider": fields[0].after.as_ref().unwrap()["provider"], "location": {"latitude": "53.349805", "longitude": "-6.26031"}})
        )
    );
}
