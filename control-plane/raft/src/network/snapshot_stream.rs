//! A snapshot file as a stream of messages.

use std::{os::unix::fs::FileExt, time::Duration};

use bytes::Bytes;
use hanse_proto::{MAX_CHUNK_BYTES, raft};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    type_config::{NodeId, Snapshot, Vote},
    wire,
};

/// Parts read ahead of the network: one being sent, one ready.
const READ_AHEAD: usize = 2;

/// A header, then the file in parts. When the file cannot be read the stream ends early, and the receiver, which knows
/// the length, refuses what it got.
pub(super) fn parts(
    vote: Vote,
    snapshot: Snapshot,
    target: NodeId,
) -> (ReceiverStream<raft::SnapshotPart>, Progress) {
    let (taken, progress) = watch::channel(());
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let length = snapshot.snapshot.length();
    let head = raft::SnapshotHead {
        vote: Some(wire::vote_to_proto(&vote)),
        meta: Some(wire::snapshot_meta_to_proto(&snapshot.meta)),
        length,
        target,
    };
    tokio::task::spawn_blocking(move || {
        let send = |part| {
            let sent = sender.blocking_send(raft::SnapshotPart { part: Some(part) });
            taken.send_replace(());
            sent
        };
        if send(raft::snapshot_part::Part::Head(head)).is_err() {
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
            if send(raft::snapshot_part::Part::Data(Bytes::from(bytes))).is_err() {
                return;
            }
        }
    });
    (ReceiverStream::new(receiver), Progress(progress))
}

/// Tells whether the stream is being taken.
pub(super) struct Progress(watch::Receiver<()>);

impl Progress {
    /// Resolves when no part was taken for `part`, or when it is `rest` ago that the last one was made ready; tells which.
    pub(super) async fn stalled(&mut self, part: Duration, rest: Duration) -> Duration {
        loop {
            match timeout(part, self.0.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    sleep(rest).await;
                    return rest;
                }
                Err(_) => return part,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Duration = Duration::from_millis(500);
    const REST: Duration = Duration::from_millis(700);

    #[tokio::test]
    async fn slow_is_not_stalled() {
        let (taken, progress) = watch::channel(());
        let mut progress = Progress(progress);
        let moving = async {
            for _ in 0..20 {
                sleep(PART / 10).await;
                taken.send_replace(());
            }
        };
        tokio::select! {
            _ = progress.stalled(PART, REST) => panic!("it moves"),
            () = moving => {}
        }
        assert_eq!(progress.stalled(PART, REST).await, PART, "nothing moves any more");
        drop(taken);
        assert_eq!(progress.stalled(PART, REST).await, REST, "all was sent, nobody answers");
    }
}
