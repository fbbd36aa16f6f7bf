//! The chain, what entries say, and what they never say.

use hanse_management::{Digest, Kind, ProblemName, Spec, kinds::TokenRole};
use hanse_proto::control as proto;
use prost::Message;
use serde_json::json;

use super::{record::MAX_FIELDS_BYTES, *};
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
pub(crate) fn holds(state: &State) -> bool {
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

/// The token of [`asked`], and one of a publisher.
const TOKENS: &str = "
{kind: Token, name: ci, spec: {role: admin, owner: ann, digest: 'sha256:4444444444444444444444444444444444444444444444444444444444444444'}}
---
{kind: Token, name: build, spec: {role: publisher, organization: default, digest: 'sha256:5555555555555555555555555555555555555555555555555555555555555555'}}
";

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
            reason: String::new(),
        },
        body,
    }
}

fn drop_audit(state: &State, link: AuditLink) -> Command {
    asked(state, CommandBody::DropAudit { through: link.number, hash: link.hash })
}

#[test]
fn an_entry_says_who_did_what_from_where() {
    let mut world = World::with_orders()
        .with(TOKENS)
        .with("{kind: Plan, name: gold, spec: {rate: {requests: 5, per: minute}}}");
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
    let mut state = World::with_orders().with(TOKENS).with("{kind: Plan, name: silver}").state;
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
    let secrets = world.state.resources().filter(|resource| resource.spec.secret().is_some());
    assert!(secrets.into_iter().all(|resource| resource.spec.secrets().contains(&"/digest")));
    world
        .run(CommandBody::UseJoinToken {
            token: crate::fixture::name("j"),
            secret_digest: digests[5].0,
            joiner: "a.agent.eu-west.hanse.internal".into(),
            key_digest: [7; 32],
            seat: None,
        })
        .unwrap();
    assert_eq!(last(&world).what, "join a.agent.eu-west.hanse.internal with key 0707070707070707");
    world.delete("Credential k", false).unwrap();
    let audit: Vec<u8> =
        entries(&world.state).iter().flat_map(|entry| entry.to_proto().encode_to_vec()).collect();
    let contains = |needle: &[u8]| audit.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"Credential"));
    for digest in &digests {
        assert!(!contains(&digest.0) && !contains(hex::encode(digest.0).as_bytes()), "{digest}");
    }
}

/// A spec of an Api that has this many operations of 130 bytes each.
fn wide(operations: std::ops::Range<usize>, upstream: &str) -> String {
    let long = "a".repeat(100);
    let operations: Vec<_> =
        operations.map(|number| format!("{{method: GET, path: '/n{number}/{long}'}}")).collect();
    format!(
        "{{kind: Api, name: wide, spec: {{context: /w, version: '1', upstream: {upstream}, operations: [{}]}}}}",
        operations.join(", ")
    )
}

fn change_of<'a>(entry: &'a AuditEntry, resource: &str) -> &'a AuditChange {
    entry.changes.iter().find(|change| change.key == key(resource)).unwrap()
}

fn fields_bytes(entry: &AuditEntry) -> usize {
    entry.changes.iter().flat_map(|change| &change.fields).map(|field| field.to_proto().encoded_len()).sum()
}

#[test]
fn a_short_field_is_told_beside_a_long_one() {
    let other = "{kind: Upstream, name: other, spec: {endpoints: [{url: 'http://b'}]}}";
    let mut world = World::with_orders().with(other).with(&wide(0..400, "backend"));
    let told = |world: &World| change_of(&last(world), "Api wide").fields.clone();
    let find = |fields: &[AuditField], pointer: &str| {
        fields.iter().find(|field| field.pointer == pointer).cloned().unwrap()
    };
    let created = told(&world);
    assert_eq!(find(&created, "/spec/upstream").after, Some(json!("backend")));
    let operations = find(&created, "/spec/operations").after.unwrap();
    assert!(operations.as_str().unwrap().contains(" bytes, sha256:"), "{operations}");
    // Every operation is another one, which is more than an entry has room for.
    world.put(&wide(1_000..1_400, "other"));
    let replaced = told(&world);
    let upstream = find(&replaced, "/spec/upstream");
    assert_eq!((upstream.before, upstream.after), (Some(json!("backend")), Some(json!("other"))));
    let operations_now = find(&replaced, "/spec/operations");
    assert_eq!(operations_now.before.as_ref(), Some(&operations));
    assert_ne!(operations_now.after, operations_now.before, "another content has another digest");
    assert!(fields_bytes(&last(&world)) < MAX_FIELDS_BYTES && holds(&world.state));
}

