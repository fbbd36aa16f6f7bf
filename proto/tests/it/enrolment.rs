//! Joining.

use hanse_proto::enrolment::*;

use crate::{raft::node, recorded};

#[test]
fn asking_and_answering() {
    recorded(
        "enrolment-request",
        &EnrolRequest {
            token_id: "t-1".into(),
            secret: vec![1; 32].into(),
            name: "agent-1".into(),
            public_key: vec![2; 5].into(),
            control_node: Some(node()),
            version: 1,
        },
    );
    recorded(
        "enrolment-answer",
        &EnrolResponse {
            chain: vec![vec![3; 4].into(), vec![4; 4].into()],
            role: "agent".into(),
            region: "eu-west".into(),
            environments: vec!["production".into()],
            publishers: vec!["127.0.0.1:7444".into()],
            control_nodes: vec![node()],
        },
    );
    recorded("enrolment-renewal", &RenewResponse { chain: vec![vec![3; 4].into(), vec![4; 4].into()] });
}
