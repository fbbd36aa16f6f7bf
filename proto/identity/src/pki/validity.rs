//! When a certificate is valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::parse_x509_certificate;

use super::PkiError;

/// Clocks of a federation differ; a certificate must not be "not yet valid" at a peer.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The span of time in which a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub not_before: SystemTime,
    /// Its end.
    pub not_after: SystemTime,
}

impl Validity {
    /// So long from now, or rather from a little before: the whole span is no longer than said.
    pub(super) fn from(now: SystemTime, life: Duration) -> Self {
        let not_before = now - CLOCK_SKEW;
        Self { not_before, not_after: not_before + life }
    }

    /// A certificate's.
    pub(crate) fn of_certificate(certificate: &[u8]) -> Result<Self, PkiError> {
        let (_, parsed) = parse_x509_certificate(certificate).map_err(PkiError::certificate)?;
        let validity = parsed.validity();
        Ok(Self {
            not_before: validity.not_before.to_datetime().into(),
            not_after: validity.not_after.to_datetime().into(),
        })
    }

    /// Its end, in Unix seconds.
    pub fn end_unix_seconds(&self) -> u64 {
        self.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// How long it is.
    pub fn life(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }

    /// When the next certificate is due: at half of this one's life.
    pub fn half_life(&self) -> SystemTime {
        self.not_before + self.life() / 2
    }

    /// Whether it is over at this time.
    pub fn is_over(&self, at: SystemTime) -> bool {
        at > self.not_after
    }
}
