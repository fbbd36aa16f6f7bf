//! openraft's conformance suite for log and state machine together, and snapshots on disk.

use std::{fs, sync::Arc};

use hanse_management::{Kind, ProblemName, ResourceKey, kinds::OrganizationSpec};
use hanse_proto::control::{SnapshotRecord, snapshot_record};
use hanse_state::{Action, Change, Command, CommandBody, Lineage, Version};
use openraft::{
    CommittedLeaderId, RaftSnapshotBuilder,
    storage::RaftStateMachine,
    testing::{StoreBuilder, Suite},
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::{
    batch::Batch,
    log_store::{LogPlace, LogStore},
};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(&LogPlace::new(dir.path(), 1)).unwrap();
        let (snapshots, restored) = Snapshots::open(&dir.path().join("snapshots")).unwrap();
        let machine = StateMachine::new(Arc::new(snapshots), restored, Metrics::default());
        Ok((dir, log, machine))
    }
}

#[test]
fn log_and_state_machine_conform() {
    Suite::test_all(Builder).unwrap();
}

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn command(body: CommandBody) -> Command {
    Command {
        actor: "test".to_owned(),
        request_id: String::new(),
        time_ms: 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body,
    }
}

/// The log of a state with one organization per index.
fn history(range: std::ops::Range<u64>) -> Vec<Entry> {
    let entry = |index: u64| {
        let body = if index == 0 {
            CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None })
        } else {
            let key = ResourceKey::global(Kind::Organization, format!("org-{index}").parse().unwrap());
            let action = Action::put(Default::default(), OrganizationSpec::default());
            CommandBody::Apply(vec![Change { key, action, if_revision: None }])
        };
        let command = command(body);
        let message = command.to_proto();
        Entry { log_id: log_id(index), payload: EntryPayload::Normal(Batch::new(vec![(command, message)])) }
    };
    range.map(entry).collect()
}

/// The state after the entries up to `last`.
fn applied(last: u64) -> Applied {
    let mut applied = Applied { log_id: Some(log_id(last)), ..Applied::default() };
    for entry in history(0..last + 1) {
        let EntryPayload::Normal(batch) = entry.payload else { unreachable!() };
        for command in &batch.take_commands().unwrap() {
            let outcome = applied.state.apply(command);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        }
    }
    applied
}

fn organizations(state: &State) -> usize {
    state.list(Kind::Organization, None).count()
}

#[tokio::test]
async fn what_a_leader_wanted_holds_in_its_term_only() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, restored) = Snapshots::open(dir.path()).unwrap();
    let mut machine = StateMachine::new(Arc::new(snapshots), restored, Metrics::default());
    machine.apply(history(0..1)).await.unwrap();
    let write = |name: &str, only_in_term| {
        let key = ResourceKey::global(Kind::Organization, name.parse().unwrap());
        let action = Action::put(Default::default(), OrganizationSpec::default());
        let body = CommandBody::Apply(vec![Change { key, action, if_revision: None }]);
        let command = Command { only_in_term, ..command(body) };
        let message = command.to_proto();
        (command, message)
    };
    // Entries of this test are of term 1. As a follower gets them: from their bytes.
    let batch = Batch::new(vec![write("earlier", Some(9)), write("own", Some(1)), write("any", None)]);
    let batch = Batch::from_encoded(batch.encoded().clone());
    let entry = Entry { log_id: log_id(1), payload: EntryPayload::Normal(batch) };
    let outcomes = machine.apply([entry]).await.unwrap().remove(0);
    assert!(matches!(&outcomes[0], Outcome::Rejected(problem) if problem.name == ProblemName::Stale));
    assert_eq!(organizations(&machine.applied.state), 2);
}

/// The entry that a later release writes when it raises the version.
fn finalize(index: u64) -> Entry {
    let version = Version::KNOWN.number() + 1;
    let command = command(CommandBody::Finalize { version, release: "9.8.0".to_owned() });
    let batch = Batch::new(vec![(command.clone(), command.to_proto())]);
    // As a follower gets it: from its bytes.
    Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(Batch::from_encoded(batch.encoded().clone())),
    }
}

#[tokio::test]
async fn nothing_is_applied_from_a_version_on_that_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, restored) = Snapshots::open(dir.path()).unwrap();
    let mut machine = StateMachine::new(Arc::new(snapshots), restored, Metrics::default());
    machine.apply(history(0..3)).await.unwrap();
    let before = machine.applied.state.clone();
    assert_eq!(*machine.unknown().borrow(), None);
    machine.apply([finalize(3)]).await.unwrap_err();
    assert_eq!(machine.unknown().borrow().as_ref().unwrap().release, "9.8.0");
    assert_eq!((machine.applied.log_id, &machine.applied.state), (Some(log_id(2)), &before));
}

