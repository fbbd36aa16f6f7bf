//! One scope that the table is made of.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hanse_link::Quarantine;
use hanse_proto::sync::Quarantined;
use hanse_sync::{ContentRoot, Seen};
use hanse_topology::{Position, ScopeId};
use serde::Serialize;

use crate::{
    metrics::ScopeGauge,
    table::index::{Counts, ScopeIndex, Waiting, WaitsFor},
};

/// A scope as it was compiled last.
pub(super) struct KeptScope {
    pub(super) index: ScopeIndex,
    pub(super) seen: Seen,
    pub(super) position: Position,
    /// The root of the content there, as received.
    pub(super) root: ContentRoot,
    /// What cannot be used as received.
    pub(super) unusable: Vec<Quarantined>,
    /// That, and which of its routes do not answer at a place of theirs.
    pub(super) quarantine: Quarantine,
    /// What cannot be used changed since that was noted.
    pub(super) lost_is_untold: bool,
    /// What is not in force as received, and what is instead.
    pub(super) exceptions: BTreeMap<Arc<str>, Option<Bytes>>,
    /// What is in force as received, and lacks what it refers to.
    pub(super) waits_for: WaitsFor,
}

impl KeptScope {
    /// Notes what of it cannot be used as received.
    pub(super) fn note_unusable(&mut self) {
        let held_over = self.index.held_over();
        let unusable = self.index.quarantined(&held_over);
        self.exceptions = self.index.exceptions(held_over);
        self.note_waiting();
        // Most changes leave it as it is, and the routes of a scope are many.
        if unusable != self.unusable {
            self.quarantine = Quarantine::of(unusable.iter().cloned());
            self.unusable = unusable;
            self.lost_is_untold = true;
        }
    }

    /// Notes what of it lacks what it refers to.
    pub(super) fn note_waiting(&mut self) {
        self.waits_for = self.index.waits_for();
    }

    /// What the replica is to hold another version of, or none. What the Origin does not allow is left out, so the replica holds no version
    /// of that: none is to come back when the Origin allows it again, neither here nor after a restart.
    pub(super) fn held_otherwise(&self) -> Cow<'_, BTreeMap<Arc<str>, Option<Bytes>>> {
        let is_barred = |key: &str| self.index.is_barred(key);
        if !self.exceptions.keys().any(|key| is_barred(key)) {
            return Cow::Borrowed(&self.exceptions);
        }
        let others = self.exceptions.iter().filter(|(key, _)| !is_barred(key));
        Cow::Owned(others.map(|(key, version)| (key.clone(), version.clone())).collect())
    }

    pub(super) fn gauge(&self, scope: &ScopeId) -> ScopeGauge {
        ScopeGauge {
            scope: scope.to_string(),
            revision: self.position.revision,
            routes: self.index.counts().routes,
            unusable: self.quarantine.total(),
            waiting: self.waits_for.total,
        }
    }

    /// `dark`: why no client gets an answer from it.
    pub(super) fn summary(&self, scope: &ScopeId, dark: Option<&String>) -> ScopeSummary {
        let named = self.quarantine.named().iter().map(|quarantined| UnusableSummary {
            key: quarantined.key.clone(),
            field: quarantined.field.clone(),
            why: quarantined.reason.clone(),
        });
        ScopeSummary {
            scope: scope.to_string(),
            lineage: self.position.lineage.to_string(),
            revision: self.position.revision,
            root: self.root.to_string(),
            counts: self.index.counts(),
            not_served: dark.cloned(),
            unusable: self.quarantine.total(),
            named: named.collect(),
            waiting: self.waits_for.total,
            waits_for: self.waits_for.named.clone(),
        }
    }
}

/// One scope for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScopeSummary {
    pub(super) scope: String,
    lineage: String,
    revision: u64,
    /// In hexadecimal. Nodes at the same lineage and revision have the same root.
    root: String,
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Why no entry of the gateway serves its environment, if none does.
    #[serde(rename = "notServed", skip_serializing_if = "Option::is_none")]
    pub(super) not_served: Option<String>,
    pub(super) unusable: u64,
    /// Of those the ones that the control plane hears of too.
    #[serde(rename = "unusableResources", skip_serializing_if = "Vec::is_empty")]
    named: Vec<UnusableSummary>,
    /// How many Upstreams are in force and use no endpoint of the set that they refer to.
    pub(super) waiting: usize,
    /// The first of them.
    #[serde(rename = "waitsFor", skip_serializing_if = "Vec::is_empty")]
    pub(super) waits_for: Vec<Waiting>,
}

/// A resource that is not in force as received.
#[derive(Debug, Clone, Serialize)]
struct UnusableSummary {
    key: String,
    field: String,
    why: String,
}
