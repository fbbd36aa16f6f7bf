//! A node's own disk: the scopes that the node holds and some small facts, each record sealed, in one redb file.
//!
//! - One thread owns the file.
//! - One transaction takes all that is to be kept: a position never stands beside content that it does not belong to.
//! - A file that cannot be used is moved aside, and an empty one takes its place. For example, the file is damaged, or its key is
//!   lost. The content comes again from the publisher.
//! - A disk that cannot be written is tried again.
//!
//! Nothing here knows what a record means, what a content root is, or which node publishes.

mod content;
mod file;
mod file_seal;
mod key;
mod metrics;
mod notes;
mod seal;
mod store;
mod tables;
mod worker;

pub use content::{Loaded, Records, ScopeWrite, StoredRecord, StoredScope, Transaction};
pub use file_seal::FileSeal;
pub use key::{KeyError, StoreKey};
pub use metrics::StoreMetrics;
pub use notes::{KeyNote, Noted};
pub use store::{CommitError, Store, StoreInUse, StoreOptions, UnkeptNotes};

#[cfg(test)]
mod testbed;
#[cfg(test)]
mod tests;
