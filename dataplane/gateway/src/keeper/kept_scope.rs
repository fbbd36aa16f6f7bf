//! One scope that the table is made of.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hanse_link::Quarantine;
use hanse_proto::sync::Quarantined;
use hanse_sync::Seen;
use hanse_topology::{Position, ScopeId};
use serde::Serialize;

use crate::{
    metrics::ScopeGauge,
    table::index::{Counts, ScopeIndex},
};

/// A scope as it was compiled last.
pub(super) struct KeptScope {
    pub(super) index: ScopeIndex,
    pub(super) seen: Seen,
    pub(super) position: Position,
    /// What cannot be used as received.
    pub(super) unusable: Vec<Quarantined>,
    /// That, and which of its routes do not answer at a place of theirs.
    pub(super) quarantine: Quarantine,
    /// What cannot be used changed since that was noted.
    pub(super) lost_is_untold: bool,
    /// What is not in force as received, and what is instead.
    pub(super) exceptions: BTreeMap<Arc<str>, Option<Bytes>>,
}

impl KeptScope {
    /// Notes what of it cannot be used as received.
    pub(super) fn note_unusable(&mut self) {
        let held_over = self.index.held_over();
        self.unusable = self.index.quarantined(&held_over);
        self.quarantine = Quarantine::of(self.unusable.iter().cloned());
        self.exceptions = self.index.exceptions(held_over);
        self.lost_is_untold = true;
    }

    pub(super) fn gauge(&self, scope: &ScopeId) -> ScopeGauge {
        ScopeGauge {
            scope: scope.to_string(),
            revision: self.position.revision,
            routes: self.index.counts().routes,
            unusable: self.quarantine.total(),
        }
    }

    pub(super) fn summary(&self, scope: &ScopeId) -> ScopeSummary {
        let named = self.quarantine.named().iter().map(|quarantined| UnusableSummary {
            key: quarantined.key.clone(),
            field: quarantined.field.clone(),
            why: quarantined.reason.clone(),
        });
        ScopeSummary {
            scope: scope.to_string(),
            lineage: self.position.lineage.to_string(),
            revision: self.position.revision,
            counts: self.index.counts(),
            unusable: self.quarantine.total(),
            named: named.collect(),
        }
    }
}

/// One scope for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScopeSummary {
    pub(super) scope: String,
    lineage: String,
    revision: u64,
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) unusable: u64,
    /// Of those the ones that the control plane hears of too.
    #[serde(rename = "unusableResources", skip_serializing_if = "Vec::is_empty")]
    named: Vec<UnusableSummary>,
}

/// A resource that is not in force as received.
#[derive(Debug, Clone, Serialize)]
struct UnusableSummary {
    key: String,
    field: String,
    why: String,
}
