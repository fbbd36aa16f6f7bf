//! What each rule looked at, and what it left: for people and reports.

use hanse_topology::Name;

use crate::{Host, set::Set};

/// Hears of each rule of an answer, in the order in which they apply. `()` hears nothing, and costs nothing: what a rule looked
/// at is put into words only for a listener that calls for it.
pub trait Trace {
    /// A rule applied. `step`: the place of the policy's step, counted from 0, where the rule is one.
    fn rule(
        &mut self,
        rule: &'static str,
        step: Option<usize>,
        looked_at: impl FnOnce() -> String,
        remaining: Remaining<'_>,
    );
}

impl Trace for () {
    #[inline]
    fn rule(&mut self, _: &'static str, _: Option<usize>, _: impl FnOnce() -> String, _: Remaining<'_>) {}
}

/// The candidates that a rule left.
#[derive(Debug, Clone, Copy)]
pub struct Remaining<'a> {
    pub(crate) host: &'a Host,
    pub(crate) set: Set,
}

impl<'a> Remaining<'a> {
    /// Their regions, by name.
    pub fn regions(self) -> impl Iterator<Item = &'a Name> {
        self.set.iter().map(|at| &self.host.candidates()[at].region)
    }
}

/// One rule of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub rule: &'static str,
    /// The place of the policy's step, counted from 0, where the rule is one.
    pub step: Option<usize>,
    /// What it looked at.
    pub looked_at: String,
    /// The regions that it left, by name.
    pub remaining: Vec<Name>,
}

impl Trace for Vec<Line> {
    fn rule(
        &mut self,
        rule: &'static str,
        step: Option<usize>,
        looked_at: impl FnOnce() -> String,
        remaining: Remaining<'_>,
    ) {
        self.push(Line {
            rule,
            step,
            looked_at: looked_at(),
            remaining: remaining.regions().cloned().collect(),
        });
    }
}
