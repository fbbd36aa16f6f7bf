//! Which resource holds a place that several claim: the one with the first key, in whichever order they came.

use std::{collections::HashMap, hash::Hash, sync::Arc};

/// Claims on places of type `P`. The control plane refuses conflicts; if one comes through all the same, every gateway
/// must settle it alike.
#[derive(Debug)]
pub(super) struct Claims<P, V> {
    /// Sorted by key; almost always of length one.
    by_place: HashMap<P, Vec<(Arc<str>, V)>>,
}

impl<P, V> Default for Claims<P, V> {
    fn default() -> Self {
        Self { by_place: HashMap::new() }
    }
}

impl<P: Eq + Hash, V: Clone> Claims<P, V> {
    /// Claims `place` for `key`, or changes its value there. Returns whose value holds.
    pub(super) fn claim(&mut self, place: P, key: &Arc<str>, value: V) -> V {
        let claims = self.by_place.entry(place).or_default();
        match claims.binary_search_by(|(own, _)| own.cmp(key)) {
            Ok(at) => claims[at].1 = value,
            Err(at) => claims.insert(at, (key.clone(), value)),
        }
        claims[0].1.clone()
    }

    /// Gives up the claim of `key`. Returns whose value holds now.
    pub(super) fn withdraw(&mut self, place: &P, key: &Arc<str>) -> Option<V> {
        let claims = self.by_place.get_mut(place)?;
        if let Ok(at) = claims.binary_search_by(|(own, _)| own.cmp(key)) {
            claims.remove(at);
        }
        let holder = claims.first().map(|(_, value)| value.clone());
        if holder.is_none() {
            self.by_place.remove(place);
        }
        holder
    }
}
