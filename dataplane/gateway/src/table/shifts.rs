//! The hosts that this region does not serve, and the regions that do.

use std::collections::{BTreeMap, HashMap};

use hanse_runtime::{Epoch, Shift};
use hanse_topology::Name;

use super::index::Key;

/// Says that other regions serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere<'a> {
    /// The regions: at least one.
    pub regions: &'a [Name],
    /// Of the decision; `None`: the Route itself says so.
    pub epoch: Option<Epoch>,
}

/// The Shifts of a scope, by host.
#[derive(Debug)]
pub(super) struct Shifts {
    hosts: HashMap<Box<str>, Shift>,
    every: Option<Shift>,
}

impl Shifts {
    /// Of those in force; `None`: there is none. Of two of one host the one with the first key counts.
    pub(super) fn of(in_force: &BTreeMap<Key, Shift>) -> Option<Self> {
        let mut shifts = Self { hosts: HashMap::new(), every: None };
        for shift in in_force.values() {
            match &shift.host {
                None => shifts.every = shifts.every.take().or_else(|| Some(shift.clone())),
                Some(host) => {
                    shifts.hosts.entry(host.as_str().into()).or_insert_with(|| shift.clone());
                }
            }
        }
        (!in_force.is_empty()).then_some(shifts)
    }

    /// That of a host, else that of every host.
    pub(super) fn find(&self, host: &str) -> Option<Elsewhere<'_>> {
        let Shift { host: _, regions, epoch } = self.hosts.get(host).or(self.every.as_ref())?;
        Some(Elsewhere { regions, epoch: Some(*epoch) })
    }
}
