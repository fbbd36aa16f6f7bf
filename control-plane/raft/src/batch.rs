//! A batch of commands: what one entry of the log carries.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use hanse_proto::{InvalidMessage, control};
use hanse_state::Command;
use parking_lot::Mutex;
use prost::Message;

/// Commands in their wire form, encoded once by the proposer; log, network and followers pass the bytes on unread. Only
/// applying decodes them. Clones share everything.
#[derive(Clone)]
pub(crate) struct Batch {
    encoded: Bytes,
    decoded: Arc<Mutex<Option<Vec<Command>>>>,
    written: Arc<AtomicBool>,
}

impl Batch {
    /// A batch of these commands, to be proposed. Each comes with its message, which the proposer has anyway.
    pub(crate) fn new(commands: Vec<(Command, control::Command)>) -> Self {
        let (commands, messages): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        let encoded = Bytes::from(control::Batch { commands: messages }.encode_to_vec());
        Self { encoded, decoded: Arc::new(Mutex::new(Some(commands))), written: Arc::default() }
    }

    /// A batch read from disk or from another node. Not looked into until it is applied.
    pub(crate) fn from_encoded(encoded: Bytes) -> Self {
        Self { encoded, decoded: Arc::default(), written: Arc::default() }
    }

    /// Its wire form, a `hanse.control.v1.Batch`.
    pub(crate) fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Its commands, for applying them: what the proposer had decoded is given away, so that entries kept in memory
    /// weigh no more than their bytes.
    pub(crate) fn take_commands(&self) -> Result<Vec<Command>, InvalidMessage> {
        if let Some(commands) = self.decoded.lock().take() {
            return Ok(commands);
        }
        let message = control::Batch::decode(self.encoded.clone())
            .map_err(|error| InvalidMessage::new("batch", error.to_string()))?;
        message.commands.into_iter().map(Command::from_proto).collect()
    }

    /// Notes that it entered this node's log: from here on it may be committed, by whichever leader.
    pub(crate) fn mark_written(&self) {
        self.written.store(true, Ordering::Release);
    }

    /// Tells, of a batch proposed here, whether it ever entered the log. The proposer keeps one, because openraft refuses
    /// a batch that it never wrote, and one that it wrote and a new leader overwrote, with the same error; only the
    /// first may be proposed again.
    pub(crate) fn written(&self) -> Written {
        Written(self.written.clone())
    }
}

/// Whether a proposed batch entered the log.
#[derive(Debug, Clone)]
pub(crate) struct Written(Arc<AtomicBool>);

impl Written {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} bytes)", self.encoded.len())
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}