#[test]
fn a_snapshot_of_a_version_that_is_not_known_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = Snapshots::open(dir.path()).unwrap();
    snapshots.build(&applied(3)).unwrap();
    let path = dir.path().join("state.snapshot");
    let mut records: Vec<_> = applied(3).state.to_records().collect();
    let Some(snapshot_record::Record::Header(header)) = &mut records[0].record else { panic!("{records:?}") };
    (header.version, header.release) = (Version::KNOWN.number() + 1, "9.8.0".to_owned());
    // A record that came with that version: this build cannot read it.
    records.push(SnapshotRecord { record: None });
    snapshot_file::write(&fs::File::create(&path).unwrap(), &applied(3).meta(), records.into_iter()).unwrap();
    let before = fs::read(&path).unwrap();

    let error = Snapshots::open(dir.path()).unwrap_err();
    assert!(matches!(&error, SnapshotError::Version(unknown) if unknown.release == "9.8.0"), "{error:?}");
    let mut incoming = snapshots.begin_receiving().unwrap();
    incoming.write(&before).unwrap();
    let error = incoming.finish(before.len() as u64).unwrap_err();
    assert!(matches!(error, SnapshotError::Version(_)), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);

    // The version may have brought another form of the file. Its beginning, its header and its checksum stay.
    let mut later = before[..before.len() - 32].to_vec();
    later[7] = b'2';
    later.extend(Sha256::digest(&later));
    fs::write(&path, &later).unwrap();
    let error = Snapshots::open(dir.path()).unwrap_err();
    assert!(matches!(&error, SnapshotError::Version(unknown) if unknown.release == "9.8.0"), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), later);
    later[0] = b'G';
    later.truncate(before.len() - 32);
    later.extend(Sha256::digest(&later));
    fs::write(&path, &later).unwrap();
    let error = Snapshots::open(dir.path()).unwrap_err();
    assert!(matches!(error, SnapshotError::Damaged(_)), "no snapshot at all: {error:?}");
}

#[tokio::test]
async fn two_writes_to_one_resource_in_one_batch_get_different_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, restored) = Snapshots::open(dir.path()).unwrap();
    let mut machine = StateMachine::new(Arc::new(snapshots), restored, Metrics::default());
    machine.apply(history(0..2)).await.unwrap();
    let before = machine.applied.state.revision();
    let write = |display_name: &str, if_revision| {
        let key = ResourceKey::global(Kind::Organization, "org-1".parse().unwrap());
        let spec = OrganizationSpec { display_name: Some(display_name.to_owned()) };
        let action = Action::put(Default::default(), spec);
        let command = command(CommandBody::Apply(vec![Change { key, action, if_revision }]));
        let message = command.to_proto();
        (command, message)
    };
    let batch =
        Batch::new(vec![write("a", Some(before)), write("b", Some(before)), write("c", Some(before + 1))]);
    // As a follower gets it: from its bytes.
    let batch = Batch::from_encoded(batch.encoded().clone());
    let entry = Entry { log_id: log_id(2), payload: EntryPayload::Normal(batch) };
    let outcomes = machine.apply([entry]).await.unwrap().remove(0);
    let revision = |outcome: &Outcome| match outcome {
        Outcome::Accepted(accepted) => Ok(accepted.changes[0].revision),
        Outcome::Rejected(problem) => Err(problem.name),
    };
    let revisions: Vec<_> = outcomes.iter().map(revision).collect();
    assert_eq!(revisions, [Ok(before + 1), Err(ProblemName::Stale), Ok(before + 2)]);
}

#[tokio::test]
async fn a_snapshot_brings_the_state_back() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, restored) = Snapshots::open(dir.path()).unwrap();
    assert!(restored.is_none());
    let mut machine = StateMachine::new(Arc::new(snapshots), restored, Metrics::default());
    let outcomes = machine.apply(history(0..6)).await.unwrap();
    assert_eq!(outcomes.len(), 6);
    let mut builder = machine.get_snapshot_builder().await;
    machine.apply(history(6..9)).await.unwrap();
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, Some(log_id(5)), "what came after the copy is not in it");

    let (_, restored) = Snapshots::open(dir.path()).unwrap();
    let restored = restored.unwrap();
    assert_eq!(restored.log_id, Some(log_id(5)));
    assert_eq!(organizations(&restored.state), organizations(&applied(5).state));
    assert_eq!(restored.state.revision(), applied(5).state.revision());
}

#[test]
fn a_slow_build_does_not_replace_a_newer_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = Snapshots::open(dir.path()).unwrap();
    snapshots.build(&applied(8)).unwrap();
    let current = snapshots.build(&applied(5)).unwrap();
    assert_eq!(current.meta.last_log_id, Some(log_id(8)));
    assert_eq!(Snapshots::open(dir.path()).unwrap().1.unwrap().log_id, Some(log_id(8)));
}

