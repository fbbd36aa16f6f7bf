//! When this node last knew of a quorum, and when it last knew all that the quorum had decided.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Remembers two moments. At the first a leader with a quorum was known to exist: on the leader, when a quorum last
/// answered it; on the others, the same moment as the leader's heartbeats report it. It says where requests can go. At
/// the second, never later one, what this node shows was all that there was.
#[derive(Debug, Default)]
pub(crate) struct Contact(Mutex<Moments>);

#[derive(Debug, Default)]
struct Moments {
    quorum: Option<Instant>,
    up_to_date: Option<Instant>,
    /// Will be `up_to_date` as soon as so many entries are applied. The first to come stays until it is reached, or a
    /// steady stream of writes would push it away for ever.
    awaited: Option<(u64, Instant)>,
}

impl Contact {
    /// Notes a quorum of `age` ago.
    pub(crate) fn confirm(&self, age: Duration) {
        let at = Instant::now().checked_sub(age);
        let mut moments = self.0.lock();
        moments.quorum = moments.quorum.max(at);
    }

    /// Notes that `age` ago this many entries were committed, now that `applied` are applied here.
    pub(crate) fn committed(&self, age: Duration, committed: u64, applied: u64) {
        let Some(at) = Instant::now().checked_sub(age) else { return };
        let mut moments = self.0.lock();
        moments.reach(applied);
        if applied >= committed {
            moments.up_to_date = moments.up_to_date.max(Some(at));
        } else if moments.awaited.is_none() {
            moments.awaited = Some((committed, at));
        }
    }

    /// Notes that so many entries are applied here.
    pub(crate) fn applied(&self, applied: u64) {
        self.0.lock().reach(applied);
    }

    /// How long ago there was a quorum; `None` if never.
    pub(crate) fn age(&self) -> Option<Duration> {
        Some(self.0.lock().quorum?.elapsed())
    }

    /// How long ago this node knew all there was; `None` if never.
    pub(crate) fn as_of_age(&self) -> Option<Duration> {
        Some(self.0.lock().up_to_date?.elapsed())
    }

    /// Whether there was a quorum within `lease`.
    pub(crate) fn within(&self, lease: Duration) -> bool {
        self.age().is_some_and(|age| age <= lease)
    }
}

impl Moments {
    fn reach(&mut self, applied: u64) {
        if let Some((_, at)) = self.awaited.take_if(|(needed, _)| applied >= *needed) {
            self.up_to_date = self.up_to_date.max(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_latest_contact_counts() {
        let contact = Contact::default();
        assert_eq!(contact.age(), None);
        contact.confirm(seconds(20));
        contact.confirm(seconds(500));
        assert!(contact.within(seconds(400)));
        assert!(!contact.within(seconds(10)));
        assert_eq!(contact.as_of_age(), None, "a quorum alone says nothing about what is shown here");
    }

    #[test]
    fn what_is_shown_is_as_of_the_moment_whose_commits_are_applied() {
        let contact = Contact::default();
        contact.committed(seconds(900), 10, 7);
        contact.committed(seconds(600), 12, 8);
        assert_eq!(contact.as_of_age(), None, "it is behind");
        contact.applied(9);
        assert_eq!(contact.as_of_age(), None, "it is still behind");
        contact.applied(10);
        assert!((900..1_000).contains(&contact.as_of_age().unwrap().as_secs()), "{contact:?}");
        // The next one noted is waited for.
        contact.committed(seconds(300), 13, 11);
        contact.applied(13);
        assert!((300..400).contains(&contact.as_of_age().unwrap().as_secs()), "{contact:?}");
        contact.committed(seconds(100), 13, 13);
        assert!((100..200).contains(&contact.as_of_age().unwrap().as_secs()), "{contact:?}");
        contact.committed(seconds(200), 13, 13);
        assert!((100..200).contains(&contact.as_of_age().unwrap().as_secs()), "it never goes back");
    }

    #[test]
    fn an_application_that_was_missed_is_made_up_for() {
        let contact = Contact::default();
        contact.committed(seconds(900), 10, 7);
        contact.committed(seconds(600), 12, 11);
        assert!((900..1_000).contains(&contact.as_of_age().unwrap().as_secs()), "{contact:?}");
    }
}
