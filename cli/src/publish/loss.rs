//! What callers lose when Bindings are deleted.

use std::fmt::Write as _;

use hanse_management::kinds::{ApiRevisionSpec, Lifecycle};
use hanse_topology::Name;
use serde::Serialize;

use super::{Bound, Operations, listed};

/// What callers lose, for people and as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Losses {
    /// Each Binding that goes and serves something.
    pub(crate) bindings: Vec<Loss>,
}

/// One Binding that goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Loss {
    /// The Binding.
    binding: Name,
    /// Its Api.
    api: Name,
    /// Its Environment.
    environment: Name,
    /// The number it serves.
    from: u64,
    /// The operations that it serves: all are removed.
    operations: Operations,
    /// The regions it serves them in.
    regions: Vec<Name>,
}

impl Loss {
    /// What goes with a Binding that serves `revision` of an Api with this lifecycle. `None`: callers lose nothing.
    pub(crate) fn of(bound: &Bound, revision: &ApiRevisionSpec, lifecycle: Lifecycle) -> Option<Self> {
        if matches!(lifecycle, Lifecycle::Created | Lifecycle::Retired) {
            return None; // such an Api is served nowhere
        }
        let from = bound.serving.filter(|_| !bound.regions.is_empty())?;
        Some(Self {
            binding: bound.name.clone(),
            api: bound.spec.api.clone(),
            environment: bound.spec.environment.clone(),
            from,
            operations: Operations::between(&revision.spec.operations, &[]),
            regions: bound.regions.clone(),
        })
    }
}

impl Losses {
    /// For people; empty where nothing is lost.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Loss { binding, api, environment, from, operations, regions } in &self.bindings {
            let regions = listed(regions);
            let _ = writeln!(text, "{environment} ({binding}) in {regions}: {api} r{from} is served no more");
            text += &operations.text();
        }
        text.trim_end().to_owned()
    }
}
