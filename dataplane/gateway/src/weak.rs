//! Values that are shared for as long as a holder has them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Weak},
};

/// Entries of values that are gone are swept when there are twice as many as after the last sweep, and so many at
/// least: a sweep costs each value made since a constant.
const SWEEP_FROM: usize = 64;

/// Each value once, by its key, while a holder has it.
#[derive(Debug)]
pub(crate) struct WeakMap<K, V> {
    known: HashMap<K, Weak<V>>,
    sweep_at: usize,
}

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), sweep_at: SWEEP_FROM }
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    /// The one there is.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.known.get(key).and_then(Weak::upgrade)
    }

    /// Another from now on.
    pub(crate) fn insert(&mut self, key: K, value: &Arc<V>) {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, known| known.strong_count() > 0);
            self.sweep_at = SWEEP_FROM.max(self.known.len() * 2);
        }
        self.known.insert(key, Arc::downgrade(value));
    }

    /// All there are.
    pub(crate) fn values(&self) -> impl Iterator<Item = Arc<V>> {
        self.entries().map(|(_, value)| value)
    }

    /// All there are, with their keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&K, Arc<V>)> {
        self.known.iter().filter_map(|(key, value)| Some((key, value.upgrade()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_forgotten_and_what_is_there_is_one() {
        let mut map = WeakMap::default();
        let stays = Arc::new(0);
        map.insert(0, &stays);
        for key in 1..10 * SWEEP_FROM {
            map.insert(key, &Arc::new(key));
            assert!(map.get(&key).is_none());
        }
        assert!(map.known.len() <= SWEEP_FROM, "{}", map.known.len());
        assert!(Arc::ptr_eq(&map.get(&0).unwrap(), &stays));
        assert_eq!(map.values().count(), 1);
    }
}
