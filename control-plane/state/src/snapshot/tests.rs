use hanse_proto::control as proto;
use prost::Message;

use super::*;
use crate::{CommandBody, RootCertificate, fixture::World};

fn full() -> State {
    let mut world = World::empty();
    world
        .run(CommandBody::StartLineage(Lineage { generation: 2, id: [1; 16], parent: Some(([2; 16], 77)) }))
        .unwrap();
    let mut world = World { state: world.state, ..World::empty() };
    // What an earlier version accepted is read by this one.
    world.replicate(
        "{kind: Organization, name: default}\n---\n{kind: Region, name: eu-west, labels: {tier: edge}, spec: {location: {latitude: 53.349805, longitude: -6.26031}}}\n---\n{kind: Region, name: us-east}\n---\n{kind: Environment, name: production, spec: {regions: [eu-west, us-east], staleCredentials: {denyAfter: 36h}}}\n---\n{kind: Environment, name: sandbox, spec: {regions: []}}",
    );
    for yaml in [crate::fixture::ORDERS, "{kind: Application, name: gone}"] {
        world.put(yaml);
    }
    world.delete("Application gone", false).unwrap();
    world.put("{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: '2'}}}}}");
    let expires_at = crate::fixture::START_MS / 1000 + 60;
    let digest = hanse_management::Digest::of(b"secret");
    world.put(&format!(
        "{{kind: JoinToken, name: t, spec: {{role: agent, region: eu-west, environments: [sandbox], expiresAt: {expires_at}, digest: '{digest}'}}}}"
    ));
    let (token, joiner) = (crate::fixture::name("t"), "agent-1.agent.eu-west.hanse.internal".to_owned());
    world
        .run(CommandBody::UseJoinToken {
            token,
            secret_digest: digest.0,
            joiner,
            key_digest: [5; 32],
            seat: None,
        })
        .unwrap();
    let body = CommandBody::Apply(crate::fixture::changes("{kind: Plan, name: silver}"));
    world.run_with_key(body, Some("k")).unwrap();
    world.state
}

fn bytes(state: &State) -> Vec<Vec<u8>> {
    state.to_records().map(|record| record.encode_to_vec()).collect()
}

fn read(bytes: &[Vec<u8>]) -> Result<State, SnapshotError> {
    State::from_records(bytes.iter().map(|bytes| proto::SnapshotRecord::decode(bytes.as_slice()).unwrap()))
}

#[test]
fn a_state_comes_back_as_it_was() {
    let state = full();
    let written = bytes(&state);
    let back = read(&written).unwrap();
    assert_eq!(back, state);
    assert_eq!(bytes(&back), written, "and is written the same");
    assert_eq!(State::from_records(State::default().to_records()).unwrap(), State::default());
}

#[test]
fn keys_that_were_replaced_come_back() {
    let mut world = World { state: full(), ..World::empty() };
    let identity = crate::server_identity("cp-1");
    for key in [7, 8] {
        let (identity, key_digest) = (identity.clone(), [key; 32]);
        world.run(CommandBody::RecordServer { identity, key_digest, node_id: 1 }).unwrap();
    }
    let back = read(&bytes(&world.state)).unwrap();
    assert_eq!(back, world.state);
    assert_eq!(back.member(&identity).unwrap().earlier_keys, [[7; 32]]);
}

#[test]
fn revocations_come_back() {
    let mut world = World { state: full(), ..World::empty() };
    let identity = "agent-1.agent.eu-west.hanse.internal".to_owned();
    let revoke = CommandBody::Revoke {
        identity: identity.clone(),
        control_nodes: Vec::new(),
        keys: vec![[6; 32]],
        known_keys: vec![[3; 32]],
    };
    world.run(revoke).unwrap();
    let back = read(&bytes(&world.state)).unwrap();
    assert_eq!(back, world.state);
    assert!(back.is_revoked(&identity) && back.revoked_revision() == back.revision());
    assert_eq!(back.revocation(&identity).unwrap().keys, [[3; 32], [6; 32]]);
}

#[test]
fn founders_and_their_places_come_back() {
    let mut world = World { state: full(), ..World::empty() };
    let identity = crate::server_identity("cp-1");
    let record = CommandBody::RecordServer { identity: identity.clone(), key_digest: [8; 32], node_id: 77 };
    world.run(record).unwrap();
    let back = read(&bytes(&world.state)).unwrap();
    assert_eq!(back, world.state);
    let member = back.member(&identity).unwrap();
    assert_eq!((member.token.as_ref(), member.seat.unwrap().node_id), (None, 77));
    assert_eq!(back.members_with(&[8; 32]).collect::<Vec<_>>(), [identity]);
}

