//! Commands, outcomes and the records of a snapshot.

use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_proto::control::{change, command, outcome, snapshot_record, *};

use crate::{recorded, sync::lineage};

fn key() -> ResourceKey {
    ResourceKey { kind: "Api".into(), organization: "default".into(), name: "orders".into() }
}

fn labels() -> BTreeMap<String, String> {
    [("tier", "edge"), ("team", "sales")].map(|(key, value)| (key.into(), value.into())).into()
}

fn command(body: command::Body) -> Command {
    Command {
        actor: "bootstrap".into(),
        request_id: "r-1".into(),
        time_ms: 1_900_000_000_000,
        idempotency_key: "k-1".into(),
        only_in_term: 0,
        force_grants: false,
        origin: None,
        body: Some(body),
    }
}

#[test]
fn commands() {
    let put = change::Action::Put(Put {
        labels: labels(),
        spec: br#"{"a":1}"#.to_vec().into(),
        protected: Some(true),
        restored: Some(Restored { api_revision: Some(7), served: vec![6, 7] }),
    });
    let delete = change::Action::Delete(Delete { cascade: true });
    let expect = change::Action::Expect(Expect { api_revision: Some(3) });
    let changes = vec![
        Change { key: Some(key()), action: Some(put), if_revision: Some(0) },
        Change { key: Some(key()), action: Some(delete), if_revision: None },
        Change { key: Some(key()), action: Some(expect), if_revision: Some(7) },
    ];
    recorded("control-apply", &command(command::Body::Apply(Apply { changes: changes.clone() })));
    let origin = Origin {
        owner: "ann".into(),
        role: "publisher".into(),
        organization: "shop".into(),
        from: "10.0.0.7:51234".into(),
        reason: "racks".into(),
    };
    let of_operator = Command { origin: Some(origin), ..command(command::Body::Apply(Apply { changes })) };
    recorded("control-origin", &of_operator);
    recorded(
        "control-use-join-token",
        &command(command::Body::UseJoinToken(UseJoinToken {
            token: "t-1".into(),
            secret_digest: vec![8; 32].into(),
            joiner: "agent-1.agent.eu-west.hanse.internal".into(),
            key_digest: vec![9; 32].into(),
            node_id: 77,
            incumbent: Incumbent::Silent.into(),
        })),
    );
    let record = RecordServer {
        identity: "cp-1.server.control.hanse.internal".into(),
        key_digest: vec![9; 32].into(),
        node_id: 77,
    };
    recorded("control-record-server", &command(command::Body::RecordServer(record)));
    let start = command::Body::StartLineage(StartLineage { lineage: Some(lineage()) });
    recorded("control-start-lineage", &command(start));
    let identity = "agent-1.agent.eu-west.hanse.internal".to_owned();
    let control_nodes = vec!["cp-1".into(), "cp-2".into()];
    let keys = vec![Bytes::from(vec![6; 32])];
    let revoke = Revoke {
        identity: identity.clone(),
        control_nodes,
        keys: keys.clone(),
        known_keys: vec![vec![5; 32].into()],
    };
    recorded("control-revoke", &command(command::Body::Revoke(revoke)));
    let refuse = RefuseKeys { identity: identity.clone(), keys: keys.clone() };
    recorded("control-refuse-keys", &command(command::Body::RefuseKeys(refuse)));
    let finalize = Finalize { version: 2, release: "0.2.0".into() };
    recorded("control-finalize", &command(command::Body::Finalize(finalize)));
    recorded("control-readmit", &command(command::Body::Readmit(Readmit { identity })));
    let key = Bytes::from(vec![7; 32]);
    let trust = TrustRoot { present: Some(root_certificate()), fresh: Some(root_certificate()) };
    recorded("control-trust-root", &command(command::Body::TrustRoot(trust)));
    recorded("control-use-root", &command(command::Body::UseRoot(UseRoot { key: key.clone() })));
    recorded("control-drop-root", &command(command::Body::DropRoot(DropRoot { key })));
    let drop = DropAudit { through: 7, hash: vec![5; 32].into() };
    let origin = Origin {
        owner: "ann".into(),
        role: "publisher".into(),
        organization: "shop".into(),
        from: "10.0.0.7:51234".into(),
        reason: String::new(),
    };
    let asked = Command { origin: Some(origin), ..command(command::Body::DropAudit(drop)) };
    recorded("control-drop-audit", &asked);
    let minted = RecordMinted {
        agent: "agent-1.agent.eu-west.hanse.internal".into(),
        token: crate::sync::facts().minted_tokens.pop(),
    };
    recorded("control-record-minted", &command(command::Body::RecordMinted(minted)));
    let agent = NeighbourAt { name: "agent-1".into(), address: "agent-1.example:7443".into(), relay: true };
    let set = SetNeighbours { region: "eu-west".into(), agents: vec![agent] };
    recorded("control-set-neighbours", &command(command::Body::SetNeighbours(set)));
    let propose = Propose { changes: proposal().changes, reason: "release 42".into() };
    recorded("control-propose", &command(command::Body::Propose(propose)));
    recorded(
        "control-approve",
        &command(command::Body::Approve(Approve { number: 7, judged_ms: 1_700_000_000_000 })),
    );
    let reject = Reject { number: 7, reason: "not on a Friday".into() };
    recorded("control-reject", &command(command::Body::Reject(reject)));
}

