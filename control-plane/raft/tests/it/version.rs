//! A control node that does not know the version in force does not get into the group, and takes no command of it.

use hanse_identity::connect;
use hanse_proto::{
    control,
    raft::{
        AddVoterRequest, ControlNode, ProposeRequest, add_voter_response, peer_client::PeerClient,
        propose_response,
    },
};
use hanse_state::{Version, port::Replicated};

use crate::harness::{World, begin_lineage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_node_that_does_not_know_the_version_is_refused() {
    let world = World::new();
    let first = world.start(1).await;
    first.group.bootstrap().await.unwrap();
    first.write(begin_lineage()).await.unwrap();
    let channel = connect(&first.description.raft_address, world.shown_by(4, "cp-4")).await.unwrap();
    let mut client = PeerClient::new(channel);
    let raft_address = "127.0.0.1:1".to_owned();
    let node = ControlNode { id: 4, name: "cp-4".to_owned(), raft_address, ..ControlNode::default() };
    let request = AddVoterRequest { node: Some(node), version: Version::FIRST.number() - 1 };
    let answer = client.add_voter(request).await.unwrap().into_inner();
    let Some(add_voter_response::Result::Problem(problem)) = answer.result else { panic!("{answer:?}") };
    assert_eq!(problem.name, "upgrade");
    assert!(problem.detail.contains("cp-4") && problem.remedy.contains("release 0.1.0"), "{problem:?}");
    assert_eq!(first.group.members().len(), 1);
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_takes_no_command_of_a_version_that_it_does_not_know() {
    let world = World::new();
    let first = world.start(1).await;
    first.group.bootstrap().await.unwrap();
    first.write(begin_lineage()).await.unwrap();
    let before = first.group.current();
    let channel = connect(&first.description.raft_address, world.shown_by(4, "cp-4")).await.unwrap();
    let mut client = PeerClient::new(channel);
    // A later release's command: this one reads no body of it.
    let command = Some(control::Command { actor: "cp-4".to_owned(), ..Default::default() });
    let request = |version| ProposeRequest { command: command.clone(), within_ms: 5_000, version };
    let answer = client.propose(request(Version::KNOWN.number() + 1)).await.unwrap().into_inner();
    let Some(propose_response::Result::Problem(problem)) = answer.result else { panic!("{answer:?}") };
    assert_eq!(problem.name, "upgrade", "{problem:?}");
    for version in [0, Version::KNOWN.number()] {
        let status = client.propose(request(version)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{version}: {status}");
    }
    assert_eq!(first.group.current(), before);
    first.stop().await;
}
