//! The sealed values of Secrets, and the versions of the federation key that sealed them.

use std::collections::BTreeMap;

use hanse_management::{Kind, ResourceKey, kinds::SealedValue};

use super::State;

/// A sealed value with its Secret and field.
type SealedAt<'a> = (&'a ResourceKey, &'a str, &'a SealedValue);

impl State {
    /// The sealed value of a field of a Secret.
    pub fn sealed_value(&self, secret: &ResourceKey, field: &str) -> Option<&SealedValue> {
        self.get(secret)?.spec.private_data()?.data.get(field)?.sealed()
    }

    /// The values that another version of the federation key sealed than the active one.
    pub fn outdated_values(&self) -> impl Iterator<Item = SealedAt<'_>> {
        let active = self.federation_keys.active().map(|(version, _)| version);
        self.sealed_values().filter(move |(.., sealed)| Some(sealed.version) != active)
    }

    /// How many values each version of the federation key sealed. Versions without values are left out.
    pub fn values_by_version(&self) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for (.., sealed) in self.sealed_values() {
            *counts.entry(sealed.version).or_default() += 1;
        }
        counts
    }

    fn sealed_values(&self) -> impl Iterator<Item = SealedAt<'_>> {
        self.list(Kind::Secret, None).flat_map(|secret| {
            let data = secret.spec.private_data().into_iter().flat_map(|private| &private.data);
            data.filter_map(|(field, value)| Some((&secret.key, field.as_str(), value.sealed()?)))
        })
    }
}