#[test]
fn of_a_list_only_what_is_new_or_gone_is_told() {
    let mut world = World::with_orders().with(&wide(0..400, "backend"));
    world.put(&wide(0..401, "backend"));
    let pointers = |world: &World| -> Vec<_> {
        let fields = change_of(&last(world), "Api wide").fields.clone();
        fields
            .into_iter()
            .map(|field| (field.pointer, field.before.is_some(), field.after.is_some()))
            .collect()
    };
    assert_eq!(pointers(&world), [("/spec/operations/400".to_owned(), false, true)]);
    world.put(&wide(1..401, "backend"));
    assert_eq!(pointers(&world), [("/spec/operations/0".to_owned(), true, false)]);
}

#[test]
fn every_resource_is_named_however_many_there_are() {
    let mut world = World::new();
    let plan = |number: usize| {
        format!("{{kind: Plan, name: plan-{number}, spec: {{displayName: '{}'}}}}", "a".repeat(100))
    };
    let mut yaml: Vec<_> = (0..1_000).map(plan).collect();
    let digest = Digest::of(b"x");
    yaml.push(format!("{{kind: Token, name: late, spec: {{role: admin, digest: '{digest}'}}}}"));
    world.put(&yaml.join("\n---\n"));
    let entry = last(&world);
    assert_eq!(entry.changes.len(), 1_001);
    assert_eq!(change_of(&entry, "Token late").action, "created");
    assert!(fields_bytes(&entry) <= MAX_FIELDS_BYTES);
    // What has no room has size and digest of its content: the same for the same content.
    let (first, second) = (change_of(&entry, "Plan plan-0"), change_of(&entry, "Plan plan-1"));
    assert!(first.fields.is_empty() && first.left_out.unwrap().bytes > 100);
    assert_eq!(first.left_out, second.left_out);
    // Ten of them are told, wherever they stand.
    let few: Vec<_> = (2_000..2_010).map(plan).collect();
    world.put(&few.join("\n---\n"));
    assert!(last(&world).changes.iter().all(|change| change.fields.len() == 1 && change.left_out.is_none()));
    assert!(holds(&world.state));
}

#[test]
fn what_is_gone_and_large_has_the_digest_of_what_it_was() {
    let mut world = World::with_orders().with(&wide(0..400, "backend"));
    world.delete("Api wide", true).unwrap();
    let entry = last(&world);
    let gone = change_of(&entry, "Api wide");
    assert!(gone.action == "deleted" && gone.fields.is_empty());
    assert!(gone.left_out.unwrap().bytes > 40_000, "{gone:?}");
}

/// A changed field of a Secret is named, and nothing of the data is told: not even in sealed form, or by its length.
#[test]
fn data_of_secrets_is_not_in_the_audit() {
    let secret =
        |fields: &str| format!("{{kind: Secret, name: s, spec: {{type: opaque, data: {{{fields}}}}}}}");
    let redacted = || Some(json!("(redacted)"));
    let mut world = World::new().with_key().with(&secret("a.b: first-private, kept: also-private"));
    assert!(
        change_of(&last(&world), "Secret s")
            .fields
            .iter()
            .any(|field| field.pointer == "/spec/data" || field.pointer == "/spec")
    );
    world.put(&secret("a.b: second-private, kept: {sealed: true}"));
    let field = |pointer: &str, before, after| AuditField { pointer: pointer.to_owned(), before, after };
    assert_eq!(
        change_of(&last(&world), "Secret s").fields,
        [field("/spec/data/a.b", redacted(), redacted())]
    );
    let left_out = |world: &World| super::diff::digest(world.state.get(&key("Secret s")).unwrap());
    let before = left_out(&world);
    world.put(&secret("a.b: third, kept: {sealed: true}"));
    assert_eq!(left_out(&world), before);
    world.delete("Secret s", false).unwrap();
    let audit: String = entries(&world.state).iter().map(|entry| format!("{entry:?}")).collect();
    assert!(
        audit.contains("a.b") && !audit.contains("private") && !audit.contains("\"sealed\": String"),
        "{audit}"
    );
}

