//! Which other members this node heard of, and when.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::type_config::NodeId;

/// When each other member was last heard: `None` if it was tried in vain only. Bounded by the ids that members ever had.
#[derive(Debug)]
pub(crate) struct Reach {
    heard: Mutex<HashMap<NodeId, Option<Instant>>>,
    /// Since when this node listens to all of them, as a leader does.
    since: Mutex<Instant>,
}

impl Default for Reach {
    fn default() -> Self {
        Self { heard: Mutex::default(), since: Mutex::new(Instant::now()) }
    }
}

impl Reach {
    /// Notes that this member answered, or asked.
    pub(crate) fn heard(&self, id: NodeId) {
        self.heard.lock().insert(id, Some(Instant::now()));
    }

    /// Notes that this member was tried and did not answer.
    pub(crate) fn tried(&self, id: NodeId) {
        self.heard.lock().entry(id).or_default();
    }

    /// Whether this member was heard within that time.
    pub(crate) fn heard_within(&self, id: NodeId, within: Duration) -> bool {
        let heard = self.heard.lock().get(&id).copied().flatten();
        heard.is_some_and(|at| at.elapsed() <= within)
    }

    /// Whether this member must be taken to be up: it was heard within that time, or was not tried yet.
    pub(crate) fn maybe_up(&self, id: NodeId, within: Duration) -> bool {
        let untried = !self.heard.lock().contains_key(&id);
        untried || self.heard_within(id, within)
    }

    /// This node leads from now on. Followers hear each other seldom, so what it heard before says little of silence.
    pub(crate) fn leads(&self) {
        *self.since.lock() = Instant::now();
    }

    /// Whether this node has listened for longer than that and not heard this member.
    pub(crate) fn is_gone(&self, id: NodeId, after: Duration) -> bool {
        self.since.lock().elapsed() > after && !self.heard_within(id, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_up_until_it_was_silent_for_long() {
        let (reach, long) = (Reach::default(), Duration::from_secs(600));
        assert!(reach.maybe_up(2, long), "nobody has tried yet");
        assert!(!reach.heard_within(2, long));
        reach.tried(2);
        assert!(!reach.maybe_up(2, long));
        reach.heard(2);
        reach.tried(2);
        assert!(reach.maybe_up(2, long) && reach.heard_within(2, long), "one failure is no absence");
        assert!(!reach.maybe_up(2, Duration::ZERO));
    }

    #[test]
    fn a_member_is_gone_when_it_was_listened_for_in_vain() {
        let (reach, moment) = (Reach::default(), Duration::from_millis(20));
        assert!(!reach.is_gone(2, Duration::from_secs(600)), "this node has only begun to listen");
        std::thread::sleep(moment * 2);
        assert!(reach.is_gone(2, moment));
        reach.leads();
        assert!(!reach.is_gone(2, moment), "a new leader listens first");
        std::thread::sleep(moment * 2);
        assert!(reach.is_gone(2, moment));
        reach.heard(2);
        assert!(!reach.is_gone(2, Duration::from_secs(600)));
    }
}
