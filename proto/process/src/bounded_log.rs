//! Lines about what strangers do, at a bounded rate: a flood of refused handshakes must not fill a disk.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lines within one period: enough to see who it is and why.
const LINES: u32 = 5;
/// The period: 43,200 lines a day at worst, some megabytes.
const PERIOD: Duration = Duration::from_secs(10);

/// Lets a few lines through per period and counts the rest.
#[derive(Debug, Default)]
pub struct BoundedLog(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl BoundedLog {
    /// Whether a line may be written now; if so, how many were left out since the last one.
    pub fn allows(&self) -> Option<u64> {
        let (now, mut period) = (Instant::now(), self.0.lock());
        if period.began.is_none_or(|began| now.duration_since(began) >= PERIOD) {
            period.began = Some(now);
            period.written = 0;
        }
        if period.written >= LINES {
            period.left_out += 1;
            return None;
        }
        period.written += 1;
        Some(std::mem::take(&mut period.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_leaves_a_few_lines_and_their_number() {
        let log = BoundedLog::default();
        let written = (0..1_000).filter(|_| log.allows() == Some(0)).count();
        assert_eq!(written, LINES as usize);
        tokio::time::advance(PERIOD).await;
        assert_eq!(log.allows(), Some(1_000 - u64::from(LINES)));
        assert_eq!(log.allows(), Some(0));
    }
}
