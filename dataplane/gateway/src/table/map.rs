//! The maps of the table.

use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};

/// A map whose clones share what they do not change. Each request looks several up, so it has a quick hash. The hash is keyed all the
/// same, because clients choose what is looked up.
pub(super) type Map<K, V> = GenericHashMap<K, V, foldhash::fast::RandomState, DefaultSharedPtr>;