/// A header that a Policy sets is a secret of the upstream.
#[test]
fn values_of_headers_are_not_in_the_audit() {
    let policy = |value: &str, tier: &str| {
        format!(
            "{{kind: Policy, name: key, spec: {{headers: {{request: {{set: {{X-Api-Key: {value}}}}}, response: {{add: {{X-Tier: {tier}}}}}}}}}}}"
        )
    };
    let mut world = World::with_orders().with(&policy("first-secret", "gold"));
    world.put(&policy("second-secret", "gold"));
    let redacted = Some(json!("(redacted)"));
    let pointer = "/spec/headers/request/set/X-Api-Key".to_owned();
    assert_eq!(
        change_of(&last(&world), "Policy key").fields,
        [AuditField { pointer, before: redacted.clone(), after: redacted }]
    );
    // Nor the digest of one: a short value could be guessed.
    let left_out = |world: &World| super::diff::digest(world.state.get(&key("Policy key")).unwrap());
    let before = left_out(&world);
    world.put(&policy("third-secret", "gold"));
    assert_eq!(left_out(&world), before);
    world.delete("Policy key", false).unwrap();
    let audit: String = entries(&world.state).iter().map(|entry| format!("{entry:?}")).collect();
    assert!(audit.contains("X-Api-Key") && !audit.contains("-secret"), "{audit}");
}

/// An operator's command, by role and organization.
fn tries(world: &mut World, organization: Option<&str>, body: CommandBody) -> Result<(), ProblemName> {
    let mut command = asked(&world.state, body);
    command.origin.organization = organization.map(crate::fixture::name);
    if organization.is_some() {
        command.origin.role = Some(TokenRole::Publisher);
        (command.actor, command.origin.owner) = ("build".into(), "build".into());
    }
    match world.state.apply(&command) {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected(problem) => Err(problem.name),
    }
}

#[test]
fn one_organization_does_not_stop_the_others() {
    let mut world = World::with_orders().with(TOKENS);
    let put = |name: &str| CommandBody::Apply(changes(&format!("{{kind: Plan, name: {name}}}")));
    world.state.audit = AuditLog::filled(&world.state.audit, 89);
    assert_eq!(tries(&mut world, Some("default"), put("a")), Ok(()));
    world.state.audit = AuditLog::filled(&world.state.audit, 90);
    assert_eq!(tries(&mut world, Some("default"), put("b")), Err(ProblemName::AuditFull));
    assert_eq!(tries(&mut world, None, put("b")), Ok(()));
}

#[test]
fn a_full_log_does_not_keep_access_open() {
    let digest = Digest::of(b"x");
    let expires_at = START_MS / 1000 + 3_600;
    let mut world = World::with_orders().with(TOKENS).with(&format!(
        "{{kind: Token, name: root, spec: {{role: admin, digest: '{}'}}}}\n---\n\
         {{kind: Token, name: stolen, spec: {{role: admin, digest: '{digest}'}}}}\n---\n         {{kind: JoinToken, name: lost, spec: {{role: agent, region: eu-west, expiresAt: {expires_at}, digest: '{digest}'}}}}",
        Digest::of(b"y")
    ));
    world.state.audit = AuditLog::filled(&world.state.audit, 100);
    let delete = |resource: &str| CommandBody::Apply(vec![crate::fixture::delete(resource, false)]);
    assert_eq!(tries(&mut world, None, delete("Subscription shop-orders")), Err(ProblemName::AuditFull));
    assert_eq!(tries(&mut world, None, delete("Token stolen")), Ok(()));
    assert_eq!(tries(&mut world, None, delete("JoinToken lost")), Ok(()));
    let revoke = CommandBody::Revoke {
        identity: "g1.gateway.eu-west.hanse.internal".into(),
        control_nodes: Vec::new(),
        keys: vec![[0xab; 32]],
        known_keys: Vec::new(),
    };
    assert_eq!(tries(&mut world, None, revoke), Ok(()));
    let log = world.state.audit();
    let (entry, _, _) = log.from(log.head().number).next().unwrap();
    assert_eq!(entry.what, "revoke g1.gateway.eu-west.hanse.internal with keys abababababababab");
    let readmit = CommandBody::Readmit { identity: "g1.gateway.eu-west.hanse.internal".into() };
    assert_eq!(tries(&mut world, None, readmit), Err(ProblemName::AuditFull), "or it could go on for ever");
}