#[test]
fn what_a_crash_left_half_written_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = Snapshots::open(dir.path()).unwrap();
    snapshots.build(&applied(3)).unwrap();
    let whole = fs::read(dir.path().join("state.snapshot")).unwrap();
    fs::write(dir.path().join("0.tmp"), &whole[..whole.len() / 2]).unwrap();
    let (_, restored) = Snapshots::open(dir.path()).unwrap();
    assert_eq!(restored.unwrap().log_id, Some(log_id(3)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn any_changed_byte_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = Snapshots::open(dir.path()).unwrap();
    snapshots.build(&applied(3)).unwrap();
    let path = dir.path().join("state.snapshot");
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        let error = Snapshots::open(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, SnapshotError::Damaged(_)), "byte {at}: {error}");
    }
    for length in [0, 1, 31, 32, 40, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Snapshots::open(dir.path()).is_err(), "{length} bytes");
    }
    fs::write(&path, &whole).unwrap();
    assert!(Snapshots::open(dir.path()).unwrap().1.is_some());
}

#[test]
fn a_snapshot_that_arrived_is_installed() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sender, _) = Snapshots::open(from.path()).unwrap();
    sender.build(&applied(6)).unwrap();
    let bytes = fs::read(from.path().join("state.snapshot")).unwrap();

    let (receiver, _) = Snapshots::open(to.path()).unwrap();
    let mut incoming = receiver.begin_receiving().unwrap();
    incoming.write(&bytes[..bytes.len() / 2]).unwrap();
    let error = incoming.finish(bytes.len() as u64).unwrap_err();
    assert!(error.to_string().contains("bytes arrived"), "{error}");

    let mut incoming = receiver.begin_receiving().unwrap();
    for part in bytes.chunks(100) {
        incoming.write(part).unwrap();
    }
    let snapshot = incoming.finish(bytes.len() as u64).unwrap();
    assert!(receiver.current().unwrap().is_none(), "not before it is installed");
    let mut data = *snapshot.snapshot;
    let installed = receiver.install(&mut data).unwrap();
    assert_eq!(organizations(&installed.state), organizations(&applied(6).state));
    assert_eq!(receiver.current().unwrap().unwrap().meta, snapshot.meta);
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
}

/// Puts a directory with a file in it where the snapshot is to go: no rename replaces it, not even one by root.
fn obstruct(dir: &std::path::Path) {
    fs::create_dir(dir.join("state.snapshot")).unwrap();
    fs::write(dir.join("state.snapshot/obstacle"), "").unwrap();
}

async fn failures(metrics: &Metrics, at_least: u64) {
    while metrics.snapshots_failed() < at_least {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Paused time runs while nothing else does: the waits between attempts cost nothing.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_written_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, restored) = Snapshots::open(dir.path()).unwrap();
    let metrics = Metrics::default();
    let mut machine = StateMachine::new(Arc::new(snapshots), restored, metrics.clone());
    machine.apply(history(0..6)).await.unwrap();
    obstruct(dir.path());
    let mut builder = machine.get_snapshot_builder().await;
    let building = tokio::spawn(async move { builder.build_snapshot().await });
    failures(&metrics, 3).await;
    assert!(!building.is_finished(), "it goes on trying");
    machine.apply(history(6..9)).await.expect("entries are applied meanwhile");
    fs::remove_dir_all(dir.path().join("state.snapshot")).unwrap();
    let built = building.await.unwrap().unwrap();
    assert_eq!(built.meta.last_log_id, Some(log_id(5)));
    assert_eq!(Snapshots::open(dir.path()).unwrap().1.unwrap().log_id, Some(log_id(5)));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_installed_is_tried_again() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sender, _) = Snapshots::open(from.path()).unwrap();
    let length = sender.build(&applied(6)).unwrap().snapshot.length();
    let (receiver, _) = Snapshots::open(to.path()).unwrap();
    let mut incoming = receiver.begin_receiving().unwrap();
    incoming.write(&fs::read(from.path().join("state.snapshot")).unwrap()).unwrap();
    let arrived = incoming.finish(length).unwrap();
    let metrics = Metrics::default();
    let mut machine = StateMachine::new(Arc::new(receiver), None, metrics.clone());
    obstruct(to.path());
    let installing = tokio::spawn(async move {
        machine.install_snapshot(&arrived.meta, arrived.snapshot).await.map(|()| machine)
    });
    failures(&metrics, 2).await;
    fs::remove_dir_all(to.path().join("state.snapshot")).unwrap();
    let machine = installing.await.unwrap().unwrap();
    assert_eq!(machine.applied.log_id, Some(log_id(6)));
    assert_eq!(Snapshots::open(to.path()).unwrap().1.unwrap().log_id, Some(log_id(6)));
}

/// What it needs to read and replace a snapshot is open: only a new file costs a descriptor.
#[test]
fn the_current_snapshot_is_read_without_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = Snapshots::open(dir.path()).unwrap();
    let built = snapshots.build(&applied(3)).unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    let current = snapshots.current().unwrap().unwrap();
    assert_eq!((current.meta, current.snapshot.length()), (built.meta, built.snapshot.length()));
}
