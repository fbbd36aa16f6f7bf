//! The maps of the table.

use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};

/// A map whose clones share what they do not change. Each request looks several up, so it has a quick hash. Only the configuration adds
/// keys, and clients look them up: this hash is no defence against a publisher who learns its seed.
pub(super) type Map<K, V> = GenericHashMap<K, V, foldhash::fast::RandomState, DefaultSharedPtr>;