#[test]
fn a_full_log_refuses_operators_and_lets_nodes_go_on() {
    let mut world = World::with_orders().with(TOKENS);
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
    let token = |organization: &str, digit: &str| {
        let digest = digit.repeat(64);
        format!(
            "{{kind: Token, name: {organization}, spec: {{role: publisher, organization: {organization}, digest: 'sha256:{digest}'}}}}"
        )
    };
    let mut world = World::with_orders()
        .with("{kind: Organization, name: retail}")
        .with(&token("default", "6"))
        .with(&token("retail", "7"));
    let of = |organization: &str| Origin {
        owner: organization.to_owned(),
        organization: Some(crate::fixture::name(organization)),
        role: Some(TokenRole::Publisher),
        from: String::new(),
        reason: String::new(),
    };
    let put = |world: &mut World, organization: &str, yaml: &str| {
        let command = asked(&world.state, CommandBody::Apply(changes(yaml)));
        world.state.apply(&Command { actor: organization.into(), origin: of(organization), ..command })
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
    let command = Command { actor: "default".into(), origin: of("default"), ..asked(&world.state, readmit) };
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

/// The hash of the last entry that [`version_1_makes_these_entries`] makes.
const CHAIN_OF_VERSION_1: &str = "8815ae120149a67e307032f31c36767ba6363b828693a9a4c3ae616687dd7edd";

/// Builds of two releases make the same entries, or their states part. What an entry says is hashed: the words of `what`, the order of
/// fields, how a number is written. Before release 0.1.0 a change of version 1 updates the hash on purpose.
#[test]
fn version_1_makes_these_entries() {
    let digest = Digest([9; 32]);
    let expires_at = START_MS / 1000 + 3_600;
    let mut world = World::with_orders().with_key();
    world.put(&format!(
        "{{kind: Secret, name: upstream, spec: {{type: opaque, data: {{password: '1'}}}}}}\n---\n\
         {{kind: Token, name: ci, spec: {{role: admin, digest: '{digest}'}}}}\n---\n\
         {{kind: JoinToken, name: j, spec: {{role: agent, region: eu-west, uses: 9, replace: true, expiresAt: {expires_at}, digest: '{digest}'}}}}\n---\n\
         {{kind: Organization, name: retail}}\n---\n\
         {{kind: HostGrant, name: shop, spec: {{environments: [sandbox], host: shop.example, organization: retail}}}}\n---\n\
         {{kind: Origin, name: east, spec: {{region: eu-west, environments: [sandbox], organizations: [retail], kinds: [Route], holders: [a]}}}}\n---\n\
         {{kind: DnsZone, name: gslb, spec: {{origin: gslb.example, nameServers: [{{name: ns.example}}], contact: dns@example.com}}}}\n---\n\
         {{kind: GlobalHost, name: orders, spec: {{host: orders.gslb.example, zone: gslb, environment: sandbox}}}}\n---\n\
         {{kind: FailoverPlan, name: orders, spec: {{hosts: [orders], active: eu-west, standby: [us-east]}}}}\n---\n\
         {{kind: Failover, name: orders, spec: {{serving: [{{region: eu-west, percent: 100}}], to: eu-west, steps: [100], step: 0, stepEvery: 30s, reason: r}}}}\n---\n\
         {{kind: Drain, name: us-east, spec: {{reason: r, forced: f}}}}\n---\n\
         {{kind: Drill, name: orders-1, spec: {{plan: orders, phase: done, reason: r}}}}\n---\n\
         {{kind: Region, name: north, spec: {{location: {{latitude: 53.349805, longitude: -6.26031}}}}}}"
    ));
    world.put(&wide(0..400, "backend"));
    world.put(&wide(1..402, "backend"));
    let mut seen: std::collections::BTreeSet<_> = world.state.resources().map(|one| one.key.kind).collect();
    let writable: Vec<_> =
        world.state.resources().filter(|one| one.key.kind != Kind::ApiRevision).cloned().collect();
    for resource in &writable {
        let labels = hanse_topology::Labels([("tier".to_owned(), "a".to_owned())].into());
        let spec = match &resource.spec {
            Spec::Secret(secret) => secret.without_data().into(),
            spec => spec.clone(),
        };
        let action = crate::Action::Put { labels, spec, protected: None };
        world.change(vec![crate::Change { key: resource.key.clone(), action, if_revision: None }]).unwrap();
    }
    let agent = || "a.agent.eu-west.hanse.internal".to_owned();
    let join = |key: u8| CommandBody::UseJoinToken {
        token: crate::fixture::name("j"),
        secret_digest: digest.0,
        joiner: agent(),
        key_digest: [key; 32],
        seat: None,
    };
    let token = crate::MintedToken {
        id: crate::fixture::name("gw-1"),
        minted_at: 1_900_000_000,
        role: "gateway".into(),
        environments: vec![crate::fixture::name("production")],
        environments_total: 3,
    };
    let root = |key: u8, endorsed_by: u8| crate::RootCertificate {
        key: [key; 32],
        certificate: vec![key],
        endorsement: vec![key, endorsed_by],
    };
    for body in [
        join(1),
        CommandBody::RecordMinted { agent: agent(), token },
        CommandBody::Revoke {
            identity: agent(),
            control_nodes: Vec::new(),
            keys: (2..12).map(|key| [key; 32]).collect(),
            known_keys: Vec::new(),
        },
        CommandBody::RefuseKeys { identity: agent(), keys: vec![[12; 32]] },
        CommandBody::Readmit { identity: agent() },
        join(2),
        CommandBody::SetNeighbours {
            region: crate::fixture::name("eu-west"),
            agents: vec![crate::NeighbourAt {
                name: crate::fixture::name("a"),
                address: "a.example:7443".into(),
                relay: true,
            }],
        },
        CommandBody::RecordServer {
            identity: "cp-1.server.control.hanse.internal".into(),
            key_digest: [3; 32],
            node_id: 1,
        },
        CommandBody::TrustRoot { present: root(1, 2), fresh: root(2, 1) },
        CommandBody::UseRoot([2; 32]),
        CommandBody::DropRoot([1; 32]),
    ] {
        let before = world.state.audit().head();
        let outcome = world.run(body.clone());
        assert!(world.state.audit().head() != before, "{body:?} makes no entry: {outcome:?}");
    }
    world.rotate_key();
    world.reseal();
    world.put(&format!("{{kind: Token, name: last, spec: {{role: admin, digest: '{}'}}}}", Digest([8; 32])));
    for resource in writable.iter().rev() {
        if world.state.get(&resource.key).is_some() {
            let delete = |key: &ResourceKey| crate::Change {
                key: key.clone(),
                action: crate::Action::Delete { cascade: true },
                if_revision: None,
            };
            let mut deletes = vec![delete(&resource.key)];
            if resource.key.kind == Kind::FailoverPlan {
                // A host that stays without its plan would be served elsewhere, too.
                deletes.push(delete(&key("GlobalHost orders")));
            }
            world.change(deletes).unwrap();
        }
    }
    let head = world.state.audit().head();
    world.run(CommandBody::DropAudit { through: head.number, hash: head.hash }).unwrap();
    seen.extend(writable.iter().map(|one| one.key.kind));
    // The test release has a kind of a later version.
    let of_version_1 = Kind::ALL.into_iter().filter(|kind| kind.as_str() != "Memo");
    assert_eq!(seen, of_version_1.collect(), "each kind is created, updated and deleted");
    assert_eq!(hex::encode(world.state.audit().head().hash), CHAIN_OF_VERSION_1, "{:#?}", last(&world));
}
