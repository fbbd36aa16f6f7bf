//! What must hold of a resource that others are needed to judge.

pub(crate) mod consistency;
pub(crate) mod egress;
pub(crate) mod endpoints_from;
pub(crate) mod guarded;
pub(crate) mod limits;
pub(crate) mod neighbours;
pub(crate) mod origins;
pub(crate) mod serving;
pub(crate) mod steering;

use hanse_management::Problem;

/// A rule's verdict.
type Verdict = Result<(), Problem>;

#[cfg(test)]
mod tests;
