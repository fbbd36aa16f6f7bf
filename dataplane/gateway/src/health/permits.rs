//! Who may check now: a bounded number, shared fairly.
//!
//! Checks of endpoints that do not answer last for their whole timeout. With one queue for all, an organization that has
//! many of them would hold every place, and nobody else's endpoints would be asked. So a place that becomes free goes to
//! the organization that has the fewest, and there to the upstream that has the fewest; and nobody has all of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::table::UpstreamId;

/// Checks at once: a gateway with thousands of endpoints must not be a flood, nor run out of descriptors by asking.
const AT_ONCE: usize = 128;
/// Of those for one organization: half, so that one whose endpoints hang leaves room for all others at once.
const PER_ORGANIZATION: usize = AT_ONCE / 2;
/// Of those for one upstream: a quarter, so that it leaves room for the others of its organization. Endpoints that answer
/// within 10 ms, asked every 10 s, are 16,000 before they need more.
const PER_UPSTREAM: usize = PER_ORGANIZATION / 4;

/// The places that checks run in. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Permits(Arc<Mutex<Places>>);

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Permits,
    upstream: UpstreamId,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    organizations: HashMap<Arc<str>, Organization>,
    /// How many have come to wait.
    arrivals: u64,
}

/// One organization's part. Gone when it has nothing.
#[derive(Debug, Default)]
struct Organization {
    taken: usize,
    upstreams: HashMap<UpstreamId, Part>,
}

/// One upstream's part. Gone when it has nothing.
#[derive(Debug, Default)]
struct Part {
    taken: usize,
    /// In the order in which they came.
    waiting: BTreeMap<u64, oneshot::Sender<Permit>>,
}

/// One that waits, until dropped.
struct Waiting<'a> {
    permits: &'a Permits,
    upstream: &'a UpstreamId,
    arrival: u64,
}

impl Permits {
    /// A place, once there is one. A future that is dropped waits no more.
    pub(super) async fn acquire(&self, upstream: &UpstreamId) -> Permit {
        let (place, given) = oneshot::channel();
        let _waiting = Waiting { permits: self, upstream, arrival: self.lock().arrive(upstream, place) };
        self.give();
        given.await.expect("who waits is in the queue until given a place")
    }

