//! What is known of one endpoint.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hanse_runtime::MAX_EJECTION;
use tokio_util::sync::DropGuard;

use super::EjectionSettings;

/// In [`EndpointHealth::out`]: checks fail. The rest of the word is when an ejection ends, 0: there is none.
const UNHEALTHY: u64 = 1 << 63;
/// How long requests avoid an endpoint after the egress denied it, in milliseconds. It spares them a denial each, and a name that leads
/// elsewhere is asked again soon.
pub(crate) const DENIED_FOR: u64 = 1_000;

/// What is known of one endpoint by the whole process.
#[derive(Debug)]
pub struct EndpointHealth {
    /// Of this endpoint alone, for as long as the process runs.
    pub id: u64,
    /// As in the configuration.
    pub url: Box<str>,
    ejection: EjectionSettings,
    /// 0: nothing speaks against it. A request asks this and `denied_until`.
    out: AtomicU64,
    /// Until when requests avoid it because the egress denied it; 0: it was not denied lately.
    denied_until: AtomicU64,
    /// Requests that failed in a row.
    failures: AtomicU32,
    /// Ejections in a row.
    ejections: AtomicU32,
    /// How long the last ejection was, in milliseconds, and when it ended or ends.
    lasted: AtomicU64,
    ended: AtomicU64,
    last_failure: AtomicU8,
    /// What the last check found; only checks and people take the lock.
    last_check: Mutex<Option<String>>,
    /// Ends its checks when it is dropped.
    pub(super) ends_checks: Option<DropGuard>,
}

/// What a request to an endpoint came to, where that speaks against the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection broke before an answer, or what came was none.
    Reset,
    /// No answer in time.
    Timeout,
    /// 502.
    BadGateway,
    /// 503.
    ServiceUnavailable,
    /// 504.
    GatewayTimeout,
}

/// Whether an endpoint is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is.
    Healthy,
    /// Its checks fail.
    Unhealthy,
    /// Requests to it failed.
    Ejected,
}

impl Failure {
    const ALL: [Self; 6] = [
        Self::Connect,
        Self::Reset,
        Self::Timeout,
        Self::BadGateway,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
    ];

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "no connection",
            Self::Reset => "the connection broke before an answer",
            Self::Timeout => "no answer in time",
            Self::BadGateway => "answered 502",
            Self::ServiceUnavailable => "answered 503",
            Self::GatewayTimeout => "answered 504",
        }
    }
}

impl Standing {
    /// Each once.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Unhealthy, Self::Ejected];

    /// As a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
        }
    }
}

impl EndpointHealth {
    pub(super) fn new(id: u64, url: &str, ejection: EjectionSettings) -> Self {
        Self {
            id,
            url: url.into(),
            ejection,
            out: AtomicU64::new(0),
            denied_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            lasted: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            last_failure: AtomicU8::new(0),
            last_check: Mutex::new(None),
            ends_checks: None,
        }
    }

    /// Whether nothing speaks against it. Two loads.
    pub fn is_in(&self) -> bool {
        self.out.load(Relaxed) == 0 && self.denied_until.load(Relaxed) == 0
    }

    /// The egress denied a connection to it. That is not its fault, so nothing else follows.
    pub fn denied(&self, now: u64) {
        self.denied_until.store(now.saturating_add(DENIED_FOR), Relaxed);
    }

    /// Whether the egress denied it a moment ago. Forgets a denial that is older.
    pub fn is_denied(&self, now: u64) -> bool {
        let until = self.denied_until.load(Relaxed);
        if until > now {
            return true;
        }
        if until != 0 {
            let _ = self.denied_until.compare_exchange(until, 0, Relaxed, Relaxed); // or it was denied again
        }
        false
    }

    /// Whether it may be used now. Ends an ejection that is over.
    pub fn is_usable(&self, now: u64) -> bool {
        let out = self.out.load(Relaxed);
        if out == 0 {
            return true;
        }
        if out > now {
            return false; // ejected still, or unhealthy: the flag is greater than any time
        }
        if self.out.compare_exchange(out, 0, Relaxed, Relaxed).is_ok() {
            // One more failure ejects it again: it has to earn its credit anew.
            self.failures.store(self.ejection.consecutive_failures.saturating_sub(1), Relaxed);
        }
        true
    }

    /// Whether it is ejected now.
    pub fn is_ejected(&self, now: u64) -> bool {
        self.out.load(Relaxed) & !UNHEALTHY > now
    }

    /// How it stands now.
    pub fn standing(&self, now: u64) -> Standing {
        match self.out.load(Relaxed) {
            out if out & UNHEALTHY != 0 => Standing::Unhealthy,
            out if out > now => Standing::Ejected,
            _ => Standing::Healthy,
        }
    }

    /// A request got an answer. Writes nothing where the one before did too.
    pub fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// A request failed. Whether it is due to be ejected.
    pub fn failed(&self, failure: Failure) -> bool {
        self.last_failure.store(failure as u8 + 1, Relaxed);
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        (1..=failures).contains(&self.ejection.consecutive_failures)
    }

