//! The replicated version: one number for commands, specs, snapshots and the projection.
//!
//! A release that changes any of them brings the next version: one more line in [`RELEASES`]. It knows the version before, too,
//! and goes by [`State::version`](crate::State::version), so that nodes of two releases make the same state and the same bytes of
//! one log. The operator raises the version with `hanse upgrade finalize`, which is a command: it holds from one revision on, on
//! all nodes alike. Until then nothing of it is proposed, defaulted into bytes or stored, and the release before can take over.
//!
//! Where what a version brings is held back:
//!
//! | What it brings | Held back in |
//! |---|---|
//! | a command | `newer` in `admission.rs` |
//! | a kind, a field of a spec | a line of `LATER` in `admission.rs`: a delete names its kind, too. A field is left out of the JSON while it has its default |
//! | another way to apply a command, a snapshot record | where it is made: `if state.version() >= …` |
//! | other bytes for gateways | the same, in the encoders of `projection` |
//!
//! The test release, the cargo feature `next`, has an example of each.

use std::fmt;

use hanse_management::{Problem, ProblemName};

/// This build's release.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The release that brought each version, from version 1 on: the first one that knows it.
const RELEASES: &[&str] = &[
    "0.1.0",
    #[cfg(any(test, feature = "next"))]
    "0.2.0",
];

/// A replicated version that this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl Version {
    /// Every history starts at this version, and never at the newest that a build knows. Nodes of two releases must agree on the state
    /// from its first command on.
    pub const FIRST: Self = Self(1);
    /// The newest that this build knows.
    pub const KNOWN: Self = Self(RELEASES.len() as u32);

    /// What the test release brings: see `next`.
    #[cfg(feature = "next")]
    pub const NEXT: Self = Self(2);

    /// The version with that number, from 1 on, if this build knows it. `release` is the first that does.
    pub fn read(number: u32, release: &str) -> Result<Self, UnknownVersion> {
        let version = Self(number);
        if (Self::FIRST..=Self::KNOWN).contains(&version) {
            return Ok(version);
        }
        Err(UnknownVersion { number, release: release.to_owned() })
    }

    /// Its number, from 1 on.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The first release that knows it.
    pub fn release(self) -> &'static str {
        RELEASES[self.0 as usize - 1]
    }

    /// The version after it, if this build knows that.
    pub fn next(self) -> Option<Self> {
        (self < Self::KNOWN).then_some(Self(self.0 + 1))
    }

    /// Refuses version `to` where this one is in force and `to` is not the next: versions are raised one by one.
    pub fn check_next(self, to: u32) -> Result<(), Problem> {
        if to <= self.0 + 1 {
            return Ok(());
        }
        let detail = format!("version {self} is in force, and {to} is not the next one");
        let remedy = "versions are raised one by one: hanse upgrade status shows the next one";
        Err(Problem::new(ProblemName::Upgrade, detail).remedy(remedy))
    }

    /// Refuses the control node `name`, which knows versions up to `known`, where this version is in force.
    pub fn check_known_to(self, name: &str, known: u32) -> Result<(), Problem> {
        if known >= self.0 {
            return Ok(());
        }
        let detail =
            format!("the control plane is at version {self}, and {name} knows versions up to {known} only");
        let remedy = format!("run release {} or a later one there", self.release());
        Err(Problem::new(ProblemName::Upgrade, detail).remedy(remedy))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A state is of a version that this build does not know. The build must not go on with it, and must leave it as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state is of version {number} and this build, release {RELEASE}, knows versions up to {}: it needs {}",
    Version::KNOWN,
    self.needed()
)]
pub struct UnknownVersion {
    /// The version's number.
    pub number: u32,
    /// The first release that knows it; empty if that is not told.
    pub release: String,
}

impl UnknownVersion {
    /// The releases that know it: `release 0.2.0 or a later one`.
    pub fn needed(&self) -> String {
        match self.release.as_str() {
            "" => "a later release".to_owned(),
            release => format!("release {release} or a later one"),
        }
    }

    /// The same for a caller.
    pub fn problem(&self) -> Problem {
        let remedy = format!("run {} on every control node first", self.needed());
        Problem::new(ProblemName::Upgrade, self.to_string()).remedy(remedy)
    }
}

#[cfg(test)]
mod tests;
