//! What a node keeps on its own disk: the scopes it holds and some small facts, each record sealed, in one redb file.
//!
//! One thread owns the file. What it is asked to keep goes into one transaction: a position never stands beside content it
//! does not belong to. A file that cannot be used (damaged, or sealed with a key that is lost) is moved aside, and an empty
//! one takes its place: what was in it comes again from the publisher. A disk that cannot be written is tried again.
//!
//! Nothing here knows what a record means, what a root is, or who publishes.

mod content;
mod file;
mod key;
mod metrics;
mod notes;
mod seal;
mod store;
mod tables;
mod worker;

pub use content::{Loaded, Records, ScopeWrite, StoredRecord, StoredScope, Transaction};
pub use key::StoreKey;
pub use metrics::StoreMetrics;
pub use notes::{KeyNote, Noted};
pub use store::{CommitError, Store, StoreInUse, StoreOptions, UnkeptNotes};

#[cfg(test)]
mod testbed;
#[cfg(test)]
mod tests;
