//! When this node last knew of a quorum.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Remembers the last moment at which a leader with a quorum was known to exist: on the leader, when a quorum last
/// answered it; on the others, the same moment as the leader's heartbeats report it.
#[derive(Debug, Default)]
pub(crate) struct Contact(Mutex<Option<Instant>>);

impl Contact {
    /// Notes a quorum of `age` ago.
    pub(crate) fn confirm(&self, age: Duration) {
        let at = Instant::now().checked_sub(age);
        let mut confirmed = self.0.lock();
        *confirmed = (*confirmed).max(at);
    }

    /// How long ago that was; `None` if never.
    pub(crate) fn age(&self) -> Option<Duration> {
        Some(self.0.lock().as_ref()?.elapsed())
    }

    /// Whether that was within `lease`.
    pub(crate) fn within(&self, lease: Duration) -> bool {
        self.age().is_some_and(|age| age <= lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_contact_counts() {
        let contact = Contact::default();
        assert_eq!(contact.age(), None);
        contact.confirm(Duration::from_secs(2));
        contact.confirm(Duration::from_secs(50));
        assert!(contact.within(Duration::from_secs(40)));
        assert!(!contact.within(Duration::from_secs(1)));
    }
}