#[test]
fn the_federation_key_and_its_commands() {
    let wrapped = || Bytes::from(vec![6; 113]);
    let set = SetRecoveryKey { recovery: recovery_key(), wrapped: vec![wrapped()], replace: true };
    recorded("control-set-recovery-key", &command(command::Body::SetRecoveryKey(set)));
    let add = AddKey {
        version: 2,
        digest: vec![5; 32].into(),
        recipient: vec![7; 32].into(),
        wrapped: wrapped(),
        maker: "cp-1.server.control.hanse.internal".into(),
        rotate_after: 9,
    };
    recorded("control-add-key", &command(command::Body::AddKey(add)));
    recorded("control-use-key", &command(command::Body::UseKey(UseKey { version: 2 })));
    recorded("control-rotate-key", &command(command::Body::RotateKey(RotateKey {})));
    let value = ResealedValue {
        secret: Some(ResourceKey {
            kind: "Secret".into(),
            organization: "shop".into(),
            name: "upstream".into(),
        }),
        field: "password".into(),
        was: vec![8; 32].into(),
        version: 2,
        sealed: vec![9; 40].into(),
    };
    recorded("control-reseal", &command(command::Body::Reseal(Reseal { values: vec![value] })));
}

fn recovery_key() -> Option<RecoveryKey> {
    Some(RecoveryKey { sign: vec![3; 91].into(), wrap: vec![4; 91].into() })
}

fn root_certificate() -> RootCertificate {
    RootCertificate {
        key: vec![7; 32].into(),
        certificate: vec![0x30, 1].into(),
        endorsement: vec![0x30, 2].into(),
    }
}

fn proposal() -> Proposal {
    let delete = change::Action::Delete(Delete { cascade: true });
    let effect = ProposedEffect {
        key: Some(key()),
        action: "updated".into(),
        revision: 40,
        content: vec![3; 32].into(),
    };
    Proposal {
        number: 7,
        actor: "ci".into(),
        origin: Some(Origin { owner: "ann".into(), role: "admin".into(), ..Origin::default() }),
        time_ms: 1_900_000_000_000,
        expires_ms: 1_900_086_400_000,
        reason: "release 42".into(),
        force_grants: true,
        environments: vec!["production".into()],
        changes: vec![Change { key: Some(key()), action: Some(delete), if_revision: None }],
        effects: vec![effect],
        serves: vec![ProposedServing { binding: Some(key()), content: vec![5; 32].into() }],
        token_revision: 39,
        plans: vec!["orders".into()],
    }
}

fn accepted() -> Outcome {
    let changes = vec![ChangeResult { key: Some(key()), action: "created".into(), revision: 41 }];
    Outcome { result: Some(outcome::Result::Accepted(Accepted { revision: 41, changes, proposal: 0 })) }
}

#[test]
fn outcomes() {
    recorded("control-accepted", &accepted());
    let proposed = Accepted { revision: 41, changes: Vec::new(), proposal: 7 };
    let proposed = Outcome { result: Some(outcome::Result::Accepted(proposed)) };
    recorded("control-accepted-proposal", &proposed);
    let problem = Problem {
        name: "stale".into(),
        detail: "it changed".into(),
        field: "Api default/orders".into(),
        remedy: "read it again".into(),
    };
    recorded("control-rejected", &Outcome { result: Some(outcome::Result::Rejected(problem)) });
}

