//! Three voters: writes through any node, losing the leader, losing the quorum, joining late.

use std::time::{Duration, Instant};

use hanse_management::{Problem, ProblemName};
use hanse_raft::{Compaction, GroupError};
use hanse_state::{
    Command, CommandBody, GONE_AFTER, Outcome, SEAT_UNDECIDED,
    port::{Consistency, Replicated},
};
use tokio::task::JoinSet;

use crate::harness::{Admit, TIMING, TestNode, World, count, key, leader, put, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_survive_the_leader() {
    let world = World::new();
    let mut nodes = world.three_voters().await;
    for node in &nodes {
        until("everybody knows all voters", || node.group.group().nodes.len() == 3).await;
    }
    let first = leader(&nodes).await;
    let follower = &nodes[(first + 1) % 3];

    // Through a follower, and visible there at once.
    let accepted = follower.accepted("through-a-follower").await;
    assert!(follower.group.current().get(&key("through-a-follower")).is_some());
    assert_eq!(follower.group.current().revision(), accepted.revision);
    // Everywhere else by a linearizable read.
    for node in &nodes {
        let state = node.read(Consistency::Linearizable).await.unwrap();
        assert!(state.get(&key("through-a-follower")).is_some());
        let status = node.group.group();
        assert!(status.quorum, "{status:?}");
        assert_eq!(status.leader, nodes[first].group.group().leader);
        let at_least = node.read(Consistency::AtLeast(accepted.revision)).await.unwrap();
        assert!(at_least.revision() >= accepted.revision);
    }

    // A refused write is an outcome, too.
    let refused = follower.write(put("through-a-follower", "x", Some(0))).await.unwrap();
    assert!(matches!(refused, Outcome::Rejected(_)), "{refused:?}");

    // Many writes at once, while the leader goes: all that were acknowledged stay.
    let stopped = nodes.remove(first);
    let mut writers = JoinSet::new();
    for (writer, node) in nodes.iter().enumerate() {
        let group = node.group.clone();
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..40 {
                let organization = format!("w{writer}-{number}");
                let command = Command {
                    actor: "test".to_owned(),
                    request_id: String::new(),
                    time_ms: 1,
                    idempotency_key: None,
                    only_in_term: None,
                    force_grants: false,
                    origin: hanse_state::Origin::default(),
                    body: put(&organization, "Acme", None),
                };
                match group.propose(command).await {
                    Ok(Outcome::Accepted(_)) => acknowledged.push(organization),
                    Ok(Outcome::Rejected(problem)) => panic!("{organization}: {problem}"),
                    Err(problem) => {
                        let allowed = [ProblemName::UnknownFate, ProblemName::NoQuorum];
                        assert!(allowed.contains(&problem.name), "{organization}: {problem}");
                    }
                }
            }
            acknowledged
        });
    }
    let progress = nodes[0].group.current().revision() + 10;
    let _ = nodes[0].group.changed_since(progress).await;
    let stopped = stopped.stop().await;
    let acknowledged: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() >= 40, "only {} of 80", acknowledged.len());
    for node in &nodes {
        let state = node.read(Consistency::Linearizable).await.unwrap();
        assert_eq!(count(&state, &acknowledged), acknowledged.len());
    }
    let second = leader(&nodes).await;
    assert_ne!(nodes[second].description.name, stopped.name);

    // It comes back, and catches up.
    let back = world.restart(stopped).await;
    let revision = nodes[second].group.current().revision();
    let state = back.read(Consistency::AtLeast(revision)).await.unwrap();
    assert_eq!(count(&state, &acknowledged), acknowledged.len());
    until("it counts as up to date again", || back.group.group().up_to_date).await;
    back.accepted("back").await;
    for node in nodes.into_iter().chain([back]) {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_writes_and_serves_stale_reads() {
    let world = World::new();
    let mut nodes = world.three_voters().await;
    nodes[0].accepted("before").await;
    let first = leader(&nodes).await;
    let survivor = nodes.remove(first);
    let mut stopped = Vec::new();
    for node in nodes {
        stopped.push(node.stop().await);
    }
    until("it notices", || !survivor.group.group().quorum).await;
    let began = Instant::now();
    let problem = survivor.write(put("during", "Acme", None)).await.unwrap_err();
    assert_eq!(problem.name, ProblemName::NoQuorum, "{problem}");
    assert!(began.elapsed() < TIMING.election_max * 5 + Duration::from_secs(2), "took {:?}", began.elapsed());
    let problem = survivor.read(Consistency::Linearizable).await.unwrap_err();
    assert_eq!(problem.name, ProblemName::NoQuorum, "{problem}");
    let state = survivor.read(Consistency::Stale).await.unwrap();
    assert!(state.get(&key("before")).is_some());
    assert!(survivor.group.group().as_of_age_ms >= 900);

    // With one of the others back, it goes on; the refused write did not happen.
    let back = world.restart(stopped.remove(0)).await;
    let nodes = [survivor, back];
    leader(&nodes).await;
    nodes[0].accepted("after").await;
    let state = nodes[1].read(Consistency::Linearizable).await.unwrap();
    assert!(state.get(&key("during")).is_none() && state.get(&key("after")).is_some());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_comes_back_by_snapshot_under_a_new_id() {
    let mut world = World::new();
    world.compaction = Compaction { snapshot_after: 20, keep: 0 };
    let mut nodes = world.three_voters().await;
    let organizations: Vec<String> = (0..60).map(|number| format!("org-{number}")).collect();
    for organization in &organizations {
        nodes[0].accepted(organization).await;
    }
    // Large commands, forwarded: many records of the log each, and together more than one part of a snapshot's stream.
    for number in 0..3 {
        let changes =
            (0..2_500).map(|part| match put(&format!("large-{number}-{part}"), &"x".repeat(250), None) {
                CommandBody::Apply(changes) => changes,
                other => panic!("{other:?}"),
            });
        let outcome = nodes[1].write(CommandBody::Apply(changes.flatten().collect())).await.unwrap();
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
    for number in 0..30 {
        nodes[0].accepted(&format!("more-{number}")).await;
    }
    let snapshot = world.data_dir(1).join("raft/snapshots/state.snapshot");
    until("a large snapshot is there", || snapshot.metadata().is_ok_and(|file| file.len() > 2 << 20)).await;

    let wiped = nodes.pop().unwrap().stop().await;
    // It was heard a moment ago.
    let admitted = nodes[0].admit(&wiped.name, 33, Admit::Force).await;
    assert!(matches!(admitted, Outcome::Accepted(_)), "{admitted:?}");
    let joiner = world.start_at(33, &wiped.name, wiped.raft_address.parse().unwrap()).await;
    // It has the old one's address, but does not take what is meant for that one.
    nodes[0].accepted("meanwhile").await;
    assert!(!joiner.group.is_initialized());
    joiner.group.join(&[nodes[1].description.raft_address.clone()]).await.unwrap();
    let state = joiner.read(Consistency::Linearizable).await.unwrap();
    assert_eq!(count(&state, &organizations), organizations.len());
    assert!(state.get(&key("large-2-2499")).is_some());
    assert!(
        world.data_dir(33).join("raft/snapshots/state.snapshot").exists(),
        "it came by snapshot, the log being purged"
    );
    until("it took the old one's place", || {
        nodes.iter().all(|node| {
            let members = node.group.members();
            members.len() == 3 && members.iter().any(|member| member.id == 33)
        })
    })
    .await;
    // Joining again changes nothing.
    joiner.group.join(&[nodes[0].description.raft_address.clone()]).await.unwrap();
    joiner.group.add_voter(joiner.description.clone()).await.unwrap();
    joiner.accepted("from-the-joiner").await;
    nodes.push(joiner);
    stop_all(nodes).await;
}

/// Why a node was not admitted.
fn refusal(outcome: Outcome) -> Problem {
    match outcome {
        Outcome::Rejected(problem) => problem,
        Outcome::Accepted(accepted) => panic!("{accepted:?}"),
    }
}

/// Why the group did not take this node.
async fn not_taken(node: &TestNode, via: &TestNode) -> Problem {
    match node.group.join(std::slice::from_ref(&via.description.raft_address)).await {
        Err(GroupError::Refused(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_belongs_to_the_node_that_runs_until_an_operator_says_otherwise() {
    let world = World::new();
    let mut nodes = world.three_voters().await;
    until("the first node leads", || nodes[0].leads()).await;
    let members = |nodes: &[TestNode]| {
        let mut ids: Vec<u64> = nodes[0].group.members().iter().map(|member| member.id).collect();
        ids.sort_unstable();
        ids
    };

    // A certificate for the name of a node that runs is not enough.
    let thief = world.start_at(33, "cp-3", "127.0.0.1:0".parse().unwrap()).await;
    let problem = not_taken(&thief, &nodes[1]).await;
    assert_eq!(problem.name, ProblemName::Conflict, "{problem}");
    // Nor are tokens that do not say so, whichever node is asked.
    for kind in [Admit::Plain, Admit::Replace] {
        for node in &nodes {
            let problem = refusal(node.admit("cp-3", 33, kind).await);
            assert_eq!(problem.name, ProblemName::JoinRefused, "{problem}");
            assert!(problem.detail.contains("cp-3") && problem.detail.contains("runs"), "{problem}");
        }
    }
    let problem = refusal(nodes[1].admit("cp-1", 33, Admit::Force).await);
    assert!(problem.detail.contains("leads"), "a leader does not take itself out: {problem}");
    // Nor may one node ask for another, or for another's addresses.
    let mut moved = nodes[2].description.clone();
    moved.raft_address = thief.description.raft_address.clone();
    thief.group.shutdown().await;
    nodes[1].group.add_voter(moved).await.unwrap_err();
    assert_eq!(members(&nodes), [1, 2, 3]);
    nodes[2].accepted("unharmed").await;

    // A node that is gone makes place, for the id that was admitted and no other.
    let stopped = nodes.pop().unwrap().stop().await;
    let began = Instant::now();
    let admitted = loop {
        match nodes[1].admit("cp-3", 34, Admit::Replace).await {
            Outcome::Accepted(_) => break began.elapsed(),
            Outcome::Rejected(problem) => {
                assert!(problem.detail.contains("runs") || problem.field == SEAT_UNDECIDED, "{problem}")
            }
        }
        assert!(began.elapsed() < GONE_AFTER * 3, "a node that is gone keeps its place");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(admitted > GONE_AFTER / 2, "{admitted:?}");
    let other = world.start_at(35, "cp-3", "127.0.0.1:0".parse().unwrap()).await;
    assert_eq!(not_taken(&other, &nodes[0]).await.name, ProblemName::Conflict);
    // It came back meanwhile: it is waited for.
    let back = world.restart(stopped).await;
    let heard = || nodes[0].group.group().nodes.iter().any(|node| node.name == "cp-3");
    until("it is a member still", heard).await;
    back.accepted("it-writes-again").await;
    let admitted = world.start_at(34, "cp-3", "127.0.0.1:0".parse().unwrap()).await;
    let problem = not_taken(&admitted, &nodes[0]).await;
    assert!(problem.detail.contains("runs"), "{problem}");
    // By force it takes the place at once.
    let forced = nodes[1].admit("cp-3", 34, Admit::Force).await;
    assert!(matches!(forced, Outcome::Accepted(_)), "{forced:?}");
    admitted.group.join(&[nodes[1].description.raft_address.clone()]).await.unwrap();
    until("the old one is out", || members(&nodes) == [1, 2, 34]).await;
    other.stop().await;
    back.stop().await;
    nodes.push(admitted);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_takes_longer_than_a_lease_on_the_road_arrives() {
    let mut world = World::new();
    world.bytes_per_second = Some(3_000_000);
    let nodes = world.three_voters().await;
    let first = leader(&nodes).await;
    let before = nodes[first].group.group();
    let command = Command {
        actor: "test".to_owned(),
        request_id: "x".repeat(8 << 20),
        time_ms: 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body: put("acme", "Acme", None),
    };
    let began = Instant::now();
    let outcome = nodes[first].group.propose(command).await.unwrap();
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert!(began.elapsed() > TIMING.election_max * 2, "the road was not slow: {:?}", began.elapsed());
    nodes[(first + 1) % 3].accepted("afterwards").await;
    let after = nodes[first].group.group();
    assert_eq!((after.term, after.leader), (before.term, before.leader), "nobody had to be elected");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_be_asked_is_named() {
    let world = World::new();
    let mut nodes = world.three_voters().await;
    for node in &nodes {
        until("everybody knows everybody", || node.group.members().len() == 3).await;
        answered(node, 2).await;
    }
    let gone = nodes.pop().unwrap().stop().await;
    for node in &nodes {
        let reports = node.group.peer_reports().await;
        assert_eq!((reports.answers.len(), reports.silent), (1, vec![gone.name.clone()]));
    }
    let back = world.restart(gone).await;
    for node in &nodes {
        answered(node, 2).await;
    }
    nodes.push(back);
    stop_all(nodes).await;
}

/// Waits until so many members tell their reports, and none is missing.
async fn answered(node: &TestNode, count: usize) {
    let began = Instant::now();
    loop {
        let reports = node.group.peer_reports().await;
        if reports.answers.len() == count && reports.silent.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain: {reports:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn stop_all(nodes: Vec<TestNode>) {
    for node in nodes {
        node.stop().await;
    }
}
