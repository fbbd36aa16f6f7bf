//! A node whose release is too old for the group stays up to say so, and does nothing else.
//!
//! It cannot follow what the others do, so it must not vote, lead, or show its state as the current one. It serves its admin port
//! only, and leaves its files as they are for the release that can read them.

use std::sync::atomic::AtomicU64;

use hanse_management::ProblemName;
use hanse_process::Metrics;
use hanse_raft::GroupError;
use prometheus_client::metrics::gauge::Gauge;
use tracing::error;

use crate::{Config, Error, shell::Shell};

/// Why a node is behind, and what its operator does about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    why: String,
    remedy: String,
}

impl Behind {
    /// What this error says of the node's release; `None` where it says nothing.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let Error::Raft(error) = error else { return None };
        // A node that joins learns it from the group, before it has anything of the group's.
        if let GroupError::Refused(problem) = error
            && problem.name == ProblemName::Upgrade
        {
            return Some(Self { why: problem.detail.clone(), remedy: problem.remedy.clone() });
        }
        let unknown = error.unknown_version()?;
        let remedy = format!("start {} on its data directory", unknown.needed());
        Some(Self { why: unknown.to_string(), remedy })
    }

    /// Says which release is needed, until the shutdown.
    pub(crate) async fn stay(self, config: &Config, shell: &Shell, metric: &BehindMetric) {
        let Self { why, remedy } = self;
        metric.0.set(1);
        error!(name = %config.name, why, remedy, "the release of this control node is too old");
        shell.not_ready(format!("{why}; this node neither votes nor serves; {remedy}"));
        shell.shutdown.wait().await;
    }
}

/// Whether this node's release is too old.
#[derive(Debug)]
pub(crate) struct BehindMetric(Gauge<u64, AtomicU64>);

impl BehindMetric {
    /// Adds it; not too old.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let behind = Gauge::default();
        metrics.register(|registry| {
            registry.register(
                "hanse_server_release_too_old",
                "1 if the group needs a later release than this node's: the node serves nothing until it has one",
                behind.clone(),
            );
        });
        Self(behind)
    }
}

#[cfg(test)]
mod tests {
    use hanse_management::Problem;
    use hanse_raft::{LogError, SnapshotError};
    use hanse_state::UnknownVersion;

    use super::*;

    #[test]
    fn a_release_that_is_too_old_is_told_from_other_failures() {
        let check = |error: GroupError, wanted: Option<(&str, &str)>| {
            let found = Behind::of(&error.into());
            let found = found.as_ref().map(|behind| (behind.why.as_str(), behind.remedy.as_str()));
            match (found, wanted) {
                (Some((why, remedy)), Some((said, wanted))) => {
                    assert!(why.contains(said), "{why}");
                    assert_eq!(remedy, wanted);
                }
                (found, wanted) => assert_eq!(found, wanted),
            }
        };
        let unknown = |release: &str| UnknownVersion { number: 99, release: release.to_owned() };
        let start = "start release 9.8.0 or a later one on its data directory";
        check(GroupError::Version(unknown("9.8.0")), Some(("is of version 99", start)));
        check(LogError::Version(unknown("9.8.0")).into(), Some(("needs release 9.8.0", start)));
        check(SnapshotError::Version(unknown("9.8.0")).into(), Some(("needs release 9.8.0", start)));
        let start = "start a later release on its data directory";
        check(LogError::Version(unknown("")).into(), Some(("needs a later release", start)));

        let refused =
            |name| GroupError::Refused(Problem::new(name, "cp-4 is too old").remedy("run release 9.8.0"));
        check(refused(ProblemName::Upgrade), Some(("cp-4 is too old", "run release 9.8.0")));
        check(refused(ProblemName::Forbidden), None);
        check(LogError::Damaged("it is empty".to_owned()).into(), None);
        assert_eq!(Behind::of(&Error::Fatal), None);
    }
}
