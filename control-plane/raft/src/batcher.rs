//! Gathers commands into batches and proposes them on the leader.
//!
//! Self-clocked: two proposals are in flight, and the commands that arrive meanwhile make the next one. A single caller waits
//! for no other. Many callers share the cost of a sync and a round trip.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use hanse_proto::control;
use hanse_state::{Command, Outcome};
use openraft::error::{ClientWriteError, RaftError};
use prost::Message;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use crate::{batch::Batch, metrics::Metrics, type_config::Raft};

/// A batch closes at so many commands: beyond it, batching gains nothing more.
const MAX_COMMANDS: usize = 64;

/// A batch closes before it would grow beyond this. A single command may be larger.
const MAX_BATCH_BYTES: usize = 100 << 10;

/// Proposals in flight: one being synced, one being replicated.
pub(crate) const MAX_IN_FLIGHT: usize = 2;

/// Commands waiting to be batched. More wait in their callers; all give up after their patience.
const QUEUE: usize = 1_024;

/// After this long a proposal gives up its place in flight: openraft may never answer it, when quorum is lost or a
/// snapshot takes the entry's place. Its callers have gone by then.
pub(crate) const PROPOSAL_GIVE_UP: Duration = Duration::from_secs(10);

/// A command that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// The log entry that carried it.
    pub(crate) log_index: u64,
}

/// Why a command has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// This node does not lead; nothing happened.
    NotLeader,
    /// It could not be handed to Raft in time; nothing happened.
    NotTaken,
    /// Raft has stopped on this node; nothing happened.
    Stopped,
    /// It was handed to Raft, and may happen yet.
    Unknown,
}

const QUEUED: u8 = 0;
const HANDED_ON: u8 = 1;
const WITHDRAWN: u8 = 2;

struct Proposal {
    command: Command,
    message: control::Command,
    bytes: usize,
    stage: Arc<AtomicU8>,
    reply: oneshot::Sender<Result<Decided, Undecided>>,
}

/// Takes commands.
#[derive(Debug, Clone)]
pub(crate) struct Batcher {
    queue: mpsc::Sender<Proposal>,
}

impl Batcher {
    /// A batcher and its task.
    pub(crate) fn new(raft: Raft, metrics: Metrics) -> (Self, BatcherTask) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue }, BatcherTask { raft, metrics, queue: receiver, held: None })
    }

    /// Proposes a command on this node, which should lead. Until `taken_by` it may still be waiting its turn; then it
    /// is withdrawn. Once handed to Raft it has until `deadline`.
    pub(crate) async fn propose(
        &self,
        command: Command,
        message: control::Command,
        taken_by: Instant,
        deadline: Instant,
    ) -> Result<Decided, Undecided> {
        let place = match timeout_at(taken_by, self.queue.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Undecided::Stopped),
            Err(_) => return Err(Undecided::NotTaken),
        };
        let stage = Arc::new(AtomicU8::new(QUEUED));
        let (reply, mut answer) = oneshot::channel();
        let bytes = message.encoded_len();
        place.send(Proposal { command, message, bytes, stage: stage.clone(), reply });
        if let Ok(answer) = timeout_at(taken_by, &mut answer).await {
            return answer.unwrap_or(Err(Undecided::Unknown));
        }
        if stage.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Err(Undecided::NotTaken);
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Undecided::Unknown),
        }
    }
}

/// Makes the batches.
pub(crate) struct BatcherTask {
    raft: Raft,
    metrics: Metrics,
    queue: mpsc::Receiver<Proposal>,
    /// Did not fit into the last batch.
    held: Option<Proposal>,
}

impl BatcherTask {
    /// Runs until every [`Batcher`] is gone.
    pub(crate) async fn run(mut self) {
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        loop {
            let Ok(place) = in_flight.clone().acquire_owned().await else { return };
            let first = match self.held.take() {
                Some(held) => held,
                None => match self.queue.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let batch = self.fill(first);
            tokio::spawn(propose(self.raft.clone(), self.metrics.clone(), batch, place));
        }
    }

    /// Adds to a batch what waits already.
    fn fill(&mut self, first: Proposal) -> Vec<Proposal> {
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while batch.len() < MAX_COMMANDS {
            let Ok(next) = self.queue.try_recv() else { break };
            bytes += next.bytes;
            if bytes > MAX_BATCH_BYTES {
                self.held = Some(next);
                break;
            }
            batch.push(next);
        }
        batch
    }
}

async fn propose(raft: Raft, metrics: Metrics, batch: Vec<Proposal>, place: OwnedSemaphorePermit) {
    let mut commands = Vec::with_capacity(batch.len());
    let mut replies = Vec::with_capacity(batch.len());
    for proposal in batch {
        let Proposal { command, message, stage, reply, .. } = proposal;
        if stage.compare_exchange(QUEUED, HANDED_ON, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            commands.push((command, message));
            replies.push(reply);
        }
    }
    if commands.is_empty() {
        return;
    }
    metrics.proposed(commands.len());
    let batch = Batch::new(commands);
    let written = batch.written();
    let result = timeout(PROPOSAL_GIVE_UP, raft.client_write(batch)).await;
    drop(place);
    let undecided = match result {
        Ok(Ok(response)) if response.data.len() == replies.len() => {
            let log_index = response.log_id.index;
            for (reply, outcome) in replies.into_iter().zip(response.data) {
                // A caller that went away does not need its answer.
                let _ = reply.send(Ok(Decided { outcome, log_index }));
            }
            return;
        }
        Ok(Ok(_)) | Err(_) => Undecided::Unknown,
        Ok(Err(_)) if written.get() => Undecided::Unknown,
        Ok(Err(RaftError::APIError(
            ClientWriteError::ForwardToLeader(_) | ClientWriteError::ChangeMembershipError(_),
        ))) => Undecided::NotLeader,
        Ok(Err(RaftError::Fatal(_))) => Undecided::Stopped,
    };
    for reply in replies {
        let _ = reply.send(Err(undecided));
    }
}
