//! Benchmarks: what they share. Each prints a table for people on standard error and one line of JSON on standard output.

pub mod dns;
mod machine;
mod nginx;
pub mod pair;
mod propagation;
mod publish;
pub mod region;
mod traffic;
pub mod walk;
mod writes;

use std::time::Duration;

pub use machine::Machine;
pub(crate) use machine::{commit, profile};

/// A tool that the benchmark compares with or measures by, and that is not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tool} is missing: apt-get install {package}")]
pub struct MissingPeer {
    /// What was looked for.
    pub tool: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// Milliseconds with three digits after the point: as exact as is measured.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The middle one; of an even number the lower of the two, so that it is one that was measured.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded_and_the_median_was_measured() {
        assert_eq!(ms(Duration::from_nanos(1_234_567)), 1.235);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 1.0);
        assert_eq!(median([]), 0.0);
    }
}