fn audit_entry() -> AuditEntry {
    let left_out = AuditLeftOut { bytes: 99, sha256: vec![4; 32].into() };
    let field = AuditField { pointer: "/spec/a".into(), before: "1".into(), after: "2".into() };
    let change = AuditChange {
        key: Some(key()),
        action: "updated".into(),
        fields: vec![field],
        left_out: Some(left_out),
    };
    AuditEntry {
        number: 8,
        revision: 41,
        time_ms: 1_900_000_000_000,
        actor: "ci".into(),
        owner: "ann".into(),
        role: "publisher".into(),
        organization: "shop".into(),
        from: "10.0.0.7:51234".into(),
        request_id: "r-1".into(),
        what: "apply".into(),
        changes: vec![change],
        reason: "racks".into(),
    }
}

#[test]
fn snapshot_records() {
    use snapshot_record::Record;
    for (name, record) in [
        (
            "header",
            Record::Header(SnapshotHeader {
                version: 1,
                lineage: Some(lineage()),
                revision: 41,
                time_ms: 1_900_000_000_000,
                release: "0.1.0".into(),
                revoked_revision: 40,
                roots_revision: 39,
                issuing_root: vec![7; 32].into(),
                dropped_roots: vec![vec![9; 32].into()],
                audit_dropped: 7,
                audit_start: vec![5; 32].into(),
                audit_head: vec![6; 32].into(),
                proposals_made: 7,
                dns_revision: 38,
            }),
        ),
        (
            "resource",
            Record::Resource(Resource {
                key: Some(key()),
                labels: labels(),
                spec: br#"{"a":1}"#.to_vec().into(),
                revision: 41,
                created_at_ms: 1_899_999_999_000,
                updated_at_ms: 1_900_000_000_000,
                uses: 2,
                api_revision: 3,
                served: vec![2, 3],
                protected: true,
                used_by: vec!["agent-1.agent.eu-west.hanse.internal".into()],
            }),
        ),
        (
            "journal",
            Record::Journal(JournalEntry { revision: 41, time_ms: 1_900_000_000_000, keys: vec![key()] }),
        ),
        (
            "idempotent",
            Record::Idempotent(IdempotentResult {
                actor: "ci".into(),
                key: "k-1".into(),
                time_ms: 1_900_000_000_000,
                request_digest: vec![6; 32].into(),
                key_version: 3,
                outcome: Some(accepted()),
            }),
        ),
        (
            "api-counter",
            Record::ApiCounter(ApiCounter { organization: "default".into(), api: "orders".into(), last: 3 }),
        ),
        (
            "member",
            Record::Member(Member {
                identity: "agent-1.agent.eu-west.hanse.internal".into(),
                token: "t-1".into(),
                key_digest: vec![9; 32].into(),
                environments: vec!["production".into()],
                node_id: 77,
                forced: true,
                earlier_keys: vec![vec![8; 32].into()],
                address: "agent-1.example:7443".into(),
                relay: true,
            }),
        ),
        (
            "revocation",
            Record::Revocation(Revocation {
                identity: "agent-1.agent.eu-west.hanse.internal".into(),
                actor: "alice".into(),
                time_ms: 1_900_000_000_000,
                keys: vec![vec![6; 32].into()],
            }),
        ),
        (
            "root",
            Record::Root(Root {
                root: Some(root_certificate()),
                actor: "alice".into(),
                time_ms: 1_900_000_000_000,
            }),
        ),
        (
            "federation-keys",
            Record::FederationKeys(FederationKeys {
                recovery: recovery_key(),
                versions: vec![KeyVersion {
                    digest: vec![5; 32].into(),
                    wrapped: vec![6; 113].into(),
                    made_at: 40,
                    used: true,
                }],
                rotate_after: 41,
            }),
        ),
        ("audit", Record::Audit(audit_entry())),
        (
            "recorded-tokens",
            Record::RecordedTokens(RecordedTokens {
                agent: "agent-1.agent.eu-west.hanse.internal".into(),
                ids: vec!["gw-1".into()],
                times_ms: vec![1_900_000_000_000],
            }),
        ),
        ("proposal", Record::Proposal(proposal())),
    ] {
        recorded(&format!("control-snapshot-{name}"), &SnapshotRecord { record: Some(record) });
    }
}
