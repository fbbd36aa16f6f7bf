//! What control nodes keep in their logs and say to each other.

use hanse_proto::{
    control,
    raft::{
        add_voter_response, append_entries_response, entry, propose_response, read_index_response,
        snapshot_part, *,
    },
};

use crate::{
    recorded,
    sync::{facts, heard},
};

fn vote() -> Option<Vote> {
    Some(Vote { term: 7, node_id: 5, committed: true })
}

fn log_id() -> Option<LogId> {
    Some(LogId { term: 7, node_id: 5, index: 99 })
}

pub(crate) fn node() -> ControlNode {
    ControlNode {
        id: 5,
        name: "cp-1".into(),
        raft_address: "127.0.0.1:7445".into(),
        api_url: "https://127.0.0.1:7443".into(),
        federation_address: "127.0.0.1:7444".into(),
    }
}

fn membership() -> Membership {
    let voters = |ids: &[u64]| VoterSet { ids: ids.to_vec() };
    Membership { configs: vec![voters(&[5]), voters(&[5, 6])], nodes: [(5, node())].into() }
}

fn entries() -> Vec<Entry> {
    use entry::Payload;
    [Payload::Blank(true), Payload::Batch(vec![1, 2, 3].into()), Payload::Membership(membership())]
        .map(|payload| Entry { log_id: log_id(), payload: Some(payload) })
        .to_vec()
}

#[test]
fn log() {
    recorded("raft-vote", &vote().unwrap());
    recorded("raft-log-id", &log_id().unwrap());
    recorded("raft-log-form", &LogForm { version: 1, release: "0.1.0".into() });
    recorded("raft-log-witness", &LogWitness { owner: 5, vote: vote(), purged: Some(40), last: log_id() });
    for (name, entry) in ["blank", "batch", "membership"].into_iter().zip(entries()) {
        recorded(&format!("raft-entry-{name}"), &entry);
    }
    let meta = SnapshotMeta {
        last_log_id: log_id(),
        last_membership: Some(StoredMembership { log_id: log_id(), membership: Some(membership()) }),
        snapshot_id: "s-1".into(),
    };
    let head = SnapshotHead { vote: vote(), meta: Some(meta), length: 4_096, target: 6 };
    recorded("raft-snapshot-head", &head);
}

#[test]
fn calls() {
    recorded(
        "raft-append-entries",
        &AppendEntriesRequest {
            vote: vote(),
            prev_log_id: log_id(),
            entries: entries(),
            leader_commit: log_id(),
            target: 6,
            quorum_age_ms: Some(30),
        },
    );
    recorded(
        "raft-append-entries-answer",
        &AppendEntriesResponse {
            result: append_entries_response::Result::PartialSuccess.into(),
            matching: log_id(),
            higher_vote: vote(),
        },
    );
    recorded("raft-request-vote", &VoteRequest { vote: vote(), last_log_id: log_id(), target: 6 });
    recorded(
        "raft-request-vote-answer",
        &VoteResponse { vote: vote(), granted: true, last_log_id: log_id() },
    );
    let problem = control::Problem {
        name: "no-quorum".into(),
        detail: "no leader".into(),
        field: "x".into(),
        remedy: "wait".into(),
    };
    let not_leader = NotLeader { leader: Some(node()) };
    let command = control::Command { actor: "bootstrap".into(), ..control::Command::default() };
    let propose = ProposeRequest { command: Some(command), within_ms: 9_000, version: 1 };
    recorded("raft-propose", &propose);
    for (name, result) in [
        ("outcome", propose_response::Result::Outcome(control::Outcome::default())),
        ("not-leader", propose_response::Result::NotLeader(not_leader.clone())),
        ("problem", propose_response::Result::Problem(problem.clone())),
    ] {
        recorded(&format!("raft-propose-{name}"), &ProposeResponse { result: Some(result), log_index: 100 });
    }
    for (name, result) in [
        ("index", read_index_response::Result::ReadIndex(ReadIndex { applied: 100 })),
        ("not-leader", read_index_response::Result::NotLeader(not_leader.clone())),
        ("problem", read_index_response::Result::Problem(problem.clone())),
    ] {
        recorded(&format!("raft-read-index-{name}"), &ReadIndexResponse { result: Some(result) });
    }
    recorded("raft-add-voter", &AddVoterRequest { node: Some(node()), version: 1 });
    for (name, result) in [
        ("added", add_voter_response::Result::Added(true)),
        ("not-leader", add_voter_response::Result::NotLeader(not_leader)),
        ("problem", add_voter_response::Result::Problem(problem)),
    ] {
        recorded(&format!("raft-add-voter-{name}"), &AddVoterResponse { result: Some(result) });
    }
    let data = SnapshotPart { part: Some(snapshot_part::Part::Data(vec![1, 2, 3].into())) };
    recorded("raft-snapshot-part", &data);
    recorded("raft-snapshot-answer", &SnapshotResponse { vote: vote() });
    recorded("raft-federation-keys-of", &FederationKeysRequest { target: 6 });
    let key = FederationKey { key: vec![9; 32].into() };
    assert_eq!(format!("{key:?}"), "FederationKey(secret)");
    recorded("raft-federation-keys", &FederationKeysResponse { keys: vec![key] });
    recorded("raft-reports", &ReportsResponse { agents: vec![heard()], facts: Some(facts()) });
}
