//! The replicated state: every management resource, and what is needed to change it deterministically.

use std::sync::Arc;

use imbl::OrdMap;

use crate::{Resource, ResourceKey, Revision};

/// The state at one revision. Cloning is O(1) and shares structure, so a copy serves as snapshot, dry run or stale read.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(crate) lineage: Option<Lineage>,
    pub(crate) revision: Revision,
    pub(crate) time_ms: u64,
    pub(crate) resources: OrdMap<ResourceKey, Arc<Resource>>,
}

/// One history of the state. `restore` and `recover` start a greater generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Greater ones win.
    pub generation: u64,
    /// Random; tells two histories of one generation apart.
    pub id: [u8; 16],
    /// The history this one came from, and the revision it left it at.
    pub parent: Option<([u8; 16], Revision)>,
}

impl State {
    /// Its history; `None` before the first command.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.lineage.as_ref()
    }

    /// Its revision: 0 before the first command.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The latest time any command carried, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The resource of that key.
    pub fn get(&self, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.resources.get(key)
    }
}
