//! A snapshot file as a stream of messages.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use hanse_proto::{MAX_CHUNK_BYTES, raft};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    type_config::{NodeId, Snapshot, Vote},
    wire,
};

/// Parts read ahead of the network: one being sent, one ready.
const READ_AHEAD: usize = 2;

/// A header, then the file in parts. When the file cannot be read the stream ends early, and the receiver, which knows
/// the length, refuses what it got.
pub(super) fn parts(vote: Vote, snapshot: Snapshot, target: NodeId) -> ReceiverStream<raft::SnapshotPart> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let length = snapshot.snapshot.length();
    let head = raft::SnapshotHead {
        vote: Some(wire::vote_to_proto(&vote)),
        meta: Some(wire::snapshot_meta_to_proto(&snapshot.meta)),
        length,
        target,
    };
    tokio::task::spawn_blocking(move || {
        let part = |part| raft::SnapshotPart { part: Some(part) };
        if sender.blocking_send(part(raft::snapshot_part::Part::Head(head))).is_err() {
            return;
        }
        let Some(file) = snapshot.snapshot.file() else { return };
        let mut offset = 0;
        while offset < length {
            let size = (length - offset).min(MAX_CHUNK_BYTES as u64);
            let mut bytes = vec![0; size as usize];
            if let Err(error) = file.read_exact_at(&mut bytes, offset) {
                tracing::error!(%error, "the snapshot being sent cannot be read");
                return;
            }
            offset += size;
            if sender.blocking_send(part(raft::snapshot_part::Part::Data(Bytes::from(bytes)))).is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}