    /// Ejects it, for longer each time unless it was good for as long as it had been out. `None`: it is out already.
    pub fn eject(&self, now: u64) -> Option<Duration> {
        let (lasted, ended) = (self.lasted.load(Relaxed), self.ended.load(Relaxed));
        let in_a_row = match self.ejections.load(Relaxed) {
            before if before > 0 && now < ended.saturating_add(lasted) => before.saturating_add(1),
            _ => 1,
        };
        let time = self.ejection.base_time.saturating_mul(in_a_row).min(MAX_EJECTION);
        let lasts = u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 2);
        let until = now.saturating_add(lasts) & !UNHEALTHY;
        let eject = |out: u64| (out & !UNHEALTHY <= now).then_some(out & UNHEALTHY | until);
        self.out.fetch_update(Relaxed, Relaxed, eject).ok()?;
        self.ejections.store(in_a_row, Relaxed);
        self.lasted.store(lasts, Relaxed);
        self.ended.store(until, Relaxed);
        Some(time)
    }

    /// What checks say of it. Whether that is news.
    pub(super) fn set_healthy(&self, healthy: bool) -> bool {
        let before = match healthy {
            true => self.out.fetch_and(!UNHEALTHY, Relaxed),
            false => self.out.fetch_or(UNHEALTHY, Relaxed),
        };
        (before & UNHEALTHY == 0) != healthy
    }

    /// What the last check found.
    pub(super) fn checked(&self, found: String) {
        *self.last_check.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// What the last check found, and what the last failed request came to.
    pub(super) fn reasons(&self) -> (Option<String>, Option<&'static str>) {
        let check = self.last_check.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failure = usize::from(self.last_failure.load(Relaxed)).checked_sub(1);
        (check, failure.and_then(|at| Failure::ALL.get(at)).map(|failure| failure.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 1_000;

    fn endpoint(consecutive_failures: u32) -> EndpointHealth {
        let ejection = EjectionSettings {
            consecutive_failures,
            base_time: Duration::from_millis(BASE),
            ..EjectionSettings::default()
        };
        EndpointHealth::new(1, "http://a", ejection)
    }

    #[test]
    fn failures_count_in_a_row_only() {
        let endpoint = endpoint(3);
        let fail = || endpoint.failed(Failure::Connect);
        assert!(!fail() && !fail());
        endpoint.succeeded();
        assert!(!fail() && !fail() && fail() && fail());
        assert_eq!(endpoint.reasons(), (None, Some("no connection")));
        let never = self::endpoint(0);
        assert!((0..10).all(|_| !never.failed(Failure::Timeout)));
    }

    #[test]
    fn a_denial_is_remembered_for_a_moment_and_is_no_fault() {
        let endpoint = endpoint(1);
        endpoint.denied(10);
        assert!(endpoint.is_denied(10 + DENIED_FOR - 1) && !endpoint.is_in());
        assert_eq!((endpoint.standing(10), endpoint.reasons()), (Standing::Healthy, (None, None)));
        assert!(!endpoint.is_denied(10 + DENIED_FOR) && endpoint.is_in());
    }

    #[test]
    fn an_ejection_ends_and_one_more_failure_is_the_next() {
        let endpoint = endpoint(3);
        assert_eq!(endpoint.eject(10), Some(Duration::from_millis(BASE)));
        assert_eq!((endpoint.is_in(), endpoint.is_usable(10 + BASE - 1)), (false, false));
        assert_eq!(endpoint.standing(500), Standing::Ejected);
        assert_eq!(endpoint.eject(500), None);
        assert!(endpoint.is_usable(10 + BASE) && endpoint.is_in());
        assert!(endpoint.failed(Failure::Reset));
        endpoint.succeeded();
        assert!(!endpoint.failed(Failure::Reset));
    }

    #[test]
    fn ejections_in_a_row_grow_to_a_bound_and_start_anew_after_as_long_a_good_time() {
        let endpoint = endpoint(1);
        let mut now = 1;
        for times in [1, 2, 3] {
            let time = endpoint.eject(now).unwrap();
            assert_eq!(time, Duration::from_millis(BASE * times));
            now += BASE * times;
            assert!(endpoint.is_usable(now));
            now += BASE * times - 1; // not quite as long
        }
        now += 1;
        assert_eq!(endpoint.eject(now), Some(Duration::from_millis(BASE)));
        let slow = EjectionSettings { base_time: MAX_EJECTION, ..EjectionSettings::default() };
        let slow = EndpointHealth::new(1, "http://a", slow);
        let at = slow.eject(1).map(|time| 1 + time.as_millis() as u64).unwrap();
        assert!(slow.is_usable(at));
        assert_eq!(slow.eject(at), Some(MAX_EJECTION));
    }

    #[test]
    fn checks_and_ejections_do_not_undo_each_other() {
        let endpoint = endpoint(1);
        assert!(endpoint.set_healthy(false) && !endpoint.set_healthy(false));
        assert!(endpoint.eject(10).is_some());
        assert!(!endpoint.is_usable(10 + BASE), "unhealthy still");
        assert_eq!(endpoint.standing(10 + BASE), Standing::Unhealthy);
        assert!(endpoint.set_healthy(true));
        assert!(!endpoint.is_usable(10) && endpoint.is_usable(10 + BASE));
    }
}