    /// Gives free places to those whose turn it is.
    fn give(&self) {
        loop {
            let next = self.lock().next();
            let Some((upstream, place)) = next else { return };
            // Not under the lock, which the permit takes if it is dropped here because nobody waits any more.
            drop(place.send(Permit { permits: self.clone(), upstream }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.lock().leave(&self.upstream);
        self.permits.give();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.permits.lock().part(self.upstream, |part| drop(part.waiting.remove(&self.arrival)));
    }
}

impl Places {
    fn arrive(&mut self, upstream: &UpstreamId, place: oneshot::Sender<Permit>) -> u64 {
        self.arrivals += 1;
        let organization = self.organizations.entry(upstream.organization.clone()).or_default();
        let part = organization.upstreams.entry(upstream.clone()).or_default();
        part.waiting.insert(self.arrivals, place);
        self.arrivals
    }

    /// Takes a free place for the one whose turn it is, if there is one.
    fn next(&mut self) -> Option<(UpstreamId, oneshot::Sender<Permit>)> {
        if self.taken >= AT_ONCE {
            return None;
        }
        let organizations = self.organizations.values().filter(|own| own.taken < PER_ORGANIZATION);
        let turns = organizations.filter_map(|own| Some((own.taken, own.turn()?)));
        let (_, (_, upstream)) = turns.min_by_key(|(taken, (arrival, _))| (*taken, *arrival))?;
        let upstream = upstream.clone();
        let organization = self.organizations.get_mut(&upstream.organization)?;
        let part = organization.upstreams.get_mut(&upstream)?;
        let (_, place) = part.waiting.pop_first()?;
        part.taken += 1;
        organization.taken += 1;
        self.taken += 1;
        Some((upstream, place))
    }

    fn leave(&mut self, upstream: &UpstreamId) {
        self.taken -= 1;
        if let Some(organization) = self.organizations.get_mut(&upstream.organization) {
            organization.taken -= 1;
        }
        self.part(upstream, |part| part.taken -= 1);
    }

    /// Changes an upstream's part, and forgets it if it has nothing then.
    fn part(&mut self, upstream: &UpstreamId, change: impl FnOnce(&mut Part)) {
        let Some(organization) = self.organizations.get_mut(&upstream.organization) else { return };
        let Some(part) = organization.upstreams.get_mut(upstream) else { return };
        change(part);
        if part.taken == 0 && part.waiting.is_empty() {
            organization.upstreams.remove(upstream);
        }
        if organization.upstreams.is_empty() {
            self.organizations.remove(&upstream.organization);
        }
    }
}

impl Organization {
    /// The upstream whose turn it is, and when its first waiter came.
    fn turn(&self) -> Option<(u64, &UpstreamId)> {
        let turns = self.upstreams.iter().filter(|(_, part)| part.taken < PER_UPSTREAM);
        let turns = turns.filter_map(|(id, part)| Some((part.taken, part.waiting.first_key_value()?.0, id)));
        turns.min_by_key(|(taken, arrival, _)| (*taken, *arrival)).map(|(_, arrival, id)| (*arrival, id))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::testbed::scope;

    type Acquiring = Pin<Box<dyn Future<Output = Permit>>>;

    /// Comes to wait for a place of `"ORGANIZATION/UPSTREAM"`.
    fn waits(permits: &Permits, upstream: &str) -> Acquiring {
        let (permits, id) = (permits.clone(), UpstreamId::new(&scope("e"), &format!("upstream/{upstream}")));
        Box::pin(async move { permits.acquire(&id).await })
    }

    fn poll(acquiring: &mut Acquiring) -> Option<Permit> {
        match acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    /// Those of so many that get a place at once; the others wait on.
    fn take(permits: &Permits, upstream: &str, count: usize) -> (Vec<Permit>, Vec<Acquiring>) {
        let (mut taken, mut waiting) = (Vec::new(), Vec::new());
        for mut acquiring in (0..count).map(|_| waits(permits, upstream)) {
            match poll(&mut acquiring) {
                Some(permit) => taken.push(permit),
                None => waiting.push(acquiring),
            }
        }
        (taken, waiting)
    }

    #[test]
    fn nobody_has_all_places_and_all_together_have_no_more_than_there_are() {
        let permits = Permits::default();
        let (slow, _waits) = take(&permits, "shop/slow", 1_000);
        assert_eq!(slow.len(), PER_UPSTREAM);
        let (others, _more): (Vec<_>, Vec<_>) =
            (0..10).map(|each| take(&permits, &format!("shop/{each}"), 1_000)).unzip();
        assert_eq!(slow.len() + others.iter().map(Vec::len).sum::<usize>(), PER_ORGANIZATION);
        let (first, _more) = take(&permits, "toys/first", 1);
        assert_eq!(first.len(), 1, "one organization's leave room");
        let (rest, _more): (Vec<_>, Vec<_>) =
            (0..10).map(|each| take(&permits, &format!("toys/{each}"), 1_000)).unzip();
        let taken = rest.iter().map(Vec::len).sum::<usize>();
        assert_eq!(first.len() + taken, AT_ONCE - PER_ORGANIZATION);
    }

    #[test]
    fn a_place_goes_to_who_has_the_fewest_and_of_equals_to_who_came_first() {
        let permits = Permits::default();
        let mut held = Vec::new();
        let mut queues = Vec::new();
        for organization in ["a", "b"] {
            for upstream in 0..PER_ORGANIZATION / PER_UPSTREAM {
                let (taken, waiting) =
                    take(&permits, &format!("{organization}/{upstream}"), PER_UPSTREAM + 50);
                held.extend(taken);
                queues.push(waiting);
            }
        }
        assert_eq!(held.len(), AT_ONCE);
        let mut waiting = Vec::new();
        for who in ["a/more", "c/one", "d/one", "c/two"] {
            let mut acquiring = waits(&permits, who);
            assert!(poll(&mut acquiring).is_none());
            waiting.push((who, acquiring));
        }
        let mut got = Vec::new();
        for _ in 0..4 {
            held.pop(); // of b
            waiting.retain_mut(|(who, acquiring)| match poll(acquiring) {
                Some(permit) => {
                    got.push((*who, permit));
                    false
                }
                None => true,
            });
        }
        let order: Vec<&str> = got.iter().map(|(who, _)| *who).collect();
        // b has the fewest of the two that have many, and no place of a is free.
        assert_eq!(order, ["c/one", "d/one", "c/two"]);
    }

    #[test]
    fn who_waits_no_more_takes_nothing_and_leaves_nothing() {
        let permits = Permits::default();
        let left = || {
            let places = permits.lock();
            (places.taken, places.organizations.len())
        };
        let (held, waiting) = take(&permits, "shop/slow", 100_000);
        let mut last = waits(&permits, "shop/slow");
        assert!(poll(&mut last).is_none());
        drop(waiting);
        drop(held);
        let last = poll(&mut last).expect("a place");
        assert_eq!(left(), (1, 1));
        drop(last);
        assert_eq!(left(), (0, 0));
        // Given, and never looked at.
        let (held, mut waiting) = take(&permits, "shop/slow", PER_UPSTREAM + 1);
        drop(held);
        assert_eq!(left(), (1, 1));
        waiting.clear();
        assert_eq!(left(), (0, 0));
    }
}