#[test]
fn roots_come_back() {
    let mut world = World { state: full(), ..World::empty() };
    let root =
        |key: u8| RootCertificate { key: [key; 32], certificate: vec![key], endorsement: vec![9, key] };
    world.run(CommandBody::TrustRoot { present: root(1), fresh: root(2) }).unwrap();
    world.run(CommandBody::UseRoot([2; 32])).unwrap();
    world.run(CommandBody::DropRoot([1; 32])).unwrap();
    let back = read(&bytes(&world.state)).unwrap();
    assert_eq!(back, world.state);
    assert_eq!((back.roots().len(), back.issuing_root()), (1, Some([2; 32])));
    assert_eq!(back.dropped_roots(), [[1; 32]]);
}

#[test]
fn a_state_that_came_back_goes_on_like_the_other() {
    let mut one = World { state: full(), ..World::empty() };
    let mut other = World { state: read(&bytes(&one.state)).unwrap(), ..World::empty() };
    for world in [&mut one, &mut other] {
        world.put("{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://10.0.0.9'}]}}");
        let body = CommandBody::Apply(crate::fixture::changes("{kind: Plan, name: silver}"));
        assert_eq!(world.run_with_key(body, Some("k")).unwrap().revision, 9, "the key is remembered");
        world.delete("Organization default", true).unwrap();
    }
    assert_eq!(one.state, other.state);
}

#[test]
fn a_clone_is_written_on_another_thread_while_the_state_goes_on() {
    let state = full();
    let expected = bytes(&state);
    let copy = state.clone();
    let writing = std::thread::spawn(move || bytes(&copy));
    let mut world = World { state, ..World::empty() };
    world.delete("Organization default", true).unwrap();
    assert_eq!(writing.join().unwrap(), expected);
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let written = bytes(&full());
    assert!(matches!(read(&[]), Err(SnapshotError::Header)));
    assert!(matches!(read(&written[1..]), Err(SnapshotError::Header)));
    assert!(matches!(read(&[&written[..1], &written[..1]].concat()), Err(SnapshotError::Header)));

    let with_header = |change: &dyn Fn(&mut proto::SnapshotHeader)| {
        let mut records: Vec<_> = full().to_records().collect();
        if let Some(proto::snapshot_record::Record::Header(header)) = &mut records[0].record {
            change(header);
        }
        State::from_records(records)
    };
    let of_version = |number| {
        let other = |header: &mut proto::SnapshotHeader| {
            (header.version, header.release) = (number, "9.8.0".to_owned());
        };
        with_header(&other).unwrap_err()
    };
    assert!(matches!(of_version(0), SnapshotError::Record { at: 0, .. }), "no release writes it");
    for number in [Version::KNOWN.number() + 1, u32::MAX] {
        let error = of_version(number);
        assert!(matches!(&error, SnapshotError::Version(unknown) if unknown.number == number), "{error:?}");
        assert!(error.to_string().contains("needs release 9.8.0"), "{error}");
    }

    let empty = proto::SnapshotRecord { record: None }.encode_to_vec();
    let error = read(&[written[0].clone(), empty]).unwrap_err();
    assert_eq!(error.to_string(), "record 1 of the snapshot cannot be read");
}

/// What was written must be read for ever. A change of these bytes shows in the diff of the file; to write it anew, until
/// the first tagged release freezes it: `HANSE_WRITE_TESTDATA=1 cargo test -p hanse-state recorded`.
#[test]
fn the_recorded_bytes_of_the_first_format_are_read_and_written() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/v1/snapshot.hex");
    let written: String = bytes(&full()).iter().map(|record| hex::encode(record) + "\n").collect();
    if std::env::var_os("HANSE_WRITE_TESTDATA").is_some() {
        std::fs::write(file, &written).unwrap();
    }
    let recorded = std::fs::read_to_string(file).unwrap();
    let records: Vec<Vec<u8>> = recorded.lines().map(|line| hex::decode(line).unwrap()).collect();
    assert_eq!(read(&records).unwrap(), full());
    assert_eq!(written, recorded);
}
