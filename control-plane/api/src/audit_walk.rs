//! A walk along the chain of the audit. Readers of answers and of exported files take it, entry by entry.

use hanse_state::AuditHash;

use crate::answer::{AuditEntry, AuditLink};

/// Where a walk along the chain stands.
#[derive(Debug, Clone)]
pub struct AuditWalk {
    /// The entry before the first one.
    start: AuditLink,
    /// The entry before the next one.
    at: AuditLink,
}

impl Default for AuditWalk {
    /// From the first entry that there ever was.
    fn default() -> Self {
        Self::after(hanse_state::AuditLink::default().into())
    }
}

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A line is no entry, or says more than an entry does.
    #[error("behind entry {after}, a line is no entry of the audit as a control node wrote it")]
    Unreadable {
        /// The last entry that fits.
        after: u64,
    },
    /// Entries are missing, doubled or in another order.
    #[error("entry {found} stands where entry {expected} belongs: entries were dropped, doubled or moved")]
    Order {
        /// Which should come.
        expected: u64,
        /// Which came.
        found: u64,
    },
    /// An entry does not fit the one before it.
    #[error("entry {number} does not fit the one before it: one of them was changed")]
    Previous {
        /// Which.
        number: u64,
    },
    /// An entry is not as it was written.
    #[error("entry {number} was changed: it has another hash than its content")]
    Changed {
        /// Which.
        number: u64,
    },
}

impl AuditWalk {
    /// From behind this entry on.
    pub fn after(link: AuditLink) -> Self {
        Self { start: link.clone(), at: link }
    }

    /// The entry that the walk began behind.
    pub fn start(&self) -> &AuditLink {
        &self.start
    }

    /// The last entry that fits. Before one came, the one that the walk began behind.
    pub fn at(&self) -> &AuditLink {
        &self.at
    }

    /// Takes the next line of an export.
    pub fn line(&mut self, line: &str) -> Result<AuditEntry, BrokenChain> {
        let unreadable = || BrokenChain::Unreadable { after: self.at.number };
        let entry: AuditEntry = serde_json::from_str(line).map_err(|_| unreadable())?;
        // What is not hashed, such as the time for people, must follow from what is.
        let as_it_is: serde_json::Value = serde_json::from_str(line).map_err(|_| unreadable())?;
        let as_written = serde_json::to_value(&entry).map_err(|_| unreadable())?;
        if as_it_is != as_written || entry.time != hanse_state::rfc3339(entry.time_ms) {
            return Err(unreadable());
        }
        self.entry(&entry)?;
        Ok(entry)
    }

    /// Takes the next entry.
    pub fn entry(&mut self, entry: &AuditEntry) -> Result<(), BrokenChain> {
        let number = entry.number;
        if number != self.at.number + 1 {
            return Err(BrokenChain::Order { expected: self.at.number + 1, found: number });
        }
        if entry.previous != self.at.hash {
            return Err(BrokenChain::Previous { number });
        }
        let previous: Option<AuditHash> =
            hex::decode(&entry.previous).ok().and_then(|hash| hash.try_into().ok());
        let computed = previous.and_then(|previous| entry.computed(&previous));
        if computed.is_none_or(|hash| hex::encode(hash) != entry.hash) {
            return Err(BrokenChain::Changed { number });
        }
        self.at = AuditLink { number, hash: entry.hash.clone() };
        Ok(())
    }
}
